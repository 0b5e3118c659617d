"""The lines that changes leave behind."""

import json
import multiprocessing
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from fraud_platform.audit import Audit, scrub
from fraud_platform.errors import WarehouseError
from fraud_platform.pseudonyms import PERSONAL, Pseudonyms

PSEUDONYMS = Pseudonyms(SecretStr("0123456789abcdef0123456789abcdef"))
KEY = "fp_" + "aB3_-" * 8 + "xyz"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_when_who_and_what(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "audit.jsonl"
    Audit(path, PSEUDONYMS).write("eve", "label_given", {"decision_id": "0a1b", "is_fraud": True})
    (line,) = lines(path)
    assert datetime.now(UTC) - datetime.fromisoformat(line.pop("time")) < timedelta(minutes=1)
    assert line == {"actor": "eve", "action": "label_given", "details": {"decision_id": "0a1b", "is_fraud": True}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_line_breaks_stay_within_a_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Audit(path, PSEUDONYMS).write("eve\n{}", "list_entry_added", {"why": "seen\ntwice\r\n"})
    assert [line["details"]["why"] for line in lines(path)] == ["seen\ntwice\r\n"]


@pytest.mark.parametrize("column", sorted(PERSONAL))
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda column: {column: "4929 1234"}, id="a field"),
        pytest.param(lambda column: {"column": column, "value": "4929 1234"}, id="a value of a column"),
        pytest.param(lambda column: {"list": "block", "entity": column, "value": "4929 1234"}, id="a list's entry"),
        pytest.param(lambda column: {column: ["4929 1234", "4929 1235"]}, id="several"),
        pytest.param(lambda column: {"before": [{column: "4929 1234"}]}, id="deep down"),
    ],
)
def test_no_full_id_is_written(column: str, shape: Any) -> None:
    assert "4929" not in str(scrub(shape(column), PSEUDONYMS))


def test_a_null_and_the_value_of_a_plain_column_stay() -> None:
    details = {"card_id": None, "column": "merchant_country", "value": "FR", "n": 3}
    assert scrub(details, PSEUDONYMS) == details


@pytest.mark.parametrize("details", [{"why": f"pasted {KEY} here"}, {"a": [KEY]}, {KEY: 1, "b": {"c": KEY}}])
def test_no_key_is_written(tmp_path: Path, details: Mapping[str, object]) -> None:
    Audit(tmp_path / "audit.jsonl", PSEUDONYMS).write(f"eve {KEY}", "rule_added", details)
    assert KEY not in (tmp_path / "audit.jsonl").read_text()


@given(
    st.dictionaries(
        st.text().filter(lambda name: name not in PERSONAL | {"column", "entity"}),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
    )
)
def test_what_is_neither_personal_nor_a_key_is_kept(details: dict[str, Any]) -> None:
    assert scrub(details, PSEUDONYMS) == details


def append(path: Path, actor: str) -> None:
    audit = Audit(path, PSEUDONYMS)
    for number in range(50):
        audit.write(actor, "list_entry_added", {"number": number, "why": "x" * 3000})


def test_several_processes_write_whole_lines_and_lose_none(tmp_path: Path) -> None:
    path, spawn = tmp_path / "audit.jsonl", multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=append, args=(path, str(name))) for name in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    written = [(line["actor"], line["details"]["number"]) for line in lines(path)]
    assert sorted(written) == [(str(name), number) for name in range(3) for number in range(50)]
    assert [number for actor, number in written if actor == "1"] == list(range(50))


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"time":"2026-0')
    Audit(path, PSEUDONYMS).write("eve", "rules_changed", {})
    assert json.loads(path.read_text().splitlines()[1])["action"] == "rules_changed"


def test_a_line_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"rules_changed by eve .*repeat the change"):
        Audit(tmp_path, PSEUDONYMS).write("eve", "rules_changed", {})


def test_half_a_line_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:5]))
    with pytest.raises(WarehouseError, match="only a part"):
        Audit(tmp_path / "audit.jsonl", PSEUDONYMS).write("eve", "rules_changed", {})
