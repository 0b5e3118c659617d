"""The check of a source: one report of everything, nothing raised for what a user can mend."""

from pathlib import Path

import pytest

from fraud_platform.transactions.check import SourceReport, check_source
from fraud_platform_tests.transactions.conftest import Workshop, opened_workshop

LABELS = {"is_fraud": {"column": "fraud"}}
HEADER = "id,when,who,amount,fraud,note"


def good(workshop: Workshop, **changes: object) -> Path:
    workshop.csv(
        *(f"{i},2026-03-{1 + i // 10:02} 10:00:{i % 60:02},a,1.50,{int(i == 7)},x" for i in range(100)), header=HEADER
    )
    return workshop.source(**{"labels": LABELS, **changes}).file


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SourceReport]:
    """The folder of the good source after its check, and the report."""
    with opened_workshop(tmp_path_factory.mktemp("checked")) as workshop:
        return workshop.folder, check_source(good(workshop))


def test_report_says_what_is_there(checked: tuple[Path, SourceReport]) -> None:
    _, report = checked
    assert (report.rows, report.accepted, report.rejected, report.fraud_rate) == (100, 100, 0, 0.01)
    assert (report.first_event, report.last_event) == ("2026-03-01 10:00:00", "2026-03-10 10:00:39")
    assert report.used == ("when", "amount", "id", "who", "fraud")
    assert report.unused == ("note",)
    assert "merchant_id" in report.missing
    assert report.problems == ()


def test_render_is_readable(checked: tuple[Path, SourceReport]) -> None:
    text = checked[1].render()
    assert "rows            100 (100 good, 0 rejected: 0.00%)" in text
    assert "fraud rate      1.000%" in text
    assert text.endswith("no problems")


def test_rejected_rows_are_counted_by_reason_with_a_fix(workshop: Workshop) -> None:
    path = good(workshop, amount={"column": "amount", "decimals": 0})
    report = check_source(path)
    assert report.reasons == {"amount_cents: too many decimals": 100}
    assert any("Fix: correct amount.decimals or amount.decimal_mark" in problem for problem in report.problems)
    assert "100  amount_cents: too many decimals" in report.render()


def test_wrong_unit_is_a_problem(workshop: Workshop) -> None:
    report = check_source(good(workshop, amount={"column": "amount", "unit": "minor"}))
    assert len(report.problems) == 1
    assert "Set `unit: major`" in report.problems[0]


def test_missing_columns_are_problems_each(workshop: Workshop) -> None:
    path = good(workshop, columns={"transaction_id": "ident", "customer_id": "whom"})
    assert [problem.split(":")[0] for problem in check_source(path).problems] == [
        "columns.transaction_id",
        "columns.customer_id",
    ]


def test_mistakes_in_the_yaml_file_are_problems(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("format: csv\nfirst_day: 2026-03-01\n", encoding="utf-8")
    problems = check_source(path).problems
    assert [problem.split(":")[0] for problem in problems] == ["event_time", "amount", "columns", "path"]


def test_missing_data_is_a_problem(workshop: Workshop) -> None:
    path = workshop.source(path="nowhere.csv").file
    assert "does not exist" in check_source(path).problems[0]


def test_days_outside_the_source_are_a_problem(workshop: Workshop) -> None:
    path = good(workshop, first_day="2026-03-10", last_day="2026-03-20")
    report = check_source(path)
    assert report.reasons["event_time: too early"] == 90
    assert any("set first_day to an earlier day" in problem for problem in report.problems)


def test_label_column_without_frauds_is_a_problem(workshop: Workshop) -> None:
    path = good(workshop, labels={"is_fraud": {"column": "fraud", "fraud_values": ["true"]}})
    assert any("0.0% of the rows are fraud" in problem for problem in check_source(path).problems)


def test_data_replaces_the_path(workshop: Workshop) -> None:
    path = good(workshop)
    other = workshop.csv(
        "1,2026-03-01 10:00:00,a,1.50,1,x",
        "2,2026-03-01 10:00:00,a,1.50,0,x",
        "3,2026-03-01 10:00:00,a,1.50,0,x",
        name="other.csv",
        header=HEADER,
    )
    assert check_source(path, str(other)).rows == 3


def test_nothing_is_left_behind(checked: tuple[Path, SourceReport]) -> None:
    folder, _ = checked
    assert sorted(entry.name for entry in folder.iterdir()) == ["data.csv", "shop.yaml"]
