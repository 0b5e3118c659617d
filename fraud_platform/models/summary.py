"""An evaluation in the words of a risk manager: what is stopped, what it costs, what is missed, how sure it is."""

from collections.abc import Iterator

from fraud_platform.models.bootstrap import Interval
from fraud_platform.models.costs import major_units
from fraud_platform.models.evaluation import Evaluation
from fraud_platform.models.segments import TypeRecall

NARROW, WIDE = 0.1, 0.3
"""Widths of an interval as a share of its value: below the first a figure is firm, above the second rough."""
FEW_FRAUDS = 50
MOST_MISSED = 3
CALIBRATED, TOLERABLE = 0.15, 0.5
"""The calibration error beyond noise as a share of the fraud rate."""


def summarise(evaluation: Evaluation, currency: str | None = None) -> str:
    """Markdown of a few short paragraphs.

    Args:
        currency: written behind amounts, which are in major units; without it they stand alone.
    """
    sections = (
        ("What is stopped", _stopped(evaluation, currency)),
        ("The work of the team", _work(evaluation)),
        ("What is missed", _missed(evaluation, currency)),
        ("How sure this is", _certainty(evaluation)),
        ("Whether the probabilities can be taken at their word", _calibrated(evaluation)),
        ("What could not be measured", _unmeasured(evaluation)),
    )
    return "\n\n".join(f"**{title}.** {' '.join(text)}" for title, sentences in sections if (text := list(sentences)))


def _stopped(evaluation: Evaluation, currency: str | None) -> Iterator[str]:
    money, frauds = evaluation.money, _number(evaluation.frauds, "fraud")
    if not evaluation.rows:
        return
    period = f"The period has {_number(evaluation.rows, 'payment')} over {_number(evaluation.days, 'day')}"
    if evaluation.frauds:
        yield f"{period}, and {_money(money.fraud_amount, currency)} in {frauds}."
    else:
        yield f"{period} and no known fraud, so that there was nothing to stop."
    if money.stopped_share is not None:
        found = evaluation.true_positives
        yield f"{_percent(money.stopped_share)} of that money is stopped, in {found:,} of the {frauds}."
    yield _net(evaluation, currency)


def _net(evaluation: Evaluation, currency: str | None) -> str:
    money = evaluation.money
    if not money.reviews and not money.blocks:
        return "No payment is reviewed or blocked, so that nothing is spent and nothing is saved."
    costs = f"{_money(money.review_cost, currency)} for reviews"
    if money.blocks:
        costs += f" and {_money(money.blocked_good_cost, currency)} for good customers who were blocked"
    if money.saved >= 0:
        return f"After {costs}, {_money(money.saved, currency)} is saved against approving everything."
    return (
        f"The decisions cost {_money(-money.saved, currency)} more than they save: {costs}. Approving everything would "
        "have been cheaper."
    )


def _work(evaluation: Evaluation) -> Iterator[str]:
    load = evaluation.alerts
    if load.reviews_per_day is None or load.days_above_budget is None:
        return
    above = round(load.days_above_budget * evaluation.days)
    days = f"{above} of {_number(evaluation.days, 'day')} ask" if above else "no day asks"
    yield (
        f"The model asks for {load.reviews_per_day:,.1f} reviews a day, and {load.busiest_day_reviews:,} on the "
        f"busiest day; the team can do {load.budget:,}, and {days} for more."
    )
    if load.blocks_per_day:
        yield f"{load.blocks_per_day:,.1f} payments a day are blocked without a review."
    else:
        yield "Nothing is blocked without a review."
    if evaluation.precision is not None:
        yield f"Of the alerts, {_of_ten(evaluation.precision)} fraud."
    if evaluation.card_precision_at_k is not None:
        yield (
            f"Of the {evaluation.k:,} most suspicious customers of each day, "
            f"{_of_ten(evaluation.card_precision_at_k)} victims of fraud."
        )


def _missed(evaluation: Evaluation, currency: str | None) -> Iterator[str]:
    missed = {name: by for name, by in evaluation.by_fraud_type.items() if by.found < by.frauds}
    if evaluation.frauds and not evaluation.false_negatives:
        yield "Nothing: every known fraud is stopped."
    elif missed:
        worst = sorted(missed.items(), key=lambda item: (-item[1].amount_missed, item[0]))[:MOST_MISSED]
        yield "By the money that is lost: " + "; ".join(_type(name, by, currency) for name, by in worst) + "."
        if len(missed) > MOST_MISSED:
            yield f"{_number(len(missed) - MOST_MISSED, 'other kind')} of fraud lose less."
    elif evaluation.frauds:
        lost = _money(evaluation.money.fraud_amount - evaluation.money.fraud_amount_stopped, currency)
        yield f"{_number(evaluation.false_negatives, 'fraud')} with a loss of {lost}; of what kind is not known."


def _certainty(evaluation: Evaluation) -> Iterator[str]:
    named = (
        ("of the fraud money would be stopped", "fraud_amount_stopped_share"),
        ("of the frauds would be found", "recall"),
        ("of the alerts would be fraud", "precision"),
    )
    known = [(what, evaluation.intervals[name]) for what, name in named if name in evaluation.intervals]
    varying = [(what, interval) for what, interval in known if interval.low < interval.high]
    if varying:
        yield "With other customers of the same kind, in 95 of 100 cases"
        yield (
            "; ".join(
                f"between {_percent(of.low)} and {_percent(of.high)} {what} ({_firmness(of)})" for what, of in varying
            )
            + "."
        )
    if 0 < evaluation.frauds < FEW_FRAUDS:
        yield f"The period has only {_number(evaluation.frauds, 'fraud')}, too few to rely on any figure about them."


def _calibrated(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.calibration
    if found is None or found.excess is None:
        return
    yield (f"The model expected {found.mean_predicted * evaluation.rows:,.0f} frauds, and {evaluation.frauds:,} came.")
    if found.excess <= CALIBRATED:
        yield "High and low probabilities alike come true about as often as they say."
    elif found.excess <= TOLERABLE:
        yield f"Beyond chance they are off by {_percent(found.excess)} of the fraud rate, which is tolerable."
    else:
        yield (
            f"Beyond chance they are off by {_percent(found.excess)} of the fraud rate: they rank payments, and should "
            "not be read as probabilities until the model is calibrated again."
        )


def _unmeasured(evaluation: Evaluation) -> Iterator[str]:
    """Said in words, so that no figure is missing without a reason."""
    if not evaluation.rows:
        yield "Anything: the period has no payments."
        return
    if not evaluation.frauds:
        yield "How well fraud is found and how well payments are ranked, because no fraud is known."
    elif evaluation.frauds == evaluation.rows:
        yield "How well payments are ranked, because every one of them is fraud."
    if evaluation.precision is None:
        yield "How many alerts are fraud, because there was no alert."
    if evaluation.frauds and not evaluation.by_fraud_type:
        yield "What kinds of fraud are found, because the source does not tell them."
    if not evaluation.intervals:
        yield "How sure the figures are, because no intervals were computed."


def _type(name: str, by: TypeRecall, currency: str | None) -> str:
    missed = by.frauds - by.found
    kind = "of unknown kind" if name == "unknown" else f"of kind {name.replace('_', ' ')}"
    return f"{missed:,} of {_number(by.frauds, 'fraud')} {kind} ({_money(by.amount_missed, currency)})"


def _firmness(interval: Interval) -> str:
    width = (interval.high - interval.low) / interval.value if interval.value else float("inf")
    return "a firm figure" if width < NARROW else "a fair estimate" if width < WIDE else "a rough estimate"


def _of_ten(share: float) -> str:
    """'about 3 of ten are'; of a hundred or a thousand where ten is too coarse."""
    if share in (0, 1):
        return "all are" if share else "none is"
    for whole, word in ((10, "ten"), (100, "a hundred"), (1_000, "a thousand")):
        if 1 <= round(share * whole) < whole:
            return f"about {round(share * whole)} of {word} are"
    return "nearly all are" if share > 0.5 else "fewer than one of a thousand are"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _money(cents: int, currency: str | None) -> str:
    return f"{major_units(cents)} {currency}" if currency else major_units(cents)
