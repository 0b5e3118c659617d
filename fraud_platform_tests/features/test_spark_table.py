"""What is exchanged with Spark: in a folder and on an S3 server, taken away afterwards, and checked on its way back."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import duckdb
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from fraud_platform.errors import SettingsError, WarehouseError
from fraud_platform.features import spark_table
from fraud_platform.features.events import read_events
from fraud_platform.features.selection import Catalog, build_catalog
from fraud_platform.features.spark import DAY_FOLDER
from fraud_platform.features.spark_table import SparkEngine, exchange_folder
from fraud_platform.features.table import materialize_features

DAY = date(2026, 3, 2)
CATALOG = build_catalog(("customer_id", "amount_cents"), (), 86_400_000_000)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Ten events a day; every third one a fraud that was reported an hour later."""
    with duckdb.connect() as opened:
        opened.execute(
            """CREATE TABLE validated_transactions AS
            SELECT CAST(event_time AS DATE) AS day, epoch_us(event_time) AS event_us, * FROM (
                SELECT 't' || i AS transaction_id, TIMESTAMP '2026-03-01' + i * INTERVAL 144 MINUTE AS event_time,
                    'c' || i % 3 AS customer_id, 100 + i AS amount_cents FROM range(20) r(i))"""
        )
        opened.execute(
            """CREATE TABLE validated_labels AS SELECT day, transaction_id, true AS is_fraud,
                event_time + INTERVAL 1 HOUR AS reported_at
            FROM validated_transactions WHERE amount_cents % 3 = 0"""
        )
        yield opened


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    bucket = boto3.resource("s3", endpoint_url=endpoint).Bucket(f"exchange-{uuid4().hex}")
    bucket.create()
    return bucket


def test_a_folder_takes_events_and_gives_days_back(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with exchange_folder(str(tmp_path / "exchange")) as shared:
        shared.put_events(connection, CATALOG, DAY, DAY)
        here = Path(shared.path)
        assert (shared.events, shared.features) == (f"file://{here}/events.parquet", f"file://{here}/features")
        events = pl.read_parquet(here / "events.parquet")
        written = here / "features" / f"{DAY_FOLDER}={DAY}" / "part-0.parquet"
        written.parent.mkdir(parents=True)
        events.tail(10).write_parquet(written)
        shared.fetch_day(DAY, 10, tmp_path / "day.parquet")
        assert (tmp_path / "day.parquet").read_bytes() == written.read_bytes()
    expected = read_events(connection, CATALOG, DAY, DAY)
    assert events.sort("event_us").equals(expected) and events["known_fraud"].sum() > 0
    assert not list((tmp_path / "exchange").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_an_s3_address_does_the_same(
    connection: duckdb.DuckDBPyConnection, bucket: Any, endpoint: str, tmp_path: Path, scheme: str
) -> None:
    with exchange_folder(f"{scheme}://{bucket.name}/some/prefix/", endpoint) as shared:
        shared.put_events(connection, CATALOG, DAY, DAY)
        assert shared.address.startswith(f"s3a://{bucket.name}/some/prefix/features-"), "what Spark calls it"
        bucket.download_file(shared.events.partition(f"{bucket.name}/")[2], str(tmp_path / "events.parquet"))
        key = f"{shared.features}/{DAY_FOLDER}={DAY}/part-0.parquet".partition(f"{bucket.name}/")[2]
        bucket.upload_file(str(tmp_path / "events.parquet"), key)
        shared.fetch_day(DAY, 20, tmp_path / "day.parquet")
    assert pl.read_parquet(tmp_path / "day.parquet").height == 20
    assert not [one.key for one in bucket.objects.all() if "features-" in one.key]


@pytest.mark.slow
def test_a_bucket_that_does_not_exist_is_told(bucket: Any, endpoint: str) -> None:
    with (
        pytest.raises(WarehouseError, match=r"Cannot create s3a://nobody/x/.*FRAUD_SPARK_EXCHANGE"),
        exchange_folder("s3://nobody/x", endpoint),
    ):
        pass


def test_an_address_of_no_known_kind_is_told() -> None:
    with pytest.raises(SettingsError, match="FRAUD_SPARK_EXCHANGE=nonsense://x"), exchange_folder("nonsense://x"):
        pass


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], "0 files .* all executors share"),
        ([10, 10], "2 files"),
        ([9], "9 rows .* has 10"),
    ],
)
def test_a_day_that_did_not_come_whole_changes_nothing(
    connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[int],
    told: str,
) -> None:
    materialize_features(connection, CATALOG, tmp_path / "features", DAY, DAY)
    before = {path.name: path.read_bytes() for path in (tmp_path / "features").iterdir()}

    def half_done(session: Any, events: str, catalog: Catalog, first: date, last: date, output: str) -> None:
        folder = Path(output.removeprefix("file://")) / f"{DAY_FOLDER}={DAY}"
        folder.mkdir(parents=True)
        for number, rows in enumerate(files):
            pl.DataFrame({"day": [DAY] * rows}).write_parquet(folder / f"part-{number}.parquet")

    monkeypatch.setattr(spark_table, "compute_features_on_spark", half_done)
    monkeypatch.setattr(spark_table, "spark_session", exchange_folder)  # any context will do
    engine = SparkEngine(str(tmp_path / "no spark"), str(tmp_path / "exchange"))
    with pytest.raises(WarehouseError, match=told):
        materialize_features(connection, CATALOG, tmp_path / "features", DAY, DAY, engine)
    assert {path.name: path.read_bytes() for path in (tmp_path / "features").iterdir()} == before
    assert not list((tmp_path / "exchange").iterdir())


def test_days_without_events_start_no_spark(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    engine = SparkEngine("nonsense://", "nonsense://")
    quiet = date(2026, 4, 1)
    assert materialize_features(connection, CATALOG, tmp_path, quiet, quiet, engine) == {}
