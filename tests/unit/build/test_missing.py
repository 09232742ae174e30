"""The hint of a step whose command is not in the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.build.ops import missing
from boxwright.rootfs.root import Root


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("/bin/sh: 1: pip3: not found\n", "pip3"),
        ("/bin/sh: pip3: not found", "pip3"),
        ("sh: 1: one: not found\nmore\nsh: 2: g++: not found\r\n", "g++"),
        ("/bin/bash: line 1: apt-key: command not found\n", "apt-key"),
        ("zsh:1: command not found: pip3\n", "pip3"),
        ("E: Package foo: not found here\n", ""),
        ("sh: \x1b[31mpip3: not found\n", ""),
        ("sh: 1: $(rm -rf /): not found\n", ""),
        ("sh: 1: " + "a" * 65 + ": not found\n", ""),
        ("", ""),
    ],
)
def test_what_a_shell_did_not_find(said: str, command: str) -> None:
    assert missing.command_of(said) == command


@pytest.mark.parametrize(
    ("release", "related"),
    [
        ("ID=debian\n", True),
        ('NAME="x"\nID=ubuntu\nID_LIKE=debian\n', True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ("ID=alpine\n", False),
        ('ID="rhel"\nID_LIKE="fedora"\nNAME="not debian"\n', False),
        (None, False),
    ],
)
def test_packages_are_named_where_they_are(tmp_path: Path, release: str | None, related: bool) -> None:
    (tmp_path / "etc").mkdir()
    if release is not None:
        (tmp_path / "etc/os-release").write_text(release)
    with Root.at(tmp_path) as root:
        assert ("python3-pip" in missing.hint("pip3", root)) == related
        assert missing.hint("mine", root) == "mine is not in the image; install it in a step before"
        assert missing.hint("", root) == "a program was not found in the image"


def test_words_that_are_no_commands() -> None:
    assert [missing.checked(word) for word in ("pip3", "/usr/bin/x", "a b", "")] == ["pip3", "", "", ""]
