"""Who may use the service: API keys, their roles, and the file that holds them.

The file has a key's SHA-256 and never the key. A plain hash is right here: a key is 256 random bits, so
that there is nothing to guess; salts and slow hashes protect what people choose.

| role | may |
|---|---|
| score | POST /predict and /predict/batch |
| label | POST /labels |
| analyst | the console, decisions, replay, labels, lists |
| admin | everything |
"""

import fcntl
import hmac
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from fraud_platform.errors import AccessError

Role = Literal["score", "label", "analyst", "metrics", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

PREFIX = "fp_"
"""Lets scanners of code and logs find a key that was left there."""
KEY_PATTERN = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
LOCAL = "local"
"""The name of whoever uses a service without keys: no key may have it."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]


@dataclass(frozen=True)
class Principal:
    """Who makes a request.

    Attributes:
        key_id: the first 16 hexadecimal digits of the key's SHA-256; no secret.
    """

    name: str
    roles: frozenset[str]
    key_id: str = ""

    def may(self, *roles: str) -> bool:
        """Whether it has any of the roles; an admin has them all."""
        return "admin" in self.roles or not self.roles.isdisjoint(roles)


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key, as the file has it."""

    name: Annotated[str, msgspec.Meta(pattern=f"^{NAME_PATTERN}$")]
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    created: Time
    expires: Time | None = None

    @property
    def key_id(self) -> str:
        return self.sha256[:16]

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[KeyEntry]


class Keys:
    """The keys of one reading of the file.

    Args:
        configured: whether the file is there. With an empty one nobody is let in.
    """

    def __init__(self, entries: Sequence[KeyEntry] = (), *, configured: bool = True) -> None:
        self.configured = configured
        self._keys = [(bytes.fromhex(entry.sha256), _principal(entry), _end(entry)) for entry in entries]

    @classmethod
    def load(cls, path: Path) -> "Keys":
        """
        Raises:
            AccessError: if the file cannot be used.
        """
        entries = _read(path)
        return cls(configured=False) if entries is None else cls(entries)

    def find(self, key: str) -> Principal | None:
        """Whose key this is. Its SHA-256 is compared with every other in full, so that the time tells nothing."""
        if not KEY_PATTERN.fullmatch(key):
            return None
        digest = sha256(key.encode()).digest()
        found, end = None, 0.0
        for known, principal, expires in self._keys:
            if hmac.compare_digest(digest, known):
                found, end = principal, expires
        return found if time.time() < end else None

    def by_id(self, key_id: str) -> Principal | None:
        """Whose key has this `key_id`, while it is valid."""
        for _, principal, expires in self._keys:
            if principal.key_id == key_id and time.time() < expires:
                return principal
        return None


def list_keys(path: Path) -> list[KeyEntry]:
    """What the file holds, expired keys too.

    Raises:
        AccessError: if the file cannot be used.
    """
    return _read(path) or []


def create(path: Path, name: str, roles: Sequence[str], expires: datetime | None = None) -> str:
    """A new key, which is shown this once; makes the file if there is none.

    Raises:
        AccessError: for a name that is in use or malformed, an unknown role, a time that has passed, or a
            file that cannot be used.
    """
    _check(name, roles, expires)
    with _changing(path) as entries:
        now = datetime.now(UTC)
        entries[:] = [entry for entry in entries if not (entry.name == name and entry.expired(now))]
        if any(entry.name == name for entry in entries):
            raise AccessError(f"There is a key for {name!r} already. Rotate or revoke it, or choose another name.")
        return _add(entries, name, roles, now, expires)


def rotate(path: Path, name: str, overlap: timedelta, expires: datetime | None = None) -> str:
    """A new key with the same roles. The old one goes on for `overlap`, or to its own end if that is sooner.

    Args:
        expires: default: the new key is valid as long as the old one was made for.

    Raises:
        AccessError: if nobody has that name, or for what `create` refuses.
    """
    with _changing(path) as entries:
        now = datetime.now(UTC)
        mine = [entry for entry in entries if entry.name == name and not entry.expired(now)]
        if not mine:
            raise AccessError(f"There is no valid key for {name!r} to rotate. `fraud-platform keys list` shows all.")
        latest = mine[-1]
        if expires is None and latest.expires is not None:
            expires = now + (latest.expires - latest.created)
        _check(name, latest.roles, expires)
        ending = [_ending(entry, now + overlap) for entry in mine if overlap > timedelta(0)]
        entries[:] = [entry for entry in entries if entry.name != name] + ending
        return _add(entries, name, latest.roles, now, expires)


def revoke(path: Path, name: str) -> int:
    """End every key of a name at once; gives how many there were. The file stays: without it keys are not asked for.

    Raises:
        AccessError: if nobody has that name.
    """
    with _changing(path) as entries:
        left = [entry for entry in entries if entry.name != name]
        if len(left) == len(entries):
            raise AccessError(f"There is no key for {name!r} to revoke. `fraud-platform keys list` shows all.")
        revoked = len(entries) - len(left)
        entries[:] = left
    return revoked


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file is replaced or written; None while there is none.

    Raises:
        AccessError: if the file's folder cannot be read.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessError(f"The keys in {path} cannot be read: {error}. Let the service's user read them.") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _add(entries: list[KeyEntry], name: str, roles: Sequence[str], created: datetime, expires: datetime | None) -> str:
    key = PREFIX + secrets.token_urlsafe(32)
    ordered: tuple[Role, ...] = tuple(role for role in ROLES if role in roles)
    entries.append(KeyEntry(name, ordered, sha256(key.encode()).hexdigest(), created, expires))
    return key


def _ending(entry: KeyEntry, end: datetime) -> KeyEntry:
    return entry if entry.expires is not None and entry.expires < end else msgspec.structs.replace(entry, expires=end)


def _principal(entry: KeyEntry) -> Principal:
    return Principal(entry.name, frozenset(entry.roles), entry.key_id)


def _end(entry: KeyEntry) -> float:
    return inf if entry.expires is None else entry.expires.timestamp()


def _check(name: str, roles: Sequence[str], expires: datetime | None) -> None:
    if not re.fullmatch(NAME_PATTERN, name) or name == LOCAL:
        raise AccessError(f"{name!r} cannot name a key. Use up to 64 of A-Z a-z 0-9 . _ - and not {LOCAL!r}.")
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise AccessError(f"A key needs roles out of {', '.join(ROLES)}; given: {', '.join(roles) or 'none'}.")
    if expires is not None and (expires.tzinfo is None or expires <= datetime.now(UTC)):
        raise AccessError(f"A key cannot end at {expires.isoformat()}. Give a time to come, with its time zone.")


def _read(path: Path) -> list[KeyEntry] | None:
    """The entries of the file; None if there is none."""
    try:
        with path.open("rb") as file:
            writable = os.fstat(file.fileno()).st_mode & 0o022
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessError(f"The keys in {path} cannot be read: {error}. Let the service's user read them.") from error
    if writable:
        raise AccessError(f"The keys in {path} can be changed by other users. Run `chmod 600 {path}`.")
    try:
        return msgspec.json.decode(content, type=_File).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fix = "Restore the file, or delete it and create the keys anew with `fraud-platform keys create`."
        raise AccessError(f"The keys in {path} are damaged: {error}. {fix}") from error


@contextmanager
def _changing(path: Path) -> Iterator[list[KeyEntry]]:
    """The entries, to be changed in place; written when the block ends well. One process at a time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = _read(path) or []
            yield entries
            _write(path, msgspec.json.format(msgspec.json.encode(_File(entries))) + b"\n")
    except OSError as error:
        fix = "Make room on the disk, or run this as a user who may write there."
        raise AccessError(f"The keys in {path} cannot be changed: {error}. {fix}") from error


def _write(path: Path, content: bytes) -> None:
    """Replace the file whole: a reader sees the old or the new one. Temporary files have mode 0600 from the start."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
