"""`run --device vendor.com/class=name` and `--gpus`: what specifications of the test's own give to a container."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.containers import IMAGE, Root, busybox_root

pytestmark = pytest.mark.rooted
GIVEN = {
    "env": ["GPU=zero"],
    "deviceNodes": [{"path": "/dev/vendor", "hostPath": "/dev/zero", "permissions": "r"}],
    "mounts": [{"hostPath": "/run/cdi", "containerPath": "/lib/vendor", "options": ["bind", "ro"]}],
}


def specification(kind: str, name: str) -> str:
    device = {"name": name, "containerEdits": GIVEN}
    return json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": [device]})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("cdi")) as root:
        yield root


def said(root: Root, script: str, **files: str) -> str:
    """What a script prints whose /run and /etc/cdi are its own: `bx` is the command line, `$run` what starts."""
    start = "mount -t tmpfs none /run && mkdir /run/cdi\n"
    for name, text in files.items():
        start += f"printf %s '{text}' >/run/cdi/{name}.json\n"
    start += f'bx() {{ "{sys.executable}" -m boxwright "$@"; }}\n'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", start + script],
        env={**root.environ, "IMAGE": IMAGE},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


LOOK = "'echo $GPU; head -c 2 /dev/vendor | wc -c; ls /lib/vendor'"


@pytest.mark.parametrize(
    ("kind", "option"),
    [("vendor.com/class", "--device vendor.com/class=0"), ("nvidia.com/gpu", "--gpus all")],
    ids=["by name", "a GPU"],
)
def test_a_container_has_the_device_and_after_a_restart_again(root: Root, kind: str, option: str) -> None:
    out = said(
        root,
        f"bx run --rm --network none {option} $IMAGE sh -c {LOOK}\n"
        f"bx create --name again --network none {option} $IMAGE sh -c 'echo $GPU' >/dev/null\n"
        "bx start -a again; bx start -a again; bx rm again\n",
        v=specification(kind, "0"),
    )
    assert out.splitlines() == ["zero", "2", "v.json", "zero", "zero", "again"]


def test_what_nothing_gives_is_told_at_the_start(root: Root) -> None:
    out = said(
        root,
        "bx run --rm --network none --gpus all $IMAGE true; echo $?\n"
        "bx create --name later --network none --device vendor.com/class=1 $IMAGE true >/dev/null; echo $?\n"
        "bx start later; echo $?; bx inspect -f '{{json .HostConfig.DeviceRequests}}' later; bx rm later\n",
        v=specification("vendor.com/class", "0"),
    )
    assert out.count('could not select device driver "" with capabilities: [[gpu]]') == 1
    assert out.count("CDI device injection failed: unresolvable CDI devices vendor.com/class=1") == 1
    lines = out.splitlines()
    assert [line for line in lines if line.isdigit()] == ["125", "0", "1"]
    (shown,) = (json.loads(line) for line in lines if line.startswith("["))
    assert shown == [
        {
            "Driver": "cdi",
            "Count": 0,
            "DeviceIDs": ["vendor.com/class=1"],
            "Capabilities": None,
            "Options": None,
        }
    ]
