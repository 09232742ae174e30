"""The power goes while images, accounts and archives move: a registry and its client on a disk that logs every write.

What a registry answered with 201 or 202, and what `pull`, `push`, `login`, `save -o`, `export -o`, `build -o` and
`registry user` acknowledged, is there after any later cut. `test_power_cut` is the same for a store by itself.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.images import busybox_tar, have_busybox
from support.peers import free_port
from support.powercut import (
    Looked,
    Recorder,
    State,
    differences,
    in_rounds,
    look_at_cuts,
    recorder,
    usable,
    worked,
)
from support.registry import make_image, noise
from support.server import Client
from support.waiting import eventually

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.skipif(bool(usable()), reason=usable()),
    pytest.mark.skipif(not have_busybox(), reason="busybox-static is not installed"),
]

_NAMES = 3  # of each kind
_PASSWORD = "secret"
_AUTHORIZATION = {"Authorization": "Basic " + base64.b64encode(f"ann:{_PASSWORD}".encode()).decode()}
_FILES = ("saved.tar", "exported.tar", "built.tar", "iid")


class Place:
    """A store, a registry's storage, Docker's configuration and files, all on one disk."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self._port = free_port()
        self.environ = {
            "HOME": str(disk / "home"),
            "DOCKER_CONFIG": str(disk / "docker"),
            "PATH": os.environ["PATH"],
            "BOXWRIGHT_ROOT": str(disk / "root"),
            "BOXWRIGHT_TRUST_HOST_CA": "never",
        }

    def run(self, *words: str, input: bytes = b"") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "boxwright", *words],
            env=self.environ,
            cwd=self.disk,
            input=input,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, (words, done.stderr.decode())
        return done.stdout.decode().strip()

    @contextlib.contextmanager
    def registry(self) -> Iterator[Client]:
        """A process of its own: nothing of this one may hold the disk."""
        client = Client(f"127.0.0.1:{self._port}")
        words = ("registry", "serve", "--config", "registry.toml", "--addr", client.host, "--workers", "1")
        server = subprocess.Popen(
            [sys.executable, "-m", "boxwright", *words],
            env=self.environ,
            cwd=self.disk,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def answers() -> bool:
            assert server.poll() is None, "the registry did not start"
            with contextlib.suppress(OSError):
                return client("GET", "/healthz").status == 200
            return False

        try:
            eventually(answers, 30)
            yield client
        finally:
            server.terminate()
            server.wait(30)

    def state(self, client: Client, uploads: dict[str, str]) -> State:
        """`uploads`: those that were begun, with their locations."""
        found: dict[tuple[str, str], str] = {}
        asked = _AUTHORIZATION
        for name in client("GET", "/v2/_catalog", **asked).json["repositories"]:
            for tag in client("GET", f"/v2/{name}/tags/list", **asked).json["tags"] or ():
                answer = client("GET", f"/v2/{name}/manifests/{tag}", **asked)
                assert answer.status == 200, (name, tag, answer)
                found["tag", f"{name}:{tag}"] = str(answer.headers["Docker-Content-Digest"])
                body = answer.json
                for blob in (body["config"], *body["layers"]):
                    data = client("GET", f"/v2/{name}/blobs/{blob['digest']}", **asked).body
                    assert hashlib.sha256(data).hexdigest() == blob["digest"].partition(":")[2], (name, blob)
        for name, location in uploads.items():
            answer = client("GET", location, **asked)
            if answer.status == 204:
                found["upload", name] = str(answer.headers["Range"])
        for line in self.run(
            "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"
        ).splitlines():
            name, identity = line.split()
            if "<none>" not in name:
                found["image", name] = identity
        for line in (self.disk / "htpasswd").read_text().splitlines():
            found["user", line.partition(":")[0]] = ""
        with contextlib.suppress(FileNotFoundError):
            for host in json.loads((self.disk / "docker/config.json").read_text())["auths"]:
                found["login", host.partition(":")[0]] = ""
        for name in _FILES:
            with contextlib.suppress(FileNotFoundError):
                found["file", name] = hashlib.sha256((self.disk / name).read_bytes()).hexdigest()
        return found


class Workload:
    """Random commands; `history` has the state after each, and where in the log it was acknowledged."""

    def __init__(self, disk: Recorder, place: Place, client: Client, chance: random.Random) -> None:
        self._disk, self._place, self._client, self._chance = disk, place, client, chance
        self._made = 0
        self.uploads: dict[str, str] = {}
        self.chunks: dict[str, bytes] = {}
        self.words: list[str] = []
        self.history: list[tuple[int, State]] = []
        self._acknowledged("registry user add", disk.position())

    def _acknowledged(self, what: str, position: int) -> None:
        self.words.append(what)
        self.history.append((position, self._place.state(self._client, self.uploads)))

    def _do(self, *words: str, input: bytes = b"") -> None:
        self._place.run(*words, input=input)
        self._acknowledged(" ".join(words), self._disk.position())

    def step(self) -> None:
        ways: list[Callable[[], None]] = [self._push, self._push, self._pull, self._archive, self._archive]
        ways += [self._account, self._upload, self._upload, self._delete]
        self._chance.choice(ways)()

    def _some(self, kind: str) -> str:
        names = sorted(name for found, name in self.history[-1][1] if found == kind)
        return self._chance.choice(names) if names else ""

    def _push(self) -> None:
        """A build that is pushed, as clients do: in one piece, or what another client would do with a POST."""
        self._made += 1
        name = f"{self._client.host}/ann/i{self._chance.randrange(_NAMES)}:1"
        self._do("build", "-q", "-t", name, "-", input=f"FROM base:0\nENV N={self._made}\n".encode())
        self._do("push", "-q", name)

    def _pull(self) -> None:
        """An image that the store does not have."""
        self._made += 1
        name = f"ann/p{self._chance.randrange(_NAMES)}"
        image = make_image({"stamp": noise(5000, seed=self._made)})
        for blob in (image.config, *image.layers):
            digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
            answer = self._client(
                "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", blob, **_AUTHORIZATION
            )
            assert answer.status == 201, answer
        answer = self._client(
            "PUT",
            f"/v2/{name}/manifests/1",
            image.manifest.raw,
            Content_Type=image.manifest.media_type,
            **_AUTHORIZATION,
        )
        assert answer.status == 201, answer
        self._acknowledged(f"PUT {name}", self._disk.position())
        self._do("pull", "-q", f"{self._client.host}/{name}:1")

    def _archive(self) -> None:
        image = self._some("image")
        way = self._chance.choice(["save", "export", "build"])
        if way == "save":
            self._do("save", "-o", "saved.tar", image)
        elif way == "export":
            box = self._place.run("create", "--network", "none", "base:0", "true")
            self._do("export", "-o", "exported.tar", box)
        else:
            self._made += 1
            text = f"FROM scratch\nCOPY <<x /x\n{self._made}\nx\n".encode()
            self._do("build", "-q", "--iidfile", "iid", "-o", "type=oci,dest=built.tar", "-", input=text)

    def _account(self) -> None:
        name = f"user{self._chance.randrange(_NAMES)}"
        if self._chance.random() < 0.4:
            there = ("login", self._client.host.partition(":")[0]) in self.history[-1][1]
            if there:
                self._do("logout", self._client.host)
            self._do(
                *("login", "-u", "ann", "--password-stdin", self._client.host),
                input=f"{_PASSWORD}\n".encode(),
            )
        elif ("user", name) in self.history[-1][1]:
            self._do("registry", "user", "rm", "--config", "registry.toml", name)
        else:
            self._do(
                *("registry", "user", "add", "--config", "registry.toml", "--password-stdin", name),
                input=b"another one\n",
            )

    def _upload(self) -> None:
        """A chunk of a blob, which was acknowledged with 202 and a range."""
        name = f"u{self._chance.randrange(_NAMES)}"
        if name not in self.uploads:
            answer = self._client("POST", "/v2/ann/chunks/blobs/uploads/", **_AUTHORIZATION)
            assert answer.status == 202, answer
            self.uploads[name], self.chunks[name] = str(answer.headers["Location"]), b""
            self._acknowledged(f"POST {name}", self._disk.position())
        data = noise(self._chance.choice([700, 70_000]), seed=self._chance.randrange(1 << 30))
        answer = self._client("PATCH", self.uploads[name], data, **_AUTHORIZATION)
        assert answer.status == 202, answer
        self.chunks[name] += data
        self._acknowledged(f"PATCH {name}", self._disk.position())

    def _delete(self) -> None:
        name = self._some("tag")
        if name:
            repository, _, tag = name.partition(":")
            answer = self._client("DELETE", f"/v2/{repository}/manifests/{tag}", **_AUTHORIZATION)
            assert answer.status == 202, answer
            self._acknowledged(f"DELETE {name}", self._disk.position())


def _check(place: Place, work: Workload, before: State, after: State) -> list[str]:
    """What does not hold: `before` was acknowledged, `after` may have happened since."""
    wrong: list[str] = []
    with place.registry() as client:
        found = place.state(client, work.uploads)
        wrong += differences(before, after, found, set())
        for name in sorted(name for kind, name in found if kind == "upload"):
            size = int(found["upload", name].partition("-")[2]) + 1
            if ("upload", name) in before and size > 1:
                digest = hashlib.sha256(work.chunks[name][:size]).hexdigest()
                answer = client("PUT", f"{work.uploads[name]}?digest=sha256:{digest}", b"", **_AUTHORIZATION)
                if answer.status != 201:
                    wrong.append(f"upload {name} of {size} bytes: {answer.status} {answer.body.decode()}")
    for words in (("system", "fsck"), ("registry", "fsck", "--config", "registry.toml")):
        try:
            place.run(*words)
        except AssertionError as error:
            wrong.append(str(error))
    return wrong


def test_what_was_transferred_survives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_rounds("power cuts of transfers", tmp_path, capsys, _round)


def _round(directory: Path, chance: random.Random, deadline: float) -> int:
    with recorder(directory, size=160 << 20, block=chance.choice([1024, 4096])) as disk:
        place = Place(disk.path)
        (disk.path / "home").mkdir()
        (disk.path / "registry.toml").write_text(
            f'storage = "{disk.path}/registry"\n[auth]\nhtpasswd = "{disk.path}/htpasswd"\nadmins = ["ann"]\n'
        )
        os.sync()
        place.run("import", "-c", 'CMD ["true"]', "-", "base:0", input=busybox_tar())
        place.run(
            *("registry", "user", "add", "--config", "registry.toml", "--password-stdin", "ann"),
            input=f"{_PASSWORD}\n".encode(),
        )
        with place.registry() as client:
            place.run("login", "-u", "ann", "--password-stdin", client.host, input=f"{_PASSWORD}\n".encode())
            work = Workload(disk, place, client, chance)
            worked(work, work.step, deadline)

    def check(before: State, after: State, under_way: object) -> list[str]:
        return _check(place, work, before, after)

    return look_at_cuts(disk, work, Looked(2, check), chance, deadline)
