"""Exact Shapley values of an ensemble of trees. Knows nothing of models and probabilities.

They are those of TreeSHAP with path-dependent expectations (Lundberg, Erion and Lee, "Consistent Individualized Feature
Attribution for Tree Ensembles", 2018, Algorithm 2): to a coalition of known inputs a tree is worth the mean of its
leaves, where a split on an unknown input sends on to each side the share of the rows that went there.

A leaf is then worth its value v times a factor for each input that is split on above it: `o` where the input is known
(1 if the row goes this way, else 0), `z` where it is not (the product of the shares). The leaf's Shapley values are
integrals over t from 0 to 1 of a derivative of the multilinear extension (Owen, "Multilinear Extensions of Games",
1972),

    v (o_i - z_i) * product over the other inputs j of (o_j t + z_j (1 - t)),

a polynomial of lower degree than there are inputs, k, which Gauss's quadrature with k/2 points integrates exactly. The
products are carried down from the root, a number for each point, and their sums over the leaves back up, as Linear
TreeShap does with polynomials (Yu et al., 2022). Each node is visited twice; Algorithm 2 takes the square of the depth.

All kernels stand in this one file, which is what Numba's cache looks at (`features.compilation`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_platform.features.compilation import compiled

Ints = NDArray[np.int32]


class Trees(NamedTuple):
    """Trees one after the other, each in preorder: its root first, and the left child of a node right behind it.

    Attributes:
        offsets: (trees + 1,), where each tree begins; the last is the number of nodes.
        feature: (nodes,), what is split on; -1 in a leaf.
        threshold: float32 (nodes,): at or below it a row goes left.
        missing_left: bool (nodes,): where a row without the input goes.
        right: (nodes,), the right child, counted from the tree's root; 0 in a leaf.
        value: float64 (nodes,), what a leaf adds; 0 in a split.
        cover: (nodes,), how many rows of the training sample reach the node.
    """

    offsets: Ints
    feature: Ints
    threshold: NDArray[np.float32]
    missing_left: NDArray[np.bool_]
    right: Ints
    value: NDArray[np.float64]
    cover: Ints


class Paths(NamedTuple):
    """What `Trees` and their covers say of the way to each node, whatever the row; node numbers count from the root.

    Attributes:
        parent: (nodes,).
        earlier: (nodes,), the nearest node above whose parent splits on the same input as this one's; -1 without one.
        share: float64 (nodes,), the product of the shares of the rows at the splits on that input, down to the node.
        inputs: (trees,), the most inputs that are split on above a leaf.
        base: the mean of the trees' sum, as the covers weigh it.
    """

    parent: Ints
    earlier: Ints
    share: NDArray[np.float64]
    inputs: Ints
    base: float


class Quadrature(NamedTuple):
    """Gauss's points and weights on [0, 1], each (n, n): row k - 1 is the rule of k points, filled up with zeros."""

    points: NDArray[np.float64]
    weights: NDArray[np.float64]


def quadrature_for(paths: Paths) -> Quadrature:
    """Rules that integrate exactly what the paths need."""
    most = max(int(paths.inputs.max(initial=0) + 1) // 2, 1)
    points, weights = np.zeros((most, most)), np.zeros((most, most))
    for number in range(1, most + 1):
        at, weight = np.polynomial.legendre.leggauss(number)
        points[number - 1, :number], weights[number - 1, :number] = (at + 1) / 2, weight / 2
    return Quadrature(points, weights)


@compiled
def count_rows(trees: Trees, rows: NDArray[np.float32]) -> Ints:
    """How many of the rows (n, d) reach each node: (nodes,)."""
    cover = np.zeros(trees.feature.size, np.int32)
    for tree in range(trees.offsets.size - 1):
        root = trees.offsets[tree]
        for row in range(rows.shape[0]):
            node = root
            cover[node] += 1
            while trees.feature[node] >= 0:
                value = rows[row, trees.feature[node]]
                left = trees.missing_left[node] if np.isnan(value) else value <= trees.threshold[node]
                node = node + 1 if left else root + trees.right[node]
                cover[node] += 1
    return cover


@compiled
def trace_paths(trees: Trees) -> Paths:
    """The paths of trees. Below a node that no row reached, each side is given half."""
    parent = np.zeros(trees.feature.size, np.int32)
    earlier = np.full(trees.feature.size, -1, np.int32)
    share = np.ones(trees.feature.size)
    weight = np.ones(trees.feature.size)
    inputs = np.zeros(trees.offsets.size - 1, np.int32)
    distinct = np.zeros(trees.feature.size, np.int32)
    base = 0.0
    for tree in range(trees.offsets.size - 1):
        root = trees.offsets[tree]
        for node in range(root, trees.offsets[tree + 1]):
            if node > root:
                above = root + parent[node]
                fraction = trees.cover[node] / trees.cover[above] if trees.cover[above] else 0.5
                weight[node] = weight[above] * fraction
                at = above  # up to the nearest node whose parent splits on the same input
                while at > root and trees.feature[root + parent[at]] != trees.feature[above]:
                    at = root + parent[at]
                if at > root:
                    earlier[node] = at - root
                    fraction *= share[at]
                share[node] = fraction
                distinct[node] = distinct[above] + (at == root)
            if trees.feature[node] >= 0:
                parent[node + 1] = node - root
                parent[root + trees.right[node]] = node - root
            else:
                base += trees.value[node] * weight[node]
                inputs[tree] = max(inputs[tree], distinct[node])
    return Paths(parent, earlier, share, inputs, base)


@compiled
def shapley_values(
    trees: Trees, paths: Paths, rule: Quadrature, row: NDArray[np.float32], values: NDArray[np.float64]
) -> None:
    """Add what each input of the row (d,) adds to the trees' sum over `paths.base` to `values` (d,)."""
    largest = 1
    for tree in range(trees.offsets.size - 1):
        largest = max(largest, trees.offsets[tree + 1] - trees.offsets[tree])
    products = np.empty((largest, rule.points.shape[1]))
    followed = np.empty(largest, np.bool_)
    for tree in range(trees.offsets.size - 1):
        first, end = trees.offsets[tree], trees.offsets[tree + 1]
        used = (paths.inputs[tree] + 1) // 2
        if used > 0:
            _down(trees, paths, rule, used, row, first, end, products, followed)
            _up(trees, paths, rule, used, first, end, products, followed, values)


@compiled
def _down(
    trees: Trees,
    paths: Paths,
    rule: Quadrature,
    used: int,
    row: NDArray[np.float32],
    first: int,
    end: int,
    products: NDArray[np.float64],
    followed: NDArray[np.bool_],
) -> None:
    """Fill `products` with each node's product of factors at each point, times its weight and, in leaves, the value."""
    points = rule.points[used - 1]
    for point in range(used):
        products[0, point] = rule.weights[used - 1, point]
    for node in range(1, end - first):
        place = first + node
        above = paths.parent[place]
        split = first + above
        value = row[trees.feature[split]]
        goes_left = trees.missing_left[split] if np.isnan(value) else value <= trees.threshold[split]
        earlier = paths.earlier[place]
        follows = goes_left == (node == above + 1) and (earlier < 0 or followed[earlier])
        followed[node] = follows
        scale = trees.value[place] if trees.feature[place] < 0 else 1.0
        known, unknown = (scale if follows else 0.0), scale * paths.share[place]
        if earlier < 0:
            for point in range(used):
                factor = known * points[point] + unknown * (1.0 - points[point])
                products[node, point] = products[above, point] * factor
        elif followed[earlier]:  # this split's factor takes the place of that of the one further up
            share = paths.share[first + earlier]
            for point in range(used):
                factor = known * points[point] + unknown * (1.0 - points[point])
                replaced = points[point] + share * (1.0 - points[point])
                products[node, point] = products[above, point] * factor / replaced
        else:
            share = paths.share[first + earlier]
            ratio = unknown / share if share > 0.0 else 0.0
            for point in range(used):
                products[node, point] = products[above, point] * ratio


@compiled
def _up(
    trees: Trees,
    paths: Paths,
    rule: Quadrature,
    used: int,
    first: int,
    end: int,
    products: NDArray[np.float64],
    followed: NDArray[np.bool_],
    values: NDArray[np.float64],
) -> None:
    """Sum the leaves below each node into its `products`, and add what the split above it says of its input."""
    points = rule.points[used - 1]
    for node in range(end - first - 1, 0, -1):  # children come after their parents
        place = first + node
        above = paths.parent[place]
        earlier = paths.earlier[place]
        total = 0.0
        if followed[node]:
            total += _known(products, node, points, used, float(paths.share[place]))
        elif paths.share[place] > 0.0 and (earlier < 0 or followed[earlier]):
            for point in range(used):
                total -= products[node, point] / (1.0 - points[point])
        if earlier >= 0 and followed[earlier]:  # whose own part counts these leaves too, with its factor
            total -= _known(products, node, points, used, float(paths.share[first + earlier]))
        values[trees.feature[first + above]] += total
        if node == above + 1:
            for point in range(used):
                products[above, point] += products[node, point]
        else:
            for point in range(used):
                products[above, point] = products[node, point]


@compiled
def _known(products: NDArray[np.float64], node: int, points: NDArray[np.float64], used: int, share: float) -> float:
    """The sum over the points of (1 - z) / (t + z (1 - t)) times the leaves below."""
    total = 0.0
    for point in range(used):
        total += products[node, point] / (points[point] + share * (1.0 - points[point]))
    return total * (1.0 - share)
