"""Ports on IPv6, handed on to IPv4: a relay in a process of its own, between real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from boxwright.container.supervisor.loop import Loop
from boxwright.container.supervisor.relay import Relays
from boxwright.network.plan import Port
from boxwright.network.ports import PortTaken, publishable


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
    ready, told = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            loop = Loop()
            Relays(loop, [published(protocol, port, target)])
            os.write(told, b"1")
            loop.run()
        finally:
            os._exit(1)
    try:
        os.close(told)
        assert os.read(ready, 1) == b"1"
        yield "::1", port
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


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


def test_nobody_listens_in_the_container() -> None:
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
