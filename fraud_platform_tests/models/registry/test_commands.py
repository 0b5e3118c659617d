"""`fraud-platform model …`, on versions whose artefacts are real."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click.testing
import dagster as dg
import msgspec
import pytest

from fraud_platform import cli
from fraud_platform.defs.promotion import CHAMPION_MODEL, report_promotion
from fraud_platform.errors import FraudPlatformError
from fraud_platform.features.selection import catalog_of
from fraud_platform.models import registry
from fraud_platform.settings import Settings
from fraud_platform.transactions.sources import load_source
from fraud_platform_tests.installation import ROOT
from fraud_platform_tests.models.registry.conftest import variant

pytestmark = pytest.mark.slow

SOURCE = ROOT / "sources" / "simulator.yaml"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Model:
    """A registered model; versions 1 and 2 have the source's catalog, version 3 has another."""

    settings: Settings
    mlflow: Any

    @property
    def aliases(self) -> dict[str, int]:
        (found,) = self.mlflow.search_registered_models(f"name = '{self.settings.model_name}'")
        return {alias: int(version) for alias, version in found.aliases.items()}

    def promote(self, version: int) -> None:
        uri, name = self.settings.tracking_uri, self.settings.model_name
        registry.promote(uri, name, version, why="better", by="gate", at=NOW)


@pytest.fixture(scope="module")
def artefacts(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    catalog = msgspec.to_builtins(catalog_of(load_source(SOURCE)).origin)
    folder = tmp_path_factory.mktemp("variants")
    fields = [{"seed": 1, "catalog": catalog}, {"seed": 2, "catalog": catalog}, {"seed": 3}]
    warned = {"warnings": ["2 of 15 inputs are null in every train row: a, b."]}
    return [variant(saved, folder / str(number), **warned, **given) for number, given in enumerate(fields)]


@pytest.fixture
def model(
    uri: str,
    mlflow_client: Any,
    model_names: Any,
    artefacts: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Model:
    name = next(model_names)
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None, source=SOURCE, warehouse=tmp_path / "warehouse", mlflow_tracking_uri=uri, model_name=name
    )
    with registry.start_run(uri, "commands", name, {}) as run:
        run.log(metrics={"roc_auc": 0.91234, "money_saved": 1_234_567})
        stored = [run.log_candidate(artefact, "xgboost") for artefact in artefacts]
    for candidate in stored:
        tags = {"algorithm": "xgboost", "snapshot_hash": "0123456789abcdef", "catalog_fingerprint": "c0ffee"}
        registry.register_candidate(uri, candidate, name, tags)
    monkeypatch.setattr(cli, "load_settings", lambda: settings)
    return Model(settings, mlflow_client)


@pytest.fixture(autouse=True)
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("DAGSTER_STORAGE", str(tmp_path / "dagster"))
    return home


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli.main, ["model", *arguments])


def shown(instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    """The metadata of the events of `champion_model`, oldest first."""
    records = instance.fetch_materializations(CHAMPION_MODEL, limit=10).records
    events = [record.asset_materialization for record in reversed(records)]
    return [{name: value.value for name, value in event.metadata.items()} for event in events if event]


def test_the_list_shows_each_version_with_its_aliases_and_figures(model: Model):
    model.promote(1)
    model.promote(2)
    head, third, second, first = run("list").output.splitlines()
    assert head.split()[:3] == ["version", "aliases", "algorithm"]
    assert (third.split()[:3], second.split()[:3]) == (["3", "-", "xgboost"], ["2", "champion", "xgboost"])
    assert first.split()[:2] == ["1", "previous"]
    assert {"1,234,567", "0.9123", "01234567", "c0ffee"} <= set(first.split())


def test_the_list_says_what_it_leaves_out(model: Model):
    assert run("list", "--limit", "2").output.splitlines()[-1] == "… and 1 older"


def test_the_list_of_no_versions_says_so(model: Model, monkeypatch: pytest.MonkeyPatch):
    settings = model.settings.model_copy(update={"model_name": "unheard_of"})
    monkeypatch.setattr(cli, "load_settings", lambda: settings)
    assert run("list").output.startswith("No version of unheard_of is registered in MLflow at")


def test_a_version_shows_its_card_and_its_history(model: Model):
    model.promote(1)
    model.promote(2)
    done = run("show")
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert lines[0] == f"Version 2 of {model.settings.model_name} (champion)"
    assert {"algorithm xgboost", "seed 2", "parameters max_depth 5"} <= set(lines)
    assert "warning 1 2 of 15 inputs are null in every train row: a, b." in lines
    assert any(line.startswith("evaluation roc_auc 0.") for line in lines)
    assert any(line.startswith("periods test first 2024-") for line in lines)
    assert lines[-1] == "2026-03-01 12:00 version 2 promoted in place of 1 by gate better"


def test_a_version_is_shown_by_number_and_by_alias(model: Model):
    model.promote(1)
    assert run("show", "3").output.splitlines()[-1] == "history: none"
    assert run("show", "champion").output == run("show", "1").output


def test_a_version_that_does_not_exist_is_one_message(model: Model):
    done = run("show", "7")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "has no version or alias '7'" in done.output


def test_a_promotion_by_hand_moves_the_aliases_and_is_shown_in_dagster(model: Model, instance: dg.DagsterInstance):
    model.promote(1)
    done = run("promote", "2", "--why", "fewer alarms", "--by", "risk")
    assert done.output.startswith(f"Version 2 of {model.settings.model_name} is the champion, in place of version 1.")
    assert model.aliases == {"champion": 2, "previous": 1}
    assert shown(instance) == [
        {
            "event": "promoted",
            "model_version": 2,
            "version_before": 1,
            "previous": 1,
            "why": "fewer alarms",
            "by": "risk",
        }
    ]


def test_promoting_the_champion_again_is_no_event(model: Model, instance: dg.DagsterInstance):
    model.promote(1)
    done = run("promote", "1", "--why", "again")
    assert (done.exit_code, "nothing was changed" in done.output) == (0, True)
    assert shown(instance) == []


def test_the_user_of_the_machine_is_who_decided(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOGNAME", "ada")
    run("promote", "1", "--why", "first")
    assert registry.history(model.settings.tracking_uri, model.settings.model_name)[0].by == "ada"


def test_a_rollback_is_one_command(model: Model, instance: dg.DagsterInstance):
    model.promote(1)
    model.promote(2)
    done = run("rollback", "--why", "alarms doubled", "--by", "risk")
    assert "is the champion again, in place of version 2" in done.output
    assert model.aliases == {"champion": 1}
    (event,) = shown(instance)
    assert (event["event"], event["model_version"], event["why"]) == ("rolled_back", 1, "alarms doubled")


def test_a_rollback_without_a_previous_is_refused(model: Model, instance: dg.DagsterInstance):
    model.promote(1)
    done = run("rollback", "--why", "worse")
    assert (done.exit_code, "nothing to roll" in done.output) == (1, True)
    assert (model.aliases, shown(instance)) == ({"champion": 1}, [])


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_a_reason_has_to_be_given(model: Model, command: str):
    assert "Missing option '--why'" in run(command, *(["1"] if command == "promote" else [])).output


def test_a_version_of_another_catalog_is_never_promoted(model: Model, instance: dg.DagsterInstance):
    model.promote(1)
    done = run("promote", "3", "--why", "better")
    assert done.exit_code == 1
    assert "was trained on catalog fingerprint, and this code computes" in done.output
    assert (model.aliases, shown(instance)) == ({"champion": 1}, [])


def test_a_version_of_another_catalog_is_not_rolled_back_to(model: Model):
    model.promote(3)
    model.promote(1)
    assert "was trained on catalog fingerprint" in run("rollback", "--why", "worse").output
    assert model.aliases == {"champion": 1, "previous": 3}


def test_a_damaged_artefact_is_neither_shown_nor_promoted(model: Model):
    model.promote(1)
    source = model.mlflow.get_model_version_download_uri(model.settings.model_name, "2")
    (graph,) = Path(source.removeprefix("file://")).rglob("model.onnx")
    graph.write_bytes(b"damaged")
    for done in (run("show", "2"), run("promote", "2", "--why", "better")):
        assert (done.exit_code, "model.onnx was changed" in done.output) == (1, True)
    assert model.aliases == {"champion": 1}


def test_without_dagster_the_model_is_promoted_all_the_same(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.chdir(tmp_path)
    assert run("promote", "1", "--why", "first").exit_code == 0
    assert model.aliases == {"champion": 1}
    assert "DAGSTER_HOME" not in os.environ


def test_a_dagster_that_cannot_be_written_does_not_hide_that_the_model_was_promoted(dagster_home: Path, tmp_path: Path):
    (dagster_home / "dagster.yaml").write_text("storage: {nonsense: 1}")
    done = registry.Promotion("promoted", "fraud_model", 2, 1, 1, "better", "risk", NOW)
    with pytest.raises(FraudPlatformError, match=r"Version 2 of fraud_model is the champion.*Only Dagster"):
        report_promotion(done)
