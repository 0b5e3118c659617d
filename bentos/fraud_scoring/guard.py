"""Lets a request in or refuses it: keys and roles, rate limits, the console's sessions, forged requests.

| status | code | when |
|---|---|---|
| 401 | unauthenticated | no key, more than one, or one that is not valid |
| 403 | forbidden | the key lacks the role, or another site's page made the request |
| 429 | too_many_requests | the key asked too often, or the address failed too often |

Without a file of keys everybody is `local` with every role, provided that the service listens to this
machine alone and that the request was addressed to it as such.
"""

import hmac
import logging
from collections.abc import Iterable

from starlette.requests import Request

from bentos.fraud_scoring import binding
from bentos.fraud_scoring.body import RequestRefused
from bentos.fraud_scoring.counters import SharedCounters
from bentos.fraud_scoring.logs import note
from bentos.fraud_scoring.origin import is_cross_site, names_loopback, network
from bentos.fraud_scoring.rates import FAILURES_PER_MINUTE, Rates
from bentos.fraud_scoring.sessions import COOKIE, LOCAL_SESSION, Session, Sessions, load_secret, no_cookie
from fraud_platform.access import LOCAL, ROLES, Keys, Principal, stamp
from fraud_platform.errors import AccessError
from fraud_platform.settings import Settings

log = logging.getLogger("bentoml.fraud_scoring")

EVERYBODY = Principal(LOCAL, frozenset(ROLES))
CONSOLE_ROLES = ("analyst",)
SEND_KEY = "Send the header `Authorization: Bearer fp_…`; `fraud-platform keys create` makes a key."


class Guard:
    """Made once in each worker.

    Args:
        exposed: whether other machines can reach the service; default: what this process listens at.

    Attributes:
        problem: why the keys in use are not those of the file, or None.

    Raises:
        AccessError: if the keys, the session secret or the counters cannot be used.
    """

    def __init__(self, settings: Settings, *, exposed: bool | None = None) -> None:
        self.problem: str | None = None
        self._file = settings.api_keys
        self._stamp = stamp(self._file)
        self._keys = Keys.load(self._file)
        self._exposed = binding.exposed() if exposed is None else exposed
        folder = settings.home / "guard"
        self._rates = Rates(folder, settings.requests_per_second)
        self._sessions = Sessions(load_secret(settings.home / "session_secret"), SharedCounters(folder / "ended"))

    def admit(self, request: Request, *roles: str) -> Principal:
        """Who makes the request, if a key says so and any one of the roles is its.

        Raises:
            RequestRefused: 401, 403 or 429.
        """
        principal = self._by_key(request) if self._keys.configured else self._local(request)
        note(request, principal=principal.name)
        if not principal.may(*roles):
            raise _forbidden(
                f"The key of {principal.name} has the roles {', '.join(sorted(principal.roles))}.",
                f"Use a key with the role {' or '.join(roles)}.",
            )
        return principal

    def charge(self, request: Request, principal: Principal, transactions: int) -> None:
        """Count a batch, once it is known how long it is; `admit` has counted one request.

        Raises:
            RequestRefused: 429.
        """
        if principal.key_id and not self._rates.batch(principal.key_id, transactions):
            raise self._too_often(request, principal)

    def reload(self) -> None:
        """Take the keys of the file if it was changed; call it once in a while.

        While the file is unusable the keys in use stay, and `problem` says why.
        """
        try:
            current = stamp(self._file)
            if current == self._stamp and self.problem is None:
                return
            keys = Keys.load(self._file)
            if self._keys.configured and not keys.configured:
                # Else deleting a file would open the service to everybody.
                raise AccessError(f"The keys in {self._file} are gone. Restore the file, or restart without keys.")
        except AccessError as error:
            if str(error) != self.problem:
                log.error("The keys from before stay in use: %s", error)
            self.problem = str(error)
            return
        self._keys, self._stamp, self.problem = keys, current, None
        log.info("Read the API keys anew")

    def session(self, request: Request) -> Session | None:
        """Who works in the console; None where the form for a key is to be shown.

        Raises:
            RequestRefused: without keys, 403 for a request that was not addressed to this machine, and 401
                where other machines can reach the service.
        """
        if not self._keys.configured:
            self._check_local(request)
            return Session(EVERYBODY, LOCAL_SESSION, self._sessions.csrf(LOCAL_SESSION))
        known = self._sessions.read(request.cookies.get(COOKIE, ""))
        principal = self._keys.by_id(known[0]) if known else None
        if known is None or principal is None or not principal.may(*CONSOLE_ROLES):
            return None
        note(request, principal=principal.name)
        return Session(principal, known[1], self._sessions.csrf(known[1]))

    def login(self, request: Request, key: str) -> str:
        """Open a session; gives the Set-Cookie header. Call `check_origin` before.

        Raises:
            RequestRefused: 401, 403 or 429.
        """
        principal = self._keys.find(key.strip())
        if principal is None:
            raise self._unauthenticated(request, "This is not a valid key.", "Paste a key that begins with fp_.")
        note(request, principal=principal.name)
        if not principal.may(*CONSOLE_ROLES):
            raise _forbidden(f"The key of {principal.name} is not for the console.", "Use a key of an analyst.")
        log.info("%s logged in to the console", principal.name)
        return self._sessions.open(principal, secure=_is_secure(request))

    def logout(self, request: Request) -> str:
        """End the session in every worker; gives the Set-Cookie header. Call `check_csrf` before."""
        known = self._sessions.read(request.cookies.get(COOKIE, ""))
        if known is not None:
            self._sessions.end(known[1])
        return no_cookie(secure=_is_secure(request))

    def csrf(self, session: Session) -> str:
        """The token for the session's forms (`csrf_token`) and requests (`X-CSRF-Token`)."""
        return session.csrf

    def check_csrf(self, request: Request, session: Session, token: str | None = None) -> None:
        """To be called before a session changes anything.

        Args:
            token: the form's; default: the header X-CSRF-Token.

        Raises:
            RequestRefused: 403.
        """
        self.check_origin(request)
        given = request.headers.get("x-csrf-token", "") if token is None else token
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), session.csrf.encode()):
            raise _forbidden("The form is of another session.", "Load the page again.")

    def check_origin(self, request: Request) -> None:
        """
        Raises:
            RequestRefused: 403 if a browser says that another site's page made the request.
        """
        if is_cross_site(request):
            raise _forbidden(
                "Another site's page made this request.",
                "Use the console itself. A proxy in front of it has to pass the header Host on.",
            )

    def _by_key(self, request: Request) -> Principal:
        keys = _given_keys(request.scope["headers"])
        if len(keys) != 1:
            message = "The request has no API key." if not keys else "The request has more than one API key."
            raise self._unauthenticated(request, message, SEND_KEY)
        principal = self._keys.find(keys[0])
        if principal is None:
            raise self._unauthenticated(request, "The API key is unknown, revoked or has expired.", SEND_KEY, True)
        if not self._rates.request(principal.key_id):
            raise self._too_often(request, principal)
        return principal

    def _local(self, request: Request) -> Principal:
        self._check_local(request)
        if is_cross_site(request, navigation=True):
            raise _forbidden("Another site's page made this request.", "Use a client that is no web page, or a key.")
        return EVERYBODY

    def _check_local(self, request: Request) -> None:
        if self._exposed:
            raise self._unauthenticated(request, "The service has no API keys yet.", SEND_KEY)
        if not names_loopback(request):
            fix = "Use http://127.0.0.1, or make keys with `fraud-platform keys create`."
            raise _forbidden("Without API keys the service answers to this machine's own names only.", fix)

    def _unauthenticated(self, request: Request, message: str, fix: str, invalid: bool = False) -> RequestRefused:
        """401, or 429 after too many. A valid key is never held up by the failures of others at its address."""
        address = network(request)
        if not self._rates.failure(address):
            note(request, quiet=not self._rates.first_refusal(address))
            message = f"More than {FAILURES_PER_MINUTE} requests in a minute had no valid API key."
            return RequestRefused(429, "too_many_requests", message, SEND_KEY, {"Retry-After": "60"})
        challenge = 'Bearer realm="fraud_scoring"' + (', error="invalid_token"' if invalid else "")
        return RequestRefused(401, "unauthenticated", message, fix, {"WWW-Authenticate": challenge})

    def _too_often(self, request: Request, principal: Principal) -> RequestRefused:
        note(request, principal=principal.name, quiet=not self._rates.first_refusal(principal.key_id))
        message = f"The key of {principal.name} may make {self._rates.per_second} requests a second."
        return RequestRefused(429, "too_many_requests", message, "Send it again later.", {"Retry-After": "1"})


def _given_keys(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """What a client shows as a key; another scheme of Authorization is a proxy's affair."""
    keys: list[str] = []
    for name, value in headers:
        if name == b"x-api-key":
            keys.append(value.decode("latin-1").strip())
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            keys.append(value[7:].decode("latin-1").strip())
    return keys


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _forbidden(message: str, fix: str) -> RequestRefused:
    return RequestRefused(403, "forbidden", message, fix)
