"""Images whose configs lie: what they say reaches no script, file, path or terminal, and ends in a sentence."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.containers import Root, busybox_root
from support.image import docker_archive
from support.images import busybox_tar

pytestmark = pytest.mark.rooted

ESCAPE = "\x1b]0;mine\x07"
ODD: dict[str, Any] = {
    "span": {"Healthcheck": {"Test": ["CMD", "true"], "Timeout": "a"}},
    "negative": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": -5, "Retries": -1}},
    "endless": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 2**63 - 1, "Timeout": 2**63 - 1}},
    "kind": {"Healthcheck": {"Test": ["WAT", "true"]}},
    "nul": {"Env": ["A=a\0b"]},
    "unnamed": {"Env": ["=x"]},
    "relative": {"WorkingDir": "rel"},
    "root": {"Volumes": {"/": {}}},
    "signal": {"StopSignal": "SIGFOO"},
    "user": {"User": "a\nb:c"},
}
RUNS = {"negative", "endless", "kind", "signal"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("odd")) as root:
        for name, config in (
            *ODD.items(),
            ("escape", {"Cmd": ["sh", "-c", f"echo {ESCAPE}"], "Labels": {"l": ESCAPE}}),
        ):
            archive = docker_archive([([f"{name}:1"], [busybox_tar()])], config={"Cmd": ["sh"], **config})
            root.engine.images.load(io.BytesIO(archive))
        yield root


@pytest.mark.parametrize("name", ODD)
def test_an_odd_image_runs_or_is_refused_with_a_sentence(root: Root, name: str) -> None:
    done = root.run(
        "run", "--rm", "--network", "none", "--stop-timeout", "0", f"{name}:1", "echo", "ran", check=None
    )
    assert done.returncode == (0 if name in RUNS else 125), done.stderr
    assert (done.stdout == "ran\n") == (name in RUNS)
    assert "internal error" not in done.stderr and "Traceback" not in done.stderr
    assert root.out("ps", "-aq") == ""


def test_odd_images_are_listed_and_shown(root: Root) -> None:
    for name in ODD:
        root.run("inspect", f"{name}:1")
        root.run("history", f"{name}:1")
    assert len(root.out("images", "-q").splitlines()) > len(ODD)
    root.run("images", "--format", "{{json .}}")


def test_a_container_of_an_unknown_stop_signal_stops(root: Root) -> None:
    root.run("run", "-d", "--name", "odd", "--network", "none", "signal:1", "sleep", "60")
    root.run("stop", "-t", "0", "odd")
    assert root.out("ps", "-a", "--format", "{{.State}}") == "exited"
    root.run("rm", "odd")


def test_escapes_of_an_image_reach_no_reader(root: Root) -> None:
    root.run("create", "--name", "odd", "--network", "none", "escape:1")
    quoted = r'"sh -c ' + r"'echo \x1b]0;mine\a'" + '"'
    assert root.out("ps", "-a", "--no-trunc", "--format", "{{.Command}}") == quoted
    assert quoted in root.out("ps", "-a", "--no-trunc")
    for words in (
        ("ps", "-a", "--format", "table {{.Command}}"),
        ("history", "--no-trunc", "escape:1"),
        ("system", "df", "-v"),
    ):
        assert "\x1b" not in root.out(*words)
    assert json.loads(root.out("inspect", "odd"))[0]["Config"]["Labels"] == {"l": ESCAPE}
    root.run("rm", "odd")


@pytest.mark.parametrize(
    "words",
    [
        ("-h", "a\nb"),
        ("-h", "a" * 65),
        ("--domainname", "a\tb"),
        ("--add-host", "a\nb:1.2.3.4"),
        ("--dns-search", "a\nb"),
        ("--dns-option", "a\nnameserver 1.2.3.4"),
        ("--network-alias", "a\nb"),
        ("--uts", "host", "-h", "x"),
    ],
)
def test_no_option_adds_lines_to_the_files_of_a_container(root: Root, words: tuple[str, ...]) -> None:
    done = root.run("create", *words, "busybox", "true", check=1)
    assert done.stderr.startswith("Error: ") and root.out("ps", "-aq") == ""
