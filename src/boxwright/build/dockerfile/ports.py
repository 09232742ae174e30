"""The words of EXPOSE: `port[-port][/protocol]`, and the longer forms that Docker puts up with."""

from __future__ import annotations

from collections.abc import Iterable

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.spec.text import go_quote, whole_number
from boxwright.spec.values import dataclass

_PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass(frozen=True, slots=True)
class PortWord:
    """One word: the ports it opens as the config has them, and what a check may say of its form."""

    word: str
    ports: tuple[str, ...]  # "80/tcp"
    protocol: str  # as written
    published: bool  # it names an address or a host port, which EXPOSE does not use


def parse_ports(words: Iterable[str]) -> tuple[str, ...]:
    """All ports of an EXPOSE, in the order of its words. Raises DockerfileError."""
    return tuple(port for word in words for port in parse_port(word).ports)


def parse_port(word: str) -> PortWord:
    """Read one word, `[ip:][host:]container[/protocol]`. Raises DockerfileError."""
    head, _, last = word.rpartition(":")
    address, _, host = head.rpartition(":")
    container, _, protocol = last.partition("/")
    if not container:
        raise DockerfileError(f"invalid port: {go_quote(word)}: no port specified")
    if protocol and protocol.lower() not in _PROTOCOLS:
        raise DockerfileError(f"invalid port: {go_quote(word)}: invalid proto: {protocol}")
    if address:
        _check_address(address)
    first, last_port = _range(container, "containerPort")
    if host:
        host_first, host_last = _range(host, "hostPort")
        if last_port - first != host_last - host_first and last_port != first:
            raise DockerfileError(
                f"invalid ranges specified for container and host Ports: {container} and {host}"
            )
    name = protocol.lower() or "tcp"
    ports = tuple(f"{number}/{name}" for number in range(first, last_port + 1))
    return PortWord(word=word, ports=ports, protocol=protocol or "tcp", published=bool(address or host))


def _check_address(address: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(address[1:-1] if address.startswith("[") and address.endswith("]") else address)
    except ValueError:
        raise DockerfileError(f"invalid IP address: {address}") from None


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    start = _port(first)
    end = _port(last) if dash else start
    if start is None or end is None or end < start:
        raise DockerfileError(f"invalid {what}: {text}")
    return start, end


def _port(text: str) -> int | None:
    return whole_number(text.removeprefix("+"), 65535)
