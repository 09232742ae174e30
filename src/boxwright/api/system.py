"""The engine as a whole: /_ping, /version, /info, /events, /system/df."""

from __future__ import annotations

import select

from boxwright.api.exchange import ApiReply, Exchange
from boxwright.files.identity import STORE_HEADER, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.engine import Engine


def _ping(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    """OK, and in its headers what a client chooses its ways by."""
    headers = {
        STORE_HEADER: identity(engine.root),
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
    }
    return ApiReply("OK", headers=headers)


def _version(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    return ApiReply(engine.system.version())


def _info(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    return ApiReply(engine.system.info())


def _events(exchange: Exchange, engine: Engine, name: str) -> None:
    """Until `until`, or for as long as the client listens."""
    from boxwright.spec.events import FILTERS

    query = exchange.query
    found = engine.system.events(
        since=query.moment("since"),
        until=query.moment("until"),
        filters=query.filters(*FILTERS),
        ended=exchange.gone,
    )
    exchange.begin()
    for event in found:
        exchange.tell(event)


def _df(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    """What is on the disk, by kind."""
    wanted = exchange.query.texts("type")
    usage = engine.system.df()
    out: dict[str, Any] = {}
    if not wanted or "image" in wanted:
        from boxwright.api.images import summary

        out["LayersSize"] = sum(part.size for part in usage.parts if part.type == "Images")
        out["Images"] = [summary(one, exchange.version) for one in engine.images.list()]
    if not wanted or "container" in wanted:
        from boxwright.api.listing import row

        out["Containers"] = [
            {**row(engine, one), "SizeRw": usage.containers.get(one.id, 0)}
            for one in engine.containers.list(all=True)
        ]
    if not wanted or "volume" in wanted:
        out["Volumes"] = [engine.volumes.inspect(one.name, size=True) for one in engine.volumes.list()]
    if not wanted or "build-cache" in wanted:
        from boxwright.spec.times import rfc3339

        out["BuildCache"] = [
            {
                "ID": item.entry.key,
                "Parents": list(item.entry.parents),
                "Type": item.entry.kind,
                "Description": item.entry.name,
                "InUse": item.entry.in_use,
                "Shared": item.entry.in_use,
                "Size": item.size,
                "CreatedAt": rfc3339(item.entry.created),
                "LastUsedAt": rfc3339(item.entry.last_used) if item.entry.last_used else None,
                "UsageCount": item.entry.uses,
            }
            for item in engine.builds.cache()
        ]
    return ApiReply(out)


def waits_for(exchange: Exchange, fd: int) -> bool:
    """Wait until a descriptor is readable; False when the client has left before."""
    poller = select.poll()
    poller.register(exchange.gone, select.POLLIN)
    poller.register(fd, select.POLLIN)
    return all(ready != exchange.gone for ready, _ in poller.poll())


ROUTES = {
    ("GET", "/_ping"): _ping,
    ("GET", "/version"): _version,
    ("GET", "/info"): _info,
    ("GET", "/events"): _events,
    ("GET", "/system/df"): _df,
}
