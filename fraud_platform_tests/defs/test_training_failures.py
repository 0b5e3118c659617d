"""What cannot be trained, judged or loaded is said by the asset, with the fix, and the champion goes on serving."""

import re
import shutil
import time
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fraud_platform.models import registry
from fraud_platform.models.artefact import Artefact
from fraud_platform_tests.defs.conftest import (
    FEATURES,
    INGESTION,
    MakePlatform,
    Platform,
    error_of,
    failed_checks,
)
from fraud_platform_tests.defs.reported_shop import (
    LAST,
    MAPPING,
    QUICK,
    TRAINING_MOMENT,
    VALIDATION_END,
    VALIDATION_FIRST,
    Payment,
    metadata,
    payments,
    write_payments,
)

pytestmark = pytest.mark.slow

CANDIDATE = "candidate_models/logistic_regression"
CANDIDATE_STEP = "candidate_models__logistic_regression"
TRAINING = ("training_set", "candidate_models")
CHOICE = ("model_comparison", "challenger_model")
LENIENT: dict[str, Any] = {
    "gate_max_calibration_error": 99.0,
    "gate_alert_budget_tolerance": 99.0,
    "gate_max_single_row_us": 1e6,
}
EVERY = ("logistic_regression", "random_forest", "xgboost", "lightgbm", "isolation_forest", "soft_voting")


@dataclass(frozen=True)
class Serving:
    """A platform on which version 1 became the champion."""

    platform: Platform

    def with_settings(self, **changed: Any) -> "Serving":
        return Serving(Platform(self.platform.settings.model_copy(update=changed), self.platform.instance))

    def ingest(self, rows: list[Payment], fails: bool = False) -> dg.ExecuteInProcessResult:
        """Put these payments in the place of all that were there."""
        write_payments(Path(self.platform.source.path), rows)
        return self.platform.run(INGESTION, fails=fails)

    def fails(self, assets: tuple[str, ...], step: str) -> str:
        """What the step says that ends the run of these assets."""
        return error_of(self.platform.run(assets, fails=True), step)

    def metadata(self, asset: str) -> dict[str, Any]:
        return metadata(self.platform, asset)

    def history(self) -> list[tuple[str, int | None, int]]:
        settings = self.platform.settings
        entries = registry.history(settings.tracking_uri, settings.model_name)
        return [(entry.event, entry.from_version, entry.to_version) for entry in entries]

    def check_champion(self) -> None:
        """Version 1 is the champion, has been ever since, and scores."""
        settings = self.platform.settings
        champion = registry.champion(settings.tracking_uri, settings.model_name)
        assert champion is not None and champion.version == 1
        assert [entry for entry in self.history() if entry[0] != "refused"] == [("promoted", None, 1)]
        assert self.platform.run(("batch_scores",), LAST).success
        scored = self.platform.query("SELECT count(*), min(model_version), max(model_version) FROM batch_scores")
        assert scored.rows()[0][0] > 0 and scored.rows()[0][1:] == ("1", "1")


def made_champion(platform: Platform) -> Serving:
    platform.run(INGESTION)
    for assets in (TRAINING, CHOICE, ("champion_model",)):
        platform.run(assets)
    return Serving(platform)


@pytest.fixture(scope="module")
def serving(shared_platforms: MakePlatform, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """Tests may change its data, and candidates and challengers; none may change the champion."""
    mapping = write_payments(tmp_path_factory.mktemp("data") / "payments.csv", payments())
    return made_champion(shared_platforms(mapping, **QUICK, **LENIENT))


@pytest.fixture
def whole(serving: Serving) -> Serving:
    """`serving` on the payments that it was made with."""
    serving.ingest(payments())
    return serving


def without_frauds(first: date | datetime, end: date | datetime) -> list[Payment]:
    """The payments, those of these days being legitimate."""
    days = (str(first)[:10], str(end)[:10])
    return [
        replace(row, fraud=0, reported=None) if days[0] <= str(row.when)[:10] < days[1] else row for row in payments()
    ]


@pytest.fixture(scope="module")
def every_candidate(serving: Serving) -> Serving:
    serving.ingest(payments())
    every = serving.with_settings(algorithms=EVERY)
    every.platform.run(TRAINING)
    return every


class TestTrainingData:
    def test_a_training_window_without_frauds(self, serving: Serving) -> None:
        serving.ingest(without_frauds(date.min, TRAINING_MOMENT))
        said = serving.fails(TRAINING, CANDIDATE_STEP)
        assert "The train period, 2026-03-01 up to 2026-03-11, has 0 frauds in 1000 rows" in said
        assert "Check `labels` in the source's file, and that labels were reported before 2026-03-16" in said
        serving.check_champion()

    def test_a_validation_period_without_frauds(self, serving: Serving) -> None:
        serving.ingest(without_frauds(VALIDATION_FIRST, VALIDATION_END))
        said = serving.fails(TRAINING, CANDIDATE_STEP)
        assert "The validation period, 2026-03-11 up to 2026-03-14, has 0 frauds in 300 rows" in said
        assert "or take a longer period (FRAUD_VALIDATION_DAYS, more days)" in said
        serving.check_champion()

    def test_a_training_window_of_nothing_but_frauds(self, serving: Serving) -> None:
        """Ingestion blocks first, and says why; who insists is told by the candidate."""
        all_frauds = [replace(row, fraud=1, reported=row.when) for row in payments()]
        blocked = serving.ingest(all_frauds, fails=True)
        assert "100.00%" in failed_checks(blocked)["fraud_rate"]
        serving.platform.run(FEATURES)
        said = serving.fails(TRAINING, CANDIDATE_STEP)
        assert "The train period, 2026-03-01 up to 2026-03-11, has 1000 frauds in 1000 rows" in said
        assert "no legitimate row to compare with. Check `labels.is_fraud.fraud_values` in the source's file" in said
        serving.check_champion()

    def test_fewer_rows_than_a_model_needs(self, serving: Serving) -> None:
        serving.ingest(payments(per_day=30))
        said = serving.fails(TRAINING, CANDIDATE_STEP)
        assert re.search(r"The validation period, .* in 90 rows; 100 rows are the least to train with", said)
        assert "Materialize `transaction_features` for those days" in said
        serving.check_champion()

    def test_fewer_days_than_the_periods_need(self, whole: Serving) -> None:
        said = whole.with_settings(test_days=30).fails(("training_set",), "training_set")
        assert "there are 20 (2026-03-01 up to 2026-03-21, exclusive) and 38 are needed" in said
        assert "Materialize more days, or lower FRAUD_TEST_DAYS or FRAUD_VALIDATION_DAYS" in said
        whole.check_champion()

    @pytest.mark.parametrize("name", EVERY)
    def test_constant_and_empty_inputs_are_a_warning_and_no_failure(self, every_candidate: Serving, name: str) -> None:
        found = every_candidate.metadata(f"candidate_models/{name}")
        empty, constant = found["warnings"]
        assert re.fullmatch(r"1 of 62 inputs are null in every train row: unknown\.", empty)
        assert re.match(r"\d+ of 62 inputs have one and the same value in every train row: ", constant)
        assert {"trap", "steady"} <= set(constant.rstrip(".").split(": ")[1].split(", "))
        assert Artefact.load(Path(found["artefact"])).card.warnings == (empty, constant)


class TestSearch:
    """A search for parameters on folds that the history cannot give."""

    def said(self, serving: Serving, **settings: Any) -> str:
        searching = serving.with_settings(tuned_algorithms=("logistic_regression",), tuning_trials=1, **settings)
        return searching.fails(TRAINING, CANDIDATE_STEP)

    def test_fewer_days_than_a_fold(self, whole: Serving) -> None:
        said = self.said(whole, tuning_fold_days=11)
        assert "a fold of 11 days after a label delay of 2 and a day to fit on needs 14" in said
        assert "train and validation have 13. Lower FRAUD_TUNING_FOLD_DAYS, set FRAUD_TUNING_TRIALS=0" in said
        whole.check_champion()

    def test_folds_too_short_to_hold_rows(self, whole: Serving) -> None:
        said = self.said(whole, tuning_fold_days=1, tuning_folds=3)
        assert "What the tuning fold of 2026-03-11 is judged on has 0 frauds in 0 rows" in said
        assert "Take longer folds (FRAUD_TUNING_FOLD_DAYS)" in said
        whole.check_champion()

    def test_more_folds_than_days_are_as_many_as_there_is_room_for(self, whole: Serving) -> None:
        searching = whole.with_settings(
            tuned_algorithms=("logistic_regression",), tuning_trials=1, tuning_folds=50, tuning_fold_days=4
        )
        searching.platform.run(TRAINING)
        assert searching.metadata(CANDIDATE)["tuning_folds"] == 2


@pytest.fixture(scope="module")
def changed(shared_platforms: MakePlatform, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """The source's mapping lost an attribute, a challenger was trained, and the attribute came back."""
    folder = tmp_path_factory.mktemp("catalogs")
    mapping = write_payments(folder / "payments.csv", payments())
    serving = made_champion(shared_platforms(mapping, folder=folder, **QUICK, **LENIENT))
    attributes = {name: of for name, of in MAPPING["attributes"].items() if name != "steady"}
    less = shared_platforms({**mapping, "attributes": attributes}, folder=folder / "less", **QUICK, **LENIENT)
    other = serving.with_settings(source=less.settings.source)
    for assets in (INGESTION, TRAINING, CHOICE):
        other.platform.run(assets)
    return serving


class TestAnotherCatalog:
    def test_scores_of_features_that_the_champion_does_not_know_are_refused(self, changed: Serving) -> None:
        said = changed.fails(("batch_scores",), "batch_scores")
        assert "Version 1" in said and "['steady']" in said
        assert "Materialize `transaction_features`" in said

    def test_the_gate_refuses_the_challenger_and_says_why(self, changed: Serving) -> None:
        assert changed.platform.run(("champion_model",)).success
        found = changed.metadata("champion_model")
        assert (found["promoted"], found["model_version"]) == (False, 1)
        assert "catalog" in found["verdict"]
        assert "| catalog | failed |" in found["criteria"]
        assert "trained on another catalog than the one in use; train it again" in found["criteria"]
        assert changed.history()[-1] == ("refused", 1, 2)
        changed.platform.run(INGESTION)
        changed.check_champion()


class TestUnreachableMLflow:
    @pytest.mark.parametrize(
        ("assets", "step"),
        [
            (("candidate_models",), CANDIDATE_STEP),
            (("challenger_model",), "challenger_model"),
            (("champion_model",), "champion_model"),
            (("batch_scores",), "batch_scores"),
        ],
        ids=["candidate", "challenger", "champion", "scores"],
    )
    def test_it_is_said_at_once(self, serving: Serving, assets: tuple[str, ...], step: str) -> None:
        started = time.monotonic()
        said = serving.with_settings(mlflow_tracking_uri="http://127.0.0.1:9").fails(assets, step)
        assert time.monotonic() - started < 15
        assert "MLflow at http://127.0.0.1:9 did not do what was asked" in said and "Connection refused" in said
        assert "start it or correct FRAUD_MLFLOW_TRACKING_URI" in said

    def test_the_champion_serves_once_it_answers(self, whole: Serving) -> None:
        whole.with_settings(mlflow_tracking_uri="http://127.0.0.1:9").fails(("champion_model",), "champion_model")
        whole.check_champion()


class TestArtefacts:
    """A candidate's directory in the models' folder, and the one that MLflow keeps."""

    def candidate(self, serving: Serving, seed: int) -> tuple[Serving, Path, Path]:
        """A candidate that no other test has; its directory, and MLflow's copy."""
        own = serving.with_settings(seed=seed)
        own.platform.run(TRAINING)
        found = own.metadata(CANDIDATE)
        artefact = Path(found["artefact"])
        (kept,) = (
            path.parent / "data" / artefact.name
            for path in own.platform.settings.home.rglob("MLmodel")
            if f"model_id: {found['mlflow_model_id']}" in path.read_text()
        )
        return own, artefact, kept

    def test_a_damaged_one_is_named_and_fetched_again_once_it_is_deleted(self, whole: Serving) -> None:
        own, artefact, _ = self.candidate(whole, 101)
        with (artefact / "model.onnx").open("ab") as file:
            file.write(b"\0")
        said = own.fails(CHOICE, "model_comparison")
        assert f"{artefact / 'model.onnx'} was changed after it was written" in said
        assert f"Delete {artefact}" in said and "MLflow has Candidate" in said
        own.check_champion()
        shutil.rmtree(artefact)
        assert own.platform.run(CHOICE).success

    def test_a_damaged_one_in_mlflow_is_named(self, whole: Serving) -> None:
        own, _, kept = self.candidate(whole, 102)
        (kept / "model.json").write_text("{}")
        said = own.fails(CHOICE, "model_comparison")
        assert f"Candidate {own.metadata(CANDIDATE)['mlflow_model_id']}" in said and "cannot be used" in said
        assert f"{kept / 'model.json'} was changed after it was written" in said and "Put its files back" in said
        own.check_champion()

    def test_one_that_mlflow_lost_is_named(self, whole: Serving) -> None:
        own, _, kept = self.candidate(whole, 103)
        shutil.rmtree(kept.parents[1])
        said = own.fails(CHOICE, "model_comparison")
        assert f"The files of Candidate {own.metadata(CANDIDATE)['mlflow_model_id']}" in said
        assert "cannot be read from" in said and "Put its files back" in said
        own.check_champion()

    def test_one_that_was_deleted_from_the_models_folder_is_fetched_from_mlflow(self, whole: Serving) -> None:
        own, artefact, _ = self.candidate(whole, 104)
        before = {path.name: path.read_bytes() for path in artefact.iterdir()}
        shutil.rmtree(artefact)
        own.platform.run(CHOICE)
        assert {path.name: path.read_bytes() for path in artefact.iterdir()} == before
        assert own.metadata("challenger_model")["artefact"] == str(artefact)

    def test_a_challenger_that_is_damaged_before_the_gate_leaves_the_champion(self, whole: Serving) -> None:
        own, artefact, kept = self.candidate(whole, 105)
        own.platform.run(CHOICE)
        shutil.rmtree(artefact)
        (kept / "model.onnx").write_bytes(b"")
        said = own.fails(("champion_model",), "champion_model")
        version = own.metadata("challenger_model")["model_version"]
        assert f"Version {version} of fraud_model" in said and f"{kept / 'model.onnx'} was changed" in said
        own.check_champion()
