"""`bake --print` beside the real one: the corpus again, with what is typed over it, and what the environment says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from boxwright.cli.main import main
from support.bake import DATA
from support.newer import fetched

pytestmark = [pytest.mark.peer]


def buildx() -> str:
    """The plugin, which prints without a daemon."""
    places = [Path("/usr/libexec/docker/cli-plugins"), Path("/usr/lib/docker/cli-plugins")]
    peers = fetched()
    places = [peers / "root" / place.relative_to("/") for place in places if peers] + places
    for folder in (Path(os.environ.get("PEERS", "/nonexistent")) / "plugins", *places):
        if (found := folder / "docker-buildx").exists():
            return str(found)
    pytest.skip("docker-buildx is not installed")


WORDS = [
    ("matrix.hcl", ["--set", "app-3-11.tags=a", "--set", "*.args.X=1"], {}),
    ("matrix.hcl", ["docs", "--push"], {}),
    ("inherit.hcl", ["--set", "*.cache-from+=type=local,src=c", "--no-cache"], {}),
    ("inherit.hcl", ["--provenance=false", "--sbom=true", "--pull=false"], {}),
    ("inherit.hcl", ["_*", "--load"], {}),
    (
        "typed.hcl",
        [],
        {"S": "s", "N": "2", "L": "x,y", "M": "a:1,b:2", "O_JSON": '{"name":"n","size":3}', "T": "z,9"},
    ),
    ("typed.hcl", [], {"SOURCE_DATE_EPOCH": "5"}),
    ("functions.hcl", ["--set", "default.labels.a=b", "--set", "default.annotations=index:x=y"], {}),
    ("references.hcl", ["app"], {}),
    ("references.hcl", ["--call=check"], {}),
    ("compose.yaml", ["web.app"], {"TAG": "v1"}),
    ("compose.yaml", ["--set", "*.output=type=cacheonly"], {}),
    ("json.json", ["lib", "app"], {"TAG": "two"}),
    ("json.json", ["--list=targets"], {}),
    ("typed.hcl", ["--list=variables"], {"N": "7"}),
    ("typed.hcl", ["--list=type=variables,format=json"], {}),
    ("inherit.hcl", ["--list=type=targets,format=json"], {}),
]


@pytest.mark.parametrize(("name", "words", "environ"), WORDS)
def test_what_is_typed(
    name: str,
    words: list[str],
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = buildx()
    (tmp_path / name).write_bytes((DATA / "own" / name).read_bytes())
    print_ = [] if any(word.startswith("--list") for word in words) else ["--print"]
    argv = ["bake", "-f", name, *print_, *words]
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environ}
    theirs = subprocess.run(
        [program, *argv, "--progress=quiet"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    monkeypatch.chdir(tmp_path)
    for variable in ("SOURCE_DATE_EPOCH", "TAG"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    assert main(argv) == 0
    assert capfd.readouterr().out == theirs.stdout
