"""The kernel against the definition, on any small trees: repeated inputs, sides that no row reached, missing values."""

import threading
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fraud_platform.models.tree_shap import Trees, count_rows, quadrature_for, shapley_values, trace_paths
from fraud_platform_tests.models.naive_shapley import covers_of, shapley_of, worth_of_trees

INPUTS = 4
THRESHOLDS = [-1.0, 0.0, 0.5, 1.0]
LEAF = st.floats(-3, 3, width=32)
NUMBER = st.sampled_from([float("nan"), -2.0, -1.0, 0.0, 0.25, 0.5, 1.0, 2.0])
ROW = st.lists(NUMBER, min_size=INPUTS, max_size=INPUTS)
NODE = st.recursive(
    LEAF,
    lambda below: st.tuples(st.integers(0, INPUTS - 1), st.sampled_from(THRESHOLDS), st.booleans(), below, below),
    max_leaves=12,
)
FOREST = st.lists(NODE, min_size=1, max_size=3)


def trees_of(forest: list, rows: np.ndarray) -> Trees:
    """Nested (feature, threshold, missing left, left, right), or a leaf's value, as arrays; covers from the rows."""
    nodes: list[list] = []
    sizes: list[int] = []

    def add(node, root: int) -> None:
        place = len(nodes)
        if isinstance(node, float):
            nodes.append([-1, 0.0, False, 0, node])
            return
        feature, threshold, missing_left, left, right = node
        nodes.append([feature, threshold, missing_left, 0, 0.0])
        add(left, root)
        nodes[place][3] = len(nodes) - root
        add(right, root)

    for tree in forest:
        before = len(nodes)
        add(tree, before)
        sizes.append(len(nodes) - before)
    columns = [np.array(column) for column in zip(*nodes, strict=True)]
    trees = Trees(
        np.array([0, *accumulate(sizes)], np.int32),
        columns[0].astype(np.int32),
        columns[1].astype(np.float32),
        columns[2].astype(np.bool_),
        columns[3].astype(np.int32),
        columns[4].astype(np.float64),
        np.zeros(len(nodes), np.int32),
    )
    return trees._replace(cover=count_rows(trees, rows))


def shared(trees: Trees, row: np.ndarray) -> tuple[float, np.ndarray]:
    paths = trace_paths(trees)
    values = np.zeros(row.size)
    shapley_values(trees, paths, quadrature_for(paths), row, values)
    return paths.base, values


def matrix(rows: list) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, INPUTS)


STUMP = (1, 0.0, True, 1.0, 2.0)


@settings(deadline=None)
@given(FOREST, st.lists(ROW, max_size=8), ROW)
@example([5.0], [], [0.0] * INPUTS)  # a single leaf
@example([STUMP], [[0.0, -1.0, 0.0, 0.0]], [0.0, 1.0, 0.0, 0.0])  # a side that no train row reached
@example([STUMP], [], [float("nan")] * INPUTS)  # no train rows at all
@example(
    [(0, 0.0, True, (0, -1.0, False, (0, -1.0, True, 1.0, 2.0), 3.0), (0, 1.0, True, 4.0, 5.0))], [], [0.0] * INPUTS
)
def test_values_are_those_of_the_definition(forest: list, train: list, row: list) -> None:
    trees, asked = trees_of(forest, matrix(train)), matrix(row)[0]
    base, values = shared(trees, asked)
    expected = shapley_of(lambda known: worth_of_trees(trees, asked, known), INPUTS)
    np.testing.assert_allclose(values, expected, atol=1e-12)
    assert base == pytest.approx(worth_of_trees(trees, asked, ()), abs=1e-12)
    assert base + values.sum() == pytest.approx(worth_of_trees(trees, asked, range(INPUTS)), abs=1e-12)


@settings(deadline=None)
@given(FOREST, st.lists(ROW, max_size=20))
def test_covers_count_the_rows_that_reach_a_node(forest: list, train: list) -> None:
    trees = trees_of(forest, matrix(train))
    np.testing.assert_array_equal(trees.cover, covers_of(trees, matrix(train)))


@pytest.mark.parametrize("depth", [11, 12])
def test_a_path_through_many_inputs_is_integrated_exactly(depth: int) -> None:
    """As many inputs above a leaf as quadrature has to be exact for; an odd and an even number of them."""
    random = np.random.default_rng(depth)
    rows = random.normal(size=(400, depth)).astype(np.float32)
    chain = 1.0
    for feature in range(depth):
        chain = (feature, 1.0, False, chain, float(random.normal()))
    trees, row = trees_of([chain], rows), np.zeros(depth, np.float32)
    expected = shapley_of(lambda known: worth_of_trees(trees, row, known), depth)
    np.testing.assert_allclose(shared(trees, row)[1], expected, atol=1e-13)


def test_inputs_that_no_tree_splits_on_get_nothing_and_alike_ones_the_same() -> None:
    both = (0, 0.0, False, (1, 0.0, False, 0.0, 0.0), (1, 0.0, False, 0.0, 8.0))
    rows = np.array([[-1, -1, 0, 0], [-1, 1, 0, 0], [1, -1, 0, 0], [1, 1, 0, 0]], np.float32)
    base, values = shared(trees_of([both], rows), rows[3])
    assert (base, values.tolist()) == (2.0, [3.0, 3.0, 0.0, 0.0])


def test_a_deep_tree_adds_up_to_its_leaf() -> None:
    """A hundred inputs on one path: the rule has fifty points."""
    depth = 100
    rows = np.random.default_rng(1).normal(size=(1000, depth)).astype(np.float32)
    chain = 1.0
    for feature in range(depth):
        chain = (feature, 3.0, False, chain, 0.0)
    trees = trees_of([chain], rows)
    base, values = shared(trees, rows[0])
    assert base + values.sum() == pytest.approx(worth_of_trees(trees, rows[0], range(depth)), abs=1e-12)


def test_threads_get_what_one_gets() -> None:
    random = np.random.default_rng(2)
    rows = random.normal(size=(50, INPUTS)).astype(np.float32)
    trees = trees_of([STUMP, (0, 0.5, False, STUMP, 3.0)], rows)
    expected, found = [shared(trees, row)[1] for row in rows], {}

    def ask(number: int) -> None:
        found[number] = [shared(trees, row)[1] for row in rows]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(found[number], expected)
