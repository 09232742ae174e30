"""Docker's config.json, its helpers, DOCKER_AUTH_CONFIG and podman's auth.json."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from boxwright.registry.client.auth import Credential
from boxwright.registry.client.credentials import HUB_KEY, CredentialsInvalid, CredentialStore, HelperFailed
from support.registry import client_config


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def store(tmp: Path, config: object = None, **more: object) -> CredentialStore:
    (tmp / "docker").mkdir(exist_ok=True)
    if config is not None:
        (tmp / "docker/config.json").write_text(json.dumps(config))
    return CredentialStore(client_config(tmp, **more))


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """docker-credential-fake keeps secrets in a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker-credential-fake"
    program.write_text(
        "#!/usr/bin/env python3\nimport json,sys,pathlib\n"
        f"f=pathlib.Path({str(tmp_path / 'secrets')!r}); d=json.loads(f.read_text()) if f.exists() else {{}}\n"
        "v=sys.argv[1]; t=sys.stdin.read()\n"
        "if v=='store': e=json.loads(t); d[e['ServerURL']]=e\n"
        "elif v=='erase': d.pop(t.strip(),None)\n"
        "else:\n"
        "  if t.strip() not in d: print('credentials not found in native keychain'); sys.exit(1)\n"
        "  print(json.dumps(d[t.strip()]))\n"
        "f.write_text(json.dumps(d))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def test_nothing(tmp_path: Path) -> None:
    assert store(tmp_path).get("docker.io") is None


@pytest.mark.parametrize("key", [HUB_KEY, "index.docker.io", "https://index.docker.io/v1/", "docker.io"])
def test_hub_under_its_old_names(tmp_path: Path, key: str) -> None:
    assert store(tmp_path, {"auths": {key: auth("bob", "a:b")}}).get("docker.io") == Credential("bob", "a:b")


def test_legacy_keys_have_scheme_and_path(tmp_path: Path) -> None:
    found = store(tmp_path, {"auths": {"https://reg.example:5000/v2/": auth("u", "p\0")}}).get(
        "reg.example:5000"
    )
    assert found == Credential("u", "p")


def test_environment_comes_first(tmp_path: Path) -> None:
    text = json.dumps({"auths": {"r.example": auth("env", "1")}})
    config = {"auths": {"r.example": auth("file", "2"), "s.example": auth("file", "3")}}
    found = store(tmp_path, config, auth_json=text)
    assert found.get("r.example") == Credential("env", "1")
    assert found.get("s.example") == Credential("file", "3")


def test_podman_path_prefixes(tmp_path: Path) -> None:
    file = tmp_path / "home/.config/containers/auth.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        json.dumps(
            {
                "auths": {
                    "r.example/team/app": auth("app", "1"),
                    "r.example/team": auth("team", "2"),
                    "r.example": auth("all", "3"),
                }
            }
        )
    )
    found = store(tmp_path)
    assert [
        c.username
        for r in ("team/app", "team/app/x", "team/other", "x", "")
        if (c := found.get("r.example", r))
    ] == ["app", "app", "team", "all", "all"]
    assert [found.account("r.example", r) for r in ("team/app", "team/app/x", "team/other", "x")] == [
        "r.example/team/app",
        "r.example/team/app",
        "r.example/team",
        "",
    ]


def test_podmans_account_for_one_path_is_none_for_others(tmp_path: Path) -> None:
    file = tmp_path / "home/.config/containers/auth.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        json.dumps(
            {
                "auths": {
                    "r.example/team/app": auth("app", "1"),
                    "https://index.docker.io/v1/": auth("hub", "2"),
                }
            }
        )
    )
    found = store(tmp_path)
    assert found.get("r.example", "team/app") == Credential("app", "1")
    assert found.get("r.example", "team/other") is None and found.get("r.example") is None
    assert found.get("docker.io", "library/x") == Credential("hub", "2")


def test_helper_in_podmans_file(helper: Path, tmp_path: Path) -> None:
    """containers-auth.json(5): credHelpers by host; what Docker's credsStore would mean is not said there."""
    file = tmp_path / "home/.config/containers/auth.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        json.dumps(
            {
                "credHelpers": {"a.example": "fake"},
                "credsStore": "nowhere",
                "auths": {"b.example": auth("b", "1")},
            }
        )
    )
    (tmp_path / "secrets").write_text(json.dumps({"a.example": {"Username": "a", "Secret": "2"}}))
    found = store(tmp_path)
    assert found.get("a.example", "x") == Credential("a", "2") and found.get("b.example", "x") == Credential(
        "b", "1"
    )
    assert found.get("c.example", "x") is None


def test_helper(helper: Path, tmp_path: Path) -> None:
    found = store(tmp_path, {"credsStore": "fake", "HttpHeaders": {"X": "kept"}})
    assert found.get("r.example") is None
    done = found.put("r.example", Credential("bob", "secret"))
    assert "docker-credential-fake" in done.where and not done.plain
    assert found.get("r.example") == Credential("bob", "secret")
    saved = json.loads((tmp_path / "docker/config.json").read_text())
    assert saved["auths"]["r.example"] == {} and saved["HttpHeaders"] == {"X": "kept"}
    found.put("r.example", Credential("bob", identity_token="ID"))
    assert found.get("r.example") == Credential(identity_token="ID")
    assert found.remove("r.example") and found.get("r.example") is None


def test_helper_for_one_host_only(helper: Path, tmp_path: Path) -> None:
    found = store(tmp_path, {"credHelpers": {"a.example": "fake"}, "auths": {"b.example": auth("b", "1")}})
    found.put("a.example", Credential("a", "2"))
    assert found.get("a.example") == Credential("a", "2") and found.get("b.example") == Credential("b", "1")


def test_missing_helper_is_named(tmp_path: Path) -> None:
    with pytest.raises(HelperFailed, match="docker-credential-nowhere is not installed"):
        store(tmp_path, {"credsStore": "nowhere"}).get("r.example")
    with pytest.raises(CredentialsInvalid):
        store(tmp_path, {"credsStore": "../evil"}).get("r.example")


def test_saved_atomically_and_privately(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere.json"
    real.write_text('{"psFormat": "x"}')
    real.chmod(0o640)
    found = store(tmp_path)
    (tmp_path / "docker/config.json").symlink_to(real)
    found.put("docker.io", Credential("bob", "pw"))
    assert (tmp_path / "docker/config.json").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert json.loads(real.read_text()) == {"psFormat": "x", "auths": {HUB_KEY: auth("bob", "pw")}}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    fresh = CredentialStore(client_config(tmp_path / "new"))
    fresh.put("r.example", Credential("a", "b"))
    assert fresh.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 3}', '{"auths": {"r.example": {"auth": "%%%"}}}'])
def test_broken_files_are_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(text)
    with pytest.raises(CredentialsInvalid) as caught:
        CredentialStore(client_config(tmp_path)).get("r.example")
    assert "%%%" not in str(caught.value)
