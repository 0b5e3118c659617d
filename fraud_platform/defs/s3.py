"""Files of a source on S3: brought to the machine before they are read."""

import shutil
from pathlib import Path
from typing import Any

from dagster_aws.s3 import S3Resource

from fraud_platform.errors import UnreadableData
from fraud_platform.transactions.sources import Source

SCHEME = "s3://"


def local_copy(source: Source, s3: S3Resource, scratch: Path) -> Source:
    """The source itself, or, where its path is `s3://bucket/prefix`, one that reads a local copy of every key below it.

    A copy whose size and ETag are unchanged is not fetched again.

    Raises:
        UnreadableData: if the bucket cannot be read or holds no such key.
    """
    if not source.path.startswith(SCHEME):
        return source
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = source.path.removeprefix(SCHEME).partition("/")
    folder = scratch / "s3" / source.name
    try:
        client = s3.get_client()
        kept = [_fetch(client, bucket, entry, folder) for entry in _entries(client, bucket, prefix)]
    except (BotoCoreError, ClientError) as error:
        raise UnreadableData(
            f"{source.file}: path: cannot read {source.path}: {error}. "
            "Check the bucket's name, the credentials, and FRAUD_S3_ENDPOINT_URL."
        ) from error
    if not kept:
        raise UnreadableData(f"{source.file}: path: no key starts with {source.path}. Correct the path.")
    for stale in set(folder.iterdir()) - set(kept):
        stale.unlink()
    return source.model_copy(update={"path": str(folder)})


def _entries(client: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", ()) if not entry["Key"].endswith("/")]


def _fetch(client: Any, bucket: str, entry: dict[str, Any], folder: Path) -> Path:
    """The ETag stands in the local name, so a changed key is another file."""
    folder.mkdir(parents=True, exist_ok=True)
    version = entry["ETag"].strip('"')[:12]
    target = folder / f"{version}-{entry['Key'].replace('/', '-')}"
    if not target.exists() or target.stat().st_size != entry["Size"]:
        partial = target.with_name(target.name + ".partial")
        with partial.open("wb") as file:
            shutil.copyfileobj(client.get_object(Bucket=bucket, Key=entry["Key"])["Body"], file)
        partial.replace(target)
    return target
