"""The demo on a small simulated source, as a process of its own."""

from typing import Any

import pytest

from fraud_platform_tests.installation import Installation

pytestmark = pytest.mark.slow


def test_the_last_line_says_what_came_out(demo_result: dict[str, Any]) -> None:
    assert set(demo_result) == {
        "transactions",
        "quarantined",
        "features",
        "parity_mismatches",
        "auc",
        "average_precision",
        "model_version",
        "bento",
        "scored_online",
        "scored_batch",
        "seconds",
    }


def test_batch_sql_and_the_serving_path_gave_the_same_features(demo_result: dict[str, Any]) -> None:
    assert (demo_result["features"], demo_result["parity_mismatches"]) == (83, 0)


def test_every_transaction_is_scored_in_batch(demo_result: dict[str, Any]) -> None:
    assert demo_result["scored_batch"] == demo_result["transactions"] > 25_000


def test_every_transaction_sent_is_scored_online(demo_result: dict[str, Any]) -> None:
    assert demo_result["scored_online"] == 500


def test_the_model_is_better_than_the_floor_and_not_too_good_to_be_true(demo_result: dict[str, Any]) -> None:
    assert 0.8 < demo_result["auc"] < 0.995


def test_a_second_demo_gives_the_same_tables_and_the_same_model(
    installation: Installation, demo_result: dict[str, Any]
) -> None:
    again = installation.demo()
    assert {**again, "bento": "", "seconds": 0} == {**demo_result, "bento": "", "seconds": 0}
