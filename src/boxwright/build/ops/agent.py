"""An SSH agent for a RUN step: a socket of its own, with the owner and mode that it asked for, which passes on to the
user's agent. The agent itself answers its own user alone, and its socket belongs to a user of the host."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from pathlib import Path

_MOST = 32  # connections at a time; more wait
_PATIENCE = 10.0  # seconds for a side that does not read
_CHUNK = 1 << 16
_LONGEST = 256 << 10  # bytes of a message, as OpenSSH's agent has it
# What a step may ask: for keys, and for signatures. The rest would change the user's agent.
_ASKED = (11, 13)
_FAILURE = b"\0\0\0\1\5"


class _Questions:
    """What a client says, message by message: those that are passed on, and answers to those that are not."""

    def __init__(self) -> None:
        self._data = bytearray()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """What goes to the agent, and what to the client. Raises OSError for what is no message."""
        self._data += data
        on, back = bytearray(), bytearray()
        while len(self._data) > 4:
            size = 4 + int.from_bytes(self._data[:4], "big")
            if not 5 <= size <= _LONGEST:
                raise OSError("no message of an agent's")
            if len(self._data) < size:
                break
            if self._data[4] in _ASKED:
                on += self._data[:size]
            else:
                back += _FAILURE
            del self._data[:size]
        return bytes(on), bytes(back)


class AgentRelay:
    """Listens at `path`, which no other user may use until its mode is changed, from now to `close`. Without `raw` keys
    and signatures can be asked for, and nothing else."""

    def __init__(self, path: Path, agent: Path, *, raw: bool = False) -> None:
        self._agent = agent
        self._raw = raw
        self._questions: dict[socket.socket, _Questions] = {}  # by client
        self._peers: dict[socket.socket, socket.socket] = {}
        self._finished: set[socket.socket] = set()  # they sent all that they had
        self._selector = selectors.DefaultSelector()
        self._end, self._told = socket.socketpair()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(
                f"/proc/self/fd/{directory}/{path.name}"
            )  # a path may be too long for a socket
            path.chmod(0o600)
            self._listener.listen(_MOST)
        except BaseException:
            self._forget()
            raise
        finally:
            os.close(directory)
        self._selector.register(self._told, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="ssh-agent", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections; the socket's file stays."""
        self._end.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is self._told:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket):
                        self._pass_on(key.fileobj)
        finally:
            for one in list(self._peers):
                one.close()
            self._forget()

    def _forget(self) -> None:
        for one in (self._listener, self._end, self._told, self._selector):
            one.close()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it went away, or no descriptor is left
            time.sleep(0.1)
            return
        try:
            agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError:
            client.close()
            return
        try:
            agent.settimeout(_PATIENCE)
            agent.connect(os.fspath(self._agent))
        except OSError:  # gone meanwhile: the client sees that it gets no answer
            client.close()
            agent.close()
            return
        client.settimeout(_PATIENCE)
        self._peers |= {client: agent, agent: client}
        if not self._raw:
            self._questions[client] = _Questions()
        for one in (client, agent):
            self._selector.register(one, selectors.EVENT_READ)
        if len(self._peers) >= 2 * _MOST:
            self._selector.unregister(self._listener)

    def _pass_on(self, one: socket.socket) -> None:
        other = self._peers.get(one)
        if other is None:  # ended by what came before in the same round
            return
        try:
            data = one.recv(_CHUNK)
            if data:
                if (questions := self._questions.get(one)) is not None:
                    data, answer = questions.take(data)
                    one.sendall(answer)
                other.sendall(data)
                return
            other.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(one, other)
            return
        self._selector.unregister(one)
        self._finished.add(one)
        if other in self._finished:
            self._drop(one, other)

    def _drop(self, *pair: socket.socket) -> None:
        if len(self._peers) == 2 * _MOST:
            self._selector.register(self._listener, selectors.EVENT_READ)
        for one in pair:
            if one not in self._finished:
                self._selector.unregister(one)
            self._finished.discard(one)
            self._questions.pop(one, None)
            del self._peers[one]
            one.close()
