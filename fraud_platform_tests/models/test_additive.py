"""Parts of a sum against the definition and against LightGBM's own, and the file that keeps the models."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fraud_platform.errors import ArtefactError
from fraud_platform.models.additive import TreeMember, read_members, write_members
from fraud_platform.models.algorithms import Algorithm, FittedModel
from fraud_platform.models.algorithms.isolation_forest import IsolationForest
from fraud_platform.models.algorithms.lightgbm import LightGBM
from fraud_platform.models.algorithms.random_forest import RandomForest
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform_tests.models.algorithms.test_algorithms import SMALL, TRAIN, UNSEEN, VALIDATION
from fraud_platform_tests.models.explained_models import WIDTH, members, with_nothing
from fraud_platform_tests.models.naive_shapley import shapley_of, worth_of_trees

TINY: dict[str, Algorithm] = {
    "random_forest": RandomForest(trees=3, max_depth=6, threads=1),
    "xgboost": XGBoost(max_rounds=3, patience=0, threads=1),
    "lightgbm": LightGBM(max_rounds=3, patience=0, threads=1),
    "isolation_forest": IsolationForest(trees=3, rows_a_tree=64, threads=1),
}


@pytest.mark.parametrize("name", TINY)
def test_parts_of_trees_are_the_shapley_values_of_the_definition(name: str) -> None:
    (member,) = members(TINY[name].fit(TRAIN, VALIDATION, seed=1))
    assert isinstance(member, TreeMember)
    for row in with_nothing(UNSEEN.inputs[:2]):
        seen = row if member.fill is None else np.where(np.isnan(row), member.fill, row)
        worth = cache(lambda known, seen=seen: member.base + worth_of_trees(member.trees, seen, known))
        base, values = member.shares(row)
        np.testing.assert_allclose(values, shapley_of(worth, WIDTH), atol=1e-12)
        assert base == pytest.approx(worth(frozenset()))


def test_parts_of_a_linear_model_are_the_shapley_values_of_the_definition(fitted: dict[str, FittedModel]) -> None:
    """Unknown inputs are those of the train rows, each in turn."""
    model = fitted["logistic_regression"]
    (member,) = members(model)
    for row in with_nothing(UNSEEN.inputs[:2]):

        @cache
        def worth(known: frozenset[int], row: np.ndarray = row) -> float:
            rows = TRAIN.inputs.copy()
            rows[:, list(known)] = row[list(known)]
            scores = model.predict(rows)
            return float(np.log(scores / (1 - scores)).mean())

        base, values = member.shares(row)
        np.testing.assert_allclose(values, shapley_of(worth, WIDTH), atol=1e-9)
        assert base == pytest.approx(worth(frozenset()))


def test_lightgbm_says_the_same_of_itself() -> None:
    """Its covers count rows too, all of them where it takes no sample of them."""
    model = LightGBM(max_rounds=40, patience=0, subsample=1.0, threads=1).fit(TRAIN, VALIDATION, seed=1)
    (member,) = members(model)
    rows = with_nothing(UNSEEN.inputs[:100])
    expected = np.asarray(model.booster.predict(rows, pred_contrib=True))
    for row, own in zip(rows, expected, strict=True):
        base, values = member.shares(row)
        np.testing.assert_allclose([*values, base], own, atol=2e-6)  # the graph's leaves are float32


@pytest.mark.parametrize("name", [*SMALL, "soft_voting"])
def test_the_file_keeps_everything_and_is_the_same_bytes_again(
    fitted: dict[str, FittedModel], name: str, tmp_path: Path
) -> None:
    parts = members(fitted[name])
    for file in ("one.npz", "two.npz"):
        write_members(parts, tmp_path / file)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    for part, read in zip(parts, read_members(tmp_path / "one.npz", WIDTH), strict=True):
        assert read.link == part.link
        for row in with_nothing(UNSEEN.inputs[:20]):
            before, after = part.shares(row), read.shares(row)
            assert after.base == before.base
            np.testing.assert_array_equal(after.values, before.values)


def changed(arrays: dict[str, np.ndarray], name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    assert name in arrays
    return {**arrays, name: value}


DAMAGE = {
    "a child outside of its tree": lambda a: changed(a, "0.right", a["0.right"] * 1000),
    "an input that is not there": lambda a: changed(a, "0.feature", a["0.feature"] + WIDTH),
    "an array cut off": lambda a: changed(a, "0.value", a["0.value"][:-1]),
    "trees that end early": lambda a: changed(a, "0.offsets", a["0.offsets"][:-1]),
    "no array of covers": lambda a: {name: value for name, value in a.items() if name != "0.cover"},
    "another function": lambda a: changed(a, "0.link", np.array("cubic")),
    "a pickle": lambda a: changed(a, "0.value", np.array([None])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_refused(fitted: dict[str, FittedModel], damage, tmp_path: Path) -> None:
    file = tmp_path / "explanation.npz"
    write_members(members(fitted["xgboost"]), file)
    with np.load(file) as content:
        arrays = dict(content)
    np.savez(file, **damage(arrays))
    with pytest.raises(ArtefactError, match=r"explanation\.npz cannot be read"):
        read_members(file, WIDTH)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 but not"], ids=["missing", "empty", "no archive"])
def test_a_file_that_is_none_is_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "explanation.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"explanation\.npz cannot be read"):
        read_members(file, WIDTH)
