"""``--link``: the addresses of other containers under names that the user gives, and on the default bridge the
variables that tell of their ports (docs.docker.com, "Legacy container links")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from boxwright.container.config import ContainerConfig, ContainerConfigInvalid
from boxwright.container.ports import parse_exposed
from boxwright.container.records import Container, NoSuchContainer, WrongState
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Find = Callable[[str], Container]

_BRIDGE = "bridge"
_OWN = ("HOME", "PATH")  # of each container: they tell nothing of the other


@dataclass(frozen=True, slots=True)
class ContainerLink:
    """Another container, what it is called here, and its addresses; '' of a family that it has not."""

    other: Container
    alias: str
    address: str
    address6: str = ""


def resolved(config: ContainerConfig, find: Find) -> list[list[str]]:
    """IDs and aliases of what `config` links to, for the record. Raises ContainerConfigInvalid."""
    if not config.links:
        return []
    kind = "container" if config.network.startswith("container:") else config.network
    if kind in ("container", "host"):
        what = "host type networking" if kind == "host" else "container type network"
        raise ContainerConfigInvalid(
            f"conflicting options: {what} can't be used with links. This would result in undefined behavior"
        )
    out = []
    for link in config.links:
        name, _, alias = link.partition(":")
        try:
            other = find(name)
        except NoSuchContainer as error:
            raise ContainerConfigInvalid(f"could not get container for {name}: {error}") from error
        out.append([other.id, alias or name.lstrip("/")])
    return out


def found(container: Container, find: Find) -> list[ContainerLink]:
    """What it links to, which must run. Raises WrongState, NoSuchContainer."""
    mode = container.config.network
    if mode == "none":
        return []
    out = []
    for identity, alias in container.record.get("links") or ():
        other = find(identity)
        state = other.refresh()
        if not state.running:
            raise WrongState(
                f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}"
            )
        wanted = [_BRIDGE] if mode == _BRIDGE else [*container.record["networks"], *state.networks]
        joined: Mapping[str, Any] = next((state.networks[n] for n in wanted if n in state.networks), {})
        addresses = (joined.get("address", ""), joined.get("address6", ""))
        if not any(addresses):
            raise WrongState(
                f"container {other.id} not attached to default bridge network"
                if mode == _BRIDGE
                else f"container {other.id} is not attached to a network of container {container.id}"
            )
        out.append(ContainerLink(other, alias, *addresses))
    return out


def host_lines(links: Sequence[ContainerLink]) -> list[tuple[str, list[str]]]:
    """For /etc/hosts."""
    return [
        (address, list(dict.fromkeys([k.alias, k.other.short_id, k.other.name])))
        for k in links
        for address in (k.address, k.address6)
        if address
    ]


def variables(container: Container, links: Sequence[ContainerLink]) -> list[str]:
    """What the processes of a container on the default bridge are told; on other networks names are enough."""
    if container.config.network != _BRIDGE:
        return []
    return [entry for link in links for entry in _of(link, container.name)]


def _of(link: ContainerLink, own: str) -> list[str]:
    prefix = link.alias.replace("-", "_").upper()
    exposed = parse_exposed(link.other.merged.get("ExposedPorts") or ())
    ports = sorted(exposed, key=lambda port: (port[1] != "tcp", port[1], port[0]))
    out = [f"{prefix}_PORT={_url(link, *ports[0])}"] if ports else []
    for port, protocol in ports:
        stem = f"{prefix}_PORT_{port}_{protocol.upper()}"
        out += [f"{stem}={_url(link, port, protocol)}", f"{stem}_ADDR={link.address}"]
        out += [f"{stem}_PORT={port}", f"{stem}_PROTO={protocol}"]
    for first, last, protocol in _ranges(ports):
        stem = f"{prefix}_PORT_{first}_{protocol.upper()}"
        out += [f"{stem}_START={_url(link, first, protocol)}", f"{stem}_PORT_START={first}"]
        out += [f"{stem}_END={_url(link, last, protocol)}", f"{stem}_PORT_END={last}"]
    out.append(f"{prefix}_NAME=/{own}/{link.alias}")
    for entry in link.other.merged.get("Env") or ():
        name = str(entry).partition("=")[0]
        if name and name not in _OWN:
            out.append(f"{prefix}_ENV_{entry}")
    return out


def _url(link: ContainerLink, port: int, protocol: str) -> str:
    return f"{protocol}://{link.address}:{port}"


def _ranges(ports: Sequence[tuple[int, str]]) -> list[tuple[int, int, str]]:
    """Runs of two and more ports in a row."""
    runs: list[list[tuple[int, str]]] = []
    for port in ports:
        if runs and runs[-1][-1] == (port[0] - 1, port[1]):
            runs[-1].append(port)
        else:
            runs.append([port])
    return [(run[0][0], run[-1][0], run[0][1]) for run in runs if len(run) > 1]
