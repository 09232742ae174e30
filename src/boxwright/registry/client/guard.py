"""Connections to URLs that others wrote: none to this machine, nor to its link (where clouds have metadata services).

The address is checked on the open connection, so that a name which first leads elsewhere (DNS rebinding) does not get
around the check. Through a proxy, the proxy decides."""

from __future__ import annotations

import ipaddress
import socket

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from boxwright.errors import Denied


class LocalAddress(Denied):
    """A server is on this machine or at its link, where the asker must not get to."""


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _Tls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


def guard(manager: urllib3.PoolManager) -> None:
    """From now on its connections raise LocalAddress where they must not go."""
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


def check(host: str) -> list[str]:
    """For a program that makes its own connections: every address that a name has now, to which it is to be held.
    Raises LocalAddress."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    for family, kind, _, _, address in found:
        with socket.socket(family, kind) as probe:
            try:
                probe.connect((address[0], 9, *address[2:]))  # nothing is sent
            except OSError:
                if _is_elsewhere(str(address[0])):
                    continue  # no way there
                raise _refused(host, str(address[0])) from None
            _checked(probe, host)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


def _refused(host: str, address: str) -> LocalAddress:
    return LocalAddress(
        f"{host} is at {address}, which is this machine or its link",
        hint="an untrusted build may not fetch from there",
    )


def _checked(connection: socket.socket, host: str) -> socket.socket:
    peer, own = connection.getpeername()[0], connection.getsockname()[0]
    # A connection to one of the machine's own addresses comes from that address.
    if peer == own or not _is_elsewhere(peer):
        connection.close()
        raise _refused(host, peer)
    return connection


def _is_elsewhere(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return not (
        address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    )
