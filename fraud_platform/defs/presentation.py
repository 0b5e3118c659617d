"""What the Dagster UI shows beside an asset: table schemas, tables and links."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import dagster as dg

from fraud_platform.transactions.contract import Column
from fraud_platform.transactions.source_schema import AttributeColumn

DAILY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""A day's data is late one day after it was due, with two hours' grace for the warning."""

OWNERS = {
    "feedback": ["team:fraud-platform"],
    "raw": ["team:payments-data"],
    "validated": ["team:payments-data"],
    "features": ["team:fraud-ml"],
    "training": ["team:fraud-ml"],
    "scoring": ["team:fraud-ml"],
    "serving": ["team:fraud-platform"],
    "monitoring": ["team:fraud-operations"],
}
"""Who answers for each group of assets, and so for each of their columns."""


Described = Mapping[str, tuple[str, str]]
"""Columns by name, in order: the type and the meaning of each."""


def contract_schema(columns: Iterable[Column], group: str, before: Described, after: Described) -> dg.TableSchema:
    """The contract's columns as a table schema, between further ones; each column is tagged with its owner."""
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
    return dg.TableSchema([*_plain(before, group), *described, *_plain(after, group)])


def plain_schema(columns: Described, group: str) -> dg.TableSchema:
    """A table schema outside the contract; each column is tagged with its owner."""
    return dg.TableSchema(_plain(columns, group))


def attribute_columns(attributes: Mapping[str, AttributeColumn]) -> Described:
    """The columns that a source has beyond the contract."""
    types = {"number": "float64", "text": "string"}
    return {
        name: (types[attribute.type], f"the source's own column {attribute.column}")
        for name, attribute in attributes.items()
    }


def _plain(columns: Described, group: str) -> list[dg.TableColumn]:
    owner = OWNERS[group][0].removeprefix("team:")
    return [dg.TableColumn(name, type_, text, tags={"owner": owner}) for name, (type_, text) in columns.items()]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MetadataValue:
    """A table that the Dagster UI renders; the word "none" in place of a table without rows."""
    listed = list(rows)
    if not listed:
        return dg.MetadataValue.text("none")
    lines = [header, ["---"] * len(header), *listed]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines))


def picture(title: str, png: bytes) -> dg.MarkdownMetadataValue:
    """A picture that the Dagster UI shows in place."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")


def page(path: Path) -> dg.PathMetadataValue:
    """The whole path of an HTML page, to be copied into the address bar: no browser follows a link from
    http:// to file://."""
    return dg.MetadataValue.path(path.resolve())


def rounded(figure: float) -> float:
    """Four decimals, or four significant digits of what is smaller: what a person can read and compare."""
    return round(figure, 4) if abs(figure) >= 0.001 else float(f"{figure:.4g}")
