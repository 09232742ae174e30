"""Which handler serves which path. A name in a path may contain slashes, so a route is what stands before and after."""

from __future__ import annotations

from boxwright.api import containers, images, streams, system
from boxwright.api.exchange import Exchange, decoded
from boxwright.errors import NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.api.exchange import ApiReply
    from boxwright.engine import Engine

    Handler = Callable[[Exchange, Engine, str], ApiReply | None]


class PageNotFound(NotFound):
    """No endpoint of Docker's."""


class NotServed(Unsupported):
    """An endpoint of Docker's that is not served."""


def table() -> dict[tuple[str, str], Handler]:
    """(method, path) -> handler; ``*`` in a path is the name that the handler is given. GET serves HEAD."""
    return {**system.ROUTES, **images.ROUTES, **containers.ROUTES, **streams.ROUTES}


# What Docker has and this does not: by how the path begins.
_ABSENT = {
    "/session": "BuildKit's sessions are not served; DOCKER_BUILDKIT=0 builds without them",
    "/grpc": "BuildKit's control API is not served; DOCKER_BUILDKIT=0 builds without it",
    "/plugins": "there are no plugins here",
}
_SWARM = ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs")
_KNOWN = (
    "/auth",
    "/build",
    "/commit",
    "/containers",
    "/distribution",
    "/exec",
    "/images",
    "/networks",
    "/volumes",
)


class NoSwarm(NotServed):
    """Docker's answer of a machine that is in no swarm."""

    http_status = 503


class Router:
    """The table, asked by method and path."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Handler] = {}
        self._named: list[tuple[str, str, str, Handler]] = []
        for (method, pattern), handler in table().items():
            before, star, after = pattern.partition("*")
            if star:
                self._named.append((method, before, after, handler))
            else:
                self._exact[method, pattern] = handler
        self._named.sort(key=lambda row: -len(row[2]))  # `/images/a/json` is no image `a/json`

    def find(self, method: str, path: str) -> tuple[Handler, str]:
        """The handler and the name in the path. Raises PageNotFound, NotServed, RequestRefused."""
        methods = (method, "GET") if method == "HEAD" else (method,)
        for way in methods:
            if handler := self._exact.get((way, path)):
                return handler, ""
            for own, before, after, handler in self._named:
                if own == way and path.startswith(before) and path.endswith(after):
                    name = path[len(before) : len(path) - len(after)]
                    if name and len(path) > len(before) + len(after):
                        return handler, decoded(name)
        first = "/" + path.split("/")[1]
        if first in _ABSENT:
            raise NotServed(f"{method} {first}: {_ABSENT[first]}")
        if first in _SWARM:
            raise NoSwarm("This node is not a swarm manager: there are no swarms here")
        if first in _KNOWN:
            raise NotServed(f"{method} {path[:200]} is not served yet")
        raise PageNotFound("page not found")
