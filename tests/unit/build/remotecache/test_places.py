"""What each kind of place does beyond keeping a cache: directories, buckets, GitHub's service."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from boxwright.build.fields import RequestInvalid
from boxwright.build.remotecache.config import CacheConfig, CacheLayer, OwnRecord
from boxwright.build.remotecache.gha import GhaSink, GhaSource, JobToken
from boxwright.build.remotecache.local import LocalSink, LocalSource
from boxwright.build.remotecache.options import parse_from, parse_to
from boxwright.build.remotecache.places import (
    DIFF_ID,
    CacheCorrupt,
    CacheDenied,
    CacheMissing,
    CacheUnavailable,
)
from boxwright.build.remotecache.s3 import Bucket, S3Sink, S3Source
from boxwright.errors import BoxwrightError
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.http import Http
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from support.gha import github, token
from support.s3 import s3
from support.web import Asked, Reply, Site, answering

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Blobs:
    """Layers that are what they are called."""

    def __init__(self, *layers: bytes) -> None:
        self.content = {Digest.of(data): data for data in layers}
        self.descriptors = [
            Descriptor.of(data, mt.OCI_LAYER, annotations={DIFF_ID: str(Digest.of(data))}) for data in layers
        ]
        self.config = CacheConfig(
            layers=tuple(
                CacheLayer(
                    blob=d.digest,
                    media_type=mt.OCI_LAYER,
                    diff_id=DiffID(d.digest.algorithm, d.digest.hex),
                    size=d.size,
                )
                for d in self.descriptors
            ),
            own=(OwnRecord(key=str(Digest.of(b"key")), stack=(), created=float(len(layers))),),
        )

    def open(self, desc: Descriptor) -> BinaryIO:
        return io.BytesIO(self.content[desc.digest])

    def origins(self, desc: Descriptor) -> Sequence[str]:
        return ()


@pytest.fixture
def http(tmp_path: Path) -> Iterator[Http]:
    made = Http(ClientConfig(docker_config=tmp_path, home=tmp_path, tries=2))
    yield made
    made.close()


def quiet(what: str) -> None:
    pass


ONE, TWO = Blobs(b"first" * 100, b"second" * 100), Blobs(b"first" * 100, b"third" * 100)


# --- directories -------------------------------------------------------------------------------


def test_a_directory_has_names_and_digests(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    first = LocalSink(parse_to(f"type=local,dest={place}")).write(ONE.config, ONE.descriptors, ONE, quiet)
    LocalSink(parse_to(f"type=local,dest={place},tag=other")).write(TWO.config, TWO.descriptors, TWO, quiet)

    def created(more: str) -> float:
        source = LocalSource(parse_from(f"type=local,src={place}{more}"))
        loaded = source.load([])[0]
        for desc in loaded.blobs.values():
            with source.open(desc) as body:
                assert Digest.of(body.read()) == desc.digest
        return len(loaded.blobs)

    assert created("") == 2 and created(",tag=other") == 2 and created(f",digest={first.digest}") == 2
    for more in (",tag=absent", f",digest=sha256:{'0' * 64}", f",digest={ONE.descriptors[0].digest}"):
        with pytest.raises(BoxwrightError):
            created(more)
    with pytest.raises(CacheMissing):
        LocalSource(parse_from(f"type=local,src={tmp_path}/none")).load([])


def test_reset_leaves_what_was_written_last_and_what_is_not_ours(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    LocalSink(parse_to(f"type=local,dest={place},tag=other")).write(ONE.config, ONE.descriptors, ONE, quiet)
    (place / "notes").write_text("mine")
    (place / "blobs/sha256/README").write_text("mine")
    (place / "blobs/sha256" / ("f" * 64)).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("mine")
    LocalSink(parse_to(f"type=local,dest={place},reset=true")).write(TWO.config, TWO.descriptors, TWO, quiet)
    left = {path.name for path in place.rglob("*") if path.is_file() and not path.is_symlink()}
    wanted = {d.digest.hex for d in TWO.descriptors}
    assert wanted <= left and ONE.descriptors[1].digest.hex not in left
    assert {"notes", "README", "index.json", "oci-layout"} <= left and len(left) == 2 + 2 + 4
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert [e["annotations"] for e in json.loads((place / "index.json").read_text())["manifests"]] == [
        {"org.opencontainers.image.ref.name": "latest"}
    ]


# --- S3 ----------------------------------------------------------------------------------------


def test_a_bucket(http: Http) -> None:
    with s3() as bucket:
        more = {"prefix": "p/", "blobs_prefix": "b/", "manifests_prefix": "m/", "name": "one;two"}
        sink = S3Sink(parse_to(bucket.options(**more)), http)
        sink.write(ONE.config, ONE.descriptors, ONE, quiet)
        digests = [f"p/b/{d.digest}" for d in ONE.descriptors]
        assert bucket.keys() == sorted([*digests, "p/m/one", "p/m/two"])
        body = json.loads(bucket.read("p/m/two"))
        assert body["layers"][0]["annotations"]["diffID"] == str(ONE.descriptors[0].digest)
        said: list[str] = []
        sink.write(ONE.config, ONE.descriptors, ONE, said.append)
        assert not [text for text in said if text.startswith("writing layer")]
        source = S3Source(parse_from(bucket.options(**more)), http)
        loaded = source.load([])[0]
        with source.open(loaded.blobs[ONE.descriptors[1].digest]) as stream:
            assert stream.read() == b"second" * 100
        with pytest.raises(CacheMissing):
            S3Source(parse_from(bucket.options(name="none")), http).load([])


def test_old_layers_of_a_bucket_are_made_new(http: Http) -> None:
    with s3() as bucket:
        sink = S3Sink(parse_to(bucket.options(touch_refresh="1s")), http)
        sink.write(ONE.config, ONE.descriptors, ONE, quiet)
        key = f"blobs/{ONE.descriptors[0].digest}"
        before = bucket.client.head_object(Bucket=bucket.name, Key=key)["LastModified"]
        time.sleep(2.1)
        sink.write(ONE.config, ONE.descriptors, ONE, quiet)
        assert bucket.client.head_object(Bucket=bucket.name, Key=key)["LastModified"] > before
        assert bucket.read(key) == b"first" * 100


class Slow(Blobs):
    """Gives few bytes at a time; `cut`: and not all of them."""

    def __init__(self, data: bytes, cut: int | None = None) -> None:
        super().__init__(data)
        self.cut = cut

    def open(self, desc: Descriptor) -> BinaryIO:
        data = self.content[desc.digest][: self.cut]

        class Stream(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(size or 0, 1 << 20))

        return Stream(data)


LEAST = 5 << 20  # bytes of a part that is not the last one, which S3 takes


def test_large_layers_go_into_a_bucket_in_parts(http: Http) -> None:
    large = Slow(b"abc" * (4 << 20))
    digest = large.descriptors[0].digest
    with s3() as bucket:
        sink = S3Sink(parse_to(bucket.options()), http, part=LEAST)
        sink.write(large.config, large.descriptors, large, quiet)
        head = bucket.client.head_object(Bucket=bucket.name, Key=f"blobs/{digest}", PartNumber=1)
        assert head["PartsCount"] == 3
        with S3Source(parse_from(bucket.options()), http).open(large.descriptors[0]) as stream:
            assert Digest.of(stream.read()) == digest


def test_a_large_layer_of_a_bucket_is_made_new_in_parts(http: Http) -> None:
    large = Slow(b"abc" * (4 << 20))
    key = f"blobs/{large.descriptors[0].digest}"
    with s3() as bucket:
        S3Sink(parse_to(bucket.options()), http).write(large.config, large.descriptors, large, quiet)
        assert not bucket.client.head_object(Bucket=bucket.name, Key=key)["ETag"].endswith('-3"')
        again = parse_to(bucket.options(touch_refresh="1ns"))
        until = time.monotonic() + 30
        while not bucket.client.head_object(Bucket=bucket.name, Key=key)["ETag"].endswith('-3"'):
            assert time.monotonic() < until
            S3Sink(again, http, copied=LEAST).write(large.config, large.descriptors, large, quiet)
        assert bucket.read(key) == large.content[large.descriptors[0].digest]


def test_what_was_sent_of_a_layer_is_taken_back_when_it_fails(http: Http) -> None:
    cut = Slow(b"abc" * (4 << 20), cut=8 << 20)
    with s3() as bucket:
        with pytest.raises(CacheCorrupt):
            S3Sink(parse_to(bucket.options()), http, part=LEAST).write(
                cut.config, cut.descriptors, cut, quiet
            )
        assert bucket.keys() == []
        assert not bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")


PATH_STYLE = "type=s3,bucket=b,region=r,access_key_id=x,secret_access_key=y,use_path_style=true,endpoint_url="


def in_turn(answers: Sequence[tuple[int, bytes]]) -> AbstractContextManager[Site]:
    """A server that gives these answers in turn."""
    left = iter(answers)

    def answer(asked: Asked) -> Reply:
        status, body = next(left)
        return Reply(body, status)

    return answering(answer)


def test_an_error_behind_status_200_is_one(http: Http) -> None:
    """S3 begins its answer to the end of an upload before it knows how that goes."""
    answers = [
        (
            200,
            b"<InitiateMultipartUploadResult><UploadId>a&amp;b/c</UploadId></InitiateMultipartUploadResult>",
        ),
        (200, b""),
        (200, b""),
        (200, b'<?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>'),
        (200, b"<CompleteMultipartUploadResult/>"),
    ]
    with in_turn(answers) as site:
        Bucket(parse_to(PATH_STYLE + site.url), http, part=LEAST).put(
            "key",
            lambda: io.BytesIO(bytes(LEAST + 1)),
            LEAST + 1,
            hashlib.sha256(bytes(LEAST + 1)).hexdigest(),
        )
    named = "uploadId=a%26b%2Fc"
    assert [f"{asked.method} {asked.path}" for asked in site.asked] == [
        "POST /b/key?uploads=",
        f"PUT /b/key?partNumber=1&{named}",
        f"PUT /b/key?partNumber=2&{named}",
        f"POST /b/key?{named}",
        f"POST /b/key?{named}",
    ]


def test_a_busy_server_is_asked_so_often(http: Http) -> None:
    with in_turn([(503, b""), (200, b"x"), (503, b""), (503, b""), (200, b"y")]) as site:
        assert (
            Bucket(parse_to(f"{PATH_STYLE}{site.url},retry_max_attempts=2"), http).get("a").read_all(9)
            == b"x"
        )
        once = Bucket(parse_to(f"{PATH_STYLE}{site.url},retry_max_attempts=1"), http)
        with pytest.raises(CacheUnavailable):
            once.get("b")
        held = Bucket(parse_to(f"{PATH_STYLE}{site.url},retry_max_attempts=1,retry_mode=adaptive"), http)
        with pytest.raises(CacheUnavailable):
            held.get("c")
        begun = time.monotonic()
        assert held.get("d").read_all(9) == b"y"  # another object, which waits all the same
        assert time.monotonic() - begun > 0.2
    assert site.paths == ["/b/a", "/b/a", "/b/b", "/b/c", "/b/d"]


def test_a_wrong_key_is_no_way_in(http: Http) -> None:
    with s3() as bucket:
        for more in ({"secret_access_key": "wrong"}, {"access_key_id": "wrong"}, {"session_token": "wrong"}):
            with pytest.raises(BoxwrightError):
                S3Source(parse_from(bucket.options(**more)), http).load([])
            with pytest.raises(BoxwrightError):
                S3Sink(parse_to(bucket.options(**more)), http).write(ONE.config, ONE.descriptors, ONE, quiet)
        assert bucket.keys() == []
    for text in ("type=s3,bucket=b,region=r", "type=s3,bucket=b,region=r,access_key_id=x"):
        with pytest.raises(RequestInvalid):
            S3Source(parse_from(text), http)
    with pytest.raises(RequestInvalid):
        S3Source(
            parse_from("type=s3,bucket=b,region=r,access_key_id=x,secret_access_key=y,endpoint_url=ftp://x"),
            http,
        )


# --- GitHub ------------------------------------------------------------------------------------


def test_entries_of_github(http: Http) -> None:
    large = Blobs(os.urandom(17 << 20), b"small")
    with github(("refs/heads/topic", 3), ("refs/heads/main", 1)) as hub:
        sink = GhaSink(parse_to(hub.options(scope="s")), http, "http://127.0.0.1:1")
        sink.write(large.config, large.descriptors, large, quiet)
        mine = hashlib.sha256(b"refs/heads/topic").hexdigest()[:8]
        assert list(hub.entries) == [
            *(f"buildkit-blob-1-{d.digest}" for d in large.descriptors),
            f"index-s-1-{mine}#1",
        ]
        assert len(hub.entries[f"buildkit-blob-1-{large.descriptors[0].digest}"].blocks) == 3
        # Another job's main branch, which this one may read.
        theirs = hashlib.sha256(b"refs/heads/main").hexdigest()[:8]
        hub.entries[f"index-s-1-{theirs}#4"] = hub.entries[f"index-s-1-{mine}#1"]
        source = GhaSource(parse_from(hub.options(scope="s")), http, "")
        found = source.load([])
        assert len(found) == 2
        with source.open(found[0].blobs[large.descriptors[0].digest]) as stream:
            assert stream.read() == large.content[large.descriptors[0].digest]
        hub.log.clear()
        sink.write(ONE.config, [*large.descriptors, *ONE.descriptors], ONE, quiet)
        assert f"index-s-1-{mine}#2" in hub.entries
        assert not [
            line for line in hub.log if line.startswith("Create") and str(large.descriptors[0].digest) in line
        ]
        assert (
            GhaSource(parse_from(hub.options(scope="s")), http, "").load([])[0].config.own == ONE.config.own
        )


def test_another_job_writes_at_the_same_time(http: Http) -> None:
    with github() as hub:
        place = parse_to(hub.options())
        mine = hashlib.sha256(b"refs/heads/main").hexdigest()[:8]
        sink = GhaSink(place, http, "")
        sink.write(ONE.config, ONE.descriptors, ONE, quiet)
        from support.gha import Entry

        hub.entries[f"index-buildkit-1-{mine}#2"] = Entry("reserved")  # and never finished
        sink.write(TWO.config, TWO.descriptors, TWO, quiet)
        assert hub.entries[f"index-buildkit-1-{mine}#3"].done
        hub.busy = 2
        assert (
            GhaSource(parse_from(hub.options(timeout="30s")), http, "").load([])[0].config.own
            == TWO.config.own
        )


def test_what_github_has_is_listed_where_it_may_be(http: Http) -> None:
    with github() as hub:
        sink = GhaSink(parse_to(hub.options(repository="user/app", ghtoken="ghtoken-marker")), http, hub.url)
        sink.write(ONE.config, ONE.descriptors, ONE, quiet)
        hub.log.clear()
        sink.write(ONE.config, ONE.descriptors, ONE, quiet)
        asked = [line for line in hub.log if line.startswith("GetCacheEntryDownloadURL buildkit-blob")]
        assert hub.log[0] == "list 1" and not asked


def test_tokens(http: Http) -> None:
    with github(("refs/heads/main", 1)) as hub:
        with pytest.raises(CacheDenied):  # it may only read
            GhaSink(parse_to(hub.options()), http, "").write(ONE.config, ONE.descriptors, ONE, quiet)
        with pytest.raises(CacheMissing):
            GhaSource(parse_from(hub.options()), http, "").load([])
        with pytest.raises(CacheDenied):
            GhaSource(parse_from(hub.options(token=token([("refs/heads/main", 3)]))), http, "").load([])
    for text in ("", "a", "a.b.c", "a.e30.c", token([("x", 1)], expires=-5), "a.W10.c"):
        with pytest.raises(CacheDenied):
            JobToken.parse(text)
