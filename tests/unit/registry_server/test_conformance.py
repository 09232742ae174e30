"""What the distribution specification and its conformance suite ask, endpoint by endpoint."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.spec import mediatypes as mt
from support.server import Client, serving

DATA = os.urandom(2500)
CONFIG = b'{"architecture":"amd64","os":"linux"}'


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("registry")) as served:
        yield served


def desc(data: bytes, media_type: str, algorithm: str = "sha256") -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data)}


def image(*layers: bytes, **more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": mt.OCI_MANIFEST,
        "config": desc(CONFIG, mt.OCI_CONFIG),
        "layers": [desc(x, mt.OCI_LAYER_GZIP) for x in layers],
        **more,
    }


def push_image(client: Client, name: str, reference: str, *layers: bytes, **more: Any) -> bytes:
    for data in (CONFIG, *layers):
        client.push_blob(name, data)
    raw = json.dumps(image(*layers, **more)).encode()
    assert client.push_manifest(name, reference, raw).status == 201
    return raw


def test_ping(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        answer = client("GET", path)
        assert (answer.status, answer.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")


def test_before_any_push(client: Client) -> None:
    assert client("GET", "/v2/never/pushed/tags/list").status == 404
    answer = client("GET", f"/v2/never/pushed/referrers/{digest_of(b'x')}")
    assert (answer.status, answer.headers["Content-Type"].split(";")[0], answer.json["manifests"]) == (
        200,
        mt.OCI_INDEX,
        [],
    )


# --- blobs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
class TestBlobs:
    def check(self, client: Client, name: str, data: bytes, algorithm: str) -> None:
        digest = digest_of(data, algorithm)
        answer = client("GET", f"/v2/{name}/blobs/{digest}")
        assert (
            answer.status,
            answer.body,
            answer.headers["Docker-Content-Digest"],
            answer.headers["Content-Length"],
        ) == (200, data, digest, str(len(data)))
        head = client("HEAD", f"/v2/{name}/blobs/{digest}")
        assert (
            head.status,
            head.body,
            head.headers["Content-Length"],
            head.headers["Docker-Content-Digest"],
        ) == (200, b"", str(len(data)), digest)

    def test_missing(self, client: Client, algorithm: str) -> None:
        answer = client("GET", f"/v2/c/blobs/{digest_of(os.urandom(8), algorithm)}")
        assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
        assert client("HEAD", f"/v2/c/blobs/{digest_of(os.urandom(8), algorithm)}").status == 404

    def test_post_only(self, client: Client, algorithm: str) -> None:
        data = os.urandom(3000)
        answer = client("POST", f"/v2/c/post/blobs/uploads/?digest={digest_of(data, algorithm)}", data)
        assert answer.status == 201
        assert client("GET", answer.headers["Location"]).body == data
        self.check(client, "c/post", data, algorithm)

    def test_post_put(self, client: Client, algorithm: str) -> None:
        data = os.urandom(3000)
        start = client("POST", "/v2/c/put/blobs/uploads/")
        assert start.status == 202 and start.headers["Range"] == "0-0"
        answer = client("PUT", f"{start.headers['Location']}?digest={digest_of(data, algorithm)}", data)
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest_of(data, algorithm))
        self.check(client, "c/put", data, algorithm)

    def test_digest_algorithm_parameter(self, client: Client, algorithm: str) -> None:
        data = os.urandom(3000)
        location = client("POST", f"/v2/c/alg/blobs/uploads/?digest-algorithm={algorithm}").headers[
            "Location"
        ]
        assert client("PATCH", location, data).status == 202
        assert client("PUT", f"{location}?digest={digest_of(data, algorithm)}").status == 201
        self.check(client, "c/alg", data, algorithm)

    def test_chunks_and_a_last_one_in_put(self, client: Client, algorithm: str) -> None:
        data = os.urandom(3000)
        location = client("POST", "/v2/c/chunks/blobs/uploads/").headers["Location"]
        for at in (0, 1000):
            answer = client("PATCH", location, data[at : at + 1000], Content_Range=f"{at}-{at + 999}")
            assert (answer.status, answer.headers["Range"]) == (202, f"0-{at + 999}")
            location = answer.headers["Location"]
            state = client("GET", location)
            assert (state.status, state.headers["Range"]) == (204, f"0-{at + 999}")
        assert (
            client(
                "PUT",
                f"{location}?digest={digest_of(data, algorithm)}",
                data[2000:],
                Content_Range="2000-2999",
            ).status
            == 201
        )
        self.check(client, "c/chunks", data, algorithm)

    def test_stream_without_length(self, client: Client, algorithm: str) -> None:
        data = os.urandom(3_000_000)
        location = client("POST", "/v2/c/stream/blobs/uploads/").headers["Location"]
        answer = client("PATCH", location, iter([data[:1_000_000], data[1_000_000:]]))
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(data) - 1}")
        assert (
            client("PUT", f"{answer.headers['Location']}?digest={digest_of(data, algorithm)}").status == 201
        )
        self.check(client, "c/stream", data, algorithm)

    def test_out_of_order(self, client: Client, algorithm: str) -> None:
        data = os.urandom(3000)
        location = client("POST", "/v2/c/order/blobs/uploads/").headers["Location"]
        assert client("PATCH", location, data[1000:2000], Content_Range="1000-1999").status == 416
        assert client("PATCH", location, data[:1000], Content_Range="0-999").status == 202
        assert client("PATCH", location, data[:1000], Content_Range="0-999").status == 416
        assert (
            client(
                "PUT",
                f"{location}?digest={digest_of(data, algorithm)}",
                data[2000:],
                Content_Range="2000-2999",
            ).status
            == 416
        )
        assert client("GET", location).headers["Range"] == "0-999"
        assert (
            client(
                "PUT",
                f"{location}?digest={digest_of(data, algorithm)}",
                data[1000:],
                Content_Range="1000-2999",
            ).status
            == 201
        )
        self.check(client, "c/order", data, algorithm)

    def test_cancel(self, client: Client, algorithm: str) -> None:
        location = client("POST", "/v2/c/cancel/blobs/uploads/").headers["Location"]
        client("PATCH", location, DATA)
        assert client("DELETE", location).status == 204
        assert client("GET", location).status == 404
        assert client("DELETE", location).status == 404
        assert client("PATCH", location, DATA).code == "BLOB_UPLOAD_UNKNOWN"

    def test_mount(self, client: Client, algorithm: str) -> None:
        data = os.urandom(3000)
        digest = client.push_blob("c/from", data, algorithm)
        for query in (f"mount={digest}&from=c/from", f"mount={digest}"):
            answer = client("POST", f"/v2/c/to-{len(query)}-{algorithm}/blobs/uploads/?{query}")
            assert answer.status == 201
            assert client("GET", answer.headers["Location"]).body == data
        missing = client(
            "POST", f"/v2/c/to/blobs/uploads/?mount={digest_of(os.urandom(9), algorithm)}&from=c/from"
        )
        assert missing.status == 202
        assert (
            client("PUT", f"{missing.headers['Location']}?digest={digest_of(data, algorithm)}", data).status
            == 201
        )

    @pytest.mark.parametrize("data", [b"", b"{}"])
    def test_small_ones(self, client: Client, algorithm: str, data: bytes) -> None:
        for _ in range(2):
            client.push_blob("c/small", data, algorithm)
        self.check(client, "c/small", data, algorithm)

    def test_wrong_digest_stores_nothing(self, client: Client, algorithm: str) -> None:
        wrong = digest_of(b"other", algorithm)
        for path in (f"/v2/c/wrong/blobs/uploads/?digest={wrong}", ""):
            if path:
                answer = client("POST", path, DATA)
            else:
                answer = client(
                    "PUT",
                    f"{client('POST', '/v2/c/wrong/blobs/uploads/').headers['Location']}?digest={wrong}",
                    DATA,
                )
            assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
            assert client("HEAD", f"/v2/c/wrong/blobs/{wrong}").status == 404

    def test_delete(self, client: Client, algorithm: str) -> None:
        digest = client.push_blob("c/gone", os.urandom(99), algorithm)
        assert client("DELETE", f"/v2/c/gone/blobs/{digest}").status == 202
        assert client("HEAD", f"/v2/c/gone/blobs/{digest}").status == 404
        assert client("DELETE", f"/v2/c/gone/blobs/{digest}").status == 404


@pytest.mark.parametrize(
    "bad", ["sha256:bad", "sha256:" + "A" * 64, "md5:" + "a" * 32, "sha256:", "nonsense"]
)
def test_bad_digests(client: Client, bad: str) -> None:
    assert client("GET", f"/v2/c/blobs/{bad}").status == 400
    assert client("POST", f"/v2/c/blobs/uploads/?digest={bad}", DATA).status == 400
    location = client("POST", "/v2/c/blobs/uploads/").headers["Location"]
    assert client("PUT", f"{location}?digest={bad}", DATA).status == 400
    assert client("GET", f"/v2/c/referrers/{bad}").status == 400


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("500-1499", 500, 1500),
        ("500-", 500, 2500),
        ("-500", 2000, 2500),
        ("2000-5000", 2000, 2500),
        ("0-", 0, 2500),
        ("-9000", 0, 2500),
    ],
)
def test_ranges(client: Client, wanted: str, first: int, last: int) -> None:
    digest = client.push_blob("c/range", DATA)
    answer = client("GET", f"/v2/c/range/blobs/{digest}", Range=f"bytes={wanted}")
    assert (answer.status, answer.body) == (206, DATA[first:last])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/2500"
    assert answer.headers["Content-Length"] == str(last - first)


@pytest.mark.parametrize("wanted", ["500-0", "5000-10000", "2500-", "-0", "x", "-"])
def test_ranges_outside(client: Client, wanted: str) -> None:
    digest = client.push_blob("c/range", DATA)
    assert client("GET", f"/v2/c/range/blobs/{digest}", Range=f"bytes={wanted}").status == 416


# --- manifests -------------------------------------------------------------------------------------


def test_image_life(client: Client) -> None:
    raw = push_image(client, "m/life", "v1", b"layer")
    digest = digest_of(raw)
    for reference in ("v1", digest):
        answer = client("GET", f"/v2/m/life/manifests/{reference}")
        assert (
            answer.status,
            answer.body,
            answer.headers["Content-Type"],
            answer.headers["Docker-Content-Digest"],
        ) == (200, raw, mt.OCI_MANIFEST, digest)
        head = client("HEAD", f"/v2/m/life/manifests/{reference}")
        assert (head.status, head.headers["Content-Length"], head.headers["Docker-Content-Digest"]) == (
            200,
            str(len(raw)),
            digest,
        )
    assert client("GET", "/v2/m/life/manifests/v1", If_None_Match=f'"{digest}"').status == 304
    client.push_manifest("m/life", "v2", raw)
    assert client("DELETE", "/v2/m/life/manifests/v2").status == 202
    assert client("GET", "/v2/m/life/manifests/v2").status == 404
    assert client("GET", "/v2/m/life/manifests/v1").status == 200
    assert client("DELETE", f"/v2/m/life/manifests/{digest}").status == 202
    for reference in ("v1", digest):
        assert client("GET", f"/v2/m/life/manifests/{reference}").code == "MANIFEST_UNKNOWN"
    assert client("GET", "/v2/m/life/tags/list").json == {"name": "m/life", "tags": []}


def test_conditions(client: Client) -> None:
    """A tag is changed only from what the pusher saw, or made only when it is new."""
    raw = push_image(client, "m/if", "t", b"layer")
    seen, other = f'"{digest_of(raw)}"', f'"{digest_of(b"other")}"'
    newer = json.dumps(image(b"layer", annotations={"n": "2"})).encode()

    def put(tag: str, **headers: str) -> int:
        return client(
            "PUT", f"/v2/m/if/manifests/{tag}", newer, Content_Type=mt.OCI_MANIFEST, **headers
        ).status

    assert client("GET", "/v2/m/if/manifests/t", If_None_Match=f'W/"x", {seen}').status == 304
    assert put("t", If_Match=other) == put("none", If_Match=seen) == put("t", If_None_Match="*") == 412
    assert (
        client("GET", "/v2/m/if/manifests/t").body == raw
        and client("GET", "/v2/m/if/manifests/none").status == 404
    )
    assert put("t", If_Match=seen) == put("new", If_None_Match="*") == 201
    assert put("t", If_Match=seen) == 412


def test_what_the_client_accepts(client: Client) -> None:
    raw = push_image(client, "m/accept", "t", b"layer")

    def get(reference: str, accept: str) -> Any:
        return client("GET", f"/v2/m/accept/manifests/{reference}", Accept=accept)

    refused = get("t", mt.DOCKER_MANIFEST)
    assert (refused.status, refused.code) == (404, "MANIFEST_UNKNOWN") and mt.OCI_MANIFEST in refused.json[
        "errors"
    ][0]["message"]
    for accept in (
        f"{mt.DOCKER_MANIFEST}, {mt.OCI_MANIFEST}",
        f"{mt.DOCKER_MANIFEST}, */*",
        "*/*",
        "text/html",
    ):
        assert get("t", accept).body == raw, accept
    assert get(digest_of(raw), mt.DOCKER_MANIFEST).body == raw, (
        "a client that asks by digest knows what it is"
    )


def test_head_is_answered_where_get_is(client: Client) -> None:
    digest = digest_of(push_image(client, "m/head", "t", b"layer"))
    for path in (
        "/v2/",
        "/v2/m/head/tags/list",
        "/v2/_catalog",
        f"/v2/m/head/referrers/{digest}",
        "/v2/_oci/ext/discover",
    ):
        answer = client("HEAD", path)
        assert (answer.status, answer.body) == (200, b"") and int(answer.headers["Content-Length"]) == len(
            client("GET", path).body
        ), path
    assert client("POST", "/v2/m/head/blobs/uploads").status == 202, "the last slash may be left out"


def test_a_retag_is_seen_at_once(client: Client) -> None:
    one, two = push_image(client, "m/retag", "t", b"1"), image(b"2")
    assert client("GET", "/v2/m/retag/manifests/t").body == one
    client.push_blob("m/retag", b"2")
    client.push_manifest("m/retag", "t", two)
    assert client("GET", "/v2/m/retag/manifests/t").json == two


def test_tag_parameters(client: Client) -> None:
    push_image(client, "m/tags", "first", b"x")
    raw = json.dumps(image(b"x", annotations={"n": "tags"})).encode()
    for algorithm in ("sha256", "sha512"):
        query = "&".join(f"tag=t{n}-{algorithm}" for n in range(12))
        answer = client.push_manifest("m/tags", f"{digest_of(raw, algorithm)}?{query}", raw)
        assert answer.status == 201
        assert answer.headers["OCI-Tag"] == ", ".join(f"t{n}-{algorithm}" for n in range(12))
        assert client("GET", f"/v2/m/tags/manifests/t11-{algorithm}").body == raw
    many = "&".join(f"tag=x{n}" for n in range(60))
    assert client.push_manifest("m/tags", f"{digest_of(raw)}?{many}", raw).status == 414
    assert client.push_manifest("m/tags", f"{digest_of(raw)}?tag=b%20ad", raw).status == 400


def test_tag_list_pages(client: Client) -> None:
    raw = push_image(client, "m/pages", "t0", b"x")
    query = "&".join(f"tag=t{n}" for n in range(1, 9))
    client.push_manifest("m/pages", f"{digest_of(raw)}?{query}", raw)
    names = [f"t{n}" for n in range(9)]
    assert client("GET", "/v2/m/pages/tags/list").json["tags"] == names
    got, path = [], "/v2/m/pages/tags/list?n=4"
    while path:
        answer = client("GET", path)
        got += answer.json["tags"]
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else ""
    assert got == names
    assert client("GET", "/v2/m/pages/tags/list?last=t6").json["tags"] == ["t7", "t8"]
    empty = client("GET", "/v2/m/pages/tags/list?n=0")
    assert (empty.json["tags"], empty.headers.get("Link")) == ([], None)
    assert client("GET", "/v2/m/pages/tags/list?n=x").status == 400


def test_sha512_manifest(client: Client) -> None:
    client.push_blob("m/512", CONFIG)
    raw = json.dumps(image()).encode()
    digest = digest_of(raw, "sha512")
    answer = client.push_manifest("m/512", digest, raw)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert client("GET", f"/v2/m/512/manifests/{digest}").body == raw


def test_kinds_that_must_be_accepted(client: Client) -> None:
    name = "m/kinds"
    child = push_image(client, name, "child", b"x")
    index = {"schemaVersion": 2, "mediaType": mt.OCI_INDEX, "manifests": [desc(child, mt.OCI_MANIFEST)]}
    nested = {
        "schemaVersion": 2,
        "mediaType": mt.OCI_INDEX,
        "manifests": [desc(json.dumps(index).encode(), mt.OCI_INDEX)],
    }
    empty_index = {"schemaVersion": 2, "mediaType": mt.OCI_INDEX, "manifests": []}
    sparse = {
        "schemaVersion": 2,
        "mediaType": mt.OCI_INDEX,
        "manifests": [desc(b"elsewhere", mt.OCI_MANIFEST)],
    }
    docker = {**image(b"x"), "mediaType": mt.DOCKER_MANIFEST}
    docker_list = {
        "schemaVersion": 2,
        "mediaType": mt.DOCKER_LIST,
        "manifests": [desc(json.dumps(docker).encode(), mt.DOCKER_MANIFEST)],
    }
    foreign = image(b"x")
    foreign["layers"].append(
        {
            "mediaType": mt.OCI_FOREIGN + "+gzip",
            "digest": digest_of(b"never pushed"),
            "size": 12,
            "urls": ["https://example.com/x"],
        }
    )
    big = image(b"x", annotations={f"key{n}": "v" * 10_000 for n in range(390)})
    inline = image(b"x")
    inline["config"]["data"] = "e30="
    for number, body in enumerate(
        (
            index,
            nested,
            empty_index,
            sparse,
            docker,
            docker_list,
            foreign,
            image(),
            image(b"x", unknown={"field": 1}),
            big,
            inline,
            image(b"x", artifactType="application/x.y"),
        )
    ):
        raw = json.dumps(body).encode()
        assert client.push_manifest(name, f"kind{number}", raw, body["mediaType"]).status == 201, number
        answer = client("GET", f"/v2/{name}/manifests/kind{number}")
        assert (answer.body, answer.headers["Content-Type"]) == (raw, body["mediaType"])


def test_manifests_that_must_be_refused(client: Client) -> None:
    client.push_blob("m/bad", CONFIG)
    good = json.dumps(image()).encode()
    for raw, media_type in (
        (b"", mt.OCI_MANIFEST),
        (b"{}", mt.OCI_MANIFEST),
        (b"no json", mt.OCI_MANIFEST),
        (good, mt.DOCKER_MANIFEST),
        (b'{"schemaVersion":1}', mt.DOCKER_SCHEMA1_SIGNED),
    ):
        answer = client.push_manifest("m/bad", "t", raw, media_type)
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    missing = client.push_manifest("m/bad", "t", image(b"not here"))
    assert (missing.status, missing.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert client.push_manifest("m/bad", digest_of(b"other"), good).code == "DIGEST_INVALID"
    assert client.push_manifest("m/bad", "sha256:baddigeststring", good).status == 400
    assert client.push_manifest("m/bad", "-bad-tag", good).status == 400
    assert client.push_manifest("m/bad", "t", b" " * (9 * 1024 * 1024)).status == 413
    assert client("GET", "/v2/m/bad/manifests/t").status == 404


def test_sparse(tmp_path: Path) -> None:
    """What the suite's sparse data asks: an image without one of its layers, an index without one of its images."""
    whole = json.dumps(image(b"here", b"never pushed")).encode()
    index = {
        "schemaVersion": 2,
        "mediaType": mt.OCI_INDEX,
        "manifests": [desc(whole, mt.OCI_MANIFEST), desc(b"no image", mt.OCI_MANIFEST)],
    }
    for storage, settings, statuses in (
        ("a", {"sparse_images": True}, [201, 201]),
        ("b", {}, [400, 201]),
        ("c", {"sparse": False}, [400, 400]),
    ):
        with serving(tmp_path / storage, **settings) as client:
            for blob in (CONFIG, b"here"):
                client.push_blob("s/x", blob)
            answers = [
                client.push_manifest("s/x", "image", whole),
                client.push_manifest("s/x", "index", index),
            ]
            assert [a.status for a in answers] == statuses, settings
            if statuses[0] == 201:
                assert (
                    client("GET", "/v2/s/x/manifests/image").body == whole
                    and client("GET", "/r/s/x/tags/image").status == 200
                )
                assert client("DELETE", f"/v2/s/x/manifests/{digest_of(whole)}").status == 202


def test_referrers(client: Client) -> None:
    name = "m/ref"
    subject = push_image(client, name, "subject", b"x")
    pointer = desc(subject, mt.OCI_MANIFEST)
    bodies = [
        image(subject=pointer, artifactType="application/vnd.sbom", annotations={"a": "b"}),
        image(subject=pointer),
        {"schemaVersion": 2, "mediaType": mt.OCI_INDEX, "manifests": [], "subject": pointer},
        image(subject=desc(b"missing", mt.OCI_MANIFEST)),
    ]
    raws = [json.dumps(b).encode() for b in bodies]
    for body, raw in zip(bodies, raws, strict=True):
        answer = client.push_manifest(name, digest_of(raw), raw, body["mediaType"])
        assert answer.headers["OCI-Subject"] == body["subject"]["digest"]
    listed = {
        m["digest"]: m for m in client("GET", f"/v2/{name}/referrers/{digest_of(subject)}").json["manifests"]
    }
    assert set(listed) == {digest_of(r) for r in raws[:3]}
    assert listed[digest_of(raws[0])] == {
        **desc(raws[0], mt.OCI_MANIFEST),
        "artifactType": "application/vnd.sbom",
        "annotations": {"a": "b"},
    }
    assert listed[digest_of(raws[1])]["artifactType"] == mt.OCI_CONFIG
    assert "artifactType" not in listed[digest_of(raws[2])]
    filtered = client("GET", f"/v2/{name}/referrers/{digest_of(subject)}?artifactType=application/vnd.sbom")
    assert [m["digest"] for m in filtered.json["manifests"]] == [digest_of(raws[0])]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert len(client("GET", f"/v2/{name}/referrers/{digest_of(b'missing')}").json["manifests"]) == 1
    assert client("DELETE", f"/v2/{name}/manifests/{digest_of(raws[0])}").status == 202
    assert len(client("GET", f"/v2/{name}/referrers/{digest_of(subject)}").json["manifests"]) == 2


def test_catalog(client: Client) -> None:
    push_image(client, "zz/a", "t", b"x")
    push_image(client, "zz/b", "t", b"x")
    first = client("GET", "/v2/_catalog?n=1&last=zy")
    assert first.json["repositories"] == ["zz/a"]
    assert first.headers["Link"] == '</v2/_catalog?n=1&last=zz%2Fa>; rel="next"'


@pytest.mark.parametrize("name", ["UPPER", "a//b", "a/../b", "-a", "a" * 256, "a/b-", "%2e%2e/x"])
def test_names_are_checked(client: Client, name: str) -> None:
    assert client("POST", f"/v2/{name}/blobs/uploads/").status in (400, 404)
    assert client("GET", f"/v2/{name}/manifests/latest").status in (400, 404)


def test_unknown_paths_and_methods(client: Client) -> None:
    assert client("GET", "/v2/a/unknown").status == 404
    answer = client("PUT", "/v2/a/tags/list", b"")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


# --- across restarts and requests ------------------------------------------------------------------


def test_an_upload_survives_a_restart(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with serving(tmp_path) as client:
        location = client("POST", "/v2/r/blobs/uploads/").headers["Location"]
        client("PATCH", location, data[:2_000_000])
    with serving(tmp_path) as client:
        assert client("GET", location).headers["Range"] == "0-1999999"
        client("PATCH", location, data[2_000_000:], Content_Range="2000000-2999999")
        assert client("PUT", f"{location}?digest={digest_of(data)}").status == 201
        assert client("GET", f"/v2/r/blobs/{digest_of(data)}").body == data


def test_a_half_sent_chunk_counts_and_can_be_continued(client: Client) -> None:
    import socket

    data = os.urandom(2_000_000)
    location = client("POST", "/v2/r/half/blobs/uploads/").headers["Location"]
    host, port = client.host.split(":")
    head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    arrived = 1
    for _ in range(8):  # a connection that is gone before the server looks at its request counts for nothing
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(head + data[:1_500_000])
        for _ in range(50):
            arrived = int(client("GET", location).headers["Range"].split("-")[1]) + 1
            if arrived > 1:
                break
            time.sleep(0.02)
        if arrived > 1:
            break
    assert 1 < arrived <= 1_500_000
    assert client("PATCH", location, data[arrived:], Content_Range=f"{arrived}-{len(data) - 1}").status == 202
    assert client("PUT", f"{location}?digest={digest_of(data)}").status == 201


def test_two_writers_of_one_upload_do_not_mix(client: Client) -> None:
    import socket

    location = client("POST", "/v2/r/two/blobs/uploads/").headers["Location"]
    host, port = client.host.split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode() + b"x" * 50
        )
        answers = set()
        for _ in range(50):
            answers.add(client("PATCH", location, b"").status)
            if 400 in answers:
                break
        assert 400 in answers
