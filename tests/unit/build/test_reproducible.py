"""The same inputs give the same layers: in another folder, order, umask, root, at another time; with
SOURCE_DATE_EPOCH the same image, too."""

from __future__ import annotations

import io
import os
import random
import tarfile
from pathlib import Path

import pytest

import support.images
from boxwright.build.request import BuildRequest
from support import REAL_ROOT
from support.corpus import leave
from support.image import engine as make_engine

FILES = {
    "a.txt": "a",
    "dir/b.txt": "b",
    "dir/sub/c.txt": "c",
    "dir/sub/deep/d.txt": "d",
    "tool": "#!/bin/sh\n",
    **{f"many/{n}": str(n) for n in range(60)},
}
STATIC = """\
FROM scratch AS base
WORKDIR /app
COPY --chown=5:6 dir ./dir
COPY . /all
ADD archive.tar /unpacked/
COPY --chmod=640 a.txt *.tar /some/
COPY <<E /made
text
E
FROM scratch
COPY --from=base /all/many /many
COPY --link tool /bin/tool
LABEL a=b
"""
RUNNING = """\
FROM busybox
RUN mkdir -p /made/x /made/a && for n in 3 1 2; do echo $n > /made/$n; done && ln -s 1 /made/l && ln /made/2 /made/h
COPY . /all
RUN rm -rf /all/many && chmod 700 /made && mv /made/3 /moved
"""


def lay_out(directory: Path, dockerfile: str, *, umask: int, seed: int) -> Path:
    """A checkout: files made in any order, at any time, under a umask."""
    dice = random.Random(seed)
    files = {**FILES, "Dockerfile": dockerfile}
    names = list(files)
    dice.shuffle(names)
    before = os.umask(umask)
    try:
        for name in names:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(files[name])
        (directory / "tool").chmod(0o777 & ~umask)
        (directory / "link").symlink_to("dir/b.txt")
        with tarfile.open(directory / "archive.tar", "w") as tar:
            info = tarfile.TarInfo("packed")
            info.size, info.mtime = 3, 1_600_000_000
            tar.addfile(info, io.BytesIO(b"abc"))
    finally:
        os.umask(before)
    for path in directory.rglob("*"):
        at = dice.randrange(1_000_000_000, 1_700_000_000)
        os.utime(path, (at, at), follow_symlinks=False)
    return directory


def built(
    tmp_path: Path, number: int, dockerfile: str, *, base: bytes = b"", epoch: str = ""
) -> tuple[list[str], str]:
    """Layers and image ID of a build in a root and a checkout of its own."""
    umask = (0o022, 0o077, 0o002)[number % 3]
    context = lay_out(
        tmp_path / f"checkout{number}/x" / ("deeper" * number), dockerfile, umask=umask, seed=number
    )
    eng = make_engine(tmp_path / f"root{number}", **({"SOURCE_DATE_EPOCH": epoch} if epoch else {}))
    before = os.umask(umask)
    try:
        if base:
            eng.images.import_(io.BytesIO(base), "busybox")
        result = eng.build(BuildRequest(context=context, jobs=1 + number))
        return [
            str(d) for d in eng.services.images_store.resolve_platform(result.image_id).layers
        ], result.image_id
    finally:
        os.umask(before)
        leave(eng)


@pytest.mark.parametrize("epoch", ["", "1700000000"])
def test_without_processes(tmp_path: Path, epoch: str) -> None:
    made = [built(tmp_path, number, STATIC, epoch=epoch) for number in range(3)]
    assert made[0][0] == made[1][0] == made[2][0]
    assert (len({image for _, image in made}) == 1) == bool(epoch)


@pytest.mark.rooted
@pytest.mark.skipif(
    not REAL_ROOT or not support.images.have_busybox(), reason="needs root and busybox-static"
)
@pytest.mark.parametrize("epoch", ["", "1700000000"])
def test_with_processes(tmp_path: Path, epoch: str) -> None:
    base = support.images.busybox_tar()
    made = [built(tmp_path, number, RUNNING, base=base, epoch=epoch) for number in range(3)]
    assert made[0][0] == made[1][0] == made[2][0]
    assert (len({image for _, image in made}) == 1) == bool(epoch)
