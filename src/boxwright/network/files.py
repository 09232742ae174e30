"""The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf as Docker writes them (libnetwork etchosts, resolvconf). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

_HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)
_PUBLIC = ("8.8.8.8", "8.8.4.4")  # Docker's choice when the host has nothing but a local resolver


def hosts(extra: Iterable[str], addresses: Iterable[tuple[str, Sequence[str]]], *, gateway: str = "") -> str:
    """`extra` are ``name:address`` of --add-host (``host-gateway`` is the host as the container sees it); `addresses`
    are the container's own, each with its names."""
    lines = [_HOSTS]
    for entry in extra:
        name, _, address = entry.partition(":")
        lines.append(f"{gateway or '127.0.0.1' if address == 'host-gateway' else address}\t{name}\n")
    lines += [f"{address}\t{' '.join(names)}\n" for address, names in addresses]
    return "".join(lines)


def host_names(hostname: str, domainname: str = "") -> list[str]:
    """What a container calls itself in /etc/hosts: its full name, and that up to the first dot."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    return list(dict.fromkeys([full, full.partition(".")[0] or full]))


def host_hosts(text: str, extra: Iterable[str]) -> str:
    """The host's own file with --add-host, for ``--network host``."""
    more = "".join(
        f"{'127.0.0.1' if address == 'host-gateway' else address}\t{name}\n"
        for name, _, address in (e.partition(":") for e in extra)
    )
    return text if not more else text.rstrip("\n") + "\n" + more


def resolv(
    host: str,
    *,
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    local: bool = False,
    internal: str = "",
) -> str:
    """From the host's file and ``--dns``, ``--dns-search``, ``--dns-option``. `local` keeps resolvers on loopback (the
    container shares the host's network); `internal` is the network's own name server."""
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in host.splitlines():
        words = line.split("#", 1)[0].split()
        if not words or line.startswith(";"):
            continue
        if words[0] == "nameserver" and len(words) > 1:
            found["nameserver"].append(words[1])
        elif words[0] in ("search", "domain"):
            found["search"] = words[1:]
        elif words[0] == "options":
            found["options"] += words[1:]
    chosen = list(servers) or [s for s in found["nameserver"] if local or not _loopback(s)]
    if not chosen and not local:
        chosen = list(_PUBLIC)
    names = list(search) or found["search"]
    words = list(options) or found["options"]
    if internal:
        chosen = [internal]
        if not any(o.startswith("ndots:") for o in words):
            words = [*words, "ndots:0"]
    if names == ["."]:
        names = []
    lines = [f"nameserver {s}" for s in chosen]
    if names:
        lines.append("search " + " ".join(names))
    if words:
        lines.append("options " + " ".join(words))
    return "\n".join(lines) + "\n"


def _loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False
