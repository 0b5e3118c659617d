"""The definitions as a whole: what exists under which name, and what loading them costs."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from fraud_platform.decisions.outbox_rows import DECISION_COLUMNS
from fraud_platform.definitions import build_definitions
from fraud_platform.errors import SourceError, TrainingError
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import TRANSACTION
from fraud_platform_tests.installation import ROOT

SOURCES = ("simulator", "handbook")
CANDIDATES = ("logistic_regression", "random_forest", "xgboost", "lightgbm", "isolation_forest")
ASSETS: dict[str, tuple[str, set[str]]] = {
    "decision_log": ("feedback", set()),
    "live_transactions": ("feedback", set()),
    "feedback_labels": ("feedback", set()),
    "raw_transactions": ("raw", {"live_transactions"}),
    "raw_labels": ("raw", {"raw_transactions", "feedback_labels"}),
    "validated_transactions": ("validated", {"raw_transactions"}),
    "quarantined_transactions": ("validated", {"raw_transactions"}),
    "validated_labels": ("validated", {"raw_labels", "validated_transactions"}),
    "transaction_features": ("features", {"validated_transactions", "validated_labels"}),
    "training_set": ("training", {"transaction_features", "validated_labels"}),
    **{f"candidate_models/{name}": ("training", {"training_set"}) for name in CANDIDATES},
    "candidate_models/soft_voting": ("training", {f"candidate_models/{name}" for name in CANDIDATES}),
    "model_comparison": ("training", {f"candidate_models/{name}" for name in (*CANDIDATES, "soft_voting")}),
    "challenger_model": ("training", {"model_comparison"}),
    "champion_model": ("training", {"challenger_model"}),
    "batch_scores": ("scoring", {"transaction_features", "champion_model"}),
    "online_state": ("serving", {"validated_transactions", "validated_labels"}),
    "feature_parity_report": ("monitoring", {"transaction_features"}),
    "fraud_scoring_bento": ("serving", {"champion_model", "feature_parity_report"}),
    "service_deployment": ("serving", {"champion_model", "fraud_scoring_bento"}),
    "data_drift_report": ("monitoring", {"batch_scores", "training_set"}),
    "rule_backtest": ("scoring", {"transaction_features", "batch_scores", "validated_labels"}),
}
"""Group and upstream assets of every asset. A name here is what users, links and metadata refer to."""

DAILY = {
    "raw_transactions",
    "raw_labels",
    "validated_transactions",
    "quarantined_transactions",
    "validated_labels",
    "transaction_features",
    "batch_scores",
}
BLOCKING_CHECKS = {
    ("validated_transactions", "required_columns"),
    ("validated_transactions", "unique_ids"),
    ("validated_transactions", "amounts"),
    ("validated_transactions", "event_times"),
    ("validated_transactions", "formats"),
    ("validated_transactions", "amount_outliers"),
    ("validated_transactions", "volume"),
    ("quarantined_transactions", "quarantined_share"),
    ("validated_labels", "label_columns"),
    ("validated_labels", "labels_after_events"),
    ("validated_labels", "fraud_rate"),
    ("feature_parity_report", "features_are_equal"),
}
REPORTING_CHECKS = {("data_drift_report", "drift_share"), ("decision_log", "nothing_rejected")}
RETRAINED = {name for name, (group, _) in ASSETS.items() if group == "training"} | {
    "batch_scores",
    "fraud_scoring_bento",
    "service_deployment",
}
JOBS = {"ingestion_job": DAILY - {"batch_scores"}, "retraining_job": RETRAINED}
SENSORS = {"drift_sensor"}

FORBIDDEN_AT_LOAD = (
    "mlflow",
    "evidently",
    "great_expectations",
    "sklearn",
    "xgboost",
    "lightgbm",
    "optuna",
    "onnx",
    "matplotlib",
    "boto3",
    "pandas",
)
LOAD_SECONDS = 4.0
"""Processor seconds that loading the definitions may take, so that a busy machine does not fail it."""

LOAD = """
import json, resource, socket, sys
def refuse(*arguments, **options):
    raise OSError("the definitions must load without the network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from fraud_platform.definitions import defs
used = resource.getrusage(resource.RUSAGE_SELF)
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"modules": loaded, "seconds": used.ru_utime + used.ru_stime}))
"""


def definitions_of(source: str | Path) -> dg.Definitions:
    path = source if isinstance(source, Path) else ROOT / "sources" / f"{source}.yaml"
    return build_definitions(Settings(_env_file=None, source=path))  # type: ignore[call-arg]


@pytest.fixture(scope="module", params=SOURCES)
def definitions(request: pytest.FixtureRequest) -> dg.Definitions:
    return definitions_of(request.param)


def specs_of(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_the_assets_their_groups_and_their_dependencies(definitions: dg.Definitions) -> None:
    found = {
        name: (spec.group_name, {dependency.asset_key.to_user_string() for dependency in spec.deps})
        for name, spec in specs_of(definitions).items()
    }
    assert found == ASSETS


def test_the_jobs_and_what_they_make(definitions: dg.Definitions) -> None:
    found = {
        job.name: {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
        for job in definitions.get_repository_def().get_all_jobs()
        if not job.name.startswith("__")
    }
    assert found == JOBS


def test_the_sensors_run_by_default(definitions: dg.Definitions) -> None:
    sensors = definitions.get_repository_def().sensor_defs
    assert {sensor.name for sensor in sensors} == SENSORS
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.RUNNING}


def test_the_checks_and_which_of_them_block(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {(key.asset_key.to_user_string(), key.name): graph.get(key) for key in graph.asset_check_keys}
    assert {key for key, check in found.items() if check.blocking} == BLOCKING_CHECKS
    assert {key for key, check in found.items() if not check.blocking} == REPORTING_CHECKS


@pytest.mark.parametrize("name", ASSETS)
def test_every_asset_says_what_it_is_and_whose(definitions: dg.Definitions, name: str) -> None:
    spec = specs_of(definitions)[name]
    assert spec.description and spec.owners and spec.kinds


@pytest.mark.parametrize(
    ("algorithms", "complaint"), [(["svm"], r"\['svm'\]"), (["soft_voting"], "no algorithm to train")]
)
def test_algorithms_that_do_not_exist_are_refused_with_those_that_do(algorithms: list[str], complaint: str) -> None:
    settings = Settings(_env_file=None, source=ROOT / "sources" / "simulator.yaml", algorithms=algorithms)  # type: ignore[call-arg]
    with pytest.raises(TrainingError, match=f"FRAUD_ALGORITHMS names {complaint}.*There are: logistic_regression"):
        build_definitions(settings)


def test_fewer_algorithms_are_fewer_assets() -> None:
    settings = Settings(_env_file=None, source=ROOT / "sources" / "simulator.yaml", algorithms=("xgboost",))  # type: ignore[call-arg]
    specs = specs_of(build_definitions(settings))
    assert {name for name in specs if name.startswith("candidate_models/")} == {"candidate_models/xgboost"}
    assert [str(d.asset_key.to_user_string()) for d in specs["model_comparison"].deps] == ["candidate_models/xgboost"]


def test_every_check_says_what_it_checks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert [key for key in graph.asset_check_keys if not graph.get(key).description] == []


def test_a_range_of_days_is_one_run(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    policies = {name: graph.get(dg.AssetKey.from_user_string(name)).backfill_policy for name in ASSETS}
    assert policies == {name: dg.BackfillPolicy.single_run() if name in DAILY else None for name in ASSETS}


@pytest.mark.parametrize(
    ("source", "first", "last"), [("simulator", "2026-01-01", "2026-03-01"), ("handbook", "2018-04-01", "2018-09-30")]
)
def test_daily_assets_have_the_days_of_the_source(source: str, first: str, last: str) -> None:
    graph = definitions_of(source).resolve_asset_graph()
    days = {name: graph.get(dg.AssetKey.from_user_string(name)).partitions_def for name in ASSETS}
    ends = {name: (d.get_first_partition_key(), d.get_last_partition_key()) for name, d in days.items() if d}
    assert ends == dict.fromkeys(DAILY, (first, last))


def test_live_days_beyond_those_of_the_source_make_its_days_go_on_to_today(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, source=ROOT / "sources" / "simulator.yaml", warehouse=tmp_path)  # type: ignore[call-arg]
    live = settings.raw_transactions / "live"
    live.mkdir(parents=True)
    ends = []
    for day in ("2026-03-01", "2026-03-02"):
        (live / f"{day}.parquet").touch()
        graph = build_definitions(settings).resolve_asset_graph()
        days = {graph.get(dg.AssetKey(name)).partitions_def for name in DAILY}
        ends += [definition.get_last_partition_key() for definition in days if definition]
    assert ends == ["2026-03-01", str(datetime.now(UTC).date())]


def test_the_schema_of_the_decision_log_is_the_table(definitions: dg.Definitions) -> None:
    schema = specs_of(definitions)["decision_log"].metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == list(DECISION_COLUMNS)


def test_the_schema_lists_the_contract_and_the_attributes_of_the_source(tmp_path: Path) -> None:
    given = (ROOT / "sources" / "handbook.yaml").read_text()
    path = tmp_path / "own.yaml"
    path.write_text(given + "attributes: {seconds: {column: TX_TIME_SECONDS, type: number}}\n")
    schema = specs_of(definitions_of(path))["validated_transactions"].metadata["dagster/column_schema"]
    contract = [column.name for column in TRANSACTION]
    assert [column.name for column in schema.columns] == ["day", "event_us", "live", *contract, "seconds"]
    assert schema.columns[-1].type == "float64"


def test_every_column_of_a_schema_has_an_owner_and_a_meaning(definitions: dg.Definitions) -> None:
    schemas = {name: spec.metadata.get("dagster/column_schema") for name, spec in specs_of(definitions).items()}
    nameless = [
        (name, column.name)
        for name, schema in schemas.items()
        for column in (schema.columns if schema else ())
        if not column.tags.get("owner") or not column.description
    ]
    assert nameless == []


def test_a_broken_source_is_refused_with_file_key_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text((ROOT / "sources" / "handbook.yaml").read_text().replace("unit: major", "unit: euros"))
    with pytest.raises(SourceError) as refused:
        definitions_of(path)
    assert str(path) in str(refused.value)
    assert "amount.unit: Input should be 'major' or 'minor' (got 'euros')" in str(refused.value)


@pytest.fixture(scope="module", params=SOURCES)
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A process without DAGSTER_HOME and without the network that loads the definitions, and nothing else."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "DAGSTER_"))}
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=clean | {"FRAUD_SOURCE": str(ROOT / "sources" / f"{request.param}.yaml"), "HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"errors": done.stderr, "written": list(home.rglob("*"))}


@pytest.mark.slow
def test_loading_imports_none_of_the_slow_libraries(load: dict[str, list[str]]) -> None:
    assert [name for name in FORBIDDEN_AT_LOAD if name in load["modules"]] == []


@pytest.mark.slow
def test_loading_keeps_within_its_budget(load: dict[str, float]) -> None:
    assert load["seconds"] < LOAD_SECONDS


@pytest.mark.slow
def test_loading_prints_no_warning_and_writes_nothing(load: dict[str, object]) -> None:
    assert (load["errors"], load["written"]) == ("", [])
