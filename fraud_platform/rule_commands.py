"""`fraud-platform rules …`: whether a file of rules can be used, and what its rules would have found."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraud_platform.decisions.ruleset import RuleSet
    from fraud_platform.features.selection import Catalog

_FILE = click.argument("file", type=click.Path(path_type=Path), required=False)


@click.group()
def rules() -> None:
    """Check rules, and try them on history. A running service takes up a changed file within a second."""


@rules.command("check")
@_FILE
def check(file: Path | None) -> None:
    """Say what is wrong with FILE and the lists, all of it at once, or what was understood. Default: FRAUD_RULES."""
    from fraud_platform.decisions.rule_listing import describe_rules

    for line in describe_rules(_loaded(load_settings(), file)[0]):
        click.echo(line)


@rules.command("backtest")
@_FILE
@click.option("--days", type=click.IntRange(min=1), default=28, show_default=True, help="how many of the last days")
def backtest(file: Path | None, days: int) -> None:
    """What each rule of FILE, live or in shadow, finds among the last payments whose label delay has passed."""
    from fraud_platform.decisions.backtest import backtest as run
    from fraud_platform.decisions.rule_listing import describe_backtest
    from fraud_platform.models.costs import costs_of
    from fraud_platform.warehouse import connect

    settings = load_settings()
    ruleset, catalog = _loaded(settings, file)
    with connect(settings.database, read_only=True) as connection:
        report = run(connection, settings.features, ruleset, catalog, costs_of(settings), days)
    for line in describe_backtest(report):
        click.echo(line)


def _loaded(settings: Settings, file: Path | None) -> "tuple[RuleSet, Catalog]":
    from fraud_platform.decisions.ruleset import RuleSet
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.transactions.sources import load_source

    catalog = catalog_of(load_source(settings.source, settings.data))
    return RuleSet.load(file or settings.rules, settings.lists, catalog), catalog
