"""Options of ``build`` as text."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from boxwright.build import options
from boxwright.build.fields import RequestInvalid
from boxwright.build.request import Output, SshSource


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"from a file")
    monkeypatch.chdir(tmp_path)
    environ = {"TOKEN": "from the environment", "key": "shadowed"}
    assert options.parse_secret("id=a,src=key", environ).read() == b"from a file"
    assert options.parse_secret("id=a,env=TOKEN", environ).read() == b"from the environment"
    assert options.parse_secret("id=TOKEN", environ).read() == b"from the environment"
    assert options.parse_secret("id=key", environ).read() == b"shadowed"
    assert options.parse_secret("id=key,type=file", environ).read() == b"from a file"
    assert options.parse_secret("src=key", environ).id == "key"
    assert options.parse_secret("type=env,id=x,src=TOKEN", environ).read() == b"from the environment"
    for bad in ("id=a,src=missing", "id=a,env=MISSING", "x=y", "id=a,type=b", "", 'id="'):
        with pytest.raises(RequestInvalid):
            options.parse_secret(bad, {})


def test_agents(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        assert options.parse_ssh("default", {"SSH_AUTH_SOCK": str(path)}) == ("default", SshSource((path,)))
        assert options.parse_ssh(f"x={path}", {}) == ("x", SshSource((path,)))
        assert options.parse_ssh(f"x={path},raw=true", {}) == ("x", SshSource((path,), raw=True))
        with pytest.raises(RequestInvalid, match="duplicate agent ID"):
            options.parse_agents([f"x={path}", f"x={path}"], {})
    keys = [tmp_path / "one", tmp_path / "two"]
    for key in keys:
        key.write_text("a key")
    assert options.parse_ssh(f"x={keys[0]},{keys[1]}", {}) == ("x", SshSource(tuple(keys)))
    for word in ("default", "x=/dev/null", f"x={tmp_path}", f"x={path},raw=2", "x=/no/such", "x,raw=true"):
        with pytest.raises(RequestInvalid):
            options.parse_ssh(word, {})


def test_outputs() -> None:
    assert options.parse_output("-") == Output("tar", "-")
    assert options.parse_output("out") == Output("local", "out")
    assert options.parse_output("type=oci,dest=a.tar,name=x") == Output("oci", "a.tar", {"name": "x"})
    with pytest.raises(RequestInvalid):
        options.parse_output("dest=x")


def test_pairs() -> None:
    assert options.parse_hosts(["a:1.2.3.4", "b=::1", "c:host-gateway", "d:[fe80::1]"]) == (
        ("a", "1.2.3.4"),
        ("b", "::1"),
        ("c", "host-gateway"),
        ("d", "fe80::1"),
    )
    assert options.parse_build_args(["A=1", "B", "C", "D="], {"B": "2"}) == {"A": "1", "B": "2", "D": ""}
    assert options.parse_pairs(["a=b=c", "d"], "label") == {"a": "b=c", "d": ""}
    for bad in (["=x"], [""]):
        with pytest.raises(RequestInvalid):
            options.parse_pairs(bad, "label")
        with pytest.raises(RequestInvalid):
            options.parse_build_args(bad, {})
    with pytest.raises(RequestInvalid):
        options.parse_hosts(["nothing"])


def test_entitlements() -> None:
    """Unknown names are errors, whether a step needs them or not."""
    from boxwright.build.granted import entitlements
    from boxwright.build.request import BuildRequest

    assert entitlements(BuildRequest()) == frozenset()
    assert entitlements(BuildRequest(allow=("network.host",))) == {"network.host"}
    assert entitlements(BuildRequest(network="host")) == {"network.host"}
    assert entitlements(BuildRequest(network="host", allow=("security.insecure",))) == {
        "network.host",
        "security.insecure",
    }
    for bad in ("nosuch", "NETWORK.HOST", "network.host=x", "devices", "fs=*", "network"):
        with pytest.raises(RequestInvalid, match="unknown entitlement"):
            entitlements(BuildRequest(allow=("network.host", bad)))
    for request in (
        BuildRequest(untrusted=True, network="host"),
        BuildRequest(untrusted=True, allow=("security.insecure",)),
    ):
        with pytest.raises(RequestInvalid, match="untrusted"):
            entitlements(request)
