"""A registry server in a thread of the test, and a small client that shows raw answers."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["errors"][0]["code"])


class Client:
    """One request a connection, no redirects, no retries, nothing added."""

    def __init__(self, host: str) -> None:
        self.host = host

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            chunked = body is not None and not isinstance(body, (bytes, str))
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()}, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def push_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> str:
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        location = self("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
        answer = self("PUT", f"{location}?digest={digest}", data)
        assert answer.status == 201, answer
        return digest

    def push_manifest(self, name: str, reference: str, body: dict[str, Any] | bytes, media_type: str = "") -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = media_type or (json.loads(raw).get("mediaType") if not isinstance(body, bytes) else "")
        return self("PUT", f"/v2/{name}/manifests/{reference}", raw, Content_Type=kind or "application/vnd.oci.image.manifest.v1+json")


@contextmanager
def serving(storage: Path) -> Iterator[Client]:
    """The registry on a free loopback port."""
    from boxwright.registry.server.app import API
    from boxwright.registry.server.serve import listen, open_service, serve_until
    from boxwright.registry.server.service import dispatcher

    sock = listen("127.0.0.1:0")
    started = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        service = open_service(storage)
        state["loop"], state["stop"] = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await serve_until(dispatcher(service, API), sock, state["stop"], grace=1)
        service.close()
        service.catalog.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait(10)
    try:
        yield Client(f"127.0.0.1:{sock.getsockname()[1]}")
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(10)
