"""A command that is meant for another engine does not act here."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.cli.endpoint import STORE_HEADER, identity
from boxwright.cli.main import main
from support.registry import make_image


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with an image `keep`, and an empty configuration of Docker's."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "docker").mkdir()
    import io

    Engine(tmp_path / "root").images.import_(io.BytesIO(make_image({"f": b"x"}).tars[0]), "keep")
    return tmp_path


def context(place: Path, name: str, host: str, *, current: bool = False) -> None:
    """One of Docker's contexts."""
    folder = place / "docker/contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    if current:
        (place / "docker/config.json").write_text(json.dumps({"currentContext": name}))


@contextmanager
def engine_at(path: Path, *headers: str) -> Iterator[str]:
    """Something that answers `/_ping` at a unix socket, with these headers; yields its endpoint."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(4096).startswith(b"GET /_ping HTTP/1.")
                head = "".join(f"{header}\r\n" for header in headers)
                connection.sendall(f"HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\n{head}\r\nOK".encode())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"unix://{path}"
        thread.join(5)
        assert not thread.is_alive(), "it was not asked"


def images(place: Path) -> int:
    return len(Engine(place / "root").images.list())


REMOTE = ("ssh://prod", "tcp://10.0.0.1:2375", "prod:2375", "npipe:////./pipe/docker_engine", "fd://")


@pytest.mark.parametrize("host", REMOTE)
def test_a_named_remote_engine_is_refused(
    place: Path, host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-H", host, "rmi", "-f", "keep"]) == 125
    assert f"-H {host} is another engine" in capsys.readouterr().err
    monkeypatch.setenv("DOCKER_HOST", host)
    for words in (["rmi", "-f", "keep"], ["system", "reset", "--force"], ["image", "prune", "-af"]):
        assert main(words) == 125
        assert f"DOCKER_HOST={host} is another engine" in capsys.readouterr().err
    assert main(["--context", "default", "rmi", "-f", "keep"]) == 125  # which is what DOCKER_HOST says
    assert images(place) == 1


def test_a_named_context_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context(place, "prod", "ssh://prod")
    assert main(["--context", "prod", "rmi", "keep"]) == 125
    assert "--context prod (ssh://prod) is another engine" in capsys.readouterr().err
    assert main(["--context", "nosuch", "rmi", "keep"]) == 125
    assert "--context nosuch is an engine that is not known here" in capsys.readouterr().err
    monkeypatch.setenv("DOCKER_CONTEXT", "prod")
    assert main(["rmi", "keep"]) == 125
    assert "DOCKER_CONTEXT=prod (ssh://prod)" in capsys.readouterr().err
    assert images(place) == 1
    assert main(["--context", "default", "images", "-q"]) == 0


def test_two_engines_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-H", "unix:///a", "-H", "unix:///b", "images"]) == 125
    assert main(["-H", "unix:///a", "--context", "default", "images"]) == 125
    assert "are two engines" in capsys.readouterr().err


def test_the_engine_of_this_store_acts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = f"{STORE_HEADER}: {identity(place / 'root')}"
    with engine_at(place / "s", ours) as host:
        assert main(["-H", host, "images", "-q"]) == 0
    other = place / "other"
    other.mkdir()
    for number, headers in enumerate(
        (
            [],
            [f"{STORE_HEADER}: {identity(other)}"],
            [f"{STORE_HEADER}: {place / 'root'}"],
            [f"{STORE_HEADER}:"],
        )
    ):
        with engine_at(place / f"s{number}", *headers) as host:
            assert main(["-H", host, "rmi", "keep"]) == 125
            assert f"-H {host} is another engine" in capsys.readouterr().err
    assert main(["-H", f"unix://{place}/nothing", "rmi", "keep"]) == 125
    assert images(place) == 1


def test_a_current_context_of_this_machine_is_passed_over(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context(place, "desktop-linux", f"unix://{place}/desktop.sock", current=True)
    assert main(["images", "-q"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert said.err.splitlines() == [
        f"WARNING: Docker's current context desktop-linux (unix://{place}/desktop.sock) is passed over: "
        f"this acts on {place}/root"
    ]
    with engine_at(place / "desktop.sock", f"{STORE_HEADER}: {identity(place / 'root')}"):
        assert main(["images", "-q"]) == 0
    assert capsys.readouterr().err == ""
    # Who typed a context meant it.
    assert main(["--context", "desktop-linux", "images"]) == 125


def test_a_current_context_elsewhere_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context(place, "prod", "ssh://prod", current=True)
    assert main(["rmi", "keep"]) == 125
    said = capsys.readouterr().err
    assert "current context prod (ssh://prod) is another engine" in said and "--context default" in said
    assert main(["--context", "default", "images", "-q"]) == 0
    (place / "docker/config.json").write_text('{"currentContext": "gone"}')
    assert main(["rmi", "keep"]) == 125
    for harmless in ('{"currentContext": "default"}', '{"currentContext": ""}', '{"auths": {}}'):
        (place / "docker/config.json").write_text(harmless)
        assert main(["images", "-q"]) == 0
    assert images(place) == 1


@pytest.mark.parametrize(
    "words", [["completion", "bash"], ["images", "--help"], ["--version"], ["logout", "a.b"]]
)
def test_what_acts_on_no_engine_goes_on(place: Path, words: list[str], capsys: Any) -> None:
    assert main(["-H", "ssh://prod", *words]) == 0


def test_nothing_named_costs_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name and no current context: neither JSON nor sockets are loaded for it."""
    import subprocess
    import sys

    code = (
        "import sys; from boxwright.cli.flags import Namespace; from boxwright.cli import endpoint\n"
        "endpoint.check(Namespace(host=None, context=None, config=None), {'HOME': sys.argv[1]}, None, None)\n"
        "print([m for m in ('json', 'socket', 'hashlib') if m in sys.modules])"
    )
    (place / "docker").rename(place / ".docker")
    (place / ".docker/config.json").write_text('{"auths": {}}')
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, place],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    )
    assert done.stdout == "[]\n", done.stderr
