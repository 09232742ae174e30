"""RUN in a user namespace: the same layers, made by a user without rights on the host."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
import support.images
from boxwright import Engine
from boxwright.build.ops.context import Secret
from boxwright.build.progress import StepLog
from boxwright.build.request import BuildFailed, SshSource
from boxwright.runtime.userns import SIZE, subordinate
from support import REAL_ROOT
from support.agent import EchoAgent

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed"),
]

# What overlayfs, owners, modes and times are made of.
WRITER = """FROM busybox
RUN --network=none mkdir -p /a/b /o && echo y >/o/p && echo x >/a/b/f && chown 7:9 /a/b/f && chown -h 65535:65535 /a
RUN --network=none rm /bin/true && rm -r /o && mkdir /o && echo new >/o/passwd && ln /a/b/f /a/h && ln -s b /a/l
RUN --network=none mkfifo /p && chmod 1777 /a/b && touch -d @77 /p && echo more >>/a/b/f && cp /a/b/f /s && chown 7:9 /s && chmod 4755 /s
"""


@pytest.fixture(params=["", "runc", "crun"])
def engine(tmp_path: Path, request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A store that is closed to all but root, with each runtime."""
    if request.param and shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setenv("BOXWRIGHT_RUNTIME", request.param)
    engine = make_engine(tmp_path / "root")
    yield engine
    corpus.leave(engine)


def make_engine(root: Path) -> Engine:
    root.mkdir(mode=0o700)
    engine = Engine(root)
    corpus.provide_bases(engine, support.images.busybox_tar(), "busybox")
    return engine


def build(engine: Engine, text: str, on: Callable[[str], None] = lambda said: None, **more: Any) -> str:
    """What the steps said; `on` hears it as it comes."""
    said = bytearray()

    def hear(event: object) -> None:
        if isinstance(event, StepLog):
            said.extend(event.data)
            on(said.decode())

    engine.build(
        dockerfile_data=text.encode(),
        tags=("out",),
        progress=hear,
        no_cache=True,
        **{"userns": "auto", **more},
    )
    return said.decode()


def test_the_same_layers(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for userns in ("host", "auto"):
        build(engine, WRITER, userns=userns)
        found.append(
            (
                corpus.entries(engine, "out", above=1),
                engine.services.images_store.resolve_platform("out").layers,
            )
        )
    assert found[0] == found[1]
    assert any("f 4755 7:9 s" in line for lines in found[1][0] for line in lines)
    assert not list(engine.system.fsck()) and os.listdir(engine.root / "work") == []


@pytest.mark.parametrize("driver", ["unpacked", "copied"])
def test_the_same_layers_with_every_driver(
    tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOXWRIGHT_DRIVER", driver)
    engine = make_engine(tmp_path / "root")
    try:
        trees = []
        for userns in ("host", "auto"):
            build(engine, WRITER, userns=userns)
            trees.append(corpus.tree(engine, "out"))
        assert trees[0] == trees[1] and os.listdir(engine.root / "work") == []
    finally:
        corpus.leave(engine)


def test_root_inside_is_nobody_outside(engine: Engine, tmp_path: Path) -> None:
    """On the host its process and what it makes belong to a user that no account has."""
    users = subordinate()
    mark = f"2.{os.getpid()}{time.time_ns()}"
    owners: dict[str, set[int]] = {"process": set(), "setuid": set()}

    def look(said: str) -> None:
        if "ready" not in said:
            return
        end = time.monotonic() + 10
        while not owners["process"] and time.monotonic() < end:
            for process in Path("/proc").glob("[0-9]*"):
                if _read(process / "cmdline") == f"sleep\0{mark}\0":
                    lines = _read(process / "status").splitlines()
                    ids = [line.split()[1:] for line in lines if line.startswith(("Uid:", "Gid:"))]
                    owners["process"] |= {int(number) for each in ids for number in each}
        for made in engine.settings.runtime_dir.glob("step-*/rootfs/made"):
            place = made.parents[1].stat()  # closed to other users of the host
            assert (stat.S_IMODE(place.st_mode), place.st_gid) == (0o710, users.base)
            owners["setuid"].add(made.stat().st_uid)
            assert made.stat().st_mode & stat.S_ISUID

    text = (
        "FROM busybox\nRUN --network=none id -u; id -g; cat /proc/self/uid_map; cp /bin/busybox /made; chmod 4755 /made; "
        f"echo ready; exec sleep {mark}\n"
    )
    said = build(engine, text, look).split()
    assert said[:5] == ["0", "0", "0", str(users.base), str(users.size)]
    assert owners == {"process": {users.base}, "setuid": {users.base}} and users.base >= SIZE
    assert any("f 4755 0:0 made" in line for line in corpus.entries(engine, "out", above=1)[0])


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")  # other processes are named as they like
    except OSError:
        return ""


def test_files_of_the_hosts_root_stay_closed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that is mounted into the step."""
    from boxwright.build.ops import stepmounts
    from boxwright.build.ops.step import Given, Step
    from boxwright.spec import runtimespec as rs

    secret = tmp_path / "secret"
    secret.write_text("of the host")
    secret.chmod(0o600)
    before = stepmounts.given

    def given(step: Step, stack: ExitStack) -> Iterator[Given]:
        yield from before(step, stack)
        yield Given(mounts=(rs.bind(str(secret), "/exposed"),))

    monkeypatch.setattr(stepmounts, "given", given)
    text = "FROM busybox\nRUN --network=none cat /exposed; echo x >>/exposed; chmod 644 /exposed; stat -c %u /exposed; true\n"
    assert "of the host" in build(engine, text, userns="host")
    secret.write_text("of the host")
    secret.chmod(0o600)
    said = build(engine, text)
    assert "of the host" not in said and "65534" in said.split()
    assert secret.read_text() == "of the host" and secret.stat().st_mode & 0o777 == 0o600


def test_what_is_mounted_into_a_step(engine: Engine, tmp_path: Path) -> None:
    text = (
        "FROM busybox AS other\nRUN --network=none echo o >/o; chown 3:4 /o\nFROM busybox\n"
        "RUN --network=none --mount=type=secret,id=s,target=/s,uid=5,gid=6,mode=0440 --mount=type=bind,from=other,target=/b,rw "
        "--mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/t cat /s; touch /b/new /c/f /t/f; chown 8 /c/f; "
        "stat -c %u:%g /s /b/o /b/new /c /c/f /t/f /etc/hosts /etc/resolv.conf\n"
        "RUN --network=none --mount=type=cache,id=c,target=/c stat -c %u /c/f && rm /c/f\n"
    )
    said = build(engine, text, secrets=(Secret("s", value=b"hush\n"),)).split()
    assert said == ["hush", "5:6", "3:4", "0:0", "0:0", "8:0", "0:0", "0:0", "0:0", "8"]
    # The cache is the same one for builds with the host's root.
    text = "FROM busybox\nRUN --network=none --mount=type=cache,id=c,target=/c touch /c/g && stat -c %u /c\n"
    assert build(engine, text, userns="host").split() == ["0"]
    assert build(engine, text.replace("touch", "rm")).split() == ["0"]


def test_a_user_that_the_namespace_does_not_have(engine: Engine) -> None:
    text = "FROM busybox\nRUN --network=none chown 70000 /bin || echo refused\n"
    assert "refused" in build(engine, text)
    text = "FROM busybox\nRUN --network=none --mount=type=secret,id=s,uid=70000 true\n"
    with pytest.raises(BuildFailed, match="70000 does not exist in a user namespace"):
        build(engine, text, secrets=(Secret("s", value=b"x"),))


def test_a_store_whose_mounts_cannot_map_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot: a sentence, and no step with the host's root instead."""
    for name in ("lower", "upper", "work", "over"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(tmp_path / "over")], check=True)
    try:
        monkeypatch.setenv("BOXWRIGHT_DRIVER", "copied")
        engine = make_engine(tmp_path / "over/root")
        with pytest.raises(BuildFailed, match="cannot run in a user namespace of its own") as caught:
            build(engine, "FROM busybox\nRUN --network=none true\n")
        assert "file system" in caught.value.hint and os.listdir(engine.root / "work") == []
        corpus.leave(engine)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "over")], check=True)


def test_what_a_step_reaches(engine: Engine) -> None:
    """Neither the machine's metadata service nor the machine itself, and it cannot change that."""
    own = re.findall(r"inet ([0-9.]+)", subprocess.check_output(["ip", "-4", "address"], text=True))
    text = (
        "FROM busybox\nRUN ip route; for a in 169.254.169.254 {own} $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'); do "
        "nc -w 2 $a 80 </dev/null 2>&1; done; ip route del prohibit 169.254.0.0/16 2>&1; ls /sys/class/net\n"
    ).replace("{own}", " ".join(a for a in own if not a.startswith("127.")))
    said = build(engine, text, untrusted=True)
    if "default via" not in said:
        pytest.skip("no bridge can be made here")
    assert said.count("Permission denied") + said.count("Host is unreachable") + said.count("prohibited") >= 2
    assert "Operation not permitted" in said and said.split()[-2:] == ["eth0", "lo"]


def test_without_a_network_of_its_own_a_step_does_not_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boxwright.build.ops import stepnet

    def broken(step: Any, stack: Any) -> Any:
        raise OSError(1, "no bridge")

    monkeypatch.setattr(stepnet, "_bridge", broken)
    for more in ({}, {"userns": "host", "untrusted": True}):
        with pytest.raises(BuildFailed, match="no network of its own"):
            build(engine, "FROM busybox\nRUN true\n", **more)
    assert build(engine, "FROM busybox\nRUN echo ran\n", userns="host").endswith("ran\n")


def test_a_killed_step_leaves_nothing_mounted(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(
        "FROM busybox\nRUN --network=none --mount=type=cache,target=/c --mount=type=bind,from=busybox,target=/b echo ready; sleep 60\n"
    )
    before = set(engine.settings.runtime_dir.glob("step-*"))
    words = ("build", "--progress=plain", "--no-cache", "--userns=auto", str(tmp_path / "context"))
    environ = {**os.environ, "BOXWRIGHT_ROOT": str(engine.root)}
    process = subprocess.Popen(
        [sys.executable, "-m", "boxwright", *words], env=environ, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any("ready" in line and "RUN" not in line for line in process.stderr)
    process.kill()
    process.wait()
    process.stderr.close()
    end = time.monotonic() + 20
    while (left := _left(engine)) and time.monotonic() < end:
        engine.builds.prune()
        time.sleep(0.1)
    assert left == [] and os.listdir(engine.root / "work") == []
    assert build(engine, "FROM busybox\nRUN --network=none echo ran\n") == "ran\n"
    assert set(engine.settings.runtime_dir.glob("step-*")) <= before


def _left(engine: Engine) -> list[str]:
    """Mounts of trees in use, here and where steps reach them."""
    places = (str(engine.root / "work"), str(engine.settings.runtime_dir / "step-"))
    return [
        line for line in _read(Path("/proc/self/mounts")).splitlines() if line.split()[1].startswith(places)
    ]


@pytest.mark.parametrize("userns", ["host", "auto"])
def test_an_agent_has_the_owner_and_mode_that_a_step_asks_for(
    engine: Engine, tmp_path: Path, userns: str
) -> None:
    """Its own socket, which leads to the agent and is gone with the step."""
    with EchoAgent(tmp_path / "agent") as agent:
        answers = []

        def speak(said: str) -> None:
            if "ready" in said and not answers:
                (path,) = engine.settings.runtime_dir.glob("secrets-step-*/0")
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
                    one.connect(f"/proc/self/root{path}")
                    one.sendall(b"hello")
                    answers.append(one.recv(10))

        said = build(
            engine,
            'FROM busybox\nRUN --network=none --mount=type=ssh,uid=7,gid=9,mode=0640 stat -c "%u:%g %a %F" $SSH_AUTH_SOCK\n'
            "RUN --network=none --mount=type=ssh,id=other --mount=type=ssh,id=third echo agent=$SSH_AUTH_SOCK.\n"
            'RUN --network=none --mount=type=ssh,target=/a stat -c "%u:%g %a %n" /a; echo ready; sleep 1\n',
            speak,
            userns=userns,
            ssh={"default": SshSource((agent.path,), raw=True)},
        )
    assert "agent=/run/buildkit/ssh_agent.0." in said  # which is not there
    assert "7:9 640 socket" in said and "0:0 600 /a" in said
    assert answers == [b"hello"] and not list(engine.settings.runtime_dir.glob("secrets-step-*"))
