"""From features and labels to a training set: periods by time, labels as they were known, and an
immutable snapshot. Fits nothing."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.warehouse import write_files

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
LABEL_COLUMNS = ("is_fraud", "fraud_type", "reported_us", "split")
NAME_LENGTH = 16


@dataclass(frozen=True)
class Days:
    """The days in [first, end), UTC."""

    first: date
    end: date


@dataclass(frozen=True)
class Periods:
    """Which events a model is fitted on, tuned on and judged on.

    The training moment is the start of `test`: a model trained then knows the labels reported
    before it, and those of the last `label delay` days have not matured. `as_of` is the moment at
    which the labels of the test period are known.
    """

    train: Days
    validation: Days
    test: Days
    as_of: date

    @property
    def training_moment(self) -> date:
        """Midnight, UTC, before which a label must be reported to be learnt from."""
        return self.test.first

    def of(self, split: Split) -> Days:
        """The days of one split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


@dataclass(frozen=True)
class SplitFacts:
    """What one split of a snapshot holds; the times are event_us, None where there is no row."""

    rows: int
    frauds: int
    first_event_us: int | None
    last_event_us: int | None


@dataclass(frozen=True)
class Snapshot:
    """A training set on disk that never changes.

    `hash` is the SHA-256 (hex) of the content and the periods; `columns` maps each column to its
    type.
    """

    path: Path
    hash: str
    periods: Periods
    columns: dict[str, str]
    splits: dict[Split, SplitFacts]

    @property
    def rows(self) -> int:
        return sum(facts.rows for facts in self.splits.values())

    @property
    def frauds(self) -> int:
        return sum(facts.frauds for facts in self.splits.values())

    def read(self, split: Split | None = None, columns: list[str] | None = None) -> pl.DataFrame:
        """The rows of one split (all of them without), sorted by (event_us, transaction_id)."""
        rows = pl.scan_parquet(self.path)
        if split is not None:
            rows = rows.filter(pl.col("split") == split)
        return (rows.select(columns) if columns is not None else rows).collect()


def plan_periods(
    first_day: date, end_day: date, label_delay_days: int, validation_days: int, test_days: int
) -> Periods:
    """Split the days of data by time, with the label delay as a gap before the test period.

    Args:
        first_day: the first day of data.
        end_day: the day after the last day of data; the labels are known as of its midnight.
        label_delay_days: days after which an unreported event counts as legitimate.

    Raises:
        TrainingError: where a length is impossible or no day is left to train on.
    """
    if label_delay_days < 0 or validation_days < 1 or test_days < 1:
        raise TrainingError(
            f"Periods cannot be planned with {label_delay_days} days of label delay, {validation_days} of validation "
            f"and {test_days} of test: the delay must be 0 or more and the others 1 or more. Correct "
            "`labels.delay_days` in the source's file, FRAUD_VALIDATION_DAYS or FRAUD_TEST_DAYS."
        )
    test = Days(end_day - timedelta(days=label_delay_days + test_days), end_day - timedelta(days=label_delay_days))
    matured = test.first - timedelta(days=label_delay_days)
    validation = Days(matured - timedelta(days=validation_days), matured)
    if validation.first <= first_day:
        have, need = (end_day - first_day).days, 2 * label_delay_days + test_days + validation_days + 1
        raise TrainingError(
            f"Too few days to train: there are {have} ({first_day} up to {end_day}, exclusive) and {need} are needed: "
            f"twice the label delay of {label_delay_days}, {test_days} of test, {validation_days} of validation and at "
            "least 1 to train on. Materialize more days, or lower FRAUD_TEST_DAYS or FRAUD_VALIDATION_DAYS."
        )
    return Periods(Days(first_day, validation.first), validation, test, end_day)


def label_events(events: pl.DataFrame, labels: pl.DataFrame, periods: Periods) -> pl.DataFrame:
    """Give each event of the periods its split and its label as it was known at the moment that counts.

    Train and validation see the reports before the training moment, test those before `as_of`. The
    latest such report wins (at the same instant: fraud before legitimate, then the greater
    fraud_type); an event without one is legitimate.

    Args:
        events: transaction_id, event_us, day, customer_id, amount_cents and the model inputs.
        labels: transaction_id, is_fraud, reported_us, fraud_type; every report, corrections included.

    Returns:
        The events with `is_fraud` (Boolean), `fraud_type` (String, null unless fraud), `reported_us` (when that
        verdict was reported; null without one) and `split`, sorted by (event_us, transaction_id).
    """
    splits = [events.filter(_within(periods.of(split))).with_columns(split=pl.lit(split)) for split in SPLITS]
    known_from = {"train": periods.training_moment, "validation": periods.training_moment, "test": periods.as_of}
    labelled = [
        rows.join(_verdicts(labels, known_from[split]), on="transaction_id", how="left", maintain_order="left")
        for split, rows in zip(SPLITS, splits, strict=True)
    ]
    return (
        pl.concat(labelled)
        .with_columns(pl.col("is_fraud").fill_null(False))
        .select(*events.columns, *LABEL_COLUMNS)
        .sort("event_us", "transaction_id")
    )


def _within(days: Days) -> pl.Expr:
    return (pl.col("day") >= days.first) & (pl.col("day") < days.end)


def _verdicts(labels: pl.DataFrame, moment: date) -> pl.DataFrame:
    """The last report of each transaction before the midnight of `moment`."""
    return (
        labels.filter(pl.col("reported_us") < midnight_us(moment))
        .sort("reported_us", "is_fraud", "fraud_type", nulls_last=False)
        .unique("transaction_id", keep="last", maintain_order=True)
        .select(
            "transaction_id",
            "is_fraud",
            pl.when("is_fraud").then(pl.col("fraud_type").cast(pl.String)).alias("fraud_type"),
            "reported_us",
        )
    )


def midnight_us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def write_snapshot(frame: pl.DataFrame, folder: Path, periods: Periods) -> Snapshot:
    """Write what `label_events` returned as `<folder>/<16 hex>.parquet` with a JSON of facts beside it.

    The same content gives the same name, and a snapshot that exists is checked and left alone.

    Raises:
        TrainingError: if an existing file of that name does not hold that content.
    """
    hash_ = content_hash(frame, periods)
    snapshot = Snapshot(
        path=folder / f"{hash_[:NAME_LENGTH]}.parquet",
        hash=hash_,
        periods=periods,
        columns={name: str(dtype) for name, dtype in frame.schema.items()},
        splits={split: _facts(frame.filter(pl.col("split") == split)) for split in SPLITS},
    )
    if snapshot.path.exists() and _facts_file(snapshot.path).exists():
        return read_snapshot(folder, hash_)
    write_files(
        [
            (snapshot.path, lambda path: frame.write_parquet(path, compression="zstd", statistics=True)),
            (_facts_file(snapshot.path), lambda path: _write_facts(path, snapshot)),
        ]
    )
    return snapshot


def read_snapshot(folder: Path, hash_: str) -> Snapshot:
    """The snapshot whose hash begins with `hash_` (16 hex digits or more), verified against it.

    Raises:
        TrainingError: if it is missing or its content is not what the hash says.
    """
    path = folder / f"{hash_[:NAME_LENGTH]}.parquet"
    if len(hash_) < NAME_LENGTH or not path.exists() or not _facts_file(path).exists():
        raise TrainingError(f"There is no training set {hash_!r} in {folder}. Materialize `training_set` to write one.")
    try:
        facts = msgspec.json.decode(_facts_file(path).read_bytes(), type=_FactsFile)
        actual = content_hash(pl.read_parquet(path), facts.periods)
    except (msgspec.DecodeError, pl.exceptions.PolarsError) as error:
        raise TrainingError(f"The training set {path} cannot be read: {error}. {_DAMAGED}") from error
    if facts.hash != actual or not actual.startswith(hash_):
        raise TrainingError(
            f"The training set {path} was changed after it was written: its hash is {actual}. {_DAMAGED}"
        )
    return Snapshot(path, facts.hash, facts.periods, facts.columns, facts.splits)


def content_hash(frame: pl.DataFrame, periods: Periods) -> str:
    """SHA-256 of names, types, values and periods: not of the Parquet bytes, which change with the library."""
    digest = hashlib.sha256(msgspec.json.encode(periods))
    for series in frame.iter_columns():
        digest.update(msgspec.json.encode([series.name, str(series.dtype), len(series)]))
        for part in _canonical_parts(series):
            digest.update(part)
    return digest.hexdigest()


def _canonical_parts(series: pl.Series) -> Iterator[bytes]:
    """Which rows are null, then the values: little-endian numbers, or UTF-8 with its lengths."""
    yield np.packbits(series.is_null().to_numpy()).tobytes()
    if series.dtype == pl.String:
        yield series.str.len_bytes().fill_null(0).to_numpy().astype("<u4").tobytes()
        yield "".join(series.drop_nulls().to_list()).encode()
        return
    if series.dtype.is_float():
        values = series.fill_null(0.0).to_numpy()
        values = np.where(np.isnan(values), np.nan, values).astype(values.dtype)
    elif series.dtype == pl.Boolean:
        values = series.fill_null(False).to_numpy().astype(np.uint8)
    else:
        values = series.to_physical().fill_null(0).to_numpy()
    yield np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()


class _FactsFile(msgspec.Struct):
    """The JSON beside a snapshot."""

    hash: str
    rows: int
    frauds: int
    splits: dict[Split, SplitFacts]
    periods: Periods
    columns: dict[str, str]


_DAMAGED = "Delete it with its .json and materialize `training_set` again."


def _facts_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _write_facts(path: Path, snapshot: Snapshot) -> None:
    facts = _FactsFile(
        snapshot.hash, snapshot.rows, snapshot.frauds, snapshot.splits, snapshot.periods, snapshot.columns
    )
    path.write_bytes(msgspec.json.format(msgspec.json.encode(facts)) + b"\n")


def _facts(rows: pl.DataFrame) -> SplitFacts:
    events = rows.get_column("event_us")
    first, last = (int(events[0]), int(events[-1])) if rows.height else (None, None)
    return SplitFacts(rows.height, int(rows.get_column("is_fraud").sum()), first, last)
