"""Which of several candidates goes before the gate."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from fraud_platform.models.algorithms import Labels
from fraud_platform.models.bootstrap import Decided, customer_codes, paired_test
from fraud_platform.models.ranking import Ranking


def choose_candidate(
    labels: Labels,
    days: pl.Series,
    customer_ids: pl.Series,
    candidates: Mapping[str, Decided],
    reviews_a_day: int = 100,
    *,
    significance: float = 0.05,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[str, tuple[str, ...]]:
    """The candidate to choose, and those that tie with the one that saves most money.

    A few large frauds decide what is saved, so that the best of equals is luck: all candidates tie that are
    not shown to save less than the best (paired bootstrap over customers), and of them the one of the
    highest average precision, which every fraud has a say in, is chosen.

    Args:
        labels, days, customer_ids: of the validation rows (n,); candidates: what each says of them.

    Raises:
        TrainingError: if the candidates did not score the same rows.
    """
    codes = customer_codes(customer_ids)
    once = np.ones(int(codes.max(initial=-1)) + 1, np.int64)
    precision = {
        name: Ranking(labels, decided.probabilities, codes)(once)["average_precision"]
        for name, decided in candidates.items()
    }
    best = max(candidates, key=lambda name: (int(candidates[name].gains.sum()), precision[name]))
    tied = [best]
    for name, decided in candidates.items():
        if name != best:
            paired = paired_test(
                labels, days, customer_ids, candidates[best], decided, reviews_a_day, resamples=resamples, seed=seed
            )
            if paired.saved.p_worse > significance:
                tied.append(name)
    return max(tied, key=lambda name: precision[name]), tuple(sorted(tied))
