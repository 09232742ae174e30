"""Networks that cut, stall, lie and refuse: what arrives is whole, and what does not is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.errors import BoxwrightError, Corrupt, Unavailable
from boxwright.registry.client.client import RegistryClient
from boxwright.spec.manifest import Index
from support.faults import KINDS, faulty
from support.registry import client_config, make_image, noise, running

HONEST = tuple(k for k in KINDS if k != "corrupt")


def engine(tmp_path: Path, name: str = "root", **more: object) -> Engine:
    """An engine whose client is patient but quick."""
    made = Engine(tmp_path / name)
    made.services.__dict__["registry"] = RegistryClient(
        client_config(tmp_path, backoff=0.003, longest_pause=0.05, read_timeout=5.0, **more)
    )
    return made


def test_200_pulls_end_whole_or_with_a_clear_error(tmp_path: Path) -> None:
    ours = engine(tmp_path)
    ends: Counter[str] = Counter()
    with running() as registry:
        images = [make_image({"a": noise(40_000, n)}, {"b": noise(3_000, 1000 + n)}) for n in range(50)]
        for n, image in enumerate(images):
            registry.add_image(f"r{n}", "1", image)
        failed: set[int] = set()
        with faulty(registry.host, rate=0.3) as proxy:
            for turn in range(200):
                n, tag = turn % 50, f"{proxy.host}/r{turn % 50}:1"
                if turn >= 50 and n not in failed:
                    ours.images.remove(tag)  # so that every pull has everything to fetch
                try:
                    (done,) = ours.images.pull(tag)
                    assert done.target.digest == images[n].manifest.descriptor.digest
                    ends["whole"] += 1
                    failed.discard(n)
                except BoxwrightError as error:
                    assert (
                        isinstance(error, (Unavailable, Corrupt))
                        and len(str(error)) > 10
                        and "\n" not in str(error)
                    )
                    ends[type(error).__name__] += 1
                    failed.add(n)
            assert all(proxy.met[kind] for kind in KINDS), proxy.met
            proxy.rate = 0
            for n in failed:  # whatever a failure left behind does not stand in the way
                ours.images.pull(f"{proxy.host}/r{n}:1")
    assert sum(ends.values()) == 200
    assert ends["whole"] > 120, ends
    assert ours.system.fsck() == []
    ours.services.registry.close()


def test_without_corruption_every_pull_and_push_succeeds(tmp_path: Path) -> None:
    ours = engine(tmp_path, tries=12)
    with running() as registry, faulty(registry.host, rate=0.25, kinds=HONEST, seed=7) as proxy:
        for n in range(10):
            image = make_image({"a": noise(1_500_000, n)}, {"b": noise(20_000, 1000 + n)})
            registry.add_image(f"r{n}", "1", image)
            name = f"{proxy.host}/r{n}:1"
            ours.images.pull(name)
            ours.images.tag(name, f"{proxy.host}/pushed{n}:1")
            (pushed,) = ours.images.push(f"{proxy.host}/pushed{n}:1")
            assert pushed.target.digest == image.manifest.descriptor.digest
            assert registry.manifests[f"pushed{n}"]["1"][1] == image.manifest.raw
            assert set(registry.blobs[f"pushed{n}"]) == set(registry.blobs[f"r{n}"])
    assert ours.system.fsck() == []
    ours.services.registry.close()


def test_copy_through_faults_keeps_every_platform(tmp_path: Path) -> None:
    ours = engine(tmp_path, tries=12)
    with (
        running() as registry,
        running() as other,
        faulty(registry.host, rate=0.2, kinds=HONEST) as one,
        faulty(other.host, rate=0.2, kinds=HONEST, seed=3) as two,
    ):
        entries = []
        for n, platform in enumerate(("linux/amd64", "linux/arm64", "linux/riscv64")):
            entries.append(
                registry.add_image("multi", "", make_image({"a": noise(200_000, n)}, platform=platform))
            )
        index = registry.add_manifest(
            "multi", "1", Index.compose(entries).raw, "application/vnd.oci.image.index.v1+json"
        )
        assert ours.registry.copy(f"{one.host}/multi:1", f"{two.host}/copied:1").digest == index.digest
        assert set(other.blobs["copied"]) == set(registry.blobs["multi"])
    ours.services.registry.close()


@pytest.mark.parametrize("kind", ["truncate", "reset", "503"])
def test_a_fault_that_never_ends_is_told(tmp_path: Path, kind: str) -> None:
    ours = engine(tmp_path)
    with running() as registry, faulty(registry.host, rate=1, kinds=(kind,)) as proxy:
        registry.add_image("r", "1", make_image({"a": noise(50_000)}))
        with pytest.raises(BoxwrightError) as caught:
            ours.images.pull(f"{proxy.host}/r:1")
        assert proxy.host in str(caught.value) or "sha256" in str(caught.value)
    assert ours.images.list() == []
    ours.services.registry.close()


def test_nothing_false_is_kept(tmp_path: Path) -> None:
    """A layer that is not what the config says, although its blob's digest is right."""
    ours = engine(tmp_path)
    good, evil = make_image({"a": b"good" * 100}), make_image({"a": b"evil" * 100})
    from boxwright.spec import mediatypes as mt
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.manifest import Manifest

    with running() as registry:
        for blob in (good.config, evil.layers[0]):
            registry.add("r", blob)
        raw = Manifest.compose(
            Descriptor.of(good.config, mt.OCI_CONFIG), [Descriptor.of(evil.layers[0], mt.OCI_LAYER_GZIP)]
        ).raw
        registry.add_manifest("r", "1", raw)
        with pytest.raises(Corrupt, match="config says"):
            ours.images.pull(f"{registry.host}/r:1")
    assert ours.images.list() == []
    ours.services.registry.close()
