"""`search`: Docker Hub's index, a registry's own ``/v1/search`` (moby daemon/pkg/registry/search*.go), or its
catalog."""

from __future__ import annotations

from itertools import islice
from urllib.parse import urlencode

from boxwright.errors import Denied, Invalid, NotFound, Unsupported
from boxwright.registry.client.client import RegistryClient
from boxwright.registry.client.endpoint import RegistryHost
from boxwright.registry.client.errors import RegistryRefused, clean, json_object
from boxwright.registry.client.session import RegistrySession
from boxwright.spec.values import dataclass, replace

DEFAULT_LIMIT = 25
MOST = 100
_INDEX = RegistryHost(name="index.docker.io", scheme="https", domain="docker.io")
_LONGEST = 4 << 20  # bytes of an answer
_SCOPES = ("registry:catalog:search",)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One repository. Registries that only have a catalog know no description, stars or officials."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


def split_term(text: str) -> tuple[str, str]:
    """The host ('' = Docker Hub) and what to look for there. ``host:port`` alone means everything on it."""
    head, slash, rest = text.partition("/")
    port = head.rpartition(":")[2]
    is_host = "." in head or ":" in head or head == "localhost" if slash else ":" in head and port.isdigit()
    if is_host and head not in ("docker.io", "index.docker.io"):
        return head, rest
    term = rest if is_host else text
    return "", term.removeprefix("library/")


def search(
    client: RegistryClient,
    text: str,
    *,
    limit: int = 0,
    stars: int = 0,
    official: bool | None = None,
    automated: bool = False,
) -> list[SearchResult]:
    """Repositories that match, in the registry's order. `limit` 0 means 25; `official` None means either.

    Raises Invalid for a limit beyond 100, Unavailable, and what access raises.
    """
    limit = limit or DEFAULT_LIMIT
    if not 1 <= limit <= MOST:
        raise Invalid(f"limit {limit} is outside the range of [1, {MOST}]")
    host, term = split_term(text)
    if host:
        found = _private(client=client, host=host, term=term, limit=limit)
    else:
        session = RegistrySession(
            http=client.http,
            config=client.config,
            host=_INDEX,
            credential=lambda: client.credentials.get("docker.io"),
        )
        found = _index(session, term, limit)
    kept = [
        f
        for f in found
        if f.stars >= stars and official in (None, f.official) and (f.automated or not automated)
    ]
    return kept[:limit]


def _private(client: RegistryClient, host: str, term: str, limit: int) -> list[SearchResult]:
    session = client.session(client.hosts.origin(host))
    session.introduce(_SCOPES)
    try:
        found = _index(session, term, limit)
        # Some registries leave their own name out, which would make Docker Hub's repositories of them.
        return [f if f.name.startswith(f"{host}/") else replace(f, name=f"{host}/{f.name}") for f in found]
    except (NotFound, Unsupported, RegistryRefused, Denied):
        pass  # no index there: most registries only have a catalog
    try:
        matching = (name for name in client.catalog(host) if term.lower() in name.lower())
        return [SearchResult(f"{host}/{clean(name)}") for name in islice(matching, MOST)]
    except (NotFound, Unsupported) as error:
        raise SearchUnsupported(
            f"{host} can neither be searched nor listed",
            hint="ask for a repository by name: boxwright tags ls HOST/REPOSITORY",
        ) from error


class SearchUnsupported(Unsupported):
    """The registry offers no search."""


def _index(session: RegistrySession, term: str, limit: int) -> list[SearchResult]:
    what = f"search on {session.host.name}"
    url = f"{session.origin}/v1/search?{urlencode({'q': term, 'n': limit})}"
    _, raw = session.document(
        url, limit=_LONGEST, scopes=_SCOPES, headers={"X-Docker-Token": "true"}, what=what
    )
    body = json_object(raw, what)
    results = body.get("results")
    if not isinstance(results, list):
        raise RegistryRefused(f"{what}: the answer holds no results")
    return [f for entry in results if (f := _found(entry)) is not None]


def _found(entry: object) -> SearchResult | None:
    if not isinstance(entry, dict) or not entry.get("name"):
        return None
    stars = entry.get("star_count")
    return SearchResult(
        name=clean(entry["name"]),
        description=clean(entry.get("description") or ""),
        stars=stars if isinstance(stars, int) else 0,
        official=entry.get("is_official") is True,
        automated=entry.get("is_automated") is True,
    )
