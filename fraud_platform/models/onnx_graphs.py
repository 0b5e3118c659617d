"""ONNX graphs that are built here: linear models in double precision, soft voting, and outputs put into our one shape.

Every graph takes float32 `inputs` (n, d) and gives float32 `probabilities` (n, 2): legitimate, fraud.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET = 17
INPUTS, PROBABILITIES = "inputs", "probabilities"

Vector = NDArray[np.float64]


class Linear(NamedTuple):
    """A linear model of x, which is `fill` where an input is missing, and of its logarithm both ways; each (d,).

    Its log odds are x @ weights + sign(z) log(1 + |z|) @ squashed_weights + missing @ missing_weights + intercept,
    with z = (x - centre) / scale.
    """

    fill: Vector
    centre: Vector
    scale: Vector
    weights: Vector
    squashed_weights: Vector
    missing_weights: Vector
    intercept: float


def linear_graph(model: Linear) -> bytes:
    """The model's probabilities, computed in double."""
    from onnx import helper

    constants = {
        "fill": model.fill,
        "centre": model.centre,
        "scale": model.scale,
        "weights": model.weights[:, np.newaxis],
        "squashed_weights": model.squashed_weights[:, np.newaxis],
        "missing_weights": model.missing_weights[:, np.newaxis],
        "intercept": np.array([model.intercept]),
        "one": np.array([1.0]),
    }
    nodes = [
        helper.make_node("IsNaN", [INPUTS], ["missing"]),
        helper.make_node("Cast", [INPUTS], ["given"], to=_double()),
        helper.make_node("Where", ["missing", "fill", "given"], ["filled"]),
        helper.make_node("Sub", ["filled", "centre"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["z"]),
        helper.make_node("Abs", ["z"], ["size"]),
        helper.make_node("Add", ["size", "one"], ["size_and_one"]),
        helper.make_node("Log", ["size_and_one"], ["logs"]),
        helper.make_node("Sign", ["z"], ["signs"]),
        helper.make_node("Mul", ["signs", "logs"], ["squashed"]),
        helper.make_node("Cast", ["missing"], ["missing_as_number"], to=_double()),
        helper.make_node("MatMul", ["filled", "weights"], ["of_values"]),
        helper.make_node("MatMul", ["squashed", "squashed_weights"], ["of_squashed"]),
        helper.make_node("MatMul", ["missing_as_number", "missing_weights"], ["of_missing"]),
        helper.make_node("Sum", ["of_values", "of_squashed", "of_missing", "intercept"], ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], ["fraud"]),
        *_both_classes("fraud", "one"),
    ]
    return _model(nodes, constants, len(model.fill))


def mean_graph(graphs: Sequence[bytes]) -> bytes:
    """Soft voting: the mean of the graphs' probabilities."""
    import onnx
    from onnx import helper

    opsets: dict[str, int] = {}
    nodes: list[Any] = []
    constants: list[Any] = []
    for number, content in enumerate(graphs):
        member = onnx.compose.add_prefix(onnx.load_from_string(content), f"m{number}_")
        for used in member.opset_import:
            opsets[used.domain] = max(used.version, opsets.get(used.domain, 0))
        nodes.append(helper.make_node("Identity", [INPUTS], [member.graph.input[0].name]))
        nodes += member.graph.node
        constants += member.graph.initializer
    votes = [f"m{number}_{PROBABILITIES}" for number in range(len(graphs))]
    nodes.append(helper.make_node("Mean", votes, [PROBABILITIES]))
    width = onnx.load_from_string(graphs[0]).graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    graph = helper.make_graph(nodes, "fraud", [_input(width)], [_output()], constants)
    imports = [helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())]
    return _checked(helper.make_model(graph, opset_imports=imports))


def forest_graph(model: "onnx.ModelProto", fill: NDArray[np.float32]) -> bytes:
    """A converted classifier of trees that sees `fill` (d,) where an input is missing."""
    from onnx import helper

    (kept,) = (output.name for output in model.graph.output if "prob" in output.name.lower())
    return _around(
        model, fill, [] if kept == PROBABILITIES else [helper.make_node("Identity", [kept], [PROBABILITIES])]
    )


class Tree(NamedTuple):
    """A binary tree as scikit-learn keeps one: node 0 is the root, a leaf's `feature` is below 0.

    Attributes:
        feature, left, right: int64 (nodes,): a row goes left where its input is at or below the threshold.
        threshold: float64 (nodes,). value: float64 (nodes,), what a leaf gives.
    """

    feature: NDArray[np.int64]
    threshold: Vector
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Vector


def anomaly_graph(trees: Sequence[Tree], fill: NDArray[np.float32], usual_depth: float) -> bytes:
    """2 ** -(mean of the trees' values / usual_depth), with `fill` (d,) where an input is missing.

    One operator runs all trees: a converted scikit-learn forest takes seventy times as long on a single row.
    """
    from onnx import TensorProto, helper

    exponent = helper.make_tensor("exponent", TensorProto.FLOAT, [1], [-float(np.log(2.0)) / usual_depth])
    nodes = [
        helper.make_node("TreeEnsembleRegressor", [INPUTS], ["depth"], domain="ai.onnx.ml", **_ensemble(trees)),
        helper.make_node("Mul", ["depth", "exponent"], ["log_anomaly"]),
        helper.make_node("Exp", ["log_anomaly"], ["anomaly"]),
        helper.make_node("Sub", ["unit", "anomaly"], ["normal"]),
        helper.make_node("Concat", ["normal", "anomaly"], [PROBABILITIES], axis=1),
    ]
    unit = helper.make_tensor("unit", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(nodes, "fraud", [_input(len(fill))], [_output()], [exponent, unit])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    return _around(helper.make_model(graph, opset_imports=opsets), fill, [])


def _ensemble(trees: Sequence[Tree]) -> dict[str, Any]:
    """The attributes of ONNX's tree operator: every node of every tree, one after the other."""
    sizes = [len(tree.feature) for tree in trees]
    nodes = Tree(*(np.concatenate(parts) for parts in zip(*trees, strict=True)))
    leaf = nodes.feature < 0
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    return {
        "n_targets": 1,
        "aggregate_function": "AVERAGE",
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": np.where(leaf, 0, nodes.feature).tolist(),
        "nodes_values": np.where(leaf, np.float32(0), float32_below(nodes.threshold)).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes.left).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes.right).tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": np.zeros(int(leaf.sum()), np.int64).tolist(),
        "target_weights": nodes.value[leaf].tolist(),
    }


def float32_below(thresholds: Vector) -> NDArray[np.float32]:
    """The greatest float32 that is not above each threshold.

    For float32 inputs `input <= threshold` stays what it was; rounding to the nearest could let the next input in.
    """
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _around(model: "onnx.ModelProto", fill: NDArray[np.float32], after: "list[onnx.NodeProto]") -> bytes:
    """The graph with its missing inputs filled before it and `after` behind it; its one output the probabilities."""
    from onnx import helper, numpy_helper

    graph = model.graph
    graph.name = "fraud"  # a converter draws one at random, and the same model is to have the same bytes
    given = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["filled" if name == given else name for name in node.input]
    before = [
        helper.make_node("IsNaN", [INPUTS], ["missing"]),
        helper.make_node("Where", ["missing", "fill", INPUTS], ["filled"]),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.output[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(fill, "fill"))
    graph.input.append(_input(len(fill)))
    graph.output.append(_output())
    return _checked(model)


def _both_classes(fraud: str, one: str) -> "list[onnx.NodeProto]":
    from onnx import TensorProto, helper

    return [
        helper.make_node("Sub", [one, fraud], ["legitimate"]),
        helper.make_node("Concat", ["legitimate", fraud], ["both"], axis=1),
        helper.make_node("Cast", ["both"], [PROBABILITIES], to=TensorProto.FLOAT),
    ]


def _double() -> int:
    from onnx import TensorProto

    return TensorProto.DOUBLE


def _input(width: int) -> "onnx.ValueInfoProto":
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(INPUTS, TensorProto.FLOAT, [None, width])


def _output() -> "onnx.ValueInfoProto":
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [None, 2])


def _model(nodes: Sequence[Any], constants: dict[str, Vector], width: int) -> bytes:
    from onnx import helper, numpy_helper

    arrays = [numpy_helper.from_array(value.astype(np.float64), name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "fraud", [_input(width)], [_output()], arrays)
    return _checked(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def _checked(model: "onnx.ModelProto") -> bytes:
    """The graph's bytes, after ONNX's own check of it."""
    import onnx

    model.ir_version = min(model.ir_version, 10)  # what the converters of the trees write, so that all load alike
    onnx.checker.check_model(model)
    return model.SerializeToString()
