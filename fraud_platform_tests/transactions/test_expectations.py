"""The expectation suites: each check passes on good data and fails on exactly the aspect that is broken."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraud_platform.errors import SourceError, WarehouseError
from fraud_platform.transactions import contract
from fraud_platform.transactions.expectations import Limits, SuiteResult, check_labels, check_transactions

# Great Expectations takes seconds to import and tenths of a second for each suite.
pytestmark = pytest.mark.slow

FIRST, LAST = date(2026, 1, 8), date(2026, 1, 21)
EVERYTHING = frozenset(contract.TRANSACTION_COLUMNS)
DAYS = 28
PER_DAY = 100
LIMITS = Limits(baseline_rows=100)
"""Few rows, so that the tests are quick: 700 in the baseline."""

TRANSACTIONS = f"""
    CREATE TABLE validated_transactions AS
    SELECT moment::DATE AS day, epoch_us(moment) AS event_us, 't' || i AS transaction_id, moment AS event_time,
        'c' || i % 40 AS customer_id, (500 + i * 7919 % 9000)::BIGINT AS amount_cents, 'm' || i % 60 AS merchant_id,
        'food & drink' AS merchant_category, 'DE' AS merchant_country, 'EUR' AS currency, 'online' AS channel,
        'd-' || i % 50 AS device_id, '10.0.0.' || i % 250 AS ip_address, 'k' || i % 45 AS card_id,
        'AT' AS home_country, 48.5::DOUBLE + i % 3 AS latitude, 16.3::DOUBLE AS longitude,
        48.2::DOUBLE AS home_latitude, 16.4::DOUBLE AS home_longitude
    FROM (
        SELECT i, TIMESTAMP '2026-01-01' + to_microseconds((i * 86400000000 // {PER_DAY})::BIGINT) AS moment
        FROM range({DAYS * PER_DAY}) r(i)
    )
"""
LABELS = """
    CREATE TABLE validated_labels AS
    SELECT day, transaction_id, true AS is_fraud, event_time + to_days(3) AS reported_at, 'chargeback' AS source,
        NULL::VARCHAR AS fraud_type
    FROM validated_transactions WHERE event_us // 864000000 % 50 = 0
"""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'UTC'")
        opened.execute(TRANSACTIONS)
        opened.execute(LABELS)
        yield opened


def check(
    connection: duckdb.DuckDBPyConnection, present: frozenset[str] = EVERYTHING, **options: object
) -> SuiteResult:
    arguments: dict = {"limits": LIMITS, **options}
    return check_transactions(connection, FIRST, LAST, present, **arguments)


def label_check(connection: duckdb.DuckDBPyConnection, delay: int = 7, **options: object) -> SuiteResult:
    arguments: dict = {"limits": Limits(fraud_rate_least_events=500), **options}
    return check_labels(connection, FIRST, LAST, delay, **arguments)


def failed(result: SuiteResult) -> set[str]:
    return {item.name for item in result.checks if not item.passed}


def update(connection: duckdb.DuckDBPyConnection, assignment: str, table: str = "validated_transactions") -> None:
    connection.execute(f"UPDATE {table} SET {assignment}")


def on(rows: str, column: str, value: str) -> str:
    return f"{column} = CASE WHEN {rows} THEN {value} ELSE {column} END"


ONE = "transaction_id = 't1000'"
"""A row of the range."""


def test_every_check_passes_on_good_rows(connection: duckdb.DuckDBPyConnection) -> None:
    result = check(connection)
    assert failed(result) == set()
    assert result.passed
    assert (result.rows, result.docs) == (14 * PER_DAY, None)
    assert [item.name for item in result.checks] == [
        "required_columns", "unique_ids", "amounts", "event_times", "formats", "amount_outliers", "volume",
    ]  # fmt: skip


def test_optional_columns_that_the_source_lacks_are_not_expected(connection: duckdb.DuckDBPyConnection) -> None:
    update(connection, ", ".join(f"{name} = NULL" for name in contract.OPTIONAL))
    assert failed(check(connection, frozenset(contract.REQUIRED))) == set()
    assert failed(check(connection)) == set()


def test_rows_outside_the_range_are_not_judged(connection: duckdb.DuckDBPyConnection) -> None:
    update(connection, on("day > DATE '2026-01-21'", "amount_cents", "-1"))
    assert failed(check(connection)) == set()


BROKEN = {
    "required_columns": [
        on(ONE, "customer_id", "NULL"),
        on(ONE, "event_time", "NULL"),
        on(ONE, "event_us", "NULL"),
        on(ONE, "amount_cents", "NULL"),
    ],
    "unique_ids": [on(ONE, "transaction_id", "'t1001'"), on(ONE, "transaction_id", "'t1'")],
    "amounts": [
        on(ONE, "amount_cents", "0"),
        on(ONE, "amount_cents", "-5"),
        on(ONE, "amount_cents", str(contract.MAX_AMOUNT_CENTS + 1)),
    ],
    "event_times": [
        on(ONE, "event_us", "event_us + 1"),
        on(ONE, "event_time", "event_time + INTERVAL 1 DAY"),
        on(ONE, "event_time", "'infinity'::TIMESTAMP"),
        f"{on(ONE, 'event_us', '0')}, {on(ONE, 'event_time', 'make_timestamp(0)')}",
    ],
    "formats": [
        on(ONE, "customer_id", "' c1'"),
        on(ONE, "merchant_country", "'de'"),
        on(ONE, "merchant_country", "'DE' || chr(10)"),
        on(ONE, "currency", "'EURO'"),
        on(ONE, "ip_address", "'10.0.0.256'"),
        on(ONE, "ip_address", "'10.0.0.' || chr(1635)"),
        on(ONE, "channel", "'fax'"),
        on(ONE, "merchant_category", "''"),
        on(ONE, "latitude", "91"),
        on(ONE, "longitude", "'nan'::DOUBLE"),
    ],
    "amount_outliers": [
        on("event_us % 10 = 0 AND right(transaction_id, 1) = '0'", "amount_cents", "amount_cents * 100")
    ],
}


@pytest.mark.parametrize(("name", "assignment"), [(name, item) for name, items in BROKEN.items() for item in items])
def test_check_fails_on_exactly_what_is_broken(
    connection: duckdb.DuckDBPyConnection, name: str, assignment: str
) -> None:
    update(connection, assignment)
    result = check(connection)
    assert failed(result) == {name}, [item.message for item in result.checks if not item.passed]
    assert not result.passed


@pytest.mark.parametrize(
    ("column", "type_", "name"),
    [
        ("amount_cents", "DOUBLE", "amounts"),
        ("event_time", "VARCHAR", "required_columns"),
        ("latitude", "FLOAT", "required_columns"),
    ],
)
def test_column_of_another_type_fails_its_check(
    connection: duckdb.DuckDBPyConnection, column: str, type_: str, name: str
) -> None:
    connection.execute(f"ALTER TABLE validated_transactions ALTER {column} TYPE {type_}")
    result = check(connection)
    assert failed(result) == {name}
    assert type_ in result[name].message


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("channel", {"required_columns", "formats"}),
        ("amount_cents", {"required_columns", "amounts", "amount_outliers"}),
        ("event_time", {"required_columns", "event_times"}),
        ("transaction_id", {"required_columns", "unique_ids", "formats"}),
    ],
)
def test_missing_column_fails_every_check_that_needs_it(
    connection: duckdb.DuckDBPyConnection, column: str, names: set[str]
) -> None:
    connection.execute(f"ALTER TABLE validated_transactions DROP {column}")
    result = check(connection)
    assert failed(result) == names
    assert all(f"column {column} is missing" in result[name].message for name in names)


def test_id_repeated_outside_the_range_is_found_by_the_count_over_the_table(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    update(connection, on(ONE, "transaction_id", "'t1'"))
    assert check(connection)["unique_ids"].observed["ids_repeated_in_table"] == 1


def test_outliers_are_measured_against_the_days_before(connection: duckdb.DuckDBPyConnection) -> None:
    update(connection, on("day >= DATE '2026-01-08'", "amount_cents", "amount_cents * 100"))
    found = check(connection)["amount_outliers"]
    assert not found.passed
    assert found.observed["share"] > 0.5  # type: ignore[operator]


def test_outliers_are_measured_within_each_currency(connection: duckdb.DuckDBPyConnection) -> None:
    yen = on("right(transaction_id, 1) = '0'", "amount_cents", "amount_cents * 150")
    update(connection, yen)
    assert not check(connection)["amount_outliers"].passed
    update(connection, on("right(transaction_id, 1) = '0'", "currency", "'JPY'"))
    assert check(connection)["amount_outliers"].passed


def test_outliers_are_counted_as_a_naive_reading_counts_them(connection: duckdb.DuckDBPyConnection) -> None:
    update(connection, on("right(transaction_id, 2) = '00'", "amount_cents", "amount_cents * 100"))
    query = "SELECT amount_cents FROM validated_transactions WHERE day BETWEEN ? AND ? ORDER BY 1"
    before = [
        row[0] for row in connection.execute(query, [FIRST - timedelta(days=7), FIRST - timedelta(days=1)]).fetchall()
    ]
    amounts = [row[0] for row in connection.execute(query, [FIRST, LAST]).fetchall()]

    def quantile(share: float) -> float:
        place = share * (len(before) - 1)
        low = int(place)
        return before[low] + (place - low) * (before[min(low + 1, len(before) - 1)] - before[low])

    limit = quantile(0.5) + 10 * max(quantile(0.75) - quantile(0.25), quantile(0.5))
    observed = check(connection)["amount_outliers"].observed
    assert observed["highest_limit_cents"] == pytest.approx(limit)
    assert observed["outliers"] == sum(amount > limit for amount in amounts) > 0


def test_volume_only_warns_of_a_day_that_is_nearly_empty(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "DELETE FROM validated_transactions WHERE day = DATE '2026-01-15' AND right(transaction_id, 1) <> '0'"
    )
    result = check(connection)
    assert failed(result) == {"volume"}
    assert result["volume"].severity == "warn"
    assert result["volume"].observed["lowest_share"] == pytest.approx(0.1)
    assert result.passed


def test_volume_warns_of_a_day_without_any_rows(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DELETE FROM validated_transactions WHERE day = DATE '2026-01-15'")
    assert check(connection)["volume"].observed["lowest_share"] == 0


def test_volume_without_a_baseline_passes_and_says_so(connection: duckdb.DuckDBPyConnection) -> None:
    first = date(2026, 1, 1)
    found = check_transactions(connection, first, first, EVERYTHING)["volume"]
    assert found.passed
    assert found.message == "no rows in the days before to compare with: nothing was judged"


def test_range_without_rows_passes_all_but_volume(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DELETE FROM validated_transactions WHERE day BETWEEN ? AND ?", [FIRST, LAST])
    result = check(connection)
    assert failed(result) == {"volume"}
    assert result.rows == 0


PATTERNED = [column for column in contract.TRANSACTION if column.pattern is not None or column.values is not None]


def test_unexpected_counts_are_those_of_a_naive_count(connection: duckdb.DuckDBPyConnection) -> None:
    for position, column in enumerate(PATTERNED, start=2):
        odd = f"hash(transaction_id || '{column.name}') % {position * 7} = 0"
        update(connection, on(odd, column.name, "chr(8364) || transaction_id"))
    rows = connection.sql("FROM validated_transactions WHERE day BETWEEN ? AND ?", params=[FIRST, LAST]).pl().to_dicts()
    observed = check(connection)["formats"].observed
    for column in PATTERNED:
        values = [row[column.name] for row in rows]
        if column.values is not None:
            wrong, kind = sum(value not in column.values for value in values), "be_in_set"
        else:
            wrong, kind = sum(re.fullmatch(str(column.pattern), value) is None for value in values), "match_regex"
        assert observed[f"{column.name} values_to_{kind}"] == wrong > 0


def text_of(column: contract.Column) -> st.SearchStrategy[str]:
    if column.values is not None:
        return st.sampled_from(column.values)
    return st.from_regex(re.compile(str(column.pattern), re.ASCII), fullmatch=True)


def generated_rows() -> st.SearchStrategy[list[dict[str, object]]]:
    fields: dict[str, st.SearchStrategy[object]] = {}
    for column in contract.TRANSACTION:
        if column.pattern is not None or column.values is not None:
            values: st.SearchStrategy[object] = text_of(column)
        elif column.type == "timestamp":
            values = st.datetimes(
                datetime.combine(FIRST, datetime.min.time()), datetime(2026, 1, 21, 23, 59, 59, 999_999)
            )
        elif column.type == "int64":
            values = st.integers(500, 5_000)
        else:
            values = st.floats(column.minimum, column.maximum)
        fields[column.name] = values if column.required else st.none() | values
    return st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=20, unique_by=lambda row: row["transaction_id"])


@given(rows=generated_rows())
@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_rows_generated_from_the_contract_pass(rows: list[dict[str, object]]) -> None:
    names = list(contract.TRANSACTION_COLUMNS)
    with duckdb.connect() as opened:
        columns = ", ".join(
            f"{name} {contract.DUCKDB_TYPES[column.type]}" for name, column in contract.TRANSACTION_COLUMNS.items()
        )
        opened.execute(f"CREATE TABLE given_rows ({columns})")
        opened.executemany(
            f"INSERT INTO given_rows VALUES ({', '.join('?' * len(names))})",
            [[row[name] for name in names] for row in rows],
        )
        opened.execute(
            "CREATE TABLE validated_transactions AS "
            "SELECT event_time::DATE AS day, epoch_us(event_time) AS event_us, * FROM given_rows"
        )
        result = check_transactions(opened, FIRST, LAST, EVERYTHING)
    assert failed(result) - {"volume"} == set(), [item.message for item in result.checks]


def test_docs_are_linked_and_nothing_else_is_written(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("home", "cwd", "docs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "docs" / "note.txt").write_text("kept")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "cwd")
    update(connection, on(ONE, "channel", "'fax'"))
    label_check(connection, docs_folder=tmp_path / "docs")
    check(connection, docs_folder=tmp_path / "docs")
    result = check(connection, docs_folder=tmp_path / "docs")
    assert result.docs == tmp_path / "docs" / "index.html"
    assert not list((tmp_path / "home").iterdir())
    assert not list((tmp_path / "cwd").iterdir())
    assert (tmp_path / "docs" / "note.txt").read_text() == "kept"
    pages = list((tmp_path / "docs" / "validations").rglob("*.html"))
    index = (tmp_path / "docs" / "index.html").read_text()
    assert sorted(page.name for page in pages) == sorted({page.name for page in pages})
    assert all(page.name in index for page in pages)
    assert sum("fax" in page.read_text() for page in pages) == 1


def test_results_are_native_python(connection: duckdb.DuckDBPyConnection) -> None:
    update(connection, on(ONE, "latitude", "91"))
    values = [
        value
        for result in (check(connection), label_check(connection))
        for item in result.checks
        for value in item.observed.values()
    ]
    assert {type(value) for value in values} <= {int, float, str}


def test_column_outside_the_contract_is_named(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SourceError, match="terminal_age"):
        check(connection, frozenset({"terminal_age"}))


@pytest.mark.parametrize("table", ["validated_transactions", "validated_labels"])
def test_missing_table_is_named(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    connection.execute(f"DROP TABLE {table}")
    with pytest.raises(WarehouseError, match=f"no table {table}"):
        label_check(connection)


def test_every_label_check_passes_on_good_labels(connection: duckdb.DuckDBPyConnection) -> None:
    result = label_check(connection)
    assert failed(result) == set(), [item.message for item in result.checks]
    assert [item.name for item in result.checks] == ["label_columns", "labels_after_events", "fraud_rate"]
    assert result["fraud_rate"].observed["rate"] == pytest.approx(0.02)


LABEL = "transaction_id = (SELECT max(transaction_id) FROM validated_labels WHERE day = DATE '2026-01-20')"
BROKEN_LABELS = {
    "label_columns": [
        on(LABEL, "is_fraud", "NULL"),
        on(LABEL, "reported_at", "NULL"),
        on(LABEL, "source", "'rumour'"),
        f"{on(LABEL, 'day', 'NULL')}, {on(LABEL, 'transaction_id', chr(39) + ' x' + chr(39))}",
    ],
    "labels_after_events": [on(LABEL, "reported_at", "reported_at - INTERVAL 73 HOUR")],
    "fraud_rate": ["is_fraud = false", "reported_at = TIMESTAMP '2026-01-22'"],
}


@pytest.mark.parametrize(
    ("name", "assignment"), [(name, item) for name, items in BROKEN_LABELS.items() for item in items]
)
def test_label_check_fails_on_exactly_what_is_broken(
    connection: duckdb.DuckDBPyConnection, name: str, assignment: str
) -> None:
    update(connection, assignment, "validated_labels")
    result = label_check(connection)
    assert failed(result) == {name}, [item.message for item in result.checks]


def test_label_at_the_instant_of_its_event_is_not_before_it(connection: duckdb.DuckDBPyConnection) -> None:
    update(connection, on(LABEL, "reported_at", "reported_at - INTERVAL 72 HOUR"), "validated_labels")
    assert label_check(connection)["labels_after_events"].passed


def test_label_whose_event_is_not_known_is_counted_and_not_compared(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "INSERT INTO validated_labels VALUES (NULL, 'early', true, TIMESTAMP '2020-01-01', 'analyst', NULL)"
    )
    found = label_check(connection)["labels_after_events"]
    assert found.passed
    assert found.observed["labels_without_event"] == 1


def test_fraud_rate_too_high_fails(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "INSERT INTO validated_labels SELECT day, transaction_id, true, event_time, 'analyst', NULL "
        "FROM validated_transactions WHERE right(transaction_id, 1) = '7'"
    )
    assert failed(label_check(connection)) == {"fraud_rate"}


def test_fraud_rate_counts_as_a_naive_reading_with_corrected_and_late_labels(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute(
        "INSERT INTO validated_labels SELECT day, transaction_id, right(transaction_id, 2) < '50', "
        "event_time + to_hours((hash(transaction_id) % 500)::INTEGER), 'analyst', NULL FROM validated_transactions "
        "WHERE hash(transaction_id) % 9 = 0"
    )
    as_of = datetime(2026, 1, 22)
    events = dict(connection.execute("SELECT transaction_id, event_time FROM validated_transactions").fetchall())
    labels = connection.execute("SELECT transaction_id, reported_at, is_fraud FROM validated_labels").fetchall()
    matured = {name for name, at in events.items() if as_of - timedelta(days=37) <= at < as_of - timedelta(days=7)}
    latest: dict[str, tuple[datetime, bool]] = {}
    for name, reported_at, is_fraud in labels:
        if reported_at < as_of:
            latest[name] = max(latest.get(name, (datetime.min, False)), (reported_at, is_fraud))
    frauds = sum(latest.get(name, (as_of, False))[1] for name in matured)
    observed = label_check(connection)["fraud_rate"].observed
    assert (observed["matured_events"], observed["frauds"]) == (len(matured), frauds)


@pytest.mark.parametrize(
    ("delay", "limits"), [(15, Limits(fraud_rate_least_events=10)), (7, Limits(fraud_rate_least_events=1_401))]
)
def test_fraud_rate_of_too_few_matured_events_passes_and_says_why(
    connection: duckdb.DuckDBPyConnection, delay: int, limits: Limits
) -> None:
    update(connection, "is_fraud = false", "validated_labels")
    found = label_check(connection, delay, limits=limits)["fraud_rate"]
    assert found.passed
    assert found.message.startswith("not judged")


def test_labels_that_were_not_yet_reported_at_as_of_do_not_count(connection: duckdb.DuckDBPyConnection) -> None:
    found = label_check(connection, 1, as_of=datetime(2026, 1, 10, tzinfo=UTC).replace(tzinfo=None))
    assert found["fraud_rate"].observed["frauds"] == 12


@pytest.mark.slow
def test_a_process_without_a_main_file_survives_the_import_beside_spark() -> None:
    """So are runs that Dagster's daemon launches; Spark Connect takes them for doctests and ends them."""
    code = (
        "from fraud_platform.transactions.expectations.runner import run; run('s', [], None); import pyspark; print(1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
