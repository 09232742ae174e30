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
        self.service: Any = None

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            chunked = body is not None and not isinstance(body, (bytes, str))
            connection.request(
                method,
                path,
                body,
                {k.replace("_", "-"): v for k, v in headers.items()},
                encode_chunked=chunked,
            )
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

    def push_manifest(
        self, name: str, reference: str, body: dict[str, Any] | bytes, media_type: str = ""
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = media_type or (json.loads(raw).get("mediaType") if not isinstance(body, bytes) else "")
        return self(
            "PUT",
            f"/v2/{name}/manifests/{reference}",
            raw,
            Content_Type=kind or "application/vnd.oci.image.manifest.v1+json",
        )


@contextmanager
def serving(storage: Path, **settings: Any) -> Iterator[Client]:
    """The registry on a free loopback port; `settings` are fields of RegistryConfig. `client.service` is what serves."""
    from boxwright.registry.server.app import open_service
    from boxwright.registry.server.config import RegistryConfig
    from boxwright.registry.server.serve import listen, serve_until

    sock = listen("127.0.0.1:0")
    started = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        service = state["service"] = open_service(RegistryConfig(storage=storage, **settings))
        state["loop"], state["stop"] = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await serve_until(service, sock, state["stop"], grace=1)
        service.close()
        service.catalog.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait(10)
    try:
        client = Client(f"127.0.0.1:{sock.getsockname()[1]}")
        client.service = state["service"]
        yield client
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(10)
