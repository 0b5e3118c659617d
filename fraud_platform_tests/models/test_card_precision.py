from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.models.bootstrap import customer_codes
from fraud_platform.models.card_precision import CardReviews

PAYMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcdefgh"), st.integers(0, 5), st.booleans()), min_size=1, max_size=60
)


def naive_card_precision(rows: list[tuple[int, str, float, bool]], k: int) -> list[float]:
    found: set[str] = set()
    result = []
    for of_day in sorted({number for number, *_ in rows}):
        best: dict[str, float] = {}
        compromised: set[str] = set()
        for number, card, score, fraud in rows:
            if number == of_day and card not in found:
                best[card] = max(score, best.get(card, 0.0))
                if fraud:
                    compromised.add(card)
        reviewed = sorted(best, key=lambda card: (-best[card], card))[:k]
        if reviewed:
            hits = [card for card in reviewed if card in compromised]
            result.append(len(hits) / len(reviewed))
            found.update(hits)
    return result


def card_precision(rows: list[tuple[int, str, float, bool]], k: int, counts: list[int] | None = None) -> list[float]:
    numbers, cards, scores, frauds = zip(*rows, strict=True)
    days = pl.Series([date(2024, 1, 1) + timedelta(days=number) for number in numbers])
    codes = customer_codes(pl.Series(cards))
    once = np.ones(codes.max() + 1, np.int64)
    reviews = CardReviews(np.array(frauds), np.array(scores), days, codes, k)
    return reviews.by_day(once if counts is None else np.array(counts))


@given(PAYMENTS, st.integers(1, 5))
def test_card_precision_agrees_with_a_naive_loop(payments, k: int):
    rows = [(number, card, score / 5, fraud) for number, card, score, fraud in payments]
    assert card_precision(rows, k) == pytest.approx(naive_card_precision(rows, k))


@given(PAYMENTS, st.integers(1, 12), st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_a_customer_that_counts_n_times_is_n_customers(payments, k: int, weights: list[int]):
    rows = [(number, card, score / 5, fraud) for number, card, score, fraud in payments]
    cards = sorted({card for _, card, *_ in rows})
    counts = dict(zip(cards, weights, strict=False))
    copies = [
        (number, f"{card}{copy}", score, fraud) for number, card, score, fraud in rows for copy in range(counts[card])
    ]
    assert card_precision(rows, k, list(counts.values())) == pytest.approx(naive_card_precision(copies, k))


def test_a_card_found_on_one_day_is_not_reviewed_on_the_next():
    rows = [(0, "a", 0.9, True), (1, "a", 0.9, True), (1, "b", 0.5, True), (1, "c", 0.1, False)]
    assert card_precision(rows, 1) == [1.0, 1.0]


def test_a_compromised_card_that_was_not_reviewed_stays():
    rows = [(0, "a", 0.1, True), (0, "b", 0.9, False), (1, "a", 0.9, True)]
    assert card_precision(rows, 1) == [0.0, 1.0]


def test_a_card_counts_once_a_day_with_its_highest_score():
    rows = [(0, "a", 0.9, False), (0, "a", 0.1, True), (0, "b", 0.5, False)]
    assert card_precision(rows, 1) == [1.0]


def test_fewer_cards_than_k_are_all_reviewed():
    assert card_precision([(0, "a", 0.9, True), (0, "b", 0.1, False)], 100) == [0.5]


def test_a_day_without_a_card_is_left_out():
    assert card_precision([(0, "a", 0.9, True), (1, "a", 0.9, True)], 5) == [1.0]
