"""What `network create --opt` and `network connect --driver-opt` may say: the options of Docker's drivers that have
their effect here."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.errors import Invalid

_BRIDGE = "com.docker.network.bridge."
NAME, MASQUERADE, HOST = _BRIDGE + "name", _BRIDGE + "enable_ip_masquerade", _BRIDGE + "host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"
_MTU_LEAST, _MTU_MOST = 68, 65535  # RFC 791; the largest that a bridge takes
# Others whose only value here is what always holds.
_FIXED = {
    _BRIDGE + "enable_icc": True,
    _BRIDGE + "default_bridge": False,
}
# Of an endpoint.
INTERFACE, SYSCTLS = "com.docker.network.endpoint.ifname", "com.docker.network.endpoint.sysctls"
SHARED = ("macvlan", "ipvlan")  # drivers that share an interface of the host
_SHARED_OPTIONS = {
    "macvlan": ("parent", "macvlan_mode", MTU),
    "ipvlan": ("parent", "ipvlan_mode", "ipvlan_flag", MTU),
}
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class NetworkInvalid(Invalid):
    """The network cannot be as wanted."""


def check(options: Mapping[str, str], driver: str = "bridge") -> None:
    """Raises NetworkInvalid for an option without an effect, a value that cannot be, or the name of an interface of the
    host that is no bridge. `driver` is "any" for a configuration alone, which is checked when a network uses it."""
    if driver == "any":
        return
    if driver in SHARED:
        _check_shared(driver, options)
        return
    for key, value in options.items():
        if key == MTU:
            mtu(options)
        elif key == MASQUERADE:
            _flag(key, value)
        elif key == HOST:
            from boxwright.network.values import ipv4

            ipv4(value)
        elif key in _FIXED:
            if _flag(key, value) is not _FIXED[key]:
                raise NetworkInvalid(f"network option {key}={value} is not supported")
        elif key != NAME:
            raise NetworkInvalid(
                f"unknown network option {key!r}", hint=f"known are {NAME}, {MASQUERADE}, {HOST}, {MTU}"
            )
    if NAME in options:
        _check_interface(options[NAME])


def _check_shared(driver: str, options: Mapping[str, str]) -> None:
    for key in options:
        if key not in _SHARED_OPTIONS[driver]:
            raise NetworkInvalid(
                f"unknown network option {key!r}", hint=f"{driver} knows {', '.join(_SHARED_OPTIONS[driver])}"
            )
    mtu(options)
    mode(driver, options)
    if name := options.get("parent", ""):
        from boxwright.network import parents
        from boxwright.network.netlink import Netlink
        from boxwright.network.values import interface

        netlink = Netlink()
        try:
            link = netlink.link(name) if name == "lo" else netlink.link(interface(name))
            if link is not None and link.loopback:
                raise NetworkInvalid(f"loopback interface is not a valid {driver} parent link")
            if link is None and netlink.link(base := parents.sub_interface(name)[0]) is None:
                raise NetworkInvalid(f"invalid parent {name}: there is no interface {base}")
        finally:
            netlink.close()


def parent(options: Mapping[str, str], network: str) -> str:
    """The interface that a macvlan or ipvlan network (by its id) shares."""
    if name := options.get("parent", ""):
        return name
    from boxwright.network.parents import made_up

    return made_up(network)


def mode(driver: str, options: Mapping[str, str]) -> str:
    """How such a network shares it, as `network.parents` has it; '' for other drivers. Raises NetworkInvalid."""
    if driver not in SHARED:
        return ""
    from boxwright.network.parents import IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES

    def one(key: str, known: Mapping[str, int], usual: str, what: str) -> str:
        text = options.get(key) or usual
        if text not in known:
            raise NetworkInvalid(
                f"requested {what} '{text}' is not valid, '{usual}' {what.split()[1]} is the {driver} driver default",
                hint=f"known are {', '.join(known)}",
            )
        return text

    if driver == "macvlan":
        return one("macvlan_mode", MACVLAN_MODES, usual="bridge", what="macvlan mode")
    flag = one("ipvlan_flag", IPVLAN_FLAGS, usual="bridge", what="ipvlan flag")
    return f"{one('ipvlan_mode', IPVLAN_MODES, usual='l2', what='ipvlan mode')},{flag}"


def check_endpoint(options: Mapping[str, str]) -> None:
    """What an endpoint may be told. Raises NetworkInvalid, Unfit."""
    from boxwright.network.values import interface

    for key, value in options.items():
        if key == INTERFACE:
            interface(value)
        elif key == SYSCTLS:
            sysctls(options, "eth0")
        else:
            raise NetworkInvalid(f"unknown driver option {key!r}", hint=f"known are {INTERFACE}, {SYSCTLS}")


def sysctls(options: Mapping[str, str], interface: str) -> tuple[tuple[str, str], ...]:
    """Path below /proc/sys/net and value, of ``net.ipv4.conf.IFNAME.log_martians=1,…``. Raises NetworkInvalid."""
    found = []
    for text in filter(None, options.get(SYSCTLS, "").split(",")):
        name, equals, value = text.partition("=")
        words = name.split(".")
        if (
            not equals
            or len(words) != 5
            or (words[0], words[3]) != ("net", "IFNAME")
            or words[1] not in ("ipv4", "ipv6", "mpls")
            or not all(word and _WORD.issuperset(word) for word in words)
            or not value.isprintable()
        ):
            raise NetworkInvalid(
                f"unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
        found.append((f"{words[1]}/{words[2]}/{interface}/{words[4]}", value))
    return tuple(found)


def _check_interface(name: str) -> None:
    from boxwright.network.bridge import NoBridge, check_kind
    from boxwright.network.netlink import Netlink
    from boxwright.network.values import interface

    netlink = Netlink()
    try:
        link = netlink.link(interface(name))
        if link is not None:
            check_kind(link)
    except NoBridge as error:
        raise NetworkInvalid(f"invalid {NAME}: {error.strerror}") from error
    finally:
        netlink.close()


def bridge_name(options: Mapping[str, str]) -> str:
    """'' = one is made up."""
    return options.get(NAME, "")


def masquerade(options: Mapping[str, str]) -> bool:
    """Whether the host stands in for containers outside, as it does unless it is told not to."""
    return _flag(MASQUERADE, options.get(MASQUERADE, "true"))


def host_address(options: Mapping[str, str]) -> str:
    """Where ports are published that name no address; '' = everywhere."""
    return options.get(HOST, "").replace("0.0.0.0", "")


def mtu(options: Mapping[str, str]) -> int:
    """0 = the default route's."""
    text = options.get(MTU, "")
    if text and not (text.isascii() and text.isdecimal() and _MTU_LEAST <= int(text[:9]) <= _MTU_MOST):
        raise NetworkInvalid(f"invalid {MTU}: {text!r}: wanted {_MTU_LEAST} to {_MTU_MOST}")
    return int(text or 0)


def _flag(key: str, value: str) -> bool:
    if value.lower() not in _TRUE + _FALSE:
        raise NetworkInvalid(f"invalid {key}: {value!r}: wanted true or false")
    return value.lower() in _TRUE
