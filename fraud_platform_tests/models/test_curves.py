import subprocess
import sys
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest

from fraud_platform.models.costs import CostMatrix, Thresholds
from fraud_platform.models.curves import (
    calibration_png,
    comparison_png,
    money_png,
    precision_recall_png,
    roc_png,
    score_distribution_png,
)
from fraud_platform.models.reliability import calibration


def draw_money(labels: np.ndarray, scores: np.ndarray, thresholds: Thresholds) -> bytes:
    return money_png(labels, scores, np.full(len(labels), 5_000), thresholds, CostMatrix())


def draw_calibration(labels: np.ndarray, scores: np.ndarray, _: Thresholds) -> bytes:
    return calibration_png(calibration(labels, scores))


def draw_comparison(labels: np.ndarray, scores: np.ndarray, _: Thresholds) -> bytes:
    return comparison_png(labels, {"one": scores, "other": 1 - scores})


DRAW = [precision_recall_png, roc_png, score_distribution_png, draw_money, draw_calibration, draw_comparison]
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.random(500) < 0.1
SCORES = np.clip(RANDOM.random(500) * 0.5 + LABELS * 0.4, 0, 1)


def size(png: bytes) -> tuple[int, int]:
    from matplotlib.image import imread

    height, width = imread(BytesIO(png), format="png").shape[:2]
    return width, height


@pytest.mark.parametrize("draw", DRAW)
def test_a_picture_is_a_png_of_fixed_size(draw: Callable[..., bytes]):
    assert size(draw(LABELS, SCORES, Thresholds(0.5))) == (768, 576)


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("labels", [np.zeros(5, bool), np.ones(5, bool), np.zeros(0, bool)])
def test_one_class_or_none_still_gives_a_picture(draw: Callable[..., bytes], labels: np.ndarray):
    assert size(draw(labels, np.linspace(0, 1, len(labels)), Thresholds(0.5, 0.9))) == (768, 576)


@pytest.mark.parametrize("draw", DRAW)
def test_a_threshold_that_nothing_reaches_still_gives_a_picture(draw: Callable[..., bytes]):
    assert size(draw(LABELS, SCORES * 0, Thresholds(2.0))) == (768, 576)


@pytest.mark.parametrize("draw", DRAW)
def test_the_same_scores_give_the_same_bytes(draw: Callable[..., bytes]):
    assert draw(LABELS, SCORES, Thresholds(0.5)) == draw(LABELS, SCORES, Thresholds(0.5))


@pytest.mark.parametrize("draw", [precision_recall_png, roc_png, score_distribution_png])
def test_a_block_threshold_is_drawn(draw: Callable[..., bytes]):
    assert draw(LABELS, SCORES, Thresholds(0.5, 0.8)) != draw(LABELS, SCORES, Thresholds(0.5))


def test_no_models_still_give_a_picture():
    assert size(comparison_png(LABELS, {})) == (768, 576)


def test_pyplot_is_never_imported():
    code = (
        "import sys, numpy as np\n"
        "from fraud_platform.models.costs import Thresholds\n"
        "from fraud_platform.models.curves import score_distribution_png\n"
        "score_distribution_png(np.array([True, False]), np.array([0.9, 0.1]), Thresholds(0.5))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
