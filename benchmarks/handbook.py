"""The published protocol of the Fraud-Detection-Handbook, on the platform's features and algorithms.

    python benchmarks/handbook.py --data PATH [--choose]

Train on a week, leave a week for its labels to become known, test on the week after: four such splits, whose training
weeks start on 2018-07-25, 08-01, 08-08 and 08-15, and their mean. A card leaves a test day where it had a fraud that
was known by then. Once more with all history whose labels are known, from the 31st day on, when the features have seen
their 30 days. After Le Borgne et al., Reproducible Machine Learning for Credit Card Fraud Detection, chapters 3 and 5.

Prints one JSON line: {"model", "folds", "auc", "ap", "cp100", …, "history": {"model", "auc", "ap", "cp100", …},
"algorithms": {name: {"auc", "ap", "cp100", …, "history": {…}}}, "seconds"}, where … are the deviations over the splits,
"auc_deviation" and so on. The figures beside "model" are those of the model that the platform chooses, by its own rule
(`models.choice`), on the seven earlier splits, training weeks 2018-05-30 to 07-11; `--choose` measures those splits in
place of the published and adds "chosen": {mode: [model, those that tie with the one that saves most]}.

The file is read as it is published. The platform's own stages would put its 42 payments of nothing into quarantine,
and the splits would not have the published sizes, which are checked before anything is fitted.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

    from fraud_platform.models.algorithms import Algorithm, FittedModel, Sample, Scores
    from fraud_platform.models.costs import Thresholds
    from fraud_platform.models.imbalance import Imbalance

SOURCE = Path(__file__).resolve().parents[1] / "sources" / "handbook.yaml"
FIRST_DAY = date(2018, 4, 1)
WEEK, DELAY, WARM_UP = 7, 7, 30
"""Days: of training and of test, until a label is known, and that the features look back."""
PUBLISHED = [date(2018, 7, 25) + timedelta(weeks=number) for number in range(4)]
EARLIER = [date(2018, 5, 30) + timedelta(weeks=number) for number in range(7)]
ROUNDS = 100
REVIEWS = 100
SEED = 1

Mode = Literal["week", "history"]
CHOSEN: dict[Mode, str] = {"week": "soft_voting", "history": "xgboost"}
"""What `models.choice` chooses on `EARLIER`, as `--choose` measured it; no test week had a say.

                         week                                history
                         AUC     AP      CP@100  saved       AUC     AP      CP@100  saved
    logistic_regression  0.8831  0.7058  0.3049  45,100      0.8851  0.7111  0.3073  45,272
    random_forest        0.8864  0.7473  0.3086  45,913      0.8898  0.7523  0.3102  45,995
    xgboost              0.8864  0.7460  0.3106  45,801      0.8932  0.7586  0.3116  46,080
    lightgbm             0.8889  0.7462  0.3100  45,821      0.8875  0.7541  0.3104  46,045
    soft_voting          0.8889  0.7499  0.3096  45,858      0.8905  0.7585  0.3104  46,117

Not shown to save less than the best: of a week random_forest, xgboost, lightgbm and soft_voting; of the history
xgboost, lightgbm and soft_voting.
"""
VOTERS = ("random_forest", "xgboost", "lightgbm")


@dataclass(frozen=True)
class Payments:
    """All payments in order of time.

    Attributes:
        all: their inputs and labels.
        days: int64 (n,), from `FIRST_DAY`. customers: int64 (n,), numbered in order of id. cents: int64 (n,).
    """

    all: "Sample"
    days: NDArray[np.int64]
    customers: NDArray[np.int64]
    cents: NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row numbers."""

    week: NDArray[np.int64]
    history: NDArray[np.int64]
    test: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="transactions.parquet")
    parser.add_argument("--choose", action="store_true", help="measure the earlier splits instead of the published")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.data, EARLIER if arguments.choose else PUBLISHED)))


def measure(data: str, starts: Sequence[date]) -> dict[str, object]:
    started = time.perf_counter()
    payments = read_payments(data)
    _check_published_sizes(payments)
    folds = [fold_of(payments, start) for start in starts]
    scores = {mode: scores_of(payments, folds, mode) for mode in CHOSEN}
    by_mode = {mode: figures(payments, folds, scores[mode]) for mode in CHOSEN}
    chosen = {"chosen": {mode: choose(payments, folds, scores[mode]) for mode in CHOSEN}} if starts is EARLIER else {}
    headline = {mode: {"model": name, **by_mode[mode][name]} for mode, name in CHOSEN.items()}
    return {
        "folds": len(folds),
        **headline["week"],
        **chosen,
        "history": headline["history"],
        "algorithms": {
            name: of_week | {"history": by_mode["history"][name]} for name, of_week in by_mode["week"].items()
        },
        "seconds": round(time.perf_counter() - started),
    }


def algorithms(mode: Mode) -> "list[tuple[Algorithm, Imbalance]]":
    """The defaults but for the rounds, `ROUNDS` and no fewer: a week leaves no later rows that could stop a fit.

    Of a history, the two that would see few of its frauds or take long get 20 legitimate rows a fraud.
    """
    from fraud_platform.models.algorithms.lightgbm import LightGBM
    from fraud_platform.models.algorithms.logistic_regression import LogisticRegression
    from fraud_platform.models.algorithms.random_forest import RandomForest
    from fraud_platform.models.algorithms.xgboost import XGBoost

    slow: Imbalance = "none" if mode == "week" else "undersample"
    return [
        (LogisticRegression(), slow),
        (RandomForest(), slow),
        (XGBoost(max_rounds=ROUNDS, patience=0), "none"),
        (LightGBM(max_rounds=ROUNDS, patience=0), "none"),
    ]


def scores_of(payments: Payments, folds: Sequence[Fold], mode: Mode) -> "dict[str, list[Scores]]":
    """What each model says of the test rows of each fold."""
    found: dict[str, list[Scores]] = {}
    for fold in folds:
        for name, model in _models(payments, getattr(fold, mode), mode):
            found.setdefault(name, []).append(model.predict(payments.all.inputs[fold.test]))
    return found


def figures(
    payments: Payments, folds: Sequence[Fold], scores: "dict[str, list[Scores]]"
) -> dict[str, dict[str, float]]:
    """The mean and deviation over the folds of each figure of each algorithm."""
    names = ("auc", "ap", "cp100", "saved")
    found: dict[str, dict[str, float]] = {}
    for model, of_folds in scores.items():
        values = [judge(payments, fold, one) for fold, one in zip(folds, of_folds, strict=True)]
        found[model] = {
            **dict(zip(names, np.mean(values, axis=0).round(4).tolist(), strict=True)),
            **dict(zip((f"{name}_deviation" for name in names), np.std(values, axis=0).round(4).tolist(), strict=True)),
        }
    return found


def choose(payments: Payments, folds: Sequence[Fold], scores: "dict[str, list[Scores]]") -> tuple[str, tuple[str, ...]]:
    """The platform's choice on the rows of all folds, each fold at thresholds of its own."""
    import polars as pl

    from fraud_platform.models.bootstrap import Decided
    from fraud_platform.models.choice import choose_candidate
    from fraud_platform.models.costs import CostMatrix, gains

    labels, rows = payments.all.labels, np.concatenate([fold.test for fold in folds])
    decided = {}
    for model, of_folds in scores.items():
        saved = [
            gains(
                payments.all.labels[fold.test],
                payments.cents[fold.test],
                one,
                _thresholds(payments, fold, one),
                CostMatrix(),
            )
            for fold, one in zip(folds, of_folds, strict=True)
        ]
        decided[model] = Decided(np.concatenate(of_folds), np.concatenate(saved))
    days, customers = pl.Series(payments.days[rows]), pl.Series(payments.customers[rows])
    return choose_candidate(labels[rows], days, customers, decided, REVIEWS, seed=SEED)


def _models(payments: Payments, rows: NDArray[np.int64], mode: Mode) -> "Iterator[tuple[str, FittedModel]]":
    from fraud_platform.models.algorithms.soft_voting import NAME, SoftVotingModel
    from fraud_platform.models.imbalance import rebalance

    train = payments.all.rows(rows)
    fitted: dict[str, FittedModel] = {}
    for algorithm, imbalance in algorithms(mode):
        sample = rebalance(train, imbalance, SEED)
        fitted[algorithm.name] = algorithm.fit(sample, sample, SEED)
        yield algorithm.name, fitted[algorithm.name]
    yield NAME, SoftVotingModel([fitted[name] for name in VOTERS])


def judge(payments: Payments, fold: Fold, scores: "Scores") -> tuple[float, float, float, float]:
    """AUC, average precision, card precision@100, and the money saved, as the platform compares candidates by it.

    Money is in major units, at the thresholds that are the best on these very rows for the default costs and budget.
    """
    import polars as pl

    from fraud_platform.models.card_precision import CardReviews
    from fraud_platform.models.costs import CostMatrix, money
    from fraud_platform.models.ranking import Ranking

    labels, customers = payments.all.labels[fold.test], payments.customers[fold.test]
    once = np.ones(int(payments.customers.max()) + 1, np.int64)
    ranking = Ranking(labels, scores, customers)(once)
    cards = CardReviews(labels, scores, pl.Series(payments.days[fold.test]), customers, REVIEWS)
    saved = money(labels, payments.cents[fold.test], scores, _thresholds(payments, fold, scores), CostMatrix()).saved
    return ranking["roc_auc"], ranking["average_precision"], cards.mean(once), saved / 100


def _thresholds(payments: Payments, fold: Fold, scores: "Scores") -> "Thresholds":
    """The best on these very rows, as on a validation period."""
    import polars as pl

    from fraud_platform.models.costs import CostMatrix, choose_thresholds

    labels, cents, days = payments.all.labels[fold.test], payments.cents[fold.test], pl.Series(payments.days[fold.test])
    return choose_thresholds(labels, scores, cents, days, CostMatrix(), REVIEWS)


def read_payments(data: str) -> Payments:
    """The file with every input of the platform's catalog, by the platform's batch engine."""
    from fraud_platform.features.batch import compute_features
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.models.algorithms import Sample
    from fraud_platform.transactions.sources import load_source

    events = _events(data)
    inputs = compute_features(events, catalog_of(load_source(SOURCE, data)))
    ids, customers = np.unique(events["customer_id"].cast(int).to_numpy(), return_inverse=True)
    assert len(ids) == events["customer_id"].n_unique()
    return Payments(
        all=Sample(inputs, events["known_fraud"].to_numpy().astype(np.bool_)),
        days=events["number_of_day"].to_numpy(),
        customers=customers,
        cents=events["amount_cents"].to_numpy(),
    )


def _events(data: str) -> "pl.DataFrame":
    import polars as pl

    at = pl.col("TX_DATETIME").cast(pl.Datetime("us"))
    return (
        pl.read_parquet(data)
        .select(
            transaction_id=pl.col("TRANSACTION_ID").cast(pl.String),
            event_us=at.dt.epoch("us"),
            number_of_day=(at.dt.date() - FIRST_DAY).dt.total_days(),
            customer_id=pl.col("CUSTOMER_ID").cast(pl.String),
            merchant_id=pl.col("TERMINAL_ID").cast(pl.String),
            amount_cents=(pl.col("TX_AMOUNT").cast(pl.Float64) * 100).round().cast(pl.Int64),
            known_fraud=pl.col("TX_FRAUD").cast(pl.Int64),
        )
        .sort("event_us", "transaction_id")
    )


def fold_of(payments: Payments, start: date) -> Fold:
    """The split whose training week begins at `start`."""
    days, customers, labels = payments.days, payments.customers, payments.all.labels
    first = (start - FIRST_DAY).days
    tests = []
    for day in range(first + WEEK + DELAY, first + WEEK + DELAY + WEEK):
        known = labels & (days >= first) & (days < day - DELAY)
        rows = np.flatnonzero(days == day)
        tests.append(rows[~np.isin(customers[rows], customers[known])])
    before_end = days < first + WEEK
    return Fold(
        week=np.flatnonzero(before_end & (days >= first)),
        history=np.flatnonzero(before_end & (days >= WARM_UP)),
        test=np.concatenate(tests),
    )


def _check_published_sizes(payments: Payments) -> None:
    fold = fold_of(payments, PUBLISHED[0])
    found = [(len(rows), int(payments.all.labels[rows].sum())) for rows in (fold.week, fold.test)]
    if found != [(67_240, 598), (58_264, 385)]:
        raise SystemExit(f"The split of {PUBLISHED[0]} has (rows, frauds) {found}: this is not the published file.")


if __name__ == "__main__":
    main()
