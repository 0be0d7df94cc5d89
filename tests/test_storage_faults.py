"""Whatever object storage does, a command ends with a sentence, and the same command mends it."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from storage_faults import LASTING, PASSING, WRITING, Kind, Request, fail_requests, start_proxy
from test_old_run import ARCHIVE
from whole_runs import assert_mended, list_files, resume

from osteo_ray.base import remote
from osteo_ray.base.errors import StorageError
from osteo_ray.base.storage import locate
from osteo_ray.commands.main import main, run_safely

BUCKET = "faulty"


@pytest.fixture(scope="module")
def client(s3_server: str, s3_keys: None) -> Any:
    found = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    found.create_bucket(Bucket=BUCKET)
    return found


@pytest.fixture
def proxy(s3_server: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(remote, "_ATTEMPTS", 3)  # so that what lasts is given up within a second
    remote.open_filesystem.cache_clear()
    with start_proxy(s3_server) as (address, started):
        started.end = f"?endpoint_override={quote(address, safe='')}&scheme=http"
        yield started
    remote.open_filesystem.cache_clear()


def upload(client: Any, folder: Path, prefix: str) -> None:
    for name, content in list_files(folder).items():
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=content)


def remove(client: Any, prefix: str) -> None:
    for one in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "words",
    [
        ["verify"],
        pytest.param(["export", "--arm", "original"], marks=pytest.mark.faults),
        pytest.param(["report"], marks=pytest.mark.faults),
    ],
)
def test_commands_tell_each_error_of_the_storage(
    words: list[str],
    tmp_path: Path,
    client: Any,
    proxy: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    prefix = f"run-{words[0]}"
    upload(client, tmp_path / "run", prefix)
    command = [words[0], f"s3://{BUCKET}/{prefix}{proxy.end}", *words[1:]]
    fail_requests(proxy)
    assert main(command) == 0
    sites = list(proxy.faults.seen)
    assert sites
    for number, site in enumerate(sites):
        for kind in (LASTING[number % 2], *PASSING[number % 4 : number % 4 + 1]):
            remove(client, f"{prefix}/exports/")
            capsys.readouterr()
            fail_requests(proxy, site, kind)
            code = main(command)
            printed = capsys.readouterr().err
            told = (site, kind, code, printed)
            assert "Traceback" not in printed, told
            assert proxy.faults.struck or code == 0, told
            if kind in PASSING:
                assert code == 0, told
            elif code:
                assert code in (1, 2), told
                assert BUCKET in printed, told
    fail_requests(proxy)
    assert main(command) == 0


def test_a_busy_store_whose_refusal_is_longer_than_the_file_is_asked_again(
    client: Any, proxy: Any
) -> None:
    client.put_object(Bucket=BUCKET, Key="note", Body=b"short")
    place = locate(f"s3://{BUCKET}/note{proxy.end}")
    fail_requests(proxy)
    assert place.read_text() == "short"
    (site,) = (one for one in proxy.faults.seen if one.method == "GET")
    fail_requests(proxy, site, "throttled")
    assert place.read_text() == "short"
    assert proxy.faults.struck >= 2
    fail_requests(proxy, site, "refused")
    with pytest.raises(StorageError):
        place.read_text()


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_a_comparison_tells_each_error_of_the_storage_and_is_mended(
    whole: Path, tmp_path: Path, client: Any, proxy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(client, whole / "run", "whole")
    place: Any = f"s3://{BUCKET}/whole{proxy.end}"

    def command(_: list[str]) -> int:
        resume(whole, place, [])
        return 0

    fail_requests(proxy)
    command([])
    sites = list(proxy.faults.seen)
    assert len(sites) > 20
    usual: tuple[Kind, ...] = (*LASTING, *PASSING)
    cases: list[tuple[Request, Kind]] = [
        *((site, usual[number % len(usual)]) for number, site in enumerate(sites)),
        *((site, "loses a write") for site in sites if site.method in WRITING),
    ]
    assert any(kind == "loses a write" for _, kind in cases)
    for site, kind in cases:
        capsys.readouterr()
        fail_requests(proxy, site, kind)
        code = run_safely(command, [])
        printed = capsys.readouterr().err
        told = (site, kind, code, printed)
        assert "Traceback" not in printed, told
        assert code in ((0,) if kind in PASSING else (0, 1, 2)), told
    fail_requests(proxy)
    command([])
    mended = tmp_path / "run"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="whole/")
    for one in (entry for page in pages for entry in page.get("Contents", [])):
        file = tmp_path / "run" / one["Key"].removeprefix("whole/")
        if not one["Key"].endswith("/"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read())
    shutil.rmtree(mended / "logs", ignore_errors=True)
    assert_mended(whole, mended)
