from pathlib import Path

import pytest

from fraud_platform.decisions.deployment import (
    Challenger,
    Deployed,
    Deployment,
    artefact_folder,
    read_deployment,
    write_deployment,
)
from fraud_platform.errors import ServiceError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    given = Deployment(Deployed("3", "models/a"), Challenger("4", "models/b", "ab", 12.5), Deployed("2", "models/c"))
    write_deployment(tmp_path / "home" / "deployment.json", given)
    assert read_deployment(tmp_path / "home" / "deployment.json") == given
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["deployment.json"]


def test_without_a_file_nothing_is_deployed(tmp_path: Path) -> None:
    assert read_deployment(tmp_path / "deployment.json") == Deployment()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"champions": {}}',
        b'{"champion": {"model_version": 3, "artefact": "a"}}',
        b'{"challenger": {"model_version": "3", "artefact": "a", "mode": "live"}}',
        b'{"challenger": {"model_version": "3", "artefact": "a", "mode": "ab", "percent": 101}}',
    ],
)
def test_what_cannot_be_used_is_refused_with_the_file_and_the_fix(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "deployment.json"
    file.write_bytes(content)
    with pytest.raises(ServiceError, match=r"deployment\.json cannot be used: .*fraud-platform deployment"):
        read_deployment(file)


def test_relative_artefacts_start_at_the_file(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    assert artefact_folder(file, Deployed("1", "models/a")) == tmp_path / "models" / "a"
    assert artefact_folder(file, Deployed("1", "/elsewhere/a")) == Path("/elsewhere/a")


def test_a_disk_that_takes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises(ServiceError, match="cannot be written"):
        write_deployment(tmp_path / "home" / "deployment.json", Deployment())
