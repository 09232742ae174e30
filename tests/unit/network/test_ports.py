"""Host ports."""

from __future__ import annotations

import socket

import pytest

from boxwright.network.ports import NoRelay, PortTaken, publishable


def test_a_port_that_a_program_has_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}"):
            publishable("tcp", "127.0.0.1", port)


def test_what_nothing_hands_on_is_refused() -> None:
    with pytest.raises(NoRelay):
        publishable("sctp", "::1", 0)
    number, addresses, held = publishable("sctp", "127.0.0.1", 0)
    assert number and addresses == ["127.0.0.1"] and held is not None
    held.close()
