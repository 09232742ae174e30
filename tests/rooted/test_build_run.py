"""RUN on real trees: what the process sees, what stays in the layer, what happens when it fails or is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
import support.images
from boxwright import Engine
from boxwright.build.ops.context import Secret
from boxwright.build.progress import StepCached, StepDone, StepLog
from boxwright.build.request import BuildFailed, BuildResult
from boxwright.errors import StepFailed
from boxwright.layer.view import LayersView
from boxwright.spec.runtimespec import LimitInvalid
from support import REAL_ROOT

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed"),
]


def make_engine(root: Path) -> Engine:
    engine = Engine(root)
    corpus.provide_bases(engine, support.images.busybox_tar(), "busybox")
    return engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(tmp_path / "root")
    yield engine
    corpus.leave(engine)


class Build:
    """One build of a text, and what it said."""

    def __init__(self, engine: Engine, dockerfile: str, context: Path | None = None, **more: Any) -> None:
        self.events: list[Any] = []
        self.error: BuildFailed | None = None
        self.result: BuildResult | None = None
        try:
            self.result = engine.build(
                context=context,
                dockerfile_data=dockerfile.encode(),
                tags=("out",),
                progress=self.events.append,
                **more,
            )
        except BuildFailed as error:
            self.error = error

    @property
    def said(self) -> str:
        return b"".join(e.data for e in self.events if isinstance(e, StepLog)).decode()

    @property
    def ran(self) -> list[str]:
        assert self.result is not None, self.error and (str(self.error) + self.error.render())
        return [s.name for s in self.result.steps if not s.cached]


def layers(engine: Engine) -> list[list[str]]:
    return corpus.entries(engine, "out", above=1)


def test_nothing_of_the_engine_stays(engine: Engine) -> None:
    """A base without /proc, /dev, /sys, /etc/hosts: they are there for the process, and nowhere in the image."""
    done = Build(
        engine,
        "FROM busybox\nRUN rm -rf /etc/motd\nRUN ls -d /proc/1 /dev/null /sys/kernel; cat /etc/hosts | wc -l; test -s /etc/resolv.conf || true\n"
        "RUN --mount=type=secret,id=s,target=/deep/in/here --mount=type=cache,target=/var/cache/x --mount=type=tmpfs,target=/t true\n",
        secrets=(Secret("s", value=b"x"),),
    )
    assert done.said.startswith("/proc/1\n/dev/null\n/sys/kernel\n") or "/dev/null" in done.said, done.error
    assert layers(engine)[1:] == [[], []]
    assert layers(engine)[0] == ["d 0755 0:0 etc", "f 0000 0:0 etc/.wh.motd  e3b0c44298fc"]


def test_the_process_sees_what_the_dockerfile_says(engine: Engine) -> None:
    done = Build(
        engine,
        "FROM busybox\nARG A=1\nENV B=2\nARG B=3\nWORKDIR /w/x\nUSER app\nRUN id -u; id -g; pwd; hostname; echo $A$B $HOME; ls -ld /w/x\n"
        "USER 7:8\nRUN id -u; id -g\nUSER nobody-knows\nRUN true\n",
    )
    assert (
        done.error is not None
        and "unable to find user nobody-knows: no matching entries in passwd file" in str(done.error)
    )
    assert done.said.split("\n")[:5] == ["1000", "1000", "/w/x", "buildkitsandbox", "13 /home/app"]
    assert done.said.endswith("7\n8\n")


def test_argv_forms_and_shell(engine: Engine) -> None:
    done = Build(
        engine,
        'FROM busybox\nRUN ["/bin/echo", "a $HOME", "b"]\nSHELL ["/bin/sh", "-ec"]\nRUN false; echo "not reached"\n',
    )
    assert done.said == "a $HOME b\n"
    assert isinstance(done.error and done.error.cause, StepFailed)
    assert (
        str(done.error)
        == 'failed to solve: process "/bin/sh -ec false; echo \\"not reached\\"" did not complete successfully: exit code: 1'
    )


def test_failure_shows_where(engine: Engine) -> None:
    done = Build(engine, "FROM busybox\nENV a=b\nRUN echo said this; echo and that >&2; exit 42\nENV c=d\n")
    assert done.error is not None and done.error.cause.code == 42  # type: ignore[attr-defined]
    text = done.error.render()
    assert " > [2/2] RUN echo said this; echo and that >&2; exit 42:\n" in text
    assert "said this\n" in text and "and that\n" in text
    assert "   3 | >>> RUN echo said this; echo and that >&2; exit 42\n   4 |     ENV c=d\n" in text
    assert not list((engine.root / "work").iterdir())


def test_a_program_that_is_not_there(engine: Engine) -> None:
    done = Build(engine, 'FROM busybox\nRUN ["/no/such"]\n')
    assert done.error is not None and "/no/such" in str(done.error)


def test_mounts(engine: Engine, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("from the context\n")
    (context / "ignored").write_text("x")
    (context / ".dockerignore").write_text("ignored\n")
    text = (
        "FROM busybox AS other\nRUN echo from the stage > /o\nFROM busybox\n"
        "RUN --mount=target=/c --mount=type=bind,from=other,source=/o,target=/o ls /c; cat /c/f /o; touch /c/x 2>&1 || echo read-only\n"
        "RUN --mount=target=/c,rw echo new > /c/new && cat /c/new\nRUN --mount=target=/c ls /c\n"
        "RUN --mount=type=cache,id=k,target=/k echo one >> /k/file; wc -l < /k/file\n"
        "RUN --mount=type=cache,id=k,target=/k echo two >> /k/file; wc -l < /k/file\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m echo x > /t/x && ls /t\n"
    )
    done = Build(engine, text, context)
    assert done.error is None, str(done.error) + done.error.render()
    words = done.said.split("\n")
    assert words[:4] == ["f", "from the context", "from the stage", "touch: /c/x: Read-only file system"]
    assert words[4:] == ["read-only", "new", "f", "1", "2", "x", ""]
    assert layers(engine) == [[], [], [], [], [], []]


def test_a_cache_that_is_mounted_twice_is_claimed_once(engine: Engine) -> None:
    """A lock of its own for each mount would make the step wait for itself."""
    for sharing in ("shared", "locked", "private"):
        cache = f"--mount=type=cache,id=twice-{sharing},sharing={sharing}"
        done = Build(
            engine, f"FROM busybox\nRUN {cache},target=/a {cache},target=/b echo x > /a/f; cat /b/f\n"
        )
        assert done.error is None and done.said == "x\n"


def test_two_steps_that_want_the_same_caches_do_not_wait_for_each_other(engine: Engine) -> None:
    one, other = (f"--mount=type=cache,id={name},sharing=locked,target=/{name}" for name in "xy")
    text = (
        f"FROM busybox AS a\nRUN {one} {other} sleep 0.1; echo a\nFROM busybox AS b\nRUN {other} {one} sleep 0.1; echo b\n"
        "FROM scratch\nCOPY --from=a /etc/motd /a\nCOPY --from=b /etc/motd /b\n"
    )
    done = Build(engine, text, jobs=2)
    assert done.error is None and sorted(done.said.split()) == ["a", "b"]


def test_secrets_stay_secret(engine: Engine, tmp_path: Path) -> None:
    text = (
        "FROM busybox\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN cat /run/secrets/token; echo; echo $TOKEN; "
        "stat -c %a /run/secrets/token\nRUN test ! -e /run/secrets\n"
    )
    done = Build(engine, text, secrets=(Secret("token", value=b"hunter2"),))
    assert done.said == "hunter2\nhunter2\n400\n"
    assert layers(engine) == [[], []]
    for path in engine.root.rglob("*"):
        # What a step says is in the log of its build, as with Docker.
        if path.is_file() and not {"mounts", "builds"} & set(path.parts):
            assert b"hunter2" not in path.read_bytes(), path
    assert "hunter2" in str(list(engine.builds.logs())) and "hunter2" not in str(engine.builds.get().details)
    assert Build(engine, text, secrets=(Secret("token", value=b"other"),)).ran == []
    missing = Build(engine, "FROM busybox\nRUN --mount=type=secret,id=gone,required true\n")
    assert "secret gone: not found" in str(missing.error)


def test_heredocs(engine: Engine) -> None:
    done = Build(
        engine,
        "FROM busybox\nRUN <<EOF\nx=1\necho $x\nEOF\nRUN <<EOF cat | tr a-z A-Z\nloud\nEOF\nRUN <<EOF\n#!/bin/sh\necho script $0\nEOF\n",
    )
    assert done.said == "1\nLOUD\nscript /dev/pipes/EOF\n"
    assert layers(engine) == [[], [], []]


def test_parallel_stages_meet_and_idle_ones_do_not_run(engine: Engine) -> None:
    wait = "for i in $(seq 100); do test -e /m/{} && exit 0; sleep 0.1; done; exit 1"
    text = (
        "FROM busybox AS a\nRUN --mount=type=cache,target=/m touch /m/a; " + wait.format("b") + "\n"
        "FROM busybox AS b\nRUN --mount=type=cache,target=/m touch /m/b; " + wait.format("a") + "\n"
        "FROM busybox AS idle\nRUN exit 1\n"
        "FROM scratch\nCOPY --from=a /etc/motd /a\nCOPY --from=b /etc/motd /b\n"
    )
    assert Build(engine, text, jobs=2).error is None


def test_records(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("1")
    text = "FROM busybox\nRUN echo first > /first\nCOPY f /f\nRUN cat /f > /g\nENV X=1\n"
    first = Build(engine, text, context)
    assert len(first.ran) == 3
    with monkeypatch.context() as patch:
        patch.setattr(
            type(engine.services.snapshots), "prepare", lambda *_, **__: pytest.fail("a tree for a full hit")
        )
        again = Build(engine, text, context)
    assert (
        again.ran == [] and again.result and first.result and again.result.image_id == first.result.image_id
    )
    (context / "f").write_text("2")
    changed = Build(engine, text, context, explain=True)
    assert [n.split("] ")[1] for n in changed.ran] == ["COPY f /f", "RUN cat /f > /g"]
    assert changed.result and [s.reason for s in changed.result.steps][2:] == [
        "f modified",
        "parent step changed",
    ]
    (context / "f").write_text("1")
    back = Build(engine, text, context)
    assert back.ran == [] and back.result and back.result.image_id == first.result.image_id
    assert len(Build(engine, text, context, no_cache=True).ran) == 3
    assert any(isinstance(e, StepCached) for e in back.events) and any(
        isinstance(e, StepDone) for e in back.events
    )


def test_what_a_step_writes_does_not_depend_on_when_and_where(tmp_path: Path) -> None:
    """Two roots, two umasks, two orders of creation: the same layers."""
    text = (
        "FROM busybox\nWORKDIR /app\nCOPY . .\nRUN echo x > made && mkdir -p d/e && touch d/e/f && ln -s made link && ln made hard && rm README && chmod 600 b.sh\n"
        "RUN mkdir -p p/__pycache__ && cp a.py p/m.py && cat p/m.py > p/__pycache__/m.cpython-311.pyc\n"
    )
    seen = []
    for number, (mask, names) in enumerate(
        [(0o022, ["a.py", "b.sh", "README", "sub/z"]), (0o077, ["sub/z", "README", "b.sh", "a.py"])]
    ):
        old = os.umask(mask)
        try:
            engine = make_engine(tmp_path / f"root{number}")
            context = tmp_path / f"context{number}"
            context.mkdir()
            for name in names:
                (context / name).parent.mkdir(exist_ok=True)
                (context / name).write_text(name)
            os.chmod(context / "b.sh", 0o777 & ~mask)
            (context / "Dockerfile").write_text(text)
            time.sleep(0.01)
            engine.build(context=context, tags=("out",))
            seen.append([str(d) for d in engine.services.images_store.resolve_platform("out").layers])
            corpus.leave(engine)
        finally:
            os.umask(old)
    assert seen[0] == seen[1] and len(seen[0]) == 5


def run_cli(root: Path, *words: str, **more: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BOXWRIGHT_ROOT": str(root), "NO_COLOR": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "boxwright", *words],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **more,
    )


def test_interrupt(engine: Engine, tmp_path: Path) -> None:
    """Ctrl-C: exit code 130, and neither process nor workspace nor mount is left."""
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo started; sleep 1000\n")
    process = run_cli(engine.root, "build", "--progress", "plain", str(tmp_path))
    assert process.stderr is not None
    for line in process.stderr:
        if b" started" in line:
            break
    process.send_signal(signal.SIGINT)
    try:
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()  # else a build that goes on would outlive its test
    assert process.returncode == 130, error
    assert not list((engine.root / "work").iterdir())
    with open("/proc/self/mounts") as mounts:
        assert not [line for line in mounts if f"{engine.root}/work" in line]


def test_two_builds_and_a_prune_at_once(engine: Engine, tmp_path: Path) -> None:
    """The same step is run by one of them; the collector takes nothing from under them."""
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=cache,target=/k echo x >> /k/f; sleep 1; wc -l < /k/f > /count\n"
    )
    builds = [run_cli(engine.root, "build", "-q", "-t", f"n{n}", str(tmp_path)) for n in range(2)]
    stop = threading.Event()

    def prune() -> None:
        other = Engine(engine.root)
        while not stop.is_set():
            other.images.prune()
            other.system.collect()
            time.sleep(0.05)
        other.services.db.close()

    thread = threading.Thread(target=prune)
    thread.start()
    said = [process.communicate(timeout=60) for process in builds]
    stop.set()
    thread.join()
    assert [process.returncode for process in builds] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert Build(engine, "FROM n0\nRUN cat /count\n").said == "1\n"
    assert not list(engine.system.fsck())


def test_the_hosts_certificates(engine: Engine, tmp_path: Path) -> None:
    """The process trusts what the host trusts; image, history and key know nothing of it."""
    from dataclasses import replace

    bundle = tmp_path / "host.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nprivate\n")
    trusting = Engine(settings=replace(engine.settings, host_ca_bundle=bundle, host_ca_named=True))
    text = (
        "FROM busybox\nENV PIP_CERT=/mine\nRUN cat $SSL_CERT_FILE; echo $SSL_CERT_FILE $PIP_CERT; touch /x\n"
    )
    first = Build(trusting, text)
    assert "private" in first.said and first.said.endswith(" /mine\n")
    assert layers(engine) == [["f 0644 0:0 x  e3b0c44298fc"]]
    plain = Build(engine, text, trust_host_ca=False)
    assert (
        plain.ran == [] and plain.result and first.result and plain.result.image_id == first.result.image_id
    )
    trusting.services.db.close()


def test_hosts_limits_and_networks(engine: Engine) -> None:
    done = Build(
        engine,
        "FROM busybox\nRUN grep -c peer /etc/hosts; ulimit -n; df -k /dev/shm | tail -1 | awk '{print $2}'\n"
        "RUN --network=none ls /sys/class/net; sed -n 's/.*peer$/&/p; s/.*buildkitsandbox$/&/p' /etc/hosts\n",
        add_hosts=(("peer", "1.2.3.4"),),
        ulimits=("nofile=100:200",),
        shm_size=1 << 20,
    )
    assert done.said == "1\n100\n1024\nlo\n1.2.3.4\tpeer\n127.0.0.1\tbuildkitsandbox\n", done.error


def test_steps_use_a_network_one_after_the_other_and_find_it_as_new(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a step that may change its network, and one that left sockets there, has one of its own."""
    from boxwright.build.ops import stepnet

    made: list[str] = []
    plain = stepnet._wired
    monkeypatch.setattr(stepnet, "_wired", lambda step: made.append(step.op.argv[-1]) or plain(step))
    look = "ls /sys/class/net; ip -4 addr show lo | grep -c inet; grep -c : /proc/net/tcp || true"
    listen = "(echo x | nc -l -p 5000 >/dev/null) & until nc 127.0.0.1 5000 </dev/null >/dev/null 2>&1; do :; done; wait; true"
    change = "ip addr add 127.0.0.9/8 dev lo"
    text = f"""\
FROM busybox
RUN {look} # 1
RUN {look} # 2
RUN --security=insecure {change}
RUN {look} # 3
RUN {listen}
RUN {look} # 4
RUN {look} # 5
"""
    done = Build(engine, text, allow=("security.insecure",))
    assert done.said == "eth0\nlo\n1\n0\n" * 5, done.error
    assert [command.rpartition(" # ")[2] for command in made][:2] == ["1", change]
    assert made.count(change) == 1 and not any(command.endswith((" # 2", " # 3", " # 5")) for command in made)
    with engine.services.db.read() as sql:
        assert sql.execute("SELECT count(*) FROM addresses").fetchone() == (0,)


def test_proxies_are_seen_and_not_kept(tmp_path: Path) -> None:
    from dataclasses import replace

    engine = make_engine(tmp_path / "root")
    behind = Engine(settings=replace(engine.settings, proxies={"http_proxy": "http://secret@proxy:1"}))
    text = "FROM busybox\nRUN echo $http_proxy\n"
    assert Build(behind, text).said == "http://secret@proxy:1\n"
    assert Build(engine, text).ran == []
    assert "secret" not in str(engine.services.images_store.resolve_platform("out").config)
    behind.services.db.close()
    corpus.leave(engine)


@pytest.mark.parametrize("given", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_has_both_spellings(engine: Engine, given: str) -> None:
    text = "FROM busybox\nRUN echo $http_proxy $HTTP_PROXY\n"
    assert Build(engine, text, build_args={given: "http://p:1"}).said == "http://p:1 http://p:1\n"
    both = {"http_proxy": "http://small:1", "HTTP_PROXY": "http://LARGE:1"}
    done = Build(engine, text, build_args=both, no_cache=True)
    assert done.said == "http://small:1 http://LARGE:1\n"


def test_a_mounted_part_of_a_stage_is_keyed_by_its_content(engine: Engine) -> None:
    text = """\
FROM busybox AS a
RUN mkdir -p /x/y && echo {wanted} > /x/y/f && echo {other} > /other && ln -s x /l
FROM busybox
RUN --mount=from=a,source=/l/y,target=/m cat /m/f > /out
"""
    first = Build(engine, text.format(wanted=1, other=1))
    assert first.result
    again = Build(engine, text.format(wanted=1, other=2))
    assert len(again.ran) == 1 and again.result and again.result.image_id == first.result.image_id
    assert len(Build(engine, text.format(wanted=2, other=2)).ran) == 2
    mode = Build(engine, text.format(wanted=2, other=2).replace("&& ln", "&& chmod 700 /x/y && ln"))
    assert len(mode.ran) == 2
    missing = Build(engine, text.format(wanted=1, other=1).replace("/l/y", "/nothing"))
    assert '"/nothing": not found' in str(missing.error)


def test_a_cache_is_known_by_all_that_makes_it(engine: Engine) -> None:
    """Owner, mode and namespace as well as the id: another of them is another, empty cache."""
    text = (
        "FROM busybox\nRUN --mount=type=cache,target=/c{} stat -c '%u %g %a' /c; ls /c; touch /c/used # {}\n"
    )
    seen = [
        Build(engine, text.format(flags, n), **more).said
        for n, (flags, more) in enumerate(
            [
                ("", {}),
                ("", {}),
                (",uid=5,gid=6", {}),
                (",mode=0700", {}),
                ("", {"build_args": {"BUILDKIT_CACHE_MOUNT_NS": "mine"}}),
            ]
        )
    ]
    assert seen == ["0 0 755\n", "0 0 755\nused\n", "5 6 755\n", "0 0 700\n", "0 0 755\n"]


def test_limits_of_steps(engine: Engine) -> None:
    """They are the kernel's while the step runs, and part of its key."""
    seen = """\
for d in /proc/self/cgroup; do cat $d; done
cat /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares \
  2>/dev/null || cat /sys/fs/cgroup/cpuset.cpus /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.weight
"""
    text = f"FROM busybox\nRUN <<E\n{seen}E\n"
    limits = {"memory": 64 << 20, "cpuset_cpus": "0", "cpu_shares": 100, "cgroup_parent": "/boxwright-test"}
    done = Build(engine, text, **limits)
    assert done.error is None, done.error.render()
    assert "/boxwright-test/step-" in done.said or "0::/\n" in done.said
    assert {"0", str(64 << 20)} <= set(done.said.split())
    assert Build(engine, text, **limits).ran == [] and len(Build(engine, text).ran) == 1
    with pytest.raises(LimitInvalid, match="Minimum memory limit"):
        engine.build(dockerfile_data=text.encode(), memory=1024)
    for made in (*Path("/sys/fs/cgroup").glob("*/boxwright-test"), Path("/sys/fs/cgroup/boxwright-test")):
        if made.exists():
            made.rmdir()


def test_explain_names_files_of_mounts_and_lines(engine: Engine, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("1")
    text = """\
FROM busybox AS a
COPY f /d/f
FROM busybox
RUN --mount=target=/m cat /m/f
RUN --mount=from=a,source=/d,target=/m cat /m/f
RUN <<E
echo one
echo two
E
"""

    def reasons(text: str) -> list[str]:
        done = Build(engine, text, context, explain=True)
        assert done.result, done.error
        return [step.reason for step in done.result.steps if step.name.partition("] ")[2].startswith("RUN")]

    reasons(text)
    (context / "f").write_text("2")
    found = reasons(text.replace("echo two", "echo 2"))
    assert found[0] == "f modified" and "d/f modified" in found[1]
    assert found[2].startswith("line 2 changed: echo two -> echo 2")


def test_a_working_directory_that_is_a_file(engine: Engine) -> None:
    done = Build(engine, "FROM busybox\nRUN touch /f\nWORKDIR /f/d\n")
    assert "cannot make the working directory /f/d: /f is there and is not a directory" in str(done.error)
    engine.build(dockerfile_data=b"FROM busybox\nWORKDIR /w\n", tags=("base",))
    done = Build(engine, "FROM base\nRUN cd / && rmdir /w && touch /w\nRUN pwd\n")
    assert "cannot make the working directory /w: it is there and is not a directory" in str(done.error)


def test_a_missing_command_is_named_with_its_package(engine: Engine, tmp_path: Path) -> None:
    """As the Dockerfile of every course needs it, whose base has no pip3."""
    prepare = b"FROM busybox\nRUN mkdir -p /etc && echo ID=debian > /etc/os-release\n"
    engine.build(dockerfile_data=prepare, tags=("ubuntu:latest",))
    (tmp_path / "app").mkdir()
    for name in ("requirements.txt", "app.py"):
        (tmp_path / "app" / name).write_text("")
    course = """\
FROM ubuntu:latest
COPY requirements.txt /app/
COPY app.py /app/
RUN true && true -y python3
RUN pip3 install -r /app/requirements.txt
CMD ["python3", "/app/app.py"]
"""
    wanted = "pip3 is in the package python3-pip: RUN apt-get update && apt-get install -y python3-pip"
    done = Build(engine, course, tmp_path / "app")
    assert done.error is not None and done.error.hint == wanted and ">>> RUN pip3" in done.error.render()
    done = Build(engine, 'FROM ubuntu:latest\nRUN ["pip3", "install"]\n')
    assert done.error is not None and done.error.hint == wanted
    done = Build(engine, "FROM busybox\nRUN pip3 install\n")
    assert (
        done.error is not None and done.error.hint == "pip3 is not in the image; install it in a step before"
    )


CROSS = """FROM --platform=$BUILDPLATFORM busybox AS build
RUN echo compiler > /compiler
ARG BUILDPLATFORM TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT
RUN echo "$BUILDPLATFORM $TARGETPLATFORM $TARGETOS $TARGETARCH$TARGETVARIANT" > /app
FROM scratch
COPY --from=build /app /app
"""


def test_cross_compiling(engine: Engine, tmp_path: Path) -> None:
    """What a stage on the build's platform makes for each target: nothing of another processor runs, and what does not
    depend on the target runs once."""
    from boxwright.build.options import outputs

    platforms = ("linux/amd64", "linux/arm64", "linux/arm/v7")
    wanted = outputs(["type=image", f"type=local,dest={tmp_path}/out", f"type=tar,dest={tmp_path}/tar"])
    build = Build(engine, CROSS, platforms=platforms, outputs=wanted)
    assert [name for name in build.ran if "compiler" in name] == [
        "[linux/amd64 build 2/3] RUN echo compiler > /compiler"
    ]
    here = f"linux/{engine.services.images_store.default_platform.architecture}"
    said = {
        "linux_amd64": f"{here} linux/amd64 linux amd64\n",
        "linux_arm64": f"{here} linux/arm64 linux arm64\n",
        "linux_arm_v7": f"{here} linux/arm/v7 linux armv7\n",
    }
    assert {path.parent.name: path.read_text() for path in (tmp_path / "out").glob("*/app")} == said
    for platform, text in zip(platforms, said.values(), strict=True):
        found = engine.services.images_store.resolve_platform("out", platform)
        assert str(found.config.platform) == platform
        with LayersView([engine.services.layers.get(layer) for layer in found.layers]) as view:
            assert view.read("app") == text.encode()
    assert build.result is not None and build.result.descriptor["mediaType"].endswith("index.v1+json")


@pytest.mark.parametrize("more", [{}, {"squash": "new"}, {"squash": "all"}, {"rewrite_timestamp": True}])
def test_steps_give_the_same_bytes_on_two_roots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    from boxwright.build.options import outputs

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")  # of the base, too
    text = "FROM busybox\nRUN mkdir /d && date > /dev/null && echo a > /d/a && rm /bin/true\nRUN ln /d/a /d/b && touch /d/c\n"
    targets = set()
    for name in ("one", "two"):
        engine = make_engine(tmp_path / name)
        wanted = outputs([f"type=oci,dest={tmp_path}/{name}.oci", "type=image"])
        build = Build(engine, text, outputs=wanted, **more)
        assert build.result is not None, build.error
        targets.add((tuple(o.target for o in build.result.outputs), (tmp_path / f"{name}.oci").read_bytes()))
        seen = Build(engine, "FROM out\nRUN ls /d && test ! -e /bin/true && cat /d/b")
        assert seen.said.split() == ["a", "b", "c", "a"]
        corpus.leave(engine)
    assert len(targets) == 1
