"""What came live is validated like a file's rows, and a transaction that came both ways is one."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraud_platform.transactions.live import FEEDBACK_COLUMNS, live_columns
from fraud_platform.transactions.source_schema import Source
from fraud_platform.transactions.validation import Validated
from fraud_platform_tests.transactions.conftest import FIRST, LAST, Workshop

TYPES: dict[str, Any] = {
    "DATE": pl.Date,
    "BIGINT": pl.Int64,
    "VARCHAR": pl.String,
    "TIMESTAMP": pl.Datetime("us"),
    "DOUBLE": pl.Float64,
    "BOOLEAN": pl.Boolean,
}
REPORTED = {"is_fraud": {"column": "fraud"}, "reported_at": {"column": "reported"}, "source": "analyst"}
COLUMNS = "id,when,who,amount,fraud,reported"


def write_days(folder: Path, rows: Iterable[dict[str, Any]], columns: dict[str, str]) -> None:
    """Day files as a drain writes them; what a row does not give is null."""
    frame = pl.DataFrame(list(rows), schema={name: TYPES[type_] for name, type_ in columns.items()})
    (folder / "live").mkdir(parents=True, exist_ok=True)
    for (day,), part in frame.partition_by("day", as_dict=True, maintain_order=True).items():
        part.write_parquet(folder / "live" / f"{day}.parquet")


def payment(identifier: str, when: str, **given: Any) -> dict[str, Any]:
    moment = datetime.fromisoformat(when)
    micros = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    row = {"day": moment.date(), "event_us": micros, "transaction_id": identifier, "event_time": moment}
    return {**row, "customer_id": "k", "amount_cents": 100, **given}


def live(workshop: Workshop, source: Source, *rows: dict[str, Any]) -> None:
    write_days(workshop.raw, rows, live_columns(source))


def report(identifier: str, is_fraud: bool, when: str, **given: Any) -> dict[str, Any]:
    moment = datetime.fromisoformat(when)
    row = {"day": moment.date(), "transaction_id": identifier, "is_fraud": is_fraud, "reported_at": moment}
    return {**row, "source": "chargeback", "reported_by": "eve", "sequence": 1, **given}


def told(workshop: Workshop, *rows: dict[str, Any]) -> None:
    write_days(workshop.folder / "raw_labels", rows, FEEDBACK_COLUMNS)


def copies(workshop: Workshop) -> list[tuple[Any, ...]]:
    return workshop.rows("SELECT transaction_id, live, source_file, source_row FROM transaction_copies ORDER BY ALL")


class TestTransactions:
    def test_a_live_row_is_validated_beside_those_of_the_file(self, workshop: Workshop) -> None:
        workshop.csv("1,2026-03-01 10:00:00,a,1.00")
        source = workshop.source()
        live(workshop, source, payment("2", "2026-03-01 11:00:00.000001", latitude=1.5, channel="online"))
        done = workshop.run(source)
        found = workshop.rows(
            "SELECT transaction_id, live, event_us % 1000000, amount_cents, latitude, channel "
            "FROM validated_transactions ORDER BY event_us"
        )
        assert found == [("1", False, 0, 100, None, None), ("2", True, 1, 100, 1.5, "online")]
        assert (done.accepted, done.quarantined, done.copies) == ({FIRST: 2}, {}, {})

    def test_whatever_words_zones_and_units_the_source_has(self, workshop: Workshop) -> None:
        source = workshop.source(
            event_time={"column": "when", "zone": "Asia/Tokyo"},
            amount={"column": "amount", "decimals": 0},
            columns={"transaction_id": "_row", "customer_id": "who", "channel": "way"},
            values={"channel": {"online": "atm"}},
        )
        live(workshop, source, payment("x", "2026-03-01 10:00:00", channel="online"))
        workshop.validate(source)
        found = workshop.rows("SELECT transaction_id, event_time, amount_cents, channel FROM validated_transactions")
        assert found == [("x", datetime(2026, 3, 1, 10), 100, "online")]

    def test_days_after_the_last_of_the_source_are_validated_too(self, workshop: Workshop) -> None:
        source = workshop.source()
        day = LAST + timedelta(days=200)
        live(workshop, source, payment("x", f"{day} 10:00:00"))
        assert workshop.land(source, day, day).rows == {}
        assert workshop.validate(source, day, day).accepted == {day: 1}

    def test_bad_live_rows_are_quarantined_whole_with_every_reason(self, workshop: Workshop) -> None:
        source = workshop.source()
        bad = payment("bad", "2026-03-01 10:00:00", channel="fax", amount_cents=0)
        live(workshop, source, payment("good", "2026-03-01 09:00:00"), bad)
        done = workshop.validate(source)
        ((file, row, identifier, reasons, original),) = workshop.rows(
            "SELECT source_file, source_row, transaction_id, reasons, original FROM quarantined_transactions"
        )
        assert (file, row, identifier) == ("live/2026-03-01.parquet", 2, "bad")
        assert reasons == [
            "amount_cents: 0 is below 1",
            "channel: 'fax' is not one of in_person, online, atm, phone, transfer",
        ]
        assert '"channel":"fax"' in original
        assert (done.accepted, done.quarantined) == ({FIRST: 1}, {FIRST: 1})

    def test_attributes_that_the_source_was_given_later_are_null_in_older_rows(self, workshop: Workshop) -> None:
        plain = workshop.source()
        live(workshop, plain, payment("old", "2026-03-01 10:00:00"))
        attributes = {"age": {"column": "a", "type": "number"}, "note": {"column": "n", "type": "text"}}
        source = workshop.source(attributes=attributes)
        workshop.validate(source)
        live(workshop, source, payment("new", "2026-03-02 10:00:00", age=2.5))
        workshop.validate(source)
        found = workshop.rows("SELECT transaction_id, age, note FROM validated_transactions ORDER BY event_us")
        assert found == [("old", None, None), ("new", 2.5, None)]

    def test_a_day_that_is_validated_again_is_the_same(self, workshop: Workshop) -> None:
        workshop.csv("1,2026-03-01 10:00:00,a,1.00", "2,2026-03-01 10:00:00,a,1.00")
        source = workshop.source()
        live(workshop, source, payment("2", "2026-03-01 11:00:00"), payment("3", "2026-03-01 11:00:00", channel="?"))
        tables = ("validated_transactions", "quarantined_transactions", "transaction_copies")
        workshop.run(source)
        before = [workshop.rows(f"FROM {table} ORDER BY ALL") for table in tables]
        workshop.run(source)
        assert [workshop.rows(f"FROM {table} ORDER BY ALL") for table in tables] == before


class TestCopies:
    """One transaction, live and in a file: one row, none of them bad."""

    @pytest.mark.parametrize(
        ("in_file", "came_live", "kept_live", "copy"),
        [
            ("2026-03-01 10:00:00", "2026-03-01 10:00:00", False, ("live/2026-03-01.parquet", 1)),
            ("2026-03-01 10:00:00", "2026-03-01 10:00:00.5", False, ("live/2026-03-01.parquet", 1)),
            ("2026-03-01 10:00:01", "2026-03-01 10:00:00.5", True, ("data.csv", 1)),
            ("2026-03-02 00:00:01", "2026-03-01 23:59:59", True, ("data.csv", 1)),
            ("2026-03-01 23:59:59", "2026-03-02 00:00:01", False, ("live/2026-03-02.parquet", 1)),
        ],
    )
    def test_the_first_by_event_time_stays_the_files_where_they_are_equal(
        self, workshop: Workshop, in_file: str, came_live: str, kept_live: bool, copy: tuple[str, int]
    ) -> None:
        workshop.csv(f"x,{in_file},a,1.00")
        source = workshop.source()
        live(workshop, source, payment("x", came_live))
        done = workshop.run(source)
        assert workshop.rows("SELECT live FROM validated_transactions") == [(kept_live,)]
        assert copies(workshop) == [("x", not kept_live, *copy)]
        assert (done.quarantined, done.reasons, sum(done.copies.values())) == ({}, {}, 1)

    def test_a_file_that_repeats_an_id_is_as_bad_as_without_the_live_copy(self, workshop: Workshop) -> None:
        workshop.csv("x,2026-03-01 10:00:00,a,1.00", "x,2026-03-01 11:00:00,a,1.00")
        source = workshop.source()
        workshop.run(source)
        alone = workshop.quarantined()
        live(workshop, source, payment("x", "2026-03-01 09:00:00"))
        workshop.run(source)
        assert workshop.quarantined() == alone
        assert workshop.rows("SELECT live FROM validated_transactions") == [(True,)]
        assert copies(workshop) == [("x", False, "data.csv", 1)]

    def test_a_bad_row_is_no_copy(self, workshop: Workshop) -> None:
        workshop.csv("x,2026-03-01 10:00:00,,1.00")
        source = workshop.source()
        live(workshop, source, payment("x", "2026-03-01 11:00:00"))
        workshop.run(source)
        assert workshop.rows("SELECT live FROM validated_transactions") == [(True,)]
        assert (workshop.quarantined(), copies(workshop)) == ({1: ["customer_id: missing"]}, [])

    def test_a_file_that_comes_later_takes_the_place_of_a_later_live_row_on_another_day(
        self, workshop: Workshop
    ) -> None:
        source = workshop.source()
        live(workshop, source, payment("x", "2026-03-02 00:00:01"))
        workshop.validate(source)
        workshop.csv("x,2026-03-01 23:59:59,a,1.00")
        workshop.land(source)
        assert workshop.validate(source, FIRST, FIRST).revalidated == (date(2026, 3, 2),)
        assert workshop.rows("SELECT live FROM validated_transactions") == [(False,)]
        assert copies(workshop) == [("x", True, "live/2026-03-02.parquet", 1)]

    def test_a_copy_becomes_the_transaction_when_the_other_row_is_gone(self, workshop: Workshop) -> None:
        workshop.csv("x,2026-03-01 23:59:59,a,1.00", "y,2026-03-05 10:00:00,a,1.00")
        source = workshop.source()
        live(workshop, source, payment("x", "2026-03-02 00:00:01"))
        workshop.run(source)
        workshop.csv("y,2026-03-05 10:00:00,a,1.00")
        workshop.land(source)
        assert workshop.validate(source, FIRST, FIRST).revalidated == (date(2026, 3, 2),)
        assert workshop.accepted() == ["x", "y"]
        assert copies(workshop) == []


class Row(NamedTuple):
    """A row of the naive model."""

    day: int
    hour: int
    identifier: str
    bad: bool


ROWS = st.lists(
    st.builds(Row, st.integers(1, 3), st.integers(0, 2), st.sampled_from("abc"), st.sampled_from([False, False, True])),
    max_size=7,
)
LIVE_ROWS = st.lists(
    st.builds(Row, st.integers(1, 3), st.integers(0, 2), st.sampled_from("abc"), st.sampled_from([False, False, True])),
    max_size=4,
    unique_by=lambda row: row.identifier,
)


def raw_days(workshop: Workshop, source: Source, files: list[Row], came_live: list[Row]) -> None:
    """The day files of these rows; those of other days are removed."""
    for old in workshop.raw.rglob("*.parquet"):
        old.unlink()
    times = [datetime(2026, 3, row.day, row.hour) for row in files]
    workshop.raw.mkdir(parents=True, exist_ok=True)
    for day in {row.day for row in files}:
        number = [position for position, row in enumerate(files) if row.day == day]
        pl.DataFrame(
            {
                "id": [files[n].identifier for n in number],
                "when": [str(times[n]) for n in number],
                "who": [None if files[n].bad else "k" for n in number],
                "amount": ["1.00" for _ in number],
                "_file": ["data.csv" for _ in number],
                "_row": [n + 1 for n in number],
                "_event_time": [times[n] for n in number],
            },
            schema_overrides={"who": pl.String, "_event_time": pl.Datetime("us")},
        ).write_parquet(workshop.raw / f"2026-03-{day:02}.parquet")
    rows = [
        payment(row.identifier, str(datetime(2026, 3, row.day, row.hour)), channel="?" if row.bad else None)
        for row in sorted(came_live)
    ]
    live(workshop, source, *rows)


def naive(files: list[Row], came_live: list[Row]) -> tuple[set[Any], set[Any], set[Any]]:
    """What is accepted, set aside, and quarantined: (id, live, day, hour) of each, and row numbers of the last."""
    firsts: dict[tuple[str, bool], tuple[int, int]] = {}
    refused: set[Any] = set()
    for number, row in sorted(enumerate(files, 1), key=lambda item: (item[1].day, item[1].hour, item[0])):
        if row.bad or (row.identifier, False) in firsts:
            refused.add((False, number))
        else:
            firsts[row.identifier, False] = row.day, row.hour
    for row in came_live:
        if row.bad:
            refused.add((True, row.identifier))
        else:
            firsts[row.identifier, True] = row.day, row.hour
    accepted, aside = set(), set()
    for (identifier, is_live), moment in firsts.items():
        other = firsts.get((identifier, not is_live))
        chosen = other is None or (moment, is_live) < (other, not is_live)
        (accepted if chosen else aside).add((identifier, is_live, *moment))
    return accepted, aside, refused


def found(workshop: Workshop) -> tuple[set[Any], set[Any], set[Any]]:
    moments = "extract(day FROM make_timestamp(event_us)), extract(hour FROM make_timestamp(event_us))"
    columns = f"transaction_id, live, {moments}"
    refused = workshop.rows("SELECT source_file, source_row, transaction_id FROM quarantined_transactions")
    return (
        set(workshop.rows(f"SELECT {columns} FROM validated_transactions")),
        set(workshop.rows(f"SELECT {columns} FROM transaction_copies")),
        {(True, identifier) if file.startswith("live/") else (False, row) for file, row, identifier in refused},
    )


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=ROWS, came_live=LIVE_ROWS, later=ROWS, order=st.permutations([1, 2, 3]), again=st.permutations([1, 2, 3]))
def test_in_any_order_of_days_the_tables_are_those_of_a_naive_pass(
    workshop: Workshop, files: list[Row], came_live: list[Row], later: list[Row], order: list[int], again: list[int]
) -> None:
    """Also after the raw rows changed, once every day was validated again."""
    source = workshop.source()
    for table in ("validated_transactions", "quarantined_transactions", "transaction_copies"):
        workshop.connection.execute(f"DROP TABLE IF EXISTS {table}")
    for rows, days in ((files, order), (later, again)):
        raw_days(workshop, source, rows, came_live)
        for day in days:
            workshop.validate(source, date(2026, 3, day), date(2026, 3, day))
        assert found(workshop) == naive(rows, came_live)


class TestLabels:
    def run(self, workshop: Workshop, source: Source) -> Validated:
        validated = workshop.run(source)
        workshop.labels(source)
        return validated

    def labels(self, workshop: Workshop) -> list[tuple[Any, ...]]:
        return workshop.rows(
            "SELECT day, transaction_id, is_fraud, reported_at, source, fraud_type FROM validated_labels ORDER BY ALL"
        )

    def test_a_label_is_of_the_day_of_its_event_whenever_it_was_reported(self, workshop: Workshop) -> None:
        workshop.csv("f,2026-03-03 10:00:00,a,1.00,,", header=COLUMNS)
        source = workshop.source(labels=REPORTED)
        live(workshop, source, payment("x", "2026-03-01 10:00:00"))
        told(
            workshop,
            report("x", True, "2026-03-20 10:00:00", fraud_type="stolen"),
            report("x", False, "2026-03-21 10:00:00", fraud_type="stolen", source="analyst"),
            report("f", True, "2026-03-04 10:00:00"),
        )
        self.run(workshop, source)
        assert self.labels(workshop) == [
            (date(2026, 3, 1), "x", False, datetime(2026, 3, 21, 10), "analyst", None),
            (date(2026, 3, 1), "x", True, datetime(2026, 3, 20, 10), "chargeback", "stolen"),
            (date(2026, 3, 3), "f", True, datetime(2026, 3, 4, 10), "chargeback", None),
        ]

    def test_it_joins_the_labels_of_the_file(self, workshop: Workshop) -> None:
        workshop.csv("f,2026-03-03 10:00:00,a,1.00,1,2026-03-05 10:00:00", header=COLUMNS)
        source = workshop.source(labels=REPORTED)
        told(
            workshop,
            report("f", False, "2026-03-06 10:00:00"),
            report("f", True, "2026-03-05 10:00:00", source="analyst"),
        )
        self.run(workshop, source)
        assert [row[2:5] for row in self.labels(workshop)] == [
            (False, datetime(2026, 3, 6, 10), "chargeback"),
            (True, datetime(2026, 3, 5, 10), "analyst"),
        ]

    def test_a_source_without_labels_has_those_that_were_reported(self, workshop: Workshop) -> None:
        workshop.csv("f,2026-03-03 10:00:00,a,1.00")
        source = workshop.source()
        told(workshop, report("f", True, "2026-03-06 10:00:00"))
        self.run(workshop, source)
        assert [row[1:3] for row in self.labels(workshop)] == [("f", True)]

    def test_one_without_a_transaction_waits_until_it_comes(self, workshop: Workshop) -> None:
        workshop.csv("f,2026-03-03 10:00:00,a,1.00")
        source = workshop.source()
        told(workshop, report("x", True, "2026-03-06 10:00:00"))
        self.run(workshop, source)
        assert self.labels(workshop) == []
        live(workshop, source, payment("x", "2026-03-05 10:00:00"))
        self.run(workshop, source)
        assert [row[:2] for row in self.labels(workshop)] == [(date(2026, 3, 5), "x")]

    def test_of_those_before_the_event_the_last_counts_from_the_event_on(self, workshop: Workshop) -> None:
        workshop.csv("f,2026-03-03 10:00:00,a,1.00")
        source = workshop.source()
        told(
            workshop,
            report("f", True, "2026-03-01 10:00:00"),
            report("f", False, "2026-03-02 10:00:00"),
            report("f", True, "2026-03-03 10:00:00.000001"),
        )
        self.run(workshop, source)
        assert [row[2:4] for row in self.labels(workshop)] == [
            (False, datetime(2026, 3, 3, 10)),
            (True, datetime(2026, 3, 3, 10, 0, 0, 1)),
        ]

    def test_one_that_breaks_the_contract_is_quarantined(self, workshop: Workshop) -> None:
        workshop.csv("f,2026-03-03 10:00:00,a,1.00")
        source = workshop.source()
        told(workshop, report("f", True, "2026-03-06 10:00:00", source="hearsay"))
        self.run(workshop, source)
        ((day, file, row, reasons),) = workshop.rows(
            "SELECT day, source_file, source_row, reasons FROM quarantined_labels"
        )
        assert (day, file, row) == (date(2026, 3, 3), "live/2026-03-06.parquet", 1)
        assert reasons == ["source: 'hearsay' is not one of chargeback, analyst, customer, simulated"]
        assert self.labels(workshop) == []

    def test_those_of_other_days_are_left_alone(self, workshop: Workshop) -> None:
        source = workshop.source()
        live(workshop, source, payment("x", "2026-03-01 10:00:00"), payment("y", "2026-03-02 10:00:00"))
        told(workshop, report("x", True, "2026-03-06 10:00:00"), report("y", True, "2026-03-06 10:00:00"))
        workshop.validate(source)
        workshop.labels(source, FIRST, FIRST)
        assert [row[1] for row in self.labels(workshop)] == ["x"]
