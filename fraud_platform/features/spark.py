"""The Spark driver: the fold and the row step of the other drivers on a cluster, for those who outgrow one machine.

For each entity in turn the events are sent to where their key lives, sorted by key and time, and streamed
through the bounded fold: a partition needs the memory of one key's state and one Arrow batch, however busy
the key is. The aggregates ride along as columns, so nothing is joined.

What a cluster needs: on every machine Java 17 or later and a Python environment with this version of this
package and pyspark, at the path of this process's own interpreter or at PYSPARK_PYTHON. An executor with other
feature code refuses to work. The first run on a machine compiles the fold, some ten seconds for each core, and
keeps it (see `compilation`). Everything else (memory, cores, packages such as org.apache.hadoop:hadoop-aws, which
s3a:// addresses need) is Spark's own configuration: spark-defaults.conf in SPARK_CONF_DIR, or PYSPARK_SUBMIT_ARGS.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError, SettingsError
from fraud_platform.features.batch import feature_derivation
from fraud_platform.features.columns import to_matrix
from fraud_platform.features.derive import Derivation
from fraud_platform.features.events import IDENTITY
from fraud_platform.features.online import timeline_of
from fraud_platform.features.selection import Catalog

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Batches = Iterator[pa.RecordBatch]
Entity = tuple[str, ...]

DAY_FOLDER = "file-day"
"""The features of a day lie in `<output>/file-day=2018-04-01/`. No attribute can have this name."""

_LOCAL_DEFAULTS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""A Spark of this machine alone is reached from nowhere else."""


@contextmanager
def spark_session(master: str) -> Iterator["SparkSession"]:
    """The session that runs in this process already, or one of its own, which is stopped at the end.

    Args:
        master: `local[*]`, `spark://host:7077`, `yarn`, `k8s://…`; not used where a session runs already.

    Raises:
        SettingsError: if pyspark is not installed, or Spark does not start.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SettingsError(
            "FRAUD_FEATURE_ENGINE=spark needs pyspark, which is not installed: pip install 'fraud-platform[spark]'."
        ) from error
    if running := SparkSession.getActiveSession():
        yield running
        return
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(master).appName("fraud_platform features")
    for name, value in _LOCAL_DEFAULTS.items() if master.startswith("local") else ():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, _java_errors()) as error:
        raise SettingsError(
            f"Spark does not start with FRAUD_SPARK_MASTER={master}: {_first_line(error)} "
            "Check the address, and that `java -version` says 17 or later."
        ) from error
    try:
        yield session
    finally:
        session.stop()


def compute_features_on_spark(
    session: "SparkSession", events_path: str, catalog: Catalog, first: date, last: date, output_path: str
) -> None:
    """Write IDENTITY and the features of the events whose day is in [first, last], ascending by (event_us, id).

    Args:
        events_path: Parquet with the columns of `read_events`, in any order of rows. It must reach back
            `catalog.look_back_us` before the first event whose features are wanted.
        output_path: a folder that does not exist yet; one file a day that has events, below DAY_FOLDER.
            Both are addresses that driver and executors understand alike.

    Raises:
        CatalogError: if a sum leaves the range of int64, an executor has other feature code, or Spark fails.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import functions, types

    fields = [*IDENTITY, *catalog.names]
    with_floats = dict.fromkeys(catalog.names, types.FloatType())
    try:
        # Spark takes an address for a pattern of addresses.
        events = session.read.parquet(re.sub(r"([\\*?\[\]{}])", r"\\\1", events_path))
        for entity in catalog.rollings:
            events = _with_aggregates(events, catalog, entity)
        known = {field.name: field.dataType for field in events.schema}
        schema = types.StructType([types.StructField(name, with_floats.get(name) or known[name]) for name in fields])
        derived = events.where(functions.col("day").between(first, last)).mapInArrow(
            partial(_derive_features, catalog, feature_code()), schema
        )
        # Sorting by the folder's column first keeps Spark from sorting again, unstably, by that column alone.
        ordered = (
            derived.withColumn(DAY_FOLDER, functions.col("day"))
            .repartition(DAY_FOLDER)
            .sortWithinPartitions(DAY_FOLDER, "event_us", "transaction_id")
        )
        ordered.write.partitionBy(DAY_FOLDER).option("compression", "zstd").parquet(output_path)
    except (PySparkException, _java_errors()) as error:
        # What an executor raised arrives as text within the trace of the virtual machine.
        if ours := re.search(rf"\b{CatalogError.__module__}\.{CatalogError.__name__}: (.+)", str(error)):
            raise CatalogError(ours[1]) from None
        raise CatalogError(
            f"Spark could not compute the features: {_first_line(error)} Its log says more. Executors on other "
            "machines need FRAUD_SPARK_EXCHANGE to be a folder or an address that all of them share."
        ) from error


def _with_aggregates(events: "DataFrame", catalog: Catalog, entity: Entity) -> "DataFrame":
    """The events and the aggregates that they see of one entity."""
    from pyspark.sql import functions, types

    keys = [functions.col(name) for name in entity]
    # Events without a key have nothing to meet: spread out, they are no hot key.
    spread = functions.when(functions.concat(*keys).isNull(), functions.col("transaction_id"))
    return (
        events.repartition(*keys, spread)
        .sortWithinPartitions(*keys, "event_us")
        .mapInArrow(
            partial(_add_aggregates, catalog, entity, feature_code()),
            types.StructType([*events.schema.fields, types.StructField(_packed_column(entity), types.BinaryType())]),
        )
    )


def _packed_column(entity: Entity) -> str:
    """The column of an entity's aggregates. The spaces keep it apart from attributes."""
    return " ".join(("aggregates", *entity))


def _add_aggregates(catalog: Catalog, entity: Entity, code: str, batches: Batches) -> Batches:
    """On an executor: fold one partition, sorted by key and time. The state goes on from batch to batch."""
    _check_feature_code(code)
    timeline = timeline_of(catalog, entity)
    input_step = Derivation(catalog.inputs, catalog.input_columns, [])
    before: tuple[Any, ...] | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        events = _frame(batch)
        keys = events.select(entity)
        inputs = np.ascontiguousarray(input_step.to_integers(to_matrix(events, catalog.input_columns)).T)
        seen = timeline.observe_rows(key_begins(keys, before), events["event_us"].to_numpy(), inputs)
        before = keys.row(-1)
        yield batch.append_column(_packed_column(entity), pack_rows(seen))


def pack_rows(matrix: NDArray[np.int64]) -> pa.Array:
    """Each row's int64 as one value of bytes: Spark moves one such column much faster than one a number."""
    ends = np.arange(len(matrix) + 1, dtype=np.int32) * (matrix.shape[1] * matrix.itemsize)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(matrix))]
    return pa.Array.from_buffers(pa.binary(), len(matrix), buffers)


def unpack_rows(packed: pa.Array) -> NDArray[np.int64]:
    """What `pack_rows` was given: int64 (n, r)."""
    plain = packed.cast(pa.binary())
    _, ends, content = plain.buffers()
    place = np.frombuffer(ends, np.int32)[plain.offset :]
    return np.frombuffer(content, np.uint8)[place[0] : place[len(plain)]].view(np.int64).reshape(len(plain), -1)


def key_begins(keys: pl.DataFrame, before: tuple[Any, ...] | None) -> NDArray[np.int8]:
    """Where keys begin in rows sorted by key: 1 where the key is not that of the row before, -1 where it is null.

    Args:
        keys: at least one row; before: the key of the row before the first one, None where there is none.
    """
    begins, null = np.zeros((2, keys.height), bool)
    begins[0] = keys.row(0) != before
    for column in keys:
        begins[1:] |= column[1:].ne_missing(column[:-1]).to_numpy()
        null |= column.is_null().to_numpy()
    return np.where(null, -1, begins).astype(np.int8)


def _derive_features(catalog: Catalog, code: str, batches: Batches) -> Batches:
    """On an executor: the row step."""
    _check_feature_code(code)
    derivation = feature_derivation(catalog)
    for batch in batches:
        if not batch.num_rows:
            continue
        columns = to_matrix(_frame(batch), catalog.formula_columns)
        unpacked = [unpack_rows(batch.column(_packed_column(entity))).T for entity in catalog.rollings]
        aggregates = np.concatenate([np.empty((0, batch.num_rows), np.int64), *unpacked])
        out = np.empty((batch.num_rows, len(catalog.features)), np.float32)
        derivation.to_floats(columns, aggregates, out)
        features = [pa.array(column) for column in np.ascontiguousarray(out.T)]
        yield pa.RecordBatch.from_arrays([*batch.select(IDENTITY).columns, *features], [*IDENTITY, *catalog.names])


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame


@cache
def feature_code() -> str:
    """A hash of the modules that compute features: equal on two machines only where the features are."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(module.read_bytes() for module in modules)).hexdigest()


def _check_feature_code(expected: str) -> None:
    if feature_code() != expected:
        raise CatalogError(
            f"The fraud_platform of an executor ({sys.executable} on {os.uname().nodename}) is not the one that "
            "started it. Install the same version on every machine, and restart what ran while it changed."
        )


def _java_errors() -> type[Exception]:
    """What py4j raises where the virtual machine is gone or did not start."""
    from py4j.protocol import Py4JError

    return Py4JError


def _first_line(error: Exception) -> str:
    """What happened, without the traces: py4j says it in a second line, after a colon."""
    said = re.search(r"^: (.+)", str(error), re.MULTILINE) or re.search(r"\S.*", str(error))
    return said[said.lastindex or 0] if said else type(error).__name__
