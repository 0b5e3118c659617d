"""A source on S3, against an S3 server of this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import polars as pl
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from fraud_platform.cli import main
from fraud_platform.defs.s3 import S3, local_copy
from fraud_platform.errors import UnreadableData
from fraud_platform.transactions.source_files import find_files
from fraud_platform.warehouse import day_files
from fraud_platform_tests.defs.conftest import SHOP, MakePlatform, Platform, shop_rows, write_days

pytestmark = pytest.mark.slow

FIRST, LAST = SHOP["first_day"], SHOP["last_day"]
ROWS = shop_rows(FIRST, 3, 20)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of nobody, and nothing of this machine's own configuration is read."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


class Bucket:
    """A bucket of its own for each test."""

    def __init__(self, endpoint: str) -> None:
        self.name = f"shop-{uuid4().hex}"
        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(Bucket=self.name)

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in folder.rglob("*.csv"):
            self.put(prefix + path.relative_to(folder).as_posix(), path.read_bytes())


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return Bucket(endpoint)


@pytest.fixture
def days(tmp_path: Path) -> Path:
    return write_days(tmp_path / "days", ROWS)


@pytest.fixture
def shop(platforms: MakePlatform, bucket: Bucket, endpoint: str, tmp_path: Path) -> Platform:
    mapping = {**SHOP, "path": f"s3://{bucket.name}/in/"}
    return platforms(mapping, folder=tmp_path / "s3", s3_endpoint_url=endpoint)


def raw(platform: Platform) -> dict[str, pl.DataFrame]:
    return {path.name: pl.read_parquet(path) for path in day_files(platform.settings.raw_transactions, FIRST, LAST)}


def copied(shop: Platform, endpoint: str, path: str) -> list[str]:
    source = local_copy(shop.source.model_copy(update={"path": path}), S3(endpoint_url=endpoint), shop.settings.scratch)
    return [file.name for file in find_files(source)]


def test_lands_the_same_rows_as_the_local_files(
    shop: Platform, bucket: Bucket, days: Path, platforms: MakePlatform, tmp_path: Path
) -> None:
    bucket.put_folder(days, "in/")
    shop.run(("raw_transactions",))
    local = platforms({**SHOP, "path": str(days)}, folder=tmp_path / "local")
    local.run(("raw_transactions",))
    assert raw(shop).keys() == raw(local).keys() and len(raw(shop)) == 3
    assert all(raw(shop)[name].equals(frame) for name, frame in raw(local).items())


def test_an_unchanged_key_is_not_fetched_again_and_a_changed_one_is(
    shop: Platform, bucket: Bucket, days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_folder(days, "in/")
    shop.run(("raw_transactions",))
    fetched: list[str] = []
    get_client = S3.get_client

    def watched(self: S3) -> Any:
        client = get_client(self)
        client.meta.events.register("before-call.s3.GetObject", lambda params, **_: fetched.append(params["url_path"]))
        return client

    monkeypatch.setattr(S3, "get_client", watched)
    shop.run(("raw_transactions",))
    assert fetched == []
    changed = f"in/{FIRST}.csv"
    body = bucket.client.get_object(Bucket=bucket.name, Key=changed)["Body"].read()
    bucket.put(changed, body.replace(b"t0,", b"x0,"))  # the same number of bytes
    shop.run(("raw_transactions",))
    assert len(fetched) == 1 and fetched[0].endswith(changed)
    assert "x0" in raw(shop)[f"{FIRST}.parquet"]["id"].to_list()


def test_the_copy_of_a_key_that_is_gone_is_not_read(shop: Platform, bucket: Bucket, days: Path) -> None:
    bucket.put_folder(days, "in/")
    shop.run(("raw_transactions",))
    bucket.client.delete_object(Bucket=bucket.name, Key=f"in/{FIRST}.csv")
    shop.run(("raw_transactions",))
    assert f"{FIRST}.parquet" not in raw(shop)


def test_other_keys_below_the_prefix_are_left_alone(shop: Platform, bucket: Bucket, endpoint: str) -> None:
    for key in (
        "in/a.csv",
        "in/deep/b.csv",
        "in/_SUCCESS",
        "in/_tmp/c.csv",
        "in/.d.csv",
        "in/e.txt",
        "in/",
        "other/f.csv",
    ):
        bucket.put(key, b"id\n1\n")
    assert copied(shop, endpoint, f"s3://{bucket.name}/in/") == ["a.csv", "deep/b.csv"]


def test_keys_that_differ_in_their_folders_only_stay_apart(shop: Platform, bucket: Bucket, endpoint: str) -> None:
    for key in ("in/a/b.csv", "in/a-b.csv"):
        bucket.put(key, b"id\n1\n")
    assert copied(shop, endpoint, f"s3://{bucket.name}/in/") == ["a/b.csv", "a-b.csv"]


def test_a_whole_key_is_one_file_whatever_its_ending(shop: Platform, bucket: Bucket, endpoint: str) -> None:
    bucket.put("in/export.txt", b"id\n1\n")
    assert copied(shop, endpoint, f"s3://{bucket.name}/in/export.txt") == ["export.txt"]


def test_a_prefix_may_end_within_a_name(shop: Platform, bucket: Bucket, endpoint: str) -> None:
    for key in ("in/2026-03.csv", "in/2026-04.csv", "in/2025-03.csv"):
        bucket.put(key, b"id\n1\n")
    assert copied(shop, endpoint, f"s3://{bucket.name}/in/2026") == ["2026-03.csv", "2026-04.csv"]


def test_a_key_cannot_leave_the_folder(shop: Platform, bucket: Bucket, endpoint: str) -> None:
    bucket.put("in/../../escaped.csv", b"id\n1\n")
    with pytest.raises(UnreadableData, match=r"no \.csv"):
        copied(shop, endpoint, f"s3://{bucket.name}/in/")


def test_a_prefix_without_files_names_the_file_the_key_and_the_fix(shop: Platform, bucket: Bucket) -> None:
    with pytest.raises(
        UnreadableData, match=rf"shop\.yaml: path: no \.csv .* starts with s3://{bucket.name}/in/.*Corr"
    ):
        shop.run(("raw_transactions",))


def test_a_missing_bucket_names_the_file_the_key_and_the_fix(platforms: MakePlatform, endpoint: str) -> None:
    platform = platforms({**SHOP, "path": "s3://no-such-bucket/in/"}, s3_endpoint_url=endpoint)
    with pytest.raises(
        UnreadableData, match=r"shop\.yaml: path: cannot read s3://no-such-bucket/in/.*NoSuchBucket.*Check the bucket"
    ):
        platform.run(("raw_transactions",))


def test_source_check_says_what_to_do_about_an_s3_path(shop: Platform) -> None:
    done = CliRunner().invoke(main, ["source", "check", str(shop.settings.source)])
    assert done.exit_code == 1
    assert "lies on S3" in done.output and "--data COPY" in done.output
