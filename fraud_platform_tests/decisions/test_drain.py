"""The outbox reaches the warehouse once, whatever is killed, forgotten or done twice."""

import json
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from fraud_platform.decisions import drain as drain_module
from fraud_platform.decisions.drain import drain
from fraud_platform.decisions.journal import Decided, Labelled, decision_key, decode, encode
from fraud_platform.features.expressions import DAY
from fraud_platform.warehouse import connect
from fraud_platform_tests.decisions.conftest import Warehouse, small_source
from fraud_platform_tests.decisions.outboxes import START, Killed, Outbox, decided, event, labelled

TABLES = ("decision_log", "live_transactions", "feedback_labels", "outbox_rejects")


def outbox_of(*contents: bytes) -> Outbox:
    return Outbox(contents=list(contents))


def counts(warehouse: Warehouse) -> tuple[int, ...]:
    return tuple(warehouse.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES)


class TestRows:
    """What of an entry is in which table."""

    def test_a_decision_is_one_row_with_everything_that_was_decided(self, warehouse: Warehouse) -> None:
        warehouse.drain(outbox_of(decided(1, known_fraud=1)))
        (row,) = warehouse.connection.sql("SELECT * FROM decision_log").pl().to_dicts()
        moment = datetime(2026, 3, 20, 5)
        features = row.pop("features")
        assert features[0] == 1.5 and math.isnan(features[1])
        assert json.loads(row.pop("reasons")) == [
            {
                "feature": "customer_count_1h",
                "text": "3 payments in the last hour",
                "value": 3.0,
                "contribution": 0.125,
            }
        ]
        assert row == {
            "day": date(2026, 3, 20),
            "decision_id": decision_key("t1").hex(),
            "transaction_id": "t1",
            "event_us": event(1)["event_us"],
            "event_time": moment,
            "customer_id": "bob",
            "amount_cents": 101,
            "fraud_probability": 0.25,
            "is_fraud": True,
            "risk_level": "high",
            "action": "review",
            "expected_loss": 400,
            "matched_rules": ["odd hour"],
            "shadow_rules": ["young card"],
            "rules_digest": "ab12",
            "model_version": "7",
            "catalog_fingerprint": "0123456789abcdef",
            "served_by": "champion",
            "degraded": False,
            "shadow_version": "8",
            "shadow_probability": 0.5,
            "shadow_action": "block",
            "decided_at": moment.replace(microsecond=1),
            "late": False,
            "known_fraud": True,
            "sequence": 1,
        }

    def test_its_transaction_is_one_row_in_the_columns_of_the_contract(self, warehouse: Warehouse) -> None:
        warehouse.drain(outbox_of(decided(1, latitude=1.5, ip_address="10.0.0.1")))
        (row,) = warehouse.connection.sql("SELECT * FROM live_transactions").pl().to_dicts()
        assert {name: value for name, value in row.items() if value is not None} == {
            "day": date(2026, 3, 20),
            "event_us": event(1)["event_us"],
            "transaction_id": "t1",
            "event_time": datetime(2026, 3, 20, 5),
            "customer_id": "bob",
            "amount_cents": 101,
            "merchant_id": "n",
            "latitude": 1.5,
            "ip_address": "10.0.0.1",
        }

    def test_a_label_is_a_row_of_the_day_on_which_it_was_reported(self, warehouse: Warehouse) -> None:
        warehouse.drain(outbox_of(decided(1), labelled(1)))
        assert warehouse.rows("SELECT * FROM feedback_labels") == [
            (date(2026, 3, 21), "t1", True, datetime(2026, 3, 21, 5), "analyst", "stolen", "eve", 2)
        ]

    def test_attributes_of_the_source_are_columns_also_of_a_table_that_is_older(
        self, warehouse: Warehouse, tmp_path: Path
    ) -> None:
        outbox = outbox_of(decided(1, age=3.5))
        warehouse.drain(outbox)
        outbox.append(decided(2, age=4.5))
        attributes = {"age": {"column": "a", "type": "number"}, "note": {"column": "n", "type": "text"}}
        warehouse.source = small_source(tmp_path, attributes=attributes)
        warehouse.drain(outbox)
        found = warehouse.rows("SELECT age, note FROM live_transactions ORDER BY transaction_id")
        assert found == [(None, None), (4.5, None)]

    def test_a_decision_without_a_model_has_no_probability(self, warehouse: Warehouse) -> None:
        entry = decode(decided(1))
        assert isinstance(entry, Decided)
        bare = replace(entry, decision=replace(entry.decision, fraud_probability=None), shadow=None, served_by="rules")
        warehouse.drain(outbox_of(encode(bare)))
        found = warehouse.rows("SELECT fraud_probability, shadow_version, shadow_action, served_by FROM decision_log")
        assert found == [(None, None, None, "rules")]


class TestOnce:
    """Whatever is done again changes nothing."""

    def test_a_drain_says_what_it_did(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(decided(1), labelled(1), b"\xc1", decided(2))
        done = warehouse.drain(outbox, keep=1)
        assert (done.decisions, done.labels, done.repeated, done.rejects) == (2, 1, 0, 1)
        assert (done.through, done.left, done.removed, done.missing) == (4, 0, 3, 0)
        assert done.newest_us == event(2)["event_us"]

    def test_twice_is_as_once(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(decided(1), labelled(1), decided(2))
        warehouse.drain(outbox)
        again = warehouse.drain(outbox)
        assert (again.decisions, again.labels, again.repeated, again.through, again.newest_us) == (0, 0, 0, 3, None)
        assert counts(warehouse) == (2, 2, 1, 0)

    def test_killed_between_commit_and_acknowledgement_nothing_comes_twice(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(decided(1), labelled(1))
        outbox.on_acknowledge = kill
        with pytest.raises(Killed):
            warehouse.drain(outbox)
        assert (counts(warehouse), outbox.acknowledged()) == ((1, 1, 1, 0), 0)
        outbox.on_acknowledge = lambda through: None
        done = warehouse.drain(outbox, keep=0)
        assert (done.decisions, done.labels, done.repeated, done.removed) == (0, 0, 2, 2)
        assert counts(warehouse) == (1, 1, 1, 0)

    def test_killed_before_the_commit_nothing_is_there(
        self, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outbox = outbox_of(decided(1), labelled(1), b"\xc1")
        with monkeypatch.context() as patch:
            patch.setattr(drain_module, "_insert_rejects", lambda _, rejected: kill(0) if rejected else None)
            with pytest.raises(Killed):
                warehouse.drain(outbox)
        assert counts(warehouse) == (0, 0, 0, 0)
        assert warehouse.rows("FROM outbox_position") == []
        warehouse.drain(outbox)
        assert counts(warehouse) == (1, 1, 1, 1)

    def test_nothing_is_acknowledged_before_it_is_written(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(*(decided(number) for number in range(7)))
        seen: list[tuple[int, int]] = []
        outbox.on_acknowledge = lambda through: seen.append((through, counts(warehouse)[0]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drain_module, "BATCH", 3)
            warehouse.drain(outbox)
        assert seen == [(3, 3), (6, 6), (7, 7)]

    def test_a_store_that_forgot_its_last_commits_is_drained_again(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(decided(1), labelled(1), decided(2), decided(3))
        warehouse.drain(outbox)
        outbox.cut(to=2, known=1)
        outbox.append(decided(4))
        done = warehouse.drain(outbox)
        assert (done.decisions, done.through, done.missing) == (1, 3, 0)
        assert sorted(warehouse.column("SELECT transaction_id FROM decision_log")) == ["t1", "t2", "t3", "t4"]

    def test_also_where_it_has_grown_past_the_position_meanwhile(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(*(decided(number) for number in range(4)))
        warehouse.drain(outbox)
        outbox.cut(to=2, known=2)
        for number in range(10, 15):
            outbox.append(decided(number))
        assert warehouse.drain(outbox).decisions == 5
        assert counts(warehouse)[0] == 9

    def test_another_store_begins_anew(self, warehouse: Warehouse) -> None:
        warehouse.drain(outbox_of(decided(1), decided(2)))
        done = warehouse.drain(Outbox("b", [decided(1), decided(3)]))
        assert (done.decisions, done.repeated) == (1, 1)
        assert warehouse.rows("SELECT store, sequence FROM outbox_position ORDER BY store") == [("a", 2), ("b", 2)]

    def test_the_first_decision_stays_and_another_one_on_its_transaction_is_kept_aside(
        self, warehouse: Warehouse
    ) -> None:
        warehouse.drain(outbox_of(decided(1)))
        other = Outbox("b", [decided(1, decided_after=9, amount_cents=5)])
        assert (warehouse.drain(other).decisions, warehouse.drain(other).rejects) == (0, 1)
        assert warehouse.column("SELECT amount_cents FROM live_transactions") == [101]
        ((store, sequence, content, reason),) = warehouse.rows(
            "SELECT store, sequence, content, reason FROM outbox_rejects"
        )
        assert (store, sequence, content) == ("b", 1, other.contents[0])
        assert reason == "decision_log has another decision on t1, which came first"

    def test_a_corrected_label_is_a_row_and_the_same_label_again_is_none(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(labelled(1), labelled(1, False, 2 * DAY), labelled(1))
        assert (done := warehouse.drain(outbox)).labels == 2 and done.repeated == 1
        assert warehouse.drain(Outbox("b", outbox.contents)).labels == 0
        assert warehouse.rows("SELECT is_fraud FROM feedback_labels ORDER BY reported_at") == [(True,), (False,)]

    def test_what_is_committed_during_a_drain_is_left_for_the_next(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(decided(1))
        outbox.on_acknowledge = lambda through: outbox.append(decided(10 + through))
        assert (done := warehouse.drain(outbox)).decisions == 1 and done.left == 1

    def test_two_drains_at_once_write_once(self, tmp_path: Path, warehouse: Warehouse) -> None:
        """In one process no lock on the file keeps two connections apart."""
        warehouse.drain(None)
        outbox = outbox_of(*(decided(number) for number in range(50)))
        both, errors = threading.Barrier(2), []

        def run() -> None:
            with warehouse.connection.cursor() as cursor:
                both.wait()
                try:
                    drain(cursor, outbox, warehouse.source, warehouse.raw_transactions, warehouse.raw_labels, 10)
                except (duckdb.Error, OSError) as error:  # a conflict, or the other's half-written day file
                    errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(errors) < 2
        assert counts(warehouse) == (50, 50, 0, 0)
        warehouse.drain(outbox)
        assert sum(map(len, files(warehouse.raw_transactions).values())) == 50

    def test_entries_that_the_store_let_go_before_they_were_written_are_counted(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(*(decided(number) for number in range(5)))
        outbox.acknowledge(4, keep=1)
        assert (done := warehouse.drain(outbox)).missing == 3 and done.decisions == 2

    def test_also_where_it_let_all_of_them_go(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(decided(1), decided(2))
        outbox.acknowledge(2, keep=0)
        assert (done := warehouse.drain(outbox)).missing == 2 and done.decisions == 0

    def test_without_a_store_there_are_empty_tables(self, warehouse: Warehouse) -> None:
        assert warehouse.drain(None).decisions == 0
        assert counts(warehouse) == (0, 0, 0, 0)


def kill(_: int) -> None:
    raise Killed


class TestRejects:
    """What is no row neither blocks nor gets lost."""

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "truncated"),
            (b"\xc1", "malformed"),
            (labelled(1).replace(b"t1", b"\xff1"), "invalid start byte"),
            (b"\x92\x01\x02", "Expected `object`, got `array`"),
            (labelled(1)[:-3], "truncated"),
            (decided(1, customer_id=None), "Expected `str`, got `null` - at `$.customer_id`"),
            (decided(1, amount_cents=2**63), "Expected `int` <= 9223372036854775807 - at `$.amount_cents`"),
            (decided(1, amount_cents="5"), "Expected `int`, got `str` - at `$.amount_cents`"),
            (decided(1, event_us=-1), "Expected `int` >= 946684800000000 - at `$.event_us`"),
            (labelled(1, after=2**61), "Expected `int` <= 4102444799999999"),
        ],
    )
    def test_an_entry_that_is_no_row_is_kept_whole_with_the_reason(
        self, warehouse: Warehouse, content: bytes, reason: str
    ) -> None:
        warehouse.drain(outbox_of(content, decided(2)))
        assert warehouse.column("SELECT transaction_id FROM decision_log") == ["t2"]
        ((sequence, kept, said),) = warehouse.rows("SELECT sequence, content, reason FROM outbox_rejects")
        assert (sequence, kept) == (1, content)
        assert reason in said

    def test_features_that_are_no_numbers_are_rejected(self, warehouse: Warehouse) -> None:
        entry = decode(decided(1))
        assert isinstance(entry, Decided)
        warehouse.drain(outbox_of(encode(replace(entry, vector=b"12345"))))
        assert warehouse.column("SELECT reason FROM outbox_rejects") == [
            "its features are 5 bytes, which are no float32 numbers"
        ]

    def test_a_decision_on_another_transaction_than_its_event_is_rejected(self, warehouse: Warehouse) -> None:
        entry = decode(decided(1))
        assert isinstance(entry, Decided)
        warehouse.drain(outbox_of(encode(replace(entry, event=event(2)))))
        assert warehouse.column("SELECT reason FROM outbox_rejects") == ["it decides on 't1', and its event is 't2'"]

    def test_a_reject_is_there_once_however_often_it_is_drained(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(b"\xc1", b"\xc1")
        for _ in range(2):
            warehouse.drain(outbox)
        outbox.cut(to=2, known=0)
        assert warehouse.drain(outbox).rejects == 2

    def test_a_version_that_can_read_it_makes_a_row_of_it(self, warehouse: Warehouse, tmp_path: Path) -> None:
        source = warehouse.source
        warehouse.source = small_source(tmp_path, attributes={"age": {"column": "a", "type": "text"}})
        outbox = outbox_of(decided(1, age=3.5), labelled(1))
        assert warehouse.drain(outbox).rejects == 1
        warehouse.source = source
        done = warehouse.drain(outbox)
        assert (done.decisions, done.rejects) == (1, 0)
        assert warehouse.column("SELECT transaction_id FROM live_transactions") == ["t1"]


class TestDayFiles:
    """The raw files that the pipeline reads hold what the tables hold."""

    def test_transactions_by_the_day_of_the_event_labels_by_the_day_of_the_report(self, warehouse: Warehouse) -> None:
        warehouse.drain(outbox_of(decided(1), decided(6), labelled(1)))
        assert files(warehouse.raw_transactions) == {"2026-03-20": ["t1"], "2026-03-21": ["t6"]}
        assert files(warehouse.raw_labels) == {"2026-03-21": ["t1"]}

    def test_a_day_that_grew_is_written_anew_and_others_are_left(self, warehouse: Warehouse) -> None:
        outbox = outbox_of(decided(1), decided(6))
        warehouse.drain(outbox)
        before = day(warehouse, "2026-03-20").stat()
        outbox.append(decided(7))
        warehouse.drain(outbox)
        assert files(warehouse.raw_transactions) == {"2026-03-20": ["t1"], "2026-03-21": ["t6", "t7"]}
        assert day(warehouse, "2026-03-20").stat() == before

    def test_files_that_a_killed_drain_did_not_write_are_written_by_the_next(
        self, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outbox = outbox_of(decided(1), labelled(1))
        with monkeypatch.context() as patch:
            patch.setattr(drain_module, "write_grown_days", lambda *_: kill(0))
            with pytest.raises(Killed):
                warehouse.drain(outbox, keep=0)
        warehouse.drain(outbox)
        assert files(warehouse.raw_transactions) == {"2026-03-20": ["t1"]}
        assert files(warehouse.raw_labels) == {"2026-03-21": ["t1"]}

    def test_a_lost_database_gets_transactions_and_labels_back(self, warehouse: Warehouse, tmp_path: Path) -> None:
        outbox = outbox_of(decided(1), decided(2), labelled(1))
        warehouse.drain(outbox, keep=0)
        outbox.append(decided(3))
        written = files(warehouse.raw_transactions)
        with connect(tmp_path / "new.duckdb") as connection:
            anew = Warehouse(tmp_path, connection, warehouse.source)
            done = anew.drain(outbox)
            assert (done.decisions, done.missing) == (1, 3)
            assert sorted(anew.column("SELECT transaction_id FROM live_transactions")) == ["t1", "t2", "t3"]
            assert anew.column("SELECT transaction_id FROM feedback_labels") == ["t1"]
        assert files(warehouse.raw_transactions) == {"2026-03-20": [*written["2026-03-20"], "t3"]}


def day(warehouse: Warehouse, name: str) -> Path:
    return warehouse.raw_transactions / "live" / f"{name}.parquet"


def files(folder: Path) -> dict[str, list[str]]:
    """The transaction ids of each day file of live rows."""
    found = {path.stem: pl.read_parquet(path) for path in sorted((folder / "live").glob("*.parquet"))}
    return {name: frame["transaction_id"].to_list() for name, frame in found.items()}


class Machine(RuleBasedStateMachine):
    """Decisions, labels, garbage, kills, power cuts and new stores, in any order, against a naive warehouse.

    The naive warehouse reads the whole outbox, of which nothing is ever removed, up to what a drain has written.
    """

    def __init__(self, warehouse: Callable[[], Warehouse]) -> None:
        super().__init__()
        self.warehouse = warehouse()
        self.stores = count()
        self.decisions: dict[str, bytes] = {}
        self.labels: set[tuple[str, int, bool]] = set()
        self.rejects: set[tuple[str, int, bytes]] = set()
        self.moments = count()
        self.replace_store()

    @rule()
    def replace_store(self) -> None:
        self.store = Outbox(str(next(self.stores)), on_acknowledge=self.written)
        self.history = [(0, 0)]

    @rule(number=st.integers(0, 5))
    def decide(self, number: int) -> None:
        """A store decides once on a transaction; one that has forgotten it does so again."""
        held = [decode(content) for content in self.store.contents if content != b"\xc1"]
        if not any(isinstance(one, Decided) and one.decision.transaction_id == f"t{number}" for one in held):
            self.append(decided(number, decided_after=next(self.moments)))

    @rule(number=st.integers(0, 5), is_fraud=st.booleans(), after=st.integers(-1, 1))
    def label(self, number: int, is_fraud: bool, after: int) -> None:
        self.append(labelled(number, is_fraud, after * DAY))

    @rule()
    def spoil(self) -> None:
        self.append(b"\xc1")

    def append(self, content: bytes) -> None:
        self.store.append(content)
        self.history.append((self.store.last_sequence(), self.store.known))

    @rule(keep=st.integers(0, 3))
    def drain(self, keep: int) -> None:
        self.warehouse.drain(self.store, keep)
        self.history.append((self.store.last_sequence(), self.store.known))
        self.check()

    @rule(keep=st.integers(0, 3), calls=st.integers(0, 2))
    def drain_killed(self, keep: int, calls: int) -> None:
        """Between a commit and its acknowledgement, after so many that went well."""
        left = iter(range(calls))

        def dying(through: int) -> None:
            self.written(through)
            if next(left, None) is None:
                raise Killed

        self.store.on_acknowledge = dying
        with suppress(Killed):
            self.warehouse.drain(self.store, keep)
        self.store.on_acknowledge = self.written
        self.history.append((self.store.last_sequence(), self.store.known))

    @precondition(lambda self: len(self.history) > 1)
    @rule(data=st.data())
    def cut_the_power(self, data: st.DataObject) -> None:
        """The store is what it was at an earlier moment, and goes on from there."""
        del self.history[data.draw(st.integers(1, len(self.history))) :]
        self.store.cut(*self.history[-1])
        for after in range(data.draw(st.integers(0, 4))):
            self.append(labelled(9, after=next(self.moments) + after))

    def written(self, through: int) -> None:
        for sequence, content in enumerate(self.store.contents[:through], 1):
            if content == b"\xc1":
                self.rejects.add((self.store.name, sequence, content))
                continue
            entry = decode(content)
            if isinstance(entry, Labelled):
                self.labels.add((entry.transaction_id, entry.reported_us, entry.is_fraud))
            elif self.decisions.setdefault(entry.decision.transaction_id, content) != content:
                self.rejects.add((self.store.name, sequence, content))

    def check(self) -> None:
        rows = self.warehouse.rows
        first = {name: decode(content) for name, content in self.decisions.items()}
        expected = sorted((name, entry.decision.timestamp.replace(tzinfo=None)) for name, entry in first.items())
        assert rows("SELECT transaction_id, decided_at FROM decision_log ORDER BY 1") == expected
        assert rows("SELECT transaction_id FROM live_transactions ORDER BY 1") == [(name,) for name, _ in expected]
        found = rows("SELECT transaction_id, epoch_us(reported_at), is_fraud FROM feedback_labels ORDER BY ALL")
        assert found == sorted(self.labels)
        found = rows("SELECT store, sequence, content FROM outbox_rejects ORDER BY ALL")
        assert found == sorted(self.rejects)

    def teardown(self) -> None:
        self.drain(0)
        assert files(self.warehouse.raw_transactions) == by_day(self.decisions)


def by_day(decisions: dict[str, bytes]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(decisions):
        number = int(name.removeprefix("t"))
        moment = datetime.fromtimestamp((START + number * 5 * 3_600_000_000) / 1_000_000, UTC)
        found.setdefault(str(moment.date()), []).append(name)
    return found


def test_any_history_gives_the_tables_of_the_naive_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "BATCH", 2)
    source, number = small_source(tmp_path), count()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def warehouse() -> Warehouse:
            for table in (*TABLES, "outbox_position"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            return Warehouse(tmp_path / str(next(number)), connection, source)

        run_state_machine_as_test(
            lambda: Machine(warehouse), settings=settings(max_examples=20, stateful_step_count=20, deadline=None)
        )
