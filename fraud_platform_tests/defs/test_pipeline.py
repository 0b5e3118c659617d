"""One ugly CSV file goes all the way, from its mapping to scores; nothing of it is lost, and nothing is made up."""

from pathlib import Path

import polars as pl
import pytest

from fraud_platform.features.selection import catalog_of
from fraud_platform.features.table import read_features
from fraud_platform.transactions.check import check_source
from fraud_platform.transactions.draft import draft_source
from fraud_platform_tests.defs.conftest import INGESTION, MakePlatform, Platform, failed_checks
from fraud_platform_tests.defs.ugly_csv import FIRST, LAST, MAPPING, UglyCsv, write_ugly_csv

pytestmark = pytest.mark.slow

CHAIN = (
    INGESTION,
    ("training_set",),
    ("candidate_models",),
    ("model_comparison", "challenger_model", "champion_model"),
    ("batch_scores",),
)


@pytest.fixture(scope="module")
def ugly(tmp_path_factory: pytest.TempPathFactory) -> UglyCsv:
    return write_ugly_csv(tmp_path_factory.mktemp("export") / "Zahlungen Nord.csv")


@pytest.fixture(scope="module")
def scored(shared_platforms: MakePlatform, ugly: UglyCsv) -> Platform:
    platform = shared_platforms(MAPPING.format(path=f'"{ugly.path}"'), name="nord")
    for assets in CHAIN:
        result = platform.run(assets)
        assert failed_checks(result) == {}
    return platform


def test_exactly_the_bad_rows_are_in_quarantine_with_every_reason(scored: Platform, ugly: UglyCsv) -> None:
    found = scored.query("SELECT source_file, source_row, reasons FROM quarantined_transactions")
    assert set(found["source_file"]) == {ugly.path.name}
    assert dict(zip(found["source_row"], found["reasons"].to_list(), strict=True)) == ugly.reasons


def test_a_bad_row_is_kept_whole(scored: Platform, ugly: UglyCsv) -> None:
    originals = scored.query("SELECT source_row, original FROM quarantined_transactions")
    lines = ugly.path.read_text(encoding="utf-8").splitlines()
    for number, original in originals.iter_rows():
        values = [value for value in lines[number].split(";") if value]
        assert all(value in original for value in values)


def test_every_good_row_is_what_the_export_was_made_from(scored: Platform, ugly: UglyCsv) -> None:
    columns = [
        "transaction_id",
        "event_time",
        "customer_id",
        "amount_cents",
        "merchant_id",
        "merchant_country",
        "home_country",
        "channel",
    ]
    found = scored.query(f"SELECT {', '.join(columns)} FROM validated_transactions ORDER BY transaction_id")
    assert found.equals(ugly.good.select(columns).sort("transaction_id"))


def test_every_fraud_has_its_label_and_nothing_else_has_one(scored: Platform, ugly: UglyCsv) -> None:
    labels = scored.query("SELECT transaction_id, is_fraud, fraud_type FROM validated_labels ORDER BY transaction_id")
    frauds = ugly.good.filter("is_fraud").select("transaction_id", "is_fraud", "fraud_type").sort("transaction_id")
    assert labels.equals(frauds)


def test_every_good_row_has_features(scored: Platform, ugly: UglyCsv) -> None:
    features = read_features(scored.settings.features, FIRST, LAST)
    assert sorted(features["transaction_id"]) == sorted(ugly.good["transaction_id"])
    assert features.columns[5:] == catalog_of(scored.source).names


def test_features_whose_columns_the_export_lacks_drop_out(scored: Platform) -> None:
    catalog = catalog_of(scored.source)
    assert "device_count_1h" in catalog.dropped
    assert {"merchant_fraud_rate_7d", "is_foreign", "is_online"} <= set(catalog.names)


def test_every_good_row_has_a_score(scored: Platform, ugly: UglyCsv) -> None:
    scores = scored.query("SELECT transaction_id, fraud_probability FROM batch_scores")
    assert sorted(scores["transaction_id"]) == sorted(ugly.good["transaction_id"])
    assert scores["fraud_probability"].is_between(0, 1).all()


def test_the_scores_tell_frauds_apart(scored: Platform, ugly: UglyCsv) -> None:
    scores = scored.query("SELECT transaction_id, fraud_probability FROM batch_scores")
    means = dict(
        ugly.good.join(scores, on="transaction_id").group_by("is_fraud").agg(pl.col("fraud_probability").mean()).rows()
    )
    assert means[True] > 5 * means[False]


CORRECTIONS = {
    "first_day: 2026-01-31": "first_day: 2026-02-01",
    "last_day: 2026-04-02": "last_day: 2026-04-01",
    "zone: UTC": "zone: Europe/Berlin",
    "  transaction_id: _row": "  transaction_id: Buchungsnr",
    "  merchant_country: Land": """  merchant_country: Land
  merchant_id: Händler
  home_country: Heimat
  channel: Weg
values:
  channel: {Kasse: in_person, Netz: online, Automat: atm, Überweisung: transfer, Telefon: phone}""",
    "# labels:   # no label column was found": "labels: {is_fraud: {column: Betrug, fraud_values: [ja]}}",
}
"""What a person who knows the export changes: the zone of its clock, and columns whose German names say nothing."""


def corrected(draft: str) -> str:
    for guessed, right in CORRECTIONS.items():
        assert guessed in draft, draft
        draft = draft.replace(guessed, right)
    return draft


def test_the_drafted_mapping_is_accepted_once_corrected(ugly: UglyCsv, tmp_path: Path) -> None:
    source = tmp_path / "drafted.yaml"
    source.write_text(corrected(draft_source(ugly.path)), encoding="utf-8")
    report = check_source(source)
    assert report.problems == ()
    assert (report.accepted, report.rejected) == (ugly.good.height, len(ugly.reasons))
