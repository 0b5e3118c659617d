"""Shapley values as they are defined: every coalition, and a tree walked for each of them."""

from collections.abc import Callable, Iterable
from itertools import combinations
from math import comb, isnan

import numpy as np

from fraud_platform.models.tree_shap import Trees


def shapley_of(worth: Callable[[frozenset[int]], float], inputs: int) -> np.ndarray:
    """Of a game of `inputs` players: (inputs,)."""
    values = np.zeros(inputs)
    for player in range(inputs):
        others = [other for other in range(inputs) if other != player]
        for size in range(inputs):
            for coalition in map(frozenset, combinations(others, size)):
                gain = worth(coalition | {player}) - worth(coalition)
                values[player] += gain / (inputs * comb(inputs - 1, size))
    return values


def worth_of_trees(trees: Trees, row: np.ndarray, known: Iterable[int]) -> float:
    """The trees' sum where only some inputs are known; elsewhere the covers say how much of it is on each side."""
    known = frozenset(known)

    def below(root: int, node: int) -> float:
        feature = trees.feature[node]
        if feature < 0:
            return float(trees.value[node])
        left, right = node + 1, root + int(trees.right[node])
        if feature in known:
            return below(root, left if goes_left(trees, row, node) else right)
        reached = int(trees.cover[node])
        share = trees.cover[left] / reached if reached else 0.5
        return share * below(root, left) + (1 - share) * below(root, right)

    return sum(below(int(root), int(root)) for root in trees.offsets[:-1])


def goes_left(trees: Trees, row: np.ndarray, node: int) -> bool:
    value = float(row[trees.feature[node]])
    return bool(trees.missing_left[node]) if isnan(value) else value <= trees.threshold[node]


def covers_of(trees: Trees, rows: np.ndarray) -> np.ndarray:
    """How many rows reach each node."""
    cover = np.zeros(len(trees.feature), int)
    for row in rows:
        for root in map(int, trees.offsets[:-1]):
            node = root
            cover[node] += 1
            while trees.feature[node] >= 0:
                node = node + 1 if goes_left(trees, row, node) else root + int(trees.right[node])
                cover[node] += 1
    return cover
