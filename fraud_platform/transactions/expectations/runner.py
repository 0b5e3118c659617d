"""Runs expectations with Great Expectations: the one module that imports it, and only when called.

Great Expectations 1.24 closes a DuckDB connection before it fetches, so it is given pandas frames.
"""

import gc
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fraud_platform.errors import WarehouseError
from fraud_platform.transactions.expectations.results import Batch, Expectation, Outcome

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
    from great_expectations.data_context.types.base import DataContextConfig

EXAMPLES = 5
LARGE = 100_000
"""Rows from which it is worth a sixth of a second to free a frame at once."""
MOST_CATEGORIES = 0.5
"""A text column with fewer distinct values than this share of its rows is held as a categorical."""
SITE = "data_docs"


def run(suite: str, batches: Iterable[Batch], docs_folder: Path | None) -> tuple[list[Outcome], Path | None]:
    """Validate each batch, one after the other so that one is in memory at a time.

    Args:
        suite: names the pages of the Data Docs.
        docs_folder: where the Data Docs are written, in place of the earlier ones of this suite; None: nowhere.

    Returns:
        The outcomes in order, and the index.html of the Data Docs.

    Raises:
        WarehouseError: if an expectation cannot be evaluated at all.
    """
    with _unseen_by_the_import("pyspark"):
        import great_expectations as gx

    context = gx.get_context(mode="ephemeral", project_config=_project())
    outcomes: list[Outcome] = []
    for batch in batches:
        outcomes.extend(_validate(context, f"{suite}_{batch.name}", batch))
        large = batch.table.num_rows >= LARGE
        del batch
        if large:
            gc.collect()  # a validator and its frame refer to each other
    return outcomes, _build_docs(context, suite, docs_folder) if docs_folder is not None else None


@contextmanager
def _unseen_by_the_import(library: str) -> Iterator[None]:
    """As if the library were not installed, where it is not loaded yet.

    Great Expectations imports all of Spark where it finds it. Spark Connect then takes a process without a main
    file, such as a run that Dagster's daemon launched, for a doctest, and ends it with exit code 0.
    """
    if library in sys.modules:
        yield
        return
    sys.modules[library] = None  # type: ignore[assignment] - what import looks for in place of a module
    try:
        yield
    finally:
        del sys.modules[library]


def _project() -> "DataContextConfig":
    """Everything in memory; by default Great Expectations also makes a temporary folder for a docs site."""
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    return DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )


def to_frame(table: pa.Table) -> "pd.DataFrame":
    """A pandas frame in little memory: repetitive text columns become categoricals."""
    categories = [
        field.name
        for field in table.schema
        if pa.types.is_string(field.type) and len(table[field.name].unique()) <= MOST_CATEGORIES * table.num_rows
    ]
    return table.to_pandas(categories=categories, split_blocks=True)


def _validate(context: "EphemeralDataContext", name: str, batch: Batch) -> list[Outcome]:
    import great_expectations as gx

    source = context.data_sources.add_pandas(name)
    definition = source.add_dataframe_asset(batch.name).add_batch_definition_whole_dataframe(batch.name)
    # The constructor keeps them all; adding one by one replaces an expectation that differs in its column only.
    configured = [_configuration(item, position) for position, item in enumerate(batch.expectations)]
    suite = gx.ExpectationSuite(name=name, expectations=configured)
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=definition, suite=context.suites.add(suite))
    )
    answer = validation.run(
        batch_parameters={"dataframe": to_frame(batch.table)},
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES},
    )
    by_position = {
        result.expectation_config.meta["position"]: result
        for result in answer.results
        if result.expectation_config is not None and result.expectation_config.meta is not None
    }
    return [_outcome(name, batch, item, by_position[position]) for position, item in enumerate(batch.expectations)]


def _configuration(expectation: Expectation, position: int) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity

    return ExpectationConfiguration(
        type=expectation.type,
        kwargs=dict(expectation.arguments),
        meta={"check": expectation.check, "position": position},
        severity=FailureSeverity.CRITICAL if expectation.severity == "error" else FailureSeverity.WARNING,
    )


def _outcome(suite: str, batch: Batch, expectation: Expectation, result: "ExpectationValidationResult") -> Outcome:
    raised = result.exception_info or {}
    if raised.get("raised_exception", True):  # one record, or one record per metric that failed
        reasons = [str(item.get("exception_message")) for item in raised.values() if isinstance(item, dict)]
        raise WarehouseError(
            f"Great Expectations cannot evaluate {expectation.key} on {suite}: "
            f"{'; '.join(reasons) or raised.get('exception_message')}. Check the type of the column in the table."
        )
    unexpected = int(result.result.get("unexpected_count", 0 if result.success else 1))
    examples = tuple(str(value) for value in result.result.get("partial_unexpected_list", ())[:EXAMPLES])
    return Outcome(expectation, bool(result.success), batch.table.num_rows, unexpected, examples)


def _build_docs(context: "EphemeralDataContext", suite: str, folder: Path) -> Path:
    """Write the pages; of what is in the folder only the earlier pages of this suite are removed."""
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}
    context.add_data_docs_site(
        SITE,
        {
            "class_name": "SiteBuilder",
            "store_backend": backend,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    for old in (folder / "validations").glob(f"{suite}_*"):
        shutil.rmtree(old)
    for old in (folder / "expectations").glob(f"{suite}_*.html"):
        old.unlink()
    context.build_data_docs(site_names=[SITE])
    return folder.resolve() / "index.html"
