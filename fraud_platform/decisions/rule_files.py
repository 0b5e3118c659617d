"""Reading the YAML files of rules and lists, so that everything that is wrong is said at once."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, StringConstraints, ValidationError

from fraud_platform.errors import FraudPlatformError, RulesError
from fraud_platform.transactions.yaml_loader import YamlLoader

Signature = tuple[int, int, int] | None
"""Inode, size and time of change of a file: another where the file is another. None: there is no file."""


def _one_line(text: str) -> str:
    """Every run of white space, line breaks of any kind included, becomes one space."""
    return " ".join(text.split())


Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_one_line)
]
"""Something that a person wrote for persons."""


def _moment(given: object) -> object:
    """A day begins at midnight UTC; a time of day needs its offset."""
    if isinstance(given, str):
        is_day = len(given) == len("2026-01-31")
        given = date.fromisoformat(given) if is_day else datetime.fromisoformat(given)
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ValueError(f"{given} has no offset from UTC. Write it like 2026-01-31T09:30:00Z")
        return given.astimezone(UTC)
    if isinstance(given, date):
        return datetime.combine(given, time.min, UTC)
    raise ValueError("not a date or a time. Write it like 2026-01-31 or 2026-01-31T09:30:00Z")


Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A moment of event time, UTC."""


@dataclass(frozen=True)
class FileContent:
    """A file as it was at one moment; `content` is empty where there is none."""

    path: Path
    content: bytes
    signature: Signature

    @property
    def is_missing(self) -> bool:
        return self.signature is None


def read_file(path: Path) -> FileContent:
    """
    Raises:
        RulesError: if it is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            return FileContent(path, file.read(), _signature(os.fstat(file.fileno())))
    except FileNotFoundError:
        return FileContent(path, b"", None)
    except OSError as error:
        raise RulesError(f"{path}: cannot be read: {error}. Correct the path or its permissions.") from error


def signature_of(path: Path) -> Signature:
    """The signature of a file as it is now; a file that cannot be looked at counts as none."""
    try:
        return _signature(path.stat())
    except OSError:
        return None


def _signature(stat: os.stat_result) -> Signature:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def replace_file(path: Path, text: str, before: Callable[[], None]) -> None:
    """Write a file as a whole: who reads meanwhile reads the old one or the new one.

    Args:
        before: called when the new one is on the disk, and before it takes the old one's place. If it raises,
            the old one stays.

    Raises:
        RulesError: if it cannot be written, or `before` fails for a reason of the platform or of the system.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        before()
        partial.replace(path)
    except (OSError, FraudPlatformError) as error:
        raise RulesError(f"{path}: nothing was changed: {error}. Free space, or correct the permissions.") from error
    finally:
        with suppress(OSError):  # the first error is the one to tell, and the next change writes over it
            partial.unlink(missing_ok=True)


def items_of(file: FileContent, key: str) -> list[Any]:
    """The list under the only key that such a file has.

    Raises:
        RulesError: if it is no such file.
    """
    try:
        raw = yaml.load(file.content, Loader=YamlLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise RulesError(
            f"{file.path}: not valid YAML: {error}. Quote what contains ':', '#' or quotes; "
            "a condition goes below `when: >-`."
        ) from error
    if not isinstance(raw, dict) or list(raw) != [key] or not isinstance(raw[key], list):
        raise RulesError(f"{file.path}: has to be a list under the key `{key}`. Where there are none: `{key}: []`.")
    return raw[key]


def problems_of(error: ValidationError, item: object, model: type[BaseModel]) -> Iterator[str]:
    """Each thing that is wrong with one item as: key, what is wrong, how to mend it."""
    keys = [field.alias or name for name, field in model.model_fields.items()]
    if not isinstance(item, Mapping):
        yield f"not a mapping of keys to values (got {item!r}). Give {', '.join(keys)}."
        return
    for entry in error.errors():
        key = ".".join(map(str, entry["loc"]))
        if entry["type"] == "extra_forbidden":
            near = get_close_matches(key.lower(), keys, 1, 0.6)
            yield f"{key}: unknown key. " + (f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(keys)}.")
        elif entry["type"] == "missing":
            yield f"{key}: missing. Add it; docs/rules.md says what it is for."
        else:
            message = entry["msg"].removeprefix("Value error, ")
            hint = " Put it in quotes." if entry["type"] == "string_type" and entry["input"] is not None else ""
            yield f"{key}: {message} (got {entry['input']!r}).{hint}"


def refuse(path: Path, problems: Iterable[str], of: str) -> None:
    """
    Raises:
        RulesError: listing the problems, if there are any.
    """
    listed = list(dict.fromkeys(problems))
    if listed:
        raise RulesError(f"{path}: {len(listed)} problem(s) in the {of}:" + "".join(f"\n  - {p}" for p in listed))
