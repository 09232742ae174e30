"""What `network create --opt` may say: the options of Docker's bridge driver that have their effect here."""

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
    "com.docker.network.enable_ipv4": True,
    "com.docker.network.enable_ipv6": False,
}
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class NetworkInvalid(Invalid):
    """The network cannot be as wanted."""


def check(options: Mapping[str, str]) -> None:
    """Raises NetworkInvalid for an option without an effect, a value that cannot be, or the name of an interface of the
    host that is no bridge."""
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
