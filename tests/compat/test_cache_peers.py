"""Caches against buildx: what docker 28's BuildKit wrote is used here, and what was written here is used there."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.images
from boxwright.build.progress import StepFailure
from boxwright.build.remotecache.options import parse_all
from support.caches import StepCached, StepStarted
from support.corpus import leave
from support.gha import github
from support.gitserver import git, publish, serving
from support.image import engine as make_engine
from support.peers import DOCKERD, docker_registry, dockerd, needs

pytestmark = DOCKERD
DOCKERFILE = """\
FROM busybox AS build
ARG GREETING="a < b && c"
WORKDIR /src
COPY a.txt dir ./
COPY --chmod=600 . all/
RUN cat a.txt > out.txt && date +%s%N >> out.txt
FROM busybox
ENV X=1
RUN mkdir /data && cat /proc/sys/kernel/random/uuid > /data/x
COPY --from=build /src/out.txt /out.txt
RUN --mount=type=cache,target=/root/.cache --mount=type=cache,id=c,sharing=locked,target=/c \\
    --mount=type=tmpfs,target=/t --mount=type=secret,id=s --mount=type=secret,id=e,env=E cat /out.txt > /root/.cache/x
USER 5:6
RUN id -u
COPY --link a.txt dir/b.txt /linked/
COPY --link a.txt /linked.txt
ADD a.txt /added.txt
CMD ["sh"]
"""
STEPS = 11  # RUN, COPY, ADD and WORKDIR of it
FORMS = [  # steps of all kinds, each on a base with a user and in a stage of its own
    "RUN --mount=type=bind,source=a.txt,target=/m/a --mount=type=bind,source=dir,target=/d,rw cat /m/a",
    "RUN --mount=type=bind,target=/m ls /m",
    "RUN --mount=type=bind,from=one,source=g,target=/m --mount=type=bind,from=one,source=f,target=/a/f ls /m",
    "RUN --mount=type=ssh --mount=type=ssh,id=x,mode=0666,uid=5,target=/s true",
    "RUN --mount=type=cache,target=/c,uid=5,gid=6 --mount=type=cache,target=/e,uid=5,gid=6 true",
    "RUN --mount=type=cache,target=/c,from=one,source=/g,ro true",
    "RUN <<EOF\n#!/bin/sh\necho 1\nEOF",
    "RUN <<EOF\necho 1\nEOF",
    "COPY *.txt nomatch* /w1/",
    "COPY dir/?.txt link* /w2/",
    "COPY --chown=5:6 a.txt /c1",
    "COPY --chown=me --chmod=go=rX dir /c2",
    "COPY a.txt dir/b.txt dir/sub dir/empty /four/",
    "COPY <<a <<b a.txt /h/\n1\na\n2\nb",
    "COPY --from=one /g/* /f1/",
    "COPY --from=empty / /f2/",
    "COPY --from=linked / /f3/",
    "ADD --chown=me:root a.txt /ad",
    "COPY --exclude=*.bin --exclude=!x.bin flat /x1/",
    "COPY --exclude=*.tmp a.txt link.txt /x2/",
    "COPY --exclude=*.md <<t a.txt /x3/\n1\nt",
    "COPY --exclude=t --from=one /r /x4/",
    "USER me\nWORKDIR /home/wd",
]
CHANGES = ['CMD ["sh"]', "ENV PATH=/usr/bin:/bin"]


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    folder = tmp_path_factory.mktemp("docker")
    (folder / "daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
    with dockerd(folder, "--config-file", str(folder / "daemon.json")) as command:
        said = subprocess.run([*command, "version", "--format", "{{.Server.Version}}"], capture_output=True)
        if int(said.stdout.split(b".")[0]) < 28:
            pytest.skip(f"docker {said.stdout.decode().strip()} is too old: make peers")
        changes = [word for change in CHANGES for word in ("-c", change)]
        subprocess.run(
            [*command, "import", *changes, "-", "busybox"], input=support.images.busybox_tar(), check=True
        )
        yield command


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "dir/empty").mkdir(parents=True)
    (folder / "dir/sub").mkdir()
    for name, text in {
        "a.txt": "hello\n",
        "dir/b.txt": "b",
        "dir/sub/c": "",
        "Dockerfile": DOCKERFILE,
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    (folder / "dir/link").symlink_to("b.txt")
    (folder / "dir/sub-x").write_text("sorted")
    for path in (folder, folder / "dir", folder / "dir/empty", folder / "dir/sub"):
        path.chmod(0o755)
    return folder


def buildx(docker: list[str], context: Path, *options: str) -> list[str]:
    """A build from nothing but what the options say; the steps that were found."""
    subprocess.run([*docker, "builder", "prune", "-af"], check=True, capture_output=True)
    done = subprocess.run(
        [*docker, "buildx", "build", "--progress", "plain", "--network=none", *options, str(context)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names = dict(re.findall(r"^#(\d+) (\[.*)$", done.stderr, re.MULTILINE))
    cached = re.findall(r"^#(\d+) CACHED$", done.stderr, re.MULTILINE)
    return sorted(names[number] for number in cached if " FROM " not in names[number])


def ours(folder: Path, context: Path, **options: Any) -> list[str]:
    """The same here."""
    engine, events = make_engine(folder), list[Any]()
    try:
        engine.images.import_(io.BytesIO(support.images.busybox_tar()), "busybox", changes=CHANGES)
        caches = {
            name: parse_all(options.pop(name, ()), {}, to=name == "cache_to")
            for name in ("cache_from", "cache_to")
        }
        engine.build(context, network="none", progress=events.append, **caches, **options)
    finally:
        leave(engine)
    assert not [event for event in events if isinstance(event, StepFailure)]
    names = {event.step: event.name for event in events if isinstance(event, StepStarted)}
    cached = {names[event.step] for event in events if isinstance(event, StepCached)}
    return sorted(name for name in cached if " FROM " not in name)


@pytest.mark.parametrize(
    "options", ["mode=max", "mode=max,image-manifest=false", "mode=min"], ids=["max", "index", "min"]
)
def test_buildx_s_cache_is_used_here(docker: list[str], context: Path, tmp_path: Path, options: str) -> None:
    cache = tmp_path / "cache"
    buildx(docker, context, "--cache-to", f"type=local,dest={cache},{options}")
    assert (
        len(ours(tmp_path / "root", context, cache_from=[f"type=local,src={cache}"], tags=["app"])) == STEPS
    )


@needs("docker-registry")
def test_the_cache_in_buildx_s_image_is_used_here(docker: list[str], context: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as host:
        image = f"{host}/app:1"
        buildx(docker, context, "--cache-to", "type=inline", "--provenance=false", "--push", "-t", image)
        found = ours(tmp_path / "root", context, cache_from=[f"type=registry,ref={image}"], tags=["app"])
    assert len(found) == STEPS


@needs("docker-registry")
def test_the_cache_in_our_image_is_used_by_buildx(docker: list[str], context: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as host:
        image = f"{host}/app:1"
        root = tmp_path / "root"
        ours(root, context, cache_to=["type=inline"], tags=[image], outputs=["type=registry"])
        found = buildx(docker, context, "--cache-from", f"type=registry,ref={image}")
    assert len([name for name in found if "--link" not in name]) == STEPS - 2, found


@pytest.mark.parametrize("mode", ["min", "max"])
def test_our_cache_is_used_by_buildx(docker: list[str], context: Path, tmp_path: Path, mode: str) -> None:
    cache = tmp_path / "cache"
    ours(tmp_path / "root", context, cache_to=[f"type=local,dest={cache},mode={mode}"])
    found = buildx(docker, context, "--cache-from", f"type=local,src={cache}")
    assert len([name for name in found if "--link" not in name]) == STEPS - 2, found


def test_what_changed_is_found_by_neither(docker: list[str], context: Path, tmp_path: Path) -> None:
    """Both leave out the same steps when a file, or one's mode, is another."""
    there, here = tmp_path / "there", tmp_path / "here"
    buildx(docker, context, "--cache-to", f"type=local,dest={there},mode=max")
    ours(tmp_path / "first", context, cache_to=[f"type=local,dest={here},mode=max"])
    (context / "dir/sub/c").write_text("changed")
    ours_of_theirs = ours(tmp_path / "second", context, cache_from=[f"type=local,src={there}"])
    theirs_of_ours = buildx(docker, context, "--cache-from", f"type=local,src={here}")
    assert 0 < len(ours_of_theirs) < STEPS
    # With --link BuildKit finds the layers and merges them again, which it does not call cached.
    assert [name for name in ours_of_theirs if "--link" not in name] == theirs_of_ours
    (context / "dir/sub/c").write_text("")
    (context / "a.txt").chmod(0o755)
    mine = ours(tmp_path / "third", context, cache_from=[f"type=local,src={there}"])
    assert [name for name in mine if "--link" not in name] == [
        name
        for name in buildx(docker, context, "--cache-from", f"type=local,src={here}")
        if "--link" not in name
    ]


def forms() -> str:
    """A Dockerfile of FORMS."""
    lines = [
        "FROM busybox AS one\nRUN echo f > /f && mkdir -p /g /r/s/d && echo y > /g/y && touch /r/s/d/t /r/u",
        "FROM scratch AS empty\nCOPY a.txt <<EOF /e/\ntext\nEOF",
        "FROM scratch AS linked\nCOPY --link --chown=5 a.txt /",
        "FROM busybox AS base\nRUN mkdir -p /etc && echo me:x:7:8::/:/bin/sh > /etc/passwd",
        *(f"FROM base AS form{number}\n{form}" for number, form in enumerate(FORMS)),
        "FROM scratch",
        *(f"COPY --from=form{number} /etc/passwd /{number}" for number in range(len(FORMS))),
    ]
    return "\n".join(lines) + "\n"


def test_every_kind_of_step_is_found(docker: list[str], context: Path, tmp_path: Path) -> None:
    """The result's copies stand on all of them."""
    (context / "Dockerfile").write_text(forms())
    (context / "link.txt").symlink_to("a.txt")
    (context / "flat").mkdir()
    for name in ("a", "b.bin", "x.bin"):
        (context / "flat" / name).write_text(name)
    there, here = tmp_path / "there", tmp_path / "here"
    buildx(docker, context, "--cache-to", f"type=local,dest={there},mode=min")
    found = ours(tmp_path / "first", context, cache_from=[f"type=local,src={there}"])
    assert len([name for name in found if "--from=form" in name]) == len(FORMS)
    ours(tmp_path / "second", context, cache_to=[f"type=local,dest={here},mode=min"])
    found = buildx(docker, context, "--cache-from", f"type=local,src={here}")
    assert len([name for name in found if "--from=form" in name]) == len(FORMS)


def test_github_s_cache_both_ways(docker: list[str], context: Path, tmp_path: Path) -> None:
    with github() as there:
        buildx(docker, context, "--cache-to", there.options(mode="max"))
        assert not [line for line in there.log if line.startswith("GET buildkit-blob")]
        found = ours(tmp_path / "first", context, cache_from=[there.options()], tags=["app"])
        assert len(found) == STEPS
    with github() as here:
        ours(tmp_path / "second", context, cache_to=[here.options(mode="max")])
        found = buildx(docker, context, "--cache-from", here.options())
        assert len([name for name in found if "--link" not in name]) == STEPS - 2, found


def test_what_is_fetched_is_found(docker: list[str], context: Path, tmp_path: Path) -> None:
    """Files are known by what they are and when they were made, repositories by their commits."""
    there, here, work, top = (tmp_path / name for name in ("there", "here", "work", "top"))
    (work / "sub").mkdir(parents=True)
    (work / "sub/f").write_text("f")
    git(work, "init", "-q", "-b", "main")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "c")
    top.mkdir()
    publish(work, top / "r.git")
    (top / "one.txt").write_text("one")
    (top / "two.txt").write_text("two")
    digest = hashlib.sha256(b"one").hexdigest()
    with serving(top) as url:
        forms = [
            f"ADD {url}/one.txt /a/",
            f"ADD --chmod=640 --chown=5 {url}/one.txt {url}/two.txt a.txt /b/",
            f"ADD --checksum=sha256:{digest} {url}/one.txt /c",
            f"ADD {url}/smart/r.git /d/",
            f"ADD --exclude=*.md {url}/smart/r.git#main:sub /e/",
            f"ADD --link {url}/two.txt /f/",
            f"ADD {url}/two.txt <<x /g/\n1\nx",
        ]
        (context / "Dockerfile").write_text("\n".join(["FROM busybox", *forms]) + "\n")
        buildx(docker, context, "--cache-to", f"type=local,dest={there},mode=max")
        cached = ours(tmp_path / "first", context, cache_from=[f"type=local,src={there}"], tags=["app"])
        assert len([name for name in cached if "/8]" in name]) == len(forms)
        ours(tmp_path / "second", context, cache_to=[f"type=local,dest={here},mode=max"])
        cached = buildx(docker, context, "--cache-from", f"type=local,src={here}")
        assert len([name for name in cached if "--link" not in name]) == len(forms) - 1, cached
        (top / "two.txt").write_text("other")
        changed = ours(tmp_path / "third", context, cache_from=[f"type=local,src={there}"], tags=["app"])
        assert not [name for name in changed if "two.txt" in name]
