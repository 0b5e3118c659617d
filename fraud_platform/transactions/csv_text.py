"""CSV files before DuckDB parses them: the header, and lines that would take their neighbours with them.

An unbalanced quote swallows the lines that follow, and a byte that is not valid UTF-8 hides what was
there. Files are read through once, in blocks, for such trouble; only a file that has some is copied,
line by line, with each broken line replaced by one that DuckDB rejects in its place.
"""

import csv
import errno
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fraud_platform.errors import UnreadableData
from fraud_platform.transactions.source_schema import CsvOptions

BLOCK = 8 * 2**20
LONGEST_LINE = 2**20
"""Bytes of the longest record that is taken for a record."""
LONGEST_QUOTE = 50
"""Lines that a quoted field may span; a quote that is open for longer is a broken one."""


@dataclass(frozen=True)
class CsvFile:
    """A CSV file that DuckDB can read without losing rows.

    Attributes:
        readable: the file itself, or its repaired copy.
        columns: names from the header; empty and repeated names are made unique.
        broken: NDJSON of the lines taken out (row, reason, raw), or None.
    """

    readable: Path
    columns: list[str]
    broken: Path | None


def open_bytes(path: Path) -> IO[bytes]:
    """Open a CSV file, compressed or not, for reading bytes."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def prepare(path: Path, options: CsvOptions, scratch: Path) -> CsvFile | None:
    """Look a CSV file through. None where it has no data rows.

    Raises:
        UnreadableData: not a text file, not decompressable, or permission denied.
    """
    try:
        with open_bytes(path) as file:
            start = file.read(BLOCK)
            _check_text(path, start)
            if not start.strip():
                return None
            columns = _header(path, start, options)
        if not _has_rows(path):
            return None
        if _is_clean(path, options):
            return CsvFile(path, columns, None)
        return _repair(path, options, columns, scratch)
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise  # not the file's fault: the repaired copy found no room
        raise UnreadableData(
            f"{path}: cannot be read: {error}. Check that the file is complete and that you may read it."
        ) from error


def _check_text(path: Path, start: bytes) -> None:
    if start.startswith(b"PAR1"):
        raise UnreadableData(f"{path}: is a Parquet file. Say `format: parquet`, or give the CSV file.")
    if start.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise UnreadableData(f"{path}: is a compressed file or spreadsheet. Give plain CSV, or gzip named .csv.gz.")
    if b"\0" in start:
        raise UnreadableData(
            f"{path}: is not text (it has zero bytes). Export it as CSV in UTF-8; UTF-16 must be converted."
        )
    if b"\n" not in start and (b"\r" in start or len(start) >= BLOCK):
        raise UnreadableData(f"{path}: has no line ends (LF or CRLF). Convert its line ends; is it a CSV file?")


def _header(path: Path, start: bytes, options: CsvOptions) -> list[str]:
    text = start.lstrip(b"\r\n").partition(b"\n")[0].removeprefix(b"\xef\xbb\xbf").rstrip(b"\r")
    try:
        decoded = text.decode(options.encoding)
    except UnicodeDecodeError as error:
        raise UnreadableData(
            f"{path}: the header is not {options.encoding}: {error}. Set `csv.encoding: latin-1`."
        ) from error
    fields = next(csv.reader(io.StringIO(decoded), delimiter=options.delimiter, quotechar=options.quote))
    names: list[str] = []
    taken: set[str] = set()
    for position, field in enumerate(fields):
        name = base = field.strip() or f"column{position}"
        number = 1
        while name.lower() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _has_rows(path: Path) -> bool:
    with open_bytes(path) as file:
        lines = (line for line in file if line.strip())
        return next(lines, None) is not None and next(lines, None) is not None


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in blocks of whole lines."""
    carry = b""
    with open_bytes(path) as file:
        while block := file.read(BLOCK):
            whole, newline, rest = (carry + block).rpartition(b"\n")
            if newline:
                yield whole + newline
            carry = rest
            if len(carry) > 4 * BLOCK:
                raise UnreadableData(
                    f"{path}: has a line of more than {len(carry):,} bytes. Is it a CSV file with line ends?"
                )
    if carry:
        yield carry


def _is_clean(path: Path, options: CsvOptions) -> bool:
    """Whether every line is one record in the declared encoding, so that DuckDB numbers rows as lines."""
    quote, delimiter = (
        re.escape(options.quote).encode(options.encoding),
        re.escape(options.delimiter).encode(options.encoding),
    )
    # A quote that opens a field and is not closed, before the next delimiter or line end, on its own line.
    open_quote = re.compile(
        b"(?:^|[\n"
        + delimiter
        + b"])"
        + quote
        + b"(?![^\n"
        + quote
        + b"]*(?:"
        + quote * 2
        + b"[^\n"
        + quote
        + b"]*)*"
        + quote
        + b"(?:[\r\n"
        + delimiter
        + b"]|$))"
    )
    for number, block in enumerate(_blocks(path)):
        returns = block.count(b"\r")
        mixed = returns and not returns == block.count(b"\r\n") == block.count(b"\n")
        blank = b"\n\n" in block or b"\n\r\n" in block or block.startswith((b"\n", b"\r\n"))
        if mixed or blank or not _decodes(block, options) or (number and b"\0" in block):
            return False
        if options.quote.encode(options.encoding) in block and open_quote.search(block):
            return False
    return True


def _decodes(text: bytes, options: CsvOptions) -> bool:
    try:
        text.decode(options.encoding)
    except UnicodeDecodeError:
        return False
    return True


class _Grammar:
    """When a line is a whole record, and when it ends within a quoted field."""

    def __init__(self, options: CsvOptions, fields: int) -> None:
        quote, delimiter = (re.escape(mark).encode(options.encoding) for mark in (options.quote, options.delimiter))
        inside = b"(?:[^" + quote + b"]|" + quote * 2 + b")*"
        field = b"(?:" + quote + inside + quote + b"|[^" + quote + delimiter + b"][^" + delimiter + b"]*|)"
        self._quote = options.quote.encode(options.encoding)
        self._record = re.compile(field + b"(?:" + delimiter + field + b")*")
        self._exact = re.compile(field + b"(?:" + delimiter + field + b"){%d}" % (fields - 1))
        self._open = re.compile(b"(?:" + field + delimiter + b")*" + quote + inside)

    def is_record(self, line: bytes) -> bool:
        return self._quote not in line or self._record.fullmatch(line) is not None

    def is_exact(self, line: bytes) -> bool:
        return self._exact.fullmatch(line) is not None

    def is_open(self, line: bytes) -> bool:
        return self._open.fullmatch(line) is not None


def _repair(path: Path, options: CsvOptions, columns: list[str], scratch: Path) -> CsvFile:
    """Copy the file without blank lines, each broken line replaced by one with a field too many."""
    scratch.mkdir(parents=True, exist_ok=True)
    repaired, broken = scratch / "repaired.csv", scratch / "broken.ndjson"
    grammar = _Grammar(options, len(columns))
    # DuckDB lets one empty field too many pass, so the field too many is not empty.
    reject = options.delimiter.encode(options.encoding) * len(columns) + b"x\n"
    with repaired.open("wb") as clean, broken.open("w", encoding="utf-8") as taken_out:
        lines = (line.rstrip(b"\r\n") for block in _blocks(path) for line in block.split(b"\n"))
        records = _records((line for line in lines if line), grammar, options)
        for row, (record, reason) in enumerate(records):
            if reason is None or row == 0:
                clean.write(record + b"\n")
                continue
            clean.write(reject)
            raw = record.decode(options.encoding, errors="backslashreplace")
            taken_out.write(json.dumps({"row": row, "reason": reason, "raw": raw}) + "\n")
    return CsvFile(repaired, columns, broken)


def _records(lines: Iterator[bytes], grammar: _Grammar, options: CsvOptions) -> Iterator[tuple[bytes, str | None]]:
    """Each record with what is wrong with it. Quoted fields may span lines; a broken quote costs its own line only."""
    waiting: list[bytes] = []
    while True:
        line = waiting.pop(0) if waiting else next(lines, None)
        if line is None:
            return
        reason = _trouble(line, options)
        if reason is None and not grammar.is_record(line):
            reason = "line: broken quote"
            if grammar.is_open(line):
                while len(waiting) < LONGEST_QUOTE and (following := next(lines, None)) is not None:
                    waiting.append(following)
                if taken := _spanned(line, waiting, grammar, options):
                    line, reason = b"\n".join([line, *waiting[:taken]]), None
                    del waiting[:taken]
        yield line, reason


def _spanned(line: bytes, following: list[bytes], grammar: _Grammar, options: CsvOptions) -> int:
    """How many of the following lines complete the record; 0 where none do, so that the quote is broken."""
    record = line
    for taken, part in enumerate(following, 1):
        if grammar.is_exact(part) or _trouble(part, options):
            return 0
        record += b"\n" + part
        if grammar.is_exact(record):
            return taken
        if not grammar.is_open(record):
            return 0
    return 0


def _trouble(line: bytes, options: CsvOptions) -> str | None:
    if len(line) > LONGEST_LINE:
        return f"line: longer than {LONGEST_LINE} bytes"
    if b"\0" in line or b"\r" in line:
        return "line: stray zero byte or carriage return"
    return None if _decodes(line, options) else f"line: not valid {options.encoding}"
