"""Files of a source on S3: brought to the machine before they are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from fraud_platform.errors import UnreadableData
from fraud_platform.transactions.source_files import S3_SCHEME, SUFFIXES
from fraud_platform.transactions.sources import Source
from fraud_platform.warehouse import write_files


class S3(dg.ConfigurableResource):
    """S3, or a server that speaks its protocol. Credentials and region are found as boto3 finds them."""

    endpoint_url: str | None = None

    def get_client(self) -> Any:
        """A boto3 client for S3."""
        from dagster_aws.s3 import S3Resource  # takes a second to import, and few sources lie on S3

        return S3Resource(endpoint_url=self.endpoint_url).get_client()


def local_copy(source: Source, s3: S3, scratch: Path) -> Source:
    """The source itself, or, where its path is `s3://bucket/prefix`, one that reads a local copy of the keys below it.

    The copy has the names that the keys have below the prefix, so rows say the same file as in a
    folder of such files. A key whose size and ETag are unchanged is not fetched again; the copy of a
    key that is gone is removed.

    Raises:
        UnreadableData: if the bucket cannot be read or holds no file of the source's format there.
    """
    if not source.path.startswith(S3_SCHEME):
        return source
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = source.path.removeprefix(S3_SCHEME).partition("/")
    folder = scratch / "s3" / source.name
    try:
        client = s3.get_client()
        entries = {entry["Key"]: entry for entry in _entries(client, bucket, prefix) if _wanted(source, prefix, entry)}
        if not entries:
            raise UnreadableData(
                f"{source.file}: path: no {' or '.join(SUFFIXES[source.format])} file starts with {source.path}. "
                "Correct the path: a bucket and a prefix, or one whole key; `*` is not expanded on S3."
            )
        copies = _synchronize(client, bucket, prefix, entries, folder)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise UnreadableData(
            f"{source.file}: path: cannot read {source.path}: {error}. "
            "Check the bucket's name, the credentials, and FRAUD_S3_ENDPOINT_URL."
        ) from error
    return source.model_copy(update={"path": str(copies[prefix] if prefix in copies else folder / FILES)})


FILES, ETAGS = "files", "etags.json"


def _entries(client: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", ())]


def _wanted(source: Source, prefix: str, entry: dict[str, Any]) -> bool:
    """What a local folder would give: files of the format, without those that start with '.' or '_'."""
    parts = _below(prefix, entry["Key"]).parts
    hidden = any(part.startswith((".", "_")) for part in parts)
    key = entry["Key"]
    whole = key == prefix and not key.endswith("/")
    return whole or (key.endswith(SUFFIXES[source.format]) and not hidden)


def _below(prefix: str, key: str) -> Path:
    """The name of a key below the last '/' of the prefix; never a way out of the folder, for '..' starts with '.'."""
    return Path(key[prefix.rfind("/") + 1 :].lstrip("/"))


def _synchronize(
    client: Any, bucket: str, prefix: str, entries: dict[str, dict[str, Any]], folder: Path
) -> dict[str, Path]:
    """Make the copies in the folder those of the entries, and give them by key."""
    known = json.loads((folder / ETAGS).read_text()) if (folder / ETAGS).exists() else {}
    copies = {key: folder / FILES / _below(prefix, key) for key in entries}
    for key, copy in copies.items():
        if known.get(key) == entries[key]["ETag"] and copy.exists() and copy.stat().st_size == entries[key]["Size"]:
            continue
        write_files([(copy, _fetch(client, bucket, key))])
    for stale in {path for path in (folder / FILES).rglob("*") if path.is_file()} - set(copies.values()):
        stale.unlink()
    etags = json.dumps({key: entry["ETag"] for key, entry in entries.items()}, indent=1)
    write_files([(folder / ETAGS, lambda path: path.write_text(etags))])
    return copies


def _fetch(client: Any, bucket: str, key: str) -> Callable[[Path], None]:
    def fetch(target: Path) -> None:
        with target.open("wb") as file:
            shutil.copyfileobj(client.get_object(Bucket=bucket, Key=key)["Body"], file)

    return fetch
