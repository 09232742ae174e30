"""What people are told to type, from make to the hint of a refused command, works when it is typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.runtime import process
from boxwright.settings import SettingsInvalid, load

ROOT = Path(__file__).parents[2]


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("target", ["demo", "peers"])
def test_make_hands_proxies_and_certificates_through_sudo(target: str, tmp_path: Path) -> None:
    script(tmp_path / "sudo", '#!/bin/sh\nexec env -i PATH="$PATH" "$@"\n')  # it drops the environment
    said = {"SSL_CERT_FILE": "/a b/'c\"$d", "HTTPS_PROXY": "http://u:p@proxy:1", "no_proxy": "x,y"}
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), **said}
    asked = subprocess.run(
        ["make", "-n", target, "SUDO=sudo"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    line = asked.stdout.splitlines()[-1]
    assert line.startswith("sudo env ")
    done = subprocess.run(
        ["sh", "-c", re.sub(r"\S+$", "env", line)], env=env, capture_output=True, text=True, check=True
    )
    seen = dict(row.split("=", 1) for row in done.stdout.splitlines())
    assert {name: seen.get(name) for name in said} == said
    assert "REQUESTS_CA_BUNDLE" not in seen


@pytest.mark.parametrize("user", ["", "me"])
def test_the_demo_says_how_to_go_on(user: str, tmp_path: Path) -> None:
    program = script(tmp_path / "boxwright", "#!/bin/sh\nexit 0\n")
    env = {**os.environ, "BOXWRIGHT": str(program), "SUDO_USER": user, "NO_COLOR": "1"}
    done = subprocess.run([ROOT / "examples/demo.sh"], env=env, capture_output=True, text=True, check=True)
    sudo = "sudo " if user else ""
    assert f"    {sudo}ln -s {program} /usr/local/bin/boxwright\n" in done.stdout
    assert f"    {sudo}boxwright run -it --rm hello-python bash" in done.stdout
    there = {**env, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([ROOT / "examples/demo.sh"], env=there, capture_output=True, text=True, check=True)
    assert "ln -s" not in done.stdout


def test_what_needs_root_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program = script(tmp_path / "boxwright", "#!/bin/sh\n")
    monkeypatch.setattr(sys, "argv", [str(program), "run", "x"])
    with pytest.raises(process.RootNeeded) as caught:
        process.require_root("running containers")
    assert f"type sudo {program} …" in caught.value.hint
    assert f"  {program} save IMAGE | sudo {program} load\n" in caught.value.hint
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert process.own_program() == f"{sys.executable} -m boxwright"


@pytest.mark.skipif(os.geteuid() != 0, reason="of root alone")
def test_root_uses_nothing_of_a_user(tmp_path: Path) -> None:
    """As with `sudo -E`, which keeps the variables of the user who typed it."""
    home = tmp_path / "home"
    (home / ".config/boxwright").mkdir(parents=True)
    config = home / ".config/boxwright/config.toml"
    config.write_text('runtime = "/home/me/evil"\n')
    assert load({"HOME": str(home)}).runtime == "/home/me/evil"
    os.chown(config, 1000, 1000)
    with pytest.raises(SettingsInvalid, match="belongs to user 1000, and this is root"):
        load({"HOME": str(home)})
    config.unlink()
    store = tmp_path / "store"
    assert load({"HOME": str(home), "BOXWRIGHT_ROOT": str(store)}).root == store
    store.mkdir()
    os.chown(store, 1000, 1000)
    with pytest.raises(SettingsInvalid, match="store belongs to user 1000"):
        load({"HOME": str(home), "BOXWRIGHT_ROOT": str(store)})
