"""Mounts of images, of parts of volumes, and of volumes that are devices: what containers see, and what the host has
mounted afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, Root, busybox_root
from support.waiting import eventually

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("sources")) as root:
        yield root


@pytest.fixture(autouse=True)
def nothing_stays(root: Root) -> Iterator[None]:
    yield
    for container in root.engine.containers.list(all=True):
        root.engine.containers.remove(container, force=True, volumes=True)
    for volume in root.engine.containers.volumes.list():
        root.engine.containers.volumes.remove(volume.name)
    assert mounted(root) == []


def mounted(root: Root) -> list[str]:
    """Mounts below the root, but for layers."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [p for p in places if p.startswith(f"{root.path}/") and not p.startswith(f"{root.path}/mounts/")]


def run(root: Root, *words: str, check: int = 0) -> str:
    done = root.run("run", "--rm", "--network", "none", *words, check=check)
    return (done.stdout + done.stderr).strip()


def test_an_image_is_seen_and_cannot_be_written(root: Root) -> None:
    mount = f"type=image,source={IMAGE},target=/img"
    assert "Read-only" in run(
        root, "--mount", mount, IMAGE, "sh", "-c", "ls /img/bin/sh && touch /img/x", check=1
    )
    assert (
        run(root, "--mount", f"{mount},image-subpath=etc/passwd", IMAGE, "head", "-c", "4", "/img") == "root"
    )
    missing = run(root, "--mount", f"{mount},image-subpath=none", IMAGE, "true", check=127)
    assert "cannot access path" in missing and "no such file or directory" in missing


def test_an_image_that_is_mounted_stays_and_is_mounted_again(root: Root) -> None:
    root.run("tag", IMAGE, "other")
    root.run(
        "create",
        "--name",
        "box",
        "--network",
        "none",
        "--mount",
        "type=image,src=other,dst=/img",
        IMAGE,
        "ls",
        "/img",
    )
    assert "bin" in root.out("start", "-a", "box")
    root.run(
        "system", "prune", "-f", "--filter", "label=none"
    )  # removes nothing, but looks for what is garbage
    assert "bin" in root.out("start", "-a", "box")
    shown = root.out("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.RW}}{{end}}", "box")
    assert shown == "image other false"
    root.run("rmi", "other")


def test_a_running_containers_image_is_no_garbage(root: Root) -> None:
    mount = f"type=image,src={IMAGE},dst=/img"
    root.run("run", "-d", "--name", "box", "--network", "none", "--mount", mount, IMAGE, "sleep", "1000")
    root.run("builder", "prune", "-af")
    assert "bin" in root.out("exec", "box", "ls", "/img")
    (key,) = [name for name in os.listdir(root.path / "work") if "." in name]
    root.run("rm", "-f", "box")
    assert not (root.path / "work" / key).exists()


def test_a_part_of_a_volume_whatever_its_links_say(root: Root) -> None:
    run(
        root,
        "-v",
        "parts:/v",
        IMAGE,
        "sh",
        "-c",
        "mkdir /v/a && echo 1 >/v/a/f && ln -s a /v/in && ln -s /etc /v/out && ln -s ../../../../etc /v/up",
    )
    for part in ("a", "in", "a/../a"):
        assert (
            run(root, "--mount", f"type=volume,src=parts,dst=/v,volume-subpath={part}", IMAGE, "ls", "/v")
            == "f"
        )
    for part in ("out", "up"):  # there is no /etc in the volume
        said = run(
            root,
            "--mount",
            f"type=volume,src=parts,dst=/v,volume-subpath={part}",
            IMAGE,
            "ls",
            "/v",
            check=127,
        )
        assert "cannot access path" in said
    assert run(root, "--mount", "type=volume,src=parts,dst=/v,volume-subpath=a/f", IMAGE, "cat", "/v") == "1"


def test_a_link_that_is_swapped_in_later_leads_nowhere(root: Root) -> None:
    """What is mounted is what was found, when the container restarts, too."""
    mount = "type=volume,src=parts,dst=/v,volume-subpath=a"
    run(root, "-v", "parts:/v", IMAGE, "mkdir", "/v/a")
    root.run("create", "--name", "box", "--network", "none", "--mount", mount, IMAGE, "ls", "/v")
    run(root, "-v", "parts:/v", IMAGE, "sh", "-c", "rmdir /v/a && ln -s /etc /v/a")
    assert "cannot access path" in root.run("start", "-a", "box", check=None).stderr
    run(root, "-v", "parts:/v", IMAGE, "sh", "-c", "mkdir /v/etc && touch /v/etc/of-the-volume")
    assert root.out("start", "-a", "box") == "of-the-volume"


TMPFS = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m")


def test_a_device_is_mounted_while_a_container_has_it(root: Root) -> None:
    root.run("volume", "create", *TMPFS, "fast")
    keep = ("-v", "fast:/v", IMAGE)
    for name in ("one", "two"):
        root.run("run", "-d", "--name", name, "--network", "none", *keep, "sleep", "1000")
    root.run("exec", "one", "touch", "/v/seen")
    assert root.out("exec", "two", "ls", "/v") == "seen"
    root.run("rm", "-f", "one")
    assert run(root, *keep, "ls", "/v") == "seen"
    root.run("rm", "-f", "two")
    assert mounted(root) == []
    assert run(root, *keep, "ls", "/v") == ""


def test_a_device_survives_a_supervisor_that_is_killed(root: Root) -> None:
    root.run("volume", "create", *TMPFS, "fast")
    root.run("run", "-d", "--name", "one", "--network", "none", "-v", "fast:/v", IMAGE, "sleep", "1000")
    root.run("exec", "one", "touch", "/v/seen")
    supervisor = root.engine.containers.get("one").state.supervisor_pid
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{supervisor}"))
    assert root.out("ps", "--format", "{{.Names}}") == "one"  # which gives it another
    assert run(root, "-v", "fast:/v", IMAGE, "ls", "/v") == "seen"
    root.run("rm", "-f", "one")
    eventually(lambda: mounted(root) == [])


def test_a_directory_of_the_host_as_a_volume(root: Root, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for name, more in (("dir", ""), ("fixed", ",ro")):
        root.run(
            "volume", "create", "-o", "type=none", "-o", f"device={tmp_path}", "-o", f"o=bind{more}", name
        )
    assert run(root, "-v", "dir:/v", IMAGE, "sh", "-c", "ls /v; touch /v/g") == "f"
    assert (tmp_path / "g").exists()
    assert "Read-only" in run(root, "-v", "fixed:/v", IMAGE, "touch", "/v/h", check=1)
    root.run("volume", "create", "-o", "type=none", "-o", f"device={tmp_path}/none", "-o", "o=bind", "gone")
    said = run(root, "-v", "gone:/v", IMAGE, "true", check=127)
    assert "failed to mount local volume" in said and "no such file or directory" in said
    root.run("volume", "rm", "dir", "fixed", "gone")
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]  # what we did not make stays


def test_a_file_system_that_the_kernel_lacks(root: Root) -> None:
    if any(line.split()[-1] == "nfs" for line in Path("/proc/filesystems").read_text().splitlines()):
        pytest.skip("this kernel has NFS, and there is no server to ask")
    root.run("volume", "create", "-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=127.0.0.1", "net")
    assert "no such device" in run(root, "-v", "net:/v", IMAGE, "true", check=125)
