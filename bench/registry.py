"""The registry against Debian's docker-registry on loopback, the same data in both, in turn.

Requests a second and latency come from wrk; uploads and downloads are one curl each. Both write no access log. Lists,
searches and the load of many clients are ours alone.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import registry_load as load
from bench.measure import Daemon, RunFailed
from bench.peers import free_port, registry_config

_ROUNDS = 3
_SECONDS = 4
_MANY = 100_000
_WORDS = (
    "alpine",
    "busybox",
    "cache",
    "django",
    "elastic",
    "flink",
    "grafana",
    "haproxy",
    "influx",
    "jenkins",
    "kafka",
    "logstash",
    "mysql",
    "nginx",
    "postgres",
    "python",
    "queue",
    "redis",
    "rust",
    "traefik",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: figures by server, in `unit`."""

    title: str
    ours: float
    peer: float | None
    unit: str
    goal: str

    def __str__(self) -> str:
        peer = (
            f"{self.peer:10.1f} {self.unit:<6} ratio {self.ours / self.peer:6.2f}"
            if self.peer
            else f"{'-':>10}"
        )
        return f"{self.title:<64} {self.ours:10.1f} {self.unit:<6} {peer}   goal: {self.goal}"


def _request(
    host: str, method: str, path: str, body: bytes = b"", **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def _upload(host: str, name: str) -> str:
    location = _request(host, "POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    path = location[location.index("/v2/") :]
    return f"http://{host}{path}{'&' if '?' in path else '?'}digest="


def _push(host: str, name: str, tag: str, file: Path) -> str:
    """An image of one layer; the layer's digest."""
    digests = []
    config = file.with_name("config.json")
    config.write_bytes(b'{"architecture":"amd64","os":"linux"}')
    for blob in (config, file):
        with open(blob, "rb") as stream:
            digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        subprocess.run(
            ["curl", "-sfT", str(blob), _upload(host, name) + digest], check=True, capture_output=True
        )
        digests.append((digest, blob.stat().st_size))
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": digests[0][0],
            "size": digests[0][1],
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": digests[1][0],
                "size": digests[1][1],
            }
        ],
    }
    if (
        _request(
            host, "PUT", f"/v2/{name}/manifests/{tag}", json.dumps(manifest).encode(), Content_Type=kind
        ).status
        != 201
    ):
        raise RunFailed(f"{host} does not take the manifest")
    return digests[1][0]


def _wrk(url: str) -> tuple[float, float]:
    """Requests a second, and the 99th percentile in milliseconds."""
    accept = "Accept: application/vnd.docker.distribution.manifest.v2+json"
    said = subprocess.run(
        ["wrk", "-t2", "-c16", f"-d{_SECONDS}s", "--latency", "-H", accept, url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rate, slow = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said)
    if "Non-2xx" in said or not rate or not slow:
        raise RunFailed(f"wrk {url}:\n{said}")
    return float(rate[1]), float(slow[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]


def _pairs(hosts: list[str], measure: object, rounds: int = _ROUNDS) -> list[float]:
    """Medians of a measurement on each host, in turn."""
    samples: list[list[float]] = [[] for _ in hosts]
    for _ in range(rounds):
        for number, host in enumerate(hosts):
            samples[number].append(measure(host))  # type: ignore[operator]
    return [statistics.median(s) for s in samples]


def _timed(argv: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - start


def _reachable(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _start(work: Path, stack: ExitStack) -> tuple[list[str], Daemon]:
    """Ours first, with a worker for each CPU; then Debian's when it is installed. And our process."""
    port = free_port()
    config = work / "ours.toml"
    config.write_text("[housekeeping]\nevery = 0\n")
    argv = [
        sys.executable,
        "-m",
        "boxwright",
        "registry",
        "serve",
        "--addr",
        f"127.0.0.1:{port}",
        "--storage",
        str(work / "ours"),
        "--config",
        str(config),
    ]
    server = stack.enter_context(Daemon(argv, lambda: _reachable(port), work / "ours.log"))
    hosts = [f"127.0.0.1:{port}"]
    if shutil.which("docker-registry"):
        other = free_port()
        (work / "peer.yml").write_text(registry_config(work / "peer", other))
        stack.enter_context(
            Daemon(
                ["docker-registry", "serve", str(work / "peer.yml")],
                lambda: _reachable(other),
                work / "peer.log",
            )
        )
        hosts.append(f"127.0.0.1:{other}")
    time.sleep(1)
    return hosts, server


def rows(work: Path) -> Iterator[Row]:
    """Every comparison. Raises RunFailed."""
    sizes = {"64 MB": 64 << 20, "1 GB": 1 << 30}
    with ExitStack() as stack:
        hosts, server = _start(work, stack)
        small = work / "small"
        small.write_bytes(os.urandom(1000))
        for host in hosts:
            _push(host, "bench/small", "latest", small)
        if shutil.which("wrk"):
            seen: list[list[tuple[float, float]]] = [[] for _ in hosts]
            for _ in range(_ROUNDS):
                for number, host in enumerate(hosts):
                    seen[number].append(_wrk(f"http://{host}/v2/bench/small/manifests/latest"))
            rates = [statistics.median(r for r, _ in s) for s in seen]
            slow = [statistics.median(p for _, p in s) for s in seen]
            yield Row(
                "manifest GET by tag, 16 connections",
                rates[0],
                rates[1] if rates[1:] else None,
                "req/s",
                "8 times",
            )
            yield Row(
                "manifest GET by tag, 99th percentile", slow[0], slow[1] if slow[1:] else None, "ms", "lower"
            )
        for title, length in sizes.items():
            file = work / "blob"
            with open(file, "wb") as out:
                for _ in range(length >> 20):
                    out.write(os.urandom(1 << 20))
            digests = {host: _push(host, "bench/big", "latest", file) for host in hosts}
            # Short ones oftener: where the kernel puts server and client makes a factor of two.
            took = _pairs(
                hosts,
                lambda host, d=digests: _timed(
                    ["curl", "-sf", "-o", "/dev/null", f"http://{host}/v2/bench/big/blobs/{d[host]}"]
                ),
                41 if length < 1 << 28 else 5,
            )
            speeds = [length / 1e6 / t for t in took]
            yield Row(f"blob GET, {title}", speeds[0], speeds[1] if speeds[1:] else None, "MB/s", "as fast")
        speeds = [(256 << 20) / 1e6 / t for t in _pairs(hosts, lambda host: _put(host, work / "put"), 5)]
        yield Row("blob PUT, 256 MB, verified", speeds[0], speeds[1] if speeds[1:] else None, "MB/s", "twice")
        yield from _lists(hosts[0], work / "ours")
        yield from load.rows(hosts[0], server.pid)


def _put(host: str, file: Path) -> float:
    """Seconds of a PUT of bytes that the server has never seen."""
    state = hashlib.sha256()
    with open(file, "wb") as out:
        for _ in range(256):
            piece = os.urandom(1 << 20)
            state.update(piece)
            out.write(piece)
    return _timed(
        [
            "curl",
            "-sfT",
            str(file),
            "-H",
            "Expect:",
            f"{_upload(host, 'bench/put')}sha256:{state.hexdigest()}",
        ]
    )


def _lists(host: str, storage: Path) -> Iterator[Row]:
    """A repository of many tags and many repositories, written into the catalog directly: pushing them is another
    matter."""
    _fill(storage)
    start = time.perf_counter()
    sql = sqlite3.connect(storage / "registry.db", timeout=60)
    while sql.execute("SELECT 1 FROM search_todo LIMIT 1").fetchone():
        time.sleep(0.1)
    sql.close()
    yield Row("100,000 new repositories, searchable after", time.perf_counter() - start, None, "s", "-")
    for title, path in (
        ("100,000 tags, the first 1,000", "/v2/bench/small/tags/list?n=1000"),
        ("100,000 tags, 1,000 in the middle", "/v2/bench/small/tags/list?n=1000&last=t050000"),
        ("100,000 tags, without n", "/v2/bench/small/tags/list"),
        ("100,000 repositories, 1,000 in the middle", "/v2/_catalog?n=1000&last=team500/"),
        ("100,000 repositories, without n", "/v2/_catalog"),
        ("search, a word of all of them", "/api/search?q=image"),
        ("search, a word of 5,000 of them", "/api/search?q=redis"),
        ("search, a word of one of them", "/api/search?q=number+77777"),
        ("search, two letters", "/api/search?q=qu"),
        ("search, a word of none of them", "/api/search?q=nothing-such"),
        ("search, a platform", "/api/search?platform=linux/arm64&sort=updated"),
        ("search, everything by name, page 80", "/api/search?sort=name&offset=2000"),
        ("search as docker asks", "/v1/search?q=python&n=25"),
        ("the page of a search", "/?q=python"),
        ("the page of all repositories", "/"),
    ):
        times = []
        for _ in range(9):
            start = time.perf_counter()
            if _request(host, "GET", path).status != 200:
                raise RunFailed(f"{path} is not answered")
            times.append((time.perf_counter() - start) * 1000)
        yield Row(f"{title} (slowest of 9)", max(times), None, "ms", "under 50")


def _fill(storage: Path) -> None:
    """Every repository has an image with a description, and one of 100 configs."""
    sql = sqlite3.connect(storage / "registry.db", timeout=60)
    row, digest = sql.execute(
        "SELECT r.id, t.digest FROM repositories r JOIN tags t ON t.repository = r.id WHERE r.name = 'bench/small'"
    ).fetchone()
    configs = []
    for number in range(100):
        config = json.dumps(
            {
                "architecture": ("amd64", "arm64")[number % 2],
                "os": "linux",
                "config": {"Labels": {"team": f"team{number}"}},
            }
        ).encode()
        name = hashlib.sha256(config).hexdigest()
        folder = storage / "blobs/sha256" / name[:2]
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(config)
        configs.append((f"sha256:{name}", len(config)))
    kind = "application/vnd.oci.image.manifest.v1+json"
    with sql:
        sql.executemany(
            "INSERT INTO tags VALUES (?, ?, ?, 0)", ((row, f"t{n:06d}", digest) for n in range(_MANY))
        )
        for n in range(_MANY):
            word, (config_digest, size) = _WORDS[n % len(_WORDS)], configs[n % 100]
            id = sql.execute(
                "INSERT INTO repositories (name, created, updated) VALUES (?, ?, ?)",
                (f"team{n % 1000:03d}/{word}-{n:06d}", n, n),
            ).lastrowid
            manifest = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": kind,
                    "config": {
                        "mediaType": "application/vnd.oci.image.config.v1+json",
                        "digest": config_digest,
                        "size": size,
                    },
                    "layers": [],
                    "annotations": {
                        "org.opencontainers.image.description": f"The image of {word} for team {n % 1000}, number {n}"
                    },
                }
            ).encode()
            name = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
            sql.execute("INSERT INTO contents VALUES (?, ?)", (name, manifest))
            sql.execute(
                "INSERT INTO manifests (repository, digest, media_type, size, artifact_type, annotations, pushed) "
                "VALUES (?, ?, ?, ?, '', '{}', 0)",
                (id, name, kind, len(manifest)),
            )
            sql.execute("INSERT INTO tags VALUES (?, 'latest', ?, 0)", (id, name))
            sql.execute("INSERT INTO blobs VALUES (?, ?, ?, 0)", (config_digest, id, size))
    sql.close()


def main(work: Path) -> int:
    """Print the table; 1 when something could not run."""
    print(f"{'medians, in turn':<64} {'ours':>10}        {'docker-registry':>10}")
    try:
        for row in rows(work):
            print(row, flush=True)
    except (RunFailed, subprocess.CalledProcessError) as error:
        print(f"registry: {error}", file=sys.stderr)
        return 1
    return 0
