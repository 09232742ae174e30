"""``-p``, ``-P``, ``--expose``: Docker's forms of ports (docker/go-connections nat.go). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from boxwright.container.config import PortBinding
from boxwright.errors import Invalid, NotFound
from boxwright.network import values
from boxwright.network.values import PROTOCOLS


class PortInvalid(Invalid):
    """A port, range or protocol cannot be understood."""


class NoSuchPort(NotFound):
    """The container publishes no such port."""


def port_range(text: str, what: str) -> tuple[int, int]:
    """``80`` or ``8000-8010``. Raises PortInvalid."""
    first, dash, last = text.partition("-")
    if not _is_port(first) or (dash and not _is_port(last)):
        raise PortInvalid(f"invalid {what}: {text}")
    low, high = int(first), int(last) if dash else int(first)
    if high < low:
        raise PortInvalid(f"invalid {what}: {text}: invalid range")
    return low, high


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < 65536


def parse_publish(text: str) -> tuple[PortBinding, ...]:
    """``[[IP:][HOST_PORT[-RANGE]]:]CONTAINER_PORT[-RANGE][/PROTOCOL]`` or ``published=…,target=…``. A host port of 0,
    or a host range over one container port, asks for a free one. Raises PortInvalid."""
    if "=" in text:
        return (_long_form(text),)
    rest, slash, protocol = text.rpartition("/")
    if not slash:
        rest, protocol = protocol, "tcp"
    protocol = protocol.lower() or "tcp"
    head, colon, inside = rest.rpartition(":")
    address, host = "", ""
    if colon:
        if head.startswith("["):
            address, closed, host = head[1:].partition("]:")
            if not closed:
                raise PortInvalid(
                    f"invalid IP address: {head}",
                    hint="an address is followed by two ports, the first of which may be empty: [::1]::80",
                )
        else:
            address, _, host = head.rpartition(":")
            if ":" in address:
                raise PortInvalid(
                    f"invalid IP address {address}: too many colons in address", hint=f"write [{address}]"
                )
    if not inside:
        raise PortInvalid(f"no port specified: {text}<empty>")
    if protocol not in PROTOCOLS:
        raise PortInvalid(f"invalid proto: {protocol}")
    if address:
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError as error:
            raise PortInvalid(f"invalid IP address: {address}") from error
    low, high = port_range(inside, "containerPort")
    if low < 1:
        raise PortInvalid(f"invalid containerPort: {inside}")
    if not host:
        return tuple(PortBinding(port, protocol, address) for port in range(low, high + 1))
    host_low, host_high = port_range(host, "hostPort")
    if host_high - host_low != high - low:
        if high == low and host_low:
            return (
                PortBinding(
                    container_port=low,
                    protocol=protocol,
                    host_ip=address,
                    host_port=_first_free(protocol=protocol, address=address, low=host_low, high=host_high),
                ),
            )
        raise PortInvalid(f"invalid ranges specified for container and host Ports: {inside} and {host}")
    return tuple(
        PortBinding(
            container_port=low + n,
            protocol=protocol,
            host_ip=address,
            host_port=host_low + n if host_low else 0,
        )
        for n in range(high - low + 1)
    )


def _first_free(protocol: str, address: str, low: int, high: int) -> int:
    from boxwright.network.ports import is_free

    for port in range(low, high + 1):
        if is_free(protocol, address, port):
            return port
    raise PortInvalid(f"all ports are allocated: {low}-{high}")


def _long_form(text: str) -> PortBinding:
    given = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in ("target", "published", "protocol", "mode"):
            raise PortInvalid(f"invalid field {part} in --publish: wanted target=, published=, protocol=")
        given[key] = value
    target, published = given.get("target", ""), given.get("published", "0")
    if given.get("protocol", "tcp") not in PROTOCOLS:
        raise PortInvalid(f"invalid proto: {given['protocol']}")
    return PortBinding(
        container_port=port_range(target, "containerPort")[0],
        protocol=given.get("protocol", "tcp"),
        host_ip="",
        host_port=port_range(published, "hostPort")[0],
    )


def parse_expose(text: str) -> tuple[str, ...]:
    """``80``, ``80/udp``, ``7000-7010/tcp`` -> ``80/tcp`` … Raises PortInvalid."""
    ports, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if ":" in ports or protocol not in PROTOCOLS:
        raise PortInvalid(f"invalid port format for --expose: {text}")
    low, high = port_range(ports, f"range format for --expose: {text}, error")
    return tuple(f"{port}/{protocol}" for port in range(low, high + 1))


def parse_exposed(texts: Iterable[str]) -> tuple[tuple[int, str], ...]:
    """(port, protocol) for each entry of an image's ExposedPorts. Raises PortInvalid."""
    found: dict[tuple[int, str], None] = {}
    for text in texts:
        number, slash, protocol = text.partition("/")
        try:
            found[values.port(number), values.protocol(protocol.lower() if slash else "tcp")] = None
        except values.Unfit as error:
            raise PortInvalid(
                f"the image exposes {text!r}, which is no port",
                hint="publish the ports that it really has with -p, instead of all with -P",
            ) from error
    return tuple(found)


def show(bindings: Iterable[tuple[int, str, str, int]], exposed: Iterable[str] = ()) -> str:
    """The PORTS column: ``443/tcp, 0.0.0.0:8080->80/tcp``. Entries are (container port, protocol, host IP, host port).

    Neighbours are one range where they have the same numbers on the host, or none; the others come one by one at the
    end (docker/cli formatter.DisplayablePorts)."""
    bound = set(bindings)
    closed = _ports_among(exposed) - {(port, protocol) for port, protocol, _, _ in bound}
    ranges: dict[tuple[str, str], list[list[int]]] = {}
    single: list[str] = []
    for port, address, host, protocol in sorted(
        [(p, a, h, t) for p, t, a, h in bound] + [(p, "", 0, t) for p, t in closed]
    ):
        if address and host != port:
            single.append(f"{_joined(address, host)}->{port}/{protocol}")
            continue
        found = ranges.setdefault((address, protocol), [])
        if found and port == found[-1][1] + 1:
            found[-1][1] = port
        else:
            found.append([port, port])
    out = []
    for (address, protocol), found in ranges.items():
        for first, last in found:
            text = f"{first}" if first == last else f"{first}-{last}"
            out.append(f"{_joined(address, text)}->{text}/{protocol}" if address else f"{text}/{protocol}")
    return ", ".join(out + single)


def _joined(address: str, port: object) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _ports_among(exposed: Iterable[str]) -> set[tuple[int, str]]:
    """What an image exposes, as far as it is ports: a list of containers is shown whatever their images say."""
    found: set[tuple[int, str]] = set()
    for text in exposed:
        try:
            found.update(parse_exposed([text]))
        except PortInvalid:
            continue
    return found
