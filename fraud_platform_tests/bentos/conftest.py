"""The last day of an installation, to be lived through again online."""

import shutil
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from numpy.typing import NDArray

from fraud_platform.features.events import read_events
from fraud_platform.features.online import states_of
from fraud_platform.features.selection import Catalog, catalog_of
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.features.table import read_features
from fraud_platform.models.artefact import Artefact
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import TRANSACTION
from fraud_platform.transactions.sources import load_source
from fraud_platform.warehouse import connect, last_day
from fraud_platform_tests.features.building import build
from fraud_platform_tests.installation import Installation


@dataclass(frozen=True)
class LastDay:
    """What batch made of the last day, and what a client sends to have it made again.

    Attributes:
        requests: the day's transactions as JSON objects, in order of time.
        features: float32 (n, d), from the feature Parquet, in the order of `requests`.
        probabilities: (n,), from the table of batch scores.
    """

    day: date
    catalog: Catalog
    artefact: Artefact
    requests: list[dict[str, Any]]
    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]


@pytest.fixture(scope="session")
def last_day_of_batch(installation: Installation, bento: str) -> LastDay:
    settings = installation.settings
    catalog = catalog_of(load_source(settings.source, None))
    columns = [*(column.name for column in TRANSACTION), *catalog.attributes]
    with connect(settings.database, read_only=True) as connection:
        day = last_day(connection, "validated_transactions")
        listed = ", ".join(f't."{name}"' for name in columns)
        rows = connection.sql(
            f"SELECT {listed}, s.fraud_probability FROM validated_transactions t "
            "JOIN batch_scores s USING (transaction_id) WHERE t.day = ? ORDER BY t.event_us, t.transaction_id",
            params=[day],
        ).pl()
    features = read_features(settings.features, day, day)
    assert features["transaction_id"].to_list() == rows["transaction_id"].to_list()
    return LastDay(
        day,
        catalog,
        Artefact.load(model_folder(settings, bento)),
        [_request(row) for row in rows.drop("fraud_probability").to_dicts()],
        features.select(catalog.names).to_numpy(),
        rows["fraud_probability"].to_numpy(),
    )


@pytest.fixture(scope="session")
def bento(demo_result: dict[str, Any]) -> str:
    """The tag of the Bento that the demo built."""
    return demo_result["bento"]


@pytest.fixture
def the_day_before(installation: Installation, last_day_of_batch: LastDay, tmp_path: Path) -> Settings:
    """An installation with the same Bentos, whose online store is as of the start of the last day."""
    return installation_before(installation, last_day_of_batch, tmp_path)


def installation_before(installation: Installation, last: LastDay, folder: Path) -> Settings:
    """Settings with the Bentos and models of the installation, and a store of the events before its last day."""
    settings = Settings(_env_file=None, source=installation.source, warehouse=folder / "warehouse")  # type: ignore[call-arg]
    settings.bentoml_home.mkdir(parents=True)
    for name in ("bentos", "models"):
        (settings.bentoml_home / name).symlink_to(installation.settings.bentoml_home / name)
    events = events_before(installation.settings.database, last)
    store = LmdbStore(settings.online_store, map_bytes=1 << 28)
    build(store, last.catalog.fingerprint, states_of(events, last.catalog))
    store.close()
    return settings


def events_before(database: Path, last: LastDay) -> pl.DataFrame:
    """The events that the features of the last day need, up to the day before it."""
    with connect(database, read_only=True) as connection:
        return read_events(connection, last.catalog, last.day, last.day - timedelta(days=1))


def copied_bentos(settings: Settings, bento: str) -> Path:
    """Put copies in the place of the links to the Bento and its model, to be changed; gives the model's folder."""
    home = settings.bentoml_home
    for name in ("bentos", "models"):
        original = (home / name).resolve()
        (home / name).unlink()
        shutil.copytree(original, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    return model_folder(settings, bento)


def bento_folder(settings: Settings, bento: str) -> Path:
    name, version = bento.split(":")
    return settings.bentoml_home / "bentos" / name / version


def model_folder(settings: Settings, bento: str) -> Path:
    """Where BentoML keeps the model that a Bento was built with."""
    manifest = yaml.safe_load((bento_folder(settings, bento) / "bento.yaml").read_text())
    name, version = manifest["models"][0]["tag"].split(":")
    return settings.bentoml_home / "models" / name / version


def _request(row: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in row.items() if value is not None}
    return given | {"event_time": row["event_time"].replace(tzinfo=UTC).isoformat()}
