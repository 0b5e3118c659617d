"""The feature table written by Spark: events out of the warehouse, day files back into it.

Spark's executors see neither the DuckDB file nor, on other machines, the warehouse. Both sides meet in the
exchange: a folder or an address where each run has a folder of its own, which it takes away when it ends.
"""

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import duckdb
import pyarrow.parquet as pq
from pyarrow import NativeFile, fs

from fraud_platform.errors import SettingsError, WarehouseError
from fraud_platform.features.events import stream_events
from fraud_platform.features.selection import Catalog
from fraud_platform.features.spark import DAY_FOLDER, compute_features_on_spark, spark_session
from fraud_platform.settings import Settings
from fraud_platform.warehouse import day_file


@dataclass(frozen=True)
class SparkEngine:
    """Which Spark computes the features.

    Attributes:
        master: `local[*]`, `spark://host:7077`, `yarn`, `k8s://…`.
        exchange: a folder that this process and the executors share, or an address such as s3a://bucket/prefix.
        s3_endpoint_url: an S3-compatible server, for this process; Spark reads its own spark.hadoop.fs.s3a.endpoint.
    """

    master: str
    exchange: str
    s3_endpoint_url: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The Spark that the settings name."""
        return cls(settings.spark_master, settings.spark_exchange_address, settings.s3_endpoint_url)


def spark_writers(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    folder: Path,
    rows: Mapping[date, int],
    engine: SparkEngine,
) -> Generator[tuple[Path, Callable[[Path], None]], None, None]:
    """A writer a day for `write_files`, each copying what Spark wrote. All days are computed before the first one.

    Args:
        rows: the rows that each day has.

    Raises:
        SettingsError: if Spark does not start, or the exchange is no usable address.
        CatalogError: if the features cannot be computed.
        WarehouseError: if the exchange cannot be read or written, or a day is not there in whole.
    """
    if not rows:
        return
    first, last = min(rows), max(rows)
    with exchange_folder(engine.exchange, engine.s3_endpoint_url) as shared:
        shared.put_events(connection, catalog, first, last)
        with spark_session(engine.master) as session:
            compute_features_on_spark(session, shared.events, catalog, first, last, shared.features)
        for day, count in rows.items():
            yield day_file(folder, day), partial(shared.fetch_day, day, count)


@dataclass(frozen=True)
class ExchangeFolder:
    """One run's folder in the exchange.

    Attributes:
        files: how this process reaches it; path: where it is in there.
        address: the same place as Spark writes it.
    """

    files: fs.FileSystem
    path: str
    address: str

    @property
    def events(self) -> str:
        """Spark's address of the events."""
        return f"{self.address}/events.parquet"

    @property
    def features(self) -> str:
        """Spark's address of the features."""
        return f"{self.address}/features"

    def put_events(self, connection: duckdb.DuckDBPyConnection, catalog: Catalog, first: date, last: date) -> None:
        """Write the events that the features of the days in [first, last] need, a batch at a time."""
        batches = stream_events(connection, catalog, first, last)
        try:
            with (
                self.files.open_output_stream(f"{self.path}/events.parquet") as sink,
                pq.ParquetWriter(sink, batches.schema, compression="zstd") as writer,
            ):
                for batch in batches:
                    writer.write_batch(batch)
        except OSError as error:
            raise WarehouseError(
                f"Cannot write the events for Spark to {self.events}: {error}. "
                "Check FRAUD_SPARK_EXCHANGE, the permissions, and the space there."
            ) from error

    def fetch_day(self, day: date, rows: int, target: Path) -> None:
        """Copy the one file that Spark wrote for a day."""
        with self._written(day) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        if (written := pq.read_metadata(target).num_rows) != rows:
            raise WarehouseError(
                f"Spark wrote {written:,} rows for {day}, and validated_transactions has {rows:,}. Run again."
            )

    def _written(self, day: date) -> NativeFile:
        selected = fs.FileSelector(f"{self.path}/features/{DAY_FOLDER}={day}", allow_not_found=True)
        try:
            found = [info.path for info in self.files.get_file_info(selected) if info.path.endswith(".parquet")]
            if len(found) == 1:
                return self.files.open_input_stream(found[0])
        except OSError as error:
            raise WarehouseError(f"Cannot read what Spark wrote to {self.features}: {error}. Run again.") from error
        raise WarehouseError(
            f"Spark wrote {len(found)} files for {day} to {self.features}, not one. "
            "FRAUD_SPARK_EXCHANGE must be a place that this machine and all executors share."
        )


@contextmanager
def exchange_folder(exchange: str, s3_endpoint_url: str | None = None) -> Iterator[ExchangeFolder]:
    """A new folder in the exchange, removed at the end."""
    files, path, address = _reach(exchange, s3_endpoint_url)
    name = f"features-{uuid4().hex}"
    folder = ExchangeFolder(files, f"{path}/{name}", f"{address}/{name}")
    try:
        files.create_dir(folder.path, recursive=True)
    except OSError as error:
        raise WarehouseError(
            f"Cannot create {folder.address}: {error}. Check FRAUD_SPARK_EXCHANGE, and who may write there."
        ) from error
    try:
        yield folder
    finally:
        files.delete_dir(folder.path)


def _reach(exchange: str, s3_endpoint_url: str | None) -> tuple[fs.FileSystem, str, str]:
    """The file system, the path in it, and the address that Spark takes. Arrow says s3, Spark says s3a."""
    if "://" not in exchange:
        path = str(Path(exchange).resolve())
        return fs.LocalFileSystem(), path, f"file://{path}"
    address = exchange.rstrip("/")
    scheme, _, place = address.partition("://")
    uri = address
    if scheme in ("s3", "s3a"):
        uri, address = f"s3://{place}", f"s3a://{place}"
        if s3_endpoint_url:
            server = urlsplit(s3_endpoint_url)
            uri += "?" + urlencode({"scheme": server.scheme, "endpoint_override": server.netloc})
    try:
        files, path = fs.FileSystem.from_uri(uri)
    except (ValueError, OSError) as error:
        raise SettingsError(f"FRAUD_SPARK_EXCHANGE={exchange} cannot be used: {error}") from error
    return files, path, address
