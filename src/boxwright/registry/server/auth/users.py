"""Accounts in an htpasswd file (bcrypt), as Docker's registry and Apache read them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from boxwright.errors import REGISTRY_EXTRA, Invalid, NotFound, Unsupported
from boxwright.files import whole
from boxwright.files.disk import make_directories
from boxwright.files.locks import Lock

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
_COST = 10
_BCRYPT = re.compile(rb"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}\Z")
_RELOAD = 1.0  # seconds for which the file is believed to be unchanged
_SETTLED = 2.0  # seconds after which what a file lacks is gone, not about to be written
_NO_FILE = (0, 0, 0)


class UserInvalid(Invalid):
    """A user name or password cannot be used."""


class AccountUnknown(NotFound):
    """There is no such user."""


class ExtraMissing(Unsupported):
    """A package of the extra `registry` is not installed."""


def extra(module: str, wanted: str = "the registry") -> Any:
    """Import a module of the extra. Raises ExtraMissing."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"{wanted} needs the package {error.name}", hint=REGISTRY_EXTRA) from error


class Users:
    """Reads the file again whenever it changed. `check` blocks for tens of milliseconds the first time; threads may
    share an instance."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._hashes: dict[str, bytes] = {}
        self._stamp: tuple[int, int, int] = _NO_FILE
        self._looked = self._changed = 0.0
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def names(self) -> list[str]:
        """Every account."""
        return sorted(self._load())

    def _load(self) -> dict[str, bytes]:
        now = time.monotonic()
        with self._lock:
            if now - self._looked < _RELOAD and self._looked:
                return self._hashes
            try:
                stat = os.stat(self.path)
                stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                if stamp != self._stamp:
                    self._hashes = parse(self.path.read_bytes())
                    self._stamp, self._changed = stamp, now
            except FileNotFoundError:
                self._hashes, self._stamp = {}, _NO_FILE
            self._looked = now
            return self._hashes

    def settled(self) -> list[str] | None:
        """Every account of a file that stayed the same for two seconds: other programs write it in place, and half of
        it lacks some. None before that, and while there is no file."""
        self._looked = 0.0
        names = self.names()
        with self._lock:
            settled = self._stamp != _NO_FILE and self._looked - self._changed >= _SETTLED
        return names if settled else None

    def exists(self, name: str) -> bool:
        return name in self._load()

    def mark(self, name: str) -> str:
        """Changes with the account's password, and is another for a later account of the same name; '' for none."""
        stored = self._load().get(name)
        return hashlib.sha256(b"account\0" + stored).hexdigest()[:32] if stored is not None else ""

    def _cache_key(self, stored: bytes, password: str) -> bytes:
        return hashlib.blake2b(
            stored + b"\0" + password.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32
        ).digest()

    def known(self, name: str, password: str) -> bool | None:
        """The answer when it is known without work, else None. Passwords are not kept, only a keyed hash."""
        stored = self._load().get(name)
        return self._known.get(self._cache_key(stored, password)) if stored is not None else None

    def check(self, name: str, password: str) -> bool:
        """Whether the password is right. A wrong answer costs the same for every name, there or not, however cheap
        its hash is."""
        bcrypt = extra("bcrypt")
        hashes = self._load()
        stored = hashes.get(name, b"")
        raw = password.encode("utf-8", "surrogatepass")[
            :72
        ]  # bcrypt reads no more; newer versions refuse longer ones
        text = raw.replace(b"\0", b"")  # bcrypt takes none
        for hash_ in work(stored, max((_COST, *map(cost, hashes.values())))):
            if bcrypt.checkpw(text, hash_) and hash_ == stored and text == raw:
                with self._lock:  # wrong ones are not kept: a guesser would only fill the cache
                    self._known[self._cache_key(stored, password)] = True
                    if len(self._known) > 10_000:
                        self._known.popitem(last=False)
                return True
        return False

    # --- changing ------------------------------------------------------------------------------

    def put(self, name: str, password: str, *, new: bool) -> None:
        """Add a user, or change a password. Raises UserInvalid, AccountUnknown."""
        bcrypt = extra("bcrypt")
        if not _NAME.match(name) or len(name) > 64:
            raise UserInvalid(
                f"{name!r} is no user name",
                hint="lower-case letters and digits, with single . _ - between them, as in names of repositories",
            )
        if not password or "\n" in password or len(password.encode()) > 72:
            raise UserInvalid("a password has 1 to 72 bytes in one line")
        hash_ = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST))
        with self._changing():
            there = self.exists(name)
            if new and there:
                raise UserInvalid(f"the user {name} exists", hint=f"boxwright registry user passwd {name}")
            if not new and not there:
                raise AccountUnknown(f"there is no user {name} in {self.path}")
            self._write({**self._load(), name: hash_})

    def remove(self, name: str) -> None:
        """Raises AccountUnknown."""
        with self._changing():
            if not self.exists(name):
                raise AccountUnknown(f"there is no user {name} in {self.path}")
            self._write({n: h for n, h in self._load().items() if n != name})

    def _changing(self) -> Lock:
        """What is read until this ends is still true when it is written."""
        make_directories(self.path.parent)
        lock = Lock.on(self.path.parent)
        self._looked = 0.0
        return lock

    def _write(self, hashes: dict[str, bytes]) -> None:
        lines = (name.encode() + b":" + hash_ + b"\n" for name, hash_ in sorted(hashes.items()))
        whole.replace_in_place_of(self.path, b"".join(lines))
        self._looked = 0.0


def cost(hash_: bytes) -> int:
    """The logarithm of what a bcrypt hash costs to check; 0 for what is none."""
    match = _BCRYPT.match(hash_)
    return int(match[1]) if match else 0


def work(stored: bytes, most: int) -> list[bytes]:
    """What is checked for a password that turns out to be wrong: the stored hash (none, or one that cannot be read:
    b''), and others that bring the work to that of one hash of the cost `most`."""
    first = cost(stored)
    if not first:
        return [_filler(most)]
    return [stored, *map(_filler, range(first, most))]  # 2^c + 2^c + 2^(c+1) + … + 2^(m-1) = 2^m


def _filler(cost: int) -> bytes:
    return b"$2b$%02d$T1pZjdPRMQTlOh6NB074kewXLh1A6j04631XvRudUQz94//JLSNCO" % cost


def parse(text: bytes) -> dict[str, bytes]:
    """``name:$2y$…`` lines; other kinds of hashes are left out, since a login with them is not safe."""
    found = {}
    for line in text.splitlines():
        name, colon, hash_ = line.strip().partition(b":")
        if colon and not name.startswith(b"#") and hash_.startswith((b"$2a$", b"$2b$", b"$2y$")):
            found[name.decode("utf-8", "replace")] = hash_
    return found
