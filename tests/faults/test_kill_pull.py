"""kill -9 of a pull at random moments: what arrived is kept, the store stays whole, the next pull asks for the rest."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright import Engine
from support.chance import chance
from support.image import sound
from support.registry import FakeRegistry, Request, Response, make_image, noise, ranged, running

IMAGE = make_image({"a": noise(5_000_000, 1)}, {"b": noise(3_000_000, 2)}, {"c": noise(20_000, 3)})
_PIECE = 32 << 10


def slowly(registry: FakeRegistry) -> None:
    """Blobs drip, so that there are many moments to be killed in."""

    def drip(body: bytes) -> Iterator[bytes]:
        for at in range(0, len(body), _PIECE):
            time.sleep(0.003)
            yield body[at : at + _PIECE]

    def answer(request: Request) -> Response | None:
        data = registry.blobs["app"].get(request.path.rpartition("/")[2])
        if data is None or request.method != "GET":
            return None
        said = ranged(request, data)
        return Response(
            said.status, {**said.headers, "Content-Length": str(len(said.body))}, chunks=drip(said.body)
        )

    registry.hook = answer


def arrived(root: Path) -> dict[str, int]:
    """Bytes on disk of each of the image's layer blobs: whole ones, and parts."""
    found = {}
    for layer in IMAGE.manifest.layers:
        digest = layer.digest
        for path in (
            root / "blobs" / digest.algorithm / digest.hex,
            root / "ingest" / f"{digest.algorithm}-{digest.hex}",
        ):
            try:
                found[str(digest)] = path.stat().st_size
                break
            except FileNotFoundError:
                found[str(digest)] = 0
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_what_arrived_is_kept(tmp_path: Path, seed: int) -> None:
    dice, root = chance(seed), tmp_path / "root"
    env = {**os.environ, "BOXWRIGHT_ROOT": str(root), "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    whole = sum(layer.size for layer in IMAGE.manifest.layers)
    kept, in_the_middle = dict.fromkeys(arrived(root), 0), 0
    with running() as registry:
        registry.add_image("app", "1", IMAGE)
        slowly(registry)
        argv = [sys.executable, "-m", "boxwright", "pull", "-q", f"{registry.host}/app:1"]
        for _ in range(12):
            before = len(registry.log)
            child = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            goal, moment = (
                sum(kept.values()) + dice.randrange(whole // 4),
                time.monotonic() + dice.choice([0.05, 0.3, 60]),
            )
            while child.poll() is None and sum(arrived(root).values()) <= goal and time.monotonic() < moment:
                time.sleep(0.005)
            child.send_signal(signal.SIGKILL)
            _, said = child.communicate(timeout=30)
            assert child.returncode in (0, -signal.SIGKILL), said
            _asked_only_for_the_rest(registry.log[before:], kept)
            now = arrived(root)
            assert all(now[digest] >= count for digest, count in kept.items()), (now, kept)
            kept = now
            engine = Engine(root)
            assert engine.system.fsck() == []
            in_the_middle += 0 < sum(kept.values()) < whole
            if child.returncode == 0:  # it was quicker: once more from nothing
                assert sound(engine.services.images_store, f"{registry.host}/app:1")
                engine.images.remove(f"{registry.host}/app:1")
                kept = arrived(root)
            engine.services.db.close()
        assert in_the_middle
        before = len(registry.log)
        registry.hook = None
        subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, timeout=60)
        _asked_only_for_the_rest(registry.log[before:], kept)
    engine = Engine(root)
    assert engine.system.fsck() == [] and sound(engine.services.images_store, f"{registry.host}/app:1")
    engine.images.prune()
    assert list((root / "ingest").iterdir()) == []  # nothing is left of what was killed
    engine.services.db.close()


def _asked_only_for_the_rest(log: list[Request], kept: dict[str, int]) -> None:
    for request in log:
        digest = request.path.rpartition("/")[2]
        if request.method == "GET" and kept.get(digest):
            match = re.match(r"bytes=(\d+)-", request.headers.get("range", ""))
            assert match and int(match[1]) >= kept[digest], (request.headers, kept[digest])
