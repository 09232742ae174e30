"""Where the API listens: a unix socket, loopback, or a socket that systemd has bound."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from boxwright.errors import Conflict, Denied, Invalid, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST = 3  # the first descriptor of systemd's (sd_listen_fds(3))
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class SocketInUse(Conflict):
    """Another process answers at this address."""


class SocketRefused(Denied):
    """Listening there would open the machine to others."""


class SocketInvalid(Invalid):
    """The address is none that can be listened on."""


class SocketUnusable(Unavailable):
    """The system does not give the address."""


class Listener:
    """A socket that listens; `close` takes its file away again, if it is ours."""

    def __init__(self, sock: socket.socket, shown: str, path: Path | None = None) -> None:
        self.socket, self.shown, self._path = sock, shown, path
        self._inode = os.stat(path).st_ino if path is not None else 0

    @property
    def local(self) -> bool:
        """Whether it is a unix socket, which no browser reaches."""
        return self.socket.family == socket.AF_UNIX

    def close(self) -> None:
        """Idempotent; a file that another process has put there meanwhile stays."""
        self.socket.close()
        if self._path is not None:
            with suppress(FileNotFoundError):
                if os.stat(self._path).st_ino == self._inode:
                    self._path.unlink()


def listen(address: str, environ: Mapping[str, str], *, group: str = "docker") -> Listener:
    """``unix:///path``, ``tcp://127.0.0.1:2375`` or ``fd://``. Raises SocketInUse, SocketRefused, SocketInvalid,
    SocketUnusable."""
    scheme, colon, rest = address.partition("://")
    if not colon:
        raise SocketInvalid(
            f"cannot listen on {address}", hint="wanted unix:///PATH, tcp://127.0.0.1:PORT or fd://"
        )
    try:
        if scheme == "unix":
            return _unix(Path(rest), group)
        if scheme == "tcp":
            return _tcp(address, rest)
        if scheme == "fd":
            return _inherited(environ)
    except (OSError, ValueError, OverflowError) as error:
        raise SocketUnusable(f"cannot listen on {address}: {error}") from error
    raise SocketInvalid(
        f"cannot listen on {address}: {scheme} is no scheme of a socket",
        hint="wanted unix:///PATH, tcp://127.0.0.1:PORT or fd://",
    )


def _unix(path: Path, group: str) -> Listener:
    if not path.is_absolute():
        raise SocketInvalid(f"cannot listen on unix://{path}: the path is not absolute")
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    info = path.parent.stat()
    if info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX:
        raise SocketRefused(
            f"cannot listen on {path}: others may write in {path.parent}, and could put a socket of theirs there",
            hint=f"chmod go-w {path.parent}",
        )
    _make_room(path)
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)  # no client connects before the group and the mode are set
    try:
        sock.bind(str(path))
        os.chown(path, -1, _group(group))
        os.chmod(path, 0o660)
        sock.listen(128)
        return Listener(sock, f"unix://{path}", path)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)


def _make_room(path: Path) -> None:
    """Take the socket of a process that has ended away."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketInUse(f"cannot listen on {path}: it is there, and no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:  # its queue is full: a process is there
            pass
    raise SocketInUse(
        f"cannot listen on {path}: another process answers there",
        hint="end it, or name another socket with -H unix:///PATH",
    )


def _group(name: str) -> int:
    """-1 where there is none, and for another user than root, who may not give files away."""
    import grp

    if os.geteuid() != 0:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return -1


def _tcp(address: str, rest: str) -> Listener:
    host, _, port = rest.rstrip("/").rpartition(":")
    host = host.strip("[]")
    if host not in _LOOPBACK:
        raise SocketRefused(
            f"cannot listen on {address}: who reaches it is root on this machine, and there is no TLS here",
            hint="listen on 127.0.0.1 or a unix socket, and reach it from elsewhere with "
            "DOCKER_HOST=ssh://user@machine",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, int(port)), family=family, backlog=128)
    bound = sock.getsockname()[1]
    return Listener(sock, f"tcp://{f'[{host}]' if ':' in host else host}:{bound}")


def _inherited(environ: Mapping[str, str]) -> Listener:
    if environ.get("LISTEN_PID") != str(os.getpid()) or environ.get("LISTEN_FDS", "0") == "0":
        raise SocketInvalid(
            "cannot listen on fd://: no socket was handed over", hint="a systemd socket unit starts this"
        )
    if environ["LISTEN_FDS"] != "1":
        raise SocketInvalid(f"cannot listen on fd://: {environ['LISTEN_FDS']} sockets were handed over")
    os.set_inheritable(_FIRST, False)
    sock = socket.socket(fileno=_FIRST)
    if sock.family != socket.AF_UNIX:
        sock.detach()
        raise SocketRefused("cannot listen on fd://: the socket that was handed over is no unix socket")
    return Listener(sock, "fd://")
