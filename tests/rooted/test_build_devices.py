"""RUN --device: a step has the nodes, variables and mounts of a CDI device, where the build was allowed it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import support.images
from boxwright import Engine
from support import REAL_ROOT
from support.corpus import leave

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed"),
]
SPEC = {
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/gpu",
    "devices": [
        {
            "name": "a",
            "containerEdits": {
                "env": ["GPU=a"],
                "deviceNodes": [{"path": "/dev/gpu", "hostPath": "/dev/null"}],
                "mounts": [{"hostPath": "/run/cdi", "containerPath": "/lib/gpu", "options": ["bind", "ro"]}],
            },
        }
    ],
}
TEXT = (
    "FROM busybox\n"
    "RUN --network=none --device=vendor.com/gpu,required [ $GPU = a ] && echo x >/dev/gpu && ls /lib/gpu/v.json\n"
    "RUN --network=none [ ! -e /dev/gpu ] && [ -z $GPU ]\n"
)
# In a mount namespace of its own: /run is the test's.
START = 'mount -t tmpfs none /run && mkdir /run/cdi && printf %s "$1" >/run/cdi/v.json && shift && exec "$@"'


INSECURE = (
    "FROM busybox\n"
    "RUN --network=none --security=insecure stat -c '%n %F %t:%T %a' /dev/kmsg /dev/fuse /dev/cuse /dev/kvm"
    " /dev/net/tun /dev/loop-control /dev/loop0 /dev/loop7 >/seen && mknod /node b 7 0\n"
    "USER 1000\n"
    "RUN --network=none --security=insecure chroot / /bin/true\n"
    "RUN --network=none [ ! -e /dev/kmsg ] && [ ! -e /dev/loop0 ] && [ ! -e /dev/fuse ]\n"
)


def test_an_insecure_step_has_the_nodes_of_buildkit(tmp_path: Path) -> None:
    import io

    from boxwright.build.request import BuildFailed, BuildRequest
    from boxwright.layer.view import LayersView

    engine = Engine(tmp_path / "root")
    engine.images.import_(io.BytesIO(support.images.busybox_tar()), "busybox")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/Dockerfile").write_text(INSECURE)
    with pytest.raises(BuildFailed, match=r"security.insecure is not allowed"):
        engine.build(BuildRequest(context=tmp_path / "c"))
    engine.build(BuildRequest(context=tmp_path / "c", tags=("x",), allow=("security.insecure",)))
    layers = engine.services.images_store.resolve_platform("x").layers
    seen = LayersView([engine.services.layers.get(layer) for layer in layers]).read("seen")
    assert seen is not None
    assert seen.decode().splitlines() == [
        "/dev/kmsg character special file 1:b 666",
        "/dev/fuse character special file a:e5 666",
        "/dev/cuse character special file a:cb 666",
        "/dev/kvm character special file a:e8 666",
        "/dev/net/tun character special file a:c8 666",
        "/dev/loop-control character special file a:ed 666",
        "/dev/loop0 block special file 7:0 666",
        "/dev/loop7 block special file 7:7 666",
    ]


def test_a_step_has_its_device(tmp_path: Path) -> None:
    import io

    engine = Engine(tmp_path / "root")
    engine.images.import_(io.BytesIO(support.images.busybox_tar()), "busybox")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/Dockerfile").write_text(TEXT)
    command = ["unshare", "-m", "sh", "-c", START, "sh", json.dumps(SPEC), sys.executable, "-m", "boxwright"]
    build = [*command, "--root", str(tmp_path / "root"), "build", "--progress=plain"]
    refused = subprocess.run([*build, str(tmp_path / "c")], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "device vendor.com/gpu=a is not allowed" in refused.stderr
    done = subprocess.run(
        [*build, "--allow=device=vendor.com/gpu", str(tmp_path / "c")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "/lib/gpu/v.json" in done.stderr
    leave(engine)
