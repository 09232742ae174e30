"""docs/flags.md against the parsers: every option is in it, and what it says is so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxwright.build import options as build_options
from boxwright.build.request import SshSource
from boxwright.cli import main as cli
from boxwright.cli.build import command as build_command
from boxwright.cli.container import options as run_options
from boxwright.cli.context import Context
from boxwright.cli.main import main

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "docs/flags.md"
ROW = re.compile(
    r"\| `(--[\w-]+)` \| (effect|always so|warned|refused \(`(.+)`\)) \| (.+) \| (?:`(.+)::(.+)`)? ?\|$"
)
VOLUMES = tuple(f"volume {verb}" for verb in ("create", "inspect", "ls", "prune", "rm", "export", "import"))
COMMANDS = {
    "build": ("build",),
    "run and create": ("run", "create"),
    **{name: (name,) for name in ("update", "exec", *VOLUMES)},
}


def rows(title: str) -> dict[str, re.Match[str]]:
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    found = {}
    for line in lines:
        match = ROW.match(line)
        assert match, line
        assert match[1] not in found, f"{match[1]} is told twice"
        found[match[1]] = match
    return found


ALL = [pytest.param(title, row, id=f"{title} {row[1]}") for title in COMMANDS for row in rows(title).values()]


@pytest.mark.parametrize("title", COMMANDS)
def test_every_option_is_in_the_table(title: str) -> None:
    declared = {o.long for name in COMMANDS[title] for o in cli.load(name)[0].options}
    assert set(rows(title)) == declared


@pytest.mark.parametrize(("title", "row"), ALL)
def test_what_has_an_effect_names_a_test(title: str, row: re.Match[str]) -> None:
    if row[2] in ("effect", "warned"):
        assert row[5], f"{row[1]} names no test"
        assert re.search(rf"^def {row[6]}\(", (TESTS / row[5]).read_text(), re.MULTILINE), row[0]


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV a=b\n")

    def call(*words: str) -> tuple[int, str]:
        place = [str(tmp_path)] if words[0] == "build" else ["image"]
        code = main([*words, *(() if words[:2] == ("volume", "ls") else place)])
        return code, capfd.readouterr().err

    return call


@pytest.mark.parametrize(("title", "row"), [p for p in ALL if p.values[1][3]])
def test_what_is_refused_is_refused_with_a_sentence(
    title: str, row: re.Match[str], said: Callable[..., tuple[int, str]]
) -> None:
    for command in COMMANDS[title]:
        code, text = said(*command.split(), row[3])
        names = (row[1], row[3].partition("=")[2].partition("=")[0] or row[1])
        assert code != 0 and any(name in text for name in names), text
        assert "find image" not in text and "unknown flag" not in text


@pytest.mark.parametrize(("title", "row"), [p for p in ALL if p.values[1][2] == "warned"])
def test_what_is_left_out_is_said(
    title: str, row: re.Match[str], said: Callable[..., tuple[int, str]]
) -> None:
    for command in COMMANDS[title]:
        more = {"build": ("-q",), "update": ()}.get(command, ("--pull=never",))
        code, text = said(command, *more, f"{row[1]}=5")
        assert text.startswith(f"WARNING: {row[1]} is not supported and is ignored"), text
        assert code == 0 or command != "build"


@pytest.mark.parametrize(
    "row", [p.values[1] for p in ALL if p.values[1][2] == "always so"], ids=lambda r: r[1]
)
def test_what_is_always_so_is_taken(row: re.Match[str], said: Callable[..., tuple[int, str]]) -> None:
    assert said("build", "-q", row[1]) == (0, "")


# --- what reaches the engine -----------------------------------------------------------------------

BUILD = {
    "--add-host": "h:1.2.3.4",
    "--allow": "security.insecure",
    "--annotation": "a=b",
    "--attest": "type=sbom",
    "--build-arg": "a=b",
    "--build-context": "a=b",
    "--cache-from": "type=local,src=x",
    "--cache-to": "type=local,dest=x",
    "--call": "outline",
    "--cgroup-parent": "/p",
    "--check": None,
    "--context-metadata": "keep",
    "--cpu-period": "1000",
    "--cpu-quota": "1000",
    "--cpu-shares": "7",
    "--cpus": "0.5",
    "--cpuset-cpus": "0",
    "--cpuset-mems": "0",
    "--explain": None,
    "--file": "D",
    "--format": "docker",
    "--ignorefile": "i",
    "--inherit-labels": "false",
    "--jobs": "2",
    "--label": "a=b",
    "--load": None,
    "--memory": "10m",
    "--memory-swap": "-1",
    "--network": "none",
    "--no-cache": None,
    "--no-cache-filter": "x",
    "--omit-history": None,
    "--output": "type=local,dest=x",
    "--platform": "linux/arm64",
    "--provenance": "mode=max",
    "--pull": None,
    "--push": None,
    "--sbom": "true",
    "--rewrite-timestamp": None,
    "--resource": "memory=1g",
    "--secret": "id=x,env=HOME",
    "--shm-size": "1m",
    "--source-date-epoch": "1",
    "--squash": None,
    "--squash-all": None,
    "--ssh": "default",
    "--tag": "a",
    "--target": "x",
    "--timestamp": "1",
    "--trust-host-ca": "never",
    "--ulimit": "nofile=5",
    "--unsetenv": "A,B",
    "--unsetlabel": "a",
    "--untrusted": None,
    "--userns": "auto",
}
# What the command itself does: how it shows the build, and files beside it.
SHOWN = {"--build-arg-file", "--builder", "--debug", "--iidfile", "--metadata-file", "--progress", "--quiet"}


def parsed(command: str, option: str, value: str | None) -> Any:
    words = [option] if value is None else [f"{option}={value}"]
    return cli.load(command)[0].parse_args([*words, "somewhere"])


def test_every_option_of_build_reaches_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        build_options, "parse_ssh", lambda text, environ: (text, SshSource((Path("socket"),)))
    )
    parser = cli.load("build")[0]
    plain = build_command._request(Context(), parser.parse_args(["somewhere"]))
    effects = {name for name, row in rows("build").items() if row[2] == "effect"}
    assert effects == set(BUILD) | SHOWN
    assert [o.long for o in parser.options if o.nargs == "?"] == ["--trust-host-ca"]  # which is our own
    for option, value in BUILD.items():
        asked = build_command._request(Context(), parsed("build", option, value))
        assert asked != plain, option
        operand = parser._by_name[option]
        if not operand.boolean and operand.nargs != "?":  # the value may be a word of its own
            assert (
                build_command._request(Context(), parser.parse_args([option, value, "somewhere"])) == asked
            ), option


RUN = {
    "--add-host": "h:1.2.3.4",
    "--annotation": "a=b",
    "--attach": "stderr",
    "--blkio-weight-device": "/dev/a:20",
    "--cap-add": "NET_ADMIN",
    "--cap-drop": "CHOWN",
    "--cgroup-parent": "/p",
    "--cgroupns": "host",
    "--cpu-period": "1000",
    "--cpu-quota": "1000",
    "--cpu-rt-period": "1000",
    "--cpu-rt-runtime": "1000",
    "--cpu-shares": "7",
    "--cpus": "0.5",
    "--cpuset-cpus": "0",
    "--cpuset-mems": "0",
    "--device": "/dev/null",
    "--device-cgroup-rule": "c 1:3 r",
    "--device-read-bps": "/dev/a:1m",
    "--device-read-iops": "/dev/a:1",
    "--device-write-bps": "/dev/a:1m",
    "--device-write-iops": "/dev/a:1",
    "--dns": "1.2.3.4",
    "--dns-option": "ndots:1",
    "--dns-opt": "ndots:1",
    "--dns-search": "a.example",
    "--domainname": "d",
    "--entrypoint": "/e",
    "--env": "A=1",
    "--expose": "80",
    "--gpus": "all",
    "--group-add": "5",
    "--health-cmd": "true",
    "--health-interval": "5s",
    "--health-retries": "5",
    "--health-start-interval": "5s",
    "--health-start-period": "5s",
    "--health-timeout": "5s",
    "--hostname": "h",
    "--init": None,
    "--interactive": None,
    "--ip6": "fd00::2",
    "--link-local-ip": "fe80::2",
    "--ip": "1.2.3.4",
    "--ipc": "host",
    "--label": "a=b",
    "--link": "other",
    "--log-driver": "none",
    "--log-opt": "max-size=1m",
    "--mac-address": "02:00:00:00:00:01",
    "--memory": "10m",
    "--memory-reservation": "10m",
    "--memory-swap": "-1",
    "--memory-swappiness": "5",
    "--mount": "type=tmpfs,dst=/t",
    "--name": "n",
    "--net": "none",
    "--net-alias": "a",
    "--network": "none",
    "--network-alias": "a",
    "--no-healthcheck": None,
    "--oom-kill-disable": None,
    "--oom-score-adj": "5",
    "--pid": "host",
    "--pids-limit": "5",
    "--platform": "linux/arm64",
    "--privileged": None,
    "--publish": "80:80",
    "--publish-all": None,
    "--pull": "never",
    "--read-only": None,
    "--restart": "always",
    "--rm": None,
    "--rootfs": None,
    "--runtime": "runc",
    "--security-opt": "no-new-privileges",
    "--shm-size": "1m",
    "--stop-signal": "SIGINT",
    "--stop-timeout": "5",
    "--sysctl": "net.ipv4.ip_forward=1",
    "--tmpfs": "/t",
    "--trust-host-ca": "never",
    "--tty": None,
    "--ulimit": "nofile=5",
    "--umask": "027",
    "--user": "5",
    "--userns": "host",
    "--uts": "host",
    "--volume": "/a:/b",
    "--volumes-from": "other",
    "--workdir": "/w",
}
# What the command itself does, or what is read from a file or depends on the kernel.
AROUND = {
    "--blkio-weight",
    "--cidfile",
    "--detach",
    "--detach-keys",
    "--env-file",
    "--label-file",
    "--quiet",
    "--sig-proxy",
}


def test_every_option_of_run_reaches_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run_options.read(Context(), cli.load("run")[0].parse_args(["somewhere"]))
    effects = {name for name, row in rows("run and create").items() if row[2] == "effect"}
    assert effects == set(RUN) | AROUND
    (tmp_path / "file").write_text("A=1\n")
    given = {
        **RUN,
        "--env-file": str(tmp_path / "file"),
        "--label-file": str(tmp_path / "file"),
        "--blkio-weight": "20",
    }
    monkeypatch.setattr("boxwright.runtime.host.weighs_io", lambda: True)
    monkeypatch.setattr("boxwright.runtime.host.weighs_devices", lambda: True)
    for option, value in given.items():
        assert run_options.read(Context(), parsed("run", option, value)) != plain, option
    for option in sorted(AROUND - set(given)):
        namespace = parsed("run", option, "ctrl-x" if option == "--detach-keys" else "1")
        assert namespace.given == {option.strip("-").replace("-", "_")}


# --- other commands --------------------------------------------------------------------------------

UPDATE = {
    "--blkio-weight": "20",
    "--cpu-period": "1000",
    "--cpu-quota": "1000",
    "--cpu-rt-period": "1000",
    "--cpu-rt-runtime": "1000",
    "--cpu-shares": "7",
    "--cpus": "0.5",
    "--cpuset-cpus": "0",
    "--cpuset-mems": "0",
    "--memory": "10m",
    "--memory-reservation": "10m",
    "--memory-swap": "-1",
    "--pids-limit": "5",
    "--restart": "always",
}


def test_every_option_of_update_changes_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from boxwright.cli.container.commands import update
    from boxwright.container.config import ContainerConfig

    assert {name for name, row in rows("update").items() if row[2] == "effect"} == set(UPDATE)
    monkeypatch.setattr("boxwright.runtime.host.weighs_io", lambda: True)
    plain, seen = ContainerConfig(image="i"), []
    containers = SimpleNamespace(
        get=lambda name: name, update=lambda container, change: seen.append(change(plain))
    )
    context: Any = SimpleNamespace(
        engine=SimpleNamespace(containers=containers), prog="p", out=print, warn=print
    )
    for option, value in UPDATE.items():
        assert update(context, cli.load("update")[0].parse_args([f"{option}={value}", "box"])) == 0
        assert seen.pop() != plain, option


def test_options_of_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))

    def out(*words: str) -> str:
        assert main(["volume", *words]) == 0, words
        return capfd.readouterr().out.strip()

    assert out("create", "--name", "data", "--label", "a=b") == "data"
    assert (out("ls", "-qf", "label=a=b"), out("ls", "-qf", "label=a=c")) == ("data", "")
    assert out("ls", "--format", "{{.Name}}:{{.Driver}}") == "data:local"
    assert main(["volume", "rm", "data", "none"]) == 1
    capfd.readouterr()
    assert out("rm", "--force", "none") == "none"
    assert main(["volume", "update", "data"]) == 1
    assert "only volumes of a cluster are updated" in capfd.readouterr().err
