"""The platform's assets on small sources, run in this process through Dagster."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
import yaml

from fraud_platform.definitions import build_definitions
from fraud_platform.defs.automation import RANGE_END, RANGE_START
from fraud_platform.defs.demo import keys_of
from fraud_platform.settings import Settings
from fraud_platform.transactions.sources import Source, load_source
from fraud_platform.warehouse import connect, day_files
from fraud_platform_tests.chromium import running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RAW = ("raw_transactions", "raw_labels")
VALIDATED = ("validated_transactions", "quarantined_transactions", "validated_labels")
FEATURES = ("transaction_features",)
INGESTION = (*RAW, *VALIDATED, *FEATURES)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Platform:
    """A source in a folder of its own, and a Dagster instance that remembers its runs."""

    settings: Settings
    instance: dg.DagsterInstance

    @property
    def source(self) -> Source:
        return load_source(self.settings.source, self.settings.data)

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.settings)

    @cached_property
    def job(self) -> dg.JobDefinition:
        return self.definitions.resolve_implicit_global_asset_job_def()

    def run(
        self, assets: tuple[str, ...], first: date | None = None, last: date | None = None, fails: bool = False
    ) -> dg.ExecuteInProcessResult:
        """One run of these assets over the days in [first, last]; a single day, or all of them, where not given."""
        source = self.source
        first, last = (first, last or first) if first else (source.first_day, source.last_day)
        return self.job.execute_in_process(
            instance=self.instance,
            asset_selection=keys_of(self.definitions, assets),
            tags={RANGE_START: str(first), RANGE_END: str(last)},
            run_config=QUIET,
            raise_on_error=not fails,
        )

    def query(self, select: str, **parameters: Any) -> pl.DataFrame:
        with connect(self.settings.database, read_only=True) as connection:
            return connection.sql(select, params=parameters).pl()

    def tables(self) -> dict[str, pl.DataFrame]:
        """All that ingestion wrote, in a fixed order: the tables of DuckDB and the feature files by name."""
        found = {name: self.query(f"SELECT * FROM {name} ORDER BY ALL") for name in (*VALIDATED, "quarantined_labels")}
        files = day_files(self.settings.features, date.min, date.max)
        return found | {path.name: pl.read_parquet(path) for path in files}


def assert_same_tables(actual: dict[str, pl.DataFrame], expected: dict[str, pl.DataFrame]) -> None:
    """Equal to the last bit, NaN being NaN, and null being null."""
    assert actual.keys() == expected.keys()
    for name, frame in expected.items():
        assert actual[name].schema == frame.schema, name
        assert actual[name].equals(frame, null_equal=True), name


MakePlatform = Callable[..., Platform]


def maker(base: Path, opened: ExitStack) -> MakePlatform:
    """Makes platforms below a folder: the mapping as a dictionary or YAML text, settings as keywords."""

    def make(mapping: dict[str, Any] | str, name: str = "shop", folder: Path = base, **settings: Any) -> Platform:
        file = folder / "sources" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = mapping if isinstance(mapping, str) else yaml.safe_dump(mapping, sort_keys=False)
        file.write_text(text, encoding="utf-8")
        given = {"warehouse": folder / "warehouse", **settings}
        instance = opened.enter_context(dg.DagsterInstance.ephemeral())
        return Platform(Settings(_env_file=None, source=file, **given), instance)  # type: ignore[call-arg]

    return make


@pytest.fixture
def platforms(tmp_path: Path) -> Iterator[MakePlatform]:
    with ExitStack() as opened:
        yield maker(tmp_path, opened)


@pytest.fixture(scope="module")
def shared_platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakePlatform]:
    """For what several tests of a module look at and none changes."""
    with ExitStack() as opened:
        yield maker(tmp_path_factory.mktemp("platform"), opened)


SHOP: dict[str, Any] = {
    "format": "csv",
    "path": "",
    "first_day": date(2026, 3, 1),
    "last_day": date(2026, 3, 14),
    "event_time": {"column": "when"},
    "amount": {"column": "amount"},
    "columns": {"transaction_id": "id", "customer_id": "who", "merchant_id": "shop"},
    "labels": {"is_fraud": {"column": "fraud"}, "delay_days": 2, "source": "chargeback"},
}
"""The mapping of the CSV files that `write_shop` writes; `path` is for the test to fill in."""

HEADER = "id,when,who,shop,amount,fraud"


def shop_rows(first: date, days: int, per_day: int, frauds_in_100: int = 2) -> list[str]:
    """CSV rows, the same at each call: 20 customers, 7 shops, amounts from 1.00 to 100.00."""
    rows = []
    for number in range(days * per_day):
        day, second = first + timedelta(days=number // per_day), (number % per_day) * (86_400 // per_day)
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        amount = f"{1 + number * 7919 % 9901 / 100:.2f}"
        fraud = int(number * 31 % 100 < frauds_in_100)
        rows.append(f"t{number},{day} {clock},c{number * 13 % 20},m{number * 5 % 7},{amount},{fraud}")
    return rows


def write_csv(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def write_days(folder: Path, rows: list[str]) -> Path:
    """One file a day, named by the day of its rows."""
    by_day: dict[str, list[str]] = {}
    for row in rows:
        by_day.setdefault(row.split(",")[1][:10], []).append(row)
    for day, of_day in by_day.items():
        write_csv(folder / f"{day}.csv", of_day)
    return folder


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What each failed check said."""
    return {
        check.check_name: check.description or "" for check in result.get_asset_check_evaluations() if not check.passed
    }


def error_of(result: dg.ExecuteInProcessResult, step: str) -> str:
    """The message of a step that failed, its causes included."""
    (failure,) = [event for event in result.all_events if event.is_step_failure and event.step_key == step]
    parts, error = [], failure.step_failure_data.error
    while error is not None:
        parts.append(error.message)
        error = error.cause
    return "\n".join(parts)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with running_chromium() as browser:
        yield browser
