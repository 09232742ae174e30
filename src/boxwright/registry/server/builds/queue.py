"""Automated images: a repository linked to a Git URL and a Dockerfile, built on a webhook or on demand.

The registry builds nothing itself: it runs a command (`Builder`), keeps its log, and is pushed to by it. Of all
workers that share a storage one builds at a time: the one that holds the lock file.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from boxwright.errors import BoxwrightError
from boxwright.registry.server.auth.policy import EVERYONE
from boxwright.registry.server.builds import sources
from boxwright.registry.server.errors import NameUnknown
from boxwright.registry.server.store.blobs import own_directory, try_exclusive_lock
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.store.scratch import scratch
from boxwright.spec.urls import public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.server.api.service import Service


_PAUSE = 1.0  # seconds between looks at the queue
_LOOK = 0.2  # seconds between looks at a running build
_KEPT = 20  # builds of a repository whose logs are kept
_MOST_LOG = 1_000_000  # bytes; of longer logs the end is kept
_MOST_TIME = 3600  # seconds
_TOKEN_TTL = 2 * _MOST_TIME


@dataclass(frozen=True, slots=True)
class BuildLink:
    """Where a repository's image comes from. `url` is what ``boxwright build`` takes: ``https://…git#ref:dir``."""

    repository: str
    url: str
    dockerfile: str = "Dockerfile"
    tag: str = "latest"
    secret: str = ""
    user: str = ""

    @property
    def shown(self) -> str:
        """The URL without a password that may be in it."""
        return public(self.url)


@dataclass(frozen=True, slots=True)
class Build:
    """One run. Times in unix seconds, 0 = not yet."""

    id: int
    repository: str
    reason: str
    state: str
    asked: float
    started: float
    ended: float

    @property
    def took(self) -> float:  # used by the templates of pages/
        """Seconds from its start to its end, or to now."""
        return (self.ended or time.time()) - self.started if self.started else 0.0


# The link, where to write the log, a directory for Docker's config, when to stop -> exit code, None when stopped.
Builder = Callable[[BuildLink, Path, Path, threading.Event], int | None]


class Queue:
    """Links and builds in the catalog; every call blocks."""

    def __init__(self, catalog: RegistryCatalog) -> None:
        self._catalog = catalog

    def link(self, link: BuildLink) -> None:
        """Link a repository, which is made when it is new, or link it anew."""
        with self._catalog.write() as sql:
            self._catalog.make(sql, link.repository)
            sql.execute(
                "INSERT OR REPLACE INTO build_links VALUES (?, ?, ?, ?, ?, ?)",
                (link.repository, link.url, link.dockerfile, link.tag, link.secret, link.user),
            )

    def unlink(self, repository: str) -> None:
        """Builds that wait are dropped. Raises NameUnknown."""
        with self._catalog.write() as sql:
            if not sql.execute("DELETE FROM build_links WHERE repository = ?", (repository,)).rowcount:
                raise NameUnknown(f"{repository} is not built here")
            sql.execute("DELETE FROM builds WHERE repository = ? AND state = 'waiting'", (repository,))

    def get(self, repository: str) -> BuildLink:
        """Raises NameUnknown."""
        row = (
            self._catalog.connection()
            .execute(
                "SELECT repository, url, dockerfile, tag, secret, user FROM build_links WHERE repository = ?",
                (repository,),
            )
            .fetchone()
        )
        if row is None:
            raise NameUnknown(f"{repository} is not built here", detail={"name": repository})
        return BuildLink(*row)

    def ask(self, repository: str, reason: str) -> int:
        """Queue a build; one that waits already is enough. Returns its id. Raises NameUnknown."""
        self.get(repository)
        with self._catalog.write() as sql:
            row = sql.execute(
                "SELECT id FROM builds WHERE repository = ? AND state = 'waiting'", (repository,)
            ).fetchone()
            if row is None:
                row = sql.execute(
                    "INSERT INTO builds (repository, reason, state, asked) VALUES (?, ?, 'waiting', ?) RETURNING id",
                    (repository, reason[:200], time.time()),
                ).fetchone()
            return int(row[0])

    def builds(self, repository: str) -> list[Build]:
        """Newest first."""
        rows = self._catalog.connection().execute(
            "SELECT id, repository, reason, state, asked, started, ended FROM builds WHERE repository = ? "
            "ORDER BY id DESC LIMIT ?",
            (repository, _KEPT),
        )
        return [Build(*row) for row in rows]

    def build(self, repository: str, build: int) -> tuple[Build, str]:
        """One build and its log; of one that runs, as far as it is. Raises NameUnknown."""
        row = (
            self._catalog.connection()
            .execute(
                "SELECT id, repository, reason, state, asked, started, ended, log FROM builds WHERE "
                "repository = ? AND id = ?",
                (repository, build),
            )
            .fetchone()
        )
        if row is None:
            raise NameUnknown(f"{repository} has no build {build}", detail={"name": repository})
        found = Build(*row[:7])
        return found, _tail(self.log_file(build)) if found.state == "running" else str(row[7])

    def log_file(self, build: int) -> Path:
        """Where a running build writes its log, for all workers to see."""
        return self._catalog.path.with_name("build-logs") / str(build)

    def interrupted(self) -> None:
        """What ran when its worker died waits again; called by the worker that holds the lock."""
        if (
            self._catalog.connection().execute("SELECT 1 FROM builds WHERE state = 'running'").fetchone()
            is None
        ):
            return
        with self._catalog.write() as sql:
            sql.execute("UPDATE builds SET state = 'waiting' WHERE state = 'running'")

    def take(self) -> tuple[int, BuildLink] | None:
        """The next build, now running."""
        row = (
            self._catalog.connection()
            .execute("SELECT id, repository FROM builds WHERE state = 'waiting' ORDER BY id LIMIT 1")
            .fetchone()
        )
        if row is None:
            return None
        link = self.get(row[1])
        with self._catalog.write() as sql:
            sql.execute(
                "UPDATE builds SET state = 'running', started = ? WHERE id = ?", (time.time(), row[0])
            )
        return row[0], link

    def end(self, build: int, repository: str, code: int, log: str) -> None:
        """Keep the outcome, and forget old builds."""
        with self._catalog.write() as sql:
            sql.execute(
                "UPDATE builds SET state = ?, ended = ?, log = ? WHERE id = ?",
                ("failed" if code else "done", time.time(), log, build),
            )
            sql.execute(
                "DELETE FROM builds WHERE repository = ?1 AND state IN ('done', 'failed') AND id NOT IN "
                "(SELECT id FROM builds WHERE repository = ?1 ORDER BY id DESC LIMIT ?2)",
                (repository, _KEPT),
            )


def _tail(log: Path) -> str:
    """What is kept of a log; '' when there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_LOG))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


# --- building ----------------------------------------------------------------------------------------


_COMMAND = (
    sys.executable,
    "-m",
    "boxwright",
    "build",
    "--push",
    "--untrusted",
    "--userns",
    "{users}",
    "--file",
    "{source}/{dockerfile}",
    "--tag",
    "{image}",
    "{source}",
)


def command_builder(service: Service) -> Builder:
    """Runs ``[build] command`` of the configuration, by default ``boxwright build --push``, with ``{image}``,
    ``{dockerfile}``, ``{url}`` and ``{source}`` filled in; for ``{source}`` the URL is fetched with git before."""
    settings = service.config.other.get("build", {})
    own = settings.get("command")
    command = [str(word) for word in own] if isinstance(own, list) and own else list(_COMMAND)

    def build(link: BuildLink, log: Path, home: Path, stop: threading.Event) -> int | None:
        from boxwright.runtime.spawn import USUAL_PATH

        env = {
            "PATH": USUAL_PATH,
            "LC_ALL": "C.UTF-8",
            "HOME": str(home),
            "DOCKER_CONFIG": str(home),
            # What one namespace's builds pulled and cached is not for another's: it may be private, or poisoned.
            "BOXWRIGHT_ROOT": str(service.config.storage / "builders" / _namespace(link.repository)),
        }
        end = time.monotonic() + _MOST_TIME
        with open(log, "ab", buffering=0) as file:

            def run(words: Sequence[str], env: Mapping[str, str]) -> int | None:
                return _run(words=words, env=env, home=home, log=file, stop=stop, end=end)

            values = {
                "image": f"{registry_host(service)}/{link.repository}:{link.tag}",
                "dockerfile": link.dockerfile,
                "url": link.url,
                "users": "host" if settings.get("allow-host-root") is True else "auto",
            }
            if any("{source}" in word for word in command):
                source, checkout = sources.BuildSource.parse(link.url), home / "source"
                local = settings.get("allow-local-git") is True
                code = sources.fetch(source=source, target=checkout, run=run, env=env, local=local)
                if code != 0:
                    return code
                context = sources.context(source, checkout)
                values["source"] = str(context)
                values["dockerfile"] = sources.dockerfile(context, link.dockerfile)
            return run([_filled(word, values) for word in command], env)

    return build


def _filled(word: str, values: Mapping[str, str]) -> str:
    """One pass: what was filled in is not looked at again."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), word)


def _run(
    words: Sequence[str],
    env: Mapping[str, str],
    home: Path,
    log: BinaryIO,
    stop: threading.Event,
    end: float,
) -> int | None:
    """The exit code; None when stopped."""
    from boxwright.runtime.process import Stdio, spawn

    child = spawn(
        words, stdio=Stdio(stdout=log.fileno(), stderr=log.fileno()), env=env, cwd=home, new_session=True
    )
    while (code := child.poll()) is None:
        if stop.wait(_LOOK) or time.monotonic() > end:
            _end(child.pid)
            child.wait()
            os.write(
                log.fileno(),
                b"stopped\n" if stop.is_set() else f"given up after {_MOST_TIME} seconds\n".encode(),
            )
            return None if stop.is_set() else 1
    return code


def _end(session: int) -> None:
    """A build with all its programs."""
    try:
        os.killpg(session, signal.SIGTERM)
    except ProcessLookupError:
        pass


def registry_host(service: Service) -> str:
    """How a program on this machine reaches the registry."""
    if service.config.base_url:
        return service.config.base_url.partition("://")[2]
    host, _, port = service.config.addr.rpartition(":")
    return f"{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"


async def worker(service: Service) -> None:
    """Runs beside the requests; of all workers one builds at a time."""
    queue, builder, stop = Queue(service.catalog), command_builder(service), threading.Event()
    try:
        while True:
            await asyncio.sleep(_PAUSE)
            await asyncio.get_running_loop().run_in_executor(None, drain, service, queue, builder, stop)
    finally:
        stop.set()


def drain(service: Service, queue: Queue, builder: Builder, stop: threading.Event) -> int:
    """Build everything that waits, unless another worker is at it; returns how many were built."""
    count = 0
    with try_exclusive_lock(service.config.storage / "builds.lock") as locked:
        if not locked:
            return 0
        queue.interrupted()
        while not stop.is_set() and (job := queue.take()) is not None:
            id, link = job
            _build(service=service, queue=queue, builder=builder, stop=stop, id=id, link=link)
            count += 1
    return count


def _build(
    service: Service, queue: Queue, builder: Builder, stop: threading.Event, id: int, link: BuildLink
) -> None:
    with scratch(service.config.storage / "tmp") as folder:
        log = queue.log_file(id)
        own_directory(log.parent)
        log.write_bytes(b"")
        forget = _credentials(service, link, folder)
        try:
            code = builder(link, log, folder, stop)
        except (BoxwrightError, OSError) as error:
            code = 1
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"Error: {error}\n")
                if hint := getattr(error, "hint", ""):
                    file.write(f"Hint: {hint}\n")
        finally:
            forget()
        if code is not None:  # stopped with the registry: it runs again
            queue.end(build=id, repository=link.repository, code=code, log=_tail(log))
            log.unlink(missing_ok=True)


def _namespace(repository: str) -> str:
    """Whose a repository is: the root and ``library/`` are both the administrators'."""
    namespace, slash, _ = repository.partition("/")
    return namespace if slash else "library"


def build_scopes(link: BuildLink, more: Sequence[str]) -> list[str]:
    """What a build may: push its own repository, and pull what its base may be: images of its own namespace, those that
    any account may pull, and `more` (globs, from ``[build] pull``). Not what the administrator who linked it may."""
    namespace = _namespace(link.repository)
    own = [f"{namespace}/**"] if namespace != "library" else ["*", "library/**"]
    return [
        f"{link.repository}:pull,push",
        f"{EVERYONE}:pull",
        *(f"{glob}:pull" for glob in (*own, *more)),
    ]


def _credentials(service: Service, link: BuildLink, folder: Path) -> Callable[[], None]:
    """A token for this one build, in a Docker config of its own; the result takes it back."""
    from boxwright.registry.server.auth.gate import Gate

    gate = service.access
    if not isinstance(gate, Gate) or not link.user:
        return lambda: None
    name = f"build {time.time_ns()}"
    more = service.config.other.get("build", {}).get("pull", ())
    secret = gate.tokens.create(link.user, name, build_scopes(link, more), ttl=_TOKEN_TTL)
    auth = base64.b64encode(f"{link.user}:{secret}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry_host(service): {"auth": auth}}}))

    def forget() -> None:
        for token in gate.tokens.all(link.user):
            if token.name == name:
                gate.tokens.remove(token.id)

    return forget
