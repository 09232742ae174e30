"""Volumes, binds, tmpfs, and files copied in and out."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from support.containers import IMAGE, Root

pytestmark = [pytest.mark.rooted, pytest.mark.usefixtures("cleared")]


def lean(*words: str) -> tuple[str, ...]:
    return ("run", "--rm", "--network", "none", *words)


def test_named_volumes_keep_their_content(root: Root) -> None:
    root.run(*lean("-v", "keep:/data", IMAGE, "sh", "-c", "echo 1 > /data/a"))
    assert (
        root.out(
            *lean(
                "-v",
                "keep:/data:ro",
                IMAGE,
                "sh",
                "-c",
                "cat /data/a; touch /data/b 2>/dev/null || echo readonly",
            )
        )
        == "1\nreadonly"
    )
    assert root.out("volume", "ls", "-q") == "keep"
    assert Path(root.out("volume", "inspect", "-f", "{{.Mountpoint}}", "keep"), "a").read_text() == "1\n"
    root.run("create", "--name", "user", "-v", "keep:/x", IMAGE)
    assert "volume is in use" in root.run("volume", "rm", "keep", check=1).stderr
    root.run("rm", "user")
    assert root.out("volume", "rm", "keep") == "keep"
    assert "no such volume" in root.run("volume", "inspect", "keep", check=1).stderr


def test_new_volumes_begin_with_the_images_content(root: Root) -> None:
    assert (
        root.out(
            *lean(
                "-v",
                "fresh:/var/lib/data",
                IMAGE,
                "sh",
                "-c",
                "cat /var/lib/data/seed; stat -c %a /var/lib/data/seed; rm /var/lib/data/seed",
            )
        )
        == "from the image\n640"
    )
    # Only when it is made: what was removed stays removed.
    assert root.out(*lean("-v", "bare:/var/lib/data:nocopy", IMAGE, "ls", "/var/lib/data")) == ""


def test_anonymous_volumes_go_with_rm(root: Root) -> None:
    root.run(*lean("-v", "/scratch", IMAGE, "touch", "/scratch/x"))
    assert root.out("volume", "ls", "-q") == ""
    root.run("run", "--network", "none", "--name", "holder", "-v", "/scratch", IMAGE, "touch", "/scratch/x")
    assert root.out(*lean("--volumes-from", "holder", IMAGE, "ls", "/scratch")) == "x"
    name = root.out("volume", "ls", "-q")
    assert len(name) == 64
    root.run("rm", "holder")
    assert root.out("volume", "ls", "-q", "-f", "dangling=true") == name
    assert name in root.out("volume", "prune", "-f")


def test_binds(root: Root, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    root.run(*lean("-v", f"{tmp_path}:/host", IMAGE, "sh", "-c", "cat /host/file > /host/copy"))
    assert (tmp_path / "copy").read_text() == "host\n"
    assert (
        "Read-only"
        in root.run(*lean("-v", f"{tmp_path}:/host:ro", IMAGE, "touch", "/host/x"), check=1).stderr
    )
    root.run(*lean("-v", f"{tmp_path}/made:/new", IMAGE, "true"))
    assert (tmp_path / "made").is_dir()
    assert (
        root.out(
            *lean(
                "--mount", f"type=bind,src={tmp_path}/file,dst=/etc/motd,readonly", IMAGE, "cat", "/etc/motd"
            )
        )
        == "host"
    )


def test_tmpfs(root: Root) -> None:
    assert "tmpfs /x tmpfs rw,nosuid,nodev,noexec" in root.out(
        *lean("--tmpfs", "/x:size=64k", IMAGE, "cat", "/proc/self/mounts")
    )
    assert (
        root.out(*lean("--mount", "type=tmpfs,dst=/y,tmpfs-mode=700", IMAGE, "stat", "-c", "%a", "/y"))
        == "700"
    )


@pytest.mark.parametrize("running", [True, False])
def test_cp_both_ways(root: Root, tmp_path: Path, running: bool) -> None:
    root.run("create", "--network", "none", "--name", "box", "-v", "/vol", IMAGE, "sleep", "100")
    if running:
        root.run("start", "box")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_text("content")
    (tree / "link").symlink_to("sub/file")
    (tree / "sub" / "file").chmod(0o751)
    root.run("cp", str(tree), "box:/opt")  # an existing directory: into it
    root.run("cp", f"{tree}/.", "box:/opt/tree2")  # contents, as a new directory
    root.run("cp", f"{tree}/sub/file", "box:/vol/renamed")
    for path in ("/opt/tree", "/opt/tree2"):
        root.run(
            "cp",
            f"box:{path}",
            str(tmp_path / "back" / path.rpartition("/")[2])
            if path.endswith("2") and (tmp_path / "back").exists()
            else str(tmp_path / path.rpartition("/")[2].replace("tree", "out")),
        )
    for name in ("out", "out2"):
        assert (tmp_path / name / "sub" / "file").read_text() == "content" and (
            tmp_path / name / "sub" / "file"
        ).stat().st_mode & 0o777 == 0o751
        assert os.readlink(tmp_path / name / "link") == "sub/file"
    root.run("cp", "box:/vol/renamed", str(tmp_path / "single"))
    assert (tmp_path / "single").read_text() == "content"
    root.run("cp", "-L", "box:/opt/tree/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "content" and not (tmp_path / "followed").is_symlink()


def test_cp_refuses(root: Root, tmp_path: Path) -> None:
    root.run("create", "--name", "box", IMAGE)
    (tmp_path / "dir").mkdir()
    assert (
        "Could not find the file /nope in container box"
        in root.run("cp", "box:/nope", str(tmp_path), check=1).stderr
    )
    assert "cannot copy directory" in root.run("cp", str(tmp_path / "dir"), "box:/etc/motd", check=1).stderr
    assert "no such directory: /no" in root.run("cp", "box:/etc/motd", "/no/such/dir/x", check=1).stderr
    assert "copying between containers is not supported" in root.run("cp", "box:/a", "box:/b", check=1).stderr
    assert "must specify at least one container source" in root.run("cp", "/a", "/b", check=1).stderr
    assert "No such container: nobody" in root.run("cp", "nobody:/a", "/tmp", check=1).stderr


def test_cp_does_not_leave_the_container(root: Root, tmp_path: Path) -> None:
    root.run(
        "run",
        "--network",
        "none",
        "--name",
        "evil",
        IMAGE,
        "sh",
        "-c",
        f"ln -s {tmp_path} /out; ln -s /etc/passwd /pw; ln -s ../../../../../../etc /up",
    )
    (tmp_path / "x").write_text("x")
    root.run("cp", str(tmp_path / "x"), "evil:/out", check=None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]
    root.run("cp", "-L", "evil:/pw", str(tmp_path / "pw"))
    assert "app:x:1000" in (tmp_path / "pw").read_text()  # the container's file, not the host's
    root.run("cp", "evil:/up/passwd", str(tmp_path / "up"))
    assert "app:x:1000" in (tmp_path / "up").read_text()


def test_cp_of_tar_streams(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "box", IMAGE, "sleep", "100")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, data in (("in/a", b"A"), ("in/b", b"B" * 70000)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o640
            tar.addfile(info, io.BytesIO(data))
    root.run("cp", "-", "box:/tmp", input=raw.getvalue())
    assert (
        root.out("exec", "box", "sh", "-c", "cat /tmp/in/a; wc -c < /tmp/in/b; stat -c %a /tmp/in/a")
        == "A70000\n640"
    )
    import subprocess
    import sys

    out = subprocess.run(
        [sys.executable, "-m", "boxwright", "cp", "box:/tmp/in", "-"],
        env=root.environ,
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert [m.name for m in tar.getmembers()] == ["in", "in/a", "in/b"]
    bad = io.BytesIO()
    with tarfile.open(fileobj=bad, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped"))
    assert "leads out of it" in root.run("cp", "-", "box:/tmp", input=bad.getvalue(), check=1).stderr


def test_a_volume_is_backed_up_and_restored_by_the_command_line(root: Root, tmp_path: Path) -> None:
    fill = (
        "echo 1 >/v/f; chown 5:6 /v/f; chmod 4755 /v/f; mknod /v/null c 1 3; chown 999:999 /v; chmod 700 /v"
    )
    root.run(*lean("-v", "data:/v", IMAGE, "sh", "-c", fill))
    archive = tmp_path / "data.tar"
    root.run("volume", "export", "-o", str(archive), "data")
    root.run("volume", "rm", "data")
    assert root.out("volume", "import", "data", str(archive)) == "data"
    look = ("-v", "data:/v", IMAGE, "sh", "-c", "stat -c '%u:%g %a' /v /v/f /v/null; cat /v/f")
    assert root.out(*lean(*look)) == "999:999 700\n5:6 4755\n0:0 644\n1"
    assert "is not empty" in root.run("volume", "import", "data", str(archive), check=1).stderr
    assert root.out("volume", "import", "--replace", "data", input=archive.read_bytes()) == "data"
    assert root.out(*lean(*look)) == "999:999 700\n5:6 4755\n0:0 644\n1"
    assert root.run("volume", "export", "data").stdout.startswith("./")
    assert "no such file" in root.run("volume", "import", "data", str(tmp_path / "x"), check=1).stderr
    assert (
        root.out("volume", "inspect", "-s", "-f", "{{.UsageData.Size}} {{.UsageData.RefCount}}", "data")
        == "2 0"
    )


def test_all_volumes_that_none_uses_are_pruned_when_that_is_said(root: Root) -> None:
    root.run("volume", "create", "named")
    root.run("volume", "prune", "-f")
    assert root.out("volume", "ls", "-q") == "named"
    both = root.run("volume", "prune", "-a", "--filter", "all=1", check=1).stderr
    assert "conflicting options: cannot specify both --all and --filter all=1" in both
    assert "named" in root.out("volume", "prune", "-af")
    assert root.out("volume", "ls", "-q") == ""
