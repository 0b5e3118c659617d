"""Rules, lists and their backtest as a person reads them: lines for the terminal, rows for the Dagster UI."""

from collections import Counter

from fraud_platform.decisions.backtest_report import BacktestReport, RuleResult, Together
from fraud_platform.decisions.rules import Rule
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.features.listing import aligned
from fraud_platform.models.costs import major_units

ABSENT = "-"

RULE_HEADER = (
    "rule", "mode", "action", "alerts a day", "precision", "recall", "saved alone", "added to the model",
    "model alerts too", "frauds only here",
)  # fmt: skip
WAY_HEADER = ("decides", "reviews a day", "blocks a day", "precision", "recall", "saved")


def describe_rules(ruleset: RuleSet) -> list[str]:
    """What was understood of the files, inactive rules included."""
    head = ("rule", "mode", "action", "weight", "in force", "condition")
    lines = aligned([head, *map(_rule, ruleset.rules)]) if ruleset.rules else ["no rules"]
    lines += [f"inactive: {inactive.rule.name} ({inactive.reason})" for inactive in ruleset.inactive]
    counts = Counter((entry.list, entry.entity) for entry in ruleset.lists.entries)
    lines += [f"{list_} list: {count} of {entity}" for (list_, entity), count in sorted(counts.items())]
    return [*lines, f"digest: {ruleset.digest}"]


def describe_backtest(report: BacktestReport) -> list[str]:
    """The figures under their headings; amounts in major units."""
    lines = [headline(report), ""]
    if report.rules:
        lines += [*aligned([RULE_HEADER, *rule_rows(report)]), ""]
    lines += aligned([WAY_HEADER, *way_rows(report)])
    return [*lines, *(f"inactive: {name} ({reason})" for name, reason in report.inactive)]


def headline(report: BacktestReport) -> str:
    """What was judged, in a sentence or two."""
    text = (
        f"{report.rows:,} payments of {report.days} days, {report.first} to {report.last}, with {report.frauds:,} "
        f"frauds known before {report.as_of}; later days wait for their labels ({report.label_delay_days} days). "
        f"Scored by model version {', '.join(report.model_versions)}: on days that it learnt from, "
        "it looks better than it is."
    )
    if report.rows_without_score:
        text += f" {report.rows_without_score:,} payments without a score are left out."
    return text


def rule_rows(report: BacktestReport) -> list[tuple[str, ...]]:
    """A row for each rule, under RULE_HEADER."""
    return [_result(result) for result in report.rules]


def way_rows(report: BacktestReport) -> list[tuple[str, ...]]:
    """The model alone, and with the live rules, under WAY_HEADER."""
    return [_way(report.model), _way(report.with_rules)]


def _rule(rule: Rule) -> tuple[str, ...]:
    start = "" if rule.from_ is None else f"from {rule.from_:%Y-%m-%d %H:%M} "
    end = "" if rule.until is None else f"until {rule.until:%Y-%m-%d %H:%M}"
    period = (start + end).strip() or "always"
    return rule.name, rule.mode, rule.action, str(rule.weight), period, " ".join(rule.when.split())


def _result(result: RuleResult) -> tuple[str, ...]:
    if not result.rows:
        return (result.name, result.mode, result.action, "not in force", *[ABSENT] * (len(RULE_HEADER) - 4))
    return (
        result.name,
        result.mode,
        result.action,
        f"{result.alerts_per_day:,.1f}",
        _percent(result.precision),
        _percent(result.recall),
        major_units(result.saved),
        major_units(result.added),
        _percent(result.model_alerts_too),
        f"{result.frauds_only_here:,}",
    )


def _way(way: Together) -> tuple[str, ...]:
    figures = f"{way.reviews_per_day:,.1f}", f"{way.blocks_per_day:,.1f}", _percent(way.precision), _percent(way.recall)
    return way.name, *figures, major_units(way.saved)


def _percent(share: float | None) -> str:
    return ABSENT if share is None else f"{share:.1%}"
