"""Many clients of our registry at once: each pushes images of its own, pulls those of others, and checks every byte."""

from __future__ import annotations

import hashlib
import http.client
import json
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure import RunFailed

if TYPE_CHECKING:
    from bench.registry import Row

CLIENTS, SECONDS, PROCESSES = 64, 60, 4
_KIND = "application/vnd.oci.image.manifest.v1+json"
_LAYERS = (5_000, 50_000, 500_000, 3_000_000)  # bytes


class _Client:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, host: str, number: int) -> None:
        self._host, self._number, self._dice = host, number, random.Random(number)
        self._connection = http.client.HTTPConnection(host, timeout=30)
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []

    def run(self, end: float) -> None:
        turn = 0
        while time.monotonic() < end:
            try:
                self._push(f"load/c{self._number}", f"t{turn}")
                for _ in range(2):
                    self._pull(f"load/c{self._dice.randrange(CLIENTS)}", f"t{self._dice.randrange(turn + 1)}")
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                self._connection.close()
            turn += 1

    def _ask(
        self, method: str, path: str, body: bytes | None = None, *, want: tuple[int, ...], **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = self._connection.getresponse()
        data = response.read()
        assert response.status in want, f"{method} {path}: {response.status} {data[:200]!r}"
        self.counts["requests"] += 1
        self.counts["sent"] += len(body or b"")
        self.counts["received"] += len(data)
        return response, data

    def _blob(self, name: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if self._ask("HEAD", f"/v2/{name}/blobs/{digest}", want=(200, 404))[0].status == 404:
            location = self._ask("POST", f"/v2/{name}/blobs/uploads/", want=(202,))[0].headers["Location"]
            if len(data) > 100_000 and self._dice.random() < 0.5:  # in two parts
                middle = len(data) // 2
                self._ask("PATCH", location, data[:middle], want=(202,))
                self._ask(
                    "PUT",
                    f"{location}?digest={digest}",
                    data[middle:],
                    want=(201,),
                    Content_Range=f"{middle}-{len(data) - 1}",
                )
            else:
                self._ask("PUT", f"{location}?digest={digest}", data, want=(201,))
        return {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": len(data)}

    def _push(self, name: str, tag: str) -> None:
        layer = self._blob(name, self._dice.randbytes(self._dice.choice(_LAYERS)))
        config = {
            **self._blob(name, b'{"architecture":"amd64","os":"linux"}'),
            "mediaType": "application/vnd.oci.image.config.v1+json",
        }
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": _KIND, "config": config, "layers": [layer]}
        ).encode()
        self._ask("PUT", f"/v2/{name}/manifests/{tag}", manifest, want=(201,), Content_Type=_KIND)
        self.counts["pushes"] += 1

    def _pull(self, name: str, tag: str) -> None:
        response, manifest = self._ask("GET", f"/v2/{name}/manifests/{tag}", want=(200, 404))
        if response.status == 404:
            return  # not pushed yet
        body = json.loads(manifest)
        for entry in (body["config"], *body["layers"]):
            _, data = self._ask("GET", f"/v2/{name}/blobs/{entry['digest']}", want=(200,))
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == entry["digest"], (
                f"{name} has other bytes under {entry['digest']}"
            )
        self.counts["pulls"] += 1


def _clients(host: str, numbers: range, seconds: float, out: Any) -> None:
    clients = [_Client(host, n) for n in numbers]
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=c.run, args=(end,)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total: Counter[str] = Counter()
    for client in clients:
        total += client.counts
    out.put((total, [e for c in clients for e in c.errors]))


def rows(host: str, server: int, seconds: float = SECONDS) -> Iterator[Row]:
    """Of a server whose first process is `server`. Raises RunFailed when any request failed."""
    from bench.registry import Row

    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    share = CLIENTS // PROCESSES
    processes = [
        context.Process(target=_clients, args=(host, range(n * share, (n + 1) * share), seconds, out))
        for n in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    results = [out.get(timeout=seconds + 120) for _ in processes]
    for process in processes:
        process.join()
    total: Counter[str] = Counter()
    for counts, errors in results:
        total += counts
        if errors:
            raise RunFailed(
                f"{len(errors)} of {CLIENTS} clients' requests failed:\n" + "\n".join(errors[:10])
            )
    title = f"{CLIENTS} clients for {seconds:g} s"
    yield Row(
        f"{title}: images pushed and pulled",
        (total["pushes"] + total["pulls"]) / seconds,
        None,
        "a s",
        "no error",
    )
    yield Row(
        f"{title}: bytes in and out", (total["sent"] + total["received"]) / seconds / 1e6, None, "MB/s", "-"
    )
    yield Row("memory of all workers, the peak of each added", _peak(server) / 1e6, None, "MB", "under 400")


def _peak(server: int) -> int:
    """Bytes: the largest resident set that each process ever had; pages that they share count in each."""
    workers = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    peaks = 0
    for process in (str(server), *workers):
        line = next(
            line
            for line in Path(f"/proc/{process}/status").read_text().splitlines()
            if line.startswith("VmHWM:")
        )
        peaks += int(line.split()[1]) * 1024
    return peaks
