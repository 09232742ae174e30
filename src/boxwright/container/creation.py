"""Creating a container: its record, its volumes, its writable layer."""

from __future__ import annotations

import time
from collections.abc import Iterable

from boxwright.container import hostside, spec
from boxwright.container.config import (
    ContainerConfig,
    ContainerConfigInvalid,
    EndpointConfig,
    MountSpec,
    PortBinding,
)
from boxwright.container.endpoints import check_no_wish, check_wish, wish_of
from boxwright.container.mounts import chosen_mounts, parse_volumes_from
from boxwright.container.options import (
    check_line,
    check_unicode,
    check_word,
    parse_address,
    parse_host,
    parse_mac,
    parse_signal,
)
from boxwright.container.records import Container, MountPoint
from boxwright.container.shipments import check as check_log
from boxwright.errors import Unsupported
from boxwright.files.disk import sync_below
from boxwright.rootfs.root import Root
from boxwright.runtime.emulation import check_emulation
from boxwright.spec.digest import DiffID
from boxwright.spec.platform import host as platform
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.catalog import ContainerCatalog
    from boxwright.image.services import Services

_HOSTNAME = 64  # bytes: __NEW_UTS_LEN
_ID_DIGITS = 4  # of an image ID, as containerd's image service has it


class Creation:
    """One `create`. Raises ContainerConfigInvalid, NoSuchImage and EmulationMissing when it is made."""

    def __init__(self, services: Services, catalog: ContainerCatalog, config: ContainerConfig) -> None:
        self._services, self._catalog = services, catalog
        # Shorter ones are names that could be pulled: `run b` is no accident of an ID that begins so.
        self._image = (
            None
            if config.rootfs
            else services.images_store.resolve_platform(
                config.image, config.platform or None, digits=_ID_DIGITS
            )
        )
        if self._image is not None:
            check_emulation(self._image.config.platform)
        proxies = hostside.client_proxies(services.settings.docker_config / "config.json", config.env)
        self._config = replace(_on_bridge(config), env=(*proxies, *config.env))
        self._check()

    def _check(self) -> None:
        config = self._config
        check_unicode(config.to_json())
        if config.auto_remove and config.restart.name not in ("no", ""):
            raise ContainerConfigInvalid("conflicting options: cannot specify both --restart and --rm")
        check_log(config.log_driver, config.log_opts)
        if config.stop_signal:
            parse_signal(config.stop_signal)
        if config.workdir and not config.workdir.startswith("/"):
            raise ContainerConfigInvalid(
                f"the working directory '{config.workdir}' is invalid, it needs to be an absolute path"
            )
        self._check_options()
        _check_ports(config.ports)
        if config.network.startswith("container:") or config.network == "host":
            self._check_shared()
        spec.chosen_capabilities(config, None)
        spec.limits_of(config, {})
        spec.resources_of(config.limits)

    def _check_options(self) -> None:
        config = self._config
        for endpoint in config.endpoints:
            if endpoint.mac:
                parse_mac(endpoint.mac)
        hostside.check_limits(config.limits)
        if config.runtime:
            try:
                self._services.runtime_for(config.runtime)
            except Unsupported as error:
                raise ContainerConfigInvalid(
                    f"unknown or invalid runtime name: {config.runtime}", hint=str(error)
                ) from error
        if config.network == "container:":
            raise ContainerConfigInvalid("invalid network mode: invalid container format container:<name|id>")
        for name, what in ((config.hostname, "hostname"), (config.domainname, "domainname")):
            if name and config.uts == "host":
                raise ContainerConfigInvalid(f"conflicting options: {what} and the UTS mode")
        self._check_words()

    def _check_words(self) -> None:
        """What becomes text of /etc/hosts, hostname, resolv.conf and the name server's list."""
        config = self._config
        if len(config.hostname.encode()) > _HOSTNAME or len(config.domainname.encode()) > _HOSTNAME:
            raise ContainerConfigInvalid(
                f"a host name and a domain name have at most {_HOSTNAME} bytes (sethostname(2))"
            )
        for what, texts in (
            ("hostname", [config.hostname] if config.hostname else []),
            ("domain name", [config.domainname] if config.domainname else []),
            ("network alias", [alias for endpoint in config.endpoints for alias in endpoint.aliases]),
            ("link", [link for endpoint in config.endpoints for link in endpoint.links]),
            ("link", config.links),
            ("host", [entry.partition(":")[0] for entry in map(parse_host, config.extra_hosts)]),
            ("DNS search domain", config.dns_search),
        ):
            for text in texts:
                check_word(text, what)
        for text in config.dns_options:
            check_line(text, "DNS option")
        for text in config.dns:
            parse_address(text)

    def _check_shared(self) -> None:
        config = self._config
        if config.network == "host":
            return
        for value, flag in (
            (config.hostname, "hostname and the network mode"),
            (config.dns, "dns and the network mode"),
            (config.extra_hosts, "custom host-to-IP mapping and the network mode"),
            (config.ports or config.publish_all, "port publishing and the container type network mode"),
            (config.expose, "port exposing and the container type network mode"),
        ):
            if value:
                raise ContainerConfigInvalid(f"conflicting options: {flag}")

    def row(self, identity: str) -> dict[str, Any]:
        """The row of table `containers`, without id and name; volumes are made here. Raises ContainerConfigInvalid."""
        config, image = self._config, self._image
        hostname = self._hostname(identity)
        image_name = config.image or config.rootfs
        said = image.config.config if image is not None else {}
        merged = spec.merge_config(said, config, hostname=hostname, image_name=image_name)
        spec.argv(merged)
        linked = self._links()
        networks = self._networks()
        points, anonymous, fill = self._mounts(merged)
        record = {
            "config": replace(config, name="").to_json(),
            "merged": merged,
            "image": image_name,
            "image_id": str(image.image_id) if image is not None else "",
            "platform": str(image.config.platform if image is not None else platform()),
            "mounts": [p.to_json() for p in points],
            "anonymous": anonymous,
            "fill": fill,
            "hostname": hostname,
            "networks": networks,
            **({"links": linked} if linked else {}),
        }
        return {
            "image": str(image.target.digest) if image is not None else "",
            "layers": " ".join(map(str, image.layers)) if image is not None else "",
            "created": time.time(),
            "record": record,
        }

    def _links(self) -> list[list[str]]:
        if not self._config.links:
            return []
        from boxwright.container import links

        return links.resolved(self._config, self._catalog.get)

    def _hostname(self, identity: str) -> str:
        config = self._config
        if config.hostname:
            return config.hostname
        if config.network == "host" or config.uts == "host":
            import os

            return os.uname().nodename
        if config.network.startswith("container:"):
            return str(self._catalog.get(config.network.partition(":")[2]).record["hostname"])
        return identity[:12]

    def _networks(self) -> dict[str, Any]:
        """Network -> wishes, the one that `--network` names first. Raises NoSuchNetwork, ContainerConfigInvalid."""
        config = self._config
        mode = config.network
        if mode in ("host", "none") or mode.startswith("container:"):
            if mode.startswith("container:"):
                self._catalog.get(mode.partition(":")[2])
            for endpoint in config.endpoints:
                check_no_wish(mode, wish_of(endpoint))
            return {}
        out: dict[str, Any] = {}
        first = next((e for e in config.endpoints if e.network == mode), EndpointConfig(mode))
        for endpoint in (first, *(e for e in config.endpoints if e.network != mode)):
            network = self._catalog.networks.get(endpoint.network)
            check_wish(network, wish := wish_of(endpoint))
            out[network.name] = wish
        return out

    # --- mounts --------------------------------------------------------------------------------

    def _mounts(self, merged: dict[str, Any]) -> tuple[list[MountPoint], list[str], list[str]]:
        """Mount points by target, names of the anonymous volumes made for them, targets to fill from the image. What
        fails leaves no anonymous volume."""
        chosen = chosen_mounts(self._config.mounts)
        anonymous: list[str] = []
        try:
            return self._made(merged, chosen, anonymous)
        except BaseException:
            for name in anonymous:
                self._catalog.volumes.remove(name)
            raise

    def _made(
        self, merged: dict[str, Any], chosen: Iterable[MountSpec], anonymous: list[str]
    ) -> tuple[list[MountPoint], list[str], list[str]]:
        points: dict[str, MountPoint] = {}
        fill: list[str] = []
        for text in self._config.volumes_from:
            name, readonly = parse_volumes_from(text)
            for value in self._catalog.get(name).record["mounts"]:
                point = MountPoint.from_json(value)
                points[point.target] = replace(point, writable=point.writable and not readonly)
        for wanted in chosen:
            points[wanted.target] = self._point(wanted, anonymous, fill)
        for target in image_volumes(merged):
            if target not in points:
                points[target] = self._point(MountSpec(kind="volume", target=target), anonymous, fill)
        return sorted(points.values(), key=lambda p: p.target), anonymous, fill

    def _point(self, wanted: MountSpec, anonymous: list[str], fill: list[str]) -> MountPoint:
        from boxwright.container.mounts import MountInvalid

        mode = (
            ",".join([*(["ro"] if wanted.flag and wanted.readonly else []), *wanted.options])
            if wanted.flag
            else ""
        )
        if wanted.kind == "bind":
            self._host_path(wanted)
            return MountPoint(
                kind="bind",
                target=wanted.target,
                source=wanted.source,
                writable=not wanted.readonly,
                propagation=wanted.propagation or "rprivate",
                recursive=wanted.recursive,
                options=tuple(o for o in wanted.options if o == "rro"),
                mode=mode,
            )
        if wanted.kind == "tmpfs":
            return MountPoint(
                kind="tmpfs", target=wanted.target, writable=not wanted.readonly, options=wanted.options
            )
        if wanted.kind == "image":
            image = self._services.images_store.resolve_platform(wanted.source, None, digits=_ID_DIGITS)
            return MountPoint(
                kind="image",
                target=wanted.target,
                name=wanted.source,
                writable=False,
                propagation="rprivate",
                subpath=wanted.subpath,
                layers=tuple(map(str, image.layers)),
                target_digest=str(image.target.digest),
            )
        if wanted.source and "/" in wanted.source:
            raise MountInvalid(f"invalid volume name: {wanted.source}")
        volume, _ = self._catalog.volumes.create(
            wanted.source,
            driver=wanted.driver,
            labels=dict(wanted.labels),
            options=dict(wanted.driver_opts),
            anonymous=not wanted.source,
        )
        if not wanted.source:
            anonymous.append(volume.name)
        if not wanted.nocopy and not volume.options and not wanted.subpath:
            fill.append(wanted.target)
        return MountPoint(
            kind="volume",
            target=wanted.target,
            source=str(volume.data),
            name=volume.name,
            writable=not wanted.readonly,
            driver="local",
            mode=mode or ("z" if wanted.flag or wanted.source else ""),
            subpath=wanted.subpath,
        )

    @staticmethod
    def _host_path(wanted: MountSpec) -> None:
        import os

        if os.path.lexists(wanted.source):
            return
        if not wanted.create:
            raise ContainerConfigInvalid(
                f'invalid mount config for type "bind": bind source path does not exist: {wanted.source}'
            )
        try:
            os.makedirs(wanted.source, 0o755)
        except OSError as error:
            raise ContainerConfigInvalid(
                f"error while creating mount source path '{wanted.source}': {(error.strerror or '').lower()}"
            ) from error

    def prepare(self, container: Container) -> None:
        """The writable layer, durably."""
        if self._config.rootfs:
            from boxwright.container.hosttree import HostTree

            HostTree(self._config.rootfs)
        snapshots = self._services.snapshots
        snapshots.prepare(container.id, [DiffID.parse(d) for d in container.layers])
        workdir = str(container.merged.get("WorkingDir") or "")
        if workdir not in ("", "/") and not self._config.rootfs:
            self._make_workdir(container, workdir)

    def _make_workdir(self, container: Container, workdir: str) -> None:
        """Docker makes a missing working directory when the container is created."""
        from boxwright.layer.view import LayersView

        with LayersView([self._services.layers.get(DiffID.parse(d)) for d in container.layers]) as view:
            found = view.resolve(workdir)
            if found is not None and found.type != "dir":
                raise ContainerConfigInvalid(f"Cannot mkdir: {workdir} is not a directory")
        if found is not None:
            return
        with Root(self._services.snapshots.open(container.id)) as root:
            try:
                root.makedirs(workdir)
            except NotADirectoryError as error:  # below a file
                raise ContainerConfigInvalid(f"Cannot mkdir: {workdir} is not a directory") from error
            sync_below(root.fd)


def _on_bridge(config: ContainerConfig) -> ContainerConfig:
    """`default` is another name of the network `bridge`."""

    def plain(name: str) -> str:
        return "bridge" if name in ("", "default") else name

    endpoints = tuple(replace(e, network=plain(e.network)) for e in config.endpoints)
    return replace(config, network=plain(config.network), endpoints=endpoints)


def _check_ports(ports: Iterable[PortBinding]) -> None:
    """Raises Unfit."""
    from boxwright.network import values

    for port in ports:
        values.protocol(port.protocol)
        values.port(port.container_port)
        if port.host_ip:
            values.address(port.host_ip)
        if port.host_port:
            values.port(port.host_port)


def image_volumes(merged: dict[str, Any]) -> list[str]:
    """Targets of VOLUME, cleaned. Raises ContainerConfigInvalid."""
    import posixpath

    found = {"/" + posixpath.normpath("/" + str(v)).lstrip("/") for v in merged.get("Volumes") or ()}
    for target in found:
        if target == "/" or "\0" in target:
            raise ContainerConfigInvalid(
                f"invalid volume {target!r} of the image: it cannot be mounted there"
            )
    return sorted(found)
