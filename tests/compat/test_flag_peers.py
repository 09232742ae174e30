"""The options that docker's help lists: each is one of ours, or refused with a reason.

What is ours has an effect or is refused as docs/flags.md says (`unit/cli/test_flag_table.py`).
"""

from __future__ import annotations

import re

import pytest

from boxwright.cli import absent
from boxwright.cli import main as cli
from support.peers import needs, run

pytestmark = [pytest.mark.peer, needs("docker")]

OPTION = re.compile(r"^ +(?:-\w, )?(--[a-z][a-z0-9-]*)", re.MULTILINE)
VERBS = "attach commit cp create diff events exec export inspect kill logs pause port ps rename restart rm run start"
COMMANDS = [
    *VERBS.split(),
    *("stats", "stop", "top", "unpause", "update", "wait"),
    *(f"network {verb}" for verb in ("connect", "create", "disconnect", "inspect", "ls", "prune", "rm")),
    *(f"volume {verb}" for verb in ("create", "inspect", "ls", "prune", "rm")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_of_docker_is_unknown(command: str) -> None:
    theirs = set(OPTION.findall(run("docker", *command.split(), "--help"))) - {"--help"}
    if command in ("run", "network create", "events"):
        assert theirs, "the help of docker has another form"
    assert theirs - {option.long for option in cli.load(command)[0].options} <= set(absent.OPTIONS)
