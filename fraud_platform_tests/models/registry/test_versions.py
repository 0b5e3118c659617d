from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fraud_platform.errors import RegistryError
from fraud_platform.models import registry
from fraud_platform_tests.models.registry.conftest import Versions

pytestmark = pytest.mark.slow


def test_versions_are_listed_newest_first_with_their_aliases_and_times(uri: str, model: Versions, mlflow_client: Any):
    name = model(11)
    mlflow_client.set_registered_model_alias(name, "champion", "2")
    mlflow_client.set_registered_model_alias(name, "challenger", "2")
    mlflow_client.set_model_version_tag(name, "2", "algorithm", "xgboost")
    found = registry.versions(uri, name)
    assert [version.version for version in found] == list(range(11, 0, -1))
    second = found[-2]
    assert (second.aliases, second.tags) == (("challenger", "champion"), {"algorithm": "xgboost"})
    assert second.created is not None
    assert abs(second.created - datetime.now(UTC)) < timedelta(minutes=5)
    assert found[0].aliases == ()


def test_more_versions_than_a_page_are_all_listed(
    uri: str, model: Versions, mlflow_client: Any, monkeypatch: pytest.MonkeyPatch
):
    search = type(mlflow_client).search_model_versions
    pages = lambda self, *args, **kwargs: search(self, *args, **kwargs | {"max_results": 2})  # noqa: E731
    monkeypatch.setattr(type(mlflow_client), "search_model_versions", pages)
    assert [version.version for version in registry.versions(uri, model(5))] == [5, 4, 3, 2, 1]


def test_a_model_that_was_never_registered_has_no_version(uri: str):
    assert registry.versions(uri, "nothing") == []
    assert (registry.latest_version(uri, "nothing"), registry.champion(uri, "nothing")) == (None, None)


def test_what_must_be_there_and_is_not_says_what_to_do(uri: str, model: Versions):
    with pytest.raises(RegistryError, match=r"No version of .* champion.*`champion_model`.*model promote"):
        registry.require_champion(uri, model(1))
    with pytest.raises(RegistryError, match="`challenger_model` first"):
        registry.require_latest(uri, "nothing")


def test_a_version_is_found_by_number_and_by_alias(uri: str, model: Versions):
    name = model(3)
    registry.nominate(uri, name, 2)
    assert registry.find(uri, name, "3").version == 3
    assert registry.find(uri, name, "challenger") == registry.find(uri, name, "2")
    assert registry.by_alias(uri, name, "challenger") == registry.find(uri, name, "2")
    with pytest.raises(RegistryError, match=r"no version or alias '4'.*It has: 3, 2 = challenger, 1\."):
        registry.find(uri, name, "4")


def test_a_challenger_that_does_not_exist_is_refused(uri: str, model: Versions):
    name = model(1)
    registry.nominate(uri, name, 1)
    with pytest.raises(RegistryError, match=r"mlflow\.db.*99.*fraud-platform model list"):
        registry.nominate(uri, name, 99)
    assert registry.find(uri, name, "challenger").version == 1


def test_the_figures_of_a_run_that_is_gone_are_none(uri: str):
    assert registry.run_metrics(uri, "0" * 32) == {}
