"""History replayed through the serving path: the decoder, the scorer and a store, as the service runs them."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from fraud_platform.decisions.recovery import rebuild_states
from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.features.selection import Catalog, CatalogOrigin
from fraud_platform.features.stores import Store
from fraud_platform.models.costs import CostMatrix, Thresholds
from fraud_platform.transactions.contract import TRANSACTION
from fraud_platform.transactions.request import TransactionDecoder, to_microseconds

Floats = NDArray[np.float32]


@dataclass
class Recorder:
    """Stands where the model stands and keeps what the scorer gives it."""

    @dataclass(frozen=True)
    class Card:
        catalog: CatalogOrigin
        thresholds: Thresholds = field(default_factory=lambda: Thresholds(0.5))
        costs: CostMatrix = field(default_factory=CostMatrix)

    catalog: Catalog
    vectors: list[Floats] = field(default_factory=list)

    @property
    def card(self) -> "Recorder.Card":
        return Recorder.Card(self.catalog.origin)

    def predict(self, matrix: Floats) -> NDArray[np.float64]:
        self.vectors.extend(matrix.copy())
        return np.zeros(len(matrix))


def replay(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    store: Store,
    first: date,
    last: date,
) -> tuple[Floats, NDArray[np.bool_]]:
    """The days in [first, last] through decoder, scorer and store: features float32 (n, d), late bool (n,).

    Events come in order of (event_us, transaction_id), labels when they were reported.
    """
    start = datetime.combine(first, time(), UTC)
    rebuild_states(connection, catalog, store, before=start)
    recorder = Recorder(catalog)
    scorer = Scorer(Router(Candidate("parity", recorder)), catalog, store)
    decoder = TransactionDecoder(catalog.attributes)
    late: list[bool] = []
    labels = _labels(connection, catalog, start, last)
    for _, request, label in heapq.merge(_requests(connection, catalog, first, last), labels, key=lambda one: one[0]):
        if request is not None:
            late.append(scorer.score(decoder.decode(request)).late)
        elif label is not None:
            scorer.label(label["transaction_id"], label["is_fraud"], label["reported_us"], event=label)
    vectors = np.array(recorder.vectors, np.float32).reshape(-1, len(catalog.features))
    return vectors, np.array(late, bool)


Kind = Literal[0, 1]
Step = tuple[tuple[int, Kind], bytes | None, dict[str, Any] | None]
"""When, labels before events of the same instant; the request; the label with the columns of its event."""


def _requests(connection: duckdb.DuckDBPyConnection, catalog: Catalog, first: date, last: date) -> Iterator[Step]:
    given = {column.name for column in TRANSACTION} & {*catalog.columns_given, "transaction_id", "event_time"}
    names = [*sorted(given), *catalog.attributes]
    columns = ", ".join(f'"{name}"' for name in names)
    query = f"""
        SELECT event_us, {columns} FROM validated_transactions WHERE day BETWEEN ? AND ?
        ORDER BY event_us, transaction_id
    """
    for row in connection.sql(query, params=[first, last]).pl().iter_rows(named=True):
        moment = row.pop("event_us")
        row["event_time"] = row["event_time"].replace(tzinfo=UTC)
        yield (moment, 1), msgspec.json.encode({name: value for name, value in row.items() if value is not None}), None


def _labels(connection: duckdb.DuckDBPyConnection, catalog: Catalog, start: datetime, last: date) -> Iterator[Step]:
    """The labels reported from the start to the end of the last day, and those that came before their event."""
    names = sorted({name for entity in catalog.rollings for name in entity} - {"transaction_id"})
    columns = ", ".join(f't."{name}"' for name in names)
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    query = f"""
        SELECT l.transaction_id, l.is_fraud, epoch_us(l.reported_at) AS reported_us, t.event_us, {columns}
        FROM validated_labels l JOIN validated_transactions t USING (transaction_id)
        WHERE (epoch_us(l.reported_at) >= $start OR t.event_us >= $start) AND epoch_us(l.reported_at) < $end
        ORDER BY reported_us, l.transaction_id
    """
    parameters = {"start": to_microseconds(start), "end": to_microseconds(end)}
    for row in connection.sql(query, params=parameters).pl().iter_rows(named=True):
        yield (row["reported_us"], 0), None, row
