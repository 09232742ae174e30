"""Git repositories behind HTTP on loopback: ``/dumb/`` as files, ``/smart/`` through git's own server program."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.web import FileHandler, web_server

# 2001-09-09T01:46:40Z: every commit's time, so that it can be looked for.
COMMITTED = 1_000_000_000


def git(directory: Path, *words: str) -> str:
    """What a git command says that must succeed."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_AUTHOR_DATE": f"{COMMITTED} +0000",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_COMMITTER_DATE": f"{COMMITTED} +0000",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "file:http",
    }
    return subprocess.run(
        ["git", *words], cwd=directory, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


class _Handler(FileHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/smart/"):
            self._backend()
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self._backend()

    def _backend(self) -> None:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path.removeprefix("/smart"),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], env=env, input=self.body(), capture_output=True, check=True
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.reply(int(headers.pop("Status", "200").split()[0]), answer, headers)


@contextmanager
def serving(top: Path) -> Iterator[str]:
    """Serve the bare repositories below a directory; yields ``http://host:port``. ``/dumb/`` is a link to it."""
    (top / "dumb").symlink_to(".")
    handler = functools.partial(_Handler, directory=str(top))
    with web_server(handler) as url:
        yield url


def publish(work: Path, bare: Path, *, algorithm: str = "sha1") -> None:
    """A bare clone of a repository, ready for both protocols."""
    git(work, "clone", "-q", "--bare", str(work), str(bare))
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(bare, "update-server-info")
