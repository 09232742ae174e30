"""Which hosts are this machine, in every spelling that the system takes for an address."""

from __future__ import annotations

import subprocess
import sys

import pytest

from boxwright.registry.client.addresses import address_of, is_loopback

HERE = ["127.0.0.1", "127.1", "127.255.0.9", "0x7f000001", "2130706433", "0177.0.0.1", "::1", "[::1]"]
HERE += ["::ffff:127.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "[::1%lo]"]
ELSEWHERE = [
    "128.0.0.1",
    "10.0.0.1",
    "0.0.0.0",
    "::2",
    "::ffff:10.0.0.1",
    "example.org",
    "cafe",
    "dead.beef",
    "",
]
ELSEWHERE += [
    "127.0.0.1.example.org",
    "localhost.example.org",
    "127.0.0.256",
    "1.2.3.4.5",
    "a:b",
    "999999999999",
]


@pytest.mark.parametrize("host", HERE)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_elsewhere(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.1", "10.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("[fe80::1%eth0]", "fe80::1"),
        ("cafe", "None"),
        ("1.2.3.4.5", "None"),
        ("", "None"),
    ],
)
def test_the_address_that_a_host_is(host: str, address: str) -> None:
    assert str(address_of(host)) == address


def test_a_registry_on_this_machine_loads_no_arithmetic_of_addresses() -> None:
    script = (
        "import sys; from boxwright.cli.startup import hurry; hurry()\n"
        "from boxwright.registry.client.addresses import is_loopback\n"
        "assert is_loopback('127.0.0.1') and not is_loopback('registry.example.org')\n"
        "assert type(sys.modules['ipaddress']).__name__ == '_Later'"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
