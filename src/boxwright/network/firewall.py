"""NAT, forwarding and published ports: rules for iptables, loaded in one call of ``iptables-restore``.

Rules that were made by others stay untouched. A network's rules carry its bridge's name; a container's the first 12
digits of its id in a comment. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

Port = tuple[
    str, str, int, str, int, str
]  # protocol, host ip, host port, container ip, container port, bridge

_PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin")
_ENVIRONMENT = {"PATH": ":".join(_PLACES), "LC_ALL": "C"}
_TAG = "boxwright"


def open_network(bridge: str, subnet: str, *, internal: bool = False) -> None:
    """Let a bridge's containers reach each other and, unless internal, the world. Idempotent. Raises OSError."""
    close_network(bridge, subnet)
    comment = f"-m comment --comment {_TAG}"
    if internal:
        forward = [
            f"-I FORWARD -i {bridge} ! -o {bridge} {comment} -j DROP",
            f"-I FORWARD ! -i {bridge} -o {bridge} {comment} -j DROP",
            f"-I FORWARD -i {bridge} -o {bridge} {comment} -j ACCEPT",
        ]
        _restore(["*filter", *forward, "COMMIT"])
        return
    _restore(
        [
            "*filter",
            f"-I FORWARD -i {bridge} {comment} -j ACCEPT",
            f"-I FORWARD -o {bridge} {comment} -j ACCEPT",
            "COMMIT",
            "*nat",
            f"-A POSTROUTING -s {subnet} ! -o {bridge} {comment} -j MASQUERADE",
            # A published port asked for at 127.0.0.1: the container could not answer to that address.
            f"-A POSTROUTING -o {bridge} -m addrtype --src-type LOCAL {comment} -j MASQUERADE",
            "COMMIT",
        ]
    )


def close_network(bridge: str, subnet: str) -> None:
    """Take a network's rules away; idempotent. Raises OSError."""
    _remove(lambda rule: f"-i {bridge} " in rule or f"-o {bridge} " in rule or rule.endswith(f"-o {bridge}"))


def publish(ports: Iterable[Port], identity: str) -> None:
    """Send host ports to the container. Raises OSError."""
    _restore(["*nat", *(f"-A {rule}" for rule in _rules(ports, identity)), "COMMIT"])


def unpublish(ports: Iterable[Port], identity: str) -> None:
    """The opposite; rules that are gone are no error."""
    try:
        _restore(["*nat", *(f"-D {rule}" for rule in _rules(ports, identity)), "COMMIT"])
    except OSError:
        forget(identity)


def forget(identity: str) -> None:
    """Remove whatever rules a container left. Raises OSError."""
    _remove(lambda rule: f"{_TAG}:{identity[:12]}" in rule)


def _rules(ports: Iterable[Port], identity: str) -> list[str]:
    rules = []
    for protocol, host_ip, host_port, address, port, _ in ports:
        where = (
            f"-d {host_ip}"
            if host_ip and host_ip not in ("0.0.0.0", "::")
            else "-m addrtype --dst-type LOCAL"
        )
        tail = f"-p {protocol} {where} -m {protocol} --dport {host_port} -m comment --comment {_TAG}:{identity[:12]} -j DNAT --to-destination {address}:{port}"
        rules += [f"PREROUTING {tail}", f"OUTPUT {tail}"]
        # A container that asks for its own, or a neighbour's, published port through the host.
        rules.append(
            f"POSTROUTING -s {address} -d {address} -p {protocol} -m {protocol} --dport {port} -m comment --comment {_TAG}:{identity[:12]} -j MASQUERADE"
        )
    return rules


def _remove(matches: object) -> None:
    assert callable(matches)
    for table in ("filter", "nat"):
        listed = _run(["iptables-save", "-t", table], b"").decode()
        rules = [
            line[3:]
            for line in listed.splitlines()
            if line.startswith("-A ") and _TAG in line and matches(line + " ")
        ]
        if rules:
            _restore([f"*{table}", *(f"-D {rule}" for rule in rules), "COMMIT"])


def _restore(lines: list[str]) -> None:
    _run(["iptables-restore", "--noflush", "--wait"], ("\n".join(lines) + "\n").encode())


def _run(argv: list[str], data: bytes) -> bytes:
    program = next(
        (f"{place}/{argv[0]}" for place in _PLACES if os.access(f"{place}/{argv[0]}", os.X_OK)), ""
    )
    if not program:
        raise OSError(2, f"{argv[0]} is not installed (package iptables)")
    said = os.memfd_create("output")
    asked = os.memfd_create("input")
    try:
        os.write(asked, data)
        os.lseek(asked, 0, os.SEEK_SET)
        actions = [
            (os.POSIX_SPAWN_DUP2, asked, 0),
            (os.POSIX_SPAWN_DUP2, said, 1),
            (os.POSIX_SPAWN_DUP2, said, 2),
        ]
        pid = os.posix_spawn(program, argv, _ENVIRONMENT, file_actions=actions, setsigdef=[1, 2, 3, 13, 15])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output = os.pread(said, os.fstat(said).st_size, 0)
    finally:
        os.close(said)
        os.close(asked)
    if code != 0:
        raise OSError(5, f"{argv[0]} failed: {output.decode('utf-8', 'replace').strip()}")
    return output
