"""The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf as Docker writes them (libnetwork etchosts,
resolvconf). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from boxwright.network import values

_HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)
_PUBLIC = ("8.8.8.8", "8.8.4.4")  # Docker's choice when the host has nothing but a local resolver


def hosts(extra: Iterable[str], addresses: Iterable[tuple[str, Sequence[str]]], *, gateway: str = "") -> str:
    """`extra` are ``name:address`` of --add-host (``host-gateway`` is the host as the container sees it); `addresses`
    are the container's own, each with its names. Raises Unfit."""
    lines = [_line(*parse_extra(entry, gateway=gateway)) for entry in extra]
    lines += [_line(values.address(address), *map(values.host_name, names)) for address, names in addresses]
    return "".join([_HOSTS, *lines])


def parse_extra(entry: str, *, gateway: str = "") -> tuple[str, str]:
    """Address and name of ``name:address``. Raises Unfit."""
    name, _, address = entry.partition(":")
    if address == "host-gateway":
        address = gateway or "127.0.0.1"
    return values.address(address), values.host_name(name)


def _line(address: str, *names: str) -> str:
    return f"{address}\t{' '.join(names)}\n"


def host_names(hostname: str, domainname: str = "") -> list[str]:
    """What a container calls itself in /etc/hosts: its full name, and that up to the first dot."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    return list(dict.fromkeys([full, full.partition(".")[0] or full]))


def host_hosts(text: str, extra: Iterable[str]) -> str:
    """The host's own file with --add-host, for ``--network host``. Raises Unfit."""
    more = "".join(_line(*parse_extra(entry)) for entry in extra)
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
    container shares the host's network); `internal` is the network's own name server. Raises Unfit."""
    for what, texts in (("name server", servers), ("search domain", search)):
        for text in texts:
            values.word(text, what)
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
    words = [word for text in options for word in text.split()] or found["options"]
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
        address = values.address(server.partition("%")[0])
    except values.Unfit:
        return False
    return address.startswith("127.") or address == "::1"
