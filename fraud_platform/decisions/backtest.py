"""Rules on history: what each would have found, what it would have cost, and what it adds to the model.

Streamed, a batch of rows at a time. Labels are taken as they are for the evaluation of a model: the latest
one reported before the end of the data counts, only days are judged whose label delay has passed by then, and
a payment without a label is legitimate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import duckdb
import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraud_platform.decisions.backtest_report import BacktestReport, RuleResult, Together
from fraud_platform.decisions.policy import SEVERITY, Action, Matches, combine
from fraud_platform.decisions.rules import Mode, Rule
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.errors import CatalogError, WarehouseError
from fraud_platform.features.expressions import DAY
from fraud_platform.features.selection import Catalog
from fraud_platform.models.costs import CostMatrix, fraud_losses, gains_of
from fraud_platform.warehouse import day_files, last_day, write_files

DAYS = 28
"""Days that are judged where nobody says how many."""

BATCH_ROWS = 50_000

Flags = NDArray[np.bool_]
Severities = NDArray[np.int8]

_TYPES: dict[Any, type[pl.DataType]] = {
    str: pl.String,
    int: pl.Int64,
    float: pl.Float64,
    float | None: pl.Float64,
    Mode: pl.String,
    Action: pl.String,
}
_EPOCH = date(1970, 1, 1)
_ACTIONS: tuple[Action, ...] = ("approve", "review", "block")


def backtest(
    connection: duckdb.DuckDBPyConnection,
    features: Path,
    ruleset: RuleSet,
    catalog: Catalog,
    costs: CostMatrix,
    days: int = DAYS,
) -> BacktestReport:
    """Ask every rule, in shadow or live, about the last `days` days whose labels have come.

    Lists are left out: who is on them today says nothing of what they would have caught.

    Args:
        features: the folder of the feature tables, a Parquet file a day.

    Raises:
        WarehouseError: if no day can be judged. CatalogError: if the features are of another catalog.
    """
    last_day(connection, "batch_scores")  # says what to do where there are none
    as_of = last_day(connection, "validated_transactions") + timedelta(days=1)
    end = as_of - timedelta(days=catalog.label_delay_days)
    files = day_files(features, date.min, end - timedelta(days=1))[-days:]
    judged = _Judged(ruleset.rules, costs)
    for file in files:
        for batch in _batches(connection, file, ruleset.rules, catalog, as_of):
            judged.add(batch, catalog)
    if not judged.rows:
        raise WarehouseError(
            f"No day before {end} has both features and scores, and later payments may still be reported as fraud. "
            "Materialize `transaction_features` and `batch_scores` for older days."
        )
    return judged.report(ruleset, catalog, as_of)


def write_report(path: Path, report: BacktestReport) -> None:
    """What `read_report` reads.

    Raises:
        WarehouseError: if it cannot be written.
    """
    content = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    write_files([(path, lambda partial: partial.write_bytes(content))])


def results_table(report: BacktestReport) -> pl.DataFrame:
    """A row for each rule."""
    schema = {name: _TYPES[kind] for name, kind in get_type_hints(RuleResult).items()}
    rows = [msgspec.structs.asdict(result) for result in report.rules]
    return pl.DataFrame(rows, schema).with_columns(
        made_at=pl.lit(report.made_at.replace(tzinfo=None)), rules_digest=pl.lit(report.rules_digest)
    )


def _batches(
    connection: duckdb.DuckDBPyConnection, file: Path, rules: Sequence[Rule], catalog: Catalog, as_of: date
) -> Iterator[pl.DataFrame]:
    """The payments of one day with what the rules need of them, in no order."""
    used = frozenset[str]().union(*(rule.names for rule in rules))
    inputs = [name for name in catalog.names if name in used]
    if absent := set(inputs) - set(pq.read_schema(file).names):
        raise CatalogError(
            f"{file} lacks the features {sorted(absent)}. Materialize `transaction_features` for this day again."
        )
    columns = [f't."{name}"' for name in sorted(used - set(inputs) - {"event_time", "amount_cents"})]
    selected = ", ".join(["t.event_us", "t.amount_cents", *columns, *(f'f."{name}"' for name in inputs)])
    relation = connection.sql(
        f"""
        WITH known AS (
            SELECT transaction_id, arg_max(is_fraud, (reported_at, is_fraud)) AS is_fraud FROM validated_labels
            WHERE day = $day AND reported_at < $as_of GROUP BY transaction_id
        )
        SELECT {selected}, coalesce(k.is_fraud, false) AS known_fraud, s.action AS model_action, s.model_version
        FROM read_parquet($file) f
        JOIN (FROM validated_transactions WHERE day = $day) t USING (transaction_id)
        LEFT JOIN (FROM batch_scores WHERE day = $day) s USING (transaction_id)
        LEFT JOIN known k USING (transaction_id)
        """,
        params={
            "day": date.fromisoformat(file.stem),
            "as_of": datetime.combine(as_of, time.min),
            "file": str(file.resolve()),
        },
    )
    for batch in relation.to_arrow_reader(BATCH_ROWS):
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        yield frame


@dataclass
class _Tally:
    """The sums over what one rule was asked about."""

    rows: int = 0
    frauds: int = 0
    alerts: int = 0
    found: int = 0
    saved: int = 0
    added: int = 0
    model_alerts_too: int = 0
    frauds_only_here: int = 0
    days: set[int] = field(default_factory=set)

    def result(self, rule: Rule) -> RuleResult:
        return RuleResult(
            name=rule.name,
            mode=rule.mode,
            action=rule.action,
            weight=rule.weight,
            rows=self.rows,
            days=len(self.days),
            frauds=self.frauds,
            alerts=self.alerts,
            alerts_per_day=self.alerts / max(len(self.days), 1),
            found=self.found,
            precision=_share(self.found, self.alerts),
            recall=_share(self.found, self.frauds),
            saved=self.saved,
            added=self.added,
            model_alerts_too=_share(self.model_alerts_too, self.alerts),
            frauds_only_here=self.frauds_only_here,
        )


@dataclass
class _Decisions:
    """The sums over one way to decide."""

    reviews: int = 0
    blocks: int = 0
    found: int = 0
    saved: int = 0

    def add(self, severities: Severities, labels: Flags, gains: NDArray[np.int64]) -> None:
        self.reviews += int((severities == SEVERITY["review"]).sum())
        self.blocks += int((severities == SEVERITY["block"]).sum())
        self.found += int((labels & (severities > 0)).sum())
        self.saved += int(gains.sum())

    def result(self, name: str, days: int, frauds: int) -> Together:
        return Together(
            name=name,
            reviews_per_day=self.reviews / days,
            blocks_per_day=self.blocks / days,
            found=self.found,
            precision=_share(self.found, self.reviews + self.blocks),
            recall=_share(self.found, frauds),
            saved=self.saved,
        )


class _Judged:
    """What was found so far: sums, and nothing that grows with the rows."""

    def __init__(self, rules: Sequence[Rule], costs: CostMatrix) -> None:
        self._rules = RuleSet(tuple(rules))
        self._places = {rule.name: place for place, rule in enumerate(rules)}
        self._costs = costs
        self._tallies = [_Tally() for _ in rules]
        self._model, self._with_rules = _Decisions(), _Decisions()
        self._versions: set[str] = set()
        self._days: set[int] = set()
        self.rows = self._frauds = self._without_score = 0

    def add(self, batch: pl.DataFrame, catalog: Catalog) -> None:
        scored = batch.filter(pl.col("model_action").is_not_null())
        self._without_score += batch.height - scored.height
        self.rows += scored.height
        if not scored.height:
            return
        labels = scored["known_fraud"].to_numpy()
        losses = fraud_losses(labels, scored["amount_cents"].to_numpy(), self._costs)
        model = scored["model_action"].replace_strict(SEVERITY, return_dtype=pl.Int8).to_numpy()
        hits, together = self._ask(scored, catalog, model)
        model_gains = self._gains(labels, losses, model)
        self._model.add(model, labels, model_gains)
        self._with_rules.add(together, labels, self._gains(labels, losses, together))
        self._frauds += int(labels.sum())
        self._versions.update(scored["model_version"].unique())
        event_us = scored["event_us"].to_numpy()
        days = event_us // DAY
        self._days.update(np.unique(days).tolist())
        for rule, tally, hit in zip(self._rules.rules, self._tallies, hits, strict=True):
            in_force = (event_us >= rule.from_us) & (event_us < rule.until_us)
            tally.days.update(np.unique(days[in_force]).tolist())
            tally.rows += int(in_force.sum())
            tally.frauds += int((labels & in_force).sum())
            alone = np.where(hit, np.int8(SEVERITY[rule.action]), np.int8(0))
            beside = np.where(hit, 0 if rule.action == "approve" else np.maximum(model, alone), model)
            tally.alerts += int(hit.sum())
            tally.found += int((hit & labels).sum())
            tally.saved += int(self._gains(labels, losses, alone).sum())
            tally.added += int((self._gains(labels, losses, beside) - model_gains).sum())
            tally.model_alerts_too += int((hit & (model > 0)).sum())
            tally.frauds_only_here += int((hit & labels & (model == 0)).sum())

    def _ask(self, rows: pl.DataFrame, catalog: Catalog, model: Severities) -> tuple[NDArray[np.bool_], Severities]:
        """Which rules match which rows, shape (rules, rows), and what the live ones make of the model's action."""
        inputs = [name for name in catalog.names if name in rows.columns]
        matrix = np.full((rows.height, len(catalog.names)), np.nan, np.float32)
        for name in inputs:
            matrix[:, catalog.names.index(name)] = rows[name].to_numpy()
        events = rows.select(pl.exclude([*inputs, "known_fraud", "model_action", "model_version"]))
        hits, together = np.zeros((len(self._places), rows.height), np.bool_), model.copy()
        for row, event in enumerate(events.iter_rows(named=True)):
            found = self._rules.match(event, matrix[row])
            for match in (*found.live, *found.shadow):
                hits[self._places[match.name], row] = True
            if found.live:
                action, _ = combine(_ACTIONS[model[row]], Matches(found.live))
                together[row] = SEVERITY[action]
        return hits, together

    def _gains(self, labels: Flags, losses: NDArray[np.int64], severities: Severities) -> NDArray[np.int64]:
        return gains_of(labels, losses, severities > 0, severities == SEVERITY["block"], self._costs)

    def report(self, ruleset: RuleSet, catalog: Catalog, as_of: date) -> BacktestReport:
        judged_days = len(self._days)
        return BacktestReport(
            made_at=datetime.now(UTC),
            rules_digest=ruleset.rules_digest,
            first=_EPOCH + timedelta(days=min(self._days)),
            last=_EPOCH + timedelta(days=max(self._days)),
            days=judged_days,
            as_of=as_of,
            label_delay_days=catalog.label_delay_days,
            rows=self.rows,
            frauds=self._frauds,
            rows_without_score=self._without_score,
            model_versions=tuple(sorted(self._versions)),
            rules=tuple(tally.result(rule) for rule, tally in zip(self._rules.rules, self._tallies, strict=True)),
            inactive=tuple((inactive.rule.name, inactive.reason) for inactive in ruleset.inactive),
            model=self._model.result("model", judged_days, self._frauds),
            with_rules=self._with_rules.result("model and live rules", judged_days, self._frauds),
        )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
