"""A registry in this process, small enough to read, that can be told to misbehave; and images to put into it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import re
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from boxwright import Engine
from boxwright.registry.client.client import RegistryClient
from boxwright.registry.client.config import ClientConfig
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest
from support.web import QuietHandler, QuietServer


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Response:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int = -1  # send only so many bytes of the body, then hang up
    chunks: Iterator[bytes] | None = None  # a body without a length


Hook = Callable[[Request], "Response | None"]


class FakeRegistry:
    """Blobs, manifests, uploads, referrers. `hook` may answer a request instead; every request is in `log`."""

    def __init__(self) -> None:
        self.blobs: dict[str, dict[str, bytes]] = {}  # repository -> digest -> bytes
        self.manifests: dict[
            str, dict[str, tuple[str, bytes]]
        ] = {}  # repository -> tag or digest -> (type, bytes)
        self.uploads: dict[str, bytearray] = {}
        self.log: list[Request] = []
        self.hook: Hook | None = None
        self.basic: tuple[str, str] | None = None
        self.tokens: TokenServer | None = None
        self.ranges = True
        self.deletes_tags = True
        self.referrers_api = True
        self.searchable = False
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.registry = self
        self.port, self.host = self.server.server_port, self.server.host
        self.scheme = "http"

    def requests(self, method: str = "", pattern: str = "") -> list[Request]:
        return [r for r in self.log if (not method or r.method == method) and re.search(pattern, r.path)]

    # --- content, put in directly ----------------------------------------------------------------

    def add(self, repository: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs.setdefault(repository, {})[str(digest)] = data
        return digest

    def add_manifest(
        self, repository: str, tag: str, raw: bytes, media_type: str = mt.OCI_MANIFEST
    ) -> Descriptor:
        desc = Descriptor.of(raw, media_type)
        for name in filter(None, (tag, str(desc.digest))):
            self.manifests.setdefault(repository, {})[name] = (media_type, raw)
        return desc

    def add_image(self, repository: str, tag: str, image: Image) -> Descriptor:
        for blob in (image.config, *image.layers):
            self.add(repository, blob)
        return self.add_manifest(repository, tag, image.manifest.raw, image.manifest.media_type)

    # --- answers -----------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        with self.lock:
            self.log.append(request)
        if self.hook is not None and (said := self.hook(request)) is not None:
            return said
        if request.path.startswith("/token") and self.tokens is not None:
            return self.tokens.answer(request)
        refused = self._access(request)
        if refused is not None:
            return refused
        for pattern, method in _ROUTES:
            if match := re.fullmatch(pattern, request.path):
                with self.lock:
                    answered: Response = getattr(self, method)(request, *match.groups())
                    return answered
        return Response(404, {}, b"nothing here")

    def _access(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        if (
            self.basic is not None
            and given != "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()
        ):
            return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="here"'})
        if self.tokens is not None:
            return self.tokens.check(request, given)
        return None

    def _ping(self, request: Request) -> Response:
        return Response(200, {"Content-Type": "application/json"}, b"{}")

    def _catalog(self, request: Request) -> Response:
        return Response(200, {}, json.dumps({"repositories": sorted(self.manifests)}).encode())

    def _tags(self, request: Request, repository: str) -> Response:
        if repository not in self.manifests:
            return _error(404, "NAME_UNKNOWN")
        tags = sorted(t for t in self.manifests[repository] if ":" not in t)
        last = request.query.get("last", [""])[0]
        page = [t for t in tags if t > last][:3]
        more = (
            {"Link": f'</v2/{repository}/tags/list?n=3&last={page[-1]}>; rel="next"'}
            if page and page[-1] != tags[-1]
            else {}
        )
        return Response(200, more, json.dumps({"name": repository, "tags": page}).encode())

    def _manifest(self, request: Request, repository: str, reference: str) -> Response:
        if request.method == "PUT":
            desc = self.add_manifest(repository, reference, request.body, request.headers["content-type"])
            subject = json.loads(request.body).get("subject")
            more = {"OCI-Subject": subject["digest"]} if subject and self.referrers_api else {}
            return Response(
                201, {"Docker-Content-Digest": str(desc.digest), "Location": request.path, **more}
            )
        found = self.manifests.get(repository, {}).get(reference)
        if found is None:
            return _error(404, "MANIFEST_UNKNOWN" if repository in self.manifests else "NAME_UNKNOWN")
        kind, raw = found
        if request.method == "DELETE":
            if not self.deletes_tags and ":" not in reference:
                return _error(405, "UNSUPPORTED")
            gone = [
                name
                for name, content in self.manifests[repository].items()
                if name == reference or (":" in reference and content == found)
            ]
            for name in gone:
                del self.manifests[repository][name]
            return Response(202)
        return Response(200, {"Content-Type": kind, "Docker-Content-Digest": str(Digest.of(raw))}, raw)

    def _blob(self, request: Request, repository: str, digest: str) -> Response:
        data = self.blobs.get(repository, {}).get(digest)
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        return ranged(request, data) if self.ranges else Response(200, {}, data)

    def _start(self, request: Request, repository: str) -> Response:
        mount, origin = request.query.get("mount", [""])[0], request.query.get("from", [""])[0]
        if mount and mount in self.blobs.get(origin, {}):
            self.blobs.setdefault(repository, {})[mount] = self.blobs[origin][mount]
            return Response(
                201, {"Location": f"/v2/{repository}/blobs/{mount}", "Docker-Content-Digest": mount}
            )
        key = uuid.uuid4().hex
        self.uploads[key] = bytearray()
        return Response(202, {"Location": f"/v2/{repository}/blobs/uploads/{key}?state=x", "Range": "0-0"})

    def _upload(self, request: Request, repository: str, key: str) -> Response:
        upload = self.uploads.get(key)
        if upload is None:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        here = {"Location": f"/v2/{repository}/blobs/uploads/{key}?state=x"}
        if request.method == "GET":
            return Response(204, {**here, "Range": f"0-{max(len(upload) - 1, 0)}"})
        start = request.headers.get("content-range", f"{len(upload)}-").partition("-")[0]
        if request.body and int(start) != len(upload):
            return Response(416, {**here, "Range": f"0-{len(upload) - 1}"})
        upload += request.body
        if request.method == "PATCH":
            return Response(202, {**here, "Range": f"0-{len(upload) - 1}"})
        digest = request.query["digest"][0]
        if str(Digest.of(bytes(upload))) != digest:
            return _error(400, "DIGEST_INVALID")
        self.blobs.setdefault(repository, {})[digest] = bytes(upload)
        del self.uploads[key]
        return Response(
            201, {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
        )

    def _referrers(self, request: Request, repository: str, digest: str) -> Response:
        if not self.referrers_api:
            return Response(404, {}, b"404 page not found")
        entries = []
        for name, (kind, raw) in self.manifests.get(repository, {}).items():
            body = json.loads(raw)
            if ":" in name and (body.get("subject") or {}).get("digest") == digest:
                entries.append(
                    Descriptor(kind, Digest.parse(name), len(raw), artifact_type=body.get("artifactType", ""))
                )
        return Response(200, {"Content-Type": mt.OCI_INDEX}, Index.compose(entries).raw)

    def _v1_ping(self, request: Request) -> Response:
        return (
            Response(200, {"X-Docker-Registry-Standalone": "true"}, b'{"standalone":true}')
            if self.searchable
            else Response(404)
        )

    def _v1_search(self, request: Request) -> Response:
        if not self.searchable:
            return Response(404)
        term = request.query.get("q", [""])[0]
        found = [
            {
                "name": f"{self.host}/{name}",
                "description": f"about {name}",
                "star_count": n,
                "is_official": n > 2,
                "is_automated": False,
            }
            for n, name in enumerate(sorted(self.manifests))
            if term in name
        ]
        return Response(
            200, {}, json.dumps({"query": term, "num_results": len(found), "results": found}).encode()
        )


_ROUTES = (
    (r"/v2/?", "_ping"),
    (r"/v2/_catalog", "_catalog"),
    (r"/v2/(.+)/tags/list", "_tags"),
    (r"/v2/(.+)/manifests/([^/]+)", "_manifest"),
    (r"/v2/(.+)/blobs/uploads/", "_start"),
    (r"/v2/(.+)/blobs/uploads/([^/]+)", "_upload"),
    (r"/v2/(.+)/blobs/([^/]+)", "_blob"),
    (r"/v2/(.+)/referrers/([^/]+)", "_referrers"),
    (r"/v1/_ping", "_v1_ping"),
    (r"/v1/search", "_v1_search"),
)


class TokenServer:
    """Bearer tokens: accounts with passwords, tokens that know their scopes."""

    def __init__(
        self,
        realm: str,
        *,
        accounts: dict[str, str] | None = None,
        anonymous: bool = False,
        post_only: bool = False,
    ) -> None:
        self.realm = realm
        self.accounts = accounts or {}
        self.anonymous = anonymous
        self.post_only = post_only
        self.identity = "identity-token"
        self.issued: dict[str, set[str]] = {}
        self.narrow = False  # serves only the first scope asked for

    def answer(self, request: Request) -> Response:
        if request.method == "GET" and self.post_only:
            return Response(405)
        fields = parse_qs(request.body.decode()) if request.method == "POST" else request.query
        user = ""
        if request.method == "POST":
            if fields.get("grant_type") == ["refresh_token"]:
                user = "bob" if fields["refresh_token"] == [self.identity] else ""
            elif self.accounts.get(fields["username"][0]) == fields["password"][0]:
                user = fields["username"][0]
        elif given := request.headers.get("authorization", ""):
            name, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
            user = name if self.accounts.get(name) == password else ""
        if not user and not (self.anonymous and "authorization" not in request.headers):
            return Response(401, {}, b'{"details":"incorrect username or password"}')
        scopes = " ".join(fields.get("scope", [])).split()
        if self.narrow:
            scopes = scopes[:1]
        token = uuid.uuid4().hex
        self.issued[token] = {
            f"{s.rpartition(':')[0]}:{a}"
            for s in scopes
            for a in s.rpartition(":")[2].split(",")
            if user or a == "pull"
        }
        body: dict[str, Any] = {"token": token, "expires_in": 300}
        if fields.get("offline_token") == ["true"]:
            body["refresh_token"] = self.identity
        return Response(200, {}, json.dumps(body).encode())

    def check(self, request: Request, given: str) -> Response | None:
        match = re.match(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/", request.path)
        wanted = set()
        if match:
            actions = ["pull"] if request.method in ("GET", "HEAD") else ["pull", "push"]
            wanted = {f"repository:{match[1]}:{a}" for a in actions}
        have = self.issued.get(given.removeprefix("Bearer "))
        if have is not None and wanted <= have:
            return None
        scope = (
            f',scope="repository:{match[1]}:{",".join(sorted(w.rpartition(":")[2] for w in wanted))}"'
            if match
            else ""
        )
        error = ',error="insufficient_scope"' if have is not None else ""
        return _error(
            401,
            "UNAUTHORIZED",
            {"WWW-Authenticate": f'Bearer realm="{self.realm}",service="registry"{scope}{error}'},
        )


def ranged(request: Request, data: bytes) -> Response:
    """A body, or the range of it that was asked for."""
    match = re.match(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not match:
        return Response(200, {"Content-Type": "application/octet-stream"}, data)
    first, last = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
    if first >= len(data):
        return Response(416)
    return Response(206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1])


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(
        {"errors": [{"code": code, "message": code.lower().replace("_", " "), "detail": None}]}
    ).encode()
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, body)


class _Server(QuietServer):
    registry: FakeRegistry


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            self.command,
            parts.path,
            parse_qs(parts.query),
            {k.lower(): v for k, v in self.headers.items()},
            self.body(),
        )
        self._send(self.server.registry.answer(request))

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        headers = {"Content-Length": str(len(response.body)), **response.headers}
        if response.chunks is not None:
            headers.pop("Content-Length")
            headers["Connection"] = "close"
            self.close_connection = True
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if response.chunks is not None:
            for chunk in response.chunks:
                self.wfile.write(chunk)
        elif response.cut >= 0:
            self.wfile.write(response.body[: response.cut])
            self.close_connection = True
        else:
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any


@contextmanager
def running() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    with registry.server.running():
        yield registry


# --- images -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    config: bytes
    layers: tuple[bytes, ...]
    manifest: Manifest
    tars: tuple[bytes, ...] = ()


def tar_of(files: dict[str, bytes]) -> bytes:
    """A plain tar with these files, always the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o755, 1_000_000_000
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_image(
    *files: dict[str, bytes],
    platform: str = "linux/amd64",
    compress: str = "gzip",
    docker: bool = False,
    config: dict[str, Any] | None = None,
) -> Image:
    """An image with one layer for each dict of files."""
    tars = [tar_of(f) for f in files]
    os_name, arch, *variant = platform.split("/")
    body: dict[str, Any] = {
        "architecture": arch,
        "os": os_name,
        "created": "2024-01-02T03:04:05Z",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(t).hexdigest()}" for t in tars]},
        "history": [
            {"created": "2024-01-02T03:04:05Z", "created_by": f"layer {n}"} for n in range(len(tars))
        ],
    }
    if variant:
        body["variant"] = variant[0]
    raw = json.dumps(body).encode()
    if compress == "gzip":
        layers = [gzip.compress(t, 6, mtime=0) for t in tars]
        kind = mt.DOCKER_LAYER + ".gzip" if docker else mt.OCI_LAYER_GZIP
    elif compress == "zstd":
        import zstandard

        layers, kind = [zstandard.compress(t) for t in tars], mt.OCI_LAYER + "+zstd"
    else:
        layers, kind = tars, mt.DOCKER_LAYER if docker else mt.OCI_LAYER
    manifest = Manifest.compose(
        Descriptor.of(raw, mt.DOCKER_CONFIG if docker else mt.OCI_CONFIG),
        [Descriptor.of(blob, kind) for blob in layers],
        media_type=mt.DOCKER_MANIFEST if docker else mt.OCI_MANIFEST,
    )
    return Image(raw, tuple(layers), manifest, tuple(tars))


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def client_config(tmp: Path, **more: Any) -> ClientConfig:
    """A configuration that reads nothing of this machine and does not dawdle."""
    values: dict[str, Any] = {
        "docker_config": tmp / "docker",
        "home": tmp / "home",
        "etc": tmp / "etc",
        "backoff": 0.01,
        "read_timeout": 10.0,
        "connect_timeout": 5.0,
        "longest_pause": 3.0,
    }
    return ClientConfig(**{**values, **more})


_clients: list[RegistryClient] = []


def client(tmp: Path, **more: Any) -> RegistryClient:
    """A client that `close_clients` closes after the test."""
    _clients.append(RegistryClient(client_config(tmp, **more)))
    return _clients[-1]


def engine_on(root: Path) -> Engine:
    """An engine whose client `close_clients` closes after the test."""
    made = Engine(root)
    _clients.append(made.services.registry)
    return made


def close_clients() -> None:
    while _clients:
        _clients.pop().close()
