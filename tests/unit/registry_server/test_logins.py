"""Passwords under attack: guesses in parallel, proxies, what an answer's time tells, and who waits for whom."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest

from boxwright.registry.server.auth.users import Users, cost, parse, work
from boxwright.registry.server.config import Auth, RegistryConfigInvalid, load
from boxwright.registry.server.proxies import client_address, neighbourhood
from support.server import Client, serving
from support.waiting import eventually

pytest.importorskip("aiohttp")


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    lines = [f"{u}:{bcrypt.hashpw(f'pw-{u}'.encode(), bcrypt.gensalt(4)).decode()}" for u in ("alice", "bob")]
    (tmp_path / "htpasswd").write_text("\n".join(lines))
    return tmp_path / "htpasswd"


@pytest.fixture
def registry(tmp_path: Path, accounts: Path) -> Iterator[Client]:
    with serving(
        tmp_path / "reg",
        auth=Auth(htpasswd=accounts),
        trusted_proxies=load_networks(tmp_path, "127.0.0.1/32"),
    ) as client:
        yield client


def load_networks(folder: Path, *texts: str):  # type: ignore[no-untyped-def]
    (folder / "proxies.toml").write_text(f"trusted-proxies = {list(texts)!r}")
    return load(folder / "proxies.toml", default_storage=folder).trusted_proxies


def together(client: Client, requests: list[dict[str, str]]) -> list[int]:
    with ThreadPoolExecutor(40) as pool:
        return list(pool.map(lambda headers: client("GET", "/v2/", **headers).status, requests))


def test_guesses_in_parallel_are_counted_before_they_are_hashed(registry: Client) -> None:
    assert registry("GET", "/v2/", **basic("bob", "pw-bob")).status == 200
    registry.service.access.users.check = lambda name, password: time.sleep(0.02) or False
    codes = together(registry, [basic("alice", f"guess {n}") for n in range(100)])
    assert set(codes) == {401, 429} and codes.count(401) <= 23, "twenty at once, and what a slow test adds"
    assert registry("GET", "/v2/", **basic("bob", "pw-bob")).status == 200
    codes = together(registry, [basic(f"user{n}", "123456") for n in range(140)])
    assert codes.count(429) >= 10, "one password for every account is guessing too"


def test_many_who_log_in_at_once_are_no_guessers(registry: Client) -> None:
    assert set(together(registry, [basic("alice", "pw-alice")] * 100)) == {200}


def test_behind_a_proxy_one_client_does_not_shut_out_another(registry: Client) -> None:
    def guess(address: str, password: str) -> int:
        return registry("GET", "/v2/", X_Forwarded_For=address, **basic("alice", password)).status

    assert {guess("192.0.2.1", f"{n}") for n in range(30)} == {401, 429}
    assert guess("192.0.2.2", "pw-alice") == 200
    assert guess("spoofed, 192.0.2.1", "x") == 429, "what the client wrote itself is not believed"


def test_who_is_believed(tmp_path: Path) -> None:
    trusted = load_networks(tmp_path, "10.0.0.0/8", "::1", "192.0.2.7/24")
    for peer, forwarded, client in (
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["1.1.1.1, 198.51.100.1, 10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["1.1.1.1, unknown"], "10.1.1.1"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["10.1.1.2"], "10.1.1.2"),
        ("::1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.1.1.1", ["198.51.100.1:80"], "198.51.100.1"),
        ("192.0.2.200", ["," * 10_000 + "198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], ""),
    ):
        assert client_address(peer, forwarded, trusted) == client, (peer, forwarded)
    with pytest.raises(RegistryConfigInvalid, match="trusted-proxies"):
        load_networks(tmp_path, "proxy.example")


def test_addresses_that_one_client_may_choose_from_count_as_one() -> None:
    assert (
        neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    )
    assert neighbourhood("192.0.2.1") != neighbourhood("192.0.2.2")
    assert neighbourhood("::ffff:192.0.2.1") == neighbourhood("192.0.2.1")


def test_a_wrong_password_costs_the_same_for_every_name(accounts: Path) -> None:
    """Bcrypt's work is two to the power of the cost."""
    cheap, dear = parse(accounts.read_bytes())["alice"], bcrypt.hashpw(b"x", bcrypt.gensalt(12))
    for most in (10, 12):
        for stored in (b"", b"$2y$10$short", cheap, bcrypt.hashpw(b"x", bcrypt.gensalt(9)), dear):
            if cost(stored) <= most:
                assert sum(2 ** cost(h) for h in work(stored, most)) == 2**most, (stored, most)
    for hash_ in work(b"", 10) + work(cheap, 10):
        assert not bcrypt.checkpw(b"x", hash_)
    users = Users(accounts)
    assert users.check("alice", "pw-alice") and not users.check("alice", "x") and not users.check("none", "x")
    assert not users.check("alice", "pw-alice\0") and not users.check("alice", "\ud800")


def test_hashing_does_not_keep_others_waiting(registry: Client) -> None:
    users, release = registry.service.access.users, threading.Event()
    entered: list[str] = []

    def slow(name: str, password: str) -> bool:
        entered.append(name)
        return release.wait(30) and False

    users.check = slow
    with ThreadPoolExecutor(90) as pool:
        answers = [pool.submit(registry, "GET", "/v2/", **basic(f"user{n}", "x")) for n in range(80)]
        try:
            eventually(lambda: len(registry.service.access.passwords._flights) == 64)
            assert registry("GET", "/readyz").status == 200, "which asks the catalog from the common pool"
            assert len(entered) <= 16
        finally:
            release.set()
        codes = [answer.result().status for answer in answers]
    assert set(codes) == {401, 503}, "more than can wait are told to come again"
