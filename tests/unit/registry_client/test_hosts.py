"""Mirrors, insecure hosts and certificates, in four dialects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from boxwright.registry.client.addresses import proxy_for
from boxwright.registry.client.endpoint import HostsInvalid, RegistryBlocked
from boxwright.registry.client.hosts import Hosts
from boxwright.spec.reference import Reference
from support.registry import client, client_config, make_image, running


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shown(tmp: Path, domain: str, path: str, **more: object) -> list[str]:
    return [
        f"{e.host.scheme or '?'}://{e.host.name}{e.host.root}/{e.repository}"
        for e in Hosts(client_config(tmp, **more)).endpoints(domain, path)
    ]


def test_no_configuration(tmp_path: Path) -> None:
    assert shown(tmp_path, "docker.io", "library/a") == ["?://registry-1.docker.io/v2/library/a"]
    assert shown(tmp_path, "r.example:5000", "a") == ["?://r.example:5000/v2/a"]


def test_docker_mirrors_hub_only(tmp_path: Path) -> None:
    write(
        tmp_path / "etc/docker/daemon.json",
        json.dumps(
            {
                "registry-mirrors": ["http://m.example:5000/", "https://n.example/hub"],
                "insecure-registries": ["i.example", "10.0.0.0/8"],
            }
        ),
    )
    assert shown(tmp_path, "docker.io", "library/a") == [
        "http://m.example:5000/v2/library/a",
        "https://n.example/v2/hub/library/a",
        "?://registry-1.docker.io/v2/library/a",
    ]
    assert len(shown(tmp_path, "quay.io", "a")) == 1
    hosts = Hosts(client_config(tmp_path))
    assert [
        hosts.is_insecure(h)
        for h in (
            "i.example",
            "i.example:5000",
            "10.2.3.4:5000",
            "11.0.0.1",
            "localhost:5000",
            "[::1]:5000",
            "127.9.9.9",
        )
    ] == [
        True,
        True,
        True,
        False,
        True,
        True,
        True,
    ]


def test_own_mirrors_for_any_registry(tmp_path: Path) -> None:
    assert shown(tmp_path, "ghcr.io", "a/b", mirrors={"ghcr.io": ("https://m.example",)}) == [
        "https://m.example/v2/a/b",
        "?://ghcr.io/v2/a/b",
    ]


def test_containerd(tmp_path: Path) -> None:
    write(
        tmp_path / "etc/containerd/certs.d/r.example_5000_/hosts.toml",
        """
server = "https://real.example"
[host."https://m.example/cache"]
  capabilities = ["pull"]
  ca = "ca.pem"
  [host."https://m.example/cache".header]
    X-Key = "1"
[host."http://plain.example:5000"]
  override_path = true
  dial_timeout = "1m1.5s"
""",
    )
    mirror, plain, origin = Hosts(client_config(tmp_path)).endpoints("r.example:5000", "a")
    assert (mirror.host.name, mirror.host.root, mirror.host.namespace) == (
        "m.example",
        "/cache/v2",
        "r.example:5000",
    )
    assert mirror.host.headers == (("X-Key", "1"),) and mirror.host.tls.authorities == (
        str(tmp_path / "etc/containerd/certs.d/r.example_5000_/ca.pem"),
    )
    assert mirror.serves("pull", by_digest=True) and not mirror.serves("resolve", by_digest=False)
    assert (plain.host.scheme, plain.host.root, plain.host.dial_timeout, mirror.host.dial_timeout) == (
        "http",
        "",
        61.5,
        0,
    )
    assert (origin.host.name, origin.host.domain, origin.origin, origin.host.namespace) == (
        "real.example",
        "r.example:5000",
        True,
        "r.example:5000",
    )
    write(
        tmp_path / "etc/containerd/certs.d/docker.io/hosts.toml",
        'server = "https://registry-1.docker.io"\n[host."https://m.example"]\n',
    )
    mirror, origin = Hosts(client_config(tmp_path)).endpoints("docker.io", "library/x")
    assert (mirror.host.namespace, origin.host.namespace, origin.host.domain) == (
        "docker.io",
        "",
        "docker.io",
    )
    write(tmp_path / "etc/containerd/certs.d/_default/hosts.toml", '[host."https://all.example"]\n')
    assert Hosts(client_config(tmp_path)).endpoints("quay.io", "x")[0].host.name == "all.example"


def test_a_file_that_only_talks_of_registries_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian ships it: everything commented out, and a long list of short names. Reading TOML takes long."""
    text = '# [[registry]]\n# location = "x"\nunqualified-search-registries = ["docker.io"]\n[aliases]\n"a" = "registry.example/[[registry]]"\n'
    write(tmp_path / "etc/containers/registries.conf", text)
    write(tmp_path / "etc/containers/registries.conf.d/shortnames.conf", text)
    monkeypatch.setattr(
        "boxwright.registry.client.dialects._toml", lambda file, text: pytest.fail(f"{file} was parsed")
    )
    assert len(Hosts(client_config(tmp_path)).endpoints("quay.io", "x")) == 1
    write(
        tmp_path / "etc/containers/registries.conf.d/z.conf",
        '  [[ registry ]]\nlocation = "bad.example"\nblocked = true\n',
    )
    monkeypatch.undo()
    with pytest.raises(RegistryBlocked):
        Hosts(client_config(tmp_path)).endpoints("bad.example", "x")


def test_podman(tmp_path: Path) -> None:
    write(
        tmp_path / "etc/containers/registries.conf",
        """
[[registry]]
prefix = "quay.io/team"
location = "inner.example/mirror"
insecure = true
[[registry.mirror]]
location = "m.example:5000/q"
pull-from-mirror = "digest-only"
[[registry]]
location = "bad.example"
blocked = true
[[registry]]
prefix = "*.wild.example"
location = "one.example"
""",
    )
    hosts = Hosts(client_config(tmp_path))
    mirror, origin = hosts.endpoints("quay.io", "team/app")
    assert (mirror.host.name, mirror.repository) == ("m.example:5000", "q/app")
    assert mirror.serves("pull", by_digest=True) and not mirror.serves("resolve", by_digest=False)
    assert (origin.host.name, origin.repository, origin.host.insecure) == (
        "inner.example",
        "mirror/app",
        True,
    )
    assert len(hosts.endpoints("quay.io", "teamwork/app")) == 1
    assert hosts.origin("a.wild.example", "x").host.name == "one.example"
    with pytest.raises(RegistryBlocked):
        hosts.endpoints("bad.example", "x")
    write(tmp_path / "etc/containers/registries.conf.d/z.conf", '[[registry]]\nlocation = "bad.example"\n')
    assert Hosts(client_config(tmp_path)).endpoints("bad.example", "x")


def test_broken_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "etc/docker/daemon.json", "{")
    with pytest.raises(HostsInvalid, match=r"daemon\.json"):
        shown(tmp_path, "docker.io", "a")


def test_certificates(tmp_path: Path) -> None:
    folder = tmp_path / "etc/docker/certs.d/r.example:5000"
    for name in ("ca.crt", "me.cert", "me.key"):
        write(folder / name, "x")
    host = Hosts(client_config(tmp_path)).host("r.example:5000")
    assert host.tls.authorities == (str(folder / "ca.crt"),) and host.tls.client == (
        str(folder / "me.cert"),
        str(folder / "me.key"),
    )
    assert host.tls.verify
    assert (
        not Hosts(client_config(tmp_path)).host("localhost:5000").tls.verify
    )  # as docker: loopback is insecure


def test_mirror_is_asked_first_and_its_failure_is_no_failure(tmp_path: Path) -> None:
    image = make_image({"a": b"x" * 9000})
    with running() as mirror, running() as origin:
        origin.add_image("a", "1", image)
        config = {"mirrors": {origin.host: (f"http://{mirror.host}",)}}
        name = f"{origin.host}/a:1"
        remote = client(tmp_path, **config).remote(Reference.parse(name))
        assert remote.resolve(name) == image.manifest.descriptor  # the mirror has nothing
        assert mirror.requests("HEAD") and origin.requests("HEAD")
        mirror.add_image("a", "1", image)
        before = len(origin.log)
        remote = client(tmp_path, **config).remote(Reference.parse(name))
        remote.manifest(name)
        with remote.open(image.manifest.layers[0]) as body:
            assert body.read() == image.layers[0]
        assert len(origin.log) == before
    with running() as origin:
        origin.add_image("a", "1", image)
        name = f"{origin.host}/a:1"
        gone = client(tmp_path, mirrors={origin.host: (f"http://{mirror.host}",)}).remote(
            Reference.parse(name)
        )
        assert gone.resolve(name) == image.manifest.descriptor  # the mirror is down


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("r.example", None, "http://p:1"),
        ("127.0.0.1", 5000, ""),
        ("localhost", None, ""),
        ("a.inner.example", None, ""),
        ("inner.example", None, ""),
        ("notinner.example", None, "http://p:1"),
        ("10.1.2.3", 5000, ""),
        ("h.example", 5000, ""),
        ("h.example", 5001, "http://p:1"),
    ],
)
def test_proxies(host: str, port: int | None, expected: str) -> None:
    assert (
        proxy_for(
            "https",
            host,
            port,
            {"https_proxy": "http://p:1", "NO_PROXY": "inner.example, 10.0.0.0/8,h.example:5000"},
        )
        == expected
    )


def test_pull_through_a_proxy(tmp_path: Path) -> None:
    """A proxy sees plain requests with the whole URL; a name that only it can resolve works."""
    with running() as registry:
        put = registry.add_image("a", "1", make_image({"a": b"x"}))
        speaker = client(
            tmp_path,
            proxies={"http_proxy": f"http://u:p@{registry.host}"},
            insecure=("far.example",),
            mirrors={},
        )
        session = speaker.session(speaker.hosts.origin("far.example", "a"))
        session._scheme = "http"
        assert speaker.remote(Reference.parse("far.example/a")).resolve("far.example/a:1") == put
        assert (
            registry.log[0].headers["proxy-authorization"].startswith("Basic ")
            and registry.log[0].headers["host"] == "far.example"
        )
