"""Small sources on disk: a YAML file beside its data."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from fraud_platform.transactions.labels import ValidatedLabels, land_labels, validate_labels
from fraud_platform.transactions.reading import Landed, land
from fraud_platform.transactions.source_schema import Source
from fraud_platform.transactions.sources import load_source
from fraud_platform.transactions.validation import Validated, validate_transactions

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)

PLAIN: dict[str, Any] = {
    "format": "csv",
    "path": "data.csv",
    "first_day": FIRST,
    "last_day": LAST,
    "event_time": {"column": "when"},
    "amount": {"column": "amount"},
    "columns": {"transaction_id": "id", "customer_id": "who"},
}
"""A source of CSV files with the columns id, when, who, amount."""


@dataclass
class Workshop:
    """A folder with a source, its data and a warehouse."""

    folder: Path
    connection: duckdb.DuckDBPyConnection

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def data(self) -> Path:
        return self.folder / "data.csv"

    def source(self, **changes: Any) -> Source:
        """The plain source with some keys replaced; its path is in the folder."""
        raw = {**PLAIN, **changes}
        raw["path"] = str(self.folder / raw["path"])
        file = self.folder / "shop.yaml"
        file.write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return load_source(file)

    def csv(self, *lines: str, name: str = "data.csv", header: str = "id,when,who,amount") -> Path:
        """Write a CSV file of these lines."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("\n".join([header, *lines, ""]).encode())
        return path

    def land(self, source: Source, first: date = FIRST, last: date = LAST) -> Landed:
        return land(source, self.raw, first, last, self.folder / "scratch")

    def validate(self, source: Source, first: date = FIRST, last: date = LAST) -> Validated:
        return validate_transactions(self.connection, source, self.raw, first, last)

    def labels(self, source: Source, first: date = FIRST, last: date = LAST) -> ValidatedLabels:
        land_labels(source, self.raw, self.folder / "raw_labels", first, last)
        return validate_labels(self.connection, source, self.folder / "raw_labels", first, last)

    def run(self, source: Source) -> Validated:
        self.land(source)
        return self.validate(source)

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(select).fetchall()

    def accepted(self) -> list[str]:
        """Ids of the validated transactions, in order of time."""
        return [
            row[0]
            for row in self.rows("SELECT transaction_id FROM validated_transactions ORDER BY event_us, transaction_id")
        ]

    def quarantined(self) -> dict[int, list[str]]:
        """Reasons of the quarantined rows, by row number."""
        return dict(self.rows("SELECT source_row, reasons FROM quarantined_transactions ORDER BY source_row"))

    def parquet(self, select: str, name: str = "data.parquet") -> Path:
        """Write the rows of a SELECT as a Parquet file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
        return path

    def raw_rows(self, day: str) -> list[tuple[Any, ...]]:
        return self.rows(f"SELECT id, _file, _row FROM read_parquet('{self.raw}/{day}.parquet')")

    def undated(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT _file, _row, _reasons, _original FROM "
            f"read_parquet('{self.raw}/undated.parquet') ORDER BY _file, _row"
        )


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with opened_workshop(tmp_path) as workshop:
        yield workshop


@contextmanager
def opened_workshop(folder: Path) -> Iterator[Workshop]:
    """For a run that several tests of a module look at and none changes; a test of its own takes `workshop`."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    yield Workshop(folder, connection)
    connection.close()


@pytest.fixture
def workshops(tmp_path: Path) -> Iterator[Callable[[str], Workshop]]:
    """Several workshops, for properties whose examples each need one."""
    opened: list[duckdb.DuckDBPyConnection] = []

    def make(name: str) -> Workshop:
        folder = tmp_path / name
        folder.mkdir()
        opened.append(duckdb.connect())
        return Workshop(folder, opened[-1])

    yield make
    for connection in opened:
        connection.close()
