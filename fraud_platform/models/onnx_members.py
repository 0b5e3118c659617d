"""Reads an ONNX graph back into what it is made of: trees and linear models whose mean it is.

Runs where an artefact is made, never in the service. It is the graph that is read and not the libraries' models: the
graph is what serves, and one format for them all.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import ArtefactError
from fraud_platform.models.additive import LinearMember, Link, Member, TreeMember
from fraud_platform.models.onnx_graphs import PROBABILITIES, Linear
from fraud_platform.models.tree_shap import Trees

if TYPE_CHECKING:
    from fraud_platform.models.dataset import Snapshot

MOST_ROWS = 200_000
"""Averages are over so many train rows at most: in 100 trees of depth 7, two thirds of a second."""

_CANNOT = "Only trees and `onnx_graphs.Linear` can be explained. Teach `onnx_members` to read this graph."
_LINKS = {"LOGISTIC": Link("sigmoid"), "NONE": Link("identity")}

Node = Any
Constants = Mapping[str, NDArray[Any]]


def explained(graph: bytes, snapshot: "Snapshot", columns: Sequence[str]) -> tuple[Member, ...]:
    """The models whose mean the graph is, with the averages of the train rows.

    Of more rows than `MOST_ROWS`, these are so many of them at equal distances in the order of their time: every k-th.

    Raises:
        ArtefactError: for a graph that is made of anything but trees and linear models.
    """
    from fraud_platform.models.training import input_matrix

    frame = snapshot.read("train", list(columns))
    chosen = np.linspace(0, frame.height - 1, min(frame.height, MOST_ROWS)).astype(np.int64)
    rows = input_matrix(frame[chosen], tuple(columns))
    return tuple(member.averaged_over(rows) for member in members_of(graph))


def members_of(graph: bytes) -> tuple[Member, ...]:
    """The models whose mean the graph is, as yet without what the training rows say of them.

    Raises:
        ArtefactError: for a graph that is made of anything else.
    """
    import onnx

    read = onnx.load_from_string(graph).graph
    made_by = {output: node for node in read.node for output in node.output}
    constants = {constant.name: onnx.numpy_helper.to_array(constant) for constant in read.initializer}
    last = made_by[PROBABILITIES]
    votes = last.input if last.op_type == "Mean" else [PROBABILITIES]
    return tuple(_member(vote.removesuffix(PROBABILITIES), _behind(vote, made_by), constants) for vote in votes)


def _behind(name: str, made_by: Mapping[str, Node]) -> list[Node]:
    """The nodes that a value is computed by."""
    waiting, found = [name], {}
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.output[0] not in found:
            found[node.output[0]] = node
            waiting += node.input
    return list(found.values())


def _member(prefix: str, nodes: list[Node], constants: Constants) -> Member:
    """One model of the mean, whose constants have a prefix."""
    by_type = {node.op_type: node for node in nodes}
    fill = constants.get(prefix + "fill")
    if "TreeEnsembleClassifier" in by_type:
        attributes = _attributes(by_type["TreeEnsembleClassifier"])
        transform = attributes.get("post_transform", "NONE")
        if transform not in _LINKS or len(set(attributes["class_ids"])) > 1:
            raise ArtefactError(f"The trees tell several classes apart, or go through {transform}. {_CANNOT}")
        return TreeMember(_trees(attributes, "class"), _base(attributes), fill, _LINKS[transform])
    if "TreeEnsembleRegressor" in by_type:
        attributes = _attributes(by_type["TreeEnsembleRegressor"])
        trees = _trees(attributes, "target")
        if attributes.get("aggregate_function") != "AVERAGE" or "Exp" not in by_type:
            raise ArtefactError(f"The trees are no `onnx_graphs.anomaly_graph`. {_CANNOT}")
        trees = trees._replace(value=trees.value / (trees.offsets.size - 1))
        rate = float(constants[prefix + "exponent"][0])
        return TreeMember(trees, _base(attributes), fill, Link("exponential", rate))
    names = [prefix + name for name in Linear._fields]
    if not all(name in constants for name in names):
        raise ArtefactError(f"The graph is made of {', '.join(sorted(by_type))}. {_CANNOT}")
    *vectors, intercept = (constants[name].ravel() for name in names)
    return LinearMember(Linear(*vectors, intercept=float(intercept[0])))


def _attributes(node: Node) -> dict[str, Any]:
    import onnx

    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def _base(attributes: Mapping[str, Any]) -> float:
    """What is added to the sum of the trees."""
    return float(attributes.get("base_values", [0.0])[-1])


def _trees(attributes: Mapping[str, Any], kind: str) -> Trees:
    """The operator's trees in preorder; `kind` is what its leaves are attributes of: class or target."""
    at = {key: node for node, key in enumerate(_keys(attributes, "nodes"))}
    weights = dict.fromkeys(range(len(at)), 0.0)
    for key, weight in zip(_keys(attributes, kind), attributes[f"{kind}_weights"], strict=True):
        weights[at[key]] += weight
    order, right, offsets = _preorder(attributes, at)
    modes = np.array(attributes["nodes_modes"])[order]
    if unknown := set(modes.tolist()) - {b"LEAF", b"BRANCH_LEQ", b"BRANCH_LT"}:
        raise ArtefactError(f"The trees split by {sorted(unknown)}. {_CANNOT}")
    leaf = modes == b"LEAF"
    threshold = np.array(attributes["nodes_values"], np.float32)[order]
    missing_left = np.array(attributes.get("nodes_missing_value_tracks_true", [0] * len(at)), np.bool_)[order]
    return Trees(
        offsets=offsets,
        feature=np.where(leaf, -1, np.array(attributes["nodes_featureids"])[order]).astype(np.int32),
        # Below a threshold is at or below the float32 before it.
        threshold=np.where(modes == b"BRANCH_LT", np.nextafter(threshold, np.float32(-np.inf)), threshold),
        missing_left=missing_left,
        right=right,
        value=np.where(leaf, np.array([weights[node] for node in order]), 0.0),
        cover=np.zeros(len(at), np.int32),
    )


def _keys(attributes: Mapping[str, Any], kind: str) -> list[tuple[int, int]]:
    """The (tree, node) of each entry."""
    return list(zip(attributes[f"{kind}_treeids"], attributes[f"{kind}_nodeids"], strict=True))


def _preorder(
    attributes: Mapping[str, Any], at: Mapping[tuple[int, int], int]
) -> tuple[list[int], NDArray[np.int32], NDArray[np.int32]]:
    """The nodes, each root first and a left child right behind its parent; for each of them where the right child is,
    counted from the root; and where each tree begins."""
    trees, modes = attributes["nodes_treeids"], attributes["nodes_modes"]
    sides = [
        [None if mode == b"LEAF" else at[tree, child] for tree, mode, child in zip(trees, modes, children, strict=True)]
        for children in (attributes["nodes_truenodeids"], attributes["nodes_falsenodeids"])
    ]
    below = {child for side in sides for child in side}
    roots = [node for node in range(len(trees)) if node not in below]
    order: list[int] = []
    right, offsets = np.zeros(len(trees), np.int32), [0]
    for root in roots:
        waiting: list[tuple[int, int | None]] = [(root, None)]
        while waiting:
            node, parent = waiting.pop()
            if parent is not None:
                right[parent] = len(order) - offsets[-1]
            left_child, right_child = sides[0][node], sides[1][node]
            if left_child is not None and right_child is not None:
                waiting += [(right_child, len(order)), (left_child, None)]
            order.append(node)
        offsets.append(len(order))
    return order, right, np.array(offsets, np.int32)
