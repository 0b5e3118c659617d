"""Sources: the YAML file, and that every problem of it is told at once."""

from datetime import date
from pathlib import Path

import pytest

from fraud_platform.errors import SourceError
from fraud_platform.transactions.sources import load_source

ROOT = Path(__file__).parents[2]

GOOD = """
format: csv
path: data/*.csv
first_day: 2026-03-01
event_time: {column: when, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
amount: {column: amount, unit: major, decimals: 2, decimal_mark: ","}
columns: {transaction_id: id, customer_id: who, channel: how, merchant_country: land}
values: {channel: {1: in_person, web: online}, merchant_country: {Norge: NO}}
attributes: {basket: {column: n_items, type: number}}
labels: {is_fraud: {column: f, fraud_values: [1, true]}, delay_days: 3}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "shop.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SourceError) as caught:
        load_source(write(folder, text))
    head, *listed = str(caught.value).split("\n  - ")
    assert str(folder / "shop.yaml") in head
    return listed


def test_name_is_the_stem_of_the_file(tmp_path: Path) -> None:
    assert load_source(write(tmp_path, GOOD)).name == "shop"


def test_present_columns_are_the_mapped_ones_with_time_and_amount(tmp_path: Path) -> None:
    source = load_source(write(tmp_path, GOOD))
    assert source.present == {
        "transaction_id",
        "customer_id",
        "channel",
        "merchant_country",
        "event_time",
        "amount_cents",
    }


def test_norway_and_numbers_stay_words(tmp_path: Path) -> None:
    source = load_source(write(tmp_path, GOOD))
    assert source.values == {"channel": {"1": "in_person", "web": "online"}, "merchant_country": {"Norge": "NO"}}
    assert source.labels is not None
    assert source.labels.is_fraud.fraud_values == ("1", "true")


def test_open_ended_source_has_no_last_day(tmp_path: Path) -> None:
    source = load_source(write(tmp_path, GOOD))
    assert (source.first_day, source.last_day) == (date(2026, 3, 1), None)


def test_data_replaces_the_path(tmp_path: Path) -> None:
    assert load_source(write(tmp_path, GOOD), data="elsewhere.csv").path == "elsewhere.csv"


def test_loading_does_not_look_at_the_data(tmp_path: Path) -> None:
    assert load_source(write(tmp_path, GOOD.replace("data/*.csv", "/nowhere/at/all.csv"))).path == "/nowhere/at/all.csv"


def test_source_cannot_be_changed(tmp_path: Path) -> None:
    source = load_source(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        source.path = "x"  # type: ignore[misc]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    listed = problems(
        tmp_path,
        """
format: csv
frist_day: 2026-03-01
last_day: 2026-02-01
event_time: {column: when, zone: Europe/Berln, fromat: iso}
amount: {column: amount, unit: euros}
columns: {transaction_id: id, merchant_ctry: land}
labels: {is_fraud: {colum: f}, source: bank}
""",
    )
    text = "\n".join(listed)
    for expected in (
        "path: missing",
        "frist_day: unknown key. Did you mean first_day?",
        "first_day: missing",
        "event_time.zone: no such time zone: 'Europe/Berln'",
        "event_time.fromat: unknown key. Did you mean format?",
        "amount.unit: Input should be 'major' or 'minor' (got 'euros')",
        "columns.merchant_ctry: not a column of the contract. Did you mean merchant_country?",
        "columns.customer_id: missing",
        "labels.is_fraud.colum: unknown key. Did you mean column?",
        "labels.is_fraud.column: missing",
        "labels.source: Input should be 'chargeback', 'analyst', 'customer' or 'simulated' (got 'bank')",
    ):
        assert expected in text
    assert len(listed) == 11


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "first_day: 2026-03-01",
            "first_day: 2026-03-01\nlast_day: 2026-02-28",
            "last_day: 2026-02-28 is before first_day",
        ),
        ("first_day: 2026-03-01", "first_day: 1926-03-01", "first_day: 1926-03-01 is before 2000-01-01"),
        ('"%d.%m.%Y %H:%M"', "iso8601", "event_time.format: 'iso8601' is no time format"),
        ("column: when", "column: ''", "event_time.column: String should have at least 1 character"),
        ("customer_id: who", "customer_id: who, amount_cents: x", "columns.amount_cents: does not belong here"),
        ("web: online", "web: internet", "values.channel.web: 'internet' is not allowed. Use one of in_person"),
        ("Norge: NO", "Norge: Norway", "values.merchant_country.Norge: 'Norway' does not match"),
        (
            "values: {channel:",
            "values: {chanel:",
            "values.chanel: translates a column that `columns` does not map. Did you mean channel?",
        ),
        ("basket:", "customer_id:", "attributes.customer_id: the name is taken"),
        ("basket:", "Basket Size:", "attributes.Basket Size: not a usable name"),
        ("type: number", "type: float", "attributes.basket.type: Input should be 'number' or 'text'"),
        ("format: csv", "format: simulator", "simulator: missing"),
        ("format: csv", "format: csv\nsimulator: {}", "simulator: given, but format is not simulator"),
        ("format: csv", "format: parquet\ncsv: {delimiter: ';'}", "csv: given, but format is parquet"),
        (
            "format: csv",
            "format: csv\ncsv: {delimiter: '\"'}",
            "csv: delimiter and quote must be two different characters",
        ),
        ("format: csv", "format: csv\ncsv: {encoding: utf16}", "csv.encoding: Input should be 'utf-8' or 'latin-1'"),
        ("format: csv", "format: csv\nname: other", "name: unknown key"),
    ],
)
def test_one_problem_is_told_with_its_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    listed = problems(tmp_path, GOOD.replace(old, new, 1))
    assert len(listed) == 1
    assert listed[0].startswith(expected)


def test_unknown_simulator_key_suggests_the_right_one(tmp_path: Path) -> None:
    listed = problems(tmp_path, "format: simulator\nfirst_day: 2026-01-01\nsimulator: {custmers: 100}\n")
    assert listed == ["simulator.custmers: unknown key. Did you mean customers?"]


def test_simulated_source_needs_no_mapping(tmp_path: Path) -> None:
    source = load_source(write(tmp_path, "format: simulator\nfirst_day: 2026-01-01\nsimulator: {customers: 100}\n"))
    assert source.columns["merchant_country"] == "merchant_country"
    assert source.labels is not None
    assert source.labels.source == "simulated"


def test_missing_file_suggests_a_near_name(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(SourceError, match=r"shpo\.yaml: there is no such source file\. Did you mean .*shop\.yaml"):
        load_source(tmp_path / "shpo.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty or not a mapping"),
        ("- a\n- b\n", "empty or not a mapping"),
        ("format: [csv", "not valid YAML"),
        ("format: csv\nformat: parquet\n", "key 'format' is given twice"),
    ],
)
def test_what_is_no_source_file_is_said_to_be_none(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SourceError, match=expected):
        load_source(write(tmp_path, text))


@pytest.mark.parametrize("name", ["handbook", "simulator"])
def test_shipped_sources_load(name: str) -> None:
    assert load_source(ROOT / "sources" / f"{name}.yaml").labels is not None
