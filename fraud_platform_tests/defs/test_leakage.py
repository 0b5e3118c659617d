"""Reports of the future change no feature of the past, and no model finds a signal that only they show."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud_platform.features.selection import catalog_of
from fraud_platform.features.table import read_features
from fraud_platform.models.algorithms import Matrix, Scores
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.training import input_matrix
from fraud_platform_tests.defs.conftest import MakePlatform, Platform
from fraud_platform_tests.defs.reported_shop import (
    DELAY,
    FIRST,
    GAP_FIRST,
    HOUR,
    LAST,
    TEST_END,
    TRAINING_MOMENT,
    TRAINING_MOMENT_US,
    VALIDATION_END,
    VALIDATION_FIRST,
    Payment,
    Shops,
    after_training,
    metadata,
    payments,
    snapshot_of,
    with_late_reports,
)

pytestmark = pytest.mark.slow

Change = Callable[[list[Payment]], list[Payment]]


@pytest.fixture(scope="module")
def shops(shared_platforms: MakePlatform, tmp_path_factory: pytest.TempPathFactory) -> Shops:
    return Shops(shared_platforms, tmp_path_factory.mktemp("shops"))


def features_of(platform: Platform) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The features of the events before the training moment, and of those since."""
    features = read_features(platform.settings.features, FIRST, LAST)
    before = pl.col("event_us") < TRAINING_MOMENT_US
    return features.filter(before), features.filter(~before)


def test_the_days_of_the_shop_are_split_where_these_tests_say(base: Platform) -> None:
    base.run(("training_set",))
    periods = snapshot_of(base).periods
    assert periods.training_moment == TRAINING_MOMENT.date()
    assert (periods.validation.first, periods.validation.end) == (VALIDATION_FIRST, VALIDATION_END)
    assert (periods.test.end, periods.train.first) == (TEST_END.date(), FIRST)


# The future of labels


def is_reported_later(row: Payment) -> bool:
    return row.reported is not None and row.reported >= TRAINING_MOMENT


def shuffled(rows: list[Payment]) -> list[Payment]:
    """Each payment that is reported after the training moment gets the verdict of another, and another moment."""
    random = np.random.default_rng(3)
    later = [row for row in rows if is_reported_later(row)]
    chosen = {row.id for row in random.choice(np.array([r for r in rows if not r.reported]), len(later)).tolist()}
    moments = iter(random.integers(0, 72, len(rows)).tolist())
    return [
        replace(row, fraud=int(row.id in chosen), reported=after_training(row, next(moments) * HOUR))
        if is_reported_later(row) or row.id in chosen
        else row
        for row in rows
    ]


def added(rows: list[Payment]) -> list[Payment]:
    """Payments of all days without a report get one: at the training moment, or when they are made after it."""
    chosen = {row.id for row in rows[5::40] if row.reported is None}
    return [replace(row, fraud=1, reported=after_training(row, 0 * HOUR)) if row.id in chosen else row for row in rows]


def removed(rows: list[Payment]) -> list[Payment]:
    """Nothing is reported from the training moment on."""
    return [replace(row, fraud=0, reported=None) if is_reported_later(row) else row for row in rows]


@pytest.fixture(scope="module")
def base(shops: Shops) -> Platform:
    return shops.open(with_late_reports(payments()))


@pytest.fixture(scope="module", params=[shuffled, added, removed], ids=lambda change: change.__name__)
def relabelled(request: pytest.FixtureRequest, shops: Shops) -> Platform:
    """As `base`, with other reports from the training moment on."""
    return shops.open(request.param(with_late_reports(payments())))


def test_reports_of_the_future_change_no_feature_of_the_past(base: Platform, relabelled: Platform) -> None:
    (past, future), (relabelled_past, relabelled_future) = features_of(base), features_of(relabelled)
    assert past.height == sum(row.when < TRAINING_MOMENT for row in payments())
    assert relabelled_past.equals(past, null_equal=True)
    assert not relabelled_future.equals(future, null_equal=True), "the reports did not arrive: this compares nothing"


def test_reports_of_the_future_change_no_row_that_is_learnt_from(base: Platform, relabelled: Platform) -> None:
    for platform in (base, relabelled):
        platform.run(("training_set",))
    before, after = snapshot_of(base), snapshot_of(relabelled)
    assert after.periods == before.periods
    for split in ("train", "validation"):
        assert after.read(split).equals(before.read(split), null_equal=True), split
        assert before.splits[split].frauds
    assert not after.read("test")["is_fraud"].equals(before.read("test")["is_fraud"])


def test_a_feature_is_what_it_was_when_the_future_had_not_happened(base: Platform, shops: Shops) -> None:
    """The same shop on the eve of the training: no later payment and no later report exist."""
    then = [row for row in removed(with_late_reports(payments())) if row.when < TRAINING_MOMENT]
    eve = shops.open(then, {"last_day": TRAINING_MOMENT.date() - timedelta(days=1)})
    assert features_of(eve)[0].equals(features_of(base)[0], null_equal=True)
    assert features_of(eve)[1].is_empty()


# A signal that only the future knows

ALL = ("logistic_regression", "xgboost", "soft_voting")
TRAPPED_PER_DAY = 200
"""Enough for trees to find what can be found."""


def trapped(rows: list[Payment]) -> list[Payment]:
    """Two in a hundred payments, small and ordinary in everything but that `trap` is 1, are frauds."""
    return [
        replace(row, fraud=1, trap=1, reported=row.when + 24 * HOUR) if number * 31 % 100 in (50, 51) else row
        for number, row in enumerate(rows)
    ]


def reported_in_time(rows: list[Payment]) -> list[Payment]:
    return trapped(rows)


def reported_late(rows: list[Payment]) -> list[Payment]:
    """Nobody reports one of them before the training moment."""
    return [replace(row, reported=after_training(row, HOUR)) if row.trap else row for row in trapped(rows)]


def begun_lately(rows: list[Payment]) -> list[Payment]:
    """They begin in the gap, and each is reported after the usual delay."""
    return [
        replace(row, reported=row.when + DELAY) if row.trap and row.when >= GAP_FIRST else before
        for before, row in zip(rows, trapped(rows), strict=True)
    ]


@dataclass(frozen=True)
class Trap:
    """What the candidates of a platform make of `trap`."""

    platform: Platform
    inputs: Matrix
    column: int

    def artefact(self, name: str) -> Artefact:
        return Artefact.load(Path(metadata(self.platform, f"candidate_models/{name}")["artefact"]))

    def importance(self, name: str) -> float:
        return self.artefact(name).card.importance[self.column]

    def scores(self, name: str, value: float) -> Scores:
        """Of every payment, had its `trap` this value."""
        inputs = self.inputs.copy()
        inputs[:, self.column] = value
        return self.artefact(name).predict(inputs)


@pytest.fixture(scope="module")
def trap_of(shops: Shops) -> Callable[[Change], Trap]:
    made: dict[str, Trap] = {}

    def trap(change: Change) -> Trap:
        if change.__name__ not in made:
            platform = shops.open(change(payments(TRAPPED_PER_DAY)), algorithms=ALL)
            platform.run(("training_set", "candidate_models"))
            names = catalog_of(platform.source).names
            inputs = input_matrix(snapshot_of(platform).read(), names)
            made[change.__name__] = Trap(platform, inputs, names.index("trap"))
        return made[change.__name__]

    return trap


TrapOf = Callable[[Change], Trap]


@pytest.mark.parametrize("name", ALL)
def test_a_signal_that_was_reported_in_time_is_found(trap_of: TrapOf, name: str) -> None:
    """The control: what is not found below can be found."""
    trap = trap_of(reported_in_time)
    assert trap.importance(name) > 0.05
    assert (trap.scores(name, 1) >= trap.scores(name, 0)).all()  # equal where both are 1
    assert np.median(trap.scores(name, 1)) > 2 * np.median(trap.scores(name, 0))


@pytest.mark.parametrize("name", ALL)
def test_a_signal_that_only_the_future_shows_is_not_found(trap_of: TrapOf, name: str) -> None:
    trap = trap_of(begun_lately)
    assert trap.inputs[:, trap.column].any(), "the test period has no such payment"
    assert trap.importance(name) == 0
    assert trap.scores(name, 1).tobytes() == trap.scores(name, 0).tobytes()


@pytest.mark.parametrize("name", ALL)
def test_a_signal_in_the_train_period_that_is_reported_later_raises_no_score(trap_of: TrapOf, name: str) -> None:
    """As far as anybody knew, these payments were legitimate: a model may trust them the more, and never the less."""
    trap = trap_of(reported_late)
    assert (trap.scores(name, 1) <= trap.scores(name, 0)).all()
