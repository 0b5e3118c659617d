"""A shop's payments with the moment at which each fraud was reported: what the tests of training start from.

Twenty days of a label delay of two, so that with `PERIODS` a model is trained on ten days, chosen on three,
and knows what was reported before `TRAINING_MOMENT`, where the three days of the test period begin.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from fraud_platform.models.dataset import Snapshot, read_snapshot
from fraud_platform_tests.defs.conftest import INGESTION, MakePlatform, Platform, write_csv

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 20)
VALIDATION_FIRST, VALIDATION_END = date(2026, 3, 11), date(2026, 3, 14)
TRAINING_MOMENT = datetime(2026, 3, 16)
TEST_END = datetime(2026, 3, 19)
TRAINING_MOMENT_US = int(TRAINING_MOMENT.replace(tzinfo=UTC).timestamp()) * 1_000_000
DELAY = timedelta(days=2)
HOUR = timedelta(hours=1)
GAP_FIRST = datetime.combine(VALIDATION_END, datetime.min.time())
"""The days between validation and test, of which not every report has come: nothing is learnt from them."""
PER_DAY = 100
PERIODS: dict[str, Any] = {"validation_days": 3, "test_days": 3}
QUICK: dict[str, Any] = {
    **PERIODS,
    "tuning_trials": 0,
    "bootstrap_resamples": 50,
    "algorithms": ("logistic_regression",),
}
"""Settings under which training on the shop takes a second."""


@dataclass(frozen=True)
class Payment:
    """A row of the file. `trap`, `steady` and `unknown` are attributes, which become inputs as they are."""

    id: str
    when: datetime
    who: str
    shop: str
    amount: str
    fraud: int = 0
    reported: datetime | None = None
    trap: float = 0
    steady: str = "1"
    unknown: str = ""


MAPPING: dict[str, Any] = {
    "format": "csv",
    "path": "",
    "first_day": FIRST,
    "last_day": LAST,
    "event_time": {"column": "when"},
    "amount": {"column": "amount"},
    "columns": {"transaction_id": "id", "customer_id": "who", "merchant_id": "shop"},
    "attributes": {
        "trap": {"column": "trap", "type": "number"},
        "steady": {"column": "steady", "type": "number"},
        "unknown": {"column": "unknown", "type": "number"},
    },
    "labels": {
        "is_fraud": {"column": "fraud"},
        "reported_at": {"column": "reported"},
        "delay_days": DELAY.days,
        "source": "chargeback",
    },
}


def payments(per_day: int = PER_DAY) -> list[Payment]:
    """The same at each call: 2 in 100 are frauds, of larger amounts than most and reported a day later."""
    found = []
    for number in range(((LAST - FIRST).days + 1) * per_day):
        when = datetime.combine(FIRST, datetime.min.time()) + timedelta(days=1) / per_day * number
        when = when.replace(microsecond=0)
        fraud = number * 31 % 100 < 2
        cents = number * 7919 % 9901 + (6000 if fraud else 100)
        found.append(
            Payment(
                id=f"t{number}",
                when=when,
                who=f"c{number * 13 % 20}",
                shop=f"m{number * 5 % 7}",
                amount=f"{cents / 100:.2f}",
                fraud=int(fraud),
                reported=when + timedelta(days=1) if fraud else None,
            )
        )
    return found


def write_payments(path: Path, rows: Iterable[Payment]) -> dict[str, Any]:
    """Write the file; the mapping that reads it."""
    header = ",".join(field.name for field in fields(Payment))
    lines = [",".join("" if value is None else str(value) for value in astuple(row)) for row in rows]
    return {**MAPPING, "path": str(write_csv(path, lines, header))}


def with_late_reports(rows: list[Payment]) -> list[Payment]:
    """Every third fraud, of any day, becomes known after the training moment only."""
    frauds = [row for row in rows if row.fraud]
    late = {row.id for row in frauds[::3]}
    return [replace(row, reported=after_training(row, HOUR)) if row.id in late else row for row in rows]


def after_training(row: Payment, later: timedelta) -> datetime:
    """A moment at which the training has begun and the payment has been made."""
    return max(TRAINING_MOMENT, row.when) + later


@dataclass(frozen=True)
class Shops:
    """Platforms on changed payments, each in a folder of its own; one MLflow for all, since making one takes long."""

    make: MakePlatform
    folder: Path

    def open(self, rows: list[Payment], mapping: dict[str, Any] | None = None, **settings: Any) -> Platform:
        """Ingested, with the settings of `QUICK` where no others are given."""
        folder = self.folder / str(len(list(self.folder.iterdir())))
        written = write_payments(folder / "payments.csv", rows) | (mapping or {})
        tracking = f"sqlite:///{self.folder / 'mlflow.db'}"
        platform = self.make(written, folder=folder, **{**QUICK, "mlflow_tracking_uri": tracking, **settings})
        platform.run(INGESTION)
        return platform


def metadata(platform: Platform, asset: str) -> dict[str, Any]:
    """Of the asset's latest materialization."""
    event = platform.instance.get_latest_materialization_event(dg.AssetKey(asset.split("/")))
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def snapshot_of(platform: Platform) -> Snapshot:
    """The training set of the latest materialization."""
    return read_snapshot(platform.settings.training_sets, metadata(platform, "training_set")["content_hash"])
