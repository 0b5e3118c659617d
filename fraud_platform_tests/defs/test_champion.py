"""The gate through Dagster: what is better is promoted, what is worse is refused, and a rollback puts it back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from fraud_platform.cli import main
from fraud_platform.defs import training
from fraud_platform.models import registry
from fraud_platform.models.dataset import Snapshot, write_snapshot
from fraud_platform_tests.defs.conftest import INGESTION, MakePlatform, Platform, error_of
from fraud_platform_tests.installation import SMALL_SOURCE

pytestmark = pytest.mark.slow

GATE = ("model_comparison", "challenger_model", "champion_model")
RETRAINED = ("training_set", "candidate_models", *GATE)
QUICK: dict[str, Any] = {"tuning_trials": 0, "bootstrap_resamples": 200}


@dataclass(frozen=True)
class Gate:
    """A platform, whatever its settings are at the moment, on one warehouse and one Dagster instance."""

    platform: Platform

    def with_settings(self, **changed: Any) -> "Gate":
        settings = self.platform.settings.model_copy(update=changed)
        return Gate(Platform(settings, self.platform.instance))

    def retrain(self, fails: bool = False) -> dg.ExecuteInProcessResult:
        return self.platform.run(RETRAINED, fails=fails)

    def metadata(self, asset: str) -> dict[str, Any]:
        event = self.platform.instance.get_latest_materialization_event(dg.AssetKey(asset.split("/")))
        assert event is not None and event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def alias(self, alias: str) -> int | None:
        settings = self.platform.settings
        found = registry.by_alias(settings.tracking_uri, settings.model_name, alias)
        return None if found is None else found.version

    def history(self) -> list[tuple[str, int | None, int]]:
        settings = self.platform.settings
        entries = registry.history(settings.tracking_uri, settings.model_name)
        return [(entry.event, entry.from_version, entry.to_version) for entry in entries]


@pytest.fixture(scope="module")
def gate(shared_platforms: MakePlatform) -> Gate:
    """Simple candidates on simulated payments; the first champion knows no labels, and the gate was lenient."""
    platform = shared_platforms(SMALL_SOURCE, name="small", **QUICK)
    platform.run(INGESTION)
    gate = Gate(platform)
    weak = {"algorithms": ("isolation_forest",), "gate_max_calibration_error": 9.0, "gate_alert_budget_tolerance": 9.0}
    gate.with_settings(**weak).retrain()
    return gate


def with_shuffled_labels(snapshot: Snapshot, folder: Path) -> Snapshot:
    """What a model learns from says nothing; the test period stays true."""
    frame, random = snapshot.read(), np.random.default_rng(1)
    learnt = frame.filter(pl.col("split") != "test")
    mixed = learnt.with_columns(learnt.select("is_fraud", "reported_us")[random.permutation(learnt.height)])
    rows = pl.concat([mixed, frame.filter(split="test")]).sort("event_us", "transaction_id")
    return write_snapshot(rows, folder, snapshot.periods)


@pytest.fixture(scope="module")
def promoted(gate: Gate) -> Gate:
    """A challenger that learnt from labels came after the first champion."""
    better = gate.with_settings(algorithms=("logistic_regression", "xgboost", "soft_voting"))
    better.retrain()
    return better


def test_the_first_model_serves_by_its_floors(gate: Gate) -> None:
    assert gate.history()[0] == ("promoted", None, 1)


def test_a_better_challenger_is_promoted_with_its_numbers(promoted: Gate) -> None:
    assert (promoted.alias("champion"), promoted.alias("previous"), promoted.alias("challenger")) == (2, 1, 2)
    found = promoted.metadata("champion_model")
    assert (found["promoted"], found["model_version"]) == (True, 2)
    for criterion in ("ranking", "money", "alert budget", "calibration", "latency", "catalog"):
        assert f"| {criterion} | passed |" in found["criteria"], criterion
    assert "| promoted | 1 | 2 | the gate |" in found["history"]


def test_the_comparison_shows_every_candidate_beside_the_champion_of_the_time(promoted: Gate) -> None:
    found = promoted.metadata("model_comparison")
    assert found["champion"] == 1
    for name in ("logistic_regression", "xgboost", "soft_voting"):
        assert name in found["candidates"]
    assert found["left_out"] == []


def test_the_same_again_changes_nothing(promoted: Gate) -> None:
    promoted.retrain()
    assert promoted.alias("champion") == 2
    assert promoted.history() == [("promoted", None, 1), ("promoted", 1, 2)]
    assert promoted.metadata("champion_model")["promoted"] is False


@pytest.fixture(scope="module")
def refused(promoted: Gate) -> Gate:
    """A challenger that learnt from shuffled labels came after the good champion."""
    given = training.assemble_training_set
    with pytest.MonkeyPatch.context() as patched:

        def shuffled(*arguments: Any) -> Snapshot:
            return with_shuffled_labels(given(*arguments), promoted.platform.settings.training_sets)

        patched.setattr(training, "assemble_training_set", shuffled)
        promoted.retrain()
    return promoted


def test_a_challenger_trained_on_shuffled_labels_is_refused_and_the_champion_stays(refused: Gate) -> None:
    assert refused.alias("champion") == 2
    assert refused.alias("previous") == 1
    assert refused.history()[-1] == ("refused", 2, 3)
    found = refused.metadata("champion_model")
    assert (found["promoted"], found["model_version"]) == (False, 2)
    assert "| failed |" in found["criteria"]


def test_rollback_puts_the_previous_model_back_with_one_command(refused: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = refused.platform.settings
    monkeypatch.setattr("fraud_platform.cli.load_settings", lambda: settings)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    done = CliRunner().invoke(main, ["model", "rollback", "--why", "it blocks too much"])
    assert done.exit_code == 0, done.output
    assert refused.alias("champion") == 1
    assert refused.history()[-1] == ("rolled_back", 2, 1)
    listed = CliRunner().invoke(main, ["model", "list"])
    assert listed.exit_code == 0 and "champion" in listed.output


def test_a_first_model_below_its_floors_fails_the_asset_and_nothing_serves(shared_platforms: MakePlatform) -> None:
    strict = shared_platforms(
        SMALL_SOURCE, name="strict", algorithms=("isolation_forest",), gate_min_roc_auc=0.999, **QUICK
    )
    strict.run(INGESTION)
    gate = Gate(strict)
    failed = gate.retrain(fails=True)
    assert "No model serves yet, and challenger 1 was refused" in error_of(failed, "champion_model")
    assert gate.alias("champion") is None
    assert gate.history() == [("refused", None, 1)]
    again = strict.run(("batch_scores",), fails=True)
    assert "champion_model" in error_of(again, "batch_scores")


def test_a_candidate_of_an_older_training_set_is_left_out_and_named(refused: Gate) -> None:
    """Last, because it leaves the candidates uneven."""
    fewer = refused.with_settings(algorithms=("logistic_regression", "xgboost"))
    fewer.platform.run(("training_set", "candidate_models/xgboost"))
    fewer.platform.run(("model_comparison",))
    found = fewer.metadata("model_comparison")
    assert (found["chosen"], found["left_out"]) == ("xgboost", ["logistic_regression"])


def test_a_vote_of_too_few_says_so(refused: Gate) -> None:
    few = refused.with_settings(algorithms=("logistic_regression", "xgboost", "soft_voting"))
    failed = few.platform.run(("candidate_models/soft_voting",), fails=True)
    assert "A vote needs two candidates" in error_of(failed, "candidate_models__soft_voting")
