"""Checking passwords while clients guess them: guesses are counted before they are hashed, and hashing has threads of
its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from concurrent.futures import ThreadPoolExecutor

from boxwright.registry.server.auth.limits import Buckets
from boxwright.registry.server.auth.users import Users
from boxwright.registry.server.errors import Busy, TooManyRequests
from boxwright.registry.server.proxies import neighbourhood

_OF_ACCOUNT = (0.2, 20)  # wrong passwords a second and at once, of one address for one account
_OF_ADDRESS = (2.0, 100)  # and for any account
_MOST_WAITING = 64  # passwords that wait to be hashed by this worker


class PasswordChecks:
    """Of one worker; its methods are called from the loop."""

    def __init__(self, users: Users, buckets: Buckets) -> None:
        self._users, self._buckets = users, buckets
        # What is hashed must leave CPUs for pulls.
        self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2), thread_name_prefix="passwords")
        self._flights: dict[bytes, asyncio.Future[bool]] = {}
        self._key = secrets.token_bytes(32)

    async def right(self, address: str, name: str, password: str) -> bool:
        """Whether it is the account's password. Requests that send the same at the same time share one hash: a build
        farm that starts is no attack. Raises TooManyRequests, Busy."""
        if self._users.known(name, password):
            return True
        raw = f"{name}\0{password}".encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(raw, key=self._key).digest()
        wait = self._count(address, name)
        flight = self._flights.get(key)
        if wait:
            if flight is not None and await asyncio.shield(flight):
                return True
            raise TooManyRequests("too many wrong passwords", headers={"Retry-After": str(int(wait) + 1)})
        if flight is None:
            if len(self._flights) >= _MOST_WAITING:
                self._give_back(address, name)
                raise Busy("too many passwords wait to be checked", headers={"Retry-After": "5"})
            loop = asyncio.get_running_loop()
            flight = self._flights[key] = loop.run_in_executor(self._pool, self._users.check, name, password)
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        right = await asyncio.shield(flight)
        if right:
            self._give_back(address, name)
        return right

    def _count(self, address: str, name: str) -> float:
        """One more guess; the seconds it comes too early, or 0."""
        account, any_account = _keys(address, name)
        wait = self._buckets.take(account, *_OF_ACCOUNT)
        if wait:
            return wait
        wait = self._buckets.take(any_account, *_OF_ADDRESS)
        if wait:
            self._buckets.give(account, _OF_ACCOUNT[0])
        return wait

    def _give_back(self, address: str, name: str) -> None:
        account, any_account = _keys(address, name)
        self._buckets.give(account, _OF_ACCOUNT[0])
        self._buckets.give(any_account, _OF_ADDRESS[0])

    def close(self) -> None:
        """After the last request."""
        self._pool.shutdown(cancel_futures=True)


def _keys(address: str, name: str) -> tuple[str, str]:
    place = neighbourhood(address)
    return f"login {place} {name}", f"login {place}"
