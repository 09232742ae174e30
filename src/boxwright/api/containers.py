"""Containers: made, ordered about, looked at, removed. What flows through them is in `streams`."""

from __future__ import annotations

from boxwright.api.asked import RequestRefused
from boxwright.api.exchange import ApiReply, Exchange
from boxwright.api.images import gone, platform
from boxwright.api.listing import row
from boxwright.container.records import WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.container.config import ContainerConfig
    from boxwright.engine import Engine

_DONE = ApiReply(status=204)
_UNCHANGED = ApiReply(status=304)


def _create(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    from boxwright.api.creation import config_of
    from boxwright.runtime.confinement import without_effect

    query = exchange.query
    body = exchange.json()
    if not body.text("Image"):
        raise RequestRefused("no image was named: Image is empty")
    config = config_of(body, query.text("name").removeprefix("/"), platform(query.text("platform")) or "")
    warnings = list(without_effect(config.security_opt))
    container = engine.containers.create(config)
    engine.containers.let_be(container)
    return ApiReply({"Id": container.id, "Warnings": warnings}, status=201)


def _list(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    from boxwright.container.filters import FILTERS, matcher

    query = exchange.query
    filters = query.filters(*FILTERS)
    limit = query.number("limit") or 0
    show_all = query.switch("all") or limit > 0 or any(key in filters for key in ("status", "exited"))
    found = list(engine.containers.list(all=show_all))
    if filters:
        matches = matcher(engine.containers, engine.services.images_store, filters)
        found = [container for container in found if matches(container)]
    found = found[:limit] if limit > 0 else found
    out = [row(engine, container) for container in found]
    if query.switch("size"):
        for line, container in zip(out, found, strict=True):
            line["SizeRw"] = engine.containers.catalog.size(container)
            line["SizeRootFs"] = engine.containers.catalog.root_size(container)
    return ApiReply(out)


def _inspect(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    return ApiReply(engine.containers.inspect(name, size=exchange.query.switch("size")))


def _top(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    titles, rows = engine.containers.top(name, exchange.query.text("ps_args"))
    return ApiReply({"Titles": list(titles), "Processes": [list(words) for words in rows]})


def _start(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    container = engine.containers.get(name)
    if container.refresh().active and container.state.status != "paused":
        return _UNCHANGED
    exchange.followers.start(engine, container)
    return _DONE


def _stop(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    query, container = exchange.query, engine.containers.get(name)
    if not container.refresh().active:
        return _UNCHANGED
    engine.containers.stop(container, signal=query.text("signal"), seconds=_seconds(query.number("t")))
    return _DONE


def _seconds(number: int | None) -> float | None:
    return None if number is None else float(number)


def _restart(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    query, container = exchange.query, engine.containers.get(name)
    engine.containers.restart(container, signal=query.text("signal"), seconds=_seconds(query.number("t")))
    return _DONE


def _kill(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    engine.containers.kill(engine.containers.get(name), exchange.query.text("signal") or "KILL")
    return _DONE


def _pause(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    engine.containers.pause(engine.containers.get(name))
    return _DONE


def _unpause(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    engine.containers.unpause(engine.containers.get(name))
    return _DONE


def _rename(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    engine.containers.rename(engine.containers.get(name), exchange.query.text("name"))
    return _DONE


def _remove(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    query, container = exchange.query, engine.containers.get(name)
    if query.switch("link"):
        raise WrongState("links cannot be removed: remove the container")
    engine.containers.remove(container, force=query.switch("force"), volumes=query.switch("v"))
    return _DONE


def _prune(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    from boxwright.image.filters import PRUNE_FILTERS

    return gone(engine.containers.prune(exchange.query.filters(*PRUNE_FILTERS)), "ContainersDeleted")


def _update(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    """What is 0 or missing stays as it is."""
    from boxwright.api.creation import limits_of, restart_of
    from boxwright.spec.values import fields, replace

    body = exchange.json()
    given, policy = limits_of(body), body.object("RestartPolicy")
    default = type(given)()

    def change(before: ContainerConfig) -> ContainerConfig:
        changed = {
            field.name: getattr(given, field.name)
            for field in fields(given)
            if getattr(given, field.name) != getattr(default, field.name)
        }
        limits = replace(before.limits, **changed)
        restart = restart_of(policy) if policy.text("Name") else before.restart
        return replace(before, limits=limits, restart=restart)

    engine.containers.update(engine.containers.get(name), change)
    return ApiReply({"Warnings": []})


ROUTES = {
    ("POST", "/containers/create"): _create,
    ("GET", "/containers/json"): _list,
    ("GET", "/containers/*/json"): _inspect,
    ("GET", "/containers/*/top"): _top,
    ("POST", "/containers/*/start"): _start,
    ("POST", "/containers/*/stop"): _stop,
    ("POST", "/containers/*/restart"): _restart,
    ("POST", "/containers/*/kill"): _kill,
    ("POST", "/containers/*/pause"): _pause,
    ("POST", "/containers/*/unpause"): _unpause,
    ("POST", "/containers/*/rename"): _rename,
    ("POST", "/containers/*/update"): _update,
    ("DELETE", "/containers/*"): _remove,
    ("POST", "/containers/prune"): _prune,
}
