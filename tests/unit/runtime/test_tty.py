"""Detach keys, window sizes, copying between a terminal and a pty."""

from __future__ import annotations

import os
import pty
import signal
import termios
import threading
from pathlib import Path

import pytest

from boxwright.runtime.tty import (
    ConsoleFailed,
    ConsoleSocket,
    DetachKeys,
    DetachKeysInvalid,
    follow_window_size,
    parse_detach_keys,
    raw_mode,
    relay,
    set_window_size,
    window_size,
    write_all,
)


def test_detach_keys_are_read() -> None:
    assert parse_detach_keys("") == b"\x10\x11"
    assert parse_detach_keys("ctrl-a,x,ctrl-@,ctrl-[,DEL") == b"\x01x\x00\x1b\x7f"
    for wrong in ("ctrl-", "ctrl-1", "ab", "a,,b"):
        with pytest.raises(DetachKeysInvalid):
            parse_detach_keys(wrong)


@pytest.mark.parametrize("cut", range(1, 8))
def test_detach_keys_are_found_across_reads(cut: int) -> None:
    keys = DetachKeys(b"\x10\x11")
    typed = b"ab\x10c\x10\x11zz"
    first, done_first = keys.feed(typed[:cut])
    second, done_second = (b"", False) if done_first else keys.feed(typed[cut:])
    assert first + second == b"ab\x10c"
    assert done_first or done_second


def test_held_keys_are_passed_on_when_they_are_no_sequence() -> None:
    keys = DetachKeys(b"aab")
    assert keys.feed(b"a") == (b"", False)
    assert keys.feed(b"a") == (b"", False)
    assert keys.feed(b"a") == (b"a", False)
    assert keys.feed(b"b") == (b"", True)
    assert DetachKeys(b"").feed(b"x") == (b"x", False)


def test_raw_mode_is_undone() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with pytest.raises(ZeroDivisionError), raw_mode(slave):
        assert not termios.tcgetattr(slave)[3] & termios.ECHO
        raise ZeroDivisionError
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_window_size() -> None:
    master, slave = pty.openpty()
    assert window_size(slave) is None
    set_window_size(master, 40, 132)
    assert window_size(slave) == (40, 132)
    os.close(master)
    os.close(slave)
    read, write = os.pipe()
    assert window_size(read) is None
    with raw_mode(read):  # no terminal: nothing happens
        pass
    os.close(read)
    os.close(write)


def test_relay_until_the_other_end_closes() -> None:
    master, slave = pty.openpty()
    keys_in, keys_out = os.pipe()
    shown_in, shown_out = os.pipe()

    def other_end() -> None:
        assert os.read(slave, 100) == b"typed\n"
        os.write(slave, b"answer")
        os.close(slave)

    thread = threading.Thread(target=other_end)
    thread.start()
    os.write(keys_out, b"typed\n")
    assert relay(keys_in, shown_out, master) is False
    thread.join()
    assert os.read(shown_in, 100).endswith(b"answer")
    for fd in (master, keys_in, keys_out, shown_in, shown_out):
        os.close(fd)


def test_relay_ends_at_the_detach_keys() -> None:
    master, slave = pty.openpty()
    keys_in, keys_out = os.pipe()
    os.write(keys_out, b"x\x10\x11never")
    sink = os.open(os.devnull, os.O_WRONLY)
    assert relay(keys_in, sink, master, keys=DetachKeys(parse_detach_keys(""))) is True
    for fd in (master, slave, keys_in, keys_out, sink):
        os.close(fd)


def test_write_all_waits_for_a_slow_reader() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = os.urandom(1 << 20)
    got = bytearray()

    def reader() -> None:
        while len(got) < len(data):
            got.extend(os.read(read, 1 << 16))

    thread = threading.Thread(target=reader)
    thread.start()
    write_all(write, data)
    thread.join()
    assert bytes(got) == data
    os.close(read)
    os.close(write)


def test_console_sockets(tmp_path: Path) -> None:
    with ConsoleSocket(tmp_path) as console, pytest.raises(ConsoleFailed, match="in time"):
        console.receive(timeout=0.05)
    assert os.listdir(tmp_path) == []
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with pytest.raises(ConsoleFailed, match="too long"):
        ConsoleSocket(deep)


def test_the_window_size_is_followed() -> None:
    master, slave = pty.openpty()
    set_window_size(master, 10, 20)
    seen: list[tuple[int, int]] = []
    before = signal.getsignal(signal.SIGWINCH)
    with follow_window_size(slave, lambda rows, columns: seen.append((rows, columns))):
        set_window_size(master, 30, 40)
        os.kill(os.getpid(), signal.SIGWINCH)
    assert seen == [(10, 20), (30, 40)]
    assert signal.getsignal(signal.SIGWINCH) == before
    os.close(master)
    os.close(slave)
