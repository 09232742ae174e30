"""pull, push, login, search, tags, copy, manifest, imagetools: what they print, against a registry in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxwright.cli.main import main
from boxwright.spec import mediatypes as mt
from boxwright.spec.manifest import Index
from support.registry import FakeRegistry, Response, make_image, noise, running

IMAGE = make_image({"a": b"A" * 5000}, {"b": noise(20_000)})
ARM = make_image({"a": b"arm"}, platform="linux/arm64")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as fake:
        fake.add_image("app", "1", IMAGE)
        yield fake


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name, value in {
        "BOXWRIGHT_ROOT": tmp_path / "root",
        "HOME": tmp_path / "home",
        "DOCKER_CONFIG": tmp_path / "docker",
    }.items():
        monkeypatch.setenv(name, str(value))
    for name in (
        "DOCKER_AUTH_CONFIG",
        "XDG_RUNTIME_DIR",
        "REGISTRY_AUTH_FILE",
        "BUILDKIT_PROGRESS",
        "DOCKER_DEFAULT_PLATFORM",
    ):
        monkeypatch.delenv(name, raising=False)

    def call(*argv: str, stdin: bytes = b"") -> tuple[int, str, str]:
        class Stdin(io.TextIOWrapper):
            pass

        monkeypatch.setattr("sys.stdin", Stdin(io.BytesIO(stdin)))
        code = main(list(argv))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_pull(registry: FakeRegistry, run: Run) -> None:
    name = f"{registry.host}/app:1"
    code, out, err = run("pull", name)
    first, second = (layer.digest.short for layer in IMAGE.manifest.layers)
    assert code == 0
    assert out.splitlines() == [
        f"Digest: {IMAGE.manifest.descriptor.digest}",
        f"Status: Downloaded newer image for {name}",
        name,
    ]
    lines = err.splitlines()
    assert lines[0] == "1: Pulling from app"
    assert sorted(lines[1:]) == sorted(
        f"{short}: {word}" for short in (first, second) for word in ("Pulling fs layer", "Pull complete")
    )
    code, out, err = run("pull", name)
    assert f"Status: Image is up to date for {name}" in out and err == "1: Pulling from app\n"  # as docker
    registry.add_image("other", "1", IMAGE)
    err = run("pull", f"{registry.host}/other:1")[2]
    assert sorted(err.splitlines()) == sorted(
        ["1: Pulling from other", f"{first}: Already exists", f"{second}: Already exists"]
    )
    assert run("pull", "-q", name) == (0, name + "\n", "")
    registry.add_image("app", "latest", IMAGE)
    code, out, err = run("pull", f"{registry.host}/app")
    assert err.startswith("Using default tag: latest\nlatest: Pulling from app\n") and out.endswith(
        f"{registry.host}/app:latest\n"
    )
    by_digest = f"{registry.host}/app@{IMAGE.manifest.descriptor.digest}"
    assert run("pull", by_digest)[1].splitlines()[-1] == by_digest


def test_pull_fails(registry: FakeRegistry, run: Run) -> None:
    assert run("pull", f"{registry.host}/app:2")[2].endswith(
        f"Error: manifest for {registry.host}/app:2 not found: manifest unknown\n"
    )
    code, _, err = run("pull", f"{registry.host}/nothing")
    assert (
        code == 1
        and f"pull access denied for {registry.host}/nothing, repository does not exist or may require 'docker login'"
        in err
    )
    assert "Traceback" not in err


def test_pull_of_another_platform(registry: FakeRegistry, run: Run) -> None:
    registry.add_image("arm", "1", ARM)
    code, _, err = run("pull", f"{registry.host}/arm:1", "--platform", "linux/s390x")
    assert (
        code == 1 and "does not match the specified platform: wanted linux/s390x, actual: linux/arm64" in err
    )
    assert run("images", "-q")[1] == ""
    entries = [registry.add_image("multi", "", IMAGE), registry.add_image("multi", "", ARM)]
    from dataclasses import replace

    from boxwright.spec.platform import Platform

    index = Index.compose(
        [
            replace(entries[0], platform=Platform("linux", "amd64")),
            replace(entries[1], platform=Platform("linux", "arm64")),
        ]
    )
    registry.add_manifest("multi", "1", index.raw, mt.OCI_INDEX)
    assert run("pull", "-q", "--platform", "linux/amd64,linux/arm64", f"{registry.host}/multi:1")[0] == 0
    code, out, err = run("push", f"{registry.host}/multi:1")
    assert out == f"1: digest: {index.descriptor.digest} size: {len(index.raw)}\n"


def test_push(registry: FakeRegistry, run: Run) -> None:
    run("pull", "-q", f"{registry.host}/app:1")
    target = f"{registry.host}/other/app:2"
    run("tag", f"{registry.host}/app:1", target)
    code, out, err = run("push", target)
    desc = IMAGE.manifest.descriptor
    assert (code, out) == (0, f"2: digest: {desc.digest} size: {desc.size}\n")
    diff = json.loads(IMAGE.config)["rootfs"]["diff_ids"][0].removeprefix("sha256:")[:12]
    assert err.splitlines()[0] == f"The push refers to repository [{registry.host}/other/app]"
    assert f"{diff}: Preparing" in err and f"{diff}: Mounted" in err
    assert f"{diff}: Layer already exists" in run("push", target)[2]
    assert run("push", "-q", target)[1] == target + "\n"
    assert run("push", "nothing")[0] == 1


def test_login(registry: FakeRegistry, run: Run, tmp_path: Path) -> None:
    registry.basic = ("bob", "secret")
    code, out, err = run("login", "-u", "bob", "--password-stdin", registry.host, stdin=b"secret\n")
    assert (code, out) == (0, "Login Succeeded\n")
    assert f"WARNING! Your credentials are stored unencrypted in '{tmp_path}/docker/config.json'." in err
    assert run("pull", "-q", f"{registry.host}/app:1")[0] == 0
    assert run("login", registry.host)[1] == "Login Succeeded\n"  # with what is stored
    assert run("logout", registry.host)[1] == f"Removing login credentials for {registry.host}\n"
    assert run("logout", registry.host)[1] == f"Not logged in to {registry.host}\n"
    assert (
        run("login", registry.host)[2].splitlines()[0]
        == "Error: Cannot perform an interactive login from a non TTY device"
    )
    assert run("login", "--password-stdin", registry.host)[0] == 1
    assert run("login", "-u", "bob", "-p", "no", registry.host)[0] == 1


def test_search(registry: FakeRegistry, run: Run) -> None:
    registry.searchable = True
    for name in ("b", "c", "d"):
        registry.add_image(name, "1", IMAGE)
    out = run("search", f"{registry.host}/")[1]
    lines = out.splitlines()
    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert lines[-1].split() == [f"{registry.host}/d", "about", "d", "3", "[OK]"]  # in the registry's order
    assert (
        run("search", "--format", "{{.Name}}", "--filter", "is-official=true", f"{registry.host}/")[1]
        == f"{registry.host}/d\n"
    )
    assert len(run("search", "--filter", "stars=2", f"{registry.host}/")[1].splitlines()) == 3
    assert run("search", "--limit", "101", "x")[2].startswith(
        "Error: limit 101 is outside the range of [1, 100]"
    )
    assert run("search", "--filter", "odd=1", "x")[0] == 1


def test_tags_rm(registry: FakeRegistry, run: Run) -> None:
    """A tag alone, a digest with its tags; what fails does not keep the rest."""
    name, digest = f"{registry.host}/app", str(IMAGE.manifest.descriptor.digest)
    for tag in ("2", "3"):
        registry.add_image("app", tag, IMAGE)
    code, out, err = run("tags", "rm", f"{name}:none", f"{name}:1", name)
    assert (code, out) == (1, f"Deleted: {name}:1\n")
    assert (
        f"deletion of {name}:none not found" in err
        and f"Hint: say which tag or digest: boxwright tags ls {name}" in err
    )
    assert run("tags", "ls", name)[1] == "2\n3\n"
    registry.deletes_tags = False
    code, out, err = run("tags", "rm", f"{name}:2")
    assert (code, out) == (1, "") and "does not support this" in err
    assert run("tags", "rm", f"{name}@{digest}") == (0, f"Deleted: {name}@{digest}\n", "")
    assert registry.manifests["app"] == {}


def test_tags(registry: FakeRegistry, run: Run) -> None:
    registry.add_image("app", "2", IMAGE)
    assert run("tags", "ls", f"{registry.host}/app")[1] == "1\n2\n"
    assert (
        run("tags", "ls", "--format", "{{.Reference}}", f"{registry.host}/app")[1].splitlines()[1]
        == f"{registry.host}/app:2"
    )


def test_copy(registry: FakeRegistry, run: Run, tmp_path: Path) -> None:
    digest = f"{IMAGE.manifest.descriptor.digest}\n"
    assert run("copy", f"{registry.host}/app:1", f"{registry.host}/copied:1")[1] == digest
    assert run("copy", "-q", f"docker://{registry.host}/copied:1", f"oci:{tmp_path}/lay:x") == (0, digest, "")
    assert run("copy", f"oci:{tmp_path}/lay:x", f"oci-archive:{tmp_path}/a.tar:y")[1] == digest
    assert run("copy", f"oci-archive:{tmp_path}/a.tar", "local:here:1")[1] == digest
    assert "here" in run("images")[1]
    assert run("copy", "local:here:1", f"{registry.host}/again:1")[0] == 0
    code, _, err = run("copy", f"oci:{tmp_path}/none:x", f"{registry.host}/again:1")
    assert code == 1 and "is no OCI layout" in err


def test_manifest_and_imagetools(registry: FakeRegistry, run: Run) -> None:
    registry.add_image("arm", "1", ARM)
    name = f"{registry.host}/all:1"
    assert (
        run("manifest", "create", name, f"{registry.host}/app:1", f"{registry.host}/arm:1")[1]
        == f"Created manifest list {name}\n"
    )
    run("manifest", "annotate", name, f"{registry.host}/arm:1", "--variant", "v8")
    shown = json.loads(run("manifest", "inspect", name)[1])
    assert [m["platform"]["architecture"] for m in shown["manifests"]] == ["amd64", "arm64"]
    digest = run("manifest", "push", "--purge", name)[1].strip()
    assert f"Digest:    {digest}" in run("imagetools", "inspect", name)[1]
    assert (
        json.loads(run("imagetools", "inspect", "--format", "{{json .Manifest}}", name)[1])["digest"]
        == digest
    )
    assert json.loads(run("manifest", "inspect", name)[1])["manifests"]
    assert [
        e["Descriptor"]["platform"]["architecture"]
        for e in json.loads(run("manifest", "inspect", "-v", name)[1])
    ] == ["amd64", "arm64"]
    assert run("manifest", "rm", name)[0] == 1
    made = run(
        "imagetools",
        "create",
        "-t",
        f"{registry.host}/joined:1",
        f"{registry.host}/app:1",
        f"{registry.host}/arm:1",
    )[1].strip()
    assert registry.manifests["joined"]["1"][1] and made.startswith("sha256:")
    assert json.loads(run("imagetools", "create", "--dry-run", f"{registry.host}/app:1")[1])["manifests"]
    dry = ("imagetools", "create", "--dry-run", f"{registry.host}/app:1")
    noted = json.loads(run(*dry, "--annotation=index:a=b", "--annotation=c=d")[1])
    assert noted["annotations"] == {"a": "b", "c": "d"}
    for option, said in (
        ("--annotation=nonsense:a=b", "unknown annotation type 'nonsense'"),
        ("--annotation=org.x/y:z=b", "invalid annotation type 'org.x/y'"),
        ("--annotation=manifest:a=b", "manifest annotations are not supported here"),
        ("--annotation=index-descriptor:a=b", "index-descriptor annotations are not supported here"),
        ("--annotation=manifest-descriptor[linux/s390x]:a=b", "no platform linux/s390x found in source"),
        ("--annotation=a", "invalid annotation 'a', expected key=value"),
        ("--progress=nonsense", "invalid progress mode 'nonsense'"),
    ):
        code, _, err = run(*dry, option)
        assert code == 1 and said in err, option


def test_entries_of_an_index_that_is_joined_are_annotated(registry: FakeRegistry, run: Run) -> None:
    registry.add_image("arm", "1", ARM)
    options = ("manifest-descriptor:a=all", "manifest-descriptor[linux/arm64]:a=arm", "index:a=top", "b=top")
    sources = (f"{registry.host}/app:1", f"{registry.host}/arm:1")
    words = [f"--annotation={option}" for option in options]
    made = json.loads(run("imagetools", "create", "--dry-run", *words, *sources)[1])
    assert made["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert made["annotations"] == {"a": "top", "b": "top"}
    found = {entry["platform"]["architecture"]: entry["annotations"] for entry in made["manifests"]}
    assert found == {"amd64": {"a": "all"}, "arm64": {"a": "arm"}}
    # One that is an index already is written anew.
    name = f"{registry.host}/joined:2"
    run("imagetools", "create", "-t", name, *sources)
    again = json.loads(
        run("imagetools", "create", "--dry-run", "--annotation=manifest-descriptor:x=y", name)[1]
    )
    assert [entry["annotations"] for entry in again["manifests"]] == [{"x": "y"}] * 2
    # As Go writes a map, so that the digest is the one that buildx would come to.
    made = json.loads(
        run(
            "imagetools",
            "create",
            "--dry-run",
            *words[::-1],
            "--annotation=manifest-descriptor:Z=z",
            *sources,
        )[1]
    )
    assert [*made["annotations"]] == ["a", "b"] and [*made["manifests"][0]["annotations"]] == ["Z", "a"]


def test_json_progress(registry: FakeRegistry, run: Run) -> None:
    err = run("pull", "--progress", "json", f"{registry.host}/app:1")[2]
    assert all(json.loads(line) for line in err.splitlines())
    assert any(json.loads(line).get("status") == "Pull complete" for line in err.splitlines())


def test_a_registry_that_breaks_off_is_told_in_a_sentence(
    registry: FakeRegistry, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boxwright.registry.client.session.time.sleep", lambda seconds: None)
    registry.hook = lambda r: Response(200, {}, IMAGE.layers[1], cut=5) if "/blobs/" in r.path else None
    code, _, err = run("pull", f"{registry.host}/app:1")
    assert code == 1 and "Traceback" not in err and err.splitlines()[-1].startswith("Error: ")
