from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fraud_platform.models.reference import DECILES, distribution, profile

FLOATS = st.floats(width=32, allow_infinity=False)


@given(hnp.arrays(np.float32, st.integers(0, 60), elements=FLOATS))
def test_shares_agree_with_a_naive_count(values: np.ndarray):
    found = distribution(values)
    present = [float(value) for value in values if not np.isnan(value)]
    assert found.missing == pytest.approx(1 - len(present) / len(values) if len(values) else 0)
    if not present:
        assert (found.edges, found.shares) == ((), ())
        return
    bounds = [-np.inf, *found.edges, np.inf]
    naive = [sum(low <= value < high for value in present) / len(present) for low, high in pairwise(bounds)]
    assert found.shares == pytest.approx(naive)
    assert list(found.edges) == sorted(set(found.edges))
    assert len(found.shares) <= 2 * len(DECILES) + 1


def test_even_values_fall_in_deciles():
    shares = distribution(np.arange(1_000, dtype=np.float32)).shares
    assert shares == pytest.approx([0.1] * 9 + [0.05, 0.04, 0.01], abs=0.002)


def test_a_heavy_value_has_a_bin_of_its_own():
    found = distribution(np.array([0] * 95 + [1, 2, 3, 4, 5], dtype=np.float32))
    assert found.shares[:2] == pytest.approx((0.0, 0.95))


def test_a_constant_is_one_bin():
    assert distribution(np.full(10, 3, dtype=np.float32)).shares == (0.0, 1.0, 0.0)


def test_a_profile_names_each_input_and_takes_the_score_from_validation():
    inputs = np.array([[1, np.nan], [2, np.nan]], dtype=np.float32)
    found = profile(inputs, ("amount", "count"), np.array([0.5, 0.25, 0.125]))
    assert (found.rows, found.score_rows, list(found.inputs)) == (2, 3, ["amount", "count"])
    assert found.inputs["count"].missing == 1.0
