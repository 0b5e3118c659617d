"""What the tests of explanations share: the models of the algorithms' tests, taken apart."""

import numpy as np

from fraud_platform.models.additive import Member
from fraud_platform.models.algorithms import FittedModel, Matrix
from fraud_platform.models.onnx_members import members_of
from fraud_platform_tests.models.algorithms.test_algorithms import TRAIN

WIDTH = TRAIN.inputs.shape[1]


def members(model: FittedModel, rows: Matrix = TRAIN.inputs) -> list[Member]:
    return [member.averaged_over(rows) for member in members_of(model.to_onnx())]


def with_nothing(rows: Matrix) -> Matrix:
    return np.vstack([rows, np.full((1, rows.shape[1]), np.nan, np.float32)])
