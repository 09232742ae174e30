"""Layers made here are compressed on their way; what interrupts that does not matter."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.errors import Denied
from boxwright.registry.client.client import RegistryClient
from boxwright.spec import mediatypes as mt
from boxwright.spec.digest import Digest
from support.registry import FakeRegistry, Request, Response, client_config, noise, running, tar_of


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as fake:
        yield fake


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path / "root")
    made.services.__dict__["registry"] = RegistryClient(client_config(tmp_path))
    yield made
    made.services.registry.close()


def put(engine: Engine, name: str, size: int) -> None:
    engine.images.import_(io.BytesIO(tar_of({"data": noise(size // 2) + b"0" * (size // 2)})), name)


def layers(registry: FakeRegistry, repository: str, tag: str = "1") -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(registry.manifests[repository][tag][1])["layers"]
    return found


def whole(registry: FakeRegistry, repository: str) -> None:
    for entry in layers(registry, repository):
        data = registry.blobs[repository][str(entry["digest"])]
        assert str(Digest.of(data)) == entry["digest"] and len(data) == entry["size"]


def test_a_large_layer_is_sent_while_it_is_compressed(registry: FakeRegistry, engine: Engine) -> None:
    name = f"{registry.host}/app:1"
    put(engine, name, 6_000_000)
    (pushed,) = engine.images.push(name)
    (patch,) = registry.requests("PATCH")
    assert patch.headers["transfer-encoding"] == "chunked" and "content-range" not in patch.headers
    assert layers(registry, "app")[0]["mediaType"] == mt.OCI_LAYER_GZIP
    whole(registry, "app")
    assert engine.images.push(name)[0].target == pushed.target  # the same bytes, by one HEAD each
    assert len(registry.requests("PATCH")) == 1
    assert engine.system.fsck() == []


@pytest.mark.parametrize("status", [500, 503, 404])
def test_a_stream_that_fails_takes_the_ordinary_way(
    registry: FakeRegistry, engine: Engine, status: int
) -> None:
    name = f"{registry.host}/app:1"
    put(engine, name, 6_000_000)
    torn = []

    def hook(request: object) -> Response | None:
        if getattr(request, "method", "") == "PATCH" and not torn:
            torn.append(1)
            return Response(status)
        return None

    registry.hook = hook
    engine.images.push(name)
    whole(registry, "app")
    assert len(registry.requests("PATCH")) == 2


def test_what_is_never_accepted_is_told(registry: FakeRegistry, engine: Engine) -> None:
    name = f"{registry.host}/app:1"
    put(engine, name, 6_000_000)
    registry.hook = lambda r: Response(403) if r.method == "POST" else None
    with pytest.raises(Denied, match="denied"):
        engine.images.push(name)
    assert "1" not in registry.manifests.get("app", {})


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("zstd", mt.OCI_LAYER + "+zstd"), ("none", mt.OCI_LAYER), ("gzip", mt.OCI_LAYER_GZIP)],
)
def test_compressions(registry: FakeRegistry, engine: Engine, kind: str, media_type: str) -> None:
    name = f"{registry.host}/app:1"
    put(engine, name, 100_000)
    engine.images.push(name, compression=kind)
    assert layers(registry, "app")[0]["mediaType"] == media_type
    whole(registry, "app")


def test_a_blob_that_was_dropped_here_is_found_there(registry: FakeRegistry, engine: Engine) -> None:
    name = f"{registry.host}/app:1"
    put(engine, name, 6_000_000)
    (first,) = engine.images.push(name)
    blob = first.blobs[-1] if first.blobs[-1].size > 1000 else first.blobs[0]
    engine.services.store.path(blob.digest).unlink()
    assert engine.images.push(name)[0].target == first.target
    assert len(registry.requests("PATCH")) == 1


def test_repo_digests_are_those_of_the_registry(registry: FakeRegistry, engine: Engine) -> None:
    name = f"{registry.host}/app:1"
    put(engine, name, 100_000)
    (pushed,) = engine.images.push(name)
    assert f"{registry.host}/app@{pushed.target.digest}" in engine.images.inspect(name)["RepoDigests"]
    second = Engine(engine.root.parent / "second")
    second.services.__dict__["registry"] = engine.services.registry
    second.images.pull(f"{registry.host}/app@{pushed.target.digest}")
    assert (
        second.images.inspect(f"{registry.host}/app@{pushed.target.digest}")["Id"]
        == engine.images.inspect(name)["Id"]
    )


def test_an_image_that_is_removed_while_it_is_pushed_arrives_whole(
    registry: FakeRegistry, engine: Engine
) -> None:
    name = f"{registry.host}/app:1"
    put(engine, name, 6_000_000)
    other = Engine(engine.root)

    def remove(request: Request) -> None:
        if request.method == "POST" and other.images.list():
            other.images.remove(name)
            other.system.collect()

    registry.hook = remove
    (pushed,) = engine.images.push(name)
    assert registry.manifests["app"]["1"][1] == registry.manifests["app"][str(pushed.target.digest)][1]
    whole(registry, "app")
    assert engine.images.list() == [] and engine.system.fsck() == []
    engine.system.collect()
    assert list(engine.services.store.blobs()) == [] and engine.services.layers.all() == []


def test_two_pull_the_same_at_once(registry: FakeRegistry, engine: Engine, tmp_path: Path) -> None:
    """In one root: one fetches, the other waits for it."""
    import threading

    from support.registry import make_image

    registry.add_image("app", "1", make_image({"a": noise(3_000_000)}))
    failures: list[BaseException] = []

    def pull() -> None:
        other = Engine(engine.root)
        other.services.__dict__["registry"] = engine.services.registry
        try:
            other.images.pull(f"{registry.host}/app:1")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=pull) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert engine.system.fsck() == []
