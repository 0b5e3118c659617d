"""API keys: the file, and who a key is."""

import hmac
import json
import multiprocessing
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform import access
from fraud_platform.access import Keys, create, list_keys, revoke, rotate, stamp
from fraud_platform.cli import main
from fraud_platform.errors import AccessError
from fraud_platform.settings import Settings

HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "api_keys.json"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts the clock that keys are checked by forward."""

    def put_forward(by: timedelta) -> None:
        moment = (datetime.now(UTC) + by).timestamp()
        monkeypatch.setattr(access.time, "time", lambda: moment)

    return put_forward


def test_a_key_is_found_with_its_name_and_roles(path: Path) -> None:
    key = create(path, "shop", ["label", "score"])
    principal = Keys.load(path).find(key)
    assert principal is not None
    assert (principal.name, principal.roles) == ("shop", {"score", "label"})
    assert Keys.load(path).by_id(principal.key_id) == principal


def test_the_file_is_private_and_holds_the_hash_only(path: Path) -> None:
    key = create(path, "shop", ["score"])
    content = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert key not in content and key.removeprefix("fp_") not in content
    assert sha256(key.encode()).hexdigest() in content
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_keys_are_256_random_bits(path: Path) -> None:
    keys = [create(path, f"shop{n}", ["score"]) for n in range(20)]
    assert len(set(keys)) == 20
    assert all(len(key) == len("fp_") + 43 and access.KEY_PATTERN.fullmatch(key) for key in keys)


@given(st.text() | st.from_regex(access.KEY_PATTERN, fullmatch=True))
def test_any_other_text_is_nobodys_key(text: str) -> None:
    known = access.KeyEntry("shop", ("admin",), sha256(b"fp_known").hexdigest(), datetime.now(UTC))
    assert Keys([known]).find(text) is None


def test_the_key_is_compared_with_every_digest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = [create(path, name, ["score"]) for name in ("a", "b", "c")]
    keys, compared = Keys.load(path), []
    original = hmac.compare_digest
    monkeypatch.setattr(access.hmac, "compare_digest", lambda a, b: compared.append(b) or original(a, b))
    assert keys.find(first) is not None
    assert len(compared) == 3


def test_without_a_file_no_keys_are_configured_and_with_an_emptied_one_they_are(path: Path) -> None:
    assert not Keys.load(path).configured
    create(path, "shop", ["score"])
    assert revoke(path, "shop") == 1
    assert Keys.load(path).configured
    assert list_keys(path) == []


def test_an_admin_may_everything_and_others_what_their_roles_say(path: Path) -> None:
    given = [create(path, role, [role]) for role in ("admin", "score")]
    admin, scorer = map(Keys.load(path).find, given)
    assert admin is not None and scorer is not None
    assert [admin.may(role) for role in ("score", "label", "analyst", "admin")] == [True, True, True, True]
    assert [scorer.may(role) for role in ("score", "label", "analyst", "admin")] == [True, False, False, False]
    assert scorer.may("label", "score")


def test_a_key_ends_when_it_expires(path: Path, later: Any) -> None:
    key = create(path, "shop", ["score"], datetime.now(UTC) + HOUR)
    keys = Keys.load(path)
    principal = keys.find(key)
    assert principal is not None
    later(HOUR * 1.01)
    assert keys.find(key) is None
    assert keys.by_id(principal.key_id) is None


def test_after_a_rotation_both_keys_are_good_for_the_overlap(path: Path, later: Any) -> None:
    old = create(path, "shop", ["score", "label"])
    new = rotate(path, "shop", HOUR)
    keys = Keys.load(path)
    assert [p.roles for p in map(keys.find, (old, new)) if p] == [{"score", "label"}] * 2
    later(HOUR * 1.01)
    assert (keys.find(old), keys.find(new) is not None) == (None, True)


def test_a_rotation_does_not_prolong_a_key(path: Path, later: Any) -> None:
    old = create(path, "shop", ["score"], datetime.now(UTC) + HOUR)
    rotate(path, "shop", 5 * HOUR)
    later(HOUR * 1.01)
    assert Keys.load(path).find(old) is None


def test_a_rotation_without_overlap_ends_the_old_key(path: Path) -> None:
    old = create(path, "shop", ["score"])
    rotate(path, "shop", timedelta(0))
    assert Keys.load(path).find(old) is None
    assert len(list_keys(path)) == 1


def test_a_new_key_is_valid_as_long_as_the_old_one_was_made_for(path: Path) -> None:
    create(path, "shop", ["score"], datetime.now(UTC) + 30 * HOUR)
    rotate(path, "shop", HOUR)
    rotate(path, "shop", HOUR)
    ends = [entry.expires - datetime.now(UTC) for entry in list_keys(path) if entry.expires]
    assert sorted(round(end / HOUR) for end in ends) == [1, 1, 30]


def test_revoking_ends_every_key_of_the_name_and_no_other(path: Path) -> None:
    other = create(path, "other", ["score"])
    ended = [create(path, "shop", ["score"]), rotate(path, "shop", HOUR)]
    assert revoke(path, "shop") == 2
    keys = Keys.load(path)
    assert [keys.find(key) is None for key in (*ended, other)] == [True, True, False]


def test_a_name_whose_key_has_expired_is_free(path: Path) -> None:
    entry = access.KeyEntry("shop", ("score",), "0" * 64, datetime(2026, 1, 1, tzinfo=UTC), datetime.now(UTC))
    path.parent.mkdir()
    access._write(path, access.msgspec.json.encode(access._File([entry])))
    create(path, "shop", ["admin"])
    assert [entry.roles for entry in list_keys(path)] == [("admin",)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shop", ["score"]), "already"),
        (("local", ["score"]), "cannot name"),
        (("", ["score"]), "cannot name"),
        (("a" * 65, ["score"]), "cannot name"),
        (("new\n", ["score"]), "cannot name"),
        (("new", []), "roles out of"),
        (("new", ["score", "root"]), "roles out of"),
        (("new", ["score"], datetime(2020, 1, 1, tzinfo=UTC)), "time to come"),
        (("new", ["score"], datetime(2090, 1, 1)), "time zone"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_refused_change_changes_nothing(path: Path, arguments: Any, says: str) -> None:
    create(path, "shop", ["score"])
    before = path.read_bytes(), stamp(path)
    with pytest.raises(AccessError, match=says):
        create(path, *arguments)
    assert (path.read_bytes(), stamp(path)) == before


def test_who_has_no_key_can_neither_rotate_nor_revoke(path: Path) -> None:
    with pytest.raises(AccessError, match="no valid key for 'shop'"):
        rotate(path, "shop", HOUR)
    with pytest.raises(AccessError, match="no key for 'shop'"):
        revoke(path, "shop")
    assert not path.exists()


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "roles": ["score"], "sha256": "0" * 64, "created": "2026-01-01T00:00:00Z"} | changes


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'{"keys": [', id="cut off"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b'{"keys": ' + b"[" * 100_000, id="deep"),
        pytest.param(json.dumps({"keys": [entry(roles=["root"])]}).encode(), id="an unknown role"),
        pytest.param(json.dumps({"keys": [entry(roles=[])]}).encode(), id="no role"),
        pytest.param(json.dumps({"keys": [entry(sha256="F" * 64)]}).encode(), id="no hash"),
        pytest.param(json.dumps({"keys": [entry(created="2026-01-01T00:00:00")]}).encode(), id="a time without zone"),
        pytest.param(json.dumps({"keys": [entry(admin=True)]}).encode(), id="an unknown field"),
    ],
)
def test_a_damaged_file_is_refused_with_the_way_out(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(AccessError, match=r"api_keys.json are damaged: .*keys create"):
        Keys.load(path)
    with pytest.raises(AccessError, match="damaged"):
        create(path, "shop", ["score"])
    assert path.read_bytes() == content


def test_a_file_that_others_can_change_is_refused(path: Path) -> None:
    create(path, "shop", ["score"])
    path.chmod(0o620)
    with pytest.raises(AccessError, match="chmod 600"):
        Keys.load(path)


def test_a_folder_in_the_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(AccessError, match="cannot be read"):
        Keys.load(path)


def create_some(path: Path, prefix: str) -> None:
    for number in range(10):
        create(path, f"{prefix}{number}", ["score"])


def test_processes_that_create_keys_at_once_lose_none_and_a_reader_sees_whole_files(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=create_some, args=(path, prefix)) for prefix in "abc"]
    done, counts = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            counts.append(len(list_keys(path)))

    reader = threading.Thread(target=read)
    reader.start()
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    done.set()
    reader.join()
    assert sorted(entry.name for entry in list_keys(path)) == sorted(f"{p}{n}" for p in "abc" for n in range(10))
    assert counts == sorted(counts) and len(set(counts)) > 1


def test_the_stamp_changes_with_the_file(path: Path) -> None:
    stamps = [stamp(path)]
    for name in ("a", "b"):
        create(path, name, ["score"])
        stamps.append(stamp(path))
    assert stamps[0] is None
    assert len(set(stamps)) == 3


class TestCommands:
    """`fraud-platform keys …`"""

    @pytest.fixture
    def settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        settings = Settings(_env_file=None, warehouse=tmp_path)  # type: ignore[call-arg]
        monkeypatch.setattr("fraud_platform.key_commands.load_settings", lambda: settings)
        return settings

    def run(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["keys", *arguments])
        return result.exit_code, result.output

    def test_the_life_of_a_key(self, settings: Settings) -> None:
        _, created = self.run("create", "shop", "--role", "score", "--role", "label", "--days", "30")
        old = created.strip()
        new = self.run("rotate", "shop", "--overlap-hours", "2")[1].strip()
        keys = Keys.load(settings.api_keys)
        assert [p.name for p in map(keys.find, (old, new)) if p] == ["shop", "shop"]
        _, listed = self.run("list")
        assert listed.count("score,label") == 2 and old not in listed and new not in listed
        assert self.run("revoke", "shop") == (0, "2 of shop ended.\n")
        actions = [json.loads(line) for line in settings.audit_log.read_text().splitlines()]
        assert [line["action"] for line in actions] == ["key_created", "key_rotated", "key_revoked"]
        assert old not in settings.audit_log.read_text()

    def test_what_is_wrong_is_one_sentence_and_no_audit_line(self, settings: Settings) -> None:
        code, output = self.run("revoke", "shop")
        assert code == 1
        assert output.startswith("Error: There is no key for 'shop' to revoke.")
        assert not settings.audit_log.exists()
