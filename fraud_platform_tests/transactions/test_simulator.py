"""The simulator: reproducible days that keep the contract, with frauds that show and reports that are late."""

import hashlib
import subprocess
import sys
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fraud_platform.errors import SourceError
from fraud_platform.transactions import contract
from fraud_platform.transactions.simulator import (
    BASE_KINDS,
    FRAUD_KINDS,
    Drift,
    SimulatorConfig,
    simulate,
    simulate_day,
)

FIRST = date(2026, 1, 1)
SMALL = SimulatorConfig(seed=7, customers=400, merchants=200, transactions_per_day=800, fraud_rate=0.05)
SMALLEST = SimulatorConfig(customers=50, merchants=50, transactions_per_day=10, fraud_rate=0.001)
TYPES = {"string": pl.String, "timestamp": pl.Datetime("us"), "int64": pl.Int64, "float64": pl.Float64}
TRUTH = {"is_fraud": pl.Boolean, "fraud_type": pl.String, "reported_at": pl.Datetime("us")}


def after(days: int) -> date:
    return FIRST + timedelta(days=days)


def digest(frame: pl.DataFrame) -> str:
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()


def assert_contract_holds(frame: pl.DataFrame) -> None:
    for column in contract.TRANSACTION:
        values = frame[column.name].drop_nulls()
        assert not column.required or len(values) == len(frame), f"{column.name} has nulls"
        if column.pattern is not None:
            assert values.str.contains(column.pattern).all(), f"{column.name} does not match its pattern"
        if column.values is not None:
            assert values.is_in(column.values).all(), f"{column.name} has unknown values"
        if column.minimum is not None and column.maximum is not None:
            assert values.is_between(column.minimum, column.maximum).all(), f"{column.name} is out of its limits"
        if column.type == "float64":
            assert values.is_finite().all(), f"{column.name} is not finite"


def average(values: pl.Series) -> float:
    return float(values.drop_nulls().cast(pl.Float64).to_numpy().mean())


def median(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).quantile(0.5, "linear") or 0)


def area_under_curve(score: pl.Series, is_fraud: pl.Series) -> float:
    """ROC AUC as the Mann-Whitney statistic."""
    ranks, frauds = score.rank("average"), int(is_fraud.sum())
    excess = float(ranks.filter(is_fraud).sum()) - frauds * (frauds + 1) / 2
    return excess / (frauds * (len(score) - frauds))


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return simulate(SMALL, FIRST, after(59))


@pytest.fixture(scope="module")
def with_novelty(history: pl.DataFrame) -> pl.DataFrame:
    """Whether the customer was seen with the device before, and the distance from home in degrees."""
    return history.with_columns(
        known_device=pl.int_range(pl.len()).over("customer_id", "device_id") > 0,
        away=(
            (pl.col("latitude") - pl.col("home_latitude")) ** 2 + (pl.col("longitude") - pl.col("home_longitude")) ** 2
        ).sqrt(),
    )


def test_columns_are_the_contract_then_the_truth(history: pl.DataFrame) -> None:
    expected = {column.name: TYPES[column.type] for column in contract.TRANSACTION} | TRUTH
    assert list(history.schema.items()) == list(expected.items())


def test_every_column_keeps_the_contract(history: pl.DataFrame) -> None:
    assert_contract_holds(history)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    customers=st.integers(50, 200),
    merchants=st.integers(50, 200),
    rate=st.floats(0.001, 0.05),
    day=st.integers(0, 900),
)
def test_any_configuration_keeps_the_contract(seed: int, customers: int, merchants: int, rate: float, day: int) -> None:
    config = SimulatorConfig(
        seed=seed, customers=customers, merchants=merchants, transactions_per_day=300, fraud_rate=rate
    )
    frame = simulate_day(config, after(day))
    assert_contract_holds(frame)
    assert set(frame["event_time"].dt.date()) == {after(day)}


def test_smallest_configuration_gives_days() -> None:
    assert 50 < len(simulate(SMALLEST, FIRST, after(19))) < 400


def test_sorted_by_time_then_id(history: pl.DataFrame) -> None:
    assert history.equals(history.sort("event_time", "transaction_id"))


def test_transaction_ids_are_unique_across_days(history: pl.DataFrame) -> None:
    assert history["transaction_id"].is_unique().all()


def test_a_day_does_not_depend_on_the_range(history: pl.DataFrame) -> None:
    day = after(40)
    assert simulate_day(SMALL, day).equals(history.filter(pl.col("event_time").dt.date() == day))
    assert (
        simulate(SMALL, after(38), after(41))
        .filter(pl.col("event_time").dt.date() == day)
        .equals(simulate_day(SMALL, day))
    )


def test_another_process_gives_the_same_day() -> None:
    program = (
        "import sys; from datetime import date; from fraud_platform.transactions.simulator import *;"
        f"c = SimulatorConfig.model_validate_json({SMALL.model_dump_json(by_alias=True)!r});"
        f"sys.stdout.write(simulate_day(c, date.fromisoformat('{after(12)}')).write_csv())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert hashlib.sha256(run.stdout).hexdigest() == digest(simulate_day(SMALL, after(12)))


def test_another_seed_gives_another_day() -> None:
    other = SMALL.model_copy(update={"seed": 8})
    assert digest(simulate_day(other, FIRST)) != digest(simulate_day(SMALL, FIRST))


def test_a_day_before_history_is_refused() -> None:
    with pytest.raises(SourceError, match=r"no 2025-12-31.*first_day"):
        simulate_day(SMALL, date(2025, 12, 31))


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(SourceError, match="has no day"):
        simulate(SMALL, after(1), FIRST)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fraud_rate": 0.2},
        {"customers": 0},
        {"colour": "red"},
        {"drift": [{"kind": "amounts", "from": "2026-01-10", "strength": 0}]},
        {"drift": [{"kind": "weather", "from": "2026-01-10", "strength": 0.5}]},
    ],
)
def test_impossible_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimulatorConfig.model_validate(wrong)


def test_number_of_transactions_is_about_the_expected(history: pl.DataFrame) -> None:
    assert len(history) / 60 == pytest.approx(SMALL.transactions_per_day, rel=0.03)


@pytest.mark.parametrize("rate", [0.01, 0.03])
def test_fraud_rate_is_about_the_configured_one(rate: float) -> None:
    config = SMALL.model_copy(update={"fraud_rate": rate, "seed": 11, "transactions_per_day": 1_500.0})
    assert average(simulate(config, FIRST, after(59))["is_fraud"]) == pytest.approx(rate, rel=0.2)


def test_fraud_type_is_given_for_frauds_only(history: pl.DataFrame) -> None:
    assert (history["is_fraud"] == history["fraud_type"].is_not_null()).all()


def test_every_base_kind_occurs_and_no_other(history: pl.DataFrame) -> None:
    assert set(history["fraud_type"].drop_nulls()) == set(BASE_KINDS)


def test_payments_in_person_have_no_device_and_no_address(history: pl.DataFrame) -> None:
    present = history.filter(pl.col("channel").is_in(["in_person", "atm"]))
    assert present["device_id"].null_count() == present["ip_address"].null_count() == len(present)


def test_honest_customers_leave_traces_of_fraud_too(with_novelty: pl.DataFrame) -> None:
    late = with_novelty.filter(~pl.col("is_fraud") & (pl.col("event_time") >= after(30)))
    new_devices = late.filter(pl.col("device_id").is_not_null() & ~pl.col("known_device"))
    assert len(new_devices) > 0.005 * len(late)
    assert average(late["merchant_country"] != late["home_country"]) > 0.02
    assert average(late["away"] > 5) > 0.01


def test_stolen_card_is_used_in_person_and_away_from_home(with_novelty: pl.DataFrame) -> None:
    stolen = with_novelty.filter(pl.col("fraud_type") == "stolen_card")
    honest = with_novelty.filter(~pl.col("is_fraud") & (pl.col("channel") == "in_person"))
    assert set(stolen["channel"]) <= {"in_person", "atm"}
    assert average(stolen["away"] > 2) > 5 * average(honest["away"] > 2)


def test_card_not_present_is_remote_and_mostly_on_new_devices(with_novelty: pl.DataFrame) -> None:
    frauds = with_novelty.filter(pl.col("fraud_type") == "card_not_present")
    honest = with_novelty.filter(~pl.col("is_fraud") & pl.col("device_id").is_not_null())
    shown = frauds.filter(pl.col("device_id").is_not_null())
    assert set(frauds["channel"]) <= {"online", "phone"}
    assert average(~shown["known_device"]) > 3 * average(~honest["known_device"])


def test_card_testing_is_bursts_of_small_amounts_then_a_large_one(history: pl.DataFrame) -> None:
    frauds = history.filter(pl.col("fraud_type") == "card_testing")
    bursts = (
        frauds.filter(pl.col("amount_cents") < 2_000)
        .rolling("event_time", period="6h", group_by="merchant_id")
        .agg(payments=pl.len(), cards=pl.col("card_id").n_unique())
    )
    assert median(frauds["amount_cents"]) < 500
    assert (frauds["amount_cents"] > 10_000).any()
    assert average(bursts["payments"] >= 3) > 0.4
    assert (bursts["cards"] >= 3).any()


def test_account_takeover_uses_a_device_that_the_customer_never_used(history: pl.DataFrame) -> None:
    honest = history.filter(~pl.col("is_fraud")).select("customer_id", "device_id").unique()
    frauds = history.filter((pl.col("fraud_type") == "account_takeover") & pl.col("device_id").is_not_null())
    assert len(frauds) > 100
    assert frauds.join(honest, on=["customer_id", "device_id"], how="inner").is_empty()


def test_synthetic_identity_is_young_and_behaves_before_it_busts_out(history: pl.DataFrame) -> None:
    busts = history.filter(pl.col("fraud_type") == "synthetic_identity").group_by("customer_id")
    bust = busts.agg(busted=pl.col("event_time").min(), frauds=pl.len()).filter(pl.col("busted") >= after(45))
    lives = history.join(bust, on="customer_id").group_by("customer_id")
    life = lives.agg(
        behaved=((pl.col("event_time") < pl.col("busted")) & ~pl.col("is_fraud")).sum(),
        relapsed=((pl.col("event_time") >= pl.col("busted")) & ~pl.col("is_fraud")).sum(),
        age=pl.col("busted").first() - pl.col("event_time").min(),
    )
    assert len(life) >= 3
    assert (life["behaved"] >= 8).all()
    assert life["relapsed"].sum() == 0
    assert (life["age"] < timedelta(days=45)).all()


def test_compromised_merchant_harms_many_customers_for_weeks(history: pl.DataFrame) -> None:
    places = history.filter(pl.col("fraud_type") == "compromised_merchant").group_by("merchant_id")
    place = places.agg(
        victims=pl.col("customer_id").n_unique(), span=pl.col("event_time").max() - pl.col("event_time").min()
    )
    assert (place["victims"] >= 15).any()
    assert (place["span"] > timedelta(days=14)).any()


def test_amount_alone_does_not_separate(history: pl.DataFrame) -> None:
    """Fraud rates by narrow ranges of the amount, learnt on even days, score the odd ones."""
    binned = history.with_columns(
        range=(6 * pl.col("amount_cents").log()).floor(), even=pl.col("event_time").dt.ordinal_day() % 2 == 0
    )
    rates = binned.filter("even").group_by("range").agg(rate=pl.col("is_fraud").mean())
    scored = (
        binned.filter(~pl.col("even")).join(rates, on="range", how="left").with_columns(pl.col("rate").fill_null(0))
    )
    assert 0.5 < area_under_curve(scored["rate"], scored["is_fraud"]) < 0.80


def test_reports_come_after_the_event(history: pl.DataFrame) -> None:
    reported = history.filter(pl.col("reported_at").is_not_null())
    assert (reported["reported_at"] > reported["event_time"]).all()


def test_most_reports_come_within_seven_days(history: pl.DataFrame) -> None:
    frauds = history.filter(pl.col("is_fraud") & pl.col("reported_at").is_not_null())
    delay = (frauds["reported_at"] - frauds["event_time"]).dt.total_seconds() / 86_400
    assert 0.8 < average(delay <= 7) < 0.95
    assert 1.5 < median(delay) < 4


def test_some_frauds_are_never_reported(history: pl.DataFrame) -> None:
    silent = average(history.filter("is_fraud")["reported_at"].is_null())
    assert 0.02 < silent < 0.2


def test_a_few_good_payments_are_disputed(history: pl.DataFrame) -> None:
    disputed = average(history.filter(~pl.col("is_fraud"))["reported_at"].is_not_null())
    assert 0 < disputed < 0.002


def drifted(kind: str, strength: float, start: date) -> SimulatorConfig:
    return SMALL.model_copy(
        update={"drift": (Drift.model_validate({"kind": kind, "from": start, "strength": strength}),)}
    )


@pytest.mark.parametrize("kind", ["amounts", "merchant_mix", "new_fraud_pattern"])
def test_drift_changes_nothing_before_its_day(kind: str) -> None:
    config = drifted(kind, 0.5, after(10))
    assert simulate(config, after(7), after(9)).equals(simulate(SMALL, after(7), after(9)))
    assert not simulate_day(config, after(10)).equals(simulate_day(SMALL, after(10)))


def test_amounts_drift_raises_honest_amounts_by_its_strength(history: pl.DataFrame) -> None:
    after_drift = simulate(drifted("amounts", 0.5, after(20)), after(20), after(29)).filter(~pl.col("is_fraud"))
    before = history.filter(~pl.col("is_fraud") & pl.col("event_time").is_between(after(20), after(30), closed="left"))
    assert median(after_drift["amount_cents"]) == pytest.approx(1.5 * median(before["amount_cents"]), rel=0.1)


def test_merchant_mix_drift_moves_spending_online(history: pl.DataFrame) -> None:
    moved = simulate(drifted("merchant_mix", 0.4, after(20)), after(20), after(29))
    usual = history.filter(pl.col("event_time").is_between(after(20), after(30), closed="left"))
    share, usual_share = (average(frame["channel"] == "online") for frame in (moved, usual))
    assert share > usual_share + 0.1


def test_new_fraud_pattern_takes_its_share_of_the_frauds() -> None:
    frame = simulate(drifted("new_fraud_pattern", 0.5, after(20)), after(20), after(59))
    frauds = frame.filter("is_fraud")
    scams = frauds.filter(pl.col("fraud_type") == FRAUD_KINDS[-1])
    honest = frame.filter(~pl.col("is_fraud")).select("customer_id", "device_id").unique()
    assert 0.3 < len(scams) / len(frauds) < 0.6
    assert average(frame["is_fraud"]) == pytest.approx(SMALL.fraud_rate, rel=0.2)
    assert set(scams["channel"]) == {"transfer"}
    assert scams.join(honest, on=["customer_id", "device_id"], how="semi").height > 0.5 * len(scams)


def test_simulated_time_has_microseconds_and_no_zone(history: pl.DataFrame) -> None:
    first = history["event_time"][0]
    assert isinstance(first, datetime)
    assert first.tzinfo is None
    assert (history["event_time"].dt.microsecond() % 1000 != 0).any()


def window_features(frame: pl.DataFrame) -> pl.DataFrame:
    """A plain set of point-in-time features: velocity, novelty, distance, deviation from habit."""

    def past(key: list[str], span: str, column: str = "one") -> pl.Expr:
        name = f"{'_'.join(key)}_{column}_{span}"
        return pl.col(column).rolling_sum_by("event_time", span, closed="left").over(key).fill_null(0).alias(name)

    frame = frame.with_columns(
        one=pl.lit(1.0), log_amount=pl.col("amount_cents").log(), hour=pl.col("event_time").dt.hour()
    )
    pairs = [["customer_id", other] for other in ("merchant_id", "device_id", "merchant_category", "merchant_country")]
    counts = [past([key], span) for key in ("customer_id", "merchant_id", "device_id") for span in ("1h", "1d", "30d")]
    day = pl.col("event_time")
    frame = frame.with_columns(
        *counts,
        *[past(pair, "30d") for pair in pairs],
        past(["customer_id"], "30d", "log_amount"),
        past(["merchant_id"], "30d", "log_amount"),
        foreign=(pl.col("merchant_country") != pl.col("home_country")).cast(pl.Float64),
        north=pl.col("latitude") - pl.col("home_latitude"),
        east=pl.col("longitude") - pl.col("home_longitude"),
        idle=(day - day.shift(1).over("customer_id")).dt.total_seconds(),
        device_age=(day - day.first().over("device_id")).dt.total_seconds(),
        category=pl.col("merchant_category").rank("dense"),
        how=pl.col("channel").rank("dense"),
    )
    left_out = ["one", "amount_cents", "latitude", "longitude", "home_latitude", "home_longitude"]
    return frame.with_columns(
        unusual=pl.col("log_amount") - pl.col("customer_id_log_amount_30d") / pl.col("customer_id_one_30d"),
        expensive=pl.col("log_amount") - pl.col("merchant_id_log_amount_30d") / pl.col("merchant_id_one_30d"),
    ).select(pl.selectors.numeric().exclude(left_out))


@pytest.mark.slow
def test_windowed_features_separate_well_but_not_perfectly() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    config = SimulatorConfig(customers=4_000, transactions_per_day=5_000)
    frame = simulate(config, FIRST, after(59))
    features, is_fraud = window_features(frame).to_numpy(), frame["is_fraud"].to_numpy()
    day = (frame["event_time"].dt.date() - FIRST).dt.total_days().to_numpy()
    train, test = (day >= 8) & (day < 42), day >= 45
    model = HistGradientBoostingClassifier(random_state=0, max_iter=150, learning_rate=0.06)
    model.fit(features[train], is_fraud[train])
    score = model.predict_proba(features[test])[:, 1]
    assert 0.93 < roc_auc_score(is_fraud[test], score) < 0.99
