"""Netavark beside our `network/`: `python -m bench networks`. What one start, and one end, of a container costs for its
network alone, with one published port and without names; the average of 50 containers on one network."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boxwright.files import syscalls
from boxwright.network import bridge
from boxwright.network.namespace import NetworkNamespace
from boxwright.network.plan import Endpoint, NetworkPlan, Port
from boxwright.network.values import Plumbing

_COUNT = 50
_PLACES = ("/usr/lib/podman/netavark", "/usr/libexec/podman/netavark")
_CLONE_NEWNET = 0x40000000
_NETWORK: dict[str, Any] = {"bridge": "bench0", "subnet": "10.91.0.0/24", "gateway": "10.91.0.1", "mtu": 1500}


class _Ours:
    """The supervisor's part, called as the supervisor calls it."""

    def __init__(self, work: Path) -> None:
        self._lock = str(work / "network.lock")
        self._wires: dict[int, NetworkNamespace] = {}

    def up(self, number: int) -> None:
        endpoint = Endpoint(
            **_NETWORK,
            network="n0",
            id="ab" * 32,
            internal=False,
            masquerade=True,
            address=f"10.91.0.{number}",
            prefix=24,
            mac=f"02:42:0a:5b:00:{number:02x}",
            interface="eth0",
            veth=f"veth{number}",
            default=True,
            host_address="",
        )
        port = Port(
            protocol="tcp",
            host_ip="",
            host_port=20000 + number,
            address=endpoint.address,
            port=80,
            bridge=endpoint.bridge,
        )
        plan = NetworkPlan(id=f"{number:064x}", lock=self._lock, endpoints=(endpoint,), ports=(port,))
        wire = self._wires[number] = NetworkNamespace(plan, os.open("/dev/null", os.O_RDONLY))
        wire.up()

    def down(self, number: int) -> None:
        self._wires.pop(number).down()

    def end(self) -> None:
        bridge.take_down(Plumbing("ab" * 32, "bench0", "10.91.0.0/24", "10.91.0.1"), self._lock)


class _Netavark:
    """One process each."""

    def __init__(self, program: list[str], work: Path) -> None:
        self._program = [*program, "--config", str(work / "netavark")]
        self._spaces: dict[int, int] = {}

    def _run(self, verb: str, number: int) -> None:
        network: dict[str, Any] = {
            "name": "n1",
            "id": "53" * 32,
            "driver": "bridge",
            "network_interface": "bench1",
            "subnets": [{"subnet": "10.92.0.0/24", "gateway": "10.92.0.1"}],
            "ipv6_enabled": False,
            "internal": False,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
        port = {
            "container_port": 80,
            "host_ip": "",
            "host_port": 30000 + number,
            "protocol": "tcp",
            "range": 1,
        }
        wanted = {
            "container_id": f"{number:064x}",
            "container_name": f"c{number}",
            "port_mappings": [port],
            "networks": {"n1": {"interface_name": "eth0", "static_ips": [f"10.92.0.{number}"]}},
            "network_info": {"n1": network},
        }
        argv = [*self._program, verb, f"/proc/{os.getpid()}/fd/{self._spaces[number]}"]
        subprocess.run(argv, input=json.dumps(wanted).encode(), check=True, capture_output=True)

    def up(self, number: int) -> None:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        syscalls.libc("unshare", _CLONE_NEWNET)
        self._spaces[number] = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        syscalls.libc("setns", own, _CLONE_NEWNET)
        os.close(own)
        self._run("setup", number)

    def down(self, number: int) -> None:
        self._run("teardown", number)
        os.close(self._spaces.pop(number))

    def end(self) -> None:
        """The last container took the bridge with it."""


def _timed(call: Callable[[int], None], numbers: range) -> tuple[float, float]:
    """Milliseconds for each, by the clock and of the processor, children included."""

    def cpu() -> float:
        spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(s.ru_utime + s.ru_stime for s in spent)

    start, used = time.perf_counter(), cpu()
    for number in numbers:
        call(number)
    return (time.perf_counter() - start) * 1e3 / len(numbers), (cpu() - used) * 1e3 / len(numbers)


def main(work: Path) -> int:
    """Prints a table; 1 without netavark. The process is in a network namespace of its own."""
    program = os.environ.get("NETAVARK", "").split() or [p for p in _PLACES if shutil.which(p)][:1]
    if not program:
        print("netavark is not installed; NETAVARK may name it", file=sys.stderr)
        return 1
    print(f"{'':<12}{'first':>18}{'start':>18}{'end':>18}   ms by the clock / of the processor")
    for name, side in (("boxwright", _Ours(work)), ("netavark", _Netavark(program, work))):
        figures = [_timed(side.up, range(2, 3))]
        figures.append(_timed(side.up, range(3, 3 + _COUNT)))
        figures.append(_timed(side.down, range(3, 3 + _COUNT)))
        side.down(2)
        side.end()
        print(f"{name:<12}" + "".join(f"{clock:9.1f} /{used:7.1f}" for clock, used in figures))
    return 0
