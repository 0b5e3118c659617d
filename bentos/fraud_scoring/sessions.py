"""An analyst's session in the console: a signed cookie, opened with an API key and ended with it.

The cookie names the key (not the key itself) and the session; nothing else is kept but which sessions
were ended by logging out. What signs it is a secret in the installation's folder, so that a session is
good in every worker and after a restart.
"""

import hmac
import os
import secrets
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from itsdangerous import BadSignature, TimestampSigner

from bentos.fraud_scoring.counters import SharedCounters
from fraud_platform.access import Principal
from fraud_platform.errors import AccessError

COOKIE = "fraud_session"
SESSION_SECONDS = 12 * 3600
SECRET_BYTES = 32
LOCAL_SESSION = "local"
"""The session of everybody where there are no keys: its CSRF token is no secret to who may read the console."""


@dataclass(frozen=True)
class Session:
    """Who works in the console.

    Attributes:
        csrf: the token that each request that changes something has to bring.
    """

    principal: Principal
    id: str
    csrf: str


class Sessions:
    """Makes and reads the cookies.

    Args:
        secret: 32 random bytes.
        ended: shared counters of the sessions that were logged out.
    """

    def __init__(self, secret: bytes, ended: SharedCounters) -> None:
        self._secret = secret
        self._ended = ended
        self._signer = TimestampSigner(
            secret, salt="fraud_scoring.session", key_derivation="hmac", digest_method=sha256
        )

    def open(self, principal: Principal, *, secure: bool) -> str:
        """The Set-Cookie header of a new session."""
        value = self._signer.sign(f"{principal.key_id}-{secrets.token_hex(16)}").decode()
        return _cookie(value, SESSION_SECONDS, secure)

    def read(self, cookie: str) -> tuple[str, str] | None:
        """key_id and session of a cookie that is ours, not older than SESSION_SECONDS and not logged out."""
        try:
            key_id, _, session = self._signer.unsign(cookie, max_age=SESSION_SECONDS).decode().partition("-")
        except BadSignature:  # SignatureExpired too
            return None
        return None if self._ended.get(session) else (key_id, session)

    def end(self, session: str) -> None:
        """Refuse the session from now on, in every worker."""
        self._ended.incr(session, SESSION_SECONDS)

    def csrf(self, session: str) -> str:
        """The session's token against cross-site request forgery."""
        return hmac.digest(self._secret, b"csrf\0" + session.encode(), "sha256").hex()


def no_cookie(*, secure: bool) -> str:
    """The Set-Cookie header that deletes the cookie."""
    return _cookie("", 0, secure)


def load_secret(path: Path) -> bytes:
    """The secret of the installation, made once whoever comes first.

    Raises:
        AccessError: if the file can neither be read nor made, or is not what was made.
    """
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_bytes()
    except OSError as error:
        fix = "Let the service's user read and write its folder."
        raise AccessError(f"The secret of the console's sessions in {path} cannot be used: {error}. {fix}") from error
    if len(secret) != SECRET_BYTES or path.stat().st_mode & 0o077:
        fix = "Delete it: a new one is made, and analysts log in again."
        raise AccessError(f"The secret of the console's sessions in {path} is damaged, or others can read it. {fix}")
    return secret


def _make_secret(path: Path) -> None:
    """Write aside, then link into place: whoever reads finds all of it, and who comes second keeps the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        Path(temporary).unlink()


def _cookie(value: str, seconds: int, secure: bool) -> str:
    # Lax would be sent along when a link on another site leads here; the analyst then logs in to follow it.
    attributes = f"Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    return f"{COOKIE}={value}; {attributes}{'; Secure' if secure else ''}"
