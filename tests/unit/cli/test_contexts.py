"""Docker's contexts: the same answers as its client's, from the same files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from boxwright.cli.contexts import files
from boxwright.cli.main import main


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "docker"
    for name, about, host in (("aa", "d <x>", "unix:///tmp/none.sock"), ("bb", "", "tcp://h:1")):
        put(folder, name, {"Description": about} if about else {}, host)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return folder


def put(folder: Path, name: str, metadata: Any, host: str) -> Path:
    file = folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    file.parent.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    file.write_text(json.dumps({"Name": name, "Metadata": metadata, "Endpoints": endpoints}))
    return file


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(words)) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_ls_and_show(
    docker: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(capsys, "context", "ls").splitlines() == [
        "NAME        DESCRIPTION                               DOCKER ENDPOINT               ERROR",
        "aa          d <x>                                     unix:///tmp/none.sock         ",
        "bb                                                    tcp://h:1                     ",
        "default *   Current DOCKER_HOST based configuration   unix:///var/run/docker.sock   ",
    ]
    assert told(capsys, "context", "ls", "-q") == "aa\nbb\ndefault\n"
    assert told(capsys, "context", "show") == "default\n"
    assert told(capsys, "--context", "bb", "context", "show") == "bb\n"
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert told(capsys, "context", "show") == "gone\n"
    lines = [json.loads(line) for line in told(capsys, "context", "ls", "--format", "json").splitlines()]
    assert lines[3]["Name"] == "gone" and lines[3]["Current"] and "not found" in lines[3]["Error"]
    monkeypatch.setenv("DOCKER_HOST", "unix:///y")
    assert told(capsys, "context", "show") == "default\n"
    assert "default *" in told(capsys, "context", "ls") and "unix:///y" in told(capsys, "context", "inspect")


def test_use(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docker / "config.json").write_text('{"auths": {"h": {}}}')
    assert told(capsys, "context", "use", "aa") == "aa\n" and told(capsys, "context", "show") == "aa\n"
    assert json.loads((docker / "config.json").read_text()) == {"auths": {"h": {}}, "currentContext": "aa"}
    assert 'context "none": context not found' in told(capsys, "context", "use", "none", code=1)
    assert told(capsys, "context", "use", "default") == "default\n"
    assert json.loads((docker / "config.json").read_text()) == {"auths": {"h": {}}}


def test_inspect(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (default,) = json.loads(told(capsys, "context", "inspect"))
    assert default["Name"] == "default" and default["Storage"]["TLSPath"] == "<IN MEMORY>"
    tls = docker / "contexts/tls" / hashlib.sha256(b"aa").hexdigest() / "docker"
    tls.mkdir(parents=True)
    (tls / "ca.pem").write_text("x")
    first, second = json.loads(told(capsys, "context", "inspect", "aa", "bb"))
    assert first["TLSMaterial"] == {"docker": ["ca.pem"]} and second["Metadata"] == {}
    assert first["Storage"]["TLSPath"] == str(tls.parent)
    shown = told(capsys, "context", "inspect", "bb", "-f", "{{.Name}} {{.Endpoints.docker.Host}}")
    assert shown == "bb tcp://h:1\n"
    assert "not found" in told(capsys, "context", "inspect", "../aa", code=1)


@pytest.mark.parametrize("text", ["", "[", "[]", "[" * 100_000, '{"Endpoints": 1}', "\xff"])
def test_files_that_are_none(docker: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    file = put(docker, "zz", {}, "")
    file.write_text(text, encoding="latin-1")
    assert main(["context", "ls", "-q"]) == 0
    listed = capsys.readouterr()
    assert listed.out == "aa\nbb\ndefault\n"  # one bad file hides no other
    assert text.startswith("{") or f"WARNING: cannot read {file}" in listed.err
    assert main(["context", "inspect", "zz"]) in (0, 1)
    assert "internal error" not in capsys.readouterr().err


# --- made, changed, removed ------------------------------------------------------------------------


def meta(folder: Path, name: str) -> Any:
    return json.loads(
        (folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json").read_text()
    )


def keys(folder: Path, name: str) -> dict[str, bytes]:
    below = folder / "contexts/tls" / hashlib.sha256(name.encode()).hexdigest()
    return {str(file.relative_to(below)): file.read_bytes() for file in below.rglob("*") if file.is_file()}


@pytest.fixture
def secured(docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A context called `tls`, with keys."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    own = authority.issue_cert("h")
    (tmp_path / "ca").write_bytes(authority.cert_pem.bytes())
    (tmp_path / "cert").write_bytes(own.cert_chain_pems[0].bytes())
    (tmp_path / "key").write_bytes(own.private_key_pem.bytes())
    said = ",".join(f"{name}={tmp_path / name}" for name in ("ca", "cert", "key"))
    words = ("context", "create", "tls", "--docker", f"host=tcp://h:2376,{said}", "--description", "far")
    assert told(capsys, *words) == "tls\n"
    return docker


def test_create(secured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    endpoint = {"docker": {"Host": "tcp://h:2376", "SkipTLSVerify": False}}
    assert meta(secured, "tls") == {"Name": "tls", "Metadata": {"Description": "far"}, "Endpoints": endpoint}
    found = keys(secured, "tls")
    assert sorted(found) == ["docker/ca.pem", "docker/cert.pem", "docker/key.pem"]
    assert found["docker/ca.pem"] == (tmp_path / "ca").read_bytes()
    for file in (secured / "contexts/tls").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0
    # As another one: its keys too, its description unless another is given.
    assert told(capsys, "context", "create", "two", "--from", "tls") == "two\n"
    assert told(capsys, "context", "create", "six", "--from", "tls", "--description", "") == "six\n"
    assert meta(secured, "two") == {**meta(secured, "tls"), "Name": "two"} and keys(secured, "two") == found
    assert meta(secured, "six")["Metadata"] == {"Description": ""}
    assert told(capsys, "context", "create", "ten", "--docker", "from=tls") == "ten\n"
    assert meta(secured, "ten") == {"Name": "ten", "Metadata": {}, "Endpoints": endpoint}
    assert keys(secured, "ten") == found
    skip = ("--docker", "host=ssh://me@h", "--docker", "skip-tls-verify=true")
    assert told(capsys, "context", "create", "ssh", *skip) == "ssh\n"
    assert meta(secured, "ssh")["Endpoints"] == {"docker": {"Host": "ssh://me@h", "SkipTLSVerify": True}}
    assert told(capsys, "context", "create", "own", "--from", "default") == "own\n"
    assert meta(secured, "own")["Endpoints"]["docker"]["Host"] == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("aa", "--docker", "host=unix:///x"), 1, 'context "aa" already exists'),
        (("a", "--docker", "host=unix:///x"), 1, 'context name "a" is invalid'),
        (("../x", "--docker", "host=unix:///x"), 1, 'context name "../x" is invalid'),
        (("nl\n", "--docker", "host=unix:///x"), 1, "is invalid"),
        (("default", "--docker", "host=unix:///x"), 1, '"default" is a reserved context name'),
        (("new",), 1, "docker endpoint configuration is required"),
        (("new", "--docker", "host"), 125, "host must be formatted as key=value"),
        (("new", "--docker", "nope=1"), 1, "unrecognized config key: nope"),
        (("new", "--docker", "host=wrong"), 1, "unable to parse docker host `wrong`"),
        (("new", "--docker", "host=tcp://"), 1, "unable to parse docker host `tcp://`"),
        (("new", "--docker", "host=fd://3"), 1, "fd is no protocol"),
        (("new", "--docker", "host=ssh://a:b@h"), 1, "plain-text password is not supported"),
        (("new", "--docker", "skip-tls-verify=maybe"), 1, 'skip-tls-verify: parsing "maybe": invalid syntax'),
        (
            ("new", "--docker", "host=tcp://h:1,ca=/nonexistent"),
            1,
            "open /nonexistent: no such file or directory",
        ),
        (("new", "--docker", f"host=tcp://h:1,ca={__file__}"), 1, "ca.pem seems invalid"),
        (("new", "--docker", f"host=tcp://h:1,key={__file__}"), 1, "key.pem is not PEM"),
        (("new", "--docker", "from=aa,host=unix:///x"), 1, "no place for other keys"),
        (("new", "--docker", "from=none"), 1, 'context "none": context not found'),
        (("new", "--from", "none"), 1, 'context "none": context not found'),
        (
            ("new", "--from", "aa", "--docker", "host=unix:///x"),
            1,
            "cannot use --docker flag when --from is set",
        ),
    ],
)
def test_what_is_not_created(
    docker: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    before = sorted(docker.rglob("*"))
    assert said in told(capsys, "context", "create", *words, code=code)
    assert sorted(docker.rglob("*")) == before


def test_update(secured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = meta(secured, "tls"), keys(secured, "tls")
    assert told(capsys, "context", "update", "tls") == "tls\n"
    assert (meta(secured, "tls"), keys(secured, "tls")) == before
    assert told(capsys, "context", "update", "tls", "--description", "near") == "tls\n"
    assert meta(secured, "tls") == {**before[0], "Metadata": {"Description": "near"}}
    assert keys(secured, "tls") == before[1]
    assert told(capsys, "context", "update", "tls", "--docker", "host=tcp://other:1") == "tls\n"
    assert meta(secured, "tls")["Endpoints"]["docker"]["Host"] == "tcp://other:1"
    assert not keys(secured, "tls")  # they belonged to the other endpoint
    assert 'context "zz": context not found' in told(capsys, "context", "update", "zz", code=1)
    assert "reserved" in told(capsys, "context", "update", "default", code=1)


def test_rm(secured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "context", "use", "tls")
    assert 'context "tls" is in use, set -f flag' in told(capsys, "context", "rm", "tls", code=1)
    assert keys(secured, "tls")
    assert told(capsys, "context", "rm", "-f", "tls") == "tls\n" and not keys(secured, "tls")
    assert told(capsys, "context", "show") == "default\n"
    assert main(["context", "rm", "aa", "zz", "bb"]) == 1
    said = capsys.readouterr()
    assert said.out == "aa\nbb\n" and 'context "zz" does not exist' in said.err
    assert told(capsys, "context", "ls", "-q") == "default\n"
    assert told(capsys, "context", "rm", "-f", "zz") == "zz\n"
    assert "cannot be removed" in told(capsys, "context", "rm", "-f", "default", code=1)


def test_a_context_is_not_made_current_while_it_is_removed(
    docker: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, codes = files.remove, []
    thread = threading.Thread(target=lambda: codes.append(main(["context", "use", "bb"])))

    def slowly(*words: Any) -> None:
        thread.start()
        thread.join(0.3)
        remove(*words)

    monkeypatch.setattr(files, "remove", slowly)
    assert told(capsys, "context", "rm", "bb") == "bb\n"
    thread.join(20)
    assert codes == [1] and told(capsys, "context", "show") == "default\n"
    told(capsys, "context", "rm", "bb", code=1)


def test_export_and_import(
    secured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["context", "export", "tls"]) == 0
    assert 'Written file "tls.dockercontext"' in capsys.readouterr().err
    file = tmp_path / "tls.dockercontext"
    assert file.stat().st_mode & 0o777 == 0o600
    assert told(capsys, "context", "import", "again", str(file)) == "again\n"
    assert meta(secured, "again") == {**meta(secured, "tls"), "Name": "again"}
    assert keys(secured, "again") == keys(secured, "tls")
    assert 'context "again" already exists' in told(capsys, "context", "import", "again", str(file), code=1)
    assert "file exists" in told(capsys, "context", "export", "tls", code=1)
    assert "no such file" in told(capsys, "context", "export", "tls", "/nonexistent/x", code=1)
    assert "no such file" in told(capsys, "context", "import", "more", "/nonexistent", code=1)
    assert main(["context", "export", "default", str(tmp_path / "own")]) == 0


def packed(files: dict[str, bytes], form: str) -> bytes:
    out = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


GOOD = json.dumps({"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": "unix:///y"}}}).encode()


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_archives_of_others(
    docker: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(packed({"meta.json": GOOD, "tls/docker/ca.pem": b"k"}, form))
    assert told(capsys, "context", "import", "new", str(file)) == "new\n"
    assert (
        meta(docker, "new")["Endpoints"] == {"docker": {"Host": "unix:///y"}}
        and meta(docker, "new")["Name"] == "new"
    )
    assert keys(docker, "new") == {"docker/ca.pem": b"k"}


@pytest.mark.parametrize("form", ["tar", "zip"])
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no metadata found"),
        ({"tls/docker/ca.pem": b"k"}, "no metadata found"),
        ({"meta.json": GOOD, "tls/../../x": b"k"}, 'unexpected file "tls/../../x"'),
        ({"meta.json": GOOD, "tls/docker/..": b"k"}, "unexpected file"),
        ({"meta.json": GOOD, "tls/docker/a/b": b"k"}, "unexpected file"),
        ({"meta.json": GOOD, "tls//ca.pem": b"k"}, "unexpected file"),
        ({"meta.json": GOOD, "/etc/x": b"k"}, "unexpected file"),
        ({"meta.json": b"[]"}, "it is no JSON object"),
        ({"meta.json": b"[" * 100_000}, "cannot read meta.json"),
        ({"meta.json": GOOD, "tls/docker/ca.pem": bytes(11 << 20)}, "larger than"),
    ],
)
def test_archives_that_are_none(
    docker: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    form: str,
    files: dict[str, bytes],
    said: str,
) -> None:
    (tmp_path / "file").write_bytes(packed(files, form))
    before = sorted(docker.rglob("*"))
    assert said in told(capsys, "context", "import", "new", str(tmp_path / "file"), code=1)
    assert sorted(docker.rglob("*")) == before


@pytest.mark.parametrize("cut", [1, 100, 513, 700, 1600])
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_archives_that_are_cut(
    docker: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str, cut: int
) -> None:
    whole = packed({"tls/docker/ca.pem": b"k" * 600, "meta.json": GOOD}, form)
    (tmp_path / "file").write_bytes(whole[: min(cut, len(whole) - 30)])
    assert "invalid context" in told(capsys, "context", "import", "new", str(tmp_path / "file"), code=1)
