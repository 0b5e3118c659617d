from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import TrainingError
from fraud_platform.models.dataset import (
    SPLITS,
    Days,
    Periods,
    content_hash,
    label_events,
    plan_periods,
    read_snapshot,
    write_snapshot,
)

START = date(2024, 1, 1)
PERIODS = Periods(
    train=Days(START, date(2024, 1, 3)),
    validation=Days(date(2024, 1, 3), date(2024, 1, 4)),
    test=Days(date(2024, 1, 6), date(2024, 1, 8)),
    as_of=date(2024, 1, 10),
)
REPORTS = {"transaction_id": pl.String, "is_fraud": pl.Boolean, "reported_us": pl.Int64, "fraud_type": pl.String}


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1_000_000)


def events_on(*days: date) -> pl.DataFrame:
    """One event at noon of each day: t0, t1 …"""
    return pl.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in range(len(days))],
            "event_us": [midnight(day) + 43_200_000_000 for day in days],
            "day": list(days),
            "customer_id": "c",
            "amount_cents": 100,
            "amount": pl.Series([1.0] * len(days), dtype=pl.Float32),
        },
        schema_overrides={"amount_cents": pl.Int64},
    )


def reports(*rows: tuple[str, bool, int, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=REPORTS, orient="row")


def labels_of(events: pl.DataFrame, labels: pl.DataFrame) -> dict[str, bool]:
    labelled = label_events(events, labels, PERIODS)
    return dict(zip(labelled["transaction_id"], labelled["is_fraud"], strict=True))


def test_periods_of_a_month():
    assert plan_periods(START, date(2024, 2, 1), label_delay_days=7, validation_days=3, test_days=5) == Periods(
        train=Days(START, date(2024, 1, 10)),
        validation=Days(date(2024, 1, 10), date(2024, 1, 13)),
        test=Days(date(2024, 1, 20), date(2024, 1, 25)),
        as_of=date(2024, 2, 1),
    )


@given(st.integers(1, 120), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20))
def test_periods_keep_the_label_delay_and_never_overlap(days: int, delay: int, validation: int, test: int):
    end = START + timedelta(days=days)
    if days < 2 * delay + validation + test + 1:
        with pytest.raises(TrainingError, match=rf"there are {days} .* {2 * delay + validation + test + 1} are needed"):
            plan_periods(START, end, delay, validation, test)
        return
    periods = plan_periods(START, end, delay, validation, test)
    assert periods.train.first == START < periods.train.end == periods.validation.first
    assert periods.validation.end + timedelta(days=delay) == periods.training_moment == periods.test.first
    assert periods.test.end + timedelta(days=delay) == periods.as_of == end
    assert (periods.validation.end - periods.validation.first).days == validation
    assert (periods.test.end - periods.test.first).days == test


@pytest.mark.parametrize(("delay", "validation", "test"), [(-1, 1, 1), (0, 0, 1), (0, 1, 0)])
def test_impossible_lengths_are_refused(delay: int, validation: int, test: int):
    with pytest.raises(TrainingError, match="FRAUD_TEST_DAYS"):
        plan_periods(START, date(2025, 1, 1), delay, validation, test)


def test_each_event_gets_its_split_and_those_in_the_gaps_are_dropped():
    days = [START + timedelta(days=number) for number in range(-1, 10)]
    labelled = label_events(events_on(*days), reports(), PERIODS)
    assert dict(zip(labelled["day"], labelled["split"], strict=True)) == {
        date(2024, 1, 1): "train",
        date(2024, 1, 2): "train",
        date(2024, 1, 3): "validation",
        date(2024, 1, 6): "test",
        date(2024, 1, 7): "test",
    }


def test_an_event_without_a_report_is_legitimate():
    labelled = label_events(events_on(START), reports(), PERIODS)
    assert labelled.select("is_fraud", "fraud_type").rows() == [(False, None)]


@pytest.mark.parametrize(
    ("day", "moment"), [(START, PERIODS.training_moment), (date(2024, 1, 3), PERIODS.training_moment)]
)
def test_train_and_validation_see_a_report_only_before_the_training_moment(day: date, moment: date):
    assert labels_of(events_on(day), reports(("t0", True, midnight(moment) - 1, None))) == {"t0": True}
    assert labels_of(events_on(day), reports(("t0", True, midnight(moment), None))) == {"t0": False}


def test_test_events_see_a_report_only_before_as_of():
    day = PERIODS.test.first
    assert labels_of(events_on(day), reports(("t0", True, midnight(PERIODS.as_of) - 1, None))) == {"t0": True}
    assert labels_of(events_on(day), reports(("t0", True, midnight(PERIODS.as_of), None))) == {"t0": False}


def test_the_latest_report_before_the_moment_wins():
    corrected = reports(("t0", False, 20, None), ("t0", True, 10, "stolen"))
    assert labels_of(events_on(START), corrected) == {"t0": False}


def test_a_report_before_its_transaction_counts():
    assert labels_of(events_on(START), reports(("t0", True, midnight(START) - 1, None))) == {"t0": True}


def test_of_two_reports_at_one_instant_fraud_wins_in_any_order():
    both = reports(("t0", True, 10, "stolen"), ("t0", False, 10, "zzz"))
    assert labels_of(events_on(START), both) == labels_of(events_on(START), both.reverse()) == {"t0": True}


def test_a_legitimate_verdict_has_no_fraud_type():
    labelled = label_events(events_on(START), reports(("t0", False, 10, "stolen")), PERIODS)
    assert labelled["fraud_type"].to_list() == [None]


def test_a_label_of_an_unknown_transaction_adds_no_row():
    assert labels_of(events_on(START), reports(("elsewhere", True, 10, None))) == {"t0": False}


def test_rows_are_sorted_by_time_and_id_in_any_order_of_events():
    events = events_on(START, START, date(2024, 1, 2))
    shuffled = label_events(events.sample(fraction=1, shuffle=True, seed=3), reports(), PERIODS)
    assert shuffled["transaction_id"].to_list() == ["t0", "t1", "t2"]


REPORT = st.tuples(st.integers(0, 7), st.booleans(), st.integers(-1, 12 * 24), st.sampled_from([None, "a", "b"]))


@pytest.mark.slow
@given(st.lists(REPORT, max_size=25), st.randoms())
def test_labels_agree_with_a_naive_loop_in_any_order_of_reports(drawn, random):
    events = events_on(*[START + timedelta(days=number) for number in range(8)])
    rows = [(f"t{n}", fraud, midnight(START) + hour * 3_600_000_000, kind) for n, fraud, hour, kind in drawn]
    labelled = label_events(events, reports(*rows), PERIODS)
    for name, split, verdict, kind in labelled.select("transaction_id", "split", "is_fraud", "fraud_type").rows():
        moment = midnight(PERIODS.as_of if split == "test" else PERIODS.training_moment)
        known = [(at, fraud, kind or "") for id_, fraud, at, kind in rows if id_ == name and at < moment]
        expected = max(known, default=(0, False, ""))
        assert (verdict, kind) == (expected[1], (expected[2] or None) if expected[1] else None)
    random.shuffle(rows)
    assert label_events(events, reports(*rows), PERIODS).equals(labelled)


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 10**12)), max_size=20), st.randoms())
def test_reports_after_the_moments_change_nothing(late, random):
    """However the labels that come later are added or permuted, the training set is the same to the bit."""
    events = events_on(*[START + timedelta(days=number) for number in range(8)])
    known = [(f"t{number}", number % 2 == 0, midnight(PERIODS.training_moment) - 1, "a") for number in range(8)]
    future = [
        (f"t{number}", fraud, midnight(PERIODS.as_of if number in (5, 6) else PERIODS.training_moment) + delay, "late")
        for number, fraud, delay in late
    ]
    before = label_events(events, reports(*known), PERIODS)
    rows = known + future
    random.shuffle(rows)
    after = label_events(events, reports(*rows), PERIODS)
    assert content_hash(after, PERIODS) == content_hash(before, PERIODS)


def test_a_snapshot_comes_back_as_written(training_set: pl.DataFrame, periods: Periods, tmp_path: Path):
    written = write_snapshot(training_set, tmp_path, periods)
    assert read_snapshot(tmp_path, written.hash) == read_snapshot(tmp_path, written.hash[:16]) == written
    assert written.read().equals(training_set)
    assert written.path.name == f"{written.hash[:16]}.parquet"


def test_snapshot_facts_agree_with_the_frame(snapshot, training_set: pl.DataFrame):
    assert (snapshot.rows, snapshot.frauds) == (training_set.height, training_set["is_fraud"].sum())
    for split in SPLITS:
        rows = training_set.filter(pl.col("split") == split)
        facts = snapshot.splits[split]
        assert (facts.rows, facts.frauds) == (rows.height, rows["is_fraud"].sum())
        assert (facts.first_event_us, facts.last_event_us) == (rows["event_us"].min(), rows["event_us"].max())
        assert snapshot.read(split, ["event_us"]).equals(rows.select("event_us"))
    assert all(a.last_event_us < b.first_event_us for a, b in pairwise(snapshot.splits[name] for name in SPLITS))


def test_writing_again_leaves_the_file_alone(training_set: pl.DataFrame, periods: Periods, tmp_path: Path):
    first = write_snapshot(training_set, tmp_path, periods)
    before = first.path.stat().st_mtime_ns
    assert write_snapshot(training_set, tmp_path, periods) == first
    assert first.path.stat().st_mtime_ns == before
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".parquet"]


def test_a_snapshot_of_no_rows_can_be_written(training_set: pl.DataFrame, periods: Periods, tmp_path: Path):
    assert write_snapshot(training_set.clear(), tmp_path, periods).rows == 0


def test_a_changed_value_is_found_on_reading(training_set: pl.DataFrame, periods: Periods, tmp_path: Path):
    written = write_snapshot(training_set, tmp_path, periods)
    training_set.with_columns(pl.col("amount_cents") + 1).write_parquet(written.path)
    with pytest.raises(TrainingError, match="was changed after it was written"):
        read_snapshot(tmp_path, written.hash)


def test_a_damaged_file_is_named(training_set: pl.DataFrame, periods: Periods, tmp_path: Path):
    written = write_snapshot(training_set, tmp_path, periods)
    written.path.write_bytes(b"not parquet")
    with pytest.raises(TrainingError, match=written.path.name):
        read_snapshot(tmp_path, written.hash)


def test_a_missing_snapshot_says_what_to_materialize(tmp_path: Path):
    with pytest.raises(TrainingError, match="Materialize `training_set`"):
        read_snapshot(tmp_path, "0" * 64)


def test_the_hash_ignores_what_is_hidden_under_a_null(periods: Periods):
    masked = pl.DataFrame({"x": [1, 5]}).with_columns(x=pl.when(pl.col("x") < 5).then("x"))
    assert content_hash(masked, periods) == content_hash(pl.DataFrame({"x": [1, None]}), periods)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [2, 1]})),
        (pl.DataFrame({"x": [1]}), pl.DataFrame({"y": [1]})),
        (pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [1]}, schema={"x": pl.Int32})),
        (pl.DataFrame({"x": [0, None]}), pl.DataFrame({"x": [None, 0]})),
        (pl.DataFrame({"x": ["ab", "c"]}), pl.DataFrame({"x": ["a", "bc"]})),
        (pl.DataFrame({"x": ["", None]}), pl.DataFrame({"x": [None, ""]})),
        (pl.DataFrame({"x": [float("nan")]}), pl.DataFrame({"x": [None]}, schema={"x": pl.Float64})),
        (pl.DataFrame({"x": [True, None]}), pl.DataFrame({"x": [True, False]})),
        (pl.DataFrame({"x": [date(2024, 1, 1)]}), pl.DataFrame({"x": [date(2024, 1, 2)]})),
    ],
)
def test_different_content_has_a_different_hash(one: pl.DataFrame, other: pl.DataFrame, periods: Periods):
    assert content_hash(one, periods) != content_hash(other, periods)


def test_the_periods_are_part_of_the_hash(periods: Periods):
    frame = pl.DataFrame({"x": [1]})
    assert content_hash(frame, periods) != content_hash(frame, PERIODS)


def test_the_hash_of_known_content_never_changes():
    """A hash is written in artefacts: if this fails, a new version of a library or of the code broke them."""
    frame = pl.DataFrame(
        {
            "id": ["a", "é", None],
            "at": [1, None, 3],
            "day": [START, None, START],
            "x": pl.Series([1.5, float("nan"), None], dtype=pl.Float32),
            "b": [True, None, False],
        }
    )
    assert content_hash(frame, PERIODS) == "7245ec26480061e2117a093bfc04c5765f97e93806d1f3ef53b7c003ac2748f9"


def test_nan_payloads_do_not_change_the_hash(periods: Periods):
    odd = np.array([0x7FC00001], dtype=np.uint32).view(np.float32)
    assert content_hash(pl.DataFrame({"x": odd}), periods) == content_hash(
        pl.DataFrame({"x": np.array([np.nan], dtype=np.float32)}), periods
    )
