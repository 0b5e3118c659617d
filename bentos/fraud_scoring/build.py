"""Packages the service with one model artefact as a Bento. Run as a script, in a process of its own:
BentoML remembers the schemas of the first service that a process builds.

The last line of the output is JSON: {"bento", "model", "path"}.
"""

import argparse
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound

from fraud_platform.models.artefact import verify_digests

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("transactions", "features", "models", "decisions")
"""The packages that the service needs; what trains, monitors or orchestrates stays out."""

LEAVES = ("__init__.py", "access.py", "audit.py", "errors.py", "pseudonyms.py", "settings.py", "warehouse.py")

LIBRARIES = (
    "bentoml",
    "itsdangerous",
    "jinja2",
    "limits",
    "lmdb",
    "msgspec",
    "numba",
    "numpy",
    "onnxruntime",
    "polars",
    "prometheus-client",
    "psutil",
    "pydantic-settings",
    "python-json-logger",
    "pyyaml",
    "redis",
    "rule-engine",
    "starlette",
)
"""What the service imports; the same versions as it was built beside."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artefact", type=Path, help="the model artefact's directory")
    parser.add_argument("model_version", help="the registered version of the model")
    arguments = parser.parse_args()
    model = store_model(arguments.artefact)
    with tempfile.TemporaryDirectory() as staging:
        stage(Path(staging))
        bento = bentoml.build(
            "bentos.fraud_scoring.service:FraudScoring",
            build_ctx=staging,
            labels={"model_version": arguments.model_version},
            description=f"Fraud scoring with model version {arguments.model_version}.",
            models=[str(model.tag)],
            python={"packages": [f"{name}=={version(name)}" for name in LIBRARIES], "lock_packages": False},
        )
    print(json.dumps({"bento": str(bento.tag), "model": str(model.tag), "path": str(bento.path)}))


def store_model(artefact: Path) -> bentoml.Model:
    """Copy the artefact into BentoML's model store, under its digest: the same artefact is kept once.

    Raises:
        ArtefactError: if the artefact, or the copy that is there already, was changed.
    """
    tag = f"fraud_model:{verify_digests(artefact)[:16]}"
    try:
        model = bentoml.models.get(tag)
    except NotFound:
        with bentoml.models.create(tag) as created:
            shutil.copytree(artefact, created.path, dirs_exist_ok=True)
        model = bentoml.models.get(tag)
    verify_digests(Path(model.path))
    return model


def stage(folder: Path) -> None:
    """Only what serves: the service, and the packages left of it in the import order."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bentos", folder / "bentos", ignore=ignore)
    package = folder / "fraud_platform"
    package.mkdir()
    for name in LEAVES:
        shutil.copy(ROOT / "fraud_platform" / name, package / name)
    for part in PARTS:
        shutil.copytree(ROOT / "fraud_platform" / part, package / part, ignore=ignore)


if __name__ == "__main__":
    main()
