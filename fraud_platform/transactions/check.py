"""Check a source from its YAML file to its last row, and report everything that a user can mend at once."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from fraud_platform.errors import SourceError
from fraud_platform.transactions import contract
from fraud_platform.transactions.labels import land_labels, validate_labels
from fraud_platform.transactions.reading import Landed, land
from fraud_platform.transactions.row_checks import RAW_COLUMNS
from fraud_platform.transactions.source_schema import Source
from fraud_platform.transactions.sources import load_source
from fraud_platform.transactions.validation import raw_relation, validate_transactions
from fraud_platform.warehouse import connect, day_files

FARTHEST_DAY = date(2099, 12, 31)
SIMULATED_DAYS = 7
"""Days of a simulated source that are looked at; it has no end."""
REJECTED_WARNING = 0.05
"""Share of rejected rows from which on a problem is reported."""


@dataclass(frozen=True)
class SourceReport:
    """What a full pass over a source found.

    Attributes:
        problems: everything that is wrong, with the fix; empty where the source can be used.
        rows: rows of the files, rejected ones included.
        accepted, rejected: good rows; rejected rows, those without a day included.
        first_event, last_event: UTC, ISO; None where no row is good.
        fraud_rate: labelled frauds among the good rows; None where the source has no labels.
        used, unused: columns of the source that are mapped, and that are not.
        missing: optional columns of the contract that the source does not give.
        reasons: rejected rows per kind of reason, labels included.
    """

    source: str
    problems: tuple[str, ...] = ()
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    first_event: str | None = None
    last_event: str | None = None
    fraud_rate: float | None = None
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)

    def render(self) -> str:
        """The report as text for a terminal."""
        lines = [f"source          {self.source}"]
        if self.rows:
            share = self.rejected / self.rows
            lines += [
                f"rows            {self.rows:,} ({self.accepted:,} good, {self.rejected:,} rejected: {share:.2%})",
                f"first event     {self.first_event or '-'}",
                f"last event      {self.last_event or '-'}",
                f"fraud rate      {'no labels' if self.fraud_rate is None else f'{self.fraud_rate:.3%}'}",
                f"columns used    {', '.join(self.used)}",
                f"columns unused  {', '.join(self.unused) or 'none'}",
                f"not given       {', '.join(self.missing) or 'nothing'}",
            ]
        if self.reasons:
            width = max(len(f"{count:,}") for count in self.reasons.values())
            lines += [
                "rejected rows by reason",
                *(f"  {count:>{width},}  {kind}" for kind, count in self.reasons.items()),
            ]
        lines += ["problems", *(f"  - {problem}" for problem in self.problems)] if self.problems else ["no problems"]
        return "\n".join(lines)


def check_source(path: Path, data: str | None = None) -> SourceReport:
    """Load the YAML file, read all its data, validate every row, and report.

    Nothing is written but a temporary folder, which needs about as much room as the data.

    Args:
        path: the YAML file.
        data: replaces the source's own `path`.
    """
    try:
        source = load_source(path, data)
        with TemporaryDirectory(prefix="check-source-") as folder:
            return _check(source, Path(folder))
    except SourceError as error:
        return SourceReport(path.stem, problems=tuple(_problems_of(error)))


def _problems_of(error: SourceError) -> list[str]:
    """A list in an error's message, as a list."""
    head, *listed = str(error).split("\n  - ")
    return listed or [head]


def _check(source: Source, folder: Path) -> SourceReport:
    last = source.last_day or FARTHEST_DAY
    if source.format == "simulator":
        last = min(last, source.first_day + timedelta(days=SIMULATED_DAYS - 1))
    raw, raw_labels = folder / "raw", folder / "labels"
    landed = land(source, raw, source.first_day, last, folder / "scratch")
    with connect(folder / "check.duckdb") as connection:
        validated = validate_transactions(connection, source, raw, source.first_day, last)
        land_labels(source, raw, raw_labels, source.first_day, last)
        labels = validate_labels(connection, source, raw_labels, source.first_day, last)
        extent = connection.execute(
            "SELECT count(*), CAST(min(event_time) AS VARCHAR), CAST(max(event_time) AS VARCHAR) "
            "FROM validated_transactions"
        )
        accepted, first_event, last_event = extent.fetchone() or (0, None, None)
        frauds = (
            "SELECT count(DISTINCT transaction_id) FROM validated_labels JOIN validated_transactions "
            "USING (transaction_id) WHERE is_fraud"
        )
        (fraud_count,) = connection.execute(frauds).fetchone() or (0,)
    used = tuple(dict.fromkeys(source.used_columns.values()))
    rejected = sum(validated.quarantined.values()) + validated.undated
    report = SourceReport(
        source=source.name,
        rows=accepted + rejected,
        accepted=accepted,
        rejected=rejected,
        first_event=first_event,
        last_event=last_event,
        fraud_rate=fraud_count / accepted if source.labels and accepted else None,
        used=used,
        unused=tuple(name for name in _columns(raw, source.first_day, last) if name not in used),
        missing=tuple(name for name in contract.OPTIONAL if name not in source.present),
        reasons=validated.reasons | {f"label {kind}": count for kind, count in labels.reasons.items()},
    )
    return _with_problems(report, source, landed)


def _columns(raw: Path, first: date, last: date) -> list[str]:
    paths = day_files(raw, first, last)
    if not paths:
        return []
    connection = duckdb.connect()
    try:
        return [name for name in raw_relation(connection, paths)[1] if name not in RAW_COLUMNS]
    finally:
        connection.close()


FIXES = {
    "event_time: too early": "set first_day to an earlier day",
    "event_time: too late": "set last_day to a later day, or leave it out",
    "event_time: unreadable": "correct event_time.format",
    "event_time: local time does not exist": "correct event_time.zone",
    "amount_cents: not a number": "correct amount.decimal_mark",
    "amount_cents: too many decimals": "correct amount.decimals or amount.decimal_mark",
    "amount_cents: fraction of a minor unit": "set amount.unit to major",
    "channel: unknown word": "translate the words in values.channel",
    "line: too few fields": "correct csv.delimiter",
    "line: too many fields": "correct csv.delimiter or csv.quote",
    "line: not valid utf-8": "set csv.encoding to latin-1",
    "transaction_id: duplicate": "name a column that is unique as columns.transaction_id",
}
"""What usually mends a reason that many rows have."""


def _with_problems(report: SourceReport, source: Source, landed: Landed) -> SourceReport:
    problems = []
    if report.rows and not report.accepted:
        problems.append(f"{source.file}: not one of {report.rows:,} rows can be used; see the reasons above.")
    for kind, count in report.reasons.items():
        if report.rows and count / report.rows >= REJECTED_WARNING:
            fix = FIXES.get(kind, "correct the mapping, or the data at their origin")
            problems.append(
                f"{source.file}: {count / report.rows:.1%} of the rows are rejected for '{kind}'. Fix: {fix}."
            )
    if report.fraud_rate is not None and not 0 < report.fraud_rate < 0.5 and report.accepted:
        fix = "check labels.is_fraud.column and fraud_values"
        problems.append(f"{source.file}: labels.is_fraud: {report.fraud_rate:.1%} of the rows are fraud. Fix: {fix}.")
    if not report.rows:
        days = f"{source.first_day} to {source.last_day or 'now'}"
        problems.append(
            f"{source.file}: no rows from {days} in {', '.join(landed.files)}. Correct first_day and last_day."
        )
    return replace(report, problems=tuple(problems))
