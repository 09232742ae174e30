"""What is said of a build's result: beside an image as BuildKit lays it out, in files beside files."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.build.attest.asked import (
    Attestations,
    Provenance,
    artifact_attestations,
    attestations,
    given,
    scanned,
)
from boxwright.build.fields import RequestInvalid
from boxwright.build.options import outputs, request_of
from boxwright.build.request import Attest, BuildResult
from boxwright.errors import Invalid, Unsupported
from boxwright.spec import intoto
from boxwright.spec.digest import Digest
from support import sbom as files
from support.gitserver import git
from support.registry import FakeRegistry

TEXT = b"FROM scratch AS one\nARG V\nCOPY status /var/lib/dpkg/status\nFROM one\nCOPY bin /bin\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "bin").mkdir(parents=True)
    (folder / "status").write_bytes(files.DPKG)
    (folder / "bin/app").write_bytes(files.go_program())
    (folder / "bin/app").chmod(0o755)
    return folder


def build(engine: Engine, context: Path, *texts: str, **more: Any) -> BuildResult:
    return engine.build(context=context, dockerfile_data=TEXT, outputs=outputs(texts), **more)


class Pushed:
    """An image in the registry: its index, and what is said of each of its images."""

    def __init__(self, registry: FakeRegistry, tag: str) -> None:
        self._manifests, self._blobs = registry.manifests["lib/app"], registry.blobs["lib/app"]
        self.index = json.loads(self._manifests[tag][1])
        self.images = [e for e in self.index["manifests"] if e["platform"]["os"] != "unknown"]
        self.entries = [e for e in self.index["manifests"] if e["platform"]["os"] == "unknown"]
        self.manifests = [json.loads(self._manifests[e["digest"]][1]) for e in self.entries]

    def statements(self, number: int = 0) -> list[dict[str, Any]]:
        found = []
        for layer in self.manifests[number]["layers"]:
            assert layer["mediaType"] == "application/vnd.in-toto+json"
            statement = json.loads(self._blobs[layer["digest"]])
            assert layer["annotations"] == {"in-toto.io/predicate-type": statement["predicateType"]}
            found.append(statement)
        return found

    def config(self, number: int = 0) -> Any:
        return json.loads(self._blobs[self.manifests[number]["config"]["digest"]])


# --- what is asked for -------------------------------------------------------------------------


def test_forms() -> None:
    none: dict[str, str] = {}
    assert attestations((), none) == Attestations()
    assert attestations((), none, by_default=True) == Attestations(provenance=Provenance(inline_only=True))
    for texts in ({"provenance": "false"}, {"attest": ["type=provenance,disabled=true"]}):
        assert not attestations(given(**{"attest": [], **texts}), none, by_default=True)
    asked = given(
        ["type=provenance,mode=min", "type=sbom"], "mode=max,version=v0.2,builder-id=x,reproducible=1"
    )
    whole = Provenance(version="v0.2", mode="max", builder_id="x", reproducible=True)
    assert attestations(asked, none) == Attestations(provenance=whole, sbom=True)
    assert attestations(given([], "", "generator=builtin"), none).sbom
    assert attestations((), {"BUILDKIT_ATTEST_SBOM": ""}).sbom


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["mode=max"], "attestation type not specified"),
        (["type=vex"], "unknown attestation type 'vex'"),
        (["type=provenance,mode=most"], "invalid mode 'most'"),
        (["type=provenance,version=v2"], "invalid provenance version 'v2'"),
        (["type=provenance,reproducible=perhaps"], "neither true nor false"),
        (["type=provenance,filename=../x"], "it is a name and no path"),
        (["type=provenance,generator=x"], "type=provenance does not take 'generator'"),
        (["type=sbom,mode=max"], "type=sbom does not take 'mode'"),
        (
            ["type=sbom,generator=docker/scout"],
            "generator=docker/scout: bills of materials are made by the built-in",
        ),
    ],
)
def test_what_has_no_effect_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises((Invalid, Unsupported), match=message):
        attestations(given(texts), {})


def test_forms_of_the_sdk() -> None:
    request = request_of(
        None, {"provenance": "mode=max", "sbom": True, "attest": "type=provenance,version=v1"}
    )
    assert request.attests == (
        Attest("provenance", {"version": "v1"}),
        Attest("provenance", {"mode": "max"}),
        Attest("sbom", {"disabled": "false"}),
    )
    with pytest.raises(Invalid):
        request_of(None, {"provenance": 3})


def test_stages_that_are_scanned() -> None:
    assert scanned("true", "x") and scanned("a,x", "x")
    assert not scanned("", "x") and not scanned("a", "x") and not scanned("0", "0")


# --- beside an image ---------------------------------------------------------------------------


def test_a_push_says_how_it_was_built(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    """As buildx does without being asked, and only then: the local image has none."""
    where = f"{registry.host}/lib/app"
    result = build(engine, context, "type=registry", tags=(f"{where}:1",))
    pushed = Pushed(registry, "1")
    (image,), (entry,) = pushed.images, pushed.entries
    assert entry["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert entry["annotations"] == {
        "vnd.docker.reference.digest": image["digest"],
        "vnd.docker.reference.type": "attestation-manifest",
    }
    assert registry.manifests["lib/app"][result.target][1] == registry.manifests["lib/app"]["1"][1]
    (manifest,) = pushed.manifests
    assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert manifest["subject"]["digest"] == image["digest"] and pushed.config() == {}
    (statement,) = pushed.statements()
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    algorithm, _, hexed = image["digest"].partition(":")
    name = f"pkg:docker/{registry.host}/lib/app@1?platform={image['platform']['os']}%2F{image['platform']['architecture']}"
    assert statement["subject"] == [{"name": name, "digest": {algorithm: hexed}}]
    assert "tar+gzip" in registry.manifests["lib/app"][image["digest"]][1].decode()
    for option in ({"default_attestations": False}, {"provenance": False}):
        build(engine, context, "type=registry", tags=(f"{where}:2",), **option)
        assert "layers" in json.loads(registry.manifests["lib/app"]["2"][1])


def test_the_local_image_has_them_when_asked(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    """What is pushed later is said of what the registry gets: compressed layers make another manifest."""
    assert build(engine, context, tags=("plain",)).descriptor["mediaType"].endswith("manifest.v1+json")
    name = f"{registry.host}/lib/app:1"
    result = build(engine, context, tags=(name,), sbom=True, provenance="version=v0.2")
    assert result.descriptor["mediaType"] == "application/vnd.oci.image.index.v1+json"
    engine.images.push(name)
    pushed = Pushed(registry, "1")
    here = engine.services.images_store.read(
        engine.services.images_store.descriptor(engine.services.images_store.resolve(name))
    )
    assert str(here.references()[0].digest) != pushed.images[0]["digest"]
    sbom, provenance = pushed.statements()
    assert sbom["subject"] == provenance["subject"]
    assert "sha256:" + sbom["subject"][0]["digest"]["sha256"] == pushed.images[0]["digest"]
    assert {p["name"] for p in sbom["predicate"]["packages"]} >= {"libc6", "login", "golang.org/x/sys"}
    assert provenance["predicate"]["buildType"] == "https://mobyproject.org/buildkit@v1"


def test_several_platforms(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    build(engine, context, "type=registry", tags=(f"{registry.host}/lib/app:1",), platforms=platforms)
    pushed = Pushed(registry, "1")
    assert [e["platform"]["os"] for e in pushed.index["manifests"]] == [
        "linux",
        "linux",
        "unknown",
        "unknown",
    ]
    for number, image in enumerate(pushed.images):
        assert pushed.entries[number]["annotations"]["vnd.docker.reference.digest"] == image["digest"]
        (subject,) = pushed.statements(number)[0]["subject"]
        assert image["platform"]["architecture"] in subject["name"]
        assert "sha256:" + subject["digest"]["sha256"] == image["digest"]


@pytest.mark.parametrize("asked", ["option", "environment"])
def test_in_the_form_of_an_image(engine: Engine, context: Path, registry: FakeRegistry, asked: str) -> None:
    name = f"{registry.host}/lib/app:1"
    if asked == "option":
        build(engine, context, f"type=registry,oci-artifact=false,name={name}")
    else:
        build(
            engine,
            context,
            f"type=registry,name={name}",
            artifact_attestations=artifact_attestations({"BUILDX_NO_DEFAULT_OCI_ARTIFACT": "1"}),
        )
    pushed = Pushed(registry, "1")
    (manifest,) = pushed.manifests
    assert "subject" not in manifest and "artifactType" not in manifest
    assert pushed.config() == {
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in manifest["layers"]]},
    }


def test_attestations_survive_the_collector(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    name = f"{registry.host}/lib/app:1"
    build(engine, context, "type=registry", tags=(name,), sbom=True)
    engine.builds.prune(everything=True)
    engine.images.prune()
    assert not engine.system.fsck()
    engine.images.push(name)
    engine.images.tag(name, f"{registry.host}/lib/other:1")
    engine.images.push(f"{registry.host}/lib/other:1")
    one, two = (Pushed(registry, "1"), registry.manifests["lib/other"]["1"])
    assert json.loads(two[1]) == one.index and len(one.statements()) == 2


def test_dockers_media_types_have_no_attestations(
    engine: Engine, context: Path, registry: FakeRegistry
) -> None:
    """What a push has by default is left out; what was asked for is refused."""
    output = f"type=registry,oci-mediatypes=false,name={registry.host}/lib/app:1"
    build(engine, context, output)
    assert "docker" in json.loads(registry.manifests["lib/app"]["1"][1])["mediaType"]
    assert "layers" in json.loads(registry.manifests["lib/app"]["1"][1])
    for option in ({"sbom": True}, {"provenance": True}):
        with pytest.raises(Invalid, match="cannot export attestations with"):
            build(engine, context, output, **option)


# --- provenance --------------------------------------------------------------------------------


def provenance(engine: Engine, context: Path, tmp_path: Path, text: str, **more: Any) -> Any:
    build(engine, context, f"{tmp_path}/out", provenance=text, **more)
    return json.loads((tmp_path / "out/provenance.json").read_text())["predicate"]


def test_min_and_max(engine: Engine, context: Path, tmp_path: Path) -> None:
    args = {"V": "2", "http_proxy": "http://me:secret@proxy:1", "URL": "https://me:secret@h/x"}
    least = provenance(engine, context, tmp_path, "true", build_args=args)
    assert least["buildDefinition"] == {
        "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
        "externalParameters": {
            "configSource": {"path": "Dockerfile"},
            "request": {"frontend": "dockerfile.v0", "locals": [{"name": "context"}, {"name": "dockerfile"}]},
        },
        "internalParameters": {
            "builderPlatform": least["buildDefinition"]["internalParameters"]["builderPlatform"]
        },
    }
    run = least["runDetails"]["metadata"]
    assert run["buildkit_completeness"] == {"request": False, "resolvedDependencies": False}
    assert run["startedOn"] < run["finishedOn"] and len(run["invocationId"]) == 25
    most = provenance(engine, context, tmp_path, "mode=max,builder-id=ci,reproducible=true", build_args=args)
    request = most["buildDefinition"]["externalParameters"]["request"]
    assert request["args"] == {"build-arg:URL": "https://h/x", "build-arg:V": "2"}
    steps = most["buildDefinition"]["internalParameters"]["buildConfig"]["llbDefinition"]
    assert [step["op"]["Op"]["file"]["actions"][0]["Action"]["copy"]["dest"] for step in steps] == [
        "/var/lib/dpkg/status",
        "/bin",
    ]
    assert steps[1]["inputs"] == ["step0:0"]
    assert (
        most["runDetails"]["builder"] == {"id": "ci"}
        and most["runDetails"]["metadata"]["buildkit_reproducible"]
    )
    (info,) = most["runDetails"]["metadata"]["buildkit_metadata"]["source"]["infos"]
    assert base64.b64decode(info["data"]) == TEXT
    assert "secret" not in json.dumps(most)


def test_materials(engine: Engine, context: Path, tmp_path: Path) -> None:
    """Base images and downloads, with what they were."""
    base = build(engine, context, tags=("base:7",))
    (tmp_path / "out").mkdir()
    engine.build(
        context=context,
        dockerfile_data=b"FROM base:7\nCOPY --from=base:7 /bin /b\n",
        outputs=outputs([f"{tmp_path}/out"]),
        provenance="version=v0.2",
    )
    told = json.loads((tmp_path / "out/provenance.json").read_text())["predicate"]
    (material,) = told["materials"]
    assert material["uri"].startswith("pkg:docker/base@7?platform=linux%2F")
    assert "sha256:" + material["digest"]["sha256"] == base.target
    assert told["metadata"]["completeness"] == {"parameters": False, "environment": True, "materials": False}


def test_the_commit_of_the_context(engine: Engine, context: Path, tmp_path: Path) -> None:
    """Read from the repository's files, packed or not; its password is not told."""

    git(context, "init", "-q")
    git(context, "add", ".")
    git(context, "commit", "-qm", "x")
    git(context, "remote", "add", "origin", "https://me:secret@example.org/x.git")
    revision = git(context, "rev-parse", "HEAD")
    wanted = {
        "localdir:context": ".",
        "localdir:dockerfile": ".",
        "revision": revision,
        "source": "https://example.org/x.git",
    }
    for change in ((), ("pack-refs", "--all"), ("checkout", "-q", "--detach")):
        if change:
            git(context, *change)
        told = provenance(engine, context, tmp_path, "true")
        assert told["runDetails"]["metadata"]["buildkit_metadata"]["vcs"] == wanted
    (context / ".git/HEAD").write_text("ref: refs/../../../etc/passwd\n")
    told = provenance(engine, context, tmp_path, "true")
    assert told["runDetails"]["metadata"]["buildkit_metadata"] == {}


# --- files -------------------------------------------------------------------------------------


def test_files_beside_files(engine: Engine, context: Path, tmp_path: Path) -> None:
    build(
        engine,
        context,
        f"type=local,dest={tmp_path}/d,attestation-prefix=of-",
        f"type=tar,dest={tmp_path}/t",
        sbom=True,
        provenance=True,
        build_args={"BUILDKIT_SBOM_SCAN_STAGE": "one", "BUILDKIT_SBOM_SCAN_CONTEXT": "true"},
    )
    names = {"sbom.spdx.json", "sbom-build-one.spdx.json", "sbom-build-context.spdx.json", "provenance.json"}
    assert {p.name for p in (tmp_path / "d").iterdir() if p.is_file()} == {f"of-{name}" for name in names}
    with tarfile.open(tmp_path / "t") as tar:
        assert names <= set(tar.getnames())
    statement = json.loads((tmp_path / "d/of-sbom.spdx.json").read_text())
    assert [s["name"] for s in statement["subject"]] == ["bin/app", "var/lib/dpkg/status"]
    one = json.loads((tmp_path / "d/of-sbom-build-one.spdx.json").read_text())["predicate"]
    assert {p["name"] for p in one["packages"]} == {"sbom-build-one", "libc6", "login"}


def test_files_have_none_by_default(
    engine: Engine, context: Path, registry: FakeRegistry, tmp_path: Path
) -> None:
    """What is only said because an image is pushed is not written beside the files of another output."""
    build(engine, context, f"{tmp_path}/d", "type=registry", tags=(f"{registry.host}/lib/app:1",))
    assert Pushed(registry, "1").entries
    assert not list((tmp_path / "d").glob("*.json"))


def test_platforms_have_their_own(engine: Engine, context: Path, tmp_path: Path) -> None:
    build(engine, context, f"{tmp_path}/d", platforms=("linux/amd64", "linux/arm64"), provenance=True)
    assert len(list((tmp_path / "d").glob("linux_*/provenance.json"))) == 2


def test_platforms_in_one_directory_have_their_own(engine: Engine, context: Path, tmp_path: Path) -> None:
    engine.build(
        context=context,
        dockerfile_data=b"FROM scratch\nARG TARGETARCH\nCOPY status /$TARGETARCH\n",
        outputs=outputs([f"type=local,dest={tmp_path}/d,platform-split=false"]),
        platforms=("linux/amd64", "linux/arm64"),
        provenance=True,
    )
    for arch in ("amd64", "arm64"):
        statement = json.loads((tmp_path / f"d/provenance.linux_{arch}.json").read_text())
        assert [s["name"] for s in statement["subject"]] == [arch]
    assert len(list((tmp_path / "d").iterdir())) == 4


def test_a_prefix_is_no_path(engine: Engine, context: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="no path"):
        build(engine, context, f"type=local,dest={tmp_path}/d,attestation-prefix=../x")
    assert not (tmp_path / "d").exists()


# --- statements --------------------------------------------------------------------------------


def test_a_statement_moves_to_another_digest() -> None:
    old, new = Digest.of(b"old"), Digest.of(b"new")
    raw = intoto.statement("t", [intoto.Subject("a", old), intoto.Subject("b", new)], {"x": 1})
    body = json.loads(intoto.moved(raw, old, new))
    assert [s["digest"]["sha256"] for s in body["subject"]] == [new.hex, new.hex]
    assert body["predicate"] == {"x": 1}
    for wild in (
        b"",
        b"[]",
        b'{"predicateType": 1}',
        b'{"predicateType": "x", "subject": 1}',
        b"[" * 100_000,
    ):
        with pytest.raises(intoto.StatementInvalid):
            intoto.moved(wild, old, new)


@pytest.mark.parametrize("platforms", [(), ("linux/amd64", "linux/arm64")])
@pytest.mark.parametrize("kind", ["local", "tar"])
def test_files_have_the_time_of_the_others(
    engine: Engine, context: Path, tmp_path: Path, kind: str, platforms: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    epoch = 1_700_000_000
    options: dict[str, Any] = {"platforms": platforms} if platforms else {}
    build(engine, context, f"type={kind},dest={out}", provenance=True, source_date_epoch=epoch, **options)
    if kind == "tar":
        with tarfile.open(out) as tar:
            times = {member.name: member.mtime for member in tar}
    else:
        times = {str(path.relative_to(out)): int(path.stat().st_mtime) for path in out.rglob("*")}
    assert sum(name.endswith("provenance.json") for name in times) == max(len(platforms), 1)
    assert set(times.values()) == {epoch}
