"""Sockets that the API listens on."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.api.listening import SocketInUse, SocketInvalid, SocketRefused, SocketUnusable, listen


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def test_the_socket_is_for_root_and_its_group(folder: Path) -> None:
    path = folder / "new" / "d.sock"
    listener = listen(f"unix://{path}", {}, group="no-such-group")
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660 and listener.local
    listener.close()
    assert not path.exists()


def test_a_socket_of_a_dead_process_is_replaced(folder: Path) -> None:
    path = folder / "d.sock"
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({str(path)!r}); s.listen()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.exists()
    listen(f"unix://{path}", {}).close()


def test_a_socket_that_answers_is_let_be(folder: Path) -> None:
    path = folder / "d.sock"
    first = listen(f"unix://{path}", {})
    with pytest.raises(SocketInUse, match="another process answers"):
        listen(f"unix://{path}", {})
    assert path.exists()
    first.close()


def test_a_file_is_no_socket(folder: Path) -> None:
    path = folder / "d.sock"
    path.write_text("mine")
    with pytest.raises(SocketInUse):
        listen(f"unix://{path}", {})
    assert path.read_text() == "mine"


def test_a_socket_of_a_successor_stays(folder: Path) -> None:
    path = folder / "d.sock"
    first = listen(f"unix://{path}", {})
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        first.close()
        assert path.exists()


def test_a_directory_of_everybodys_is_refused(folder: Path) -> None:
    (folder / "open").mkdir()
    os.chmod(folder / "open", 0o777)
    with pytest.raises(SocketRefused, match="others may write"):
        listen(f"unix://{folder}/open/d.sock", {})


def test_tcp_is_loopback_alone() -> None:
    for address in ("tcp://0.0.0.0:0", "tcp://:2375", "tcp://192.0.2.1:1"):
        with pytest.raises(SocketRefused):
            listen(address, {})
    listener = listen("tcp://127.0.0.1:0", {})
    assert listener.shown.startswith("tcp://127.0.0.1:") and not listener.local
    listener.close()


@pytest.mark.parametrize("address", ["x", "npipe://x", "unix://relative", "fd://"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SocketInvalid):
        listen(address, {})


def test_a_port_that_is_none() -> None:
    with pytest.raises(SocketUnusable):
        listen("tcp://127.0.0.1:x", {})


def test_a_socket_of_systemds() -> None:
    """In a process of its own: descriptor 3 is this one's."""
    code = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(''); s.listen(); os.dup2(s.fileno(), 3)\n"
        "from boxwright.api.listening import listen\n"
        "found = listen('fd://', {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'})\n"
        "assert found.socket.fileno() == 3 and found.local and not os.get_inheritable(3)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
