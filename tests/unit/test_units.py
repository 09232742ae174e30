"""What is installed for a boot: read by systemd itself, and the generator run as systemd runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from boxwright.cli.main import main
from boxwright.engine import units

ODD = Path("/srv/odd 100% \"$HOME\" 'root'")


def installed(root: Path, top: Path, program: str = "/bin/true") -> tuple[Path, Path]:
    unit, generator = units.install([program], root, top)
    return unit, generator


def test_what_is_ours_is_replaced_and_removed(tmp_path: Path) -> None:
    root = Path("/var/lib/boxwright")
    unit, generator = installed(root, tmp_path)
    assert unit == tmp_path / "etc/systemd/system/boxwright.service"
    assert generator == tmp_path / "etc/systemd/system-generators/boxwright" and os.access(generator, os.X_OK)
    assert installed(root, tmp_path, "/bin/false") == (unit, generator)
    assert "ExecStart=/bin/false --root /var/lib/boxwright system up\n" in unit.read_text()
    other, _ = installed(Path("/srv/other"), tmp_path)
    assert other.name.startswith("boxwright-") and other != unit
    assert units.remove(root, tmp_path) == [unit, generator]
    assert not unit.exists() and other.exists() and units.remove(root, tmp_path) == []


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_ours_stays(tmp_path: Path, which: int) -> None:
    root = Path("/var/lib/boxwright")
    paths = installed(root, tmp_path)
    for path in paths:
        path.unlink()
    paths[which].write_text("[Unit]\nDescription=mine\n")
    for change in (lambda: installed(root, tmp_path), lambda: units.remove(root, tmp_path)):
        with pytest.raises(units.NotOurs, match="is there, and was not written by"):
            change()
    assert "mine" in paths[which].read_text() and not paths[1 - which].exists()
    paths[which].unlink()
    paths[which].symlink_to("/etc/passwd")
    with pytest.raises(units.NotOurs):
        installed(root, tmp_path)


def test_a_root_that_a_unit_cannot_name(tmp_path: Path) -> None:
    for text in ("/a\nExecStart=/bin/evil", "/a\x7f", "/a\udcff", "/a\\"):
        with pytest.raises(units.RootUnfit):
            units.install(["/bin/true"], Path(text), tmp_path)
        with pytest.raises(units.RootUnfit):
            units.init_line(["/bin/true"], Path(text))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("root", [Path("/var/lib/boxwright"), ODD])
def test_systemd_reads_the_unit(tmp_path: Path, root: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit, _ = installed(root, tmp_path)
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot run here: {done.stderr.strip()}")
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert done.returncode == 0 and not ours, done.stderr


def test_the_generator_asks_for_the_unit_at_boot(tmp_path: Path) -> None:
    unit, generator = installed(ODD, tmp_path, "/bin/true")
    normal = tmp_path / "normal"

    def run() -> list[str]:
        shutil.rmtree(normal, ignore_errors=True)
        normal.mkdir()
        # As the root of the machine that boots; its /bin is this one's.
        script = generator.read_text().replace(" /etc/", f" {tmp_path}/etc/")
        subprocess.run(["sh", "-c", script, "sh", str(normal), "/none", "/none"], check=True)
        return [str(p.relative_to(normal)) for p in normal.rglob("*") if p.is_symlink()]

    assert run() == [f"multi-user.target.wants/{unit.name}"]
    unit.unlink()
    assert run() == []
    installed(ODD, tmp_path, "/nowhere/boxwright")  # uninstalled
    assert run() == []


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--root", str(tmp_path / "store"), "system", "install-units"]
    assert main([*argv, "--root", str(tmp_path)]) == 0
    paths = capsys.readouterr().out.split()
    assert len(paths) == 2 and all(Path(p).exists() for p in paths)
    assert f"--root {tmp_path}/store system up" in Path(paths[0]).read_text()
    assert main([*argv, "--root", str(tmp_path), "--remove"]) == 0
    assert capsys.readouterr().out.split() == paths and not Path(paths[0]).exists()
    monkeypatch.setattr(units, "runs_systemd", lambda: False)
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "@reboot " in said and f"--root {tmp_path}/store system up" in said
