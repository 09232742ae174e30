"""Isolation, address translation and published ports: rules for iptables, loaded in one call of ``iptables-restore``.

What is refused is refused in the table `mangle`, before the table `filter` is asked, since others (Docker, say)
accept there what passes through one of their bridges. What is accepted is accepted in `filter`, where others may
drop what they do not know. No rule's effect depends on its place among others of ours.

Each of our rules carries a comment that names its network or container; rules without one are never touched. This
module is given values only (`network.values`): no text from outside is in a script. Imported by the supervisor: C
modules only.
"""

from __future__ import annotations

import os

from boxwright.network.netlink import Rules
from boxwright.network.values import Forward, Plumbing, Unfit, identity, interface
from boxwright.runtime.spawn import SUPERVISORS, locate, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from boxwright.network.plan import Port

    Script = dict[str, list[str]]  # table -> rules with -A or -I
    Places = tuple[tuple[str, str], ...]  # tables and chains

_PLACES = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"
_TABLES = ("raw", "mangle", "filter", "nat")
# Where the rules of networks are, and those of containers are not: a look at them is short.
_OF_NETWORKS = (
    ("raw", "PREROUTING"),
    ("mangle", "FORWARD"),
    ("filter", "FORWARD"),
    ("nat", "POSTROUTING"),
)
_OF_CONTAINERS = (("nat", "PREROUTING"), ("nat", "OUTPUT"))
_CHAIN = "BOXWRIGHT"  # what a container sends out, in `filter`
# Bridges of Docker, podman, libvirt, LXC and Incus: whether to let our containers in is left to their own rules.
_OTHERS = ("docker0", "br-+", "podman+", "cni-podman+", "virbr+", "lxcbr+", "lxdbr+", "incusbr+")
_ATTEMPTS = 3  # listing and loading are two steps, and another process may come between


def open_network(network: Plumbing) -> None:
    """Separate a bridge from every other and, unless it is internal, lead it into the world. Idempotent. Raises
    OSError."""
    tag = _network_tag(network.id)
    script = _network_rules(network)
    known = (_counts([tag], _OF_NETWORKS) or {}).get(tag)
    if known == sum(map(len, script.values())):
        return
    if known == 0:
        _restore(script, declare=not network.internal)
    else:
        _replace(tag, script, declare=not network.internal)


def close_forwarding() -> None:
    """Let nothing be forwarded that no rule accepts. Raises OSError."""
    _restore({"filter": [":FORWARD DROP [0:0]"]})


def close_network(network: Plumbing) -> None:
    """Take a network's rules away, also when its bridge has gone; idempotent. Raises OSError."""
    _remove(_network_tag(network.id), _OF_NETWORKS)


def are_open(networks: Iterable[Plumbing]) -> bool:
    """Whether the rules of all of them are there; True where the kernel cannot be asked cheaply (iptables-legacy)."""
    wanted = {
        _network_tag(network.id): sum(map(len, _network_rules(network).values())) for network in networks
    }
    known = _counts(wanted, _OF_NETWORKS)
    return known is None or known == wanted


def publish(ports: Iterable[Port], container: str) -> None:
    """Send host ports to the container; relayed ones have no rules. Raises OSError, Unfit."""
    _restore(_port_rules(_forwards(ports), container))


def publish_again(ports: Iterable[Port], container: str) -> None:
    """The same where some of the rules may be there already. Raises OSError, Unfit."""
    _replace(_container_tag(container), _port_rules(_forwards(ports), container))


def unpublish(ports: Iterable[Port], container: str) -> None:
    """The opposite; rules that are gone are no error. Raises OSError, Unfit."""
    script = _port_rules(_forwards(ports), container)
    try:
        _restore({table: ["-D" + rule[2:] for rule in rules] for table, rules in script.items()})
    except OSError:
        forget(container)


def forget(container: str) -> None:
    """Remove whatever rules a container left. Raises OSError."""
    _remove(_container_tag(container), _OF_CONTAINERS)


def _network_tag(network: str) -> str:
    return f"boxwright-net:{identity(network)}"


def _container_tag(container: str) -> str:
    return f"boxwright:{identity(container)}"


def _network_rules(network: Plumbing) -> Script:
    bridge, comment = network.bridge, f"-m comment --comment {_network_tag(network.id)}"
    script: Script = {
        # The host's own loopback is routable from the bridge, for the sake of ports published there.
        "raw": [f"-A PREROUTING -d 127.0.0.0/8 -i {bridge} {comment} -j DROP"],
        "filter": [f"-I FORWARD -i {bridge} -o {bridge} {comment} -j ACCEPT"],
    }
    if network.internal:
        script["mangle"] = [
            f"-A FORWARD ! -i {bridge} -o {bridge} {comment} -j DROP",
            f"-A FORWARD -i {bridge} ! -o {bridge} {comment} -j DROP",
        ]
        return script
    # Only a published port's rule makes a connection's state DNAT.
    known = "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT"
    script["mangle"] = [
        f"-A FORWARD ! -i {bridge} -o {bridge} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT {comment} -j DROP"
    ]
    script["filter"] += [
        f"-I FORWARD ! -i {bridge} -o {bridge} {known} {comment} -j ACCEPT",
        f"-I FORWARD -i {bridge} ! -o {bridge} {comment} -j {_CHAIN}",
    ]
    script["nat"] = [
        # A port asked for at 127.0.0.1: the container could not answer to that address.
        f"-A POSTROUTING -o {bridge} -m addrtype --src-type LOCAL {comment} -j MASQUERADE",
        # A port of a neighbour asked for through the host: the neighbour would answer past the host.
        f"-A POSTROUTING -s {network.subnet} -o {bridge} -m conntrack --ctstate DNAT {comment} -j MASQUERADE",
    ]
    if network.masquerade:
        script["nat"].append(f"-A POSTROUTING -s {network.subnet} ! -o {bridge} {comment} -j MASQUERADE")
    return script


def _forwards(ports: Iterable[Port]) -> list[Forward]:
    return [port.forward() for port in ports if not port.relayed]


def _port_rules(ports: Iterable[Forward], container: str) -> Script:
    rules = []
    for port in ports:
        where = f"-d {port.host_ip}" if port.host_ip else "-m addrtype --dst-type LOCAL"
        tail = (
            f"{where} -p {port.protocol} -m {port.protocol} --dport {port.host_port} -m comment --comment "
            f"{_container_tag(container)} -j DNAT --to-destination {port.address}:{port.port}"
        )
        rules.append(f"-A OUTPUT {tail}")
        if not port.only_here:
            rules.append(f"-A PREROUTING {tail}")
    return {"nat": rules}


def _outgoing() -> list[str]:
    """The shared chain, made anew: everywhere but to the bridges of others; the way out of the host is no such
    bridge."""
    rules = [f"-A {_CHAIN} -o {name} -j RETURN" for name in _OTHERS]
    try:
        with open("/proc/net/route") as routes:
            found = [line.split() for line in routes]
        rules[:0] = [
            f"-A {_CHAIN} -o {interface(fields[0])} -j ACCEPT"
            for fields in found
            if len(fields) > 7 and fields[1] == fields[7] == "00000000"
        ]
    except (OSError, Unfit):
        pass
    return [f":{_CHAIN} - [0:0]", *rules, f"-A {_CHAIN} -j ACCEPT"]


def _replace(tag: str, script: Script, *, declare: bool = False) -> None:
    def change(listed: Script) -> Script:
        old = _deletions(listed, tag)
        return {table: old.get(table, []) + script.get(table, []) for table in _TABLES}

    _relisted(change, declare=declare)


def _remove(tag: str, places: Places) -> None:
    def change(listed: Script) -> Script:
        script = _deletions(listed, tag)
        left = [r for r in listed.get("filter", []) if r.split()[-2:] == ["-j", _CHAIN]]
        if left and len(left) == sum(r.endswith(f" -j {_CHAIN}") for r in script.get("filter", [])):
            script["filter"] += [f"-F {_CHAIN}", f"-X {_CHAIN}"]
        return script

    if _counts([tag], places) != {tag: 0} and _program("iptables-restore"):
        _relisted(change)


def _deletions(listed: Script, tag: str) -> Script:
    # What iptables-save printed goes back to it unchanged: rules that carry our comment are made of our own words.
    return {
        table: ["-D" + rule[2:] for rule in rules if _comment(rule) == tag] for table, rules in listed.items()
    }


def _comment(rule: str) -> str:
    words = iter(rule.split())
    return next((next(words, "").strip('"') for word in words if word == "--comment"), "")


def _relisted(change: Callable[[Script], Script], *, declare: bool = False) -> None:
    for left in reversed(range(_ATTEMPTS)):
        try:
            _restore(change(_listed()), declare=declare)
            return
        except OSError:
            if not left:
                raise


def _listed() -> Script:
    """Table -> its rules."""
    tables: Script = {}
    rules: list[str] = []
    for line in _run(["iptables-save"], b"").decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("*"):
            rules = tables.setdefault(line[1:], [])
        elif line.startswith("-A "):
            rules.append(line)
    return tables


def _restore(script: Script, *, declare: bool = False) -> None:
    lines = []
    for table in _TABLES:
        rules = script.get(table, [])
        if rules:
            lines += [f"*{table}", *(_outgoing() if declare and table == "filter" else ()), *rules, "COMMIT"]
    if lines:
        _run(["iptables-restore", "--noflush", "--wait"], "".join(f"{line}\n" for line in lines).encode())


def _counts(tags: Iterable[str], places: Places) -> dict[str, int] | None:
    """How many rules of these chains carry each comment, as the kernel says; None where only a program could tell."""
    if "legacy" in os.path.realpath(_program("iptables-restore")):
        return None
    try:
        rules = Rules()
    except OSError:
        return None
    try:
        found = [rule for place in places for rule in rules.chain(*place)]
        return {tag: sum(tag.encode() in rule for rule in found) for tag in tags}
    except PermissionError:  # then none of them is ours
        return dict.fromkeys(tags, 0)
    except OSError:
        return None
    finally:
        rules.close()


def _program(name: str) -> str:
    return locate(name, _PLACES)


def _run(argv: list[str], data: bytes) -> bytes:
    program = _program(argv[0])
    if not program:
        raise OSError(2, f"{argv[0]} is not installed (package iptables)")
    said = os.memfd_create("output")
    asked = os.memfd_create("input")
    try:
        os.write(asked, data)
        os.lseek(asked, 0, os.SEEK_SET)
        pid = start(program, argv, fds={0: asked, 1: said, 2: said}, signals=SUPERVISORS)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output = os.pread(said, os.fstat(said).st_size, 0)
    finally:
        os.close(said)
        os.close(asked)
    if code != 0:
        raise OSError(5, f"{argv[0]} failed: {output.decode('utf-8', 'replace').strip()}")
    return output
