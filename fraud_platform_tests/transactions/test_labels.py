"""Labels: what was reported, when it became known, and nothing before that."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fraud_platform.errors import WarehouseError
from fraud_platform.transactions import labels as labels_module
from fraud_platform_tests.transactions.conftest import Workshop

HEADER = "id,when,who,amount,fraud,kind,reported"
REPORTED = {
    "is_fraud": {"column": "fraud"},
    "fraud_type": {"column": "kind"},
    "reported_at": {"column": "reported"},
    "source": "analyst",
}
DELAYED = {"is_fraud": {"column": "fraud"}, "delay_days": 7}


def run(workshop: Workshop, labels: dict[str, Any], *lines: str) -> labels_module.ValidatedLabels:
    workshop.csv(*lines, header=HEADER)
    source = workshop.source(labels=labels)
    workshop.land(source)
    return workshop.labels(source)


def reasons(workshop: Workshop) -> dict[int, list[str]]:
    return dict(workshop.rows("SELECT source_row, reasons FROM quarantined_labels ORDER BY source_row"))


def test_reported_labels_are_rows_fraud_or_not(workshop: Workshop) -> None:
    run(
        workshop,
        REPORTED,
        "1,2026-03-01 10:00:00,a,1,1,card_theft,2026-03-04 08:00:00",
        "2,2026-03-01 11:00:00,a,1,0,,2026-03-02 08:00:00",
        "3,2026-03-01 12:00:00,a,1,1,card_theft,",
    )
    assert workshop.rows("SELECT * FROM validated_labels ORDER BY transaction_id") == [
        (date(2026, 3, 1), "1", True, datetime(2026, 3, 4, 8), "analyst", "card_theft"),
        (date(2026, 3, 1), "2", False, datetime(2026, 3, 2, 8), "analyst", None),
    ]


def test_without_report_times_only_frauds_are_rows_after_the_delay(workshop: Workshop) -> None:
    run(workshop, DELAYED, "1,2026-03-01 10:00:00,a,1,1,,", "2,2026-03-01 11:00:00,a,1,0,,")
    assert workshop.rows("SELECT transaction_id, is_fraud, reported_at, source FROM validated_labels") == [
        ("1", True, datetime(2026, 3, 8, 10), "chargeback")
    ]


def test_bad_labels_are_quarantined_with_every_reason(workshop: Workshop) -> None:
    run(
        workshop,
        REPORTED,
        ",2026-03-05 10:00:00,a,1,maybe,,2026-03-04 08:00:00",
        "2,2026-03-05 10:00:00,a,1,,,soon",
        "3,2026-03-05 10:00:00,a,1,1,,2026-03-05 10:00:00",
    )
    assert reasons(workshop) == {
        1: [
            "transaction_id: missing",
            "is_fraud: 'maybe' is neither fraud (1, true) nor legitimate (0, false, f, no, n)",
            "reported_at: 2026-03-04 08:00:00 is before the event at 2026-03-05 10:00:00",
        ],
        2: ["is_fraud: missing", "reported_at: 'soon' is not an ISO time"],
    }
    assert workshop.rows("SELECT transaction_id FROM validated_labels") == [("3",)]


def test_counts_are_told_by_day_and_kind(workshop: Workshop) -> None:
    validated = run(workshop, DELAYED, "1,2026-03-01,a,1,1,,", "2,2026-03-02,a,1,perhaps,,")
    assert validated.accepted == {date(2026, 3, 1): 1}
    assert validated.quarantined == {date(2026, 3, 2): 1}
    assert validated.reasons == {"is_fraud: unreadable": 1}


@pytest.mark.parametrize(
    ("fraud_values", "legitimate_values", "verdicts"),
    [
        (["1", "true"], None, {"1.0": True, "TRUE": True, "No": False, "2": None}),
        (["chargeback"], None, {"Chargeback": True, "anything": False}),
        (["chargeback"], ["ok"], {"anything": None, "OK": False}),
    ],
)
def test_words_of_verdicts(
    workshop: Workshop,
    fraud_values: list[str],
    legitimate_values: list[str] | None,
    verdicts: dict[str, bool | None],
) -> None:
    """A word of neither list is no verdict: None."""
    mapping = {"column": "fraud", "fraud_values": fraud_values, "legitimate_values": legitimate_values}
    lines = [f"{word},2026-03-01 10:00:00,a,1,{word},,2026-03-02 10:00:00" for word in verdicts]
    run(workshop, {**REPORTED, "is_fraud": mapping}, *lines)
    found = dict(workshop.rows("SELECT transaction_id, is_fraud FROM validated_labels"))
    assert found == {word: verdict for word, verdict in verdicts.items() if verdict is not None}


def test_report_times_have_their_own_format_and_zone(workshop: Workshop) -> None:
    labels = {**REPORTED, "reported_at": {"column": "reported", "format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}}
    run(workshop, labels, "1,2026-03-01 10:00:00,a,1,1,,04.03.2026 08:00")
    assert workshop.rows("SELECT reported_at FROM validated_labels") == [(datetime(2026, 3, 4, 7),)]


def test_labels_of_a_replaced_day_are_replaced(workshop: Workshop) -> None:
    run(workshop, DELAYED, "1,2026-03-01,a,1,1,,", "2,2026-03-02,a,1,1,,")
    run(workshop, DELAYED, "1,2026-03-01,a,1,0,,", "2,2026-03-02,a,1,1,,")
    assert workshop.rows("SELECT transaction_id FROM validated_labels") == [("2",)]


def test_validating_labels_twice_leaves_the_same_tables(workshop: Workshop) -> None:
    lines = ("1,2026-03-01,a,1,1,,", "2,2026-03-02,a,1,x,,")
    run(workshop, DELAYED, *lines)
    before = [workshop.rows(f"FROM {table}") for table in ("validated_labels", "quarantined_labels")]
    run(workshop, DELAYED, *lines)
    assert [workshop.rows(f"FROM {table}") for table in ("validated_labels", "quarantined_labels")] == before


def test_source_without_labels_has_empty_tables(workshop: Workshop) -> None:
    workshop.csv("1,2026-03-01,a,1,1,,", header=HEADER)
    source = workshop.source()
    workshop.land(source)
    assert workshop.labels(source).accepted == {}
    assert workshop.rows("SELECT * FROM validated_labels") == []


def test_row_numbers_as_ids_reach_the_labels(workshop: Workshop) -> None:
    workshop.csv("1,2026-03-01,a,1,0,,", "1,2026-03-01,a,1,1,,", header=HEADER)
    source = workshop.source(labels=DELAYED, columns={"transaction_id": "_row", "customer_id": "who"})
    workshop.land(source)
    workshop.labels(source)
    assert workshop.rows("SELECT transaction_id FROM validated_labels") == [("2",)]


def test_failed_write_leaves_the_label_files(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    run(workshop, DELAYED, "1,2026-03-01,a,1,1,,", "2,2026-03-02,a,1,1,,")
    folder = workshop.folder / "raw_labels"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    copy = labels_module._copy

    def failing(connection: duckdb.DuckDBPyConnection, select: str, target: Path) -> None:
        if "2026-03-02" in target.name:
            raise OSError("no space left on device")
        copy(connection, select, target)

    monkeypatch.setattr(labels_module, "_copy", failing)
    with pytest.raises(WarehouseError, match="no space left"):
        run(workshop, DELAYED, "1,2026-03-01,a,1,0,,", "2,2026-03-02,a,1,0,,")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
