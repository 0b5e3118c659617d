"""What the Dagster UI shows beside an asset: table schemas, tables and links."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import dagster as dg

from fraud_platform.transactions.contract import Column

DAILY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""A day's data is late one day after it was due, with two hours' grace for the warning."""

OWNERS = {
    "raw": ["team:payments-data"],
    "validated": ["team:payments-data"],
    "features": ["team:fraud-ml"],
    "training": ["team:fraud-ml"],
    "scoring": ["team:fraud-ml"],
    "serving": ["team:fraud-platform"],
    "monitoring": ["team:fraud-operations"],
}
"""Who answers for each group of assets, and so for each of their columns."""


def contract_schema(columns: Iterable[Column], group: str, extra: Mapping[str, str] | None = None) -> dg.TableSchema:
    """The contract's columns as a table schema; each column is tagged with its owner."""
    described = [
        dg.TableColumn(
            column.name,
            column.type,
            column.meaning,
            dg.TableColumnConstraints(nullable=not column.required, unique=column.name == "transaction_id"),
            tags={"owner": OWNERS[group][0].removeprefix("team:")},
        )
        for column in columns
    ]
    return dg.TableSchema([*described, *(_plain(name, meaning, group) for name, meaning in (extra or {}).items())])


def plain_schema(columns: Mapping[str, str], group: str) -> dg.TableSchema:
    """A table schema from name to meaning."""
    return dg.TableSchema([_plain(name, meaning, group) for name, meaning in columns.items()])


def _plain(name: str, meaning: str, group: str) -> dg.TableColumn:
    return dg.TableColumn(name, description=meaning, tags={"owner": OWNERS[group][0].removeprefix("team:")})


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A table that the Dagster UI renders."""
    lines = [header, ["---"] * len(header), *rows]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines))


def file_link(path: Path) -> dg.UrlMetadataValue:
    """A link that a browser on this machine opens."""
    return dg.MetadataValue.url(path.resolve().as_uri())
