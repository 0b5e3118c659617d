"""The command line: `fraud-platform …`. Each command calls one function and prints what it gave."""

import atexit
import json
import os
import sys
from pathlib import Path

import click

from fraud_platform.errors import FraudPlatformError
from fraud_platform.settings import load_settings


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
    from fraud_platform.features.catalog import catalog_of
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
    """Name and meaning of every feature of the source, and what dropped out."""
    from fraud_platform.features.catalog import catalog_of
    from fraud_platform.transactions.sources import load_source

    settings = load_settings()
    catalog = catalog_of(load_source(settings.source, settings.data))
    width = max(map(len, [*catalog.names, *catalog.dropped]))
    for feature in catalog.features:
        click.echo(f"{feature.name:{width}}  {feature.meaning}")
    for name, columns in catalog.dropped.items():
        click.echo(f"{name:{width}}  (dropped: the source lacks {', '.join(columns)})")


if __name__ == "__main__":
    main()
