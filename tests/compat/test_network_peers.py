"""Networks beside a real Docker on one host: each keeps the other's containers out, and leaves the other's rules alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.containers import IMAGE
from support.netns import WEB, docker_in, private_host, reached, reaches
from support.peers import needs
from support.waiting import eventually

pytestmark = [pytest.mark.rooted, needs("dockerd", "docker")]
BOXED, DOCKED = 8080, 8081  # published ports


@pytest.mark.parametrize("first", ["docker", "boxwright"])
def test_beside_docker(tmp_path: Path, first: str) -> None:
    with private_host(tmp_path) as host:
        near = host.neighbour("198.51.100", "2001:db8:1::")
        near.serve(7)

        def boxed() -> None:
            host.run("run", "-d", "--name", "boxed", "-p", f"{BOXED}:80", *WEB)

        if first == "boxwright":
            boxed()
        with docker_in(host, tmp_path) as docker:
            host.sh(f"{docker} import {tmp_path}/busybox.tar {IMAGE} && {docker} network create other")
            host.sh(f"{docker} run -d --name docked -p {DOCKED}:80 {' '.join(WEB)}")
            host.sh(f"{docker} run -d --name apart --network other {' '.join(WEB)}")
            theirs = {line for line in host.rules().splitlines() if "boxwright" not in line.lower()}
            if first == "docker":
                boxed()
            host.run("network", "create", "mine")
            host.run("run", "-d", "--name", "late", "--network", "mine", *WEB)
            seen = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            pids, at = {}, {}
            for name in ("docked", "apart"):
                pid, at[name] = host.sh(f"{docker} inspect -f '{seen}' {name}").split()
                pids[name] = int(pid)
            for name in ("boxed", "late"):
                pids[name], at[name] = host.pid_of(name), host.address(name)
            gateway = {name: address.rpartition(".")[0] + ".1" for name, address in at.items()}
            eventually(lambda: all(reaches(host.pid, at[name], 80) for name in at))
            # Docker before 28 lets everyone ask a container itself for a port that it publishes.
            asked = [
                (f"{one} -> {two}", pids[one], at[two], 80)
                for one in pids
                for two in ("boxed", "late", "apart")
                if one != two
            ]
            ports = [(one, port) for one in pids for port in (BOXED, DOCKED)]
            asked += [(f"{one} -> {port}", pids[one], gateway[one], port) for one, port in ports]
            asked += [(f"{one} -> world", pids[one], "198.51.100.2", 7) for one in pids]
            asked += [(f"near -> {name}", near.pid, at[name], 80) for name in ("boxed", "late")]
            asked += [(f"near -> {port}", near.pid, "198.51.100.1", port) for port in (BOXED, DOCKED)]
            assert reached(asked) == {
                *(f"{one} -> {port}" for one, port in ports),
                *(f"{one} -> world" for one in pids),
                f"near -> {BOXED}",
                f"near -> {DOCKED}",
            }
            host.run("rm", "-f", "late", "boxed")
            host.run("network", "rm", "mine")
            host.run("network", "prune", "-f")
            left = {line for line in host.rules().splitlines() if "boxwright" not in line.lower()}
            assert theirs <= left
            host.sh(f"{docker} rm -f docked apart")
        near.close()
