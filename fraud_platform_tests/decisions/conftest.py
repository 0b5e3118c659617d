"""A warehouse and a small source, for what goes from the outbox to the pipeline."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from fraud_platform.decisions.drain import Drained, drain
from fraud_platform.features.stores import Store
from fraud_platform.transactions.source_schema import Source
from fraud_platform.transactions.sources import load_source
from fraud_platform.warehouse import connect

MAPPING: dict[str, Any] = {
    "format": "csv",
    "path": "data.csv",
    "first_day": date(2026, 3, 1),
    "last_day": date(2026, 3, 19),
    "event_time": {"column": "when"},
    "amount": {"column": "amount"},
    "columns": {"transaction_id": "id", "customer_id": "who", "merchant_id": "shop"},
    "labels": {"is_fraud": {"column": "fraud"}, "reported_at": {"column": "reported"}},
}


@dataclass
class Warehouse:
    """A DuckDB file and the folders of raw files beside it."""

    folder: Path
    connection: duckdb.DuckDBPyConnection
    source: Source

    @property
    def raw_transactions(self) -> Path:
        return self.folder / "raw" / "transactions"

    @property
    def raw_labels(self) -> Path:
        return self.folder / "raw" / "labels"

    def drain(self, store: Store | None, keep: int = 100) -> Drained:
        return drain(self.connection, store, self.source, self.raw_transactions, self.raw_labels, keep)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def column(self, query: str) -> list[Any]:
        return [row[0] for row in self.rows(query)]


def small_source(folder: Path, **changes: Any) -> Source:
    """A source of CSV files; nothing lies at its path."""
    mapping = {**MAPPING, "path": str(folder / "data.csv"), **changes}
    file = folder / "shop.yaml"
    file.write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")
    return load_source(file)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return small_source(tmp_path)


@pytest.fixture
def warehouse(tmp_path: Path, source: Source) -> Iterator[Warehouse]:
    with connect(tmp_path / "fraud.duckdb") as connection:
        yield Warehouse(tmp_path, connection, source)
