"""What a RUN step is given, as values: mounts, variables and files, and what is closed when it ends."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.build.graph import Graph, Tree
from boxwright.build.ops.context import Sandbox, Secret, SecretMissing, StepContext
from boxwright.build.ops.exec import ExecMount, ExecOp
from boxwright.build.ops.step import Given, Step
from boxwright.build.ops.stepmounts import MountSourceMissing, SecretInvalid, claimed_cache, given
from boxwright.build.ops.stepnet import connect, system
from boxwright.build.ops.stepwire import Wires
from boxwright.errors import Cancelled
from boxwright.runtime.trust import TARGET
from boxwright.runtime.userns import Subordinate
from boxwright.spec.digest import DiffID

ME, GROUP = os.geteuid(), os.getegid()
LAYERS = Tree((DiffID.of(b"x"),))


class Trees:
    """Snapshots whose trees are plain directories."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.calls: list[str] = []

    def view(self, key: str, layers: object) -> None:
        self.calls.append(f"view {key}")

    def prepare(self, key: str, layers: object, *, volatile: bool) -> None:
        self.calls.append(f"prepare {key}")

    def discard(self, key: str) -> None:
        self.calls.append(f"discard {key}")

    def mount(self, key: str) -> Path:
        return self.top


class Held:
    def __init__(self) -> None:
        self.held: list[object] = []

    def hold(self, kind: str, *refs: object) -> None:
        self.held += refs


class World:
    """A step over directories below one path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "tree/usr/share").mkdir(parents=True)
        (path / "tree/usr/share/data").write_text("of the other stage")
        (path / "tree/share").symlink_to("/usr/share")
        (path / "workspace/sandbox").mkdir(parents=True)
        self.trees = Trees(path / "tree")
        self.lease = Held()
        self.events: list[Any] = []
        self.cancel = threading.Event()

    def step(self, *mounts: ExecMount, sandbox: dict[str, Any] | None = None, **op: Any) -> Step:
        settings = SimpleNamespace(runtime_dir=self.path / "run", host_ca_bundle=self.path / "ca.pem")
        operation = ExecOp(argv=("true",), mounts=mounts, **op)
        ctx = StepContext(
            vertex=Graph().vertex(operation),
            services=SimpleNamespace(root=self.path, settings=settings, snapshots=self.trees),  # type: ignore[arg-type]
            lease=self.lease,  # type: ignore[arg-type]
            emit=self.events.append,
            cancel=self.cancel,
            # The step's root is this process's user, so that no privilege is needed to give it files.
            sandbox=Sandbox(users=Subordinate(ME), **(sandbox or {})),
            contexts={},
            fetch=lambda missing, ctx: None,
        )
        return Step(
            op=operation,
            inputs=(Tree(), LAYERS),
            ctx=ctx,
            key="step-1",
            rootfs=self.path / "workspace/rootfs",
            files=self.path / "workspace/sandbox",
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def everything(step: Step, stack: ExitStack) -> Given:
    return Given.together(given(step, stack))


def test_which_value_of_a_variable_counts() -> None:
    parts = [
        Given(env={"A": "1"}, defaults={"HOME": "/first", "B": "default"}, mounts=({"destination": "/1"},)),
        Given(env={"A": "2"}, defaults={"HOME": "/second"}, mounts=({"destination": "/2"},)),
    ]
    both = Given.together(parts)
    assert [m["destination"] for m in both.mounts] == ["/1", "/2"]
    assert both.environment({"A": "own", "B": "own"}) == {"A": "2", "B": "own", "HOME": "/first"}
    assert Given.together([]).environment({"X": "y"}) == {"X": "y"}


def test_the_hosts_certificates_yield_to_the_steps_own(world: World, stack: ExitStack) -> None:
    assert everything(world.step(), stack) == Given()
    found = everything(world.step(sandbox={"trust_host_ca": True}), stack)
    assert [(m["source"], m["destination"]) for m in found.mounts] == [(str(world.path / "ca.pem"), TARGET)]
    env = found.environment({"SSL_CERT_FILE": "/own"})
    assert env["SSL_CERT_FILE"] == "/own" and env["CURL_CA_BUNDLE"] == TARGET


def test_a_script_is_a_file_that_can_be_run(world: World, stack: ExitStack) -> None:
    found = everything(world.step(script=("/dev/pipes/EOF", "#!/bin/sh\n")), stack)
    (mount,) = found.mounts
    source = Path(mount["source"])
    assert source.read_bytes() == b"#!/bin/sh\n" and stat.S_IMODE(source.stat().st_mode) == 0o755
    assert mount["destination"] == "/dev/pipes/EOF" and "ro" in mount["options"]


def test_a_tmpfs_has_its_size(world: World, stack: ExitStack) -> None:
    mounts = ExecMount(type="tmpfs", target="/a", size=4096), ExecMount(type="tmpfs", target="/b")
    found = everything(world.step(*mounts), stack)
    assert [(m["type"], m["destination"], "size=4096" in m["options"]) for m in found.mounts] == [
        ("tmpfs", "/a", True),
        ("tmpfs", "/b", False),
    ]


def test_secrets_are_files_in_memory_and_variables(world: World) -> None:
    secrets = {"s": Secret("s", value=b"hush\xff"), "nul": Secret("nul", value=b"a\0b")}
    as_file = ExecMount(type="secret", target="/run/secrets/s", id="s", mode=0o440)
    as_both = ExecMount(type="secret", target="/other", id="s", env="TOKEN")
    as_variable = ExecMount(type="secret", target="", id="s", env="ONLY", file=False)
    absent = ExecMount(type="secret", target="/x", id="absent")
    with ExitStack() as stack:
        step = world.step(as_file, as_both, as_variable, absent, sandbox={"secrets": secrets})
        found = everything(step, stack)
        files = [Path(m["source"]) for m in found.mounts]
        assert [m["destination"] for m in found.mounts] == ["/run/secrets/s", "/other"]
        assert [file.read_bytes() for file in files] == [b"hush\xff"] * 2
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o440, 0o400]
        assert files[0].parent == files[1].parent == world.path / "run/secrets-step-1"
        assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
        assert found.environment({"TOKEN": "own"}) == {"TOKEN": "hush\udcff", "ONLY": "hush\udcff"}
        assert all({"nosuid", "nodev", "noexec", "ro"} <= set(m["options"]) for m in found.mounts)
    assert not (world.path / "run/secrets-step-1").exists()
    with ExitStack() as stack:
        required = ExecMount(type="secret", target="/x", id="absent", required=True)
        with pytest.raises(SecretMissing, match="secret absent: not found"):
            everything(world.step(required), stack)
        nul = ExecMount(type="secret", target="", id="nul", env="N", file=False)
        with pytest.raises(SecretInvalid, match="has a NUL byte"):
            everything(world.step(nul, sandbox={"secrets": secrets}), stack)
        agent = ExecMount(type="ssh", target="/agent", id="default", required=True)
        with pytest.raises(SecretMissing, match="unset ssh forward key default"):
            everything(world.step(agent), stack)
        absent = everything(world.step(ExecMount(type="ssh", target="/agent", id="default")), stack)
        assert absent == Given(defaults={"SSH_AUTH_SOCK": "/agent"})


@pytest.mark.parametrize(("readonly", "made"), [(True, "view"), (False, "prepare")])
def test_a_bind_mount_is_a_tree_of_its_own(world: World, readonly: bool, made: str) -> None:
    mount = ExecMount(type="bind", target="/b", source="/share/data", input=1, readonly=readonly)
    with ExitStack() as stack:
        (found,) = everything(world.step(mount), stack).mounts
        # A link in the tree is followed inside the tree.
        assert found["source"] == str(world.path / "tree/usr/share/data")
        assert ("ro" in found["options"]) is readonly
        assert world.lease.held == ["step-1-0"] and world.trees.calls == [f"{made} step-1-0"]
        missing = ExecMount(type="bind", target="/b", source="/share/none", input=1)
        with pytest.raises(MountSourceMissing, match='"/share/none": not found'):
            everything(world.step(missing), stack)
    assert world.trees.calls.count("discard step-1-0") == 2


def cache(**more: Any) -> ExecMount:
    return ExecMount(
        **{"type": "cache", "target": "/c", "id": "c", "readonly": False, "uid": ME, "gid": GROUP} | more
    )


def test_a_cache_stays_and_is_one_for_each_owner_and_mode(world: World) -> None:
    places = []
    for mount in (cache(), cache(target="/elsewhere"), cache(mode=0o700), cache(id="other")):
        with ExitStack() as stack:
            (found,) = everything(world.step(mount), stack).mounts
        places.append(Path(found["source"]))
    assert places[0] == places[1] and len(set(places)) == 3
    assert [stat.S_IMODE(place.stat().st_mode) for place in places[1:3]] == [0o755, 0o700]
    assert (places[3].parent / "id").read_text() == "other"
    assert (places[0].parent / "lock").read_bytes() == b".."  # how often it was used
    with ExitStack() as stack:
        (found,) = everything(world.step(cache(), cache_namespace="mine"), stack).mounts
    assert Path(found["source"]) not in places


def test_a_new_cache_is_filled_from_a_tree(world: World) -> None:
    os.utime(world.path / "tree/usr/share/data", ns=(5 * 10**9, 5 * 10**9))
    with ExitStack() as stack:
        (found,) = everything(world.step(cache(input=1, source="/share")), stack).mounts
    place = Path(found["source"])
    assert (place / "data").read_text() == "of the other stage" and (place / "data").stat().st_mtime == 5
    assert world.trees.calls == ["view step-1-0", "discard step-1-0"]
    (place / "data").write_text("written by a step")
    with ExitStack() as stack:
        everything(world.step(cache(input=1, source="/share")), stack)
    assert (place / "data").read_text() == "written by a step"
    assert not [name for name in os.listdir(place.parent) if name.startswith(".data-")]


def test_how_a_cache_is_shared(tmp_path: Path) -> None:
    place, cancel = tmp_path / "cache", threading.Event()
    with ExitStack() as one, ExitStack() as other:
        assert claimed_cache(directory=place, sharing="shared", cancel=cancel, stack=one) == place
        assert claimed_cache(directory=place, sharing="shared", cancel=cancel, stack=other) == place
        other.close()
        copy = claimed_cache(directory=place, sharing="private", cancel=cancel, stack=other)
        assert copy == tmp_path / "cache.1"
        cancel.set()
        with pytest.raises(Cancelled):
            claimed_cache(directory=place, sharing="locked", cancel=cancel, stack=other)
    with ExitStack() as one:
        assert claimed_cache(directory=place, sharing="locked", cancel=cancel, stack=one) == place


def test_networks_that_need_no_bridge(world: World, stack: ExitStack) -> None:
    step = world.step(network="none", hosts=(("db", "10.0.0.9"),))
    network = connect(step, stack)
    assert network.namespaces == {} and system(step, network.namespaces, stack) == ()
    assert [m["destination"] for m in network.mounts] == ["/etc/hosts", "/etc/resolv.conf"]
    hosts = (step.files / "hosts").read_text().splitlines()
    assert {"10.0.0.9\tdb", "127.0.0.1\tbuildkitsandbox"} <= set(hosts)
    shared = world.step(network="host", hostname="builder")
    assert connect(shared, stack).namespaces == {"network": None}
    assert "127.0.0.1\tbuilder" in (shared.files / "hosts").read_text().splitlines()


class _Wire:
    """As `stepwire.Wire`, without a kernel."""

    def __init__(self, *, quiet: bool = True) -> None:
        self.quiet, self.ended = quiet, 0

    def is_quiet(self) -> bool:
        if self.quiet is None:
            raise OSError(22, "nothing to look at")
        return self.quiet

    def end(self) -> None:
        self.ended += 1


def test_a_network_is_used_again_when_nothing_is_left_in_it() -> None:
    wires = Wires()
    assert wires.take() is None
    quiet, noisy, broken = _Wire(), _Wire(quiet=False), _Wire()
    broken.quiet = None  # type: ignore[assignment]
    wires.give(quiet)  # type: ignore[arg-type]
    wires.give(noisy)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="nothing to look at"):
        wires.give(broken)  # type: ignore[arg-type]
    assert (quiet.ended, noisy.ended, broken.ended) == (0, 1, 1)
    taken = wires.take()
    assert taken is quiet and wires.take() is None  # one step at a time
    assert taken is not None
    wires.give(taken)
    wires.close()
    assert quiet.ended == 1 and wires.take() is None
