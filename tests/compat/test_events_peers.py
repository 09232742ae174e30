"""One day of commands at Docker and at Boxwright: the events of each, step by step, in Docker's words and order.

What differs on purpose is said in `lived`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.containers import IMAGE
from support.images import busybox_tar
from support.netns import Host, docker_in, private_host
from support.peers import needs

pytestmark = [pytest.mark.rooted, needs("dockerd", "docker")]

# Each is a shell's line with D for the program and T for a directory.
DAY = """
D import -c 'CMD ["sh"]' -c 'LABEL made=here' T/busybox.tar bb:1
D tag bb:1 bb:2
D save -o T/s.tar bb:1 bb:2
D rmi bb:2
D network create --label nl=1 n1
D volume create --label vl=1 v1
D create --name c0 --label k=v --label k2=v2 bb:1 sleep 1000
D start c0
D exec c0 true
D exec c0 sh -c 'exit 3'
D exec -d c0 sh -c 'exit 4'
D exec c0 nosuch
D cp c0:/bin/sh T/p
D cp T/p c0:/p
D top c0
D diff c0
D logs c0
D export -o T/e.tar c0
D commit -p=false -m hi c0 cm:1
D rename c0 c1
D update --restart on-failure:3 c1
D pause c1
D unpause c1
D kill -s USR1 c1
D network connect n1 c1
D network disconnect n1 c1
D restart -t 0 c1
D stop -t 0 c1
D start c1
D kill c1
D rm c1
D run --rm --name r1 bb:1 true
D run --name r2 -v v1:/data --network n1 bb:1 sh -c 'exit 4'
D rm -v r2
D run -d --name r3 --network none bb:1 sleep 1000
D rm -f r3
D run -d --name r5 --network host bb:1 sleep 1000
D rm -f r5
echo hi | D run -i --name r4 bb:1 cat
D container prune -f
D run -d --name h1 --health-cmd false --health-retries 1 --health-interval 1s bb:1 sleep 1000
D rm -f h1
D run --name o1 -m 20m --memory-swap 20m bb:1 tail /dev/zero
D rm o1
D run --name bad bb:1 /nosuch
D rm bad
D network rm n1
D network prune -f
D volume rm v1
D volume prune -f
D load -i T/s.tar
D rmi cm:1
printf 'FROM bb:1\\nLABEL a=b\\n' | D build -q -t bt:1 -t bt:2 -
D rmi bt:1
D rmi bt:2
D image prune -f
D rmi -f bb:1 bb:2
D system prune -f
""".strip().splitlines()
# Steps after which a state is waited for: something ends, or happens, by itself.
WAITS = {
    "D exec -d c0 sh -c 'exit 4'": "exec_die",
    "D run -d --name h1 --health-cmd false --health-retries 1 --health-interval 1s bb:1 sleep 1000": "health_status: unhealthy",
}
RACES = ("container stop", "container die")  # Docker tells the two in either order
FEW = ("image prune", "builder prune", "volume prune")  # what is reclaimed is what each store took


def step(line: str, program: str, folder: Path) -> str:
    return re.sub(r"\bT/", f"{folder}/", re.sub(r"\bD\b", program, line))


def shown(value: dict[str, Any]) -> str:
    """An event without what is of this run: ids and times."""
    attributes = dict(value["Actor"]["Attributes"])
    if "execDuration" in attributes:
        assert attributes["execDuration"].isdigit()
        attributes["execDuration"] = "N"
    what = f"{value['Type']} {value['Action']}"
    if what in FEW:
        attributes["reclaimed"] = "N"
    identity = re.sub("[0-9a-f]{64}", "ID", value["Actor"]["ID"])
    words = re.sub("[0-9a-f]{64}", "ID", json.dumps(attributes, sort_keys=True))
    more = {k: v for k, v in value.items() if k not in ("Type", "Action", "Actor", "time", "timeNano")}
    return f"{what} {identity} {words} {re.sub('[0-9a-f]{64}', 'ID', json.dumps(more, sort_keys=True))}"


def lived(run: Callable[[str], str], program: str, folder: Path) -> list[str]:
    """The events of the day. A step may be over before its last event is told."""
    began = time.time()
    for line in DAY:
        since = time.time()
        run(step(line, program, folder) + " || true")
        end = time.monotonic() + 20
        ask = f"{program} events --since {since:.6f} --until $(date +%s.%N)"
        while WAITS.get(line, "") not in run(ask):
            assert time.monotonic() < end, f"{line}: no {WAITS[line]}"
    text = run(f"{program} events --since {began:.6f} --until $(date +%s.%N) --format '{{{{json .}}}}'")
    joined: set[tuple[str, str]] = set()
    checks: set[str] = set()
    found = []
    for value in map(json.loads, text.splitlines()):
        attributes, line = value["Actor"]["Attributes"], shown(value)
        if value["Type"] == "network" and "container" in attributes:
            pair = (attributes["container"], attributes["name"])
            if value["Action"] == "connect":
                joined.add(pair)
            elif pair not in joined:  # of a start that failed: Docker tells what was never joined
                continue
        if (
            attributes.get("name") == "h1" and "exec_" in value["Action"]
        ):  # how many checks there are is chance
            if line in checks:
                continue
            checks.add(line)
        found.append(line)
    for at in range(len(found) - 1):
        if found[at].startswith(RACES) and found[at + 1].startswith(RACES):
            found[at : at + 2] = sorted(found[at : at + 2])
    return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with private_host(tmp_path_factory.mktemp("day")) as host:
        yield host


def test_a_day_of_docker_and_of_ours(host: Host, tmp_path: Path) -> None:
    (tmp_path / "busybox.tar").write_bytes(busybox_tar())
    folders = [tmp_path / "theirs", tmp_path / "ours"]
    for folder in folders:
        folder.mkdir()
        (folder / "busybox.tar").write_bytes(busybox_tar())
    with docker_in(host, tmp_path / "theirs") as docker:
        theirs = lived(lambda line: host.sh(line, check=False), docker, folders[0])
    ours = lived(host.shell, f"{sys.executable} -m boxwright", folders[1])
    assert "\n".join(ours) == "\n".join(theirs)
    assert len(ours) > 100


def test_filters_times_and_forms_of_docker(host: Host, tmp_path: Path) -> None:
    (tmp_path / "busybox.tar").write_bytes(busybox_tar())
    answers: dict[str, list[list[str]]] = {}
    with docker_in(host, tmp_path) as docker:
        for who, program, run in (
            ("docker", docker, lambda line: host.sh(line, check=False)),
            ("ours", f"{sys.executable} -m boxwright", host.shell),
        ):
            before = time.time()
            run(f"{program} import {tmp_path}/busybox.tar {IMAGE}:1")
            run(f"{program} create --name box --label k=v --label l=w {IMAGE}:1 true")
            run(f"{program} create --name boxer --label k=v {IMAGE}:1 true")
            run(f"{program} start -a box")
            run(f"{program} network create box")
            run(f"{program} volume create other")
            after = time.time()
            answers[who] = []
            times = [
                (f"{before:.6f}", f"{after:.6f}"),
                (f"{int(before)}", f"{int(after) + 1}"),
                ("10m", "0s"),
                ("1h0m0.5s", "0s"),
                *(
                    tuple(time.strftime(form, time.gmtime(t)) for t in (before - 1, after + 1))
                    for form in (
                        "%Y-%m-%dT%H:%M:%SZ",
                        "%Y-%m-%dT%H:%M:%S+00:00",
                        "%Y-%m-%dT%H:%M:%S.000000000Z",
                    )
                ),
                *(
                    tuple(time.strftime(form, time.localtime(t)) for t in (before - 1, after + 1))
                    for form in ("%Y-%m-%dT%H:%M:%S",)
                ),
                ("nonsense", "0s"),
            ]
            for since, until in times:
                form = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"
                mine = "-f container=box"  # which no event of the day before passes
                said = run(
                    f"{program} events --since '{since}' --until '{until}' {mine} --format '{form}' 2>/dev/null"
                )
                answers[who].append([*re.sub("[0-9a-f]{64}", "ID", said).splitlines()])
            filters = (
                ("type=container",),
                ("type=container", "type=network"),
                ("event=create",),
                ("event=create", "event=start", "type=container"),
                ("container=box",),
                ("container=boxer",),
                ("container=nosuch",),
                (f"image={IMAGE}",),
                (f"image={IMAGE}:1",),
                ("image=busyb",),
                ("label=k=v",),
                ("label=k",),
                ("label=k=v", "label=l=w"),
                ("label=k=x",),
                ("network=box",),
                ("volume=other",),
                ("scope=local", "type=volume"),
                ("scope=swarm",),
                ("daemon=x",),
                ("plugin=x",),
                ("type",),
            )
            for some in filters:
                words = " ".join(f"-f {one}" for one in some)
                form = "{{.Type}} {{.Action}} {{.From}} {{.Status}} {{.Scope}}"
                said = run(
                    f"{program} events --since {before} --until {after} {words} --format '{form}' 2>/dev/null; echo $?"
                )
                answers[who].append([str(some), *said.splitlines()])
            for form in (
                "{{.ID}}|{{.Actor.ID}}",
                "{{json .Actor.Attributes}}",
                "{{.Time}}",
                "{{.TimeNano}}",
                "{{json .}}",
                "json",
                "{{.Nosuch}}",
            ):
                said = run(
                    f"{program} events --since {before} --until {after} -f event=start --format '{form}' 2>/dev/null"
                )
                text = re.sub("[0-9a-f]{64}", "ID", said)
                text = re.sub("[0-9]{19}", "NANO", text)
                answers[who].append([re.sub("[0-9]{10}", "TIME", text)])
    for theirs, mine in zip(answers["docker"], answers["ours"], strict=True):
        assert mine == theirs
