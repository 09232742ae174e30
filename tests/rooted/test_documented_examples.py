"""Dockerfiles in the manner of the examples of BuildKit's documentation build (tests/data/examples).

Their bases are what a mirror of Docker Hub has: one image, whose package managers and compilers are stand-ins that use
what they are given (caches, secrets, an agent, sources) and fail without it.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import support.images
from boxwright import Engine
from support import DATA, REAL_ROOT
from support.corpus import leave
from support.peers import Boxwright, needs, registry

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed"),
    needs("curl"),
]
BASES = ("alpine", "debian", "golang", "python:3", "node:20")
TOOL = """#!/bin/sh
set -eu
name=${0##*/}
cached() { echo "$name" >> "$1/seen"; echo "$name was here $(wc -l < "$1/seen") times"; }
made() { while [ "$1" != -o ]; do shift; done; echo "made for ${GOOS-}/${GOARCH-}" > "$2"; chmod 755 "$2"; }
case $name in
apt-get) cached /var/cache/apt; test -w /var/lib/apt ;;
go) if [ "$1" = vet ]; then cached /root/.cache/go-build; else test -r cmd/main.go; made "$@"; fi ;;
clang) test -r buoy.c; made "$@" ;;
pip) test -r "$3"; cached /root/.cache/pip ;;
npm) test -r package.json; test -r package-lock.json; cached /root/.npm ;;
vault) echo "the vault has: $(cat "$2")" ;;
pier-report) echo "reported with $2" ;;
ssh-keyscan) echo "$1 ssh-ed25519 AAAA" ;;
ssh) test -S "$SSH_AUTH_SOCK"; test -s ~/.ssh/known_hosts; echo "the harbour knows you" >&2 ;;
python) echo "ran $1: $(tail -1 "$1")" ;;
apk) ;;
*) exit 1 ;;
esac
"""


@dataclass
class Example:
    """What is typed, what the steps say, and what the result has where it is written as files."""

    words: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    files: dict[str, str] | None = None
    environ: dict[str, str] = field(default_factory=dict)


EXAMPLES = {
    "apt": Example(says=("apt-get was here 2 times",)),
    "go": Example(says=("go was here 1 times",)),
    "pip": Example(says=("pip was here 1 times",)),
    "npm": Example(says=("npm was here 1 times",)),
    "secret": Example(("--secret", "id=vault,src=credentials"), ("the vault has: pearls",)),
    "secret-env": Example(
        ("--secret", "id=pass,env=PASS"), ("reported with letters",), environ={"PASS": "letters"}
    ),
    "ssh": Example(("--ssh", "default=key"), ("the harbour knows you",)),
    "stages": Example(files={"buoy": "made for /\n"}),
    "link": Example(),
    "parents": Example(
        files={"flat/map.txt": "west\n", "kept/east/map.txt": "east\n", "kept/west/map.txt": "west\n"}
    ),
    "parents-pivot": Example(files={"shore/coast/reef.txt": "reef\n"}),
    "parents-deep": Example(
        files={"maps/atlas/world.map": "world\n", "maps/atlas/north/isles/skye.map": "skye\n"}
    ),
    # What a source names itself is copied, as by BuildKit: --exclude is for what is in a source directory.
    "exclude": Example(files={f"press/report.{end}": f"{end}\n" for end in ("pdf", "log", "bak")}),
    "heredoc": Example(),
    "heredoc-program": Example(says=("ran /dev/pipes/PROGRAM: print(sum([19, 23]))",)),
    "heredocs": Example(),
    "heredoc-file": Example(),
    "heredoc-variable": Example(),
    "heredoc-quoted": Example(),
}
AFTERWARDS = {
    "link": ("cat /usr/share/charts/bay", "deep\n"),
    "heredoc": ("ls inbox inbox/new", "inbox:\nnew\nread\n\ninbox/new:\nletter\n"),
    "heredocs": ("cat fruit herbs", "apple\nplum\nthyme\nbasil\n"),
    "heredoc-file": ("cat /etc/motd", "The harbour is closed today.\n"),
    "heredoc-variable": ("cat /bin/sails; sails", '#!/bin/sh\necho "the morning ferry"\nthe morning ferry\n'),
    "heredoc-quoted": ("cat /bin/sails; sails", '#!/bin/sh\necho "the ${ferry} ferry"\nthe  ferry\n'),
}
CONTEXT = {
    "cmd/main.go": "package main\n",
    "buoy.c": "int main;\n",
    "requirements.txt": "rope\n",
    "package.json": "{}\n",
    "package-lock.json": "{}\n",
    "credentials": "pearls\n",
    "charts/bay": "deep\n",
    "east/map.txt": "east\n",
    "west/map.txt": "west\n",
    "west/coast/reef.txt": "reef\n",
    "atlas/world.map": "world\n",
    "atlas/north/isles/skye.map": "skye\n",
    "atlas/north/notes.txt": "not a map\n",
    "report.pdf": "pdf\n",
    "report.log": "log\n",
    "report.bak": "bak\n",
}


def base() -> bytes:
    """busybox with the stand-ins."""
    out = io.BytesIO(support.images.busybox_tar())
    with tarfile.open(fileobj=out, mode="a") as tar:
        for folder in ("var", "var/lib", "var/lib/apt", "etc/apt", "etc/apt/apt.conf.d", "root"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        info = tarfile.TarInfo("usr/bin/apt-get")
        info.size, info.mode = len(TOOL), 0o755
        tar.addfile(info, io.BytesIO(TOOL.encode()))
        tools = (
            "go",
            "clang",
            "pip",
            "npm",
            "vault",
            "pier-report",
            "ssh-keyscan",
            "ssh",
            "python",
            "apk",
            "bash",
        )
        for name, target in {
            **dict.fromkeys(tools, "apt-get"),
            "bash": "/bin/sh",
            "env": "/bin/busybox",
        }.items():
            info = tarfile.TarInfo(f"usr/bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "base.tar").write_bytes(base())
    ours = Boxwright(folder / "before")
    with registry(folder) as host:
        ours("import", "-c", "ENV HOME=/root", folder / "base.tar", "base")
        for name in BASES:
            ours("tag", "base", f"{host}/library/{name}")
            ours("push", f"{host}/library/{name}")
        yield host


@pytest.fixture
def ours(tmp_path: Path, mirror: str) -> Iterator[Boxwright]:
    """A new store that has the mirror, beside the context."""
    boxwright = Boxwright(tmp_path)
    folder = tmp_path / "config/boxwright"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'[registry-mirrors]\n"docker.io" = ["http://{mirror}"]\n')
    boxwright.env |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "BOXWRIGHT_TRUST_HOST_CA": "never"}
    yield boxwright
    leave(Engine(tmp_path / "root"))


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "context"
    shutil.copytree(DATA / "examples", folder)
    for name, text in CONTEXT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_builds(name: str, ours: Boxwright, context: Path) -> None:
    example = EXAMPLES[name]
    ours.env |= example.environ
    if name == "ssh":
        if not shutil.which("ssh-agent"):
            pytest.skip("ssh-agent is not installed")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], check=True)
    where = ("-o", "out") if example.files else ("-t", "built")
    ours("build", "-f", name, *where, *example.words, ".")
    said = ours("builds", "logs")
    assert not [words for words in example.says if words not in said], said
    if example.files:
        out = {str(p.relative_to("out")): p.read_text() for p in Path("out").rglob("*") if p.is_file()}
        assert out == example.files
    if name in AFTERWARDS:
        command, output = AFTERWARDS[name]
        assert (
            ours("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", "built", "-c", command)
            == output
        )


@pytest.mark.parametrize("name", ["apt", "go", "pip", "npm"])
def test_the_next_build_has_the_cache_of_the_one_before(name: str, ours: Boxwright, context: Path) -> None:
    for times in (1, 2):
        ours("build", "-f", name, "--no-cache", ".")
        uses = times * (2 if name == "apt" else 1)
        assert f"was here {uses} times" in ours("builds", "logs")


def test_bake_builds_platforms_and_documents(ours: Boxwright, context: Path) -> None:
    ours("buildx", "bake")
    assert Path("out/service/linux_arm64/tide").read_text() == "made for linux/arm64\n"
    assert Path("out/service/linux_amd64/tide").read_text() == "made for linux/amd64\n"
    assert Path("out/notes/maps/atlas/north/isles/skye.map").read_text() == "skye\n"
