"""What the tests of the Spark driver and of Spark's SQL share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MASTER = os.environ.get("FRAUD_TEST_SPARK_MASTER", "local-cluster[2,1,1024]")
"""Two executors of one core and 1 GB each, as processes of their own: what travels is really serialized."""

CONFIGURATION = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.executor.memory": "1g",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.enabled": "false",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    """A Spark session that the tests of one process share; what a test sets in `spark.conf` it sets back."""
    import pyspark.sql

    folder = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_HOME", str(_home(Path(pyspark.__file__).parent, folder / "home")))
        environment.setenv("SPARK_LOCAL_DIRS", str(folder / "scratch"))
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        environment.setenv("PYSPARK_PYTHON", sys.executable)
        builder = pyspark.sql.SparkSession.builder.master(MASTER).appName("fraud_platform tests")
        builder = builder.config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        for name, value in CONFIGURATION.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()


def _home(installed: Path, home: Path) -> Path:
    """The installed Spark under another folder: executors of a local cluster write their logs into SPARK_HOME."""
    home.mkdir()
    for entry in installed.iterdir():
        if entry.name != "work":
            (home / entry.name).symlink_to(entry)
    return home
