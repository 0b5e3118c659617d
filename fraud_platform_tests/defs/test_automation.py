"""The drift sensor: what it answers to a report, and that a real daemon retrains because of it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fraud_platform.definitions import build_definitions
from fraud_platform.defs.automation import RANGE_END, RANGE_START
from fraud_platform.models.registry import require_champion
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect, last_day
from fraud_platform_tests.defs.webserver import REPOSITORY, Webserver, running_webserver
from fraud_platform_tests.installation import ROOT, Installation

REPORT = dg.AssetKey("data_drift_report")
TICKS = """query Ticks($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
  sensorState { status ticks(limit: 20) { tickId status skipReason runIds } } } } }"""


def report(instance: dg.DagsterInstance, **metadata: Any) -> None:
    """A drift report that somebody else made: a materialization without a run."""
    instance.report_runless_asset_event(dg.AssetMaterialization(REPORT, metadata=metadata))


SETTINGS = Settings(_env_file=None, source=ROOT / "sources" / "simulator.yaml", drift_share_critical=0.2)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(SETTINGS)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    """One evaluation of the sensor, as the daemon makes it."""
    context = dg.build_sensor_context(
        instance, cursor=cursor, definitions=definitions, resources={"settings": SETTINGS}
    )
    return definitions.resolve_sensor_def("drift_sensor").evaluate_tick(context)


def test_a_report_below_critical_is_skipped_with_the_numbers(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    report(instance, share_drifted=0.19, current_days="2026-02-23 to 2026-03-01")
    answer = tick(definitions, instance)
    assert answer.run_requests == []
    assert answer.skip_message == "Share of drifted inputs 0.19 is below 0.20."


def test_a_critical_report_asks_for_one_run_over_its_days(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    report(instance, share_drifted=0.20, current_days="2026-02-23 to 2026-03-01")
    (request,) = tick(definitions, instance).run_requests
    assert {name: request.tags[name] for name in (RANGE_START, RANGE_END)} == {
        RANGE_START: "2026-02-23",
        RANGE_END: "2026-03-01",
    }


def test_the_next_tick_asks_for_nothing(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    report(instance, share_drifted=0.5, current_days="2026-02-23 to 2026-03-01")
    first = tick(definitions, instance)
    assert tick(definitions, instance, first.cursor).run_requests == []


def test_a_tick_that_lost_its_cursor_repeats_its_run_key(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    report(instance, share_drifted=0.5, current_days="2026-02-23 to 2026-03-01")
    keys = [tick(definitions, instance).run_requests[0].run_key for _ in range(2)]
    assert keys[0] == keys[1] is not None


def test_a_second_report_has_a_run_key_of_its_own(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    report(instance, share_drifted=0.5, current_days="2026-02-23 to 2026-03-01")
    first = tick(definitions, instance)
    report(instance, share_drifted=0.5, current_days="2026-02-23 to 2026-03-01")
    second = tick(definitions, instance, first.cursor)
    assert first.run_requests[0].run_key != second.run_requests[0].run_key


def test_a_report_without_figures_is_skipped(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    report(instance)
    answer = tick(definitions, instance)
    assert answer.run_requests == [] and "no share_drifted" in answer.skip_message


def test_without_a_report_nothing_happens(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    assert tick(definitions, instance).run_requests == []


@pytest.fixture(scope="module")
def server(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    with running_webserver(installation, tmp_path_factory.mktemp("automation") / "dagster_dev.log") as server:
        yield server


def ticks(server: Webserver) -> list[dict[str, Any]]:
    """The sensor's finished ticks, newest first."""
    selector = REPOSITORY | {"sensorName": "drift_sensor"}
    state = server.query(TICKS, selector=selector)["sensorOrError"]["sensorState"]
    assert state["status"] == "RUNNING"
    return [tick for tick in state["ticks"] if tick["status"] != "STARTED"]


def settle(server: Webserver) -> None:
    """Let the sensor answer the reports that were there before, and their runs end."""
    server.wait_for(lambda: ticks(server) or None, 90, "tick of the sensor")
    for run in server.runs(pipelineName="retraining_job"):
        server.finished_run(run["runId"])


@pytest.mark.slow
def test_the_daemon_retrains_once_on_a_critical_report(
    server: Webserver,
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    settings = installation.settings
    settle(server)
    before = require_champion(settings.tracking_uri, settings.model_name).version
    known = {run["runId"] for run in server.runs(pipelineName="retraining_job")}
    with connect(settings.database) as connection:
        last = last_day(connection, "batch_scores")
    first = last - timedelta(days=2)

    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(Path(installation.environment["DAGSTER_HOME"]))) as instance:
        report(instance, share_drifted=0.5, current_days=f"{first} to {last}")
    reported = time.monotonic()

    def launched() -> list[str]:
        return [run["runId"] for run in server.runs(pipelineName="retraining_job") if run["runId"] not in known]

    (run_id,) = server.wait_for(lambda: launched() or None, 90, "run of retraining_job")
    run = server.finished_run(run_id)
    record_property("seconds_from_report_to_retrained", round(time.monotonic() - reported, 1))
    assert run["status"] == "SUCCESS", server.tail()
    assert {"key": "dagster/sensor_name", "value": "drift_sensor"} in run["tags"]

    with dg.DagsterInstance.from_config(str(Path(installation.environment["DAGSTER_HOME"]))) as instance:
        for asset in ("candidate_models/xgboost", "champion_model"):
            assert instance.get_latest_materialization_event(dg.AssetKey(asset.split("/"))).run_id == run_id, asset
        scored = instance.fetch_materializations(dg.AssetKey("batch_scores"), limit=10).records
    # Nothing has changed but the report, so that the model comes out the same and the champion stays.
    champion = require_champion(settings.tracking_uri, settings.model_name)
    assert champion.version == before
    days = {record.partition_key for record in scored if record.run_id == run_id}
    assert days == {str(first), str(first + timedelta(days=1)), str(last)}

    seen = {tick["tickId"] for tick in ticks(server)}
    later = server.wait_for(lambda: [t for t in ticks(server) if t["tickId"] not in seen] or None, 90, "further tick")
    assert later[0]["status"] == "SKIPPED" and launched() == [run_id]
