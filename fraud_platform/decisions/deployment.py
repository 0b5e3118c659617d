"""Which models the service's workers load, and what for: one JSON file that every worker watches.

    {"champion": {"model_version": "3", "artefact": "models/3fda682e79c0cd95"},
     "challenger": {"model_version": "4", "artefact": "models/90b1145b13cab148", "mode": "ab", "percent": 10},
     "fallback": {"model_version": "2", "artefact": "models/19a20a10f8d6c4ca"}}

All of them are optional: without a champion the model that is packaged in the Bento decides. Paths start at
the file's own folder.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fraud_platform.errors import ServiceError


class Deployed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registered version, and the directory of its artefact."""

    model_version: str
    artefact: str


class Challenger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version that is tried beside the champion.

    Attributes:
        mode: `shadow` scores every transaction and is logged, never answered; `ab` decides for some customers.
        percent: the share of customers that it decides for, by a hash of their id.
    """

    model_version: str
    artefact: str
    mode: Literal["shadow", "ab"] = "shadow"
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0


class LastPromotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the champion came to serve, for a person to read: a promotion or a rollback."""

    event: str
    before: int | None
    why: str
    by: str
    at: datetime


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What serves, what is tried beside it, and what takes over where it cannot."""

    champion: Deployed | None = None
    challenger: Challenger | None = None
    fallback: Deployed | None = None
    promotion: LastPromotion | None = None


def read_deployment(path: Path) -> Deployment:
    """What the file says; without a file nothing.

    Raises:
        ServiceError: if it cannot be read or understood.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Deployment)
    except FileNotFoundError:
        return Deployment()
    except (OSError, msgspec.DecodeError) as error:
        raise ServiceError(
            f"{path} cannot be used: {error}. Write it with `fraud-platform deployment`, or remove it to serve the "
            "model that is packaged in the Bento."
        ) from error


def write_deployment(path: Path, deployment: Deployment) -> None:
    """Replace the file; a worker reads the old or the new one, never a part.

    Raises:
        ServiceError: if the disk is full, or may not be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(deployment)) + b"\n")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ServiceError(f"{path} cannot be written: {error}. Make room, or correct the permissions.") from error


def artefact_folder(path: Path, deployed: Deployed | Challenger) -> Path:
    """The artefact's directory; relative ones start at the folder of the deployment file."""
    return path.parent / deployed.artefact
