"""Caches that travel, from one machine to another that knows nothing: what is used again, what moves, what is not
believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from boxwright.build.cache import OWN_INLINE
from boxwright.build.metadata import metadata
from boxwright.build.remotecache import config as cacheconfig
from boxwright.build.remotecache.options import parse_all
from boxwright.build.request import BuildFailed
from boxwright.spec.digest import Digest
from support.caches import Machines, lay_out, machines, put_base
from support.gha import github
from support.registry import FakeRegistry, Request, Response
from support.s3 import s3

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Machines]:
    with machines(tmp_path / "roots") as made:
        yield made


@pytest.fixture
def context(tmp_path: Path, registry: FakeRegistry) -> Path:
    return lay_out(tmp_path / "context", put_base(registry))


def moved(registry: FakeRegistry, *, config: str = "") -> list[str]:
    """The blobs that were fetched, without this one."""
    found = [r.path.rpartition("/")[2] for r in registry.requests("GET", "/blobs/sha256:")]
    return [digest for digest in found if digest != config]


def cache_config(registry: FakeRegistry, repository: str, tag: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A cache's manifest and config."""
    manifest = json.loads(registry.manifests[repository][tag][1])
    config = manifest.get("config") or manifest["manifests"][-1]
    return manifest, json.loads(registry.blobs[repository][config["digest"]])


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("kind", ["registry", "list", "docker", "local", "s3", "gha"])
def test_another_machine_finds_every_step(
    kind: str, mode: str, room: Machines, context: Path, registry: FakeRegistry, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        there = {
            "registry": f"type=registry,ref={registry.host}/app:cache",
            "list": f"type=registry,ref={registry.host}/app:cache",
            "docker": f"type=registry,ref={registry.host}/app:cache",
            "local": f"type=local,src={tmp_path}/cache",
        }.get(kind) or (
            stack.enter_context(s3()).options(prefix="some/")
            if kind == "s3"
            else stack.enter_context(github()).options(scope="mine")
        )
        to = there.replace(",src=", ",dest=") + f",mode={mode}"
        to += {"list": ",image-manifest=false", "docker": ",oci-mediatypes=false"}.get(kind, "")
        first = room.build(context, cache_to=[to], tags=["app"])
        assert len(first.ran) == 5
        second = room.build(context, cache_from=[there], tags=["app"])
    assert second.ran == [] and second.failed == [] and second.warned == []
    assert second.result.image_id == first.result.image_id
    assert (
        second.files("app")
        == first.files("app")
        == {
            "/out.txt": b"a\n",
            "/linked.txt": b"b\n",
            "/lib/x": b"x" * 500,
        }
    )
    # What was fetched is a record of this machine from now on; layers of other stages were not.
    third = room.build(context, engine=second.engine, tags=["again"])
    assert third.ran == ["[build 2/3] WORKDIR /src", "[build 3/3] COPY a.txt more/ ./"]


@pytest.mark.parametrize("spelling", ["option", "argument"])
def test_an_image_carries_its_own_cache(
    spelling: str, room: Machines, context: Path, registry: FakeRegistry
) -> None:
    inline: dict[str, Any] = (
        {"cache_to": ["type=inline"]}
        if spelling == "option"
        else {"build_args": {"BUILDKIT_INLINE_CACHE": "1"}}
    )
    name = f"{registry.host}/app:1"
    first = room.build(context, tags=[name], outputs=["type=registry"], **inline)
    second = room.build(context, cache_from=[name], tags=["app"])
    assert first.ran and second.ran == []
    raw = registry.blobs["app"][first.result.image_id]
    assert OWN_INLINE in json.loads(raw)
    plain = room.build(context, tags=["app"])
    config = plain.engine.services.images_store.resolve_platform("app").config
    assert OWN_INLINE not in config.extra
    # An image that is built on it does not carry it on.
    onward = lay_out(context.parent / "onward", name, {}, "FROM {base}\nWORKDIR /x\n")
    config = (
        room.build(onward, tags=["onward"]).engine.services.images_store.resolve_platform("onward").config
    )
    assert OWN_INLINE not in config.extra


def test_a_hit_that_is_pushed_moves_no_layer(room: Machines, context: Path, registry: FakeRegistry) -> None:
    name = f"{registry.host}/app:1"
    first = room.build(
        context,
        tags=[name],
        outputs=["type=registry"],
        cache_to=[f"type=registry,ref={registry.host}/app:cache,mode=max"],
    )
    manifest, _ = cache_config(registry, "app", "cache")
    base = json.loads(registry.manifests["base"]["1"][1])
    registry.log.clear()
    other = f"{registry.host}/other:1"
    second = room.build(
        context, tags=[other], outputs=["type=registry"], cache_from=[f"{registry.host}/app:cache"]
    )
    assert second.ran == [] and second.result.image_id == first.result.image_id
    assert set(moved(registry)) == {manifest["config"]["digest"], base["config"]["digest"]}
    index = json.loads(registry.manifests["other"]["1"][1])  # with what is said of how it was built
    pushed = json.loads(registry.manifests["other"][index["manifests"][0]["digest"]][1])
    assert [m.get("platform", {}).get("os") for m in index["manifests"]] == ["linux", "unknown"]
    mounted = [r.query["mount"][0] for r in registry.requests("POST") if "mount" in r.query]
    assert sorted(mounted) == sorted(layer["digest"] for layer in pushed["layers"])
    assert (
        second.engine.images.list() == []
    )  # an image in the store has its layers; this one is in its registry


@pytest.mark.parametrize("linked", [False, True])
def test_a_hit_that_other_builds_use_comes_here(
    room: Machines, context: Path, registry: FakeRegistry, linked: bool
) -> None:
    """Bake's linked targets: what others are built on is in the store, whole, although it is only pushed."""
    cache = f"type=registry,ref={registry.host}/app:cache,mode=max"
    name = f"{registry.host}/app:1"
    room.build(context, tags=[name], outputs=["type=registry"], cache_to=[cache])
    second = room.build(
        context,
        tags=[f"{registry.host}/other:1"],
        outputs=["type=registry"],
        cache_from=[f"{registry.host}/app:cache"],
        linked=linked,
    )
    assert second.ran == [] and bool(second.result.stored) is linked
    assert not linked or second.engine.images.inspect(second.result.stored)["RootFS"]["Layers"]


def test_layers_come_when_a_step_reads_them(room: Machines, context: Path, registry: FakeRegistry) -> None:
    room.build(context, cache_to=[f"type=registry,ref={registry.host}/app:cache,mode=max"])
    registry.log.clear()
    (context / "b.txt").write_text("other\n")
    second = room.build(context, cache_from=[f"{registry.host}/app:cache"], outputs=["type=cacheonly"])
    assert second.ran == ["[stage-1 4/4] COPY --link b.txt /linked.txt"]
    manifest, _ = cache_config(registry, "app", "cache")
    assert (
        moved(registry, config=manifest["config"]["digest"])[1:] == []
    )  # --link reads nothing below: one config
    (context / "a.txt").write_text("other\n")
    third = room.build(context, cache_from=[f"{registry.host}/app:cache"], tags=["app"])
    assert third.files("app")["/out.txt"] == b"other\n"


LIES = {
    "other bytes": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    "cut": lambda raw: raw[:-7],
    "longer": lambda raw: raw + b"more",
    "nothing": lambda raw: b"",
}


@pytest.mark.parametrize("lie", [*LIES, "absent"])
def test_a_layer_that_does_not_fit_its_digest_is_never_used(
    lie: str, room: Machines, context: Path, registry: FakeRegistry
) -> None:
    first = room.build(
        context, tags=["app"], cache_to=[f"type=registry,ref={registry.host}/cache:1,mode=max"]
    )
    manifest, _ = cache_config(registry, "cache", "1")
    base = {layer["digest"] for layer in json.loads(registry.manifests["base"]["1"][1])["layers"]}
    blobs = registry.blobs["cache"]
    for layer in manifest["layers"]:
        if layer["digest"] not in base:
            if lie == "absent":
                del blobs[layer["digest"]]
            else:
                blobs[layer["digest"]] = LIES[lie](blobs[layer["digest"]])
    second = room.build(context, tags=["app"], cache_from=[f"{registry.host}/cache:1"])
    assert second.files("app") == first.files("app")
    assert any("the step is run instead" in text for text in second.warned), second.warned
    assert second.ran


def test_a_layer_with_another_name_than_it_has_is_never_used(
    room: Machines, context: Path, registry: FakeRegistry
) -> None:
    """Bytes of the right digest whose tar is not the one that the record names."""
    room.build(context, cache_to=[f"type=registry,ref={registry.host}/cache:1,mode=max"])
    kind, raw = registry.manifests["cache"]["1"]
    manifest = json.loads(raw)
    names = [layer["annotations"]["containerd.io/uncompressed"] for layer in manifest["layers"]]
    for layer, name in zip(manifest["layers"], names[1:] + names[:1]):
        layer["annotations"]["containerd.io/uncompressed"] = name
    registry.add_manifest("cache", "1", json.dumps(manifest).encode(), kind)
    second = room.build(context, tags=["app"], cache_from=[f"{registry.host}/cache:1"])
    assert second.files("app")["/out.txt"] == b"a\n" and second.files("app")["/linked.txt"] == b"b\n"


def _circle(config: dict[str, Any]) -> bytes:
    config["records"] = [{"digest": "sha256:" + "1" * 64, "inputs": [[{"link": 0}]]}]
    return json.dumps(config).encode()


BROKEN = {
    "cut": lambda config: json.dumps(config).encode()[:-5],
    "no JSON": lambda config: b"\xff\xfe",
    "deep": lambda config: b"[" * 100_000,
    "a list": lambda config: b"[]",
    "circle": _circle,
    "layer of layers": lambda config: json.dumps({**config, "layers": 7}).encode(),
    "our own": lambda config: json.dumps({**config, "boxwright": {"version": 1, "steps": [[1]]}}).encode(),
}


@pytest.mark.parametrize(
    "kind", [*BROKEN, "absent", "wrong digest", "an image", "an artifact", "a server's error"]
)
def test_what_cannot_be_read_is_told_and_the_build_goes_on(
    kind: str, room: Machines, context: Path, registry: FakeRegistry
) -> None:
    ref = f"{registry.host}/cache:1"
    room.build(context, cache_to=[f"type=registry,ref={ref}"])
    manifest, config = cache_config(registry, "cache", "1")
    place = registry.blobs["cache"]
    if kind in BROKEN:
        raw = BROKEN[kind](config)
        manifest["config"] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
        place[str(Digest.of(raw))] = raw
        registry.add_manifest("cache", "1", json.dumps(manifest).encode())
    elif kind == "absent":
        del registry.manifests["cache"]["1"]
    elif kind == "wrong digest":
        place[manifest["config"]["digest"]] = b"x" * manifest["config"]["size"]
    elif kind == "an image":
        ref = f"{registry.host}/base:1"
    elif kind == "an artifact":
        manifest["config"]["mediaType"] = "application/vnd.example+json"
        registry.add_manifest("cache", "1", json.dumps(manifest).encode())
    else:

        def hook(request: Request) -> Response | None:
            return Response(500) if request.path.startswith("/v2/cache/manifests") else None

        registry.hook = hook
    built = room.build(context, cache_from=[ref], tags=["app"])
    assert built.files("app")["/out.txt"] == b"a\n" and len(built.ran) == 5
    if kind in ("an image", "an artifact"):
        assert "it has no records" in built.said
    else:
        assert len(built.failed) == 1, built.failed


def test_a_cache_that_cannot_be_written_fails_the_build_unless_it_may(
    room: Machines, context: Path, registry: FakeRegistry
) -> None:
    def hook(request: Request) -> Response | None:
        return Response(403) if request.path.startswith("/v2/cache/") and request.method != "GET" else None

    registry.hook = hook
    with pytest.raises(BuildFailed):
        room.build(context, cache_to=[f"type=registry,ref={registry.host}/cache:1"])
    built = room.build(
        context, tags=["app"], cache_to=[f"type=registry,ref={registry.host}/cache:1,ignore-error=true"]
    )
    assert len(built.warned) == 1 and built.warned[0].startswith("exporting cache to registry")
    assert built.engine.images.list()


def test_stages_without_layers_in_the_cache_are_not_run(
    room: Machines, context: Path, registry: FakeRegistry
) -> None:
    """With mode=min the layers of other stages are not in the cache, but what they were called is."""
    room.build(context, cache_to=[f"type=registry,ref={registry.host}/cache:1,mode=min"])
    _, config = cache_config(registry, "cache", "1")
    held = {layer["blob"] for layer in config["layers"]}
    assert len(held) == 5 and len(config["boxwright"]["diffs"]) > 5
    assert room.build(context, cache_from=[f"{registry.host}/cache:1"]).ran == []


def strangers(folder: Path) -> None:
    """Make a local cache one that BuildKit could have written: without our own records."""
    blobs, index = folder / "blobs/sha256", json.loads((folder / "index.json").read_bytes())

    def put(body: object) -> dict[str, Any]:
        raw = json.dumps(body).encode()
        (blobs / (digest := Digest.of(raw)).hex).write_bytes(raw)
        return {"digest": str(digest), "size": len(raw)}

    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
    config.pop("boxwright", None)
    manifest["config"] |= put(config)
    index["manifests"][0] |= put(manifest)
    (folder / "index.json").write_text(json.dumps(index))


COPIED = """\
FROM {base} AS build
WORKDIR /src
COPY a.txt more/ ./
FROM {base} AS middle
COPY --from=build /src/a.txt /out.txt
FROM {base}
COPY --from=middle /out.txt /out.txt
COPY --link b.txt /linked.txt
"""


def test_a_result_is_found_without_what_it_was_copied_from(
    room: Machines, registry: FakeRegistry, tmp_path: Path
) -> None:
    """BuildKit's smallest cache has no layer of another stage, and its key alone is enough."""
    context = lay_out(tmp_path / "context", put_base(registry), text=COPIED)
    cache = tmp_path / "cache"
    first = room.build(context, cache_to=[f"type=local,dest={cache},mode=min"], tags=["app"])
    strangers(cache)
    second = room.build(context, cache_from=[f"type=local,src={cache}"], tags=["app"])
    assert second.ran == [] and second.files("app") == first.files("app")
    assert set(second.cached) >= {"[build 2/3] WORKDIR /src", "[build 3/3] COPY a.txt more/ ./"}
    # What was passed by can be passed on, and is not taken for what is known.
    onward = tmp_path / "onward"
    third = room.build(
        context, cache_from=[f"type=local,src={cache}"], cache_to=[f"type=local,dest={onward},mode=max"]
    )
    strangers(onward)
    fourth = room.build(context, cache_from=[f"type=local,src={onward}"], tags=["app"])
    assert third.ran == fourth.ran == [] and fourth.files("app") == first.files("app")
    (context / "a.txt").write_text("changed\n")
    fifth = room.build(context, cache_from=[f"type=local,src={cache}"], tags=["app"])
    assert [name for name in fifth.ran if "--link" not in name] == [
        "[build 2/3] WORKDIR /src",
        "[build 3/3] COPY a.txt more/ ./",
        "[middle 2/2] COPY --from=build /src/a.txt /out.txt",
        "[stage-2 2/3] COPY --from=middle /out.txt /out.txt",
    ]
    assert fifth.files("app")["/out.txt"] == b"changed\n"


def test_what_was_found_without_its_inputs_is_found_again_without_the_cache(
    room: Machines, registry: FakeRegistry, tmp_path: Path
) -> None:
    """On the machine that has its layers by then; what it was copied from is not on record there, and not run."""
    context = lay_out(tmp_path / "context", put_base(registry), text=COPIED)
    cache = tmp_path / "cache"
    room.build(context, cache_to=[f"type=local,dest={cache},mode=min"])
    strangers(cache)
    first = room.build(context, cache_from=[f"type=local,src={cache}"], tags=["app"])
    assert first.ran == []
    again = room.build(context, engine=first.engine, tags=["app"])
    assert again.ran == [] and again.files("app") == first.files("app")
    # It is known by all that it is made of, and by nothing less.
    (context / "more/c.txt").write_text("changed\n")
    assert "[build 3/3] COPY a.txt more/ ./" in room.build(context, engine=first.engine).ran
    (context / "more/c.txt").write_text("c\n")
    assert room.build(context, engine=first.engine, no_cache_filter=("build",)).ran
    text = (context / "Dockerfile").read_text()
    (context / "Dockerfile").write_text(text + "COPY b.txt /more.txt\n")
    on_top = room.build(context, engine=first.engine)
    assert on_top.ran == ["[stage-2 4/4] COPY b.txt /more.txt"]
    (context / "Dockerfile").write_text(text.replace("WORKDIR /src\n", "USER 7\nWORKDIR /src\n"))
    assert "[build 2/3] WORKDIR /src" in room.build(context, engine=first.engine).ran
    # Once its layers are gone, the record goes too.
    first.engine.images.remove("app", force=True)
    first.engine.builds.prune(everything=True)
    (context / "Dockerfile").write_text(text)
    assert "[build 2/3] WORKDIR /src" in room.build(context, engine=first.engine).ran


def test_what_is_copied_is_found_by_what_it_is(
    room: Machines, registry: FakeRegistry, tmp_path: Path
) -> None:
    """A stage that was made in another way, and came to the same files."""
    context = lay_out(tmp_path / "context", put_base(registry), text=COPIED)
    cache = tmp_path / "cache"
    room.build(context, cache_to=[f"type=local,dest={cache},mode=max"])
    strangers(cache)
    (context / "more/c.txt").write_text("changed\n")
    again = room.build(context, cache_from=[f"type=local,src={cache}"], tags=["app"])
    assert again.ran == ["[build 3/3] COPY a.txt more/ ./"] and again.files("app")["/out.txt"] == b"a\n"


def test_a_stage_that_is_to_be_made_anew_is_made(
    room: Machines, registry: FakeRegistry, tmp_path: Path
) -> None:
    """It may come to something else: what stands on it is found by what it is, and not by its name."""
    context = lay_out(tmp_path / "context", put_base(registry), text=COPIED)
    cache = tmp_path / "cache"
    room.build(context, cache_to=[f"type=local,dest={cache},mode=max"])
    strangers(cache)
    again = room.build(context, cache_from=[f"type=local,src={cache}"], no_cache_filter=["build"])
    assert again.ran == ["[build 2/3] WORKDIR /src", "[build 3/3] COPY a.txt more/ ./"]


def test_stages_that_are_listed_are_made(room: Machines, registry: FakeRegistry, tmp_path: Path) -> None:
    """A bill of materials of a stage needs its files, though the result does not."""
    text = "ARG BUILDKIT_SBOM_SCAN_STAGE=true\n" + COPIED.replace(
        "WORKDIR /src", "ARG BUILDKIT_SBOM_SCAN_STAGE=true\nWORKDIR /src"
    )
    context = lay_out(tmp_path / "context", put_base(registry), text=text)
    cache, files = tmp_path / "cache", tmp_path / "files"
    room.build(context, cache_to=[f"type=local,dest={cache},mode=min"])
    strangers(cache)
    listed = room.build(
        context,
        cache_from=[f"type=local,src={cache}"],
        outputs=[f"type=local,dest={files}"],
        attests=["type=sbom"],
    )
    assert "[build 3/3] COPY a.txt more/ ./" in listed.ran
    assert (files / "sbom-build-build.spdx.json").exists()


def test_compression_is_kept_unless_it_is_forced(
    room: Machines, context: Path, registry: FakeRegistry
) -> None:
    def kinds(tag: str) -> set[str]:
        manifest, _ = cache_config(registry, "cache", tag)
        return {layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]}

    ref = f"type=registry,ref={registry.host}/cache"
    room.build(context, cache_to=[f"{ref}:a,compression=zstd"])
    assert kinds("a") == {"tar+gzip", "tar+zstd"}  # the base's layers are here in gzip
    room.build(context, cache_to=[f"{ref}:b,compression=zstd,compression-level=9,force-compression=true"])
    assert kinds("b") == {"tar+zstd"}
    room.build(context, cache_to=[f"{ref}:c,compression=uncompressed,force-compression=true"])
    assert kinds("c") == {"tar"}
    for tag in "abc":
        assert room.build(context, cache_from=[f"{registry.host}/cache:{tag}"], tags=["app"]).ran == []


def test_several_places_are_asked_and_filled(
    room: Machines, context: Path, registry: FakeRegistry, tmp_path: Path
) -> None:
    built = room.build(
        context, cache_to=[f"type=local,dest={tmp_path}/one", f"type=registry,ref={registry.host}/two:1"]
    )
    assert built.failed == []
    (context / "b.txt").write_text("new\n")
    room.build(context, cache_to=[f"type=local,dest={tmp_path}/one"])
    built = room.build(
        context,
        cache_from=[f"{registry.host}/nothing:1,{registry.host}/two:1", f"type=local,src={tmp_path}/one"],
    )
    assert built.ran == [] and len(built.failed) == 1


def test_no_cache_asks_no_server(room: Machines, context: Path, registry: FakeRegistry) -> None:
    room.build(context, cache_to=[f"type=registry,ref={registry.host}/cache:1"])
    assert len(room.build(context, cache_from=[f"{registry.host}/cache:1"], no_cache=True).ran) == 5


def test_a_workflow_outside_github_goes_on_without_its_cache(room: Machines, context: Path) -> None:
    built = room.build(context, cache_from=["type=gha"], cache_to=["type=gha,mode=max"])
    assert built.failed == [] and len(built.warned) == 2 and "left out" in built.warned[0]


MARKERS = ("key-id-marker", "secret-key-marker", "session-marker", "token-marker", "ghtoken-marker")


def test_credentials_are_written_nowhere(
    room: Machines, context: Path, tmp_path: Path, registry: FakeRegistry
) -> None:
    """Not into the store, what is said, results, metadata, images or caches; not in the text of a value either."""
    bad = "type=s3,bucket=b,region=r,endpoint_url=http://127.0.0.1:1,use_path_style=true,ignore-error=true"
    bad += ",access_key_id=key-id-marker,secret_access_key=secret-key-marker,session_token=session-marker"
    gha = "type=gha,url_v2=http://127.0.0.1:1/,token=token-marker,ghtoken=ghtoken-marker,repository=a/b,timeout=1s"
    said: list[Any] = [parse_all([bad], {}, to=True), parse_all([gha], {})]
    built = room.build(
        context,
        tags=["app"],
        cache_from=[gha, bad.replace(",ignore-error=true", "")],
        cache_to=[bad, gha + ",ignore-error=true", f"type=local,dest={tmp_path}/cache,mode=max"],
    )
    assert len(built.failed) == 4
    said += [built.events, built.result]
    with pytest.raises(Exception) as wrong:
        parse_all(['type=s3,"secret_access_key=secret-key-marker'], {})
    said.append(wrong.value)
    with pytest.raises(Exception) as wrong:
        parse_all(["type=gha,tokn=token-marker"], {})
    said.append(wrong.value)
    text = repr(said) + str([str(w) for w in said])
    built.engine.services.db.close()
    for path in [*built.engine.root.rglob("*"), *(tmp_path / "cache").rglob("*")]:
        if path.is_file():
            text += path.read_bytes().decode("latin1")
    assert [marker for marker in MARKERS if marker in text] == []


def test_our_records_say_what_a_step_was(room: Machines, context: Path, registry: FakeRegistry) -> None:
    built = room.build(context, cache_to=[f"type=registry,ref={registry.host}/cache:1"])
    manifest, raw = cache_config(registry, "cache", "1")
    read = cacheconfig.parse(json.dumps(raw).encode())
    with built.engine.services.db.read() as sql:
        known = {key for (key,) in sql.execute("SELECT key FROM steps")}
    digest = str(Digest.of(registry.manifests["cache"]["1"][1]))
    assert [cache["digest"] for cache in built.result.caches] == [digest]
    assert metadata(built.result)["cache.manifest"]["digest"] == digest
    assert len(read.own) >= 5 and {record.key for record in read.own} <= known
    assert manifest["config"]["mediaType"] == "application/vnd.buildkit.cacheconfig.v0"
