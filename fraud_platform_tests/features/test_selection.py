import pytest

from fraud_platform.errors import CatalogError
from fraud_platform.features.expressions import DAY
from fraud_platform.features.selection import Catalog, build_catalog
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

CATALOG = build_catalog(TRANSACTION_COLUMNS, ["tenure"], 7 * DAY)


def test_a_source_with_every_column_has_more_than_sixty_inputs() -> None:
    assert len(CATALOG.names) >= 60 and CATALOG.dropped == {}


def test_a_feature_drops_out_with_the_columns_that_the_source_lacks() -> None:
    catalog = build_catalog({"customer_id", "amount_cents"}, [], 7 * DAY)
    assert catalog.dropped["merchant_count_1d"] == ("merchant_id",)
    assert "merchant_count_1d" not in catalog.names
    assert "customer_count_1d" in catalog.names


def test_the_fingerprint_changes_with_the_delay_and_the_features() -> None:
    catalogs = [
        CATALOG,
        build_catalog(TRANSACTION_COLUMNS, ["tenure"], 8 * DAY),
        build_catalog(TRANSACTION_COLUMNS, [], 7 * DAY),
    ]
    assert len({catalog.fingerprint for catalog in catalogs}) == 3


def test_an_attribute_may_not_take_the_name_of_a_feature() -> None:
    with pytest.raises(CatalogError, match="amount_log"):
        build_catalog(TRANSACTION_COLUMNS, ["amount_log"], 7 * DAY)


@pytest.mark.parametrize("delay", [DAY + 1, -DAY, 181 * DAY])
def test_a_label_delay_that_windows_cannot_have_is_refused(delay: int) -> None:
    with pytest.raises(CatalogError, match="whole number"):
        build_catalog(TRANSACTION_COLUMNS, [], delay)


def test_the_longest_label_delay_is_within_reach() -> None:
    windows = map(build_catalog(TRANSACTION_COLUMNS, [], 180 * DAY).window, CATALOG.all_rollings)
    assert max(window.reach_us for window in windows) == 210 * DAY


def test_names_are_unique() -> None:
    assert len(set(CATALOG.names)) == len(CATALOG.names)


def test_every_rolling_aggregate_is_folded_once() -> None:
    assert len(CATALOG.all_rollings) == len(set(CATALOG.all_rollings))


def test_the_look_back_reaches_the_oldest_event_of_any_window() -> None:
    assert isinstance(CATALOG, Catalog)
    windows = map(CATALOG.window, CATALOG.all_rollings)
    assert CATALOG.look_back_us >= max(window.reach_us + window.step_us for window in windows)
