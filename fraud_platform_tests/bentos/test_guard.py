"""Who is let in, and who is not."""

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.fraud_scoring import guard as guard_module
from bentos.fraud_scoring.body import RequestRefused
from bentos.fraud_scoring.guard import EVERYBODY, Guard
from bentos.fraud_scoring.logs import FACTS
from bentos.fraud_scoring.rates import FAILURES_PER_MINUTE
from fraud_platform import access
from fraud_platform.errors import AccessError
from fraud_platform.settings import Settings
from fraud_platform_tests.bentos.requesting import HOST, bearer, refusal, request, settings_in

LOCAL_HOST = (b"host", b"127.0.0.1:3000")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def key(settings: Settings) -> str:
    return access.create(settings.api_keys, "shop", ["score"])


@pytest.fixture
def guard(settings: Settings, key: str) -> Guard:
    return Guard(settings, exposed=True)


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The rate limits' clock, which stands until it is put forward."""
    now = [1_780_000_000.0]
    monkeypatch.setattr("bentos.fraud_scoring.counters.time.time", lambda: now[0])

    def put_forward(seconds: float) -> None:
        now[0] += seconds

    return put_forward


class TestKeys:
    @pytest.mark.parametrize(
        "shown",
        [
            (b"authorization", b"Bearer %s"),
            (b"authorization", b"bearer   %s "),
            (b"authorization", b"BEARER %s"),
            (b"x-api-key", b"%s"),
        ],
    )
    def test_a_key_lets_in(self, guard: Guard, key: str, shown: tuple[bytes, bytes]) -> None:
        principal = guard.admit(request((shown[0], shown[1] % key.encode())), "score", "label")
        assert (principal.name, principal.roles) == ("shop", {"score"})

    def test_a_proxys_own_authorization_does_not_hide_the_key(self, guard: Guard, key: str) -> None:
        basic = (b"authorization", b"Basic dXNlcjpwYXNz")
        assert guard.admit(request(basic, (b"x-api-key", key.encode())), "score").name == "shop"

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param([], id="none"),
            pytest.param([(b"authorization", b"")], id="empty"),
            pytest.param([(b"authorization", b"Bearer ")], id="no key"),
            pytest.param([(b"authorization", b"Bearer\xff\x00")], id="weird bytes"),
            pytest.param([(b"authorization", b"Bearer " + b"\xff" * 100)], id="no ASCII"),
            pytest.param([(b"x-api-key", b"fp_" + b"a" * 1_000_000)], id="long"),
            pytest.param([(b"x-api-key", b"fp_" + b"a" * 43)], id="unknown"),
            pytest.param([(b"authorization", b"Basic dXNlcjpwYXNz")], id="a password"),
        ],
    )
    def test_what_is_no_key_is_refused(self, guard: Guard, headers: list[tuple[bytes, bytes]]) -> None:
        refused = refusal(guard.admit, request(*headers), "score")
        assert (refused.status, refused.refusal.code) == (401, "unauthenticated")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")

    def test_two_keys_are_refused_even_if_both_are_right(self, guard: Guard, key: str) -> None:
        assert refusal(guard.admit, request(bearer(key), bearer(key)), "score").status == 401
        assert refusal(guard.admit, request(bearer(key), (b"x-api-key", key.encode())), "score").status == 401

    def test_a_missing_role_is_forbidden(self, guard: Guard, key: str) -> None:
        refused = refusal(guard.admit, request(bearer(key)), "label", "analyst")
        assert (refused.status, refused.refusal.code) == (403, "forbidden")
        assert "label or analyst" in str(refused.refusal.fix)

    def test_the_principal_is_noted_for_the_log(self, guard: Guard, key: str) -> None:
        made = request(bearer(key))
        guard.admit(made, "score")
        assert made.scope[FACTS] == {"principal": "shop"}

    def test_no_refusal_repeats_what_was_sent_as_a_key(self, guard: Guard) -> None:
        sent = "fp_" + "S" * 43
        refused = refusal(guard.admit, request(bearer(sent)), "score")
        assert sent[3:] not in f"{refused.refusal}{refused.headers}"

    def test_with_keys_the_name_of_the_host_does_not_matter(self, guard: Guard, key: str) -> None:
        assert guard.admit(request(bearer(key), HOST, (b"sec-fetch-site", b"cross-site")), "score").name == "shop"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Guard, bytes]:
    settings = settings_in(tmp_path_factory.mktemp("guard"))
    key = access.create(settings.api_keys, "shop", ["score"])
    return Guard(settings, exposed=True), key.encode()


NAMES = st.sampled_from([b"authorization", b"x-api-key", b"cookie", b"host", b"origin", b"sec-fetch-site", b"accept"])
VALUES = st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"Bearer " + rest)


@given(st.lists(st.tuples(NAMES | st.binary(max_size=20), VALUES), max_size=6))
def test_whatever_is_sent_without_the_key_is_refused_in_the_one_way(
    shared: tuple[Guard, bytes], headers: list[tuple[bytes, bytes]]
) -> None:
    guard, _ = shared
    refused = refusal(guard.admit, request(*headers, client="192.0.2.7"), "score")
    assert refused.status in (401, 429)
    assert guard.session(request(*headers)) is None


@given(
    st.lists(st.tuples(st.sampled_from([b"cookie", b"host", b"accept", b"x-forwarded-for"]), VALUES), max_size=6),
    st.integers(0, 6),
)
def test_whatever_else_is_sent_the_key_lets_in(
    shared: tuple[Guard, bytes], headers: list[tuple[bytes, bytes]], position: int
) -> None:
    guard, key = shared
    headers = [*headers[:position], (b"x-api-key", key), *headers[position:]]
    assert guard.admit(request(*headers), "score").name == "shop"


class TestRates:
    @pytest.fixture
    def limited(self, tmp_path: Path, still_clock: Any) -> tuple[Guard, str, Any]:
        settings = settings_in(tmp_path, requests_per_second=5)
        key = access.create(settings.api_keys, "shop", ["score"])
        return Guard(settings, exposed=True), key, still_clock

    def test_a_key_is_limited_to_its_requests_a_second(self, limited: tuple[Guard, str, Any]) -> None:
        guard, key, put_forward = limited
        for _ in range(5):
            guard.admit(request(bearer(key)), "score")
        refused = refusal(guard.admit, request(bearer(key)), "score")
        assert (refused.status, refused.refusal.code) == (429, "too_many_requests")
        assert refused.headers == {"Retry-After": "1"}
        put_forward(1.01)
        guard.admit(request(bearer(key)), "score")

    def test_another_key_has_a_limit_of_its_own(self, limited: tuple[Guard, str, Any], tmp_path: Path) -> None:
        guard, key, _ = limited
        other = access.create(settings_in(tmp_path).api_keys, "other", ["score"])
        guard.reload()
        for _ in range(5):
            guard.admit(request(bearer(key)), "score")
        refusal(guard.admit, request(bearer(key)), "score")
        guard.admit(request(bearer(other)), "score")

    def test_workers_share_the_limit(self, limited: tuple[Guard, str, Any], tmp_path: Path) -> None:
        guard, key, _ = limited
        second = Guard(settings_in(tmp_path, requests_per_second=5), exposed=True)
        for worker in (guard, second, guard, second, guard):
            worker.admit(request(bearer(key)), "score")
        assert [refusal(worker.admit, request(bearer(key)), "score").status for worker in (guard, second)] == [429, 429]

    @pytest.mark.parametrize(
        ("transactions", "left"), [(1, 4), (10, 4), (11, 3), (30, 2), (50, 0), (51, 0), (10_000, 0)]
    )
    def test_ten_transactions_of_a_batch_count_as_a_request(
        self, limited: tuple[Guard, str, Any], transactions: int, left: int
    ) -> None:
        guard, key, _ = limited
        guard.charge(request(), guard.admit(request(bearer(key)), "score"), transactions)
        for _ in range(left):
            guard.admit(request(bearer(key)), "score")
        assert refusal(guard.admit, request(bearer(key)), "score").status == 429

    def test_a_batch_beyond_the_limit_is_refused(self, limited: tuple[Guard, str, Any]) -> None:
        guard, key, _ = limited
        for _ in range(3):
            principal = guard.admit(request(bearer(key)), "score")
        assert refusal(guard.charge, request(), principal, 40).status == 429

    def test_only_the_first_refusal_of_a_minute_is_for_the_log(self, limited: tuple[Guard, str, Any]) -> None:
        guard, key, put_forward = limited
        quiet = []
        for _ in range(3):
            for _ in range(6):
                made = request(bearer(key))
                try:
                    guard.admit(made, "score")
                except RequestRefused:
                    quiet.append(made.scope[FACTS]["quiet"])
            put_forward(31)
        assert quiet == [False, True, False]

    def test_failures_of_an_address_are_limited_and_a_valid_key_is_not_held_up(
        self, limited: tuple[Guard, str, Any]
    ) -> None:
        guard, key, put_forward = limited
        seen = [refusal(guard.admit, request(client="192.0.2.1"), "score").status for _ in range(FAILURES_PER_MINUTE)]
        assert set(seen) == {401}
        refused = refusal(guard.admit, request(bearer("fp_x"), client="192.0.2.1"), "score")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
        assert refusal(guard.login, request(client="192.0.2.1"), "fp_x").status == 429
        assert refusal(guard.admit, request(client="192.0.2.2"), "score").status == 401
        assert guard.admit(request(bearer(key), client="192.0.2.1"), "score").name == "shop"
        put_forward(61)
        assert refusal(guard.admit, request(client="192.0.2.1"), "score").status == 401

    def test_the_addresses_of_one_ipv6_subscriber_are_one(self, limited: tuple[Guard, str, Any]) -> None:
        guard, _, _ = limited
        for number in range(FAILURES_PER_MINUTE):
            refusal(guard.admit, request(client=f"2001:db8::{number:x}"), "score")
        assert refusal(guard.admit, request(client="2001:db8::ffff"), "score").status == 429
        assert refusal(guard.admit, request(client="2001:db8:0:1::1"), "score").status == 401

    def test_a_client_without_an_address_is_limited_too(self, limited: tuple[Guard, str, Any]) -> None:
        guard, _, _ = limited
        statuses = [refusal(guard.admit, request(client=""), "score").status for _ in range(FAILURES_PER_MINUTE + 1)]
        assert statuses[-2:] == [401, 429]


class TestReload:
    def test_unchanged_keys_are_not_read_again(
        self, guard: Guard, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard_module.Keys, "load", lambda path: pytest.fail("read"))
        guard.reload()
        assert guard.problem is None

    def test_keys_that_were_made_and_revoked_count_after_a_reload(
        self, guard: Guard, settings: Settings, key: str
    ) -> None:
        new = access.create(settings.api_keys, "new", ["score"])
        access.revoke(settings.api_keys, "shop")
        assert guard.admit(request(bearer(key)), "score").name == "shop"
        guard.reload()
        assert guard.admit(request(bearer(new)), "score").name == "new"
        assert refusal(guard.admit, request(bearer(key)), "score").status == 401

    @pytest.mark.parametrize("harm", ["damage", "delete"])
    def test_an_unusable_file_leaves_the_old_keys_and_is_told_once(
        self, guard: Guard, settings: Settings, key: str, harm: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        kept = settings.api_keys.read_bytes()
        if harm == "damage":
            settings.api_keys.write_bytes(kept[:-20])
        else:
            settings.api_keys.unlink()
        with caplog.at_level(logging.ERROR):
            guard.reload()
            guard.reload()
        assert guard.problem is not None and str(settings.api_keys) in guard.problem
        assert len([record for record in caplog.records if "stay in use" in record.message]) == 1
        assert guard.admit(request(bearer(key)), "score").name == "shop"
        settings.api_keys.write_bytes(kept)
        guard.reload()
        assert guard.problem is None

    def test_what_does_not_change_the_file_itself_mends_it_too(self, guard: Guard, settings: Settings) -> None:
        """A change of rights leaves size, time and inode as they are."""
        access.create(settings.api_keys, "new", ["score"])
        settings.api_keys.chmod(0o622)
        guard.reload()
        assert guard.problem is not None and "chmod 600" in guard.problem
        settings.api_keys.chmod(0o600)
        guard.reload()
        assert guard.problem is None

    def test_revoking_the_last_key_closes_the_service(self, settings: Settings, key: str) -> None:
        guard = Guard(settings, exposed=False)
        access.revoke(settings.api_keys, "shop")
        guard.reload()
        assert refusal(guard.admit, request(LOCAL_HOST), "score").status == 401

    def test_the_first_key_is_asked_for_as_soon_as_it_is_there(self, settings: Settings) -> None:
        guard = Guard(settings, exposed=False)
        assert guard.admit(request(LOCAL_HOST), "score") == EVERYBODY
        key = access.create(settings.api_keys, "shop", ["score"])
        guard.reload()
        assert refusal(guard.admit, request(LOCAL_HOST), "score").status == 401
        assert guard.admit(request(bearer(key)), "score").name == "shop"

    def test_a_damaged_file_at_the_start_is_an_error(self, settings: Settings, key: str) -> None:
        settings.api_keys.write_bytes(b"{")
        with pytest.raises(AccessError, match="damaged"):
            Guard(settings)


class TestWithoutKeys:
    @pytest.fixture
    def local(self, settings: Settings) -> Guard:
        return Guard(settings, exposed=False)

    @pytest.mark.parametrize("host", [b"127.0.0.1:3000", b"localhost", b"LOCALHOST:80", b"[::1]:3000", b"127.9.9.9"])
    def test_this_machine_may_everything(self, local: Guard, host: bytes) -> None:
        assert local.admit(request((b"host", host)), "admin").name == "local"
        assert local.session(request((b"host", host))) is not None

    @pytest.mark.parametrize(
        "host", [b"evil.example:3000", b"127.0.0.1.evil.example", b"localhost.evil.example", b"[::2]", b"", b"\xff"]
    )
    def test_a_name_that_was_made_to_lead_here_does_not(self, local: Guard, host: bytes) -> None:
        made = request((b"host", host))
        assert refusal(local.admit, made, "score").status == 403
        assert refusal(local.session, made).status == 403

    @pytest.mark.parametrize(
        ("header", "value", "allowed"),
        [
            (b"sec-fetch-site", b"cross-site", False),
            (b"sec-fetch-site", b"same-site", False),
            (b"sec-fetch-site", b"same-origin", True),
            (b"sec-fetch-site", b"none", True),
            (b"origin", b"http://evil.example", False),
            (b"origin", b"http://127.0.0.1:8888", False),
            (b"origin", b"null", False),
            (b"origin", b"http://127.0.0.1:3000", True),
        ],
    )
    def test_a_page_of_another_site_may_nothing(self, local: Guard, header: bytes, value: bytes, allowed: bool) -> None:
        made = request(LOCAL_HOST, (header, value), method="POST")
        if allowed:
            local.admit(made, "score")
        else:
            assert refusal(local.admit, made, "score").status == 403

    def test_where_others_can_reach_the_service_nobody_may_anything(self, settings: Settings) -> None:
        exposed = Guard(settings, exposed=True)
        assert refusal(exposed.admit, request(LOCAL_HOST), "score").status == 401
        assert refusal(exposed.session, request(LOCAL_HOST)).status == 401
