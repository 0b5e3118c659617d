import pytest
from click.testing import CliRunner

from fraud_platform.cli import main
from fraud_platform.features.expressions import DAY, MINUTE
from fraud_platform.features.listing import Description, describe, duration, table
from fraud_platform.features.selection import build_catalog
from fraud_platform_tests.features.histories import CATALOG

ROWS = {row.name: row for row in describe(CATALOG)}


def test_every_feature_is_described_in_order() -> None:
    assert [row.name for row in describe(CATALOG)] == CATALOG.names
    assert all(row.meaning for row in ROWS.values())


@pytest.mark.parametrize(
    ("name", "entity", "span", "delay", "kind"),
    [
        ("amount", "row", "", "", "integer"),
        ("amount_log", "row", "", "", "real"),
        ("is_online_at_night", "row", "", "", "flag"),
        ("customer_count_10m", "customer", "10 m", "", "integer"),
        ("count_1d_to_usual", "customer", "1 d, 30 d", "", "real"),
        ("customer_merchant_count_30d", "customer × merchant", "30 d", "", "integer"),
        ("is_new_country", "customer × merchant country", "30 d", "", "flag"),
        ("merchant_fraud_rate_7d", "merchant", "7 d", "7 d", "real"),
        ("tenure", "row", "", "", "real"),
    ],
)
def test_a_description_is_read_off_the_formula(name: str, entity: str, span: str, delay: str, kind: str) -> None:
    row = ROWS[name]
    assert (row.entity, row.span, row.delay, row.type) == (entity, span, delay, kind)


def test_the_delay_is_the_source_s_own() -> None:
    rows = {row.name: row for row in describe(build_catalog({"merchant_id", "customer_id"}, [], 3 * DAY))}
    assert rows["merchant_fraud_rate_7d"].delay == "3 d"


@pytest.mark.parametrize(
    ("microseconds", "text"), [(30 * DAY, "30 d"), (90 * MINUTE, "90 m"), (1_500_000, "1500000 µs")]
)
def test_a_duration_is_whole_in_its_unit(microseconds: int, text: str) -> None:
    assert duration(microseconds) == text


def test_columns_are_aligned_under_their_headings() -> None:
    short = Description("a", "what it means", "row", "", "", "flag")
    long = Description("a_longer_name", "more", "customer × merchant", "1 d, 30 d", "7 d", "integer")
    assert table([short, long]) == [
        "name           type     entity               span       delay  meaning",
        "a              flag     row                                    what it means",
        "a_longer_name  integer  customer × merchant  1 d, 30 d  7 d    more",
    ]


@pytest.mark.parametrize(
    ("command", "expected"), [("list", "customer_count_1h"), ("sql", "FROM validated_labels AS l")]
)
def test_the_command_line_prints_the_source_s_catalog(
    command: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_SOURCE", "sources/simulator.yaml")
    done = CliRunner().invoke(main, ["features", command])
    assert done.exit_code == 0, done.output
    assert expected in done.output
