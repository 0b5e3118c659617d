"""The command line: `fraud-platform …`. Each command calls one function and prints what it gave."""

import atexit
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud_platform.audit import user
from fraud_platform.deployment_commands import deployment
from fraud_platform.errors import FraudPlatformError
from fraud_platform.key_commands import keys
from fraud_platform.rule_commands import rules
from fraud_platform.settings import load_settings

if TYPE_CHECKING:
    from fraud_platform.features.sql import Dialect
    from fraud_platform.monitoring.parity import Engine
    from fraud_platform.settings import Settings


class _Commands(click.Group):
    """Shows the platform's own errors as one message, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FraudPlatformError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Commands)
def main() -> None:
    """Detect fraud in payments, from raw transactions to served scores."""


main.add_command(keys)
main.add_command(deployment)
main.add_command(rules)


@main.command()
def demo() -> None:
    """Run every stage on the source, serve the model, and print what came out as JSON."""
    atexit.register(_end_of_errors)
    settings = load_settings()
    os.environ.setdefault("DAGSTER_HOME", str(Path.cwd()))
    os.environ.setdefault("DAGSTER_STORAGE", str(settings.home / "dagster"))
    from fraud_platform.definitions import defs
    from fraud_platform.defs.demo import run_demo
    from fraud_platform.transactions.sources import load_source

    source = load_source(settings.source, settings.data)
    click.echo(f"{source.name}: {source.description or source.file}")
    result = run_demo(defs, settings, source, click.echo)
    click.echo(f"Look at it: make dev (Dagster UI), make serve (the service). Files: {settings.home}")
    click.echo(json.dumps(result))


def _end_of_errors() -> None:
    """Registered first, so called last: what is written after this is not for the reader of the last line.

    DuckDB's binding lists, at the very end of the process, the objects that other libraries keep alive.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@main.group()
def source() -> None:
    """Draft and check the description of a source."""


@source.command("draft")
@click.argument("file", type=click.Path(path_type=Path))
def source_draft(file: Path) -> None:
    """Write a first mapping for FILE (CSV, CSV.gz, Parquet) to the standard output."""
    from fraud_platform.transactions.draft import draft_source

    click.echo(draft_source(file), nl=False)


@source.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", help="file, folder or glob, in place of the path in FILE")
def source_check(file: Path, data: str | None) -> None:
    """Say what is wrong with a source, all of it at once, or what was understood."""
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.transactions.check import check_source
    from fraud_platform.transactions.sources import load_source

    report = check_source(file, data)
    click.echo(report.render())
    if report.problems:
        sys.exit(1)
    catalog = catalog_of(load_source(file, data))
    dropped = f"; {len(catalog.dropped)} drop out: {', '.join(catalog.dropped)}" if catalog.dropped else ""
    click.echo(f"features        {len(catalog.features)}{dropped}")


@main.group()
def features() -> None:
    """Look at the feature catalog."""


@features.command("list")
def features_list() -> None:
    """Every feature of the source as a table, and what dropped out."""
    from fraud_platform.features.listing import describe, table
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.transactions.sources import load_source

    settings = load_settings()
    catalog = catalog_of(load_source(settings.source, settings.data))
    for line in table(describe(catalog)):
        click.echo(line)
    for name, columns in catalog.dropped.items():
        click.echo(f"dropped: {name} (the source lacks {', '.join(columns)})")


@features.command("sql")
@click.option("--dialect", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True)
def features_sql(dialect: "Dialect") -> None:
    """One SQL statement that computes every feature from the tables validated_transactions and validated_labels."""
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.features.sql import warehouse_features_sql
    from fraud_platform.transactions.sources import load_source

    settings = load_settings()
    click.echo(warehouse_features_sql(catalog_of(load_source(settings.source, settings.data)), dialect), nl=False)


@main.group()
def model() -> None:
    """Look at the registered versions of the model, and say which one serves."""


@model.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="how many of the newest")
def model_list(limit: int) -> None:
    """The newest versions as a table: aliases, algorithm, figures, training set, catalog."""
    from fraud_platform.models.listing import list_versions

    settings = load_settings()
    for line in list_versions(settings.tracking_uri, settings.model_name, limit):
        click.echo(line)


@model.command("show")
@click.argument("version", default="champion", metavar="[VERSION|ALIAS]")
def model_show(version: str) -> None:
    """What a version says of itself, from its artefact, and its history. Default: the champion."""
    from fraud_platform.models.listing import show_version

    settings = load_settings()
    for line in show_version(settings.tracking_uri, settings.model_name, version, settings.models):
        click.echo(line)


@model.command("promote")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--why", required=True, help="for the history")
@click.option("--by", default=user, help="who decided; default: the user of this machine")
def model_promote(version: int, why: str, by: str) -> None:
    """Make VERSION the champion by hand, without the gate. The service has to be able to run it."""
    from fraud_platform.defs.promotion import promote_by_hand
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.transactions.sources import load_source

    settings = load_settings()
    _use_dagster_of_this_folder(settings)
    catalog = catalog_of(load_source(settings.source, settings.data))
    click.echo(promote_by_hand(settings, catalog, version, why, by).sentence)


@model.command("rollback")
@click.option("--why", required=True, help="for the history")
@click.option("--by", default=user, help="who decided; default: the user of this machine")
def model_rollback(why: str, by: str) -> None:
    """Put the previous champion back."""
    from fraud_platform.defs.promotion import rollback_by_hand
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.transactions.sources import load_source

    settings = load_settings()
    _use_dagster_of_this_folder(settings)
    catalog = catalog_of(load_source(settings.source, settings.data))
    click.echo(rollback_by_hand(settings, catalog, why, by).sentence)


def _use_dagster_of_this_folder(settings: "Settings") -> None:
    """The Dagster that `make dev` shows, where the command runs beside its dagster.yaml and none is named."""
    os.environ.setdefault("DAGSTER_STORAGE", str(settings.home / "dagster"))
    if Path("dagster.yaml").exists():
        os.environ.setdefault("DAGSTER_HOME", str(Path.cwd()))


@main.command()
@click.option("--source", "source_file", type=click.Path(path_type=Path), help="in place of FRAUD_SOURCE")
@click.option("--data", help="in place of FRAUD_DATA")
@click.option("--days", type=click.IntRange(min=1), default=1, show_default=True, help="how many of the last days")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(["duckdb", "spark", "online-lmdb", "online-redis"]),
    help="repeatable; default: duckdb, and the store that the service uses",
)
def parity(source_file: Path | None, data: str | None, days: int, engines: "tuple[Engine, ...]") -> None:
    """Compare every feature of the last days, from each engine, with the batch table; exit 1 where one differs."""
    atexit.register(_end_of_errors)
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.monitoring.parity import check_parity, default_engines
    from fraud_platform.transactions.sources import load_source

    given = {"source": source_file, "data": data}
    settings = load_settings().model_copy(update={name: value for name, value in given.items() if value is not None})
    catalog = catalog_of(load_source(settings.source, settings.data))
    report = check_parity(settings, catalog, days, list(engines) or default_engines(settings))
    for comparison in report.comparisons:
        click.echo(
            f"{comparison.engine:14} {comparison.events:,} events x {report.features} features, "
            f"{comparison.mismatches:,} differ, {comparison.late:,} late events left out"
        )
        for difference in comparison.examples:
            click.echo(
                f"  {difference.transaction_id} {difference.feature}: "
                f"batch {difference.batch!r}, {comparison.engine} {difference.engine!r}"
            )
    click.echo(json.dumps(report.summary()))
    if report.mismatches:
        sys.exit(1)


if __name__ == "__main__":
    main()
