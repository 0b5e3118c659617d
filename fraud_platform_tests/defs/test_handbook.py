"""The handbook's 1,754,155 payments: every one accounted for, and features as a naive SQL reading of the design."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest

from fraud_platform.features.selection import catalog_of
from fraud_platform.features.table import read_features
from fraud_platform.monitoring.parity import check_parity
from fraud_platform.transactions.sources import load_source
from fraud_platform_tests.components import HANDBOOK, ROOT
from fraud_platform_tests.defs.conftest import RAW, VALIDATED, MakePlatform, Platform, failed_checks

needs_data = [pytest.mark.handbook, pytest.mark.slow]

FIRST, LAST = date(2018, 6, 1), date(2018, 6, 14)
"""The slice whose features are compared; its look-back lies within the data."""


@pytest.fixture(scope="module")
def handbook(shared_platforms: MakePlatform) -> Platform:
    mapping = (ROOT / "sources" / "handbook.yaml").read_text(encoding="utf-8")
    platform = shared_platforms(mapping, name="handbook", data=str(HANDBOOK))
    assert failed_checks(platform.run((*RAW, *VALIDATED))) == {}
    platform.run(("transaction_features",), FIRST, LAST)
    return platform


@pytest.fixture(scope="module")
def naive() -> Iterator[duckdb.DuckDBPyConnection]:
    """The events as the file has them: `events(id, us, who, shop, cents, fraud)`."""
    connection = duckdb.connect()
    connection.execute(
        f"""CREATE TABLE events AS SELECT CAST(TRANSACTION_ID AS VARCHAR) AS id, epoch_us(TX_DATETIME) AS us,
            CUSTOMER_ID AS who, TERMINAL_ID AS shop, CAST(round(TX_AMOUNT * 100) AS BIGINT) AS cents, TX_FRAUD AS fraud
        FROM read_parquet('{HANDBOOK}') WHERE TX_AMOUNT > 0"""
    )
    yield connection
    connection.close()


class TestEveryRowIsAccountedFor:
    pytestmark = needs_data

    def test_rows_are_accepted_or_quarantined(self, handbook: Platform) -> None:
        assert handbook.query("SELECT count(*), count(DISTINCT transaction_id) FROM validated_transactions").row(0) == (
            1_754_113,
            1_754_113,
        )
        assert handbook.query("SELECT count(*) FROM quarantined_transactions").item() == 42

    def test_only_amounts_of_nothing_are_quarantined(self, handbook: Platform) -> None:
        reasons = handbook.query("SELECT DISTINCT reasons FROM quarantined_transactions")
        assert reasons["reasons"].to_list() == [["amount_cents: 0 is below 1"]]

    def test_every_day_has_its_rows(self, handbook: Platform, naive: duckdb.DuckDBPyConnection) -> None:
        per_day = naive.sql(
            "SELECT CAST(make_timestamp(us) AS DATE) AS day, count(*) AS n FROM events GROUP BY day"
        ).pl()
        found = handbook.query("SELECT day, count(*) AS n FROM validated_transactions GROUP BY day ORDER BY day")
        assert found.height == 183
        assert found.equals(per_day.sort("day"))

    def test_amounts_add_up_to_the_cent(self, handbook: Platform) -> None:
        exact = "CAST(sum(CAST(CAST(TX_AMOUNT AS DECIMAL(18, 2)) * 100 AS BIGINT)) AS BIGINT)"
        cents = duckdb.execute(f"SELECT {exact} FROM read_parquet('{HANDBOOK}')").fetchall()[0][0]
        assert handbook.query("SELECT CAST(sum(amount_cents) AS BIGINT) FROM validated_transactions").item() == cents

    def test_every_fraud_is_labelled_a_week_later(self, handbook: Platform) -> None:
        frauds = handbook.query(
            """SELECT count(*) AS frauds, count(DISTINCT transaction_id) AS ids,
                bool_and(reported_at = event_time + INTERVAL 7 DAY) AS in_time
            FROM validated_labels JOIN validated_transactions USING (transaction_id) WHERE is_fraud"""
        )
        assert frauds.row(0) == (14_681, 14_681, True)


def window(span_days: int, step_minutes: int, delay_days: int = 0) -> str:
    """DESIGN, section 4: from the last step boundary at or before t - delay - span, to t or, with a delay, to the
    last step boundary at or before t - delay; the end is excluded."""
    minute, day = 60_000_000, 86_400_000_000
    step = step_minutes * minute
    start = f"(e.us - {(delay_days + span_days) * day}) // {step} * {step}"
    end = "e.us" if not delay_days else f"(e.us - {delay_days * day}) // {step} * {step}"
    return f"o.us >= {start} AND o.us < {end}"


NAIVE = {
    "customer_count_1d": ("who", window(1, 15), "count(o.us)"),
    "customer_amount_mean_7d": ("who", window(7, 120), "sum(o.cents) / count(o.us)"),
    "customer_amount_max_30d": ("who", window(30, 360), "max(o.cents)"),
    "customer_merchant_count_30d": ("who, shop", window(30, 360), "count(o.us)"),
    "merchant_count_7d": ("shop", window(7, 120), "count(o.us)"),
    "merchant_fraud_rate_7d": ("shop", window(7, 360, delay_days=7), "sum(o.fraud) / count(o.us)"),
}
"""By feature: the key, the window, and the aggregate over the other events `o` of an event `e`."""


@pytest.mark.handbook
@pytest.mark.slow
@pytest.mark.parametrize("name", NAIVE)
def test_a_feature_is_what_the_naive_join_gives(
    handbook: Platform, naive: duckdb.DuckDBPyConnection, name: str
) -> None:
    key, within, aggregate = NAIVE[name]
    same_key = " AND ".join(f"o.{column} = e.{column}" for column in key.split(", "))
    expected = naive.sql(
        f"""SELECT e.id, CAST({aggregate} AS FLOAT) AS value
        FROM (SELECT * FROM events WHERE us >= epoch_us(TIMESTAMP '{FIRST}')
            AND us < epoch_us(TIMESTAMP '{LAST}' + INTERVAL 1 DAY)) e
        LEFT JOIN events o ON {same_key} AND {within} GROUP BY e.id, e.us ORDER BY e.us, e.id"""
    ).pl()
    found = read_features(handbook.settings.features, FIRST, LAST)
    assert found["transaction_id"].equals(expected["id"].rename("transaction_id"))
    np.testing.assert_array_equal(found[name].to_numpy(), expected["value"].fill_null(np.nan).to_numpy())
    assert found[name].n_unique() > 5


@pytest.mark.handbook
@pytest.mark.slow
def test_two_days_replayed_through_the_serving_path_and_in_sql_give_the_table(handbook: Platform) -> None:
    settings = handbook.settings
    catalog = catalog_of(load_source(settings.source, settings.data))
    report = check_parity(settings, catalog, 2, ["duckdb", "online-lmdb"])
    assert report.last == LAST and report.events > 18_000
    assert [(c.engine, c.mismatches, c.late) for c in report.comparisons] == [("duckdb", 0, 0), ("online-lmdb", 0, 0)]


def test_the_code_has_no_special_case_for_the_handbook() -> None:
    files = [path for folder in ("fraud_platform", "bentos") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    assert [path for path in files if _mentions_the_handbook(path)] == []


def _mentions_the_handbook(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return "handbook" in text.lower() or "TX_" in text
