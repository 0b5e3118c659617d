"""Load a source's YAML file, and say everything that is wrong with it at once.

Loading reads the YAML file and nothing else; the data are read by `reading`.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from fraud_platform.errors import SourceError
from fraud_platform.transactions import contract
from fraud_platform.transactions.source_schema import (
    MAPPABLE,
    RESERVED,
    AmountColumn,
    AttributeColumn,
    CsvOptions,
    Labels,
    Source,
    TextColumn,
    TimeColumn,
    VerdictColumn,
)
from fraud_platform.transactions.yaml_loader import YamlLoader

__all__ = ["Source", "load_source"]

SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Source,
    ("csv",): CsvOptions,
    ("event_time",): TimeColumn,
    ("amount",): AmountColumn,
    ("labels",): Labels,
    ("labels", "is_fraud"): VerdictColumn,
    ("labels", "fraud_type"): TextColumn,
    ("labels", "reported_at"): TimeColumn,
}
"""The model of each block of the YAML file, to suggest keys from."""

SIMULATED: dict[str, Any] = {
    "event_time": {"column": "event_time"},
    "amount": {"column": "amount_cents", "unit": "minor"},
    "columns": {name: name for name in MAPPABLE},
    "labels": {
        "is_fraud": {"column": "is_fraud"},
        "fraud_type": {"column": "fraud_type"},
        "reported_at": {"column": "reported_at"},
        "source": "simulated",
    },
}
"""The mapping of a simulated source: the simulator speaks the contract's language."""


def load_source(path: Path, data: str | None = None) -> Source:
    """Read a source's YAML file. Nothing but that file is touched.

    Args:
        path: the YAML file; its stem becomes the name of the source.
        data: file, folder, glob or address that replaces the source's own `path`.

    Raises:
        SourceError: listing every problem at once, each with file, key and fix.
    """
    raw = _read_yaml(path)
    if raw.get("format") == "simulator":
        raw = _with_simulated_mapping(raw)
    elif data is not None:
        raw = {**raw, "path": data}
    problems = list(_cross_checks(raw))
    source: Source | None = None
    try:
        source = Source.model_validate({**raw, "name": path.stem, "file": path})
    except ValidationError as error:
        problems = [_explain(path, raw, entry) for entry in error.errors()] + problems
    if problems or source is None:
        listed = "".join(f"\n  - {problem}" for problem in dict.fromkeys(problems))
        raise SourceError(f"{path}: {len(dict.fromkeys(problems))} problem(s) in the source:{listed}")
    return source


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = get_close_matches(path.name, [file.name for file in path.parent.glob("*.yaml")], 1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else " Check FRAUD_SOURCE, or draft one from a sample."
        raise SourceError(f"{path}: there is no such source file.{hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: the source file cannot be read: {error}. It must be a readable UTF-8 text file."
        ) from error
    try:
        raw = yaml.load(text, Loader=YamlLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise SourceError(
            f"{path}: not valid YAML: {error}. Quote values that contain ':', '#', '%' or quotes."
        ) from error
    if not isinstance(raw, dict):
        raise SourceError(
            f"{path}: empty or not a mapping. Start with `format: csv`; the command that drafts a "
            "source shows all keys."
        )
    return raw


def _with_simulated_mapping(raw: dict[str, Any]) -> dict[str, Any]:
    """Fill in what a simulated source need not say."""
    labels = raw.get("labels")
    filled = {**SIMULATED, **raw}
    if isinstance(labels, dict):
        filled["labels"] = {**SIMULATED["labels"], **labels}
    simulator = raw.get("simulator")
    if isinstance(simulator, dict) and isinstance(raw.get("first_day"), date):
        filled["simulator"] = {"first_day": raw["first_day"], **simulator}
    return filled


def _explain(path: Path, raw: dict[str, Any], entry: Mapping[str, Any]) -> str:
    """One pydantic error as: key, what is wrong, how to mend it."""
    location = tuple(part for part in entry["loc"] if part != "[key]")
    key = ".".join(map(str, location)) or "source"
    if entry["type"] == "extra_forbidden":
        *parents, last = location
        model = AttributeColumn if parents[:1] == ["attributes"] else SECTIONS.get(tuple(map(str, parents)), Source)
        allowed = [name for name in model.model_fields if name not in ("name", "file") or model is not Source]
        return f"{key}: unknown key.{_suggest(str(last), allowed)}"
    if entry["type"] == "missing":
        return f"{key}: missing. Add it; {_meaning(key)}"
    message = entry["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    given = (
        ""
        if isinstance(entry["input"], dict | list) or repr(entry["input"]) in message
        else f" (got {entry['input']!r})"
    )
    return f"{key}: {message}{given}."


def _meaning(key: str) -> str:
    meanings = {
        "format": "one of csv, parquet, simulator",
        "first_day": "the UTC day of the first event, such as 2018-04-01",
        "event_time": "for example {column: booked_at, format: iso, zone: UTC}",
        "amount": "for example {column: amount, unit: major, decimals: 2}",
        "columns": "for example {transaction_id: ID, customer_id: ACCOUNT}",
        "labels.is_fraud": "for example {column: fraud, fraud_values: ['1']}",
    }
    return (
        meanings.get(key, "it names a column of the source" if key.endswith("column") else "see the other sources")
        + "."
    )


def _suggest(word: str, allowed: list[str] | tuple[str, ...]) -> str:
    near = get_close_matches(word.lower(), allowed, 1, 0.6)
    return f" Did you mean {near[0]}?" if near else f" Use one of {', '.join(allowed)}."


def _cross_checks(raw: Mapping[str, Any]) -> Iterator[str]:
    """Checks that join several keys. They run whatever else is wrong, so they trust no type."""
    yield from _column_checks(raw)
    yield from _day_checks(raw)
    yield from _attribute_checks(raw.get("attributes"))
    yield from _value_checks(raw.get("values"), raw.get("columns"))
    for reserved in ("name", "file"):
        if reserved in raw:
            yield f"{reserved}: unknown key. Remove it; the name of a source is the name of its file."
    format_, path = raw.get("format"), raw.get("path")
    if format_ in ("csv", "parquet") and (not isinstance(path, str) or not path.strip()):
        yield f"path: missing. A source of format {format_} needs the file, folder or glob of its data."
    if format_ == "simulator":
        yield from _simulator_checks(raw)
    elif raw.get("simulator") is not None:
        yield "simulator: given, but format is not simulator. Remove the block or set `format: simulator`."
    if raw.get("csv") is not None and format_ in ("parquet", "simulator"):
        yield f"csv: given, but format is {format_}. Remove the block or set `format: csv`."


def _column_checks(raw: Mapping[str, Any]) -> Iterator[str]:
    columns = raw.get("columns")
    if not isinstance(columns, dict):
        return
    for name in columns:
        if name in ("event_time", "amount_cents"):
            block = {"event_time": "event_time", "amount_cents": "amount"}[name]
            yield (
                f"columns.{name}: does not belong here. Describe it in the block `{block}`, which also says its format."
            )
        elif name not in MAPPABLE:
            yield (
                f"columns.{name}: not a column of the contract.{_suggest(str(name), MAPPABLE)} Other "
                "columns go to `attributes`."
            )
    for name in contract.REQUIRED:
        if name in MAPPABLE and name not in columns:
            hint = " A source without ids may say `transaction_id: _row`." if name == "transaction_id" else ""
            yield (
                f"columns.{name}: missing. Name the source's column for it "
                f"({contract.TRANSACTION_COLUMNS[name].meaning}).{hint}"
            )


def _day_checks(raw: Mapping[str, Any]) -> Iterator[str]:
    first, last = raw.get("first_day"), raw.get("last_day")
    if not isinstance(first, date):
        return
    if first < date.fromisoformat(contract.EARLIEST_EVENT):
        yield (
            f"first_day: {first} is before {contract.EARLIEST_EVENT}, the earliest day that the contract "
            "accepts. Correct the year."
        )
    if isinstance(last, date) and last < first:
        yield f"last_day: {last} is before first_day {first}. Exchange or correct them."


def _attribute_checks(attributes: object) -> Iterator[str]:
    for name in attributes if isinstance(attributes, dict) else ():
        if name in RESERVED:
            yield f"attributes.{name}: the name is taken by the contract. Map it in `columns`, or choose another name."
        elif not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
            yield (
                f"attributes.{name}: not a usable name. Use lower-case letters, digits and '_', starting with a letter."
            )


def _value_checks(values: object, columns: object) -> Iterator[str]:
    mapped = columns if isinstance(columns, dict) else {}
    for name, words in values.items() if isinstance(values, dict) else ():
        if name not in mapped:
            yield (
                f"values.{name}: translates a column that `columns` does not "
                f"map.{_suggest(str(name), tuple(map(str, mapped)))}"
            )
            continue
        column = contract.TRANSACTION_COLUMNS.get(name)
        if column is None or not isinstance(words, dict):
            continue
        for word, meaning in words.items():
            if column.values and meaning not in column.values:
                yield f"values.{name}.{word}: {meaning!r} is not allowed. Use one of {', '.join(column.values)}."
            elif column.pattern and not re.fullmatch(column.pattern, str(meaning)):
                yield f"values.{name}.{word}: {meaning!r} does not match {column.pattern}."


def _simulator_checks(raw: Mapping[str, Any]) -> Iterator[str]:
    block = raw.get("simulator")
    if not isinstance(block, dict):
        yield "simulator: missing. A source of format simulator needs the block, for example {customers: 2000}."
        return
    from fraud_platform.transactions.simulator import SimulatorConfig

    try:
        config = SimulatorConfig.model_validate(block)
    except ValidationError as error:
        for entry in error.errors():
            key = ".".join(map(str, ("simulator", *entry["loc"])))
            if entry["type"] == "extra_forbidden":
                yield f"{key}: unknown key.{_suggest(str(entry['loc'][-1]), tuple(SimulatorConfig.model_fields))}"
            else:
                yield f"{key}: {entry['msg']} (got {entry['input']!r})."
        return
    if isinstance(raw.get("first_day"), date) and config.first_day > raw["first_day"]:
        yield (
            f"simulator.first_day: {config.first_day} is after first_day {raw['first_day']}. Leave it "
            "out, or correct one of the two."
        )
