"""The audit: one JSON line for each change of rules, lists, models, keys and labels, and who made it.

It is what is left to read after a mistake or a break-in, so a line is on the disk before the change is
said to be done, and holds neither a secret nor a full id.
"""

import fcntl
import getpass
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fraud_platform.access import KEY_PATTERN
from fraud_platform.errors import WarehouseError
from fraud_platform.pseudonyms import PERSONAL, Pseudonyms


class Audit:
    """Appends to the audit log; several processes may at once.

    Args:
        pseudonyms: what customers, cards, devices and addresses are called in it.
    """

    def __init__(self, path: Path, pseudonyms: Pseudonyms) -> None:
        self._path = path
        self._pseudonyms = pseudonyms

    def write(self, actor: str, action: str, details: Mapping[str, object]) -> None:
        """Append one line, `{"time", "actor", "action", "details"}`, and wait for the disk: some milliseconds.

        Args:
            actor: the principal's name, or the user of the machine.
            action: what was done: `label_given`, `key_revoked` …
            details: JSON. Ids are pseudonymised (see `scrub`), API keys blanked.

        Raises:
            WarehouseError: if the line is not on the disk as a whole.
        """
        entry = {
            "time": datetime.now(UTC),
            "actor": scrub(actor, self._pseudonyms),
            "action": action,
            "details": scrub(details, self._pseudonyms),
        }
        try:
            self._append(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise WarehouseError(
                f"The audit line for {action} by {actor} cannot be written to {self._path}: {error}. "
                "Make room or give the user access, then repeat the change."
            ) from error

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # The lock is for the next two lines: the end of the file is not to be looked at while another writes it.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A line that a full disk cut off must not swallow the next one.
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            # One write with O_APPEND is one piece of the file, whoever else appends.
            if os.write(descriptor, line) < len(line):
                raise OSError("only a part of the line was written")
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def scrub(value: object, pseudonyms: Pseudonyms) -> object:
    """JSON without full ids and keys: what is under the name of a personal column, or is the `value` beside a
    `column` or `entity` of such a name, becomes a pseudonym.
    """
    if isinstance(value, Mapping):
        named = f"{value.get('column', '')} {value.get('entity', '')}"
        hidden = PERSONAL | {"value"} if any(column in named for column in PERSONAL) else PERSONAL
        return {
            blank_keys(str(name)): _hide(item, pseudonyms) if name in hidden else scrub(item, pseudonyms)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [scrub(item, pseudonyms) for item in value]
    if isinstance(value, str):
        return blank_keys(value)
    return value


def _hide(value: object, pseudonyms: Pseudonyms) -> object:
    if value is None:
        return None
    if isinstance(value, list | tuple | set | frozenset):
        return [_hide(item, pseudonyms) for item in value]
    return pseudonyms.of(str(value))


def blank_keys(text: str) -> str:
    """The text with `fp_…` in the place of each API key."""
    return KEY_PATTERN.sub("fp_…", text) if "fp_" in text else text


def user() -> str:
    """Who runs this process: the actor of what is done on the command line."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"
