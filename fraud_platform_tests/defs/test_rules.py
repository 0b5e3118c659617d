"""The backtest of the rules as an asset and on the command line, on a small shop whose scores are written by hand."""

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fraud_platform.cli import main
from fraud_platform.decisions.backtest_report import read_report, report_file
from fraud_platform.settings import load_settings
from fraud_platform.warehouse import connect
from fraud_platform_tests.defs.conftest import (
    INGESTION,
    SHOP,
    MakePlatform,
    Platform,
    error_of,
    shop_rows,
    write_csv,
)

pytestmark = pytest.mark.slow

FIRST, DAYS, PER_DAY = SHOP["first_day"], 14, 40

RULES = """
rules:
  - {name: large, when: amount_cents >= 5000, action: review, weight: 50, mode: live, owner: ann, why: large}
  - {name: busy, when: customer_count_1d >= 3, action: block, weight: 20, mode: shadow, owner: ann, why: busy}
  - {name: abroad, when: is_foreign == 1, action: review, weight: 20, mode: live, owner: ann, why: far away}
"""


@pytest.fixture(scope="module")
def shop(shared_platforms: MakePlatform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    folder = tmp_path_factory.mktemp("shop")
    data = write_csv(folder / "shop.csv", shop_rows(FIRST, DAYS, PER_DAY, frauds_in_100=10))
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    mapping = SHOP | {"path": str(data)}
    mapping["labels"] = SHOP["labels"] | {"is_fraud": {"column": "fraud", "fraud_values": ["1"]}}
    platform = shared_platforms(mapping, rules=rules)
    platform.run(INGESTION)
    with connect(platform.settings.database) as connection:
        connection.execute(
            """CREATE TABLE batch_scores AS
            SELECT transaction_id, day, if(amount_cents >= 9000, 'block', 'approve') AS action, '3' AS model_version
            FROM validated_transactions"""
        )
    return platform


def test_the_asset_writes_a_table_a_report_and_what_a_person_wants_to_see(shop: Platform) -> None:
    result = shop.run(("rule_backtest",))
    (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    last = FIRST + timedelta(days=DAYS - 1 - SHOP["labels"]["delay_days"])
    assert (metadata["days"], metadata["rows"]) == (f"{FIRST} to {last}", 12 * PER_DAY)
    assert "| large | live | review |" in metadata["rules"] and "| model and live rules |" in metadata["together"]
    assert "| abroad | the source lacks home_country, merchant_country |" in metadata["inactive"]
    table = shop.query("SELECT * FROM rule_backtest ORDER BY name")
    report = read_report(report_file(shop.settings))
    assert report is not None and report.frauds == metadata["frauds"] > 0
    by_name = {rule.name: rule for rule in report.rules}
    for row in table.iter_rows(named=True):
        rule = by_name.pop(row["name"])
        assert all(row[name] == getattr(rule, name) for name in rule.__struct_fields__)
    assert by_name == {}


def test_the_figures_are_those_of_the_warehouse(shop: Platform) -> None:
    shop.run(("rule_backtest",))
    report = read_report(report_file(shop.settings))
    assert report is not None
    counted = shop.query(
        """SELECT count(*) AS alerts, count(l.transaction_id) AS found
        FROM validated_transactions t LEFT JOIN validated_labels l USING (transaction_id)
        WHERE t.amount_cents >= 5000 AND t.day <= $last""",
        last=report.last,
    ).row(0)
    large = report.rules[0]
    assert (large.name, large.alerts, large.found) == ("large", *counted)
    assert large.model_alerts_too is not None and 0 < large.model_alerts_too < 1


def test_a_second_run_replaces_the_first(shop: Platform) -> None:
    for _ in range(2):
        shop.run(("rule_backtest",))
    assert shop.query("SELECT name FROM rule_backtest ORDER BY name")["name"].to_list() == ["busy", "large"]


def test_a_broken_file_of_rules_fails_the_asset_with_all_that_is_wrong(shop: Platform) -> None:
    text = shop.settings.rules.read_text()
    shop.settings.rules.write_text(text.replace("amount_cents", "amount_cent").replace("busy, when", "busy, wen"))
    try:
        message = error_of(shop.run(("rule_backtest",), fails=True), "rule_backtest")
    finally:
        shop.settings.rules.write_text(text)
    assert "rule large: when: amount_cent is not known. Did you mean amount_cents?" in message
    assert "rule busy: wen: unknown key. Did you mean when?" in message


# --- the command line --------------------------------------------------------------------------------------------


@pytest.fixture
def command(shop: Platform, monkeypatch: pytest.MonkeyPatch):
    for name in ("source", "warehouse", "rules"):
        monkeypatch.setenv(f"FRAUD_{name.upper()}", str(getattr(shop.settings, name)))
    load_settings.cache_clear()

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["rules", *arguments])

    yield run
    load_settings.cache_clear()


def test_check_says_what_was_understood(command) -> None:
    done = command("check")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["large", "live", "review", "50", "always", "amount_cents", ">=", "5000"] in lines
    assert "inactive: abroad (the source lacks home_country, merchant_country)" in done.output


def test_check_says_all_that_is_wrong_with_rules_and_lists(shop: Platform, command, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(RULES.replace("weight: 50", "weight: 500").replace("action: block", "action: stop"))
    shop.settings.lists.write_text("entries: [{list: block}]")
    try:
        done = command("check", str(file))
    finally:
        shop.settings.lists.unlink()
    assert (done.exit_code, done.stdout) == (1, "")
    for part in (f"{file}: 2 problem(s)", "rule large: weight", "rule busy: action", "entry 1: entity: missing"):
        assert part in done.stderr


def test_check_of_a_file_that_is_not_there_is_an_error(command, tmp_path: Path) -> None:
    done = command("check", str(tmp_path / "none.yaml"))
    assert done.exit_code == 1 and "none.yaml: there is no such file" in done.stderr


def test_check_counts_the_lists(shop: Platform, command) -> None:
    entry = "- {{list: block, entity: customer_id, value: c{}, owner: a, why: b, added: 2026-01-01}}\n"
    shop.settings.lists.write_text("entries:\n" + entry.format(1) + entry.format(2))
    try:
        assert "block list: 2 of customer_id" in command("check").output
    finally:
        shop.settings.lists.unlink()


def test_backtest_prints_a_table_and_writes_nothing(shop: Platform, command) -> None:
    report_file(shop.settings).unlink(missing_ok=True)
    done = command("backtest", "--days", "5")
    assert done.exit_code == 0, done.output
    assert f"{5 * PER_DAY} payments of 5 days" in done.output
    assert {line.split()[0] for line in done.output.splitlines() if line} >= {"large", "busy", "model", "inactive:"}
    assert not report_file(shop.settings).exists()


def test_backtest_of_another_file_is_about_that_file(command, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(RULES.replace("large", "huge"))
    assert "huge" in command("backtest", str(file)).output
