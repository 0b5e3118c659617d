"""The console's sessions: opened with a key, ended with it, and not to be used by another site."""

import multiprocessing
from datetime import UTC, datetime, timedelta
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.fraud_scoring.guard import Guard
from bentos.fraud_scoring.sessions import COOKIE, SESSION_SECONDS, load_secret
from fraud_platform import access
from fraud_platform.errors import AccessError
from fraud_platform.settings import Settings
from fraud_platform_tests.bentos.requesting import HOST, bearer, refusal, request, settings_in


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    settings = settings_in(tmp_path_factory.mktemp("guard"))
    access.create(settings.api_keys, "eve", ["analyst"])
    return Guard(settings, exposed=True)


class TestConsole:
    @pytest.fixture
    def analyst(self, settings: Settings) -> str:
        return access.create(settings.api_keys, "eve", ["analyst"], datetime.now(UTC) + timedelta(days=1))

    @pytest.fixture
    def guard(self, settings: Settings, analyst: str) -> Guard:
        return Guard(settings, exposed=True)

    def logged_in(self, guard: Guard, key: str) -> tuple[bytes, bytes]:
        cookie = guard.login(request(HOST, method="POST"), f" {key}\n")
        return b"cookie", cookie.partition(";")[0].encode()

    def test_a_login_opens_a_session(self, guard: Guard, analyst: str) -> None:
        session = guard.session(request(self.logged_in(guard, analyst)))
        assert session is not None
        assert (session.principal.name, session.principal.roles) == ("eve", {"analyst"})

    @pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
    def test_the_cookie_is_for_this_site_alone_and_hidden_from_scripts(
        self, guard: Guard, analyst: str, scheme: str, secure: bool
    ) -> None:
        for cookie in (guard.login(request(HOST, scheme=scheme), analyst), guard.logout(request(HOST, scheme=scheme))):
            attributes = cookie.split("; ")[1:]
            assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(attributes)
            assert ("Secure" in attributes) == secure
            assert analyst not in cookie

    def test_each_login_is_a_session_of_its_own(self, guard: Guard, analyst: str) -> None:
        one, other = (guard.session(request(self.logged_in(guard, analyst))) for _ in range(2))
        assert one and other and one.id != other.id and one.csrf != other.csrf

    def test_a_session_is_good_in_every_worker(self, guard: Guard, analyst: str, settings: Settings) -> None:
        assert Guard(settings, exposed=True).session(request(self.logged_in(guard, analyst))) is not None

    def test_a_logout_ends_the_session_in_every_worker_and_no_other_session(
        self, guard: Guard, analyst: str, settings: Settings
    ) -> None:
        cookie, other = self.logged_in(guard, analyst), self.logged_in(guard, analyst)
        guard.logout(request(cookie))
        second = Guard(settings, exposed=True)
        assert [second.session(request(c)) is None for c in (cookie, other)] == [True, False]

    def test_revoking_the_key_ends_the_session(self, guard: Guard, analyst: str, settings: Settings) -> None:
        cookie = self.logged_in(guard, analyst)
        access.revoke(settings.api_keys, "eve")
        access.create(settings.api_keys, "eve", ["analyst"])
        guard.reload()
        assert guard.session(request(cookie)) is None

    def test_a_session_ends_after_twelve_hours(
        self, guard: Guard, analyst: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cookie = self.logged_in(guard, analyst)
        later = datetime.now(UTC).timestamp() + SESSION_SECONDS
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda: later - 60)
        assert guard.session(request(cookie)) is not None
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda: later + 60)
        assert guard.session(request(cookie)) is None

    def test_a_session_ends_when_the_key_expires(
        self, guard: Guard, analyst: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cookie = self.logged_in(guard, analyst)
        monkeypatch.setattr(access.time, "time", lambda: datetime.now(UTC).timestamp() + 25 * 3600)
        assert guard.session(request(cookie)) is None

    @given(st.binary(max_size=200))
    def test_no_other_cookie_is_a_session(self, shared: Guard, value: bytes) -> None:
        assert shared.session(request((b"cookie", COOKIE.encode() + b"=" + value))) is None

    def test_no_character_of_the_cookie_may_change(self, guard: Guard, analyst: str) -> None:
        name, cookie = self.logged_in(guard, analyst)
        start = len(COOKIE) + 1
        for position in range(start, len(cookie) - 1):  # the last digit of base64 has bits that do not count
            changed = bytearray(cookie)
            changed[position] = ord("a") if cookie[position] != ord("a") else ord("b")
            assert guard.session(request((name, bytes(changed)))) is None, position

    def test_a_cookie_of_another_installation_is_none(self, guard: Guard, analyst: str, tmp_path: Path) -> None:
        other = settings_in(tmp_path / "other")
        other.home.mkdir(parents=True)
        other.api_keys.write_bytes(guard._file.read_bytes())
        assert guard.session(request(self.logged_in(Guard(other, exposed=True), analyst))) is None

    @pytest.mark.parametrize(("roles", "status"), [(["score", "label"], 403), (None, 401)])
    def test_who_is_no_analyst_cannot_log_in(
        self, guard: Guard, settings: Settings, roles: list[str] | None, status: int
    ) -> None:
        key = access.create(settings.api_keys, "shop", roles) if roles else "fp_" + "a" * 43
        guard.reload()
        assert refusal(guard.login, request(HOST), key).status == status

    def test_a_key_is_no_session_and_a_session_no_key(self, guard: Guard, analyst: str) -> None:
        assert guard.session(request(bearer(analyst))) is None
        assert refusal(guard.admit, request(self.logged_in(guard, analyst)), "analyst").status == 401


class TestForgery:
    @pytest.fixture
    def guard(self, settings: Settings) -> Guard:
        self.key = access.create(settings.api_keys, "eve", ["analyst"])
        return Guard(settings, exposed=True)

    def logged_in(self, guard: Guard) -> tuple[tuple[bytes, bytes], Any]:
        cookie = b"cookie", guard.login(request(HOST), self.key).partition(";")[0].encode()
        return cookie, guard.session(request(cookie))

    def test_the_token_of_the_session_passes_in_a_form_and_in_a_header(self, guard: Guard) -> None:
        cookie, session = self.logged_in(guard)
        guard.check_csrf(request(cookie, HOST, (b"x-csrf-token", session.csrf.encode()), method="POST"), session)
        guard.check_csrf(request(cookie, HOST, method="POST"), session, guard.csrf(session))

    @pytest.mark.parametrize("token", ["", "é", "\ud800", "0" * 64, None])
    def test_another_token_does_not(self, guard: Guard, token: str | None) -> None:
        cookie, session = self.logged_in(guard)
        assert refusal(guard.check_csrf, request(cookie, HOST, method="POST"), session, token).status == 403

    def test_the_token_of_another_session_does_not(self, guard: Guard) -> None:
        cookie, session = self.logged_in(guard)
        _, other = self.logged_in(guard)
        assert refusal(guard.check_csrf, request(cookie, HOST), session, other.csrf).status == 403

    @pytest.mark.parametrize(
        ("header", "value", "allowed"),
        [
            (b"sec-fetch-site", b"same-origin", True),
            (b"sec-fetch-site", b"same-site", False),
            (b"sec-fetch-site", b"cross-site", False),
            (b"sec-fetch-site", b"none", False),
            (b"origin", b"https://fraud.example:3000", True),
            (b"origin", b"https://fraud.example", False),
            (b"origin", b"https://evil.example", False),
            (b"origin", b"null", False),
        ],
    )
    def test_with_the_right_token_the_request_has_to_come_from_the_console(
        self, guard: Guard, header: bytes, value: bytes, allowed: bool
    ) -> None:
        cookie, session = self.logged_in(guard)
        made = request(cookie, HOST, (header, value), method="POST")
        if allowed:
            guard.check_csrf(made, session, session.csrf)
        else:
            assert refusal(guard.check_csrf, made, session, session.csrf).status == 403

    def test_one_forged_header_beside_a_right_one_is_enough_to_refuse(self, guard: Guard) -> None:
        made = request(HOST, (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site"))
        assert refusal(guard.check_origin, made).status == 403


class TestSecret:
    def test_the_secret_is_made_once_and_is_private(self, tmp_path: Path) -> None:
        path = tmp_path / "home" / "session_secret"
        secret = load_secret(path)
        assert len(secret) == 32
        assert load_secret(path) == secret
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_workers_that_start_at_once_have_one_secret(self, tmp_path: Path) -> None:
        pool: Pool
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            secrets = pool.map(load_secret, [tmp_path / str(number // 6) for number in range(30)], chunksize=1)
        assert [len(set(secrets[start : start + 6])) for start in range(0, 30, 6)] == [1] * 5
        assert len(set(secrets)) == 5

    def test_a_secret_that_others_can_read_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "session_secret"
        load_secret(path)
        path.chmod(0o640)
        with pytest.raises(AccessError, match="Delete it"):
            load_secret(path)

    @pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
    def test_a_damaged_secret_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "session_secret"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(AccessError, match="damaged"):
            load_secret(path)

    def test_where_the_secret_cannot_be_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(AccessError, match="Let the service's user"):
            load_secret(tmp_path / "file" / "session_secret")
