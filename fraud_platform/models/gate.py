"""Whether a challenger may serve: criteria with their numbers, and a verdict. Pure; promotes nothing itself.

Promotion means shown to be better. On the same matured payments and the same resamples, the challenger has
to save more money or to rank better beyond chance, and neither may be worse beyond chance. A better ranking
counts by itself because the thresholds that turn it into money can be chosen again; more money counts by
itself because money is what the platform is for. What is merely not worse stays out: a change of models is
a risk that has to buy something.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fraud_platform.errors import TrainingError
from fraud_platform.models.bootstrap import Difference, PairedTest
from fraud_platform.models.costs import major_units
from fraud_platform.models.evaluation import Evaluation

Show = Callable[[float], str]
"""How a figure is written for a person."""

TABLE_HEADER = ("criterion", "verdict", "required", "measured", "explanation")


@dataclass(frozen=True)
class GateLimits:
    """What a challenger has to keep.

    min_frauds: in the period, for two models to be compared: resamples of a handful of frauds are too much
        alike, and would call luck a gain.
    min_roc_auc: of a first model, which has no champion to beat.
    significance: the chance that is taken of calling a model better, or worse, that is not.
    max_calibration_error: the calibration error beyond noise, as a share of the fraud rate
        (`Calibration.excess`). An absolute bound says nothing where fraud is rare: at a fraud rate of 0.5 %,
        probabilities of zero for everything are wrong by 0.005. As a share they are wrong by 1, and so is
        a model whose probabilities are twice too high; 0.5 leaves room for fraud rates that change from
        month to month.
    max_single_row_us: the 99th percentile of the time to score one row, in microseconds.
    alert_budget_tolerance: by what share the reviews a day may exceed the budget: thresholds are chosen on
        validation, and days differ.
    """

    min_frauds: int = 20
    min_roc_auc: float = 0.75
    significance: float = 0.05
    max_calibration_error: float = 0.5
    max_single_row_us: float = 1000.0
    alert_budget_tolerance: float = 0.25


@dataclass(frozen=True)
class Judged:
    """What is known of one model on the period; times in microseconds."""

    version: str
    fingerprint: str
    evaluation: Evaluation
    single_row_p50_us: float
    single_row_p99_us: float


@dataclass(frozen=True)
class Criterion:
    """One thing that is asked of a challenger, what was measured, and a sentence for a person."""

    name: str
    passed: bool
    required: str
    measured: str
    explanation: str


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, why in one sentence, and every criterion."""

    promote: bool
    reason: str
    criteria: tuple[Criterion, ...]

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """One row a criterion, under `TABLE_HEADER`."""
        return [
            (of.name, "passed" if of.passed else "failed", of.required, of.measured, of.explanation)
            for of in self.criteria
        ]


def judge(
    challenger: Judged,
    champion: Judged | None,
    paired: PairedTest | None,
    catalog_fingerprint: str,
    limits: GateLimits | None = None,
) -> Verdict:
    """Judge a challenger on the period that both were evaluated on.

    Args:
        paired: champion against challenger. None without a champion, or where the champion was made for
            another catalog and cannot score these rows; the absolute floors decide then.

    Raises:
        TrainingError: if a champion of this catalog was not compared, or a paired test has no champion.
    """
    limits = limits or GateLimits()
    comparable = champion is not None and champion.fingerprint == catalog_fingerprint
    if (paired is None and comparable) or (paired is not None and champion is None):
        raise TrainingError(
            f"Version {challenger.version} can be judged against a champion of this catalog only with a paired test of "
            "both on the same rows, and a paired test only with its champion. Give both or neither."
        )
    criteria = tuple(_criteria(challenger, champion, paired, catalog_fingerprint, limits))
    failed = [criterion for criterion in criteria if not criterion.passed]
    reason = _refusal(challenger, failed) if failed else _promotion(challenger, champion, paired)
    return Verdict(not failed, reason, criteria)


def _criteria(
    challenger: Judged, champion: Judged | None, paired: PairedTest | None, fingerprint: str, limits: GateLimits
) -> Iterator[Criterion]:
    """On a period of one class nothing else can be judged, and nothing else is."""
    evaluation = challenger.evaluation
    yield _catalog(challenger, fingerprint)
    yield _period(evaluation, 1 if paired is None else max(limits.min_frauds, 1))
    if evaluation.frauds and evaluation.frauds < evaluation.rows:
        if paired is None or champion is None:
            yield _ranking_floor(evaluation, limits)
            yield _money_floor(evaluation)
        else:
            yield _gain(paired, champion.version, limits)
            yield _no_loss("ranking", "average precision", paired.average_precision, _four_digits, limits)
            yield _no_loss("money", "money saved", paired.saved, major_units, limits)
            yield _no_loss("card precision", "card precision@k", paired.card_precision_at_k, _four_digits, limits)
        yield _alert_budget(evaluation, limits)
        yield _calibration(evaluation, limits)
    yield _latency(challenger, limits)


def _catalog(challenger: Judged, fingerprint: str) -> Criterion:
    same = challenger.fingerprint == fingerprint
    return Criterion(
        "catalog",
        same,
        f"fingerprint {_short(fingerprint)}",
        _short(challenger.fingerprint),
        "The model takes the features that the catalog makes."
        if same
        else "The model was trained on another catalog than the one in use; train it again.",
    )


def _period(evaluation: Evaluation, least: int) -> Criterion:
    if not 0 < evaluation.frauds < evaluation.rows:
        explanation = (
            "The period has no fraud or nothing but fraud, so that no model can be judged on it; wait for labels to "
            "mature or take a longer test period."
        )
    elif evaluation.frauds < least:
        explanation = "The period has too few frauds to tell two models apart; take a longer test period."
    else:
        explanation = "The period has what it takes to judge a model."
    passed = least <= evaluation.frauds < evaluation.rows
    measured = f"{evaluation.frauds:,} frauds in {evaluation.rows:,} payments"
    return Criterion("period", passed, f"at least {least:,} frauds, and legitimate payments", measured, explanation)


def _ranking_floor(evaluation: Evaluation, limits: GateLimits) -> Criterion:
    found = evaluation.roc_auc or 0.0
    passed = found >= limits.min_roc_auc
    return Criterion(
        "ranking",
        passed,
        f"ROC AUC of at least {limits.min_roc_auc:.3f}",
        f"{found:.4f}",
        f"The model, which has no champion to beat, ranks {'well' if passed else 'not well'} enough to serve.",
    )


def _money_floor(evaluation: Evaluation) -> Criterion:
    saved = evaluation.money.saved
    return Criterion(
        "money",
        saved > 0,
        "more than 0.00 saved",
        major_units(saved),
        "The decisions save money against approving everything."
        if saved > 0
        else "The decisions save nothing against approving everything.",
    )


def _gain(paired: PairedTest, champion: str, limits: GateLimits) -> Criterion:
    """Each of the two ways to be better is tested at half the significance (Bonferroni): two chances to win
    by luck shall not be more than one."""
    level = limits.significance / 2
    better = [name for name, of in _gains(paired) if of.p_better <= level]
    worse = [name for name, of in _gains(paired) if of.p_worse <= limits.significance]
    if better:
        explanation = f"The challenger is better than version {champion} beyond chance: {' and '.join(better)}."
    elif worse:
        explanation = f"The challenger is worse than version {champion} beyond chance: {' and '.join(worse)}."
    elif paired.identical:
        explanation = (
            f"The challenger gives every payment the same probability and the same decision as version {champion}: "
            "nothing is gained."
        )
    else:
        explanation = f"The challenger is not shown to be better than version {champion}: what differs may be chance."
    measured = ", ".join(f"{name} p = {of.p_better:.3f}" for name, of in _gains(paired))
    return Criterion("gain", bool(better), f"one p of at most {level:.3f}", measured, explanation)


def _no_loss(name: str, figure: str, found: Difference | None, show: Show, limits: GateLimits) -> Criterion:
    required = f"no loss beyond chance: p over {limits.significance:.3f}"
    if found is None:
        return Criterion(name, False, required, "undefined", f"The {figure} cannot be compared.")
    worse = found.p_worse <= limits.significance
    return Criterion(
        name,
        not worse,
        required,
        f"{show(found.champion)} → {show(found.challenger)}, {_interval_text(found, show)}, p = {found.p_worse:.3f}",
        f"The {figure} is {_direction(found)} the champion's{' beyond chance' if worse else ''}.",
    )


def _alert_budget(evaluation: Evaluation, limits: GateLimits) -> Criterion:
    load = evaluation.alerts
    allowed = load.budget * (1 + limits.alert_budget_tolerance)
    found = load.reviews_per_day or 0.0
    return Criterion(
        "alert budget",
        found <= allowed,
        f"at most {allowed:,.1f} reviews a day ({load.budget:,} and {limits.alert_budget_tolerance:.0%})",
        f"{found:,.1f} a day, {load.busiest_day_reviews:,} on the busiest",
        "The team can do the reviews." if found <= allowed else "The model asks for more reviews than the team can do.",
    )


def _calibration(evaluation: Evaluation, limits: GateLimits) -> Criterion:
    found = evaluation.calibration
    excess = found.excess if found else None
    passed = excess is not None and excess <= limits.max_calibration_error
    return Criterion(
        "calibration",
        passed,
        f"error beyond noise of at most {limits.max_calibration_error:.0%} of the fraud rate",
        "undefined"
        if found is None or excess is None
        else f"{excess:.0%} (error {found.error:.5f}, "
        f"noise {found.noise:.5f}, predicted {found.mean_predicted:.3%}, observed {found.observed_rate:.3%})",
        "The probabilities mean what they say." if passed else "The probabilities are not what comes; calibrate again.",
    )


def _latency(challenger: Judged, limits: GateLimits) -> Criterion:
    passed = challenger.single_row_p99_us <= limits.max_single_row_us
    return Criterion(
        "latency",
        passed,
        f"99 % of single rows within {limits.max_single_row_us:,.0f} µs",
        f"p50 {challenger.single_row_p50_us:,.1f} µs, p99 {challenger.single_row_p99_us:,.1f} µs",
        "The model answers in time." if passed else "The model is too slow to decide on a payment while it waits.",
    )


def _refusal(challenger: Judged, failed: list[Criterion]) -> str:
    first = failed[0]
    others = f" (also failed: {', '.join(of.name for of in failed[1:])})" if failed[1:] else ""
    why = first.explanation[0].lower() + first.explanation[1:].removesuffix(".")
    return f"Version {challenger.version} is refused for {first.name}: {why}{others}."


def _promotion(challenger: Judged, champion: Judged | None, paired: PairedTest | None) -> str:
    evaluation = challenger.evaluation
    if paired is not None and champion is not None:
        saved, ranking = paired.saved, paired.average_precision
        by = f"money saved {_interval_text(saved, major_units)}"
        if ranking is not None:
            by += f", average precision {_interval_text(ranking, _four_digits)}"
        return f"Version {challenger.version} replaces version {champion.version}: {by}, on {paired.rows:,} payments."
    place = (
        "becomes the first champion"
        if champion is None
        else f"replaces version {champion.version}, which was made for another catalog and cannot be compared"
    )
    floors = f"ROC AUC {evaluation.roc_auc:.4f} and {major_units(evaluation.money.saved)} saved"
    return f"Version {challenger.version} {place}: {floors} on {evaluation.rows:,} payments."


def _gains(paired: PairedTest) -> list[tuple[str, Difference]]:
    named = (("money saved", paired.saved), ("average precision", paired.average_precision))
    return [(name, found) for name, found in named if found is not None]


def _direction(found: Difference) -> str:
    value = found.difference.value
    return "higher than" if value > 0 else "lower than" if value < 0 else "the same as"


def _interval_text(found: Difference, show: Show) -> str:
    of = found.difference
    sign = "+" if of.value > 0 else ""
    return f"{sign}{show(of.value)} (95 % interval {show(of.low)} to {show(of.high)})"


def _four_digits(figure: float) -> str:
    return f"{figure:.4f}"


def _short(fingerprint: str) -> str:
    return fingerprint[:12]
