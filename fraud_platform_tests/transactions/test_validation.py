"""Validation: exactly the bad rows in quarantine, each with all of its reasons; exact amounts and times."""

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraud_platform.errors import SourceError
from fraud_platform.transactions import contract, validation
from fraud_platform_tests.transactions.conftest import FIRST, LAST, Workshop, opened_workshop

ROOT = Path(__file__).parents[2]
HANDBOOK = ROOT / "../shared/data/handbook/transactions.parquet"
TABLES = ("validated_transactions", "quarantined_transactions")


def tables(workshop: Workshop) -> list[list[tuple[object, ...]]]:
    return [sorted(workshop.rows(f"SELECT * FROM {table}"), key=str) for table in TABLES]


UGLY = """Beleg;Zeit;Kunde;Betrag;Land;Kanal
T1;28.03.2026 10:00:00;K1;"1.234,50";DE;POS
T2;28.03.2026 10:05:00;K1;12,5;AT;Web
T1;28.03.2026 11:00:00;K1;99,00;DE;POS
T3;29.03.2026 02:30:00;K2;5,00;DE;POS
T4;28.03.2026 12:00:00;;7,00;DE;POS
T5;28.03.2026 12:01:00;K3;;Germany;Fax
T6;28.03.2026 12:02:00;K3;12,345;DE;POS
T7;kaputt
;28.03.2026 12:03:00;K3;-5,00;DE;POS
T8;28.03.2026 12:04:00;K3;12.50;;
T9;;K4;0,00;DE;POS
T10;29.03.2026 00:30:00;K4;1,00;DE;POS
T2;29.03.2026 10:00:00;;1,00;DE;POS
"""


def ugly(workshop: Workshop, **changes: object) -> validation.Validated:
    workshop.data.write_text(UGLY, encoding="utf-8")
    mapping = {
        "csv": {"delimiter": ";"},
        "event_time": {"column": "Zeit", "format": "%d.%m.%Y %H:%M:%S", "zone": "Europe/Berlin"},
        "amount": {"column": "Betrag", "decimal_mark": ","},
        "columns": {"transaction_id": "Beleg", "customer_id": "Kunde", "merchant_country": "Land", "channel": "Kanal"},
        "values": {"channel": {"POS": "in_person", "Web": "online"}},
    }
    return workshop.run(workshop.source(**{**mapping, **changes}))


@pytest.fixture(scope="module")
def ugly_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, validation.Validated]]:
    """The ugly CSV, landed and validated; for reading only."""
    with opened_workshop(tmp_path_factory.mktemp("ugly")) as workshop:
        yield workshop, ugly(workshop)


@pytest.fixture(scope="module")
def ugly_workshop(ugly_run: tuple[Workshop, validation.Validated]) -> Workshop:
    return ugly_run[0]


def test_ugly_csv_has_exactly_its_bad_rows_in_quarantine_with_every_reason(ugly_workshop: Workshop) -> None:
    words = "in_person, online, atm, phone, transfer"
    assert ugly_workshop.quarantined() == {
        3: ["transaction_id: T1 is a duplicate; the first is of 2026-03-28 09:00:00"],
        4: ["event_time: '29.03.2026 02:30:00' does not exist in Europe/Berlin: the clock was put forward over it"],
        5: ["customer_id: missing"],
        6: [
            "amount_cents: missing",
            "merchant_country: 'Germany' does not match ^[A-Z]{2}$",
            f"channel: 'Fax' is not one of {words}",
        ],
        7: ["amount_cents: 12,345 has more than 2 decimals"],
        8: ["line: too few fields (the header has 6)"],
        9: ["transaction_id: missing", "amount_cents: -500 is below 1"],
        10: ["amount_cents: '12.50' is not a number with decimal mark ','"],
        11: ["event_time: missing", "amount_cents: 0 is below 1"],
        13: ["customer_id: missing", "transaction_id: T2 is a duplicate; the first is of 2026-03-28 09:05:00"],
    }


def test_ugly_csv_has_its_good_rows_typed(ugly_workshop: Workshop) -> None:
    columns = "transaction_id, event_time, customer_id, amount_cents, merchant_country, channel, day"
    assert ugly_workshop.rows(f"SELECT {columns} FROM validated_transactions ORDER BY event_us") == [
        ("T1", datetime(2026, 3, 28, 9), "K1", 123450, "DE", "in_person", date(2026, 3, 28)),
        ("T2", datetime(2026, 3, 28, 9, 5), "K1", 1250, "AT", "online", date(2026, 3, 28)),
        ("T10", datetime(2026, 3, 28, 23, 30), "K4", 100, "DE", "in_person", date(2026, 3, 28)),
    ]


def test_quarantine_keeps_the_whole_row_as_read(ugly_workshop: Workshop) -> None:
    originals = dict(ugly_workshop.rows("SELECT source_row, original FROM quarantined_transactions"))
    assert json.loads(originals[6]) == {
        "Beleg": "T5", "Zeit": "28.03.2026 12:01:00", "Kunde": "K3", "Betrag": None, "Land": "Germany", "Kanal": "Fax",
    }  # fmt: skip
    assert originals[8] == "T7;kaputt"


def test_report_counts_rows_by_kind_of_reason(ugly_run: tuple[Workshop, validation.Validated]) -> None:
    _, validated = ugly_run
    assert validated.accepted == {date(2026, 3, 28): 3}
    assert (sum(validated.quarantined.values()), validated.undated) == (7, 3)
    assert validated.reasons["transaction_id: duplicate"] == 2
    assert validated.reasons["line: too few fields"] == 1
    assert validated.quarantined_share == pytest.approx(0.7)


def test_validating_twice_leaves_the_same_tables(workshop: Workshop) -> None:
    ugly(workshop)
    before = tables(workshop)
    ugly(workshop)
    assert tables(workshop) == before


def test_tables_have_the_columns_of_the_contract_in_order(workshop: Workshop) -> None:
    workshop.csv("1,2026-03-01,a,1.00,5,x", header="id,when,who,amount,n,t")
    attributes = {"basket": {"column": "n", "type": "number"}, "note": {"column": "t", "type": "text"}}
    workshop.run(workshop.source(attributes=attributes))
    described = [row[:2] for row in workshop.rows("DESCRIBE validated_transactions")]
    expected = [("day", "DATE"), ("event_us", "BIGINT"), ("live", "BOOLEAN")]
    expected += [(column.name, contract.DUCKDB_TYPES[column.type]) for column in contract.TRANSACTION]
    assert described == [*expected, ("basket", "DOUBLE"), ("note", "VARCHAR")]
    assert [row[:2] for row in workshop.rows("DESCRIBE quarantined_transactions")] == list(
        validation.QUARANTINE.items()
    )


def test_days_without_raw_rows_become_empty(workshop: Workshop) -> None:
    workshop.csv("1,2026-03-01,a,1.00", "2,2026-03-02,a,1.00")
    source = workshop.source()
    workshop.run(source)
    workshop.csv("2,2026-03-02,a,1.00")
    workshop.run(source)
    assert workshop.accepted() == ["2"]


def test_validating_a_day_leaves_other_days_alone(workshop: Workshop) -> None:
    workshop.csv("1,2026-03-01,a,1.00", "2,2026-03-02,a,1.00", "3,2026-03-02,,1.00", "4,2026-03-03,a,1.00")
    source = workshop.source()
    workshop.run(source)
    before = tables(workshop)
    workshop.validate(source, date(2026, 3, 2), date(2026, 3, 2))
    assert tables(workshop) == before


def test_failed_run_leaves_the_tables_as_they_were(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.csv("1,2026-03-01,a,1.00", "2,2026-03-02,,1.00")
    source = workshop.source()
    workshop.run(source)
    before = tables(workshop)
    workshop.csv("9,2026-03-01,a,1.00", "8,2026-03-02,,1.00")
    workshop.land(source)
    replace = validation.replace_days

    def failing(connection: duckdb.DuckDBPyConnection, table: str, *rest: object) -> int:
        if table == "quarantined_transactions":
            raise OSError("no space left on device")
        return replace(connection, table, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(validation, "replace_days", failing)
    with pytest.raises(OSError, match="no space left"):
        workshop.validate(source)
    assert tables(workshop) == before


def test_first_of_equal_ids_is_the_first_by_time_file_and_row(workshop: Workshop) -> None:
    workshop.csv("x,2026-03-01 10:00:00,late,1.00", name="in/a.csv")
    workshop.csv("x,2026-03-01 09:00:00,second,1.00", "x,2026-03-01 09:00:00,third,1.00", name="in/b.csv")
    workshop.csv("x,2026-03-01 09:00:00,other,1.00", name="in/c.csv")
    workshop.run(workshop.source(path="in"))
    assert workshop.rows("SELECT customer_id FROM validated_transactions") == [("second",)]
    assert len(workshop.rows("FROM quarantined_transactions")) == 3


def test_bad_row_does_not_take_the_place_of_a_good_one_with_its_id(workshop: Workshop) -> None:
    workshop.csv("x,2026-03-01 09:00:00,,1.00", "x,2026-03-01 10:00:00,a,1.00")
    workshop.run(workshop.source())
    assert workshop.accepted() == ["x"]
    assert workshop.quarantined() == {1: ["customer_id: missing"]}


def test_id_of_an_earlier_day_is_a_duplicate(workshop: Workshop) -> None:
    workshop.csv("x,2026-03-01 09:00:00,a,1.00", "x,2026-03-02 10:00:00,a,1.00")
    source = workshop.source()
    workshop.land(source)
    for day in (date(2026, 3, 1), date(2026, 3, 2)):
        workshop.validate(source, day, day)
    assert workshop.quarantined() == {2: ["transaction_id: x is a duplicate; the first is of 2026-03-01 09:00:00"]}


@pytest.mark.slow
def test_order_in_which_days_are_validated_does_not_matter(workshop: Workshop) -> None:
    workshop.csv("x,2026-03-01 09:00:00,a,1.00", "x,2026-03-02 10:00:00,a,1.00", "x,2026-03-03 10:00:00,a,1.00")
    source = workshop.source()
    workshop.run(source)
    expected = tables(workshop)
    for table in TABLES:
        workshop.rows(f"DROP TABLE {table}")
    for day in (3, 2, 1):
        workshop.validate(source, date(2026, 3, day), date(2026, 3, day))
    assert tables(workshop) == expected


def test_duplicate_comes_back_when_its_first_goes(workshop: Workshop) -> None:
    workshop.csv("x,2026-03-01 09:00:00,a,1.00", "x,2026-03-02 10:00:00,a,1.00")
    source = workshop.source()
    workshop.run(source)
    (workshop.raw / "2026-03-01.parquet").unlink()
    validated = workshop.validate(source, date(2026, 3, 1), date(2026, 3, 1))
    assert validated.revalidated == (date(2026, 3, 2),)
    assert workshop.rows("SELECT day FROM validated_transactions") == [(date(2026, 3, 2),)]


def test_many_rows_are_all_there_for_filters(workshop: Workshop) -> None:
    """DuckDB 2.0 loses rows from filters when a table is created AS an empty SELECT and filled in one transaction."""
    workshop.parquet(
        "SELECT i AS id, TIMESTAMP '2026-03-01' + INTERVAL (i) SECOND AS when, i % 99 AS who, 1 AS "
        "amount FROM range(300000) t(i)"
    )
    validated = workshop.run(workshop.source(format="parquet", path="data.parquet"))
    assert sum(validated.accepted.values()) == 300_000
    assert workshop.rows("SELECT count(*) FROM validated_transactions WHERE amount_cents >= 0") == [(300_000,)]


def test_minor_unit_with_fractions_is_a_mistake_in_the_source(workshop: Workshop) -> None:
    workshop.csv(*(f"{i},2026-03-01,a,{i}.25" for i in range(1, 6)))
    with pytest.raises(
        SourceError,
        match=r"shop\.yaml: amount\.unit: is minor, but 5 of 5 values of 'amount' have a fraction\. Set `unit: major`",
    ):
        workshop.run(workshop.source(amount={"column": "amount", "unit": "minor"}))


def test_one_fraction_among_minor_units_is_a_bad_row(workshop: Workshop) -> None:
    workshop.csv(*(f"{i},2026-03-01,a,{i}" for i in range(1, 6)), "6,2026-03-01,a,1.5")
    workshop.run(workshop.source(amount={"column": "amount", "unit": "minor"}))
    assert workshop.quarantined() == {6: ["amount_cents: 1.5 is not a whole number of minor units"]}


BREAKING_VALUES = [
    ("latitude", "91", "latitude: 91.0 is above 90"),
    ("longitude", "-180.5", "longitude: -180.5 is below -180"),
    ("latitude", "north", "latitude: 'north' is not a number"),
    ("latitude", "inf", "latitude: 'inf' is not a number"),
    ("currency", "euro", "currency: 'euro' does not match ^[A-Z]{3}$"),
    ("ip_address", "1.2.3.999", f"ip_address: '1.2.3.999' does not match {contract.IP_ADDRESS}"),
    ("device_id", "é" * 90, f"device_id: '{'é' * 80}…' does not match {contract.IDENTIFIER}"),
]
"""Optional column, a value that the contract forbids, and the reason."""


@pytest.fixture(scope="module")
def breaking_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A row for each of BREAKING_VALUES, in order and otherwise good, and a last one without optional values."""
    optional = sorted({column for column, _, _ in BREAKING_VALUES})
    rows = [{column: value} for column, value, _ in BREAKING_VALUES] + [{}]
    with opened_workshop(tmp_path_factory.mktemp("breaking")) as workshop:
        workshop.csv(
            *(
                ",".join([str(number), "2026-03-01", "a", "1.00", *(row.get(column, "") for column in optional)])
                for number, row in enumerate(rows, 1)
            ),
            header=",".join(["id", "when", "who", "amount", *optional]),
        )
        own_names = {column: column for column in optional}
        workshop.run(workshop.source(columns={"transaction_id": "id", "customer_id": "who", **own_names}))
        yield workshop


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(row, reason, id=f"{column} {value:.9}")
        for row, (column, value, reason) in enumerate(BREAKING_VALUES, 1)
    ],
)
def test_optional_value_that_breaks_the_contract_is_a_reason(breaking_rows: Workshop, row: int, reason: str) -> None:
    assert breaking_rows.quarantined()[row] == [reason]


def test_row_without_optional_values_is_good(breaking_rows: Workshop) -> None:
    assert breaking_rows.accepted() == [str(len(BREAKING_VALUES) + 1)]


def test_amount_above_the_limit_is_a_reason(workshop: Workshop) -> None:
    workshop.csv(
        "1,2026-03-01,a,10000000000.01", "2,2026-03-01,a,99999999999999999999999", "3,2026-03-01,a,10000000000.00"
    )
    workshop.run(workshop.source())
    assert workshop.quarantined() == {
        1: ["amount_cents: 1000000000001 is above 1000000000000"],
        2: ["amount_cents: 9999999999999999999999900 is above 1000000000000"],
    }


def test_attribute_that_is_no_number_is_a_reason(workshop: Workshop) -> None:
    workshop.csv(
        "1,2026-03-01,a,1.00,many", "2,2026-03-01,a,1.00,NaN", "3,2026-03-01,a,1.00,7", header="id,when,who,amount,n"
    )
    workshop.run(workshop.source(attributes={"basket": {"column": "n", "type": "number"}}))
    assert workshop.quarantined() == {1: ["basket: 'many' is not a number"]}
    assert workshop.rows("SELECT basket FROM validated_transactions ORDER BY transaction_id") == [(None,), (7.0,)]


def test_source_columns_may_be_named_like_anything(workshop: Workshop) -> None:
    header = "day,event_us,transaction_id,_bad"
    workshop.csv("1,2026-03-01,a,1.00", "2,2026-03-01,,1.00", header=header)
    workshop.run(
        workshop.source(
            event_time={"column": "event_us"},
            amount={"column": "_bad"},
            columns={"transaction_id": "day", "customer_id": "transaction_id"},
        )
    )
    assert workshop.accepted() == ["1"]
    assert workshop.quarantined() == {2: ["customer_id: missing"]}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", ""]),
            st.sampled_from(["2026-03-01 10:00:00", "2026-03-01 11:00:00", "2026-03-02 10:00:00", "never"]),
            st.sampled_from(["k", ""]),
            st.sampled_from(["1.00", "0.00", "x"]),
        ),
        min_size=1,
        max_size=12,
    )
)
@pytest.mark.slow
def test_accepted_rows_are_those_that_a_naive_pass_accepts(
    workshops: Callable[[str], Workshop], rows: list[tuple[str, str, str, str]]
) -> None:
    workshop = workshops(f"w{abs(hash(tuple(rows)))}_{len(rows)}")
    workshop.csv(*(",".join(row) for row in rows))
    source = workshop.source()
    workshop.run(source)
    seen: set[str] = set()
    expected = []
    for number, (identifier, when, who, amount) in sorted(enumerate(rows, 1), key=lambda item: (item[1][1], item[0])):
        if identifier and when != "never" and who and amount == "1.00" and identifier not in seen:
            seen.add(identifier)
            expected.append(number)
    quarantined = workshop.quarantined()
    assert sorted(expected) == [number for number in range(1, len(rows) + 1) if number not in quarantined]
    assert len(workshop.accepted()) == len(expected)


@pytest.mark.handbook
@pytest.mark.slow
def test_handbook_has_42_payments_of_nothing(workshop: Workshop) -> None:
    from fraud_platform.transactions.sources import load_source

    source = load_source(ROOT / "sources/handbook.yaml", str(HANDBOOK))
    last = source.last_day or LAST
    workshop.land(source, source.first_day, last)
    validated = workshop.validate(source, source.first_day, last)
    assert (sum(validated.accepted.values()), validated.reasons) == (1_754_113, {"amount_cents: below minimum": 42})
    exact = workshop.rows(f"SELECT sum(CAST(TX_AMOUNT AS DECIMAL(18, 2))) * 100 FROM read_parquet('{HANDBOOK}')")[0][0]
    assert workshop.rows("SELECT sum(amount_cents) FROM validated_transactions")[0][0] == int(exact)


def test_range_without_any_row_is_no_error(workshop: Workshop) -> None:
    validated = workshop.validate(workshop.source(), FIRST, LAST)
    assert (validated.accepted, validated.quarantined, validated.undated, validated.quarantined_share) == (
        {},
        {},
        0,
        0.0,
    )
