"""Isolation, address translation and published ports: rules for iptables, loaded in one call of ``iptables-restore``,
and for ip6tables where a network has IPv6.

What is refused is refused in the table `mangle`, before the table `filter` is asked, since others (Docker, say)
accept there what passes through one of their bridges. What is accepted is accepted in `filter`, where others may
drop what they do not know. No rule's effect depends on its place among others of ours.

Each of our rules carries a comment that names its network or container; rules without one are never touched. This
module is given values only (`network.values`): no text from outside is in a script. Imported by the supervisor: C
modules only."""

from __future__ import annotations

import os

from boxwright.network.netlink import IPV4, IPV6, Rules
from boxwright.network.values import Forward, Plumbing, Unfit, identity, interface
from boxwright.runtime.spawn import SUPERVISORS, locate, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
_UP_GATEWAY = 3  # RTF_UP, RTF_GATEWAY
_ATTEMPTS = 3  # listing and loading are two steps, and another process may come between


def open_network(network: Plumbing) -> None:
    """Separate a bridge from every other and, unless it is internal, connect it to the host's network. Idempotent.
    Raises OSError."""
    tag = _network_tag(network.id)
    for family in _of(network):
        script = _network_rules(network, six=family.six)
        known = (family.counts([tag], _OF_NETWORKS) or {}).get(tag)
        if known == sum(map(len, script.values())):
            continue
        if known == 0:
            family.restore(script, declare=_CHAIN in "".join(script.get("filter", ())))
        else:
            family.replace(tag, script, declare=_CHAIN in "".join(script.get("filter", ())))


def close_forwarding(*, six: bool = False) -> None:
    """Let nothing be forwarded that no rule accepts. Raises OSError."""
    _Family(six=six).restore({"filter": [":FORWARD DROP [0:0]"]})


def close_network(network: Plumbing) -> None:
    """Take a network's rules away, also when its bridge has gone; idempotent. Raises OSError."""
    for family in _of(network):
        family.remove(_network_tag(network.id), _OF_NETWORKS)


def are_open(networks: Iterable[Plumbing]) -> bool:
    """Whether the rules of all of them are there; True where the kernel cannot be asked cheaply (iptables-legacy)."""
    networks = tuple(networks)
    for family in _FAMILIES:
        wanted = {
            _network_tag(network.id): sum(map(len, _network_rules(network, six=family.six).values()))
            for network in networks
            if family in _of(network)
        }
        known = family.counts(wanted, _OF_NETWORKS) if wanted else wanted
        if known is not None and known != wanted:
            return False
    return True


def publish(ports: Iterable[Port], container: str) -> None:
    """Send host ports to the container; relayed ones have no rules. Raises OSError, Unfit."""
    for family, forwards in _forwards(ports):
        family.restore(_port_rules(forwards, container))


def publish_again(ports: Iterable[Port], container: str) -> None:
    """The same where some of the rules may be there already. Raises OSError, Unfit."""
    for family, forwards in _forwards(ports):
        family.replace(_container_tag(container), _port_rules(forwards, container))


def are_published(ports: Iterable[Port], container: str) -> bool:
    """Whether the rules of all of them are there; True where the kernel cannot be asked cheaply. Raises Unfit."""
    tag = _container_tag(container)
    for family, forwards in _forwards(ports):
        wanted = sum(map(len, _port_rules(forwards, container).values()))
        known = family.counts([tag], _OF_CONTAINERS)
        if known is not None and known[tag] != wanted:
            return False
    return True


def unpublish(ports: Iterable[Port], container: str) -> None:
    """The opposite; rules that are gone are no error. Raises OSError, Unfit."""
    for family, forwards in _forwards(ports):
        script = _port_rules(forwards, container)
        try:
            family.restore({table: ["-D" + rule[2:] for rule in rules] for table, rules in script.items()})
        except OSError:
            family.remove(_container_tag(container), _OF_CONTAINERS)


def forget(container: str) -> None:
    """Remove whatever rules a container left. Raises OSError."""
    for family in _FAMILIES:
        family.remove(_container_tag(container), _OF_CONTAINERS)


def told() -> bool:
    """Whether the kernel tells of rules that are removed (`network.removals`)."""
    return not any(family.silent for family in _FAMILIES)


def tags(networks: Iterable[str], container: str) -> tuple[bytes, ...]:
    """What the comments of rules of a container and its networks (both by their ids) hold. Raises Unfit."""
    return (*(_network_tag(network).encode() for network in networks), _container_tag(container).encode())


def _network_tag(network: str) -> str:
    return f"boxwright-net:{identity(network)}"


def _container_tag(container: str) -> str:
    return f"boxwright:{identity(container)}"


def _network_rules(network: Plumbing, *, six: bool) -> Script:
    bridge, comment = network.bridge, f"-m comment --comment {_network_tag(network.id)}"
    block = network.subnet6 if six else network.subnet
    script: Script = {"filter": [f"-I FORWARD -i {bridge} -o {bridge} {comment} -j ACCEPT"]}
    if not six:
        # The host's own loopback is routable from the bridge, for the sake of ports published there.
        script["raw"] = [f"-A PREROUTING -d 127.0.0.0/8 -i {bridge} {comment} -j DROP"]
    if network.internal or not block:
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
        f"-A POSTROUTING -s {block} -o {bridge} -m conntrack --ctstate DNAT {comment} -j MASQUERADE",
    ]
    if network.masquerade:
        script["nat"].append(f"-A POSTROUTING -s {block} ! -o {bridge} {comment} -j MASQUERADE")
    return script


def _forwards(ports: Iterable[Port]) -> Iterator[tuple[_Family, list[Forward]]]:
    """Each family that has any, with what rules are made of."""
    found = [port.forward() for port in ports if port.forwarded]
    for family in _FAMILIES:
        own = [forward for forward in found if forward.six is family.six]
        if own:
            yield family, own


def _port_rules(ports: Iterable[Forward], container: str) -> Script:
    rules = []
    for port in ports:
        where = f"-d {port.host_ip}" if port.host_ip else "-m addrtype --dst-type LOCAL"
        target = f"[{port.address}]" if port.six else port.address
        tail = (
            f"-p {port.protocol} -m {port.protocol} --dport {port.host_port} -m comment --comment "
            f"{_container_tag(container)} -j DNAT --to-destination {target}:{port.port}"
        )
        if port.six:
            # From ::1 nothing can be forwarded: those connections are relayed (`supervisor.relay`). Link-local callers
            # could not be answered.
            rules += [f"-A OUTPUT {where} {'' if port.host_ip else '! -d ::1/128 '}{tail}"]
            rules += [f"-A PREROUTING ! -s fe80::/10 {where} {tail}"]
            continue
        rules.append(f"-A OUTPUT {where} {tail}")
        if not port.only_here:
            rules.append(f"-A PREROUTING {where} {tail}")
    return {"nat": rules}


def _ways_out(*, six: bool) -> list[str]:
    """Interfaces of default routes."""
    with open("/proc/net/ipv6_route" if six else "/proc/net/route") as routes:
        found = [line.split() for line in routes]
    if six:
        # destination, its length, source, its length, next hop, metric, use, references, flags, interface
        return [
            fields[9]
            for fields in found
            if len(fields) > 9 and fields[1] == "00" and int(fields[8], 16) & _UP_GATEWAY == _UP_GATEWAY
        ]
    return [fields[0] for fields in found if len(fields) > 7 and fields[1] == fields[7] == "00000000"]


def _outgoing(*, six: bool) -> list[str]:
    """The shared chain, made anew: everywhere but to the bridges of others; the way out of the host is no such
    bridge."""
    rules = [f"-A {_CHAIN} -o {name} -j RETURN" for name in _OTHERS]
    try:
        rules[:0] = [f"-A {_CHAIN} -o {interface(name)} -j ACCEPT" for name in _ways_out(six=six)]
    except (OSError, Unfit):
        pass
    return [f":{_CHAIN} - [0:0]", *rules, f"-A {_CHAIN} -j ACCEPT"]


class _Family:
    """The rules of IPv4, or of IPv6, and the programs that load and list them."""

    __slots__ = ("six",)

    def __init__(self, *, six: bool) -> None:
        self.six = six

    def _name(self, what: str) -> str:
        return f"{'ip6tables' if self.six else 'iptables'}-{what}"

    @property
    def silent(self) -> bool:
        """Whether the program keeps its rules where netlink neither lists nor tells them."""
        return "legacy" in os.path.realpath(_program(self._name("restore")))

    def replace(self, tag: str, script: Script, *, declare: bool = False) -> None:
        def change(listed: Script) -> Script:
            old = _deletions(listed, tag)
            return {table: old.get(table, []) + script.get(table, []) for table in _TABLES}

        self._relisted(change, declare=declare)

    def remove(self, tag: str, places: Places) -> None:
        def change(listed: Script) -> Script:
            script = _deletions(listed, tag)
            left = [r for r in listed.get("filter", []) if r.split()[-2:] == ["-j", _CHAIN]]
            if left and len(left) == sum(r.endswith(f" -j {_CHAIN}") for r in script.get("filter", [])):
                script["filter"] += [f"-F {_CHAIN}", f"-X {_CHAIN}"]
            return script

        if self.counts([tag], places) != {tag: 0} and _program(self._name("restore")):
            self._relisted(change)

    def _relisted(self, change: Callable[[Script], Script], *, declare: bool = False) -> None:
        for left in reversed(range(_ATTEMPTS)):
            try:
                self.restore(change(self._listed()), declare=declare)
                return
            except OSError:
                if not left:
                    raise

    def _listed(self) -> Script:
        """Table -> its rules."""
        tables: Script = {}
        rules: list[str] = []
        for line in _run([self._name("save")], b"").decode("utf-8", "surrogateescape").splitlines():
            if line.startswith("*"):
                rules = tables.setdefault(line[1:], [])
            elif line.startswith("-A "):
                rules.append(line)
        return tables

    def restore(self, script: Script, *, declare: bool = False) -> None:
        lines = []
        for table in _TABLES:
            rules = script.get(table, [])
            if rules:
                shared = _outgoing(six=self.six) if declare and table == "filter" else ()
                lines += [f"*{table}", *shared, *rules, "COMMIT"]
        if lines:
            argv = [self._name("restore"), "--noflush", "--wait"]
            _run(argv, "".join(f"{line}\n" for line in lines).encode())

    def counts(self, tags: Iterable[str], places: Places) -> dict[str, int] | None:
        """How many rules of these chains carry each comment, as the kernel says; None where only a program could
        tell."""
        if self.silent:
            return None
        try:
            rules = Rules(IPV6 if self.six else IPV4)
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


_FAMILIES = (_Family(six=False), _Family(six=True))


def _of(network: Plumbing) -> tuple[_Family, ...]:
    """IPv4 always: what has no addresses of it is to pass none on. The bridge of a network without IPv6 has it
    switched off."""
    return _FAMILIES if network.subnet6 else _FAMILIES[:1]


def _deletions(listed: Script, tag: str) -> Script:
    # What iptables-save printed goes back to it unchanged: rules that carry our comment are made of our own words.
    return {
        table: ["-D" + rule[2:] for rule in rules if _comment(rule) == tag] for table, rules in listed.items()
    }


def _comment(rule: str) -> str:
    words = iter(rule.split())
    return next((next(words, "").strip('"') for word in words if word == "--comment"), "")


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
