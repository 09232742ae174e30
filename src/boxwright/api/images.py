"""Images that are here: list, inspect, history, names, removal."""

from __future__ import annotations

from boxwright.api.asked import RequestRefused
from boxwright.api.exchange import ApiReply, Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from boxwright.engine import Engine
    from boxwright.image.describe import ImageSummary
    from boxwright.image.maintain import Pruned
    from boxwright.image.remove import Removed

_FILTERS = ("before", "since", "dangling", "label", "label!", "reference", "until")


def seconds(text: str) -> int:
    """RFC 3339 as unix seconds, 0 for none."""
    from boxwright.spec.times import unix_seconds

    return int(unix_seconds(text) or 0) if text else 0


def summary(image: ImageSummary, version: tuple[int, int]) -> dict[str, Any]:
    """Docker's image.Summary, as this version of the API has it."""
    nameless = version < (1, 43)
    out = {
        "Containers": -1,
        "Created": seconds(image.created),
        "Id": image.id,
        "Labels": image.labels or None,
        "ParentId": image.parent,
        "RepoDigests": list(image.digests) or (["<none>@<none>"] if nameless and not image.tags else []),
        "RepoTags": list(image.tags) or (["<none>:<none>"] if nameless and not image.digests else []),
        "SharedSize": -1,
        "Size": image.size,
    }
    return out if version >= (1, 44) else {**out, "VirtualSize": image.size}


def _list(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    query = exchange.query
    filters = query.filters(*_FILTERS)
    if query.text("filter"):  # before 1.25
        filters.setdefault("reference", []).append(query.text("filter"))
    found = engine.images.list(all=query.switch("all"), filters=filters)
    return ApiReply([summary(image, exchange.version) for image in found])


def platform(text: str) -> str | None:
    """``os/arch/variant``, or the JSON of it that newer clients send. Raises RequestRefused."""
    if not text.startswith("{"):
        return text or None
    from boxwright.api.asked import Fields, parsed

    fields = Fields(parsed(text, "platform"), "platform")
    words = [fields.text("os"), fields.text("architecture"), fields.text("variant")]
    if not words[0] or not words[1]:
        raise RequestRefused(f"invalid platform {text[:80]}: wanted os and architecture")
    return "/".join(word for word in words if word)


def _inspect(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    found = engine.images.inspect(name, platform=platform(exchange.query.text("platform")))
    if exchange.version < (1, 44):
        found = {**found, "VirtualSize": found["Size"]}
    return ApiReply(found)


def _history(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    lines = [
        {
            "Id": line.id or "<missing>",
            "Created": seconds(line.created),
            "CreatedBy": line.created_by,
            "Tags": list(line.tags) or None,
            "Size": line.size,
            "Comment": line.comment,
        }
        for line in engine.images.history(name)
    ]
    return ApiReply(lines)


def named(repository: str, tag: str) -> str:
    """A name out of the two parameters that it comes in; the tag may be a digest."""
    if not tag:
        return repository
    return f"{repository}@{tag}" if ":" in tag else f"{repository}:{tag}"


def _tag(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    repository = exchange.query.text("repo")
    if not repository:
        raise RequestRefused("invalid tag: repo is missing")
    engine.images.tag(name, named(repository, exchange.query.text("tag")))
    return ApiReply(status=201)


def removed(lines: Iterable[Removed]) -> list[dict[str, str]]:
    """Docker's image.DeleteResponse."""
    return [{line.action: line.what} for line in lines]


def _remove(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    query = exchange.query
    lines = engine.images.remove(name, force=query.switch("force"), prune=not query.switch("noprune"))
    return ApiReply(removed(lines))


def _prune(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    """Unnamed images; ``dangling=false`` all that no container uses."""
    from boxwright.image.filters import PRUNE_FILTERS, flag

    filters = exchange.query.filters("dangling", *PRUNE_FILTERS)
    everything = flag(filters, "dangling") is False
    filters.pop("dangling", None)
    pruned = engine.images.prune(everything=everything, filters=filters)
    return ApiReply({"ImagesDeleted": removed(pruned.removed) or None, "SpaceReclaimed": pruned.bytes})


def gone(pruned: Pruned, key: str) -> ApiReply:
    """The answer of the prunes of what has no names of images."""
    return ApiReply({key: [line.what for line in pruned.removed], "SpaceReclaimed": pruned.bytes})


def _builds_prune(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    from boxwright.image.buildcache import FILTERS

    query = exchange.query
    filters = query.filters(*FILTERS)
    if query.text("keep-storage").strip("0"):
        raise RequestRefused("keep-storage is not served: prune by filters, or with all=1")
    return gone(engine.builds.prune(everything=query.switch("all"), filters=filters), "CachesDeleted")


def _search(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    """What a registry finds."""
    query = exchange.query
    found = engine.registry.search(query.text("term"), limit=query.number("limit") or 25)
    lines = [
        {
            "name": one.name,
            "description": one.description,
            "star_count": one.stars,
            "is_official": one.official,
            "is_automated": False,
        }
        for one in found
    ]
    return ApiReply(lines)


ROUTES = {
    ("GET", "/images/json"): _list,
    ("GET", "/images/search"): _search,
    ("GET", "/images/*/json"): _inspect,
    ("GET", "/images/*/history"): _history,
    ("POST", "/images/*/tag"): _tag,
    ("DELETE", "/images/*"): _remove,
    ("POST", "/images/prune"): _prune,
    ("POST", "/build/prune"): _builds_prune,
}
