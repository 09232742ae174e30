"""What a supervisor is told crosses the socket whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import boxwright
from boxwright.container import frames
from boxwright.container.job import HealthPlan, Job, LogPlan, Restart, RestartChange
from boxwright.container.remains import keep_job, kept_job
from boxwright.network.plan import NameServer, NetworkPlan, Port, plain
from boxwright.spec.values import replace
from support.endpoints import endpoint, port
from support.few import recorded

PORT, RELAY = port(), port(host_ip="::")
ENDPOINT = endpoint(mtu=1500, names=("web", "www"))
SERVER = NameServer(directory="/run/dns", program="/bin/dns")
PLAN = NetworkPlan(id="c" * 64, lock="/lock", endpoints=(ENDPOINT,), ports=(PORT, RELAY), name_server=SERVER)
JOB = Job(
    id="c" * 64,
    directory="/d",
    rootfs="/d/rootfs",
    runtime=("/bin/crun", "--root", "/r"),
    hidden="",
    filter=("/r/c", "/f"),
    tty=False,
    open_stdin=True,
    stdin_once=True,
    size=(24, 80),
    log=LogPlan(path="/log", max_size=5, max_files=2),
    restart=Restart(name="on-failure", maximum=3),
    health=HealthPlan(
        interval=1.5,
        timeout=2.0,
        start_period=0.0,
        start_interval=5.0,
        retries=3,
        process={"args": ["a\udcff", "b"], "env": [], "terminal": False},
    ),
    network=PLAN,
    auto_remove=True,
    reaper=("python", "-c", "x"),
    reaper_environ={"PATH": "/bin"},
    state={"Status": "created", "Networks": {"mine": dict(ENDPOINT.shown())}},
    wants=8,
    oom_files=("/a", "/b"),
    name="web",
)


def sent(value: Any) -> Any:
    """What the other end makes of it."""
    ((_, body),) = frames.Decoder().feed(frames.message(frames.JOB, plain(value)))
    return type(value).of(frames.value(body))


@pytest.mark.parametrize(
    "value",
    [
        JOB,
        PLAN,
        NetworkPlan(id="c", lock="/l"),
        RestartChange(),
        RestartChange(
            restart=Restart(name="no"), networks={"mine": {"names": ["a"]}}, named="n", name_server=SERVER
        ),
    ],
)
def test_values_cross_the_socket(value: Any) -> None:
    assert sent(value) == value


def test_a_job_is_kept_for_the_next_supervisor(tmp_path: Path) -> None:
    container = recorded(tmp_path)
    assert kept_job(container) is None
    keep_job(container, JOB)
    assert container.job_path.stat().st_mode & 0o777 == 0o600
    found = kept_job(container)
    assert found is not None
    assert json.dumps(plain(found)) == json.dumps(plain(replace(JOB, state={}, filter=None)))
    kept = json.loads(container.job_path.read_text())
    # Another release: it has a field that we do not know, and lacks one that has a default.
    del kept["name"]
    container.job_path.write_text(json.dumps({**kept, "later": 1}))
    found = kept_job(container)
    assert found is not None and found.name == "" and found.restart == JOB.restart
    del kept["rootfs"]
    for text in (json.dumps(kept), "{torn", "[]", "7"):
        container.job_path.write_text(text)
        assert kept_job(container) is None


def test_less_is_said_by_none() -> None:
    bare = Job(
        **{
            **{name: getattr(JOB, name) for name in Job.__slots__},
            "health": None,
            "network": None,
            "filter": None,
        }
    )  # type: ignore[arg-type]
    assert sent(bare) == bare


def test_another_number_of_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Port.of(("tcp", "", 1))


def test_ports_by_who_answers() -> None:
    assert PLAN.forwarded == (PORT,) and PLAN.relayed == (RELAY,)
    assert PORT.forward().port == 80 and PORT.forward().host_ip == ""


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "wanted"),
    [
        (Restart(name="no"), 1, 0, False),
        (Restart(name=""), 1, 0, False),
        (Restart(name="always"), 0, 99, True),
        (Restart(name="unless-stopped"), 0, 99, True),
        (Restart(name="on-failure"), 0, 0, False),
        (Restart(name="on-failure"), 3, 99, True),
        (Restart(name="on-failure", maximum=2), 3, 1, True),
        (Restart(name="on-failure", maximum=2), 3, 2, False),
    ],
)
def test_restart_policies(policy: Restart, code: int, restarts: int, wanted: bool) -> None:
    assert policy.wanted(code, restarts) is wanted


@pytest.mark.skipif("coverage" in sys.modules, reason="what measures lines is loaded into every process")
def test_the_supervisor_starts_light() -> None:
    """It starts while the command that launches it prepares: 13 ms instead of 76, 9 MB instead of 14."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import boxwright.container.supervisor.main, boxwright.container.supervisor.health;"
        "import boxwright.container.supervisor.orphan;"
        "import boxwright.container.supervisor.relay, boxwright.network.dns;"
        "import boxwright.container.supervisor.connected;"
        "print(*sys.modules)"
    )
    sources = str(Path(boxwright.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, sources], capture_output=True, text=True)
    heavy = "json re dataclasses inspect typing socket subprocess threading pathlib logging sqlite3 shutil tempfile ipaddress enum"
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & set(heavy.split())
    ours = {name for name in done.stdout.split() if name.startswith("boxwright.")}
    assert ours <= {
        *(
            f"boxwright.{name}"
            for name in (
                "container",
                "content",
                "content.journal",
                "errors",
                "files",
                "network",
                "runtime",
                "spec",
                "version",
            )
        ),
        *(f"boxwright.container.{name}" for name in ("frames", "job", "supervisor")),
        *(
            f"boxwright.container.supervisor.{name}"
            for name in (
                "connected",
                "health",
                "light",
                "lines",
                "logfile",
                "loop",
                "main",
                "orphan",
                "relay",
                "runner",
                "streams",
                "telling",
            )
        ),
        *(
            f"boxwright.network.{name}"
            for name in (
                "bridge",
                "dns",
                "firewall",
                "janitor",
                "namespace",
                "netlink",
                "plan",
                "removals",
                "values",
                "zones",
            )
        ),
        *(f"boxwright.runtime.{name}" for name in ("filters", "lastwords", "sealed", "spawn")),
        *(f"boxwright.spec.{name}" for name in ("events", "text", "times", "values")),
        *(f"boxwright.files.{name}" for name in ("locks", "syscalls", "whole")),
    }
