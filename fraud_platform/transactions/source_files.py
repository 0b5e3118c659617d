"""The files of a source, and the manifest that remembers which days each of them holds."""

import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path

from fraud_platform.errors import UnreadableData
from fraud_platform.transactions.source_schema import Source

S3_SCHEME = "s3://"
SUFFIXES = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet",)}


@dataclass(frozen=True)
class SourceFile:
    """One file of a source; `name` is relative to the folder that the source's path starts at."""

    path: Path
    name: str


@dataclass(frozen=True)
class Known:
    """What was found in a file when it was last read through."""

    size: int
    mtime_ns: int
    first: str | None
    last: str | None

    def overlaps(self, first: date, last: date) -> bool:
        """Whether the file has rows in the days [first, last]."""
        return (
            self.first is not None
            and self.last is not None
            and self.first <= last.isoformat()
            and self.last >= first.isoformat()
        )


def find_files(source: Source) -> list[SourceFile]:
    """The files of the source in order of name.

    Raises:
        UnreadableData: the path is missing, matches nothing, or may not be read.
    """
    if source.path.startswith(S3_SCHEME):
        raise UnreadableData(
            f"{source.file}: path: {source.path} lies on S3, which the asset `raw_transactions` reads and this command "
            "does not. Copy one file to this machine, and give it in place of the path: --data COPY or FRAUD_DATA=COPY."
        )
    path = Path(source.path)
    if glob.has_magic(source.path) and not path.exists():
        start = next(position for position, part in enumerate(path.parts) if glob.has_magic(part))
        base = Path(*path.parts[:start])
        found = sorted(match for match in base.glob(str(Path(*path.parts[start:]))) if match.is_file())
    elif path.is_dir():
        base = path
        found = sorted(
            file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES[source.format])
        )
        found = [
            file for file in found if not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        ]
    else:
        base = path.parent
        found = [path] if path.exists() else []
    if not found:
        raise UnreadableData(f"{source.file}: path: {source.path!r} {_nothing(source, path)}")
    files = [SourceFile(file, file.relative_to(base).as_posix()) for file in found]
    for file in files:
        try:
            file.path.open("rb").close()
        except OSError as error:
            raise UnreadableData(
                f"{source.file}: path: {file.path} cannot be opened: {error.strerror}. Check its permissions."
            ) from error
    return files


def _nothing(source: Source, path: Path) -> str:
    if path.is_dir() or glob.has_magic(source.path):
        return (
            f"matches no file. A source of format {source.format} reads "
            f"{' and '.join(SUFFIXES[source.format])} files there."
        )
    near = (
        get_close_matches(path.name, [file.name for file in path.parent.glob("*")], 1) if path.parent.is_dir() else []
    )
    hint = f"Did you mean {path.parent / near[0]}?" if near else "Correct the path, or set FRAUD_DATA."
    return f"does not exist (relative paths start at the working directory). {hint}"


def fingerprint(source: Source) -> str:
    """Changes when rows could get another day or another file name."""
    relevant = source.model_dump_json(
        include={
            "format",
            "path",
            "csv",
            "first_day",
            "last_day",
            "event_time",
            "amount",
            "columns",
            "values",
            "attributes",
        }
    )
    return hashlib.sha256(relevant.encode()).hexdigest()


def read_manifest(path: Path, source: Source) -> dict[str, Known]:
    """What is known about each file, by name; empty where the source has changed since."""
    if not path.exists():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["fingerprint"] != fingerprint(source):
            return {}
        return {name: Known(**entry) for name, entry in raw["files"].items()}
    except (ValueError, KeyError, TypeError):
        return {}  # A manifest only saves time: without a usable one every file is read again.


def write_manifest(path: Path, source: Source, files: Mapping[str, Known]) -> None:
    """Write the manifest as JSON."""
    content = {
        "fingerprint": fingerprint(source),
        "files": {name: asdict(known) for name, known in sorted(files.items())},
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
