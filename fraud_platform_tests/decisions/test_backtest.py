"""The backtest against a naive reckoning, payment by payment, on small warehouses with every ugly case."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraud_platform.decisions import backtest as module
from fraud_platform.decisions.backtest import backtest, results_table, write_report
from fraud_platform.decisions.backtest_report import BacktestReport, read_report
from fraud_platform.decisions.policy import Action, Match, Matches, combine
from fraud_platform.decisions.rule_listing import describe_backtest
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.errors import CatalogError, WarehouseError
from fraud_platform.features.selection import build_catalog
from fraud_platform.models.costs import CostMatrix
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
DELAY_DAYS = 2
CATALOG = build_catalog(TRANSACTION_COLUMNS, [], DELAY_DAYS * DAY_US)
COSTS = CostMatrix(missed_fraud_fee=1000, review=300, blocked_good=2500)
FIRST = date(2026, 1, 1)
FIRST_US = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
SECOND_NOON_US, THIRD_US = FIRST_US + 36 * HOUR_US, FIRST_US + 48 * HOUR_US


@dataclass(frozen=True)
class Payment:
    """`reports` are hours after midnight of the first day, and verdicts."""

    hour: int
    amount: int = 2000
    channel: str | None = "online"
    device: str | None = "D"
    night: float | None = 0.0
    count: float | None = 3.0
    model: Action | None = "approve"
    reports: tuple[tuple[int, bool], ...] = field(default=())

    @property
    def event_us(self) -> int:
        return FIRST_US + self.hour * HOUR_US

    @property
    def day(self) -> date:
        return FIRST + timedelta(days=self.hour // 24)


RULES: dict[str, tuple[str, Action, int, str, Callable[[Payment], bool]]] = {
    "night": ("is_night == 1", "review", 30, "live", lambda p: p.night == 1),
    "large": (
        "amount_cents >= 5000 and channel != 'atm'",
        "block",
        40,
        "live",
        lambda p: p.amount >= 5000 and p.channel not in (None, "atm"),
    ),
    "usual": ("customer_count_1h < 1", "approve", 35, "live", lambda p: p.count is not None and p.count < 1),
    "trial": (
        "device_id == null or amount_cents < 1000", "block", 99, "shadow",
        lambda p: p.device is None or p.amount < 1000,
    ),
    "third": ("event_time.hour >= 0", "review", 1, "shadow", lambda p: SECOND_NOON_US <= p.event_us < THIRD_US),
    "later": ("event_time.hour >= 0", "review", 1, "shadow", lambda p: False),
}  # fmt: skip
"""Condition, action, weight, mode, and the same in Python, period included."""

PERIODS = {
    "third": {"from": "2026-01-02T12:00:00Z", "until": "2026-01-03"},
    "later": {"from": "2027-01-01"},
}


def rule_set(folder: Path, names: tuple[str, ...] = tuple(RULES)) -> RuleSet:
    path = folder / "rules.yaml"
    rules = [
        {"name": name, "when": when, "action": action, "weight": weight, "mode": mode, "owner": "o", "why": "w"}
        | PERIODS.get(name, {})
        for name, (when, action, weight, mode, _) in RULES.items()
        if name in names
    ]
    path.write_text("rules: " + msgspec.json.encode(rules).decode())
    return RuleSet.load(path, folder / "lists.yaml", CATALOG)


def warehouse(folder: Path, payments: list[Payment]) -> duckdb.DuckDBPyConnection:
    """The tables that the assets write; the features of each day in a file of `folder`."""
    connection = duckdb.connect()
    ids = [f"t{number}" for number in range(len(payments))]
    rows = pl.DataFrame(
        {
            "day": [p.day for p in payments],
            "event_us": [p.event_us for p in payments],
            "transaction_id": ids,
            "customer_id": ["ann"] * len(ids),
            "amount_cents": [p.amount for p in payments],
            "channel": [p.channel for p in payments],
            "device_id": [p.device for p in payments],
            "is_night": [float("nan") if p.night is None else p.night for p in payments],
            "customer_count_1h": [float("nan") if p.count is None else p.count for p in payments],
            "action": [p.model for p in payments],
        },
        {
            "day": pl.Date, "event_us": pl.Int64, "transaction_id": pl.String, "customer_id": pl.String,
            "amount_cents": pl.Int64, "channel": pl.String, "device_id": pl.String, "is_night": pl.Float32,
            "customer_count_1h": pl.Float32, "action": pl.String,
        },
    )  # fmt: skip
    labels = pl.DataFrame(
        [
            (p.day, id_, verdict, datetime(2026, 1, 1) + timedelta(hours=hours))
            for id_, p in zip(ids, payments, strict=True)
            for hours, verdict in p.reports
        ],
        {"day": pl.Date, "transaction_id": pl.String, "is_fraud": pl.Boolean, "reported_at": pl.Datetime("us")},
        orient="row",
    )
    scores = rows.filter(pl.col("action").is_not_null()).select(
        "transaction_id", "day", "action", model_version=pl.lit("7")
    )
    transactions = rows.select(
        *("day", "event_us", "transaction_id", "customer_id", "amount_cents", "channel", "device_id"),
        event_time=pl.from_epoch("event_us", "us"),
    )
    tables = {"validated_transactions": transactions, "validated_labels": labels, "batch_scores": scores}
    for name, frame in tables.items():
        connection.register("frame", frame)
        connection.execute(f"CREATE TABLE {name} AS FROM frame")
    features = rows.select(
        "transaction_id", "event_us", "day", "customer_id", "amount_cents", "is_night", "customer_count_1h"
    )
    for (day,), part in features.partition_by("day", as_dict=True).items():
        part.write_parquet(folder / f"{day}.parquet")
    return connection


def reckon(payments: list[Payment], days: int = 100) -> dict[str, Any]:
    """What the report says, counted one by one."""
    as_of = max(p.day for p in payments) + timedelta(days=1)
    as_of_hours = (as_of - FIRST).days * 24
    old = sorted({p.day for p in payments if p.day < as_of - timedelta(days=DELAY_DAYS)})[-days:]
    judged = [p for p in payments if p.day in old and p.model is not None]

    def fraud(p: Payment) -> bool:
        known = [report for report in p.reports if report[0] < as_of_hours]
        return max(known)[1] if known else False

    def gain(p: Payment, action: Action) -> int:
        if action == "approve":
            return 0
        loss = p.amount + COSTS.missed_fraud_fee if fraud(p) else 0
        return loss - COSTS.review if action == "review" else (loss if fraud(p) else -COSTS.blocked_good)

    def decided(p: Payment, names: list[str]) -> Action:
        live = tuple(Match(name, RULES[name][1], RULES[name][2], "rule", "w") for name in names if RULES[name][4](p))
        return combine(p.model, Matches(live))[0]

    def way(actions: list[Action]) -> dict[str, Any]:
        alerts = [p for p, action in zip(judged, actions, strict=True) if action != "approve"]
        return {
            "reviews": actions.count("review"),
            "blocks": actions.count("block"),
            "found": sum(map(fraud, alerts)),
            "saved": sum(gain(p, action) for p, action in zip(judged, actions, strict=True)),
        }

    rules = {}
    for name, (_, action, _, _, holds) in RULES.items():
        alerts = [p for p in judged if holds(p)]
        asked = {"third": [p for p in judged if RULES["third"][4](p)], "later": []}.get(name, judged)
        rules[name] = {
            "rows": len(asked),
            "days": len({p.day for p in asked}),
            "frauds": sum(map(fraud, asked)),
            "alerts": len(alerts),
            "found": sum(map(fraud, alerts)),
            "saved": sum(gain(p, action) for p in alerts),
            "added": sum(gain(p, decided(p, [name])) - gain(p, p.model) for p in alerts),
            "too": sum(p.model != "approve" for p in alerts),
            "only": sum(fraud(p) and p.model == "approve" for p in alerts),
        }
    live = [name for name, rule in RULES.items() if rule[3] == "live"]
    return {
        "rows": len(judged),
        "without_score": sum(p.day in old and p.model is None for p in payments),
        "frauds": sum(map(fraud, judged)),
        "rules": rules,
        "model": way([p.model for p in judged]),
        "with_rules": way([decided(p, live) for p in judged]),
    }


def told(report: BacktestReport) -> dict[str, Any]:
    """The report in the reckoning's words; shares and means back to counts."""

    def count(share: float | None, whole: float) -> int:
        return round((share or 0) * whole)

    def way(found: Any) -> dict[str, Any]:
        return {
            "reviews": count(found.reviews_per_day, report.days),
            "blocks": count(found.blocks_per_day, report.days),
            "found": found.found,
            "saved": found.saved,
        }

    same = ("rows", "days", "frauds", "alerts", "found", "saved", "added")
    return {
        "rows": report.rows,
        "without_score": report.rows_without_score,
        "frauds": report.frauds,
        "rules": {
            rule.name: {key: getattr(rule, key) for key in same}
            | {"too": count(rule.model_alerts_too, rule.alerts), "only": rule.frauds_only_here}
            for rule in report.rules
        },
        "model": way(report.model),
        "with_rules": way(report.with_rules),
    }


payments = st.builds(
    Payment,
    hour=st.integers(0, 6 * 24 - 1),
    amount=st.sampled_from([500, 2000, 9000]),
    channel=st.sampled_from([None, "atm", "online"]),
    device=st.sampled_from([None, "D"]),
    night=st.sampled_from([None, 0.0, 1.0]),
    count=st.sampled_from([None, 0.0, 3.0]),
    model=st.sampled_from([None, "approve", "approve", "review", "block"]),
    reports=st.lists(st.tuples(st.integers(0, 10 * 24), st.booleans()), max_size=2).map(tuple),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(payments, min_size=1, max_size=25), st.integers(1, 5))
def test_it_is_what_counting_one_by_one_gives(
    tmp_path_factory: pytest.TempPathFactory, some: list[Payment], days: int
) -> None:
    some = [*some, Payment(hour=5 * 24), *(Payment(hour=day * 24) for day in range(4))]  # each day has a score
    folder = tmp_path_factory.mktemp("backtest")
    with warehouse(folder, some) as connection:
        report = backtest(connection, folder, rule_set(folder), CATALOG, COSTS, days)
    assert told(report) == reckon(some, days)


def run(folder: Path, some: list[Payment], ruleset: RuleSet | None = None, days: int = 100) -> BacktestReport:
    with warehouse(folder, some) as connection:
        return backtest(connection, folder, ruleset or rule_set(folder), CATALOG, COSTS, days)


LAST = Payment(hour=5 * 24, night=1.0, reports=((5 * 24, True),))
"""On the sixth day, so that the first four are judged and labels count that were reported before the seventh."""


def test_only_days_are_judged_whose_label_delay_has_passed(tmp_path: Path) -> None:
    some = [Payment(hour=24 * day, night=1.0) for day in range(5)] + [LAST]
    report = run(tmp_path, some)
    assert (report.first, report.last, report.days) == (FIRST, FIRST + timedelta(days=3), 4)
    assert (report.as_of, report.label_delay_days) == (FIRST + timedelta(days=6), 2)
    assert (report.rows, report.rules[0].alerts, report.rules[0].alerts_per_day) == (4, 4, 1.0)


@pytest.mark.parametrize(
    ("reports", "is_fraud"),
    [
        ((), False),
        (((1, True),), True),
        (((143, True),), True),
        (((144, True),), False),
        (((1, True), (2, False)), False),
        (((1, False), (2, True)), True),
        (((1, True), (150, False)), True),
        (((2, True), (2, False)), True),
    ],
)
def test_the_latest_label_counts_that_was_known_when_the_data_end(
    tmp_path: Path, reports: tuple[tuple[int, bool], ...], is_fraud: bool
) -> None:
    report = run(tmp_path, [Payment(hour=0, reports=reports), LAST])
    assert report.frauds == int(is_fraud)


def test_shares_say_none_where_there_is_nothing_to_divide_by(tmp_path: Path) -> None:
    night = run(tmp_path, [Payment(hour=0), LAST]).rules[0]
    assert (night.precision, night.recall, night.model_alerts_too, night.alerts_per_day) == (None, None, None, 0)


def test_a_rule_out_of_force_has_no_rows_and_says_so(tmp_path: Path) -> None:
    report = run(tmp_path, [Payment(hour=0), LAST])
    later = next(rule for rule in report.rules if rule.name == "later")
    assert (later.rows, later.days, later.alerts_per_day) == (0, 0, 0)
    assert next(line for line in describe_backtest(report) if line.startswith("later")).split()[3:6] == [
        "not",
        "in",
        "force",
    ]


def test_the_rows_are_read_in_batches_and_none_is_lost_between_them(tmp_path: Path, monkeypatch) -> None:
    some = [
        Payment(hour=number % 70, night=float(number % 2), reports=((100, number % 3 == 0),)) for number in range(5000)
    ]
    whole = run(tmp_path, [*some, LAST])
    sizes: list[int] = []
    add = module._Judged.add
    monkeypatch.setattr(module, "BATCH_ROWS", 100)
    monkeypatch.setattr(
        module._Judged, "add", lambda self, batch, catalog: (sizes.append(batch.height), add(self, batch, catalog))
    )
    in_parts = run(tmp_path, [*some, LAST])
    assert max(sizes) <= 2048 and sum(sizes) == 5000  # DuckDB hands out vectors of 2,048 rows at least
    assert told(in_parts) == told(whole) == reckon([*some, LAST])


def test_inactive_rules_are_named_and_not_judged(tmp_path: Path) -> None:
    poor = build_catalog(["transaction_id", "event_time", "customer_id", "amount_cents"], [], DELAY_DAYS * DAY_US)
    rule_set(tmp_path)
    ruleset = RuleSet.load(tmp_path / "rules.yaml", tmp_path / "lists.yaml", poor)
    with warehouse(tmp_path, [Payment(hour=0), LAST]) as connection:
        report = backtest(connection, tmp_path, ruleset, poor, COSTS)
    assert report.inactive == (("large", "the source lacks channel"), ("trial", "the source lacks device_id"))
    assert [rule.name for rule in report.rules] == ["night", "usual", "third", "later"]


def test_without_rules_the_model_is_judged_alone(tmp_path: Path) -> None:
    report = run(tmp_path, [Payment(hour=0, model="review", reports=((1, True),)), LAST], rule_set(tmp_path, ()))
    assert report.rules == ()
    assert report.model.saved == report.with_rules.saved == 2000 + 1000 - 300
    assert "rule " not in "\n".join(describe_backtest(report))


def test_the_report_names_the_rules_and_the_model_that_it_is_about(tmp_path: Path) -> None:
    ruleset = rule_set(tmp_path)
    report = run(tmp_path, [Payment(hour=0), LAST], ruleset)
    assert (report.rules_digest, report.model_versions) == (ruleset.rules_digest, ("7",))
    (tmp_path / "lists.yaml").write_text("entries: []")
    assert rule_set(tmp_path).rules_digest == ruleset.rules_digest != rule_set(tmp_path, ("night",)).rules_digest


def test_days_that_cannot_be_judged_are_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="No day before 2026-01-05 has both features and scores"):
        run(tmp_path, [Payment(hour=0, model=None), LAST])


def test_a_warehouse_without_scores_says_what_to_materialize(tmp_path: Path) -> None:
    with warehouse(tmp_path, [Payment(hour=0)]) as connection:
        connection.execute("DROP TABLE batch_scores")
        with pytest.raises(WarehouseError, match="Materialize `batch_scores` first"):
            backtest(connection, tmp_path, rule_set(tmp_path), CATALOG, COSTS)


def test_features_of_another_catalog_are_an_error_that_names_what_they_lack(tmp_path: Path) -> None:
    ruleset = rule_set(tmp_path, ("night",))
    with warehouse(tmp_path, [Payment(hour=0), LAST]) as connection:
        path = tmp_path / f"{FIRST}.parquet"
        pl.read_parquet(path).drop("is_night").write_parquet(path)
        with pytest.raises(CatalogError, match=r"lacks the features \['is_night'\]"):
            backtest(connection, tmp_path, ruleset, CATALOG, COSTS)


def test_the_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report, path = run(tmp_path, [Payment(hour=0, night=1.0), LAST]), tmp_path / "reports" / "rule_backtest.json"
    assert read_report(path) is None
    write_report(path, report)
    assert read_report(path) == report
    path.write_text("{}")
    with pytest.raises(WarehouseError, match="Materialize `rule_backtest`"):
        read_report(path)


def test_the_table_has_a_row_for_each_rule_and_its_types_without_any(tmp_path: Path) -> None:
    report = run(tmp_path, [Payment(hour=0, night=1.0), LAST])
    table = results_table(report)
    assert table["name"].to_list() == list(RULES)
    assert table["alerts"].to_list()[0] == 1
    empty = results_table(msgspec.structs.replace(report, rules=()))
    assert (empty.height, empty.schema) == (0, table.schema)
