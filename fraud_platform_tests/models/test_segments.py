import numpy as np
import polars as pl
import pytest

from fraud_platform.features.catalog import FEATURES, SEGMENTS
from fraud_platform.models.costs import CostMatrix, DecidedRows, Thresholds, decide
from fraud_platform.models.segments import Draws, SegmentFigures, by_fraud_type, by_segment

COSTS = CostMatrix(missed_fraud_fee=100, review=10, blocked_good=50)
LABELS = np.array([True, False, True, False])
SCORES = np.array([0.9, 0.8, 0.2, 0.1])
AMOUNTS = np.array([999, 1_000, 4_999, 250_000])


def rows(labels: np.ndarray = LABELS, amounts: np.ndarray = AMOUNTS) -> DecidedRows:
    return decide(labels, amounts, SCORES, Thresholds(0.5), COSTS)


def test_amount_bands_are_named_in_major_units_and_take_their_lower_bound():
    found = by_segment(rows(), None)
    assert {name: of.rows for name, of in found.items()} == {
        "amount 0 to 10": 1,
        "amount 10 to 50": 2,
        "amount from 1000": 1,
    }


def test_the_figures_of_a_segment_are_those_of_its_rows():
    assert by_segment(rows(), None)["amount 10 to 50"] == SegmentFigures(
        rows=2, frauds=1, roc_auc=0.0, average_precision=0.5, precision=0.0, recall=0.0, saved=-10
    )


def test_a_segment_of_one_class_has_no_ranking():
    found = by_segment(rows(), None)["amount 0 to 10"]
    assert (found.roc_auc, found.average_precision, found.precision, found.recall) == (None, None, 1.0, 1.0)


def test_the_money_of_the_amount_bands_sums_to_the_whole():
    assert sum(of.saved for of in by_segment(rows(), None).values()) == rows().gains.sum()


def test_a_negative_amount_belongs_to_the_first_band():
    assert by_segment(rows(amounts=np.full(4, -5)), None)["amount 0 to 10"].rows == 4


def test_features_make_segments_where_the_frame_has_them():
    found = by_segment(rows(), pl.DataFrame({"is_foreign": [1.0, 0.0, 0.0, 0.0]}))
    assert (found["abroad"].rows, found["at home"].rows) == (1, 3)
    assert "online" not in found


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_row_without_the_feature_is_in_no_segment_of_it(missing: float | None):
    found = by_segment(rows(), pl.DataFrame({"is_foreign": [1.0, 0.0, missing, missing]}))
    assert (found["abroad"].rows, found["at home"].rows) == (1, 1)


def test_customers_with_few_payments_are_a_segment():
    found = by_segment(rows(), pl.DataFrame({"customer_count_30d": [0.0, 4.0, 5.0, float("nan")]}))
    assert found["customer with under 5 payments in 30 days"].rows == 2


def test_a_segment_without_rows_is_left_out():
    assert "abroad" not in by_segment(rows(), pl.DataFrame({"is_foreign": [0.0] * 4}))


def test_the_segments_ask_for_features_of_the_catalog():
    assert {segment.feature for segment in SEGMENTS} <= {feature.name for feature in FEATURES}


def test_types_of_legitimate_rows_are_ignored():
    found = by_fraud_type(rows(), pl.Series(["stolen", "stolen", None, "leaked"]))
    assert {name: (of.frauds, of.found) for name, of in found.items()} == {"stolen": (1, 1), "unknown": (1, 0)}


def many_rows() -> tuple[DecidedRows, np.ndarray]:
    """3,000 payments of 200 customers, a tenth of them fraud, and who made each."""
    random = np.random.default_rng(4)
    labels = random.random(3000) < 0.1
    scores = np.clip(random.normal(0.3 + 0.3 * labels, 0.2), 0, 1)
    decided = decide(labels, random.integers(1, 200_000, 3000), scores, Thresholds(0.5), COSTS)
    return decided, random.integers(0, 200, 3000)


def test_intervals_of_a_segment_are_those_of_drawn_customers():
    """As a naive bootstrap gives them: the rows of each drawn customer, copied."""
    decided, customers = many_rows()
    mask = decided.amounts >= 100_000
    found = by_segment(decided, None, Draws(customers, 200, 300, seed=9))["amount from 1000"]
    random, recalls, saved = np.random.default_rng(9), [], []
    rows_of = [np.flatnonzero((customers == customer) & mask) for customer in range(200)]
    for _ in range(300):
        drawn = np.concatenate([rows_of[customer] for customer in random.integers(0, 200, 200)])
        recalls.append(decided.alerts[drawn][decided.labels[drawn]].mean())
        saved.append(decided.gains[drawn].sum())
    for name, values in (("recall", recalls), ("saved", saved)):
        interval = found.intervals[name]
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975]))), name
        assert interval.value == pytest.approx(getattr(found, name)), name


def test_a_type_of_fraud_has_intervals_of_its_recall_and_its_money():
    decided, customers = many_rows()
    types = pl.Series(np.where(np.arange(3000) % 2, "stolen", "leaked"))
    found = by_fraud_type(decided, types, Draws(customers, 200, 100, seed=1))
    for of in found.values():
        assert of.intervals.keys() == {"recall", "saved"}
        assert of.intervals["recall"].low < of.recall < of.intervals["recall"].high


def test_an_undefined_figure_has_no_interval():
    decided, customers = many_rows()
    legitimate = decide(np.zeros(3000, bool), decided.amounts, decided.probabilities, Thresholds(0.5), COSTS)
    found = by_segment(legitimate, None, Draws(customers, 200, 20, seed=1))["amount from 1000"]
    assert found.intervals.keys() == {"precision", "saved"}
