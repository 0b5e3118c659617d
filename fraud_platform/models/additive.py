"""Models whose score is a function of a sum, how the sum is shared among the inputs, and the file that keeps them.

The sum is the log odds of boosted trees and of a logistic regression, the mean probability of a random forest's trees,
and the mean depth in an isolation forest. Nothing that trains is imported.
"""

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import ArtefactError
from fraud_platform.models.algorithms import Matrix, filled_with
from fraud_platform.models.algorithms.logistic_regression import columns_of
from fraud_platform.models.onnx_graphs import Linear, Vector
from fraud_platform.models.tree_shap import Trees, count_rows, quadrature_for, shapley_values, trace_paths

LinkKind = Literal["identity", "sigmoid", "exponential"]
LINKS: dict[str, LinkKind] = {kind: kind for kind in get_args(LinkKind)}


class Link(NamedTuple):
    """From a sum to a score: the sum itself, 1 / (1 + exp(-sum)), or exp(rate * sum)."""

    kind: LinkKind
    rate: float = 1.0

    def __call__(self, total: float) -> float:
        if self.kind == "sigmoid":
            return 1.0 / (1.0 + math.exp(-total)) if total > -700.0 else 0.0
        return math.exp(self.rate * total) if self.kind == "exponential" else total


class Shares(NamedTuple):
    """A sum shared among the inputs: `base` + `values` (d,).sum(). The base is what the sum is on average."""

    base: float
    values: Vector


class TreeMember:
    """Trees that are summed up, and `base` with them; `fill` (d,) is what they see where an input is missing."""

    def __init__(self, trees: Trees, base: float, fill: NDArray[np.float32] | None, link: Link) -> None:
        self.trees, self.base, self.fill, self.link = trees, base, fill, link
        self._paths = trace_paths(trees)
        self._rule = quadrature_for(self._paths)

    def averaged_over(self, rows: Matrix) -> "TreeMember":
        """This, with these rows as those that the trees' covers count."""
        cover = count_rows(self.trees, self._seen(rows))
        return TreeMember(self.trees._replace(cover=cover), self.base, self.fill, self.link)

    def shares(self, row: NDArray[np.float32]) -> Shares:
        """The Shapley values of the row (d,), with path-dependent expectations."""
        values = np.zeros(row.size)
        shapley_values(self.trees, self._paths, self._rule, self._seen(row), values)
        return Shares(self.base + self._paths.base, values)

    def arrays(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        fill = {} if self.fill is None else {"fill": self.fill}
        return {**self.trees._asdict(), **fill, "base": self.base, "link": self.link.kind, "rate": self.link.rate}

    def _seen(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return rows if self.fill is None else filled_with(rows, self.fill)


class LinearMember:
    """A linear model; `means` (d,) are those of its inputs' terms. Its sum is the log odds."""

    link = Link("sigmoid")

    def __init__(self, linear: Linear, means: Vector | None = None) -> None:
        self.linear = linear
        self.means = np.zeros(len(linear.fill)) if means is None else means

    def averaged_over(self, rows: Matrix) -> "LinearMember":
        """This, with the mean terms of these rows."""
        return LinearMember(self.linear, self._terms(rows).mean(axis=0))

    def shares(self, row: NDArray[np.float32]) -> Shares:
        """The Shapley values of the row (d,): how far each term is from its mean."""
        return Shares(self.linear.intercept + float(self.means.sum()), self._terms(row) - self.means)

    def arrays(self) -> dict[str, Any]:
        return {**self.linear._asdict(), "means": self.means}

    def _terms(self, rows: Matrix) -> Vector:
        """What each input adds to the log odds."""
        filled, squashed, missing = columns_of(self.linear, rows)
        linear = self.linear
        return filled * linear.weights + squashed * linear.squashed_weights + missing * linear.missing_weights


Member = TreeMember | LinearMember


def write_members(members: Sequence[Member], path: Path) -> None:
    """Write an .npz of plain arrays; the same members give the same bytes."""
    arrays = {
        f"{number}.{name}": np.asarray(value)
        for number, member in enumerate(members)
        for name, value in member.arrays().items()
    }
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def read_members(path: Path, width: int) -> tuple[Member, ...]:
    """The members that `write_members` wrote, each of `width` inputs.

    Raises:
        ArtefactError: if the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        count = len({name.partition(".")[0] for name in arrays})
        return tuple(_member(arrays, f"{number}.", width) for number in range(count))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ArtefactError(f"{path} cannot be read: {error!r}. Copy it again from where it was made.") from error


def _member(arrays: Mapping[str, NDArray[Any]], prefix: str, width: int) -> Member:
    if prefix + "means" in arrays:
        *vectors, intercept = (arrays[prefix + name] for name in Linear._fields)
        vectors.append(means := arrays[prefix + "means"])
        if any(vector.shape != (width,) for vector in vectors):
            raise ValueError(f"A linear model has other than {width} inputs")
        return LinearMember(Linear(*vectors[:-1], intercept=float(intercept)), means)
    trees = Trees(*(arrays[prefix + name] for name in Trees._fields))
    fill = arrays.get(prefix + "fill")
    kind = str(arrays[prefix + "link"])
    if kind not in LINKS or (fill is not None and fill.shape != (width,)) or not _is_sound(trees, width):
        raise ValueError(f"Its trees do not hang together, or have other than {width} inputs")
    return TreeMember(trees, float(arrays[prefix + "base"]), fill, Link(LINKS[kind], float(arrays[prefix + "rate"])))


def _is_sound(trees: Trees, width: int) -> bool:
    """Whether the kernels stay within the arrays."""
    nodes, sizes = trees.feature.size, np.diff(trees.offsets)
    if any(part.shape != (nodes,) for part in trees[1:]) or (sizes < 1).any() or sizes.sum() != nodes:
        return False
    place = np.arange(nodes) - np.repeat(trees.offsets[:-1], sizes)
    split = trees.feature >= 0
    children = (trees.right > place + 1) & (trees.right < np.repeat(sizes, sizes))
    return bool(trees.offsets[0] == 0 and (trees.feature < width).all() and children[split].all())
