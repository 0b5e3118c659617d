"""No row of the test period, no report of the future and nothing of a quarantined row reaches a fit or a choice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fraud_platform.features.selection import catalog_of
from fraud_platform.models.algorithms import Sample
from fraud_platform.models.algorithms.logistic_regression import LogisticRegression
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform.models.artefact import Artefact
from fraud_platform_tests.defs.conftest import MakePlatform, Platform
from fraud_platform_tests.defs.reported_shop import (
    FIRST,
    GAP_FIRST,
    HOUR,
    TRAINING_MOMENT,
    VALIDATION_END,
    VALIDATION_FIRST,
    Payment,
    Shops,
    metadata,
    payments,
    with_late_reports,
)

pytestmark = pytest.mark.slow

INSTANT = timedelta(microseconds=1)
Change = Callable[[list[Payment]], list[Payment]]


@pytest.fixture(scope="module")
def shops(shared_platforms: MakePlatform, tmp_path_factory: pytest.TempPathFactory) -> Shops:
    return Shops(shared_platforms, tmp_path_factory.mktemp("shops"))


Fits = list[tuple[Sample, Sample]]


@pytest.fixture(scope="module")
def fits() -> Iterator[Fits]:
    """The train and validation rows of every fit, in the order in which they are made."""
    given: Fits = []
    with pytest.MonkeyPatch.context() as patched:
        for algorithm in (LogisticRegression, XGBoost):

            def spied(self: Any, train: Sample, validation: Sample, seed: int, fit: Any = algorithm.fit) -> Any:
                given.append((train, validation))
                return fit(self, train, validation, seed)

            patched.setattr(algorithm, "fit", spied)
        yield given


def bits(fit: tuple[Sample, Sample]) -> list[tuple[tuple[int, ...], bytes, bytes, bool]]:
    return [(part.inputs.shape, part.inputs.tobytes(), part.labels.tobytes(), part.weights is not None) for part in fit]


@dataclass(frozen=True)
class Fitted:
    """A platform on which the one algorithm was fitted, and the rows that the fit was given."""

    platform: Platform
    train: Sample
    validation: Sample

    @property
    def bits(self) -> Any:
        return bits((self.train, self.validation))


FittedAfter = Callable[[Change], Fitted]


@pytest.fixture(scope="module")
def fitted_after(fits: Fits, shops: Shops) -> FittedAfter:
    """The fit on the changed payments."""
    made: dict[str, Fitted] = {}

    def fitted(change: Change) -> Fitted:
        if change.__name__ not in made:
            fits.clear()
            platform = shops.open(change(numbered(with_late_reports(payments()))))
            platform.run(("training_set", "candidate_models"))
            ((train, validation),) = fits
            made[change.__name__] = Fitted(platform, train, validation)
        return made[change.__name__]

    return fitted


@pytest.fixture(scope="module")
def expected(fitted_after: FittedAfter) -> Fitted:
    """The fit on the payments as they are."""
    return fitted_after(unchanged)


def unchanged(rows: list[Payment]) -> list[Payment]:
    return rows


def numbered(rows: list[Payment]) -> list[Payment]:
    """With an attribute by which every payment can be told in what a fit is given."""
    return [replace(row, trap=number) for number, row in enumerate(rows)]


def test_a_fit_is_given_the_payments_of_its_days_with_the_reports_of_the_time(expected: Fitted) -> None:
    """Held against the rows of the file, by a rule that is written out here once more."""
    rows, column = numbered(with_late_reports(payments())), catalog_of(expected.platform.source).names.index("trap")
    ends = [(expected.train, FIRST, VALIDATION_FIRST), (expected.validation, VALIDATION_FIRST, VALIDATION_END)]
    for sample, first, end in ends:
        of_days = [row for row in rows if first <= row.when.date() < end]
        known = [bool(row.fraud and row.reported and row.reported < TRAINING_MOMENT) for row in of_days]
        assert sample.inputs[:, column].tolist() == [row.trap for row in of_days]
        assert sample.labels.tolist() == known
        assert sum(known) < sum(row.fraud for row in of_days), "no report is late: this says nothing"


POISON = 1e6


def other_inputs(row: Payment) -> Payment:
    return replace(row, amount=f"{161 - float(row.amount):.2f}", who="c0", shop="m0", trap=POISON)


def inputs_of_the_test_period(rows: list[Payment]) -> list[Payment]:
    return [other_inputs(row) if row.when >= TRAINING_MOMENT else row for row in rows]


def inputs_of_the_gap(rows: list[Payment]) -> list[Payment]:
    return [other_inputs(row) if GAP_FIRST <= row.when < TRAINING_MOMENT else row for row in rows]


def labels_of_the_test_period(rows: list[Payment]) -> list[Payment]:
    """Each fraud is legitimate, and others are frauds, reported at once."""
    return [
        replace(row, fraud=int(number % 30 == 7 and not row.fraud), reported=row.when)
        if row.when >= TRAINING_MOMENT
        else row
        for number, row in enumerate(rows)
    ]


def fewer_rows_in_the_test_period(rows: list[Payment]) -> list[Payment]:
    return [row for number, row in enumerate(rows) if row.when < TRAINING_MOMENT or number % 3]


def reported_at(moment: datetime) -> Change:
    """Legitimate payments of the days that are learnt from turn out to be frauds at this moment."""

    def change(rows: list[Payment]) -> list[Payment]:
        return [
            replace(row, fraud=1, reported=moment)
            if row.when < GAP_FIRST and not row.fraud and not number % 60
            else row
            for number, row in enumerate(rows)
        ]

    change.__name__ = f"reported at {moment}"
    return change


def with_bad_rows(poison: float) -> Change:
    """Among the payments that are learnt from, bad ones of the same customers and shops, each a fraud that is known."""
    bad = ("0", "-5.00", "abc", "12.345", "", "1e400")

    def change(rows: list[Payment]) -> list[Payment]:
        models = [row for row in rows if row.when < GAP_FIRST][3::25]
        made = [
            replace(
                row,
                id=f"bad{number}",
                amount=bad[number % len(bad)],
                fraud=1,
                reported=row.when + HOUR,
                trap=poison,
                steady=str(poison),
                unknown=str(poison),
            )
            for number, row in enumerate(models)
        ]
        return sorted([*rows, *made], key=lambda row: row.when)

    change.__name__ = f"bad rows of {poison:g}"
    return change


def with_copies(rows: list[Payment]) -> list[Payment]:
    """Payments come a second time, a minute later and with other inputs: the first is kept."""
    copies = [
        replace(other_inputs(row), when=row.when + timedelta(minutes=1), fraud=0, reported=None, unknown=str(POISON))
        for row in rows[3::40]
    ]
    return sorted([*rows, *copies], key=lambda row: row.when)


@pytest.mark.parametrize(
    "change",
    [
        inputs_of_the_test_period,
        labels_of_the_test_period,
        fewer_rows_in_the_test_period,
        inputs_of_the_gap,
        reported_at(TRAINING_MOMENT),
        reported_at(TRAINING_MOMENT + 24 * HOUR),
        with_bad_rows(POISON),
        with_bad_rows(-POISON),
        with_copies,
    ],
    ids=lambda change: change.__name__.replace("_", " "),
)
def test_what_may_not_be_known_does_not_reach_a_fit(
    expected: Fitted, fitted_after: FittedAfter, change: Change
) -> None:
    assert fitted_after(change).bits == expected.bits


def test_a_report_an_instant_before_the_training_moment_does_reach_a_fit(
    expected: Fitted, fitted_after: FittedAfter
) -> None:
    """The control: what is changed above would be seen if it were let through."""
    known = fitted_after(reported_at(TRAINING_MOMENT - INSTANT))
    assert known.train.labels.sum() > expected.train.labels.sum()
    assert known.validation.labels.sum() > expected.validation.labels.sum()
    assert known.train.inputs.tobytes() == expected.train.inputs.tobytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(with_bad_rows(POISON), "amount", id="bad rows"),
        pytest.param(with_copies, "transaction_id", id="copies"),
    ],
)
def test_the_poisoned_rows_are_in_quarantine(fitted_after: FittedAfter, change: Change, reason: str) -> None:
    """The control: they were read, and refused for what is wrong with them."""
    reasons = fitted_after(change).platform.query("SELECT reasons FROM quarantined_transactions")["reasons"].to_list()
    assert len(reasons) == len(change(payments())) - len(payments())
    assert all(len(of_row) == 1 and of_row[0].startswith(reason) for of_row in reasons)


# What is chosen: folds, rounds, calibration, thresholds, voters

ALL = ("logistic_regression", "xgboost", "soft_voting")
SEARCHED: dict[str, Any] = {
    "algorithms": ALL,
    "tuned_algorithms": ALL[:2],
    "tuning_trials": 2,
    "tuning_folds": 2,
    "tuning_fold_days": 4,
}


@dataclass(frozen=True)
class Chosen:
    """All that a training run decides, and what its fits were given."""

    fits: list[Any]
    graphs: dict[str, bytes]
    cards: dict[str, dict[str, Any]]
    metadata: dict[str, dict[str, Any]]
    evaluations: dict[str, Any]


def chosen_by(platform: Platform, fits: Fits) -> Chosen:
    fits.clear()
    platform.run(("training_set", "candidate_models"))
    found = {name: metadata(platform, f"candidate_models/{name}") for name in ALL}
    artefacts = {name: Artefact.load(Path(of["artefact"])) for name, of in found.items()}
    kept = ("thresholds", "calibrator", "parameters", "importance", "reference", "feature_columns", "warnings")
    shown = ("trials", "tuned_average_precision", "tuning_folds", "voters", "importance")
    return Chosen(
        [bits(fit) for fit in fits],
        {name: artefact.graph for name, artefact in artefacts.items()},
        {name: {field: getattr(artefact.card, field) for field in kept} for name, artefact in artefacts.items()},
        {
            name: {key: value for key, value in of.items() if key in shown or key.startswith("validation_")}
            for name, of in found.items()
        },
        {name: artefact.card.evaluation for name, artefact in artefacts.items()},
    )


def test_the_test_period_decides_nothing(shops: Shops, fits: Fits) -> None:
    rows = with_late_reports(payments())
    spoilt = labels_of_the_test_period(inputs_of_the_test_period(rows))
    expected, found = (chosen_by(shops.open(of, **SEARCHED), fits) for of in (rows, spoilt))
    assert len(expected.fits) == 2 * (2 * 2 + 1), "two algorithms, each with two trials of two folds, and the last fit"
    assert found.fits == expected.fits
    assert found.graphs == expected.graphs
    assert found.cards == expected.cards
    assert found.metadata == expected.metadata
    for name in ALL:
        assert found.evaluations[name] != expected.evaluations[name], "the test period was not spoilt"
