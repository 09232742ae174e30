"""What may reach a script of rules, a name server's entry or a file of the container: checked values, never text.

Everything here is rebuilt from what it parsed, so that nothing of the original text can be left in it. Imported by
the supervisor: C modules only.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from boxwright.errors import Invalid

PROTOCOLS = ("tcp", "udp", "sctp")
_HEX = frozenset("0123456789abcdef")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_INTERFACE = _LETTERS | frozenset("_.-")
_LONGEST_INTERFACE = 15  # IFNAMSIZ without its NUL
_RESERVED = (
    "lo",
    "all",
    "default",
)  # the last two are directories beside the interfaces' under /proc/sys/net
_LONGEST_HOST_NAME = 253  # RFC 1035, section 2.3.4, without the root


class Unfit(Invalid):
    """The text is no such value."""


def port(value: object) -> int:
    """1 to 65535; digits or a number. Raises Unfit."""
    number = int(value) if isinstance(value, str) and _is_number(value) else value
    if type(number) is not int or not 0 < number < 65536:
        raise Unfit(f"invalid port: {value!r}: wanted 1 to 65535")
    return number


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def protocol(text: object) -> str:
    """tcp, udp or sctp. Raises Unfit."""
    for known in PROTOCOLS:
        if known == text:
            return known
    raise Unfit(f"invalid protocol: {text!r}: wanted {', '.join(PROTOCOLS)}")


def ipv4(text: str) -> str:
    """An IPv4 address. Raises Unfit."""
    try:
        return inet_ntop(AF_INET, inet_pton(AF_INET, text))
    except (OSError, ValueError, TypeError) as error:
        raise Unfit(f"invalid IPv4 address: {text!r}") from error


def address(text: str) -> str:
    """An IP address of either kind, without a zone. Raises Unfit."""
    if ":" not in text:
        return ipv4(text)
    try:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, text))
    except (OSError, ValueError) as error:
        raise Unfit(f"invalid IP address: {text!r}") from error


def ipv6(text: str) -> str:
    """An IPv6 address, without a zone. Raises Unfit."""
    if ":" not in text:
        raise Unfit(f"invalid IPv6 address: {text!r}")
    return address(text)


def subnet(text: str) -> str:
    """``10.1.0.0/16`` or ``fd00::/64``. Raises Unfit."""
    base, slash, length = text.partition("/")
    if not slash or not _is_number(length) or int(length) > (128 if ":" in base else 32):
        raise Unfit(f"invalid subnet: {text!r}")
    return f"{address(base)}/{int(length)}"


def interface(text: str) -> str:
    """The name of a network interface that may be ours. Raises Unfit."""
    if not text or not _INTERFACE.issuperset(text) or text[0] not in _LETTERS or text in _RESERVED:
        raise Unfit(
            f"invalid interface name: {text!r}",
            hint="letters, digits and _.- are allowed, and a letter or digit comes first",
        )
    if len(text) > _LONGEST_INTERFACE:
        raise Unfit(f"the interface name {text} is longer than {_LONGEST_INTERFACE} characters")
    return text


def identity(text: str) -> str:
    """The first 12 digits of a container's or network's id. Raises Unfit."""
    short = text[:12]
    if len(short) != 12 or not _HEX.issuperset(short):
        raise Unfit(f"invalid id: {text!r}")
    return short


def host_name(text: str, what: str = "host name") -> str:
    """A name for a line of /etc/hosts or resolv.conf, or for a name server: one word. Raises Unfit."""
    if not text or len(text) > _LONGEST_HOST_NAME or not _is_word(text) or "," in text:
        raise Unfit(f"invalid {what}: {text!r}", hint="one word without blanks and commas is wanted")
    return text


def word(text: str, what: str) -> str:
    """One word of resolv.conf. Raises Unfit."""
    if not text or not _is_word(text):
        raise Unfit(f"invalid {what}: {text!r}: one word is wanted")
    return text


def _is_word(text: str) -> bool:
    return text.isprintable() and not any(c.isspace() for c in text)


class Forward:
    """One published port: what arrives for `host_port` at `host_ip` ('' = every address of the host) is for `port` of
    the container's `address`, which is of the same family (`six`: IPv6). The constructor raises Unfit."""

    __slots__ = ("address", "host_ip", "host_port", "port", "protocol", "six")

    def __init__(
        self, kind: object, host_ip: str, host_port: object, inside: str, inside_port: object
    ) -> None:
        self.protocol = protocol(kind)
        self.address = address(inside)
        self.six = ":" in self.address
        own = ipv6 if self.six else ipv4
        self.host_ip = own(host_ip) if host_ip and host_ip not in ("0.0.0.0", "::") else ""
        self.host_port = port(host_port)
        self.port = port(inside_port)

    @property
    def only_here(self) -> bool:
        """Whether the port is for programs of the host alone."""
        return self.host_ip.startswith("127.")


class Plumbing:
    """The host's side of one network: bridge, gateways, rules; '' is the subnet and gateway of a family that it has
    not. The constructor raises Unfit."""

    __slots__ = (
        "bridge",
        "gateway",
        "gateway6",
        "id",
        "internal",
        "masquerade",
        "mtu",
        "subnet",
        "subnet6",
    )

    def __init__(
        self,
        network: str,
        bridge: str,
        *blocks: str,
        mtu: int = 0,
        internal: bool = False,
        masquerade: bool = True,
    ) -> None:
        """`blocks` are subnet and gateway of IPv4, then of IPv6."""
        block, gateway, block6, gateway6 = (*blocks, "", "")[:4]
        self.id = identity(network)
        self.bridge = interface(bridge)
        self.subnet, self.gateway = (subnet(block), ipv4(gateway)) if block else ("", "")
        self.subnet6, self.gateway6 = (subnet(block6), ipv6(gateway6)) if block6 else ("", "")
        if ":" in self.subnet or not (self.subnet or self.subnet6):
            raise Unfit(f"invalid subnet: {block!r}")
        self.mtu = int(mtu)
        self.internal = internal is True
        self.masquerade = masquerade is True

    @property
    def gateways(self) -> tuple[tuple[str, int], ...]:
        """The bridge's addresses, each with the length of its prefix."""
        pairs = ((self.gateway, self.subnet), (self.gateway6, self.subnet6))
        return tuple((gateway, int(block.partition("/")[2])) for gateway, block in pairs if gateway)

    @property
    def mac(self) -> str:
        """The address that a bridge of ours was made with, in one step: by it we know that it is ours."""
        digits = self.id[:8]
        return ":".join(("02", "42", digits[:2], digits[2:4], digits[4:6], digits[6:]))
