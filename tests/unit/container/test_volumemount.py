"""Volumes that are mounted from a device: which options there may be, and what mount(2) is told of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import volumemount
from boxwright.container.supervisor import mounted
from boxwright.container.supervisor.mounted import MountShare, unshare
from boxwright.container.volumemount import (
    VolumeDevice,
    VolumeDeviceMissing,
    VolumeOptionsInvalid,
    VolumeUnmountable,
    described,
)
from boxwright.files import syscalls
from boxwright.files.locks import Lock


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "1m"}, "^create v: quota size requested but no quota support$"),
        ({"foo": "1"}, '^create v: invalid option: "foo"$'),
        ({"type": "tmpfs"}, '^create v: missing required option: "device"$'),
        ({"o": "size=1m"}, '^create v: missing required option: "device"$'),
        ({"device": "tmpfs"}, '^create v: missing required option: "type"$'),
        ({"type": "none", "device": "/a\n/b", "o": "bind"}, "invalid device .* control character$"),
        ({"type": "tm\0pfs", "device": "x"}, "invalid type .* control character$"),
        ({"type": "nfs", "device": ":/x", "o": "addr=1.2.3.4\trw"}, "invalid o .* control character$"),
        ({"type": "tmpfs", "device": "x", "o": "a" * 5000}, "longer than a page"),
    ],
)
def test_options_that_cannot_be(options: dict[str, str], message: str) -> None:
    with pytest.raises(VolumeOptionsInvalid, match=message):
        volumemount.check("v", options)


# The flags are those of mount(2).
@pytest.mark.parametrize(
    ("options", "device"),
    [
        (
            {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000,noatime,nosuid"},
            VolumeDevice("tmpfs", "tmpfs", 0x402, "size=1m,uid=1000"),
        ),
        ({"type": "none", "device": "/d", "o": "bind,ro"}, VolumeDevice("/d", "none", 0x1001, "")),
        ({"type": "none", "device": "/d", "o": "rbind,ro,rw"}, VolumeDevice("/d", "none", 0x5000, "")),
        (
            {"type": "nfs", "device": ":/x", "o": "addr=10.0.0.1,rw,nfsvers=4"},
            VolumeDevice(":/x", "nfs", 0, "addr=10.0.0.1,nfsvers=4"),
        ),
        ({"type": "ext4", "device": "/dev/a"}, VolumeDevice("/dev/a", "ext4", 0, "")),
    ],
)
def test_what_mount_is_told(options: dict[str, str], device: VolumeDevice) -> None:
    volumemount.check("v", options)
    assert described(options) == device


class Kernel:
    """mount(2) as it is called; it fails with `error`, when there is one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int = 0) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._error = error
        monkeypatch.setattr(syscalls, "libc", self.call)

    def call(self, name: str, *arguments: object) -> int:
        self.calls.append((name, *arguments))
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        return 0


def mount(path: Path, options: dict[str, str]) -> None:
    (path / "_data").mkdir()
    volumemount.mount(described(options), path / "_data", path / "lock")


def test_a_network_file_system_is_told_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    mount(tmp_path, {"type": "nfs", "device": ":/x", "o": "addr=localhost,rw"})
    assert kernel.calls in (
        [("mount", b":/x", bytes(tmp_path / "_data"), b"nfs", 0, b"addr=127.0.0.1")],
        [("mount", b":/x", bytes(tmp_path / "_data"), b"nfs", 0, b"addr=::1")],
    )


def test_a_bind_mount_that_is_read_only_takes_two_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(monkeypatch)
    mount(tmp_path, {"type": "none", "device": "/d", "o": "bind,ro"})
    assert [call[4:] for call in kernel.calls] == [(0x1001, None), (0x1021, None)]


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [(2, VolumeDeviceMissing, "no such file or directory"), (19, VolumeUnmountable, "no such device")],
)
def test_what_the_kernel_does_not_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, kind: type[Exception], reason: str
) -> None:
    Kernel(monkeypatch, error)
    with pytest.raises(kind) as caught:
        mount(tmp_path, {"type": "cifs", "device": "//h/x", "o": "username=u,password=secret,addr=1.2.3.4"})
    place = tmp_path / "_data"
    assert str(caught.value) == (
        f"error while mounting volume '{place}': failed to mount local volume: mount //h/x:{place}, "
        f"data: username=u,password=********,addr=1.2.3.4: {reason}"
    )


def test_the_last_user_takes_a_mount_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(mounted, "take_down", taken.extend)
    lock = str(tmp_path / "lock")
    first, second = MountShare(lock, "/place"), MountShare(lock, "/place")
    first.release()
    assert taken == []
    unshare(lock, "/place")
    assert taken == []
    second.release()
    assert taken == ["/place"]


def test_a_lock_that_a_child_still_has_keeps_no_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that has not executed yet has a copy of each descriptor, whatever its parent closes meanwhile."""
    taken: list[str] = []
    monkeypatch.setattr(mounted, "take_down", taken.extend)
    opened: list[int] = []
    taken_at = Lock.at

    def remembered(*words: Any, **more: Any) -> Lock:
        lock = taken_at(*words, **more)
        opened.append(os.dup(lock.fd))
        return lock

    monkeypatch.setattr(Lock, "at", remembered)
    shares = [MountShare(str(tmp_path / "lock"), place) for place in ("/first", "/second")]
    try:
        for share in shares:
            share.release()
        assert taken == ["/second"]
    finally:
        for fd in opened:
            os.close(fd)
