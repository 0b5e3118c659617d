"""The files that a browser loads beside the pages: read once, named by what they hold, so that they may be kept."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("static")
URL = "/console/static/"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", "": "text/plain"}
"""By suffix; a file of any other kind is not served."""


class Asset(NamedTuple):
    """A file, and the start of its SHA-256."""

    content: bytes
    media_type: str
    digest: str


@cache
def read_assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """Every file that may be served, by its path below the folder: what is asked for is looked up here, not on disk."""
    found: dict[str, Asset] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in MEDIA_TYPES:
            content = path.read_bytes()
            media_type = f"{MEDIA_TYPES[path.suffix]}; charset=utf-8"
            found[path.relative_to(folder).as_posix()] = Asset(
                content, media_type, hashlib.sha256(content).hexdigest()[:12]
            )
    return found


def asset_url(assets: dict[str, Asset], name: str) -> str:
    """The address of a file, another one whenever its content is."""
    return f"{URL}{name}?v={assets[name].digest}"
