"""A warehouse in a temporary folder, filled by the platform's own stages, for the benchmarks beside it."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraud_platform.features.selection import Catalog
    from fraud_platform.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def source_arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that takes the source and its data."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=ROOT / "sources" / "simulator.yaml")
    parser.add_argument("--data", help="in place of the source's own path")
    return parser


@dataclass(frozen=True)
class Filled:
    """What the stages left."""

    settings: "Settings"
    catalog: "Catalog"


@contextmanager
def filled_warehouse(source_file: Path, data: str | None, through: str) -> Iterator[Filled]:
    """Run the stages up to the one that makes `through`, each as a Dagster run over all days."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        shutil.copy(ROOT / "dagster.yaml", folder / "dagster.yaml")
        os.environ["DAGSTER_HOME"] = str(folder)
        os.environ["DAGSTER_STORAGE"] = str(folder / "dagster")

        import dagster as dg

        from fraud_platform.definitions import build_definitions
        from fraud_platform.defs.demo import STAGES, run_stage
        from fraud_platform.features.selection import catalog_of
        from fraud_platform.settings import Settings
        from fraud_platform.transactions.sources import load_source

        settings = Settings(source=source_file, data=data, warehouse=folder / "warehouse")  # type: ignore[call-arg]
        source = load_source(settings.source, settings.data)
        definitions = build_definitions(settings)
        with dg.DagsterInstance.get() as instance:
            for stage in STAGES[: next(n for n, names in enumerate(STAGES) if through in names) + 1]:
                run_stage(definitions, instance, source, stage)
        yield Filled(settings, catalog_of(source))
