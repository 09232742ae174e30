"""Ports on IPv6, handed on to IPv4: a relay that turns in a thread or by hand, between real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from boxwright.container.supervisor import relay as relays
from boxwright.container.supervisor.relay import Relays
from boxwright.network.plan import Port
from boxwright.network.ports import PortTaken, publishable
from support.descriptors import none_left_open
from support.turns import Turns


def free(kind: int) -> int:
    try:
        with socket.socket(socket.AF_INET6, kind) as held:
            held.bind(("::1", 0))
            return int(held.getsockname()[1])
    except OSError:
        pytest.skip("this host has no IPv6")


def published(protocol: str, port: int, target: int) -> Port:
    return Port(
        protocol=protocol, host_ip="::1", host_port=port, address="127.0.0.1", port=target, bridge="bridge"
    )


@contextlib.contextmanager
def relay(protocol: str, target: int) -> Iterator[tuple[str, int]]:
    port = free(socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
    loop = Turns()
    open_ = Relays(loop, [published(protocol, port, target)])  # type: ignore[arg-type]

    def serve() -> None:
        while loop.running:
            loop.turn(0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield "::1", port
    finally:
        loop.running = False
        thread.join()
        open_.close()
        assert not loop.watched and not loop.timers


@pytest.fixture
def echo() -> Iterator[int]:
    """Answers with what it got once the other side has said everything."""

    def answer(connection: socket.socket) -> None:
        with connection:
            data = b"".join(iter(lambda: connection.recv(65536), b""))
            connection.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_streams(echo: int) -> None:
    sent = os.urandom(3 << 20)  # more than all buffers on the way: each side waits for the other
    with relay("tcp", echo) as where:
        for _ in range(2):
            with socket.create_connection(where, timeout=20) as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                assert b"".join(iter(lambda: client.recv(65536), b"")) == sent


def test_no_process_listens_in_the_container() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        target = gone.getsockname()[1]
    with (
        relay("tcp", target) as where,
        socket.create_connection(where, timeout=20) as client,
        contextlib.suppress(ConnectionResetError),
    ):
        assert client.recv(1) == b""


def test_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        with relay("udp", server.getsockname()[1]) as where:
            clients = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(3)]
            for number, client in enumerate(clients):
                client.settimeout(20)
                client.connect(where)
                client.send(b"%d" % number)
            for _ in clients:
                data, sender = server.recvfrom(10)
                server.sendto(b"to " + data, sender)
            assert [client.recv(10) for client in clients] == [b"to 0", b"to 1", b"to 2"]
            for client in clients:
                client.close()


def test_all_addresses_of_the_host() -> None:
    free(socket.SOCK_STREAM)
    port, addresses, held = publishable("tcp", "", 0)
    assert addresses == ["", "::"] and held is not None and held.getsockname()[1] == port
    held.close()
    assert publishable("tcp", "::1", 0)[1:] == (["::1"], None)
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server,
        pytest.raises(PortTaken, match=r"for \[::\]:\d+: address already in use"),
    ):
        publishable("tcp", "", server.getsockname()[1])


def test_what_was_open_is_closed_with_the_relay(echo: int) -> None:
    with none_left_open(but=1):  # the echo's end
        loop, port = Turns(), free(socket.SOCK_STREAM)
        open_ = Relays(loop, [published("tcp", port, echo)])  # type: ignore[arg-type]
        with socket.create_connection(("::1", port), timeout=20) as client:
            loop.turn(5)
            client.sendall(b"half")
            loop.turn(5)
            open_.close()
            open_.close()
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        assert not loop.watched


def test_a_port_that_is_taken_is_told_and_nothing_stays_open() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        taken, loop = server.getsockname()[1], Turns()
        ports = [published("udp", free(socket.SOCK_DGRAM), 1), published("tcp", taken, 1)]
        with pytest.raises(OSError, match="already in use") as info:
            Relays(loop, ports)  # type: ignore[arg-type]
    assert info.value.filename == f"[::1]:{taken}" and not loop.watched and not loop.timers


def test_without_descriptors_a_listener_pauses(echo: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, port = Turns(), free(socket.SOCK_STREAM)
    open_ = Relays(loop, [published("tcp", port, echo)])  # type: ignore[arg-type]

    def full(listener: object) -> int:
        raise OSError(24, "Too many open files")

    with socket.create_connection(("::1", port), timeout=20) as client:
        monkeypatch.setattr(relays, "accept", full)
        loop.turn(5)
        assert not loop.watched
        monkeypatch.undo()
        assert loop.due() == 1.0
        client.sendall(b"heard")
        client.shutdown(socket.SHUT_WR)
        client.settimeout(0.01)
        answer = b""
        for _ in range(200):
            loop.turn(0.05)
            with contextlib.suppress(TimeoutError):
                answer += client.recv(10)
            if answer == b"heard":
                break
        assert answer == b"heard"
    open_.close()


class Senders:
    """A relay of datagrams that is turned by hand, and who speaks through it."""

    def __init__(self, target: int) -> None:
        self.loop, self.port = Turns(), free(socket.SOCK_DGRAM)
        loop: Any = self.loop
        self.relays = Relays(loop, [published("udp", self.port, target)])

    def speak(self, client: socket.socket) -> None:
        client.sendto(b"x", ("::1", self.port))
        self.loop.turn(5)

    def known(self) -> int:
        """Sockets towards the container: one a sender."""
        return len(self.loop.watched) - 1


@pytest.fixture
def senders() -> Iterator[Senders]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        made = Senders(server.getsockname()[1])
        yield made
        made.relays.close()
        assert not made.loop.watched and not made.loop.timers


def test_a_sender_that_says_nothing_for_a_while_is_forgotten(senders: Senders) -> None:
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as two,
    ):
        senders.speak(one)
        senders.speak(two)
        assert senders.known() == 2
        assert senders.loop.due() == 60.0
        senders.speak(two)
        assert senders.loop.due() == 60.0
        assert senders.known() == 1
        senders.loop.due()
        assert senders.known() == 0


def test_the_oldest_sender_makes_room(senders: Senders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "_MOST", 2)
    clients = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(4)]
    for client in clients:
        senders.speak(client)
        client.close()
    assert senders.known() == 2
