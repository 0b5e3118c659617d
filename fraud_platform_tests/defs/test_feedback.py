"""What the service decided and was told goes through the pipeline as a file's rows do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.features.expressions import DAY, HOUR
from fraud_platform.features.selection import catalog_of
from fraud_platform.features.stores import Change, NewEntry, Store
from fraud_platform.features.stores.opening import open_store
from fraud_platform.features.table import read_features
from fraud_platform.monitoring.replay import Recorder
from fraud_platform_tests.defs.conftest import (
    INGESTION,
    SHOP,
    MakePlatform,
    Platform,
    failed_checks,
    shop_rows,
    write_csv,
)

pytestmark = pytest.mark.slow

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 14)
LIVE_FIRST, LIVE_LAST = date(2026, 3, 15), date(2026, 3, 18)
FEEDBACK = ("decision_log", "live_transactions", "feedback_labels")
LIVE_EVENTS = 120


def payment(number: int) -> dict[str, Any]:
    """One payment every 48 minutes, from the first live day on."""
    start = int(datetime(2026, 3, 15, tzinfo=UTC).timestamp()) * 1_000_000
    return {
        "transaction_id": f"live{number}",
        "event_us": start + number * 4 * HOUR // 5,
        "customer_id": f"c{number * 3 % 20}",
        "merchant_id": f"m{number * 5 % 7}",
        "amount_cents": 100 + number * 37 % 9000,
    }


@contextmanager
def opened(platform: Platform) -> Iterator[Store]:
    store = open_store(platform.settings, catalog_of(platform.source).look_back_us)
    yield store
    store.close()


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    events = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {e.asset_key.to_user_string(): {name: v.value for name, v in e.metadata.items()} for e in events}


@pytest.fixture
def shop(platforms: MakePlatform, tmp_path: Path) -> Platform:
    data = write_csv(tmp_path / "data.csv", shop_rows(FIRST, 14, 50))
    return platforms({**SHOP, "path": str(data)})


@pytest.fixture(scope="module")
def decided(shared_platforms: MakePlatform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A shop with a history, whose service then decided for four days and was told of frauds on the way."""
    data = write_csv(tmp_path_factory.mktemp("data") / "data.csv", shop_rows(FIRST, 14, 50))
    platform = shared_platforms({**SHOP, "path": str(data)})
    platform.run(INGESTION)
    platform.run(("online_state",))
    catalog = catalog_of(platform.source)
    with opened(platform) as store:
        scorer = Scorer(Router(Candidate("1", Recorder(catalog))), catalog, store)
        scorer.label("live20", True, payment(20)["event_us"] - HOUR, source="analyst", by="eve")
        for number in range(LIVE_EVENTS):
            if number == 45:
                scorer.label("live15", False, payment(15)["event_us"] + DAY, source="analyst", by="eve")
            scorer.score(payment(number))
            if number % 10 == 5:
                scorer.label(f"live{number}", True, payment(number)["event_us"] + 1, fraud_type="stolen")
        scorer.label("t-of-nobody", True, payment(0)["event_us"])
    platform.run(FEEDBACK)
    reloaded = replace(platform)
    assert failed_checks(reloaded.run(INGESTION, LIVE_FIRST, LIVE_LAST)) == {}
    return reloaded


def test_every_decision_is_in_the_log(decided: Platform) -> None:
    found = decided.query("SELECT transaction_id FROM decision_log ORDER BY sequence")["transaction_id"].to_list()
    assert found == [f"live{number}" for number in range(LIVE_EVENTS)]


def test_every_live_transaction_is_validated_as_it_was_sent(decided: Platform) -> None:
    found = decided.query(
        "SELECT transaction_id, event_us, customer_id, merchant_id, amount_cents FROM validated_transactions "
        "WHERE live ORDER BY event_us"
    )
    assert found.to_dicts() == [payment(number) for number in range(LIVE_EVENTS)]


def test_the_rows_of_files_are_not_live(decided: Platform) -> None:
    rows = decided.query("SELECT count(*) FROM validated_transactions WHERE NOT live AND day <= $last", last=LAST)
    assert rows.item() == 700


def test_labels_are_those_of_their_events_with_the_moment_when_they_became_known(decided: Platform) -> None:
    found = decided.query(
        "SELECT l.transaction_id, l.is_fraud, epoch_us(l.reported_at) - t.event_us AS after, l.source, l.fraud_type "
        "FROM validated_labels l JOIN validated_transactions t USING (transaction_id, day) WHERE t.live ORDER BY ALL"
    )
    frauds = [(f"live{number}", True, 1, "chargeback", "stolen") for number in range(5, LIVE_EVENTS, 10)]
    corrected = ("live15", False, DAY, "analyst", None)
    before_its_event = ("live20", True, 0, "analyst", None)
    assert found.rows() == sorted([*frauds, corrected, before_its_event])


def test_a_label_without_a_transaction_waits(decided: Platform) -> None:
    waiting = decided.query(
        "SELECT transaction_id FROM feedback_labels ANTI JOIN validated_labels USING (transaction_id)"
    )
    assert waiting["transaction_id"].to_list() == ["t-of-nobody"]


def test_the_features_are_those_that_the_service_saw(decided: Platform) -> None:
    catalog = catalog_of(decided.source)
    log = decided.query("SELECT transaction_id, features FROM decision_log WHERE NOT late")
    table = read_features(decided.settings.features, LIVE_FIRST, LIVE_LAST)
    both = log.join(table, on="transaction_id", how="inner", maintain_order="left")
    assert both.height == table.height == LIVE_EVENTS
    np.testing.assert_array_equal(
        np.array(both["features"].to_list(), np.float32), both.select(catalog.names).to_numpy()
    )
    assert both["merchant_fraud_rate_7d"].max() > 0


def test_parity_holds_on_the_live_days(decided: Platform) -> None:
    result = decided.run(("feature_parity_report",))
    assert failed_checks(result) == {}
    assert metadata_of(result)["feature_parity_report"]["mismatches"] == 0


def test_draining_again_changes_nothing(decided: Platform) -> None:
    found = metadata_of(decided.run(FEEDBACK))
    assert [(name, metadata["new_rows"]) for name, metadata in sorted(found.items())] == [
        (n, 0) for n in sorted(FEEDBACK)
    ]
    assert found["decision_log"]["dagster/row_count"] == LIVE_EVENTS
    assert [found[name]["not_validated"] for name in ("live_transactions", "feedback_labels")] == [0, 0]
    assert found["feedback_labels"]["without_a_transaction"] == 1


def test_a_drain_says_which_days_wait(shop: Platform) -> None:
    shop.run(INGESTION)
    shop.run(("online_state",))
    catalog = catalog_of(shop.source)
    with opened(shop) as store:
        scorer = Scorer(Router(Candidate("1", Recorder(catalog))), catalog, store)
        scorer.score_all([payment(number) for number in (0, 40)])
        for transaction_id in ("t699", "live0", "t-of-nobody"):  # t699 is of the last day of the file
            scorer.label(transaction_id, True, payment(50)["event_us"])
    found = metadata_of(shop.run(FEEDBACK))
    assert found["live_transactions"]["not_validated"] == 2
    assert found["live_transactions"]["days_to_materialize"] == f"{LIVE_FIRST} to {LIVE_FIRST + timedelta(days=1)}"
    assert (found["feedback_labels"]["not_validated"], found["feedback_labels"]["without_a_transaction"]) == (2, 1)
    assert found["feedback_labels"]["days_to_materialize"] == f"{LAST} to {LIVE_FIRST}"
    assert found["decision_log"]["newest_event"] == "2026-03-16T08:00:00+00:00"
    assert metadata_of(shop.run(("online_state",)))["online_state"]["live_events_not_validated"] == 2


def test_before_there_is_a_store_nothing_is_drained_and_none_is_made(shop: Platform) -> None:
    found = metadata_of(shop.run((*FEEDBACK, "raw_transactions"), FIRST))
    assert found["decision_log"]["dagster/row_count"] == 0
    assert found["raw_transactions"]["live_rows_of_this_run"] == 0
    assert not shop.settings.online_store.exists()


def test_an_entry_that_cannot_be_read_warns_and_stops_nothing(shop: Platform) -> None:
    with opened(shop) as store:
        store.commit(store.read([], []), Change({}, {}, 0, [NewEntry(b"of a newer version")]))
    result = shop.run(FEEDBACK)
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("nothing_rejected", False, dg.AssetCheckSeverity.WARN)
    assert metadata_of(result)["decision_log"]["rejects"] == 1
