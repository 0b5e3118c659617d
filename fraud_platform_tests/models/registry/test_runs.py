import json
from pathlib import Path
from typing import Any

import pytest

from fraud_platform.errors import RegistryError
from fraud_platform.models import registry
from fraud_platform.models.dataset import Snapshot
from fraud_platform_tests.models.registry.conftest import TAGS

pytestmark = pytest.mark.slow


class GivenUp(Exception):
    """What a tuner raises to end a trial early."""


@pytest.fixture(scope="module")
def written(uri: str, snapshot: Snapshot) -> str:
    """The id of a run into which everything was written that a run can hold."""
    with registry.start_run(uri, "fraud", "first", TAGS) as run:
        run.log({"max_depth": 6, "nothing": None}, {"roc_auc": 0.9}, {"stage": "test"})
        run.log_parameters({"rounds": 10})
        run.log_metrics({"money_saved": 1_234_567})
        run.log_figures({"roc": b"png"})
        run.log_text("summary.md", "# Näher")
        run.log_table("comparison", {"model": ["a", "b"], "cost": (1.5, 2.5)})
        run.log_snapshot(snapshot)
        run.log_snapshot(snapshot, "evaluation")
    return run.id


@pytest.fixture
def run(mlflow_client: Any, written: str) -> Any:
    return mlflow_client.get_run(written)


@pytest.fixture
def files(run: Any) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def test_a_run_has_its_parameters_metrics_tags_and_status(run: Any):
    assert run.data.params == {"max_depth": "6", "nothing": "None", "rounds": "10"}
    assert run.data.metrics == {"roc_auc": 0.9, "money_saved": 1_234_567.0}
    assert (TAGS | {"stage": "test"}).items() <= run.data.tags.items()
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")


def test_a_run_says_who_started_it(run: Any):
    assert run.data.tags["mlflow.user"]


def test_a_run_names_the_snapshot_by_content_for_training_and_for_evaluation(run: Any, snapshot: Snapshot):
    used = {used.dataset.name: (used.dataset, used.tags[0]) for used in run.inputs.dataset_inputs}
    assert {name: tag.value for name, (_, tag) in used.items()} == {
        "training_set": "training",
        "evaluation_set": "evaluation",
    }
    dataset, _ = used["training_set"]
    assert dataset.digest == snapshot.hash[:16]
    assert json.loads(dataset.source)["uri"] == str(snapshot.path)
    assert json.loads(dataset.profile)["num_rows"] == snapshot.rows


def test_files_lie_beside_the_database(files: Path, folder: Path):
    assert files.is_relative_to(folder / "new" / "mlflow_artifacts")
    assert (files / "figures" / "roc.png").read_bytes() == b"png"
    assert (files / "summary.md").read_text(encoding="utf-8") == "# Näher"


def test_a_table_is_stored_as_mlflow_shows_it(run: Any, files: Path):
    table = json.loads((files / "comparison.json").read_text())
    assert table == {"columns": ["model", "cost"], "data": [["a", 1.5], ["b", 2.5]]}
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "comparison.json", "type": "table"}]


def test_more_parameters_than_mlflow_takes_at_once_are_all_recorded(uri: str, mlflow_client: Any):
    with registry.start_run(uri, "fraud", "many", TAGS) as run:
        run.log({f"parameter_{number}": number for number in range(250)}, {f"m{number}": 0.5 for number in range(1100)})
    data = mlflow_client.get_run(run.id).data
    assert (len(data.params), len(data.metrics)) == (250, 1100)


def test_a_parameter_cannot_be_changed(uri: str):
    with registry.start_run(uri, "fraud", "changed", TAGS) as run:
        run.log({"depth": 6})
        with pytest.raises(RegistryError, match=r"'depth', 'old_value': '6'"):
            run.log({"depth": 7})


def test_a_body_that_raises_leaves_a_failed_run_and_its_own_error(uri: str, mlflow_client: Any):
    with pytest.raises(ZeroDivisionError), registry.start_run(uri, "fraud", "broken", TAGS) as opened:
        raise ZeroDivisionError
    assert mlflow_client.get_run(opened.id).info.status == "FAILED"


def test_the_error_of_the_body_is_seen_where_mlflow_is_lost_too(
    uri: str, mlflow_client: Any, monkeypatch: pytest.MonkeyPatch
):
    from mlflow.exceptions import MlflowException

    def lost(*_: Any) -> None:
        raise MlflowException("connection lost")

    monkeypatch.setattr(type(mlflow_client), "set_terminated", lost)
    with pytest.raises(ZeroDivisionError) as caught, registry.start_run(uri, "fraud", "lost", TAGS):
        raise ZeroDivisionError
    assert any("connection lost" in note for note in caught.value.__notes__)


def test_a_run_that_exists_is_added_to_and_keeps_its_status(uri: str, written: str, mlflow_client: Any):
    registry.open_run(uri, written).log_metrics({"later": 1.0})
    found = mlflow_client.get_run(written)
    assert (found.data.metrics.pop("later"), found.info.status) == (1.0, "FINISHED")


def test_trials_are_nested_below_their_run_and_end_as_they_went(uri: str, mlflow_client: Any):
    with registry.start_run(uri, "tuning", "xgboost", TAGS) as parent:
        with parent.child("trial 0", {"fold": "1"}, pruned_by=GivenUp) as good:
            good.log({"depth": 6}, {"cost": 1.0})
        with pytest.raises(GivenUp), parent.child("trial 1", pruned_by=(GivenUp,)) as pruned:
            raise GivenUp
        with pytest.raises(ValueError, match="bad"), parent.child("trial 2", pruned_by=GivenUp) as failed:
            raise ValueError("bad")
    runs = {run.info.run_name: run for run in mlflow_client.search_runs([_experiment(mlflow_client, "tuning")])}
    trials = [runs["trial 0"], runs["trial 1"], runs["trial 2"]]
    assert [trial.info.status for trial in trials] == ["FINISHED", "KILLED", "FAILED"]
    assert [trial.info.run_id for trial in trials] == [good.id, pruned.id, failed.id]
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {parent.id}
    assert [trial.data.tags.get("pruned") for trial in trials] == [None, "true", None]
    assert runs["trial 0"].data.params == {"depth": "6"}
    assert runs["trial 0"].data.tags["fold"] == "1"
    assert runs["xgboost"].info.status == "FINISHED"


def test_a_run_opened_by_its_id_can_have_trials(uri: str, written: str, mlflow_client: Any):
    with registry.open_run(uri, written).child("evaluation") as nested:
        pass
    assert mlflow_client.get_run(nested.id).info.experiment_id == _experiment(mlflow_client, "fraud")


def test_a_trial_with_parameters_and_figures_is_three_calls(
    uri: str, mlflow_client: Any, monkeypatch: pytest.MonkeyPatch
):
    client_class = type(mlflow_client)
    calls: list[str] = []

    def counted(name: str) -> Any:
        original = getattr(client_class, name)
        return lambda *args, **kwargs: calls.append(name) or original(*args, **kwargs)

    with registry.start_run(uri, "tuning", "counted", TAGS) as parent:
        for name in [name for name in vars(client_class) if not name.startswith("_")]:
            if callable(getattr(client_class, name)):
                monkeypatch.setattr(client_class, name, counted(name))
        with parent.child("trial") as trial:
            trial.log({"depth": 6, "rate": 0.1}, {"cost": 1.0, "average_precision": 0.5})
        monkeypatch.undo()
    assert calls == ["create_run", "log_batch", "set_terminated"]


def test_a_run_leaves_the_tracking_uri_as_it_was(uri: str):
    import mlflow

    mlflow.set_tracking_uri("sqlite:///elsewhere.db")
    try:
        with registry.start_run(uri, "fraud", "guest", TAGS) as run:
            run.log_metrics({"a": 1.0})
        assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
        assert not Path("elsewhere.db").exists()
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def _experiment(client: Any, name: str) -> str:
    return client.get_experiment_by_name(name).experiment_id
