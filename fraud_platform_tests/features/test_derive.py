"""The shared row step: each function against plain Python, and the compiler of formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError
from fraud_platform.features.columns import text_code
from fraud_platform.features.derive import Derivation
from fraud_platform.features.expressions import Call, Column, Expression, Rolling
from fraud_platform.features.fold import NULL
from fraud_platform.features.functions import FUNCTIONS

A, B, C, D = (Column(name) for name in "abcd")
DAY_US = 86_400_000_000
MONDAY = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z


def evaluate(formula: Expression, **columns: float) -> float:
    names = sorted(columns)
    out = np.empty((1, 1), np.float32)
    matrix = np.array([[columns[name]] for name in names], np.float64).reshape(len(names), 1)
    Derivation([formula], names, []).to_floats(matrix, np.empty((0, 1), np.int64), out)
    return float(out[0, 0])


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        ("add", (2, 3), 5),
        ("subtract", (2, 3), -1),
        ("multiply", (2, 3), 6),
        ("divide", (3, 2), 1.5),
        ("divide", (3, 0), math.nan),
        ("divide", (0, 0), math.nan),
        ("minimum", (3, 2), 2),
        ("minimum", (math.nan, 2), math.nan),
        ("log1p", (math.e - 1,), 1),
        ("sin_turn", (0.25,), 1),
        ("cos_turn", (0.5,), -1),
        ("is_multiple", (2000, 1000), 1),
        ("is_multiple", (2001, 1000), 0),
        ("equals", (1, 1), 1),
        ("equals", (1, 2), 0),
        ("equals", (math.nan, 1), math.nan),
        ("differs", (1, 2), 1),
        ("differs", (1, math.nan), math.nan),
        ("between", (0.25, 0.25, 0.5), 1),
        ("between", (0.5, 0.25, 0.5), 0),
        ("between", (math.nan, 0, 1), math.nan),
        ("deviation", (2, 4, 10), 1),
        ("deviation", (1, 4, 16), math.nan),
        ("deviation", (3, 3, 3 - 1e-12), 0),
        ("distance_km", (0, 0, 0, 180), math.pi * 6371.0088),
        ("distance_km", (52.52, 13.405, 48.8566, 2.3522), 877.46),  # Berlin to Paris
        ("distance_km", (0, 0, math.nan, 0), math.nan),
        ("micro", (1.2345675,), 1234568),
        ("micro", (-0.0000005,), 0),
        ("day_fraction", (MONDAY + DAY_US // 4,), 0.25),
        ("weekday", (MONDAY + DAY_US - 1,), 0),
        ("weekday", (MONDAY + 6 * DAY_US,), 6),
    ],
)
def test_a_function_gives_what_its_name_says(function: str, arguments: tuple[float, ...], expected: float) -> None:
    names = "abcd"[: len(arguments)]
    found = evaluate(Call(function, tuple(map(Column, names))), **dict(zip(names, arguments, strict=True)))
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_missing_argument_gives_a_missing_result(function: str) -> None:
    arity = FUNCTIONS[function].arity
    for missing in range(arity):
        columns = {name: math.nan if place == missing else 2.0 for place, name in enumerate("abcd"[:arity])}
        assert math.isnan(evaluate(Call(function, tuple(map(Column, columns))), **columns)), missing


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=600))
def test_many_rows_give_to_the_last_bit_what_each_row_gives_alone(rows: list[tuple[float, float]]) -> None:
    formula = Call("divide", (Call("sin_turn", (A,)), Call("add", (B, Call("log1p", (Call("multiply", (A, A)),))))))
    derivation = Derivation([formula, A], ["a", "b"], [])
    matrix = np.array(rows).T.copy()
    together, alone = np.empty((len(rows), 2), np.float32), np.empty((len(rows), 2), np.float32)
    derivation.to_floats(matrix, np.empty((0, len(rows)), np.int64), together)
    for row in range(len(rows)):
        one = np.ascontiguousarray(matrix[:, row : row + 1])
        derivation.to_floats(one, np.empty((0, 1), np.int64), alone[row : row + 1])
    assert together.tobytes() == alone.tobytes()


def test_aggregates_are_numbers_and_null_is_missing() -> None:
    rolling = Rolling(("a",), "max", B, 60_000_000)
    out = np.empty((2, 1), np.float32)
    derivation = Derivation([Call("add", (rolling, 1.0))], [], [rolling])
    derivation.to_floats(np.empty((0, 2)), np.array([[41, NULL]]), out)
    assert out[0, 0] == 42 and np.isnan(out[1, 0])


def test_text_is_compared_by_its_code() -> None:
    online = Call("equals", (A, "online"))
    assert [evaluate(online, a=text_code(word)) for word in ("online", "atm")] == [1, 0]


def test_integers_of_a_fold_are_exact_and_null_where_missing() -> None:
    values = np.array([[2.0**53 - 1, -3.0, math.nan]])
    assert Derivation([A], ["a"], []).to_integers(values).tolist() == [[2**53 - 1, -3, NULL]]


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(CatalogError, match=r"'cube'.*There are: add"):
        Derivation([Call("cube", (A,))], ["a"], [])


def test_a_wrong_number_of_arguments_is_named() -> None:
    with pytest.raises(CatalogError, match="divide takes 2 arguments, not 1"):
        Derivation([Call("divide", (A,))], ["a"], [])


def test_a_column_that_is_not_given_is_named() -> None:
    with pytest.raises(CatalogError, match="name='b'"):
        Derivation([Call("add", (A, B))], ["a"], [])
