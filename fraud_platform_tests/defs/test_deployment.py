"""What the running services are told to use: by the asset, and by hand."""

from collections.abc import Iterator
from typing import Any

import pytest

from fraud_platform.decisions.deployment import artefact_folder, read_deployment, write_deployment
from fraud_platform.models.artefact import read_card
from fraud_platform_tests.installation import Installation

pytestmark = pytest.mark.slow


@pytest.fixture
def deployed(installation: Installation, demo_result: dict[str, Any]) -> Iterator[Installation]:
    """The installation, whose deployment is afterwards as the demo left it."""
    assert demo_result["model_version"] == 1
    before = read_deployment(installation.settings.deployment)
    yield installation
    write_deployment(installation.settings.deployment, before)


def test_the_asset_deploys_the_champion_and_says_how_it_came_to_serve(deployed: Installation) -> None:
    file = deployed.settings.deployment
    deployment = read_deployment(file)
    assert deployment.champion is not None and deployment.promotion is not None
    assert (deployment.champion.model_version, deployment.fallback, deployment.challenger) == ("1", None, None)
    assert (deployment.promotion.event, deployment.promotion.by) == ("promoted", "the gate")
    assert read_card(artefact_folder(file, deployment.champion)).model_name == "fraud_model"


def test_a_challenger_is_tried_in_shadow_then_for_some_and_withdrawn(deployed: Installation) -> None:
    done = deployed.run("deployment", "challenger", "1")
    assert done.stdout == "champion    version 1\nchallenger  version 1, in shadow\n", done.stderr
    done = deployed.run("deployment", "challenger", "champion", "--percent", "12.5")
    assert done.stdout.endswith("challenger  version 1, decides for 12.5 % of customers\n"), done.stderr
    assert deployed.run("deployment", "withdraw").stdout == "champion    version 1\n"
    lines = deployed.settings.audit_log.read_text()
    assert [lines.count(action) for action in ("challenger_deployed", "challenger_withdrawn")] == [2, 1]


def test_a_version_that_is_not_there_changes_nothing(deployed: Installation) -> None:
    before = deployed.settings.deployment.read_bytes()
    done = deployed.run("deployment", "challenger", "99")
    assert done.returncode == 1
    assert "99" in done.stderr and "Traceback" not in done.stderr
    assert deployed.settings.deployment.read_bytes() == before


def test_deploying_the_champion_again_ends_its_time_as_challenger(deployed: Installation) -> None:
    deployed.run("deployment", "challenger", "1")
    done = deployed.run("deployment", "champion")
    assert done.stdout == "champion    version 1\n", done.stderr
