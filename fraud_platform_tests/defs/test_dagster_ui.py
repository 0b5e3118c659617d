"""The Dagster UI as its user meets it: the buttons' own GraphQL requests, and the pages in a browser."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from fraud_platform.features.selection import catalog_of
from fraud_platform.transactions.sources import load_source
from fraud_platform.warehouse import connect, day_file
from fraud_platform_tests.chromium import PAGE_MS
from fraud_platform_tests.defs.test_definitions import ASSETS, BLOCKING_CHECKS, REPORTING_CHECKS, RETRAINED
from fraud_platform_tests.defs.webserver import REPOSITORY, Webserver, running_webserver
from fraud_platform_tests.installation import Installation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

DAYS = ("2026-02-03", "2026-02-04", "2026-02-05")

LAUNCH_RUN = """mutation LaunchPipelineExecution($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) { __typename
    ... on LaunchRunSuccess { run { id } } ... on PythonError { message } } }"""
LAUNCH_BACKFILL = """mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) { __typename
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL = """query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status numPartitions } } }"""
MATERIALIZATIONS = """query Materializations($key: AssetKeyInput!, $days: [String!]) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetMaterializations(partitions: $days, limit: 1) { runId metadataEntries { label
      ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue }
      ... on TableSchemaMetadataEntry { schema { columns { name type } } } } } } } }"""
CHECKS = """query Checks($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name blocking executionForLatestMaterialization {
    runId status evaluation { success description } } } } } } } }"""


@pytest.fixture(scope="module")
def rows_per_day(installation: Installation) -> dict[date, int]:
    """Validated transactions of each day; counted before the server starts, as DuckDB has one process at a time."""
    with connect(installation.settings.database) as connection:
        return dict(connection.execute("SELECT day, count(*) FROM validated_transactions GROUP BY day").fetchall())


@pytest.fixture(scope="module")
def server(
    installation: Installation, rows_per_day: dict[date, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Webserver]:
    with running_webserver(installation, tmp_path_factory.mktemp("ui") / "dagster_dev.log") as server:
        yield server


def launch(server: Webserver, day: str, *assets: str) -> dict[str, Any]:
    """Press "Materialize", choose one day, "Launch 1 run", and wait for the run's end."""
    selection = [{"path": [asset]} for asset in assets]
    checks = [
        {"assetKey": {"path": [asset]}, "name": name}
        for asset, name in sorted(BLOCKING_CHECKS | REPORTING_CHECKS)
        if asset in assets
    ]
    answer = server.query(
        LAUNCH_RUN,
        executionParams={
            "mode": "default",
            "executionMetadata": {
                "tags": [
                    {"key": "dagster/partition", "value": day},
                    {"key": "dagster/from_ui", "value": "true"},
                ]
            },
            "runConfigData": "{}\n",
            "selector": REPOSITORY
            | {"pipelineName": "__ASSET_JOB", "assetSelection": selection, "assetCheckSelection": checks},
        },
    )["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run = server.finished_run(answer["run"]["id"])
    assert run["status"] == "SUCCESS", server.tail()
    return run


def backfill(server: Webserver, *assets: str, **further: Any) -> list[dict[str, Any]]:
    """Press "Materialize", choose a range of days, "Launch backfill", wait for its end, and give its runs."""
    answer = server.query(
        LAUNCH_BACKFILL,
        backfillParams={
            "tags": [{"key": "dagster/from_ui", "value": "true"}],
            "assetSelection": [{"path": asset.split("/")} for asset in assets],
            "partitionNames": list(DAYS),
            "fromFailure": False,
            **further,
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    backfill_id = answer["backfillId"]

    def ended() -> dict[str, Any] | None:
        found = server.query(BACKFILL, id=backfill_id)["partitionBackfillOrError"]
        return found if found["status"] not in {"REQUESTED", "COMPLETED"} else None

    found = server.wait_for(ended, 240, "end of the backfill")
    assert found == {"status": "COMPLETED_SUCCESS", "numPartitions": len(DAYS)}, server.tail()
    return server.runs(tags=[{"key": "dagster/backfill", "value": backfill_id}])


def metadata_of(server: Webserver, asset: str, day: str | None = None) -> dict[str, Any]:
    """The metadata of an asset's latest materialization, by name."""
    days = None if day is None else [day]
    node = server.query(MATERIALIZATIONS, key={"path": [asset]}, days=days)["assetNodeOrError"]
    (latest,) = node["assetMaterializations"]
    values = ("intValue", "floatValue", "schema")
    entries = {e["label"]: next((e[v] for v in values if v in e), None) for e in latest["metadataEntries"]}
    return entries | {"run": latest["runId"]}


def range_of(run: dict[str, Any]) -> tuple[str, str]:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    return tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]


def test_one_day_of_features_from_the_materialize_button(
    server: Webserver, installation: Installation, rows_per_day: dict[date, int]
) -> None:
    run = launch(server, DAYS[0], "transaction_features")
    shown = metadata_of(server, "transaction_features", DAYS[0])
    assert shown["run"] == run["runId"]
    assert shown["dagster/partition_row_count"] == rows_per_day[date.fromisoformat(DAYS[0])]
    assert shown["features"] == len(catalog_of(load_source(installation.source)).names)


def test_the_columns_shown_are_those_of_the_file(server: Webserver, installation: Installation) -> None:
    file = pl.read_parquet_schema(day_file(installation.settings.features, date.fromisoformat(DAYS[1])))
    shown = metadata_of(server, "transaction_features")["dagster/column_schema"]["columns"]
    plain = {pl.String(): "string", pl.Int64(): "int64", pl.Date(): "date", pl.Float32(): "float32"}
    assert [(column["name"], column["type"]) for column in shown] == [(n, plain[t]) for n, t in file.items()]


def test_one_day_of_validation_from_the_materialize_button(server: Webserver, rows_per_day: dict[date, int]) -> None:
    run = launch(server, DAYS[0], "quarantined_transactions", "validated_transactions")
    shown = metadata_of(server, "validated_transactions", DAYS[0])
    assert shown["run"] == run["runId"]
    assert shown["dagster/partition_row_count"] == rows_per_day[date.fromisoformat(DAYS[0])]

    key = {"path": ["validated_transactions"]}
    checks = server.query(CHECKS, key=key)["assetNodeOrError"]["assetChecksOrError"]["checks"]
    assert len(checks) == 7
    for check in checks:
        execution = check["executionForLatestMaterialization"]
        assert check["blocking"] and execution["runId"] == run["runId"], check["name"]
        assert execution["status"] == "SUCCEEDED" and execution["evaluation"]["success"], check["name"]
        assert execution["evaluation"]["description"], check["name"]


def test_a_backfill_of_several_days_is_one_run(server: Webserver, rows_per_day: dict[date, int]) -> None:
    (run,) = backfill(server, "transaction_features")
    assert (run["status"], range_of(run)) == ("SUCCESS", (DAYS[0], DAYS[-1]))
    for day in DAYS:
        shown = metadata_of(server, "transaction_features", day)
        assert shown["run"] == run["runId"]
        assert shown["dagster/partition_row_count"] == rows_per_day[date.fromisoformat(day)]


def test_retraining_over_several_days_from_its_page_is_one_run(server: Webserver) -> None:
    selector = {"partitionSetName": "retraining_job_partition_set", "repositorySelector": REPOSITORY}
    (run,) = backfill(server, *sorted(RETRAINED), selector=selector)
    assert (run["status"], run["jobName"], range_of(run)) == ("SUCCESS", "retraining_job", (DAYS[0], DAYS[-1]))


@pytest.fixture
def page(browser: "Browser", server: Webserver, tmp_path: Path) -> Iterator["Page"]:
    """A page of the UI; what it shows at the end of the test is kept as a picture in the test's folder."""
    with browser.new_context(base_url=server.url, viewport={"width": 1500, "height": 1900}) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        # The UI asks a newcomer for an e-mail address once, over everything else.
        page.add_locator_handler(page.get_by_role("button", name="Skip"), lambda button: button.click())
        yield page
        page.screenshot(path=tmp_path / "page.png")


@pytest.mark.browser
def test_the_graph_shows_every_group_and_asset(page: "Page") -> None:
    page.goto("/asset-groups")
    for group in {group for group, _ in ASSETS.values()}:
        page.get_by_text(group, exact=True).first.wait_for()
    page.keyboard.press("Alt+E")  # expand all groups
    for asset in ASSETS:  # without its folder; the middle of a long name is left out: vali…_transactions
        name = asset.split("/")[-1]
        page.get_by_text(re.compile(f"^{name[:3]}.*{name[-4:]}$")).first.wait_for()


@pytest.mark.browser
def test_the_catalog_lists_every_asset(page: "Page") -> None:
    page.goto("/assets")
    for asset in ASSETS:
        folder, _, name = asset.rpartition("/")
        # The middle of a long name is left out: candidate_mode…tic_regression
        shown = re.compile(f"^{folder[:9]}.*{name[-7:]}$") if folder else asset
        page.get_by_text(shown, exact=True).first.wait_for()


@pytest.mark.browser
def test_the_page_of_an_asset_shows_rows_columns_owner_and_freshness(page: "Page") -> None:
    page.goto("/assets/validated_transactions")
    page.get_by_text("Transactions that keep the contract").wait_for()
    page.get_by_text("Row count", exact=True).wait_for()
    page.get_by_text(re.compile(r"Fails if more than 36 hours")).wait_for()
    page.get_by_text("owner: payments-data").first.wait_for()
    row = page.locator("tr", has_text="amount_cents")
    for text in ("int64", "non-nullable", "amount in minor units"):
        row.get_by_text(text).wait_for()


@pytest.mark.browser
def test_the_page_of_a_day_shows_its_rows(page: "Page", rows_per_day: dict[date, int]) -> None:
    page.goto(f"/assets/transaction_features?view=partitions&partition={DAYS[1]}")
    page.get_by_text("dagster/partition_row_count").first.wait_for()
    page.get_by_text(str(rows_per_day[date.fromisoformat(DAYS[1])]), exact=True).first.wait_for()


@pytest.mark.browser
def test_the_challenger_shows_its_pictures(page: "Page", tmp_path: Path) -> None:
    page.goto("/assets/challenger_model")
    for title in ("precision_recall", "roc", "score_distribution", "calibration", "money"):
        page.locator("tr", has=page.get_by_text(title, exact=True)).get_by_text("[Show Markdown]").click()
        picture = page.locator(f'img[alt="{title}"]')
        picture.wait_for()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        page.screenshot(path=tmp_path / f"{title}.png")
        page.keyboard.press("Escape")
        picture.wait_for(state="detached")


@pytest.mark.browser
def test_the_sensor_is_on(page: "Page") -> None:
    page.goto("/locations/fraud_platform/sensors/drift_sensor")
    page.get_by_text("Asks for retraining when a drift report finds").wait_for()
    assert page.get_by_role("checkbox").first.is_checked()
