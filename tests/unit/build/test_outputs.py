"""Where a build's result goes: names, pushes, archives, directories; what an output does not take is refused."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.build import options
from boxwright.build.fields import RequestInvalid
from boxwright.build.outputs import Surroundings, wanted_outputs
from boxwright.build.progress import BuildWarning, StepFailure, StepStatus
from boxwright.build.request import FLAGS, BuildFailed, BuildRequest, BuildResult, Output
from boxwright.cli.main import main
from boxwright.content.layout import Layout
from boxwright.errors import Invalid
from boxwright.files.disk import DiskFull
from support.layer import make_tar, member
from support.registry import FakeRegistry

TEXT = b"FROM scratch\nARG TARGETARCH\nADD tree.tar /\nCOPY <<E /for-$TARGETARCH\ntext\nE\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    members = (
        member("d", kind=tarfile.DIRTYPE, mode=0o1777, mtime=60),
        member("d/f", data=b"one", mode=0o4755, mtime=61),
        member("d/h", kind=tarfile.LNKTYPE, linkname="d/f"),
        member("d/l", kind=tarfile.SYMTYPE, linkname="f", mtime=62),
        member("d/p", kind=tarfile.FIFOTYPE, mode=0o640, mtime=63),
        member("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
    )
    (directory / "tree.tar").write_bytes(make_tar(*members))
    return directory


def build(engine: Engine, context: Path, *outputs: str, **more: Any) -> BuildResult:
    return engine.build(context=context, dockerfile_data=TEXT, outputs=options.outputs(outputs), **more)


def names(engine: Engine) -> list[str]:
    return sorted(
        name for row in engine.services.images_store.rows() for name in row.names if "@" not in name
    )


# --- what is taken -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=other", "unknown output type 'other'"),
        ("type=image,nam=x", "type=image does not take 'nam'"),
        ("type=image,dest=x", "type=image does not take 'dest'"),
        ("type=local,dest=x,name=y", "type=local does not take 'name'"),
        ("type=tar,dest=x,compression=zstd", "type=tar does not take 'compression'"),
        ("type=docker,context=desktop", "context='desktop' is another engine"),
        ("type=oci,dest=x,context=default", "type=oci does not take 'context'"),
        ("type=cacheonly,dest=x", "type=cacheonly does not take 'dest'"),
        ("type=local,dest=x,annotation.a=b", "type=local does not take 'annotation.a'"),
        ("type=image,annotation-index.a=b", "index annotations not supported for single platform export"),
        ("type=image,annotation[linux/s390x].a=b", "no platform linux/s390x found in source"),
        ("type=image,annotation-layer.a=b", "unknown annotation type 'layer'"),
        ("type=image,annotation.a=b,oci-mediatypes=false", "cannot export annotations"),
        ("type=image,compression=zstd,oci-mediatypes=false", 'zstd" conflicts with "oci-mediatypes=false"'),
        ("type=image,oci-artifact=true,oci-mediatypes=false", "conflicts with"),
        ("type=image,compression=lz4", "unsupported compression type lz4"),
        ("type=image,compression-level=10", "too high for gzip"),
        ("type=image,compression=uncompressed,compression-level=1", "has no level"),
        ("type=image,source-date-epoch=now", "source-date-epoch='now' is no number"),
        ("type=image,source-date-epoch=253402300800", "is no number from 0 to 253402300799"),
        ("type=local,dest=x,source-date-epoch=" + "9" * 5000, "is no number from 0"),
        ("type=image,compression-level=" + "9" * 5000, "is no number from 0"),
        ("type=image,push=maybe", "push='maybe' is neither true nor false"),
        ("type=registry,name=x,compression-level=high", "compression-level='high' is no number"),
        ("type=registry", "tag is needed when pushing"),
        ("type=image,name=A B", "invalid reference"),
        ("type=oci,tar=false", "needs dest=PATH"),
        ("type=oci,dest=/", "/ is a directory"),
        ("type=oci,dest=nowhere/x", "the directory nowhere of dest=nowhere/x does not exist"),
        ("type=tar,dest=nowhere/x", "the directory nowhere of dest=nowhere/x does not exist"),
        ("type=docker,dest=/dev/null/x", "the directory /dev/null of dest=/dev/null/x does not exist"),
        ("type=local,dest=/dev/null", "/dev/null is no directory"),
        ("type=local,dest=x,mode=move", "mode='move' is neither copy nor delete"),
        ("type=local,dest=/srv/x,mode=delete", "requires --allow=buildx.local.delete"),
        ("type=oci,tar=false,dest=-", "needs dest=PATH"),
        ("type=local", "type=local is a directory and needs dest=PATH"),
        ("type=local,dest=-", "needs dest=PATH"),
        ("type=oci,dest=x,tar=perhaps", "tar='perhaps' is neither true nor false"),
        ("type=tar,dest=x,platform-split=perhaps", "platform-split='perhaps' is neither"),
    ],
)
def test_what_has_no_effect_is_refused_before_anything_is_done(
    engine: Engine, context: Path, text: str, message: str
) -> None:
    heard: list[Any] = []
    with pytest.raises(Invalid, match=message):
        build(engine, context, text, progress=heard.append)
    assert heard == []
    assert engine.services.images_store.rows() == []


@pytest.mark.parametrize("name", FLAGS)
def test_a_build_argument_that_is_neither_true_nor_false(engine: Engine, context: Path, name: str) -> None:
    with pytest.raises(RequestInvalid, match=f"{name}=perhaps is neither true nor false"):
        build(engine, context, build_args={name: "perhaps"})
    for text, value in (("T", True), ("0", False), ("", False)):
        assert BuildRequest(build_args={name: text}).flag(name) is value


def test_two_outputs_cannot_share_a_place(tmp_path: Path) -> None:
    """However it is written; what takes both, as a pipe does, is no place that one would have alone."""
    (tmp_path / "link").symlink_to(tmp_path / "a.tar")
    os.mkfifo(tmp_path / "pipe")
    one = f"type=tar,dest={tmp_path}/a.tar"
    for other in (f"type=oci,dest={tmp_path}/./a.tar", f"type=docker,dest={tmp_path}/link", one):
        with pytest.raises(RequestInvalid, match="two outputs are to be written to"):
            wanted_outputs(options.outputs([one, other]), Surroundings())
    with pytest.raises(RequestInvalid, match="two outputs"):
        wanted_outputs(options.outputs([str(tmp_path), str(tmp_path)]), Surroundings())
    both = [f"type=tar,dest={tmp_path}/pipe", f"type=oci,dest={tmp_path}/pipe"]
    assert len(wanted_outputs(options.outputs(both), Surroundings()).outputs) == 2


def test_two_outputs_cannot_share_standard_output() -> None:
    with pytest.raises(RequestInvalid, match="only one output"):
        wanted_outputs(options.outputs(["-", "type=oci,dest=-"]), Surroundings())


def test_the_short_forms() -> None:
    assert options.outputs([]) == ()
    assert options.outputs([], push=True) == (Output("registry"),)
    assert options.outputs([], load=True) == (Output("docker"),)
    here = wanted_outputs(options.outputs(["type=docker,context=default"]), Surroundings())
    assert here == wanted_outputs(options.outputs([], load=True), Surroundings())
    assert options.outputs(["type=image,name=x", "out"], push=True) == (
        Output("image", "", {"name": "x", "push": "true"}),
        Output("local", "out"),
    )
    assert options.outputs(["out"], push=True) == (Output("local", "out"), Output("registry"))


# --- names and pushes --------------------------------------------------------------------------


def test_an_output_names_the_image(engine: Engine, context: Path) -> None:
    result = build(engine, context, 'type=image,"name=one,r.example/two:3"', tags=("zero",))
    assert names(engine) == [
        "docker.io/library/one:latest",
        "docker.io/library/zero:latest",
        "r.example/two:3",
    ]
    assert sorted(result.names) == names(engine)


def test_pushed_is_pushed(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    """Each name is in its registry, and the result names what the registry has."""
    heard: list[Any] = []
    where = f"{registry.host}/lib/app"
    output = f"type=image,push=true,name={where}:1"
    result = build(engine, context, output, progress=heard.append, default_attestations=False)
    media_type, raw = registry.manifests["lib/app"]["1"]
    assert registry.manifests["lib/app"][result.target] == (media_type, raw)
    assert result.descriptor == {
        "mediaType": media_type,
        "digest": result.target,
        "size": len(raw),
        "platform": {"architecture": "amd64", "os": "linux"},
    }
    assert [(o.type, o.pushed, o.target) for o in result.outputs] == [("image", True, result.target)]
    assert json.loads(raw)["config"]["digest"] == result.image_id
    pushing = [e for e in heard if isinstance(e, StepStatus) and e.step.startswith("pushing")]
    assert pushing[-1].id == f"pushing manifest for {where}:1@{result.target}"
    blobs = {
        event.id: event.current for event in pushing[:-1] if event.done and event.id.startswith("sha256:")
    }
    body = json.loads(raw)
    assert len(blobs) == len(body["layers"]) + 1
    moved = [event for event in pushing if event.id == "pushing layers"][-1]
    assert moved.done and moved.current == sum(blobs.values())
    assert moved.current == body["config"]["size"] + sum(layer["size"] for layer in body["layers"])
    build(engine, context, "type=registry,compression=zstd", tags=(f"{where}:2",), default_attestations=False)
    assert "zstd" in registry.manifests["lib/app"]["2"][1].decode()
    build(engine, context, f"type=registry,push=false,name={where}:3")
    assert set(registry.manifests["lib/app"]) >= {"1", "2"} and "3" not in registry.manifests["lib/app"]


def test_a_push_that_fails_is_a_build_that_fails(
    engine: Engine, context: Path, registry: FakeRegistry
) -> None:
    registry.basic = ("me", "secret")
    with pytest.raises(BuildFailed, match="failed to solve"):
        build(engine, context, "type=registry", tags=(f"{registry.host}/lib/app:1",))


def test_the_metadata_file_names_what_was_pushed(
    context: Path,
    registry: FakeRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    (context / "Dockerfile").write_bytes(TEXT)
    name = f"{registry.host}/lib/app:1"
    words = ["build", "-t", name, "--push", "--metadata-file", str(tmp_path / "meta"), str(context)]
    assert main(words) == 0
    meta = json.loads((tmp_path / "meta").read_text())
    digest = meta["containerimage.digest"]
    assert registry.manifests["lib/app"][digest] == registry.manifests["lib/app"]["1"]
    assert meta["containerimage.descriptor"]["digest"] == digest and meta["image.name"] == name
    assert f"pushing manifest for {name}@{digest} done" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("said", "platforms", "keys"),
    [
        ("", "linux/amd64", {"buildx.build.provenance"}),
        ("max", "linux/amd64", {"buildx.build.provenance"}),
        (
            "min",
            "linux/amd64,linux/arm64",
            {"buildx.build.provenance/linux/amd64", "buildx.build.provenance/linux/arm64"},
        ),
        ("disabled", "linux/amd64", set()),
        ("0", "linux/amd64", set()),
    ],
)
def test_the_metadata_tell_how_it_came_to_be(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, platforms: str, keys: set[str]
) -> None:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("BUILDX_METADATA_PROVENANCE", said)
    (context / "Dockerfile").write_bytes(TEXT)
    words = ["build", "-q", "--platform", platforms, "-o", "type=cacheonly"]
    assert main([*words, "--metadata-file", str(tmp_path / "meta"), str(context)]) == 0
    meta = json.loads((tmp_path / "meta").read_text())
    assert set(meta) == keys | {"buildx.build.ref"}
    for key in keys:
        told = meta[key]["buildDefinition"]
        assert told["internalParameters"]["builderPlatform"].startswith("linux/")
        assert ("buildConfig" in json.dumps(told)) == (said == "max")


# --- archives ----------------------------------------------------------------------------------


def test_names_in_archives(engine: Engine, context: Path, tmp_path: Path) -> None:
    build(
        engine,
        context,
        f"type=oci,dest={tmp_path}/o.tar,name=mine:1",
        f"type=docker,dest={tmp_path}/d.tar,name=yours",
    )
    for file, name in (("o.tar", "mine:1"), ("d.tar", "yours:latest")):
        with tarfile.open(tmp_path / file) as tar:
            body = tar.extractfile("manifest.json")
            assert body is not None and json.load(body)[0]["RepoTags"] == [name]


def test_an_oci_output_can_be_a_directory(engine: Engine, context: Path, tmp_path: Path) -> None:
    result = build(engine, context, f"type=oci,tar=false,dest={tmp_path}/layout", tags=("app:7",))
    layout = Layout(tmp_path / "layout")
    assert str(layout.resolve("7").digest) == result.target == str(layout.resolve("").digest)
    with layout.open(layout.resolve("7")) as body:
        assert json.load(body)["config"]["digest"] == result.image_id


def test_a_failed_output_leaves_no_file(
    engine: Engine, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boxwright.layer.write import TarBuilder

    def full(self: TarBuilder) -> None:
        raise OSError(28, "No space left on device")

    build(engine, context)
    monkeypatch.setattr(TarBuilder, "finish", full)
    (tmp_path / "out").mkdir()
    for kind in ("oci", "tar"):
        with pytest.raises(BuildFailed, match=f"cannot write {tmp_path}/out/file: No space") as failed:
            build(engine, context, f"type={kind},dest={tmp_path}/out/file")
        assert isinstance(failed.value.cause, DiskFull) and "root" not in failed.value.hint
        assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("output", ["FILE/x", "type=oci,tar=false,dest=FILE/x"])
def test_a_place_that_cannot_be_written_to(
    engine: Engine, context: Path, tmp_path: Path, output: str
) -> None:
    """It fails as a step does: the history and the display have its sentence."""
    (tmp_path / "file").write_text("a file")
    events: list[object] = []
    with pytest.raises(BuildFailed, match=f"{tmp_path}/file/x: ") as failed:
        build(engine, context, output.replace("FILE", f"{tmp_path}/file"), progress=events.append)
    assert [e.message for e in events if isinstance(e, StepFailure)] == [str(failed.value.cause)]


def test_a_pipe_is_written_as_it_is(engine: Engine, context: Path, tmp_path: Path) -> None:
    import threading

    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    build(engine, context, f"type=tar,dest={tmp_path}/pipe")
    reader.join()
    assert (tmp_path / "pipe").is_fifo() and tarfile.open(fileobj=io.BytesIO(got[0])).getnames()


# --- files -------------------------------------------------------------------------------------


def test_several_platforms_in_one_tar(engine: Engine, context: Path, tmp_path: Path) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    build(engine, context, f"type=tar,dest={tmp_path}/t", f"{tmp_path}/d", platforms=platforms)
    with tarfile.open(tmp_path / "t") as tar:
        found = tar.getnames()
        assert tar.getmember("linux_arm64/d/h").linkname == "linux_arm64/d/f"
    for arch in ("amd64", "arm64"):
        top = f"linux_{arch}"
        assert {top, f"{top}/d/f", f"{top}/for-{arch}"} <= set(found)
        assert (tmp_path / "d" / top / f"for-{arch}").read_text() == "text\n"
    build(engine, context, f"type=tar,dest={tmp_path}/one,platform-split=true", platforms=platforms[:1])
    with tarfile.open(tmp_path / "one") as tar:
        assert "linux_amd64/d/f" in tar.getnames()


def test_a_directory_is_what_the_image_has(engine: Engine, context: Path, tmp_path: Path) -> None:
    """Times, hard links, sticky bits and FIFOs; no setuid bits, devices or files out of the directory."""
    out = tmp_path / "out"
    (out / "d/f").mkdir(parents=True)
    (out / "d/kept").write_text("kept")
    victim = tmp_path / "victim"
    victim.write_text("victim")
    (out / "d/l").symlink_to(victim)
    result = build(engine, context, str(out))
    found = {name: (out / name).lstat() for name in ("d", "d/f", "d/h", "d/l", "d/p")}
    assert {name: info.st_mtime for name, info in found.items()} == {
        "d": 60,
        "d/f": 61,
        "d/h": 61,
        "d/l": 62,
        "d/p": 63,
    }
    assert found["d/f"].st_ino == found["d/h"].st_ino
    assert stat.filemode(found["d"].st_mode) == "drwxrwxrwt"
    assert stat.filemode(found["d/f"].st_mode) == "-rwxr-xr-x"
    assert stat.filemode(found["d/p"].st_mode) == "prw-r-----"
    assert os.readlink(out / "d/l") == "f" and victim.read_text() == "victim"
    assert (out / "d/kept").exists() and not (out / "null").exists()
    assert [w.message for w in result.warnings] == [
        f"/null not written to {out}: devices and sockets have no place there (type=tar has devices)"
    ]


@pytest.mark.parametrize("link", ["linux_amd64", "linux_amd64/d"])
def test_a_link_in_a_directorys_place_does_not_lead_the_result_away(
    engine: Engine, context: Path, tmp_path: Path, link: str
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.mkdir()
    (victim / "f").write_text("victim")
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(os.path.relpath(victim, (out / link).parent))
    build(engine, context, f"type=local,dest={out},platform-split=true", platforms=("linux/amd64",))
    assert (out / "linux_amd64/d/f").is_file() and not (out / link).is_symlink()
    assert os.listdir(victim) == ["f"] and (victim / "f").read_text() == "victim"


def test_a_file_of_a_directory_is_there_when_it_is_whole(
    engine: Engine, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boxwright.build import directory

    def full(source: object, target: object, length: int) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    (out / "d/f").write_text("before")
    with monkeypatch.context() as m:
        m.setattr(directory.shutil, "copyfileobj", full)
        with pytest.raises(BuildFailed, match=f"cannot write {out}: No space"):
            build(engine, context, str(out))
    assert (out / "d/f").read_text() == "before" and os.listdir(out / "d") == ["f"]


def test_builds_write_to_one_directory(engine: Engine, context: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    out = tmp_path / "out"
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(build, engine, context, str(out)) for _ in range(12)]:
            done.result()
    assert sorted(os.listdir(out / "d")) == ["f", "h", "l", "p"]


def test_warnings_are_in_the_result(engine: Engine) -> None:
    result = engine.build(dockerfile_data=b"FROM scratch as x\nMAINTAINER me\n")
    assert {(w.rule, w.line) for w in result.warnings} == {("FromAsCasing", 1), ("MaintainerDeprecated", 2)}
    assert all(isinstance(w, BuildWarning) for w in result.warnings)
