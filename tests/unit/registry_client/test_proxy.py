"""HTTPS through a proxy: tunnels, what goes around them, and Docker Hub's search at the end of one."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxwright.errors import Unavailable
from boxwright.registry.client.search import search
from boxwright.spec.reference import Reference
from support.proxy import connecting
from support.registry import FakeRegistry, Request, Response, client, make_image, running

trustme = pytest.importorskip("trustme")


@contextmanager
def with_tls(folder: Path, *names: str) -> Iterator[FakeRegistry]:
    """A registry that has a certificate for these names; its authority is in `folder`/ca.pem."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    with running() as registry:
        registry.server.socket = context.wrap_socket(registry.server.socket, server_side=True)
        yield registry


def test_https_goes_through_a_tunnel(tmp_path: Path) -> None:
    """A name that only the proxy can resolve; TLS is between us and the registry, the proxy sees its name alone."""
    with with_tls(tmp_path, "far.example") as registry, connecting({"far.example": registry.host}) as proxy:
        image = make_image({"a": b"x"})
        put = registry.add_image("team/a", "1", image)
        proxies = {"https_proxy": f"http://me:s3cret%40@{proxy.host}"}
        remote = client(tmp_path, proxies=proxies, ca_bundle=tmp_path / "ca.pem").remote(
            Reference.parse("far.example/team/a")
        )
        assert remote.resolve("far.example/team/a:1") == put
        with remote.open(image.manifest.layers[0]) as body:
            assert body.read() == image.layers[0]
        assert {host for host, _ in proxy.asked} == {"far.example:443"}
        assert {said for _, said in proxy.asked} == {"Basic " + base64.b64encode(b"me:s3cret@").decode()}
        assert not any("proxy-authorization" in r.headers for r in registry.log)  # it was for the proxy


def test_no_proxy_goes_around_it(tmp_path: Path) -> None:
    with with_tls(tmp_path, "far.example") as registry, connecting({"far.example": registry.host}) as proxy:
        registry.add_image("a", "1", make_image({"a": b"x"}))
        proxies = {"HTTPS_PROXY": f"http://{proxy.host}", "NO_PROXY": ".example"}
        remote = client(tmp_path, proxies=proxies, ca_bundle=tmp_path / "ca.pem").remote(
            Reference.parse("far.example/a")
        )
        with pytest.raises(Unavailable, match=r"cannot reach far\.example"):
            remote.resolve("far.example/a:1")
        assert proxy.asked == []


def test_a_proxy_that_refuses_is_told(tmp_path: Path) -> None:
    with connecting({}) as proxy:
        remote = client(tmp_path, proxies={"https_proxy": f"http://{proxy.host}"}, tries=1).remote(
            Reference.parse("far.example/a")
        )
        with pytest.raises(Unavailable, match=r"far\.example.*502"):
            remote.resolve("far.example/a:1")


def test_search_on_docker_hub(tmp_path: Path) -> None:
    """Hub's own answer, asked as docker asks it: /v1/search on index.docker.io."""
    results = [
        {
            "name": "nginx",
            "description": "Official build of Nginx.",
            "star_count": 20000,
            "is_official": True,
            "is_automated": False,
            "pull_count": 1,
        },
        {
            "name": "nginx/nginx-ingress",
            "description": "",
            "star_count": 100,
            "is_official": False,
            "is_automated": False,
        },
    ]

    def hub(request: Request) -> Response | None:
        if request.path != "/v1/search":
            return Response(404)
        return Response(
            200,
            {},
            json.dumps(
                {
                    "query": "nginx",
                    "num_results": 2,
                    "page": 1,
                    "page_size": 25,
                    "num_pages": 1,
                    "results": results,
                }
            ).encode(),
        )

    with (
        with_tls(tmp_path, "index.docker.io") as registry,
        connecting({"index.docker.io": registry.host}) as proxy,
    ):
        registry.hook = hub
        speaker = client(
            tmp_path, proxies={"https_proxy": f"http://{proxy.host}"}, ca_bundle=tmp_path / "ca.pem"
        )
        found = search(speaker, "library/nginx", limit=7)
        assert [(f.name, f.stars, f.official) for f in found] == [
            ("nginx", 20000, True),
            ("nginx/nginx-ingress", 100, False),
        ]
        assert [f.name for f in search(speaker, "nginx", official=True)] == ["nginx"]
        asked = registry.log[0]
        assert (
            asked.query == {"q": ["nginx"], "n": ["7"]}
            and asked.headers["host"] == "index.docker.io"
            and "authorization" not in asked.headers
        )
