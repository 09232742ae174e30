"""Tokens: short-lived signed ones that clients fetch for what they are about to do, and lasting ones of users.

Signed tokens are JWTs as Docker's token specification describes them (ES256; the key is in the storage, so that all
workers accept each other's). Lasting ones are random; the catalog has only their hashes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxwright.errors import Invalid, NotFound
from boxwright.files import whole
from boxwright.registry.server.auth.policy import CATALOG, Grant, Principal
from boxwright.registry.server.auth.users import extra
from boxwright.registry.server.config import ACTIONS
from boxwright.registry.server.store.catalog import RegistryCatalog

_PREFIXES = {"access": "bwp_", "refresh": "bwr_", "session": "bws_"}
_REFRESH_TTL = 180 * 86_400
_COLUMNS = "id, user, name, kind, scopes, account, created, expires, last_used"
_USE = "registry"  # older versions signed sessions too
_SKEW = 30  # seconds by which clocks may differ


class ScopeInvalid(Invalid):
    """A token's scope cannot be understood."""


class TokenUnknown(NotFound):
    """There is no such token."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A lasting token, without its secret. Times in unix seconds.

    `kind`: access (made by a user), refresh (a client's login), session (a browser's). `account` is the mark of the
    account without which it is void (`Users.mark`), '' for access tokens, which outlive a password.
    """

    id: str
    user: str
    name: str
    kind: str
    scopes: tuple[str, ...]
    account: str
    created: float
    expires: float
    last_used: float


def parse_scope(text: str) -> Grant:
    """``team/**:pull,push``; without actions: pull. ``@accounts:pull`` is what any account may. Raises ScopeInvalid."""
    name, colon, actions = text.rpartition(":") if ":" in text else (text, "", "")
    wanted = frozenset(actions.split(",")) if colon else frozenset(("pull",))
    if not name or not wanted <= {*ACTIONS, "*"}:
        raise ScopeInvalid(
            f"invalid scope {text!r}",
            hint="wanted REPOSITORY:ACTIONS, e.g. 'team/**:pull,push', with the actions pull, push, delete",
        )
    return Grant(name, wanted)


class AccessTokens:
    """The lasting tokens in the catalog."""

    def __init__(self, catalog: RegistryCatalog) -> None:
        self._catalog = catalog

    def create(
        self,
        user: str,
        name: str,
        scopes: Iterable[str] = (),
        *,
        ttl: int = 0,
        kind: str = "access",
        account: str = "",
    ) -> str:
        """The new token's secret, which is not kept and cannot be shown again. Raises ScopeInvalid."""
        scopes = [s for s in scopes if parse_scope(s)]
        secret = _PREFIXES[kind] + secrets.token_urlsafe(32)
        now = time.time()
        row = (secrets.token_hex(6), _hash(secret), user, name, kind, json.dumps(scopes), account, now)
        with self._catalog.write() as sql:
            sql.execute("DELETE FROM tokens WHERE kind <> 'access' AND expires < ?", (now,))
            sql.execute(
                "INSERT INTO tokens (id, hash, user, name, kind, scopes, account, created, expires, last_used) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (*row, now + ttl if ttl else 0),
            )
        return secret

    def find(self, secret: str) -> TokenRow | None:
        """The token of this secret, unless it expired. Its use is noted once an hour."""
        if not is_token(secret):
            return None
        row = (
            self._catalog.connection()
            .execute(
                f"SELECT {_COLUMNS} FROM tokens WHERE hash = ?",
                (_hash(secret),),
            )
            .fetchone()
        )
        now = time.time()
        if row is None:
            return None
        found = _row(row)
        if found.expires and found.expires < now:
            return None
        if now - found.last_used > 3600:
            with self._catalog.write() as sql:
                sql.execute("UPDATE tokens SET last_used = ? WHERE id = ?", (now, found.id))
        return found

    def all(self, user: str = "", kind: str = "access") -> list[TokenRow]:
        """Tokens of a user, or of all users, oldest first."""
        rows = self._catalog.connection().execute(
            f"SELECT {_COLUMNS} FROM tokens WHERE kind = ? AND (? = '' OR user = ?) ORDER BY created",
            (kind, user, user),
        )
        return [_row(row) for row in rows]

    def remove(self, id: str, user: str = "") -> None:
        """By id (or name of the user's). Raises TokenUnknown."""
        with self._catalog.write() as sql:
            if not sql.execute(
                "DELETE FROM tokens WHERE id = ? AND (? = '' OR user = ?)", (id, user, user)
            ).rowcount:
                raise TokenUnknown(f"there is no token {id}")

    def end_session(self, secret: str) -> None:
        """The session of this secret is no more."""
        with self._catalog.write() as sql:
            sql.execute("DELETE FROM tokens WHERE hash = ? AND kind = 'session'", (_hash(secret),))

    def forget(self, user: str, *, kinds: Iterable[str] = tuple(_PREFIXES)) -> None:
        """All tokens of a user who left, or whose password changed."""
        with self._catalog.write() as sql:
            for kind in kinds:
                sql.execute("DELETE FROM tokens WHERE user = ? AND kind = ?", (user, kind))

    def retain(self, users: Iterable[str], before: float) -> None:
        """Only these users' tokens, of all that were made before that time (unix seconds)."""
        gone = "created < ? AND user NOT IN (SELECT value FROM json_each(?))"
        values = (before, json.dumps(list(users)))
        if (
            self._catalog.connection()
            .execute(f"SELECT 1 FROM tokens WHERE {gone} LIMIT 1", values)
            .fetchone()
        ):
            with self._catalog.write() as sql:
                sql.execute(f"DELETE FROM tokens WHERE {gone}", values)


def is_token(secret: str) -> bool:
    """Whether it looks like a lasting token's secret: 256 random bits, which cannot be guessed."""
    return secret.startswith(tuple(_PREFIXES.values()))


def _row(row: Any) -> TokenRow:
    said = dict(zip(_COLUMNS.split(", "), row))
    return TokenRow(**{**said, "scopes": tuple(json.loads(said["scopes"]))})


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def refresh_token(tokens: AccessTokens, principal: Principal, client: str, account: str) -> str:
    """A token by which a client fetches signed tokens later, without the password."""
    return tokens.create(
        principal.name,
        client[:100],
        _scopes(principal),
        ttl=_REFRESH_TTL,
        kind="refresh",
        account=account,
    )


def _scopes(principal: Principal) -> list[str]:
    return [f"{g.repository}:{','.join(sorted(g.actions))}" for g in principal.limits or ()]


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signed token says: who, and the mark of the account when it was issued."""

    principal: Principal
    account: str


class Signer:
    """Issues and verifies JWTs. `access` claims are Docker's: type, name, actions."""

    def __init__(self, storage: Path, service: str) -> None:
        self._service = service
        self._jwk = extra("joserfc.jwk")
        self._jwt = extra("joserfc.jwt")
        self._errors = extra("joserfc.errors")
        self._key = self._jwk.ECKey.import_key(_key(storage / "token-key.pem", self._jwk))
        self._key.ensure_kid()
        self._seen: OrderedDict[str, tuple[float, Signed]] = OrderedDict()

    def issue(self, who: Principal, access: list[dict[str, Any]], ttl: int, *, account: str) -> str:
        """A token for `ttl` seconds, with the limits of the token by which it was fetched, and its account's mark."""
        now = int(time.time())
        claims = {
            "iss": self._service,
            "sub": who.name,
            "account": account,
            "limits": None if who.limits is None else _scopes(who),
            "aud": self._service,
            "iat": now,
            "nbf": now - _SKEW,
            "exp": now + ttl,
            "jti": uuid.uuid4().hex,
            "access": access,
            "use": _USE,
        }
        token: str = self._jwt.encode({"typ": "JWT", "alg": "ES256", "kid": self._key.kid}, claims, self._key)
        return token

    def verify(self, token: str) -> Signed | None:
        """The principal that the token speaks for; None when it is not ours, was changed, or expired."""
        now = time.time()
        seen = self._seen.get(token)
        if seen is not None:
            return seen[1] if seen[0] > now else None
        if len(token) > 16_384:
            return None
        try:
            claims = self._jwt.decode(token, self._key, algorithms=["ES256"]).claims
        except (self._errors.JoseError, ValueError):
            return None
        if (
            claims.get("use") != _USE
            or claims.get("aud") != self._service
            or claims.get("iss") != self._service
        ):
            return None
        if not claims.get("nbf", 0) <= now < claims.get("exp", 0):
            return None
        asked = frozenset(
            (CATALOG if e["type"] == "registry" else e["name"], action)
            for e in claims["access"]
            for action in e["actions"]
        )
        limits = claims.get("limits")
        principal = Principal(
            claims["sub"], None if limits is None else tuple(map(parse_scope, limits)), asked
        )
        signed = Signed(principal, claims.get("account", ""))
        self._seen[token] = (claims["exp"], signed)
        if len(self._seen) > 10_000:
            self._seen.popitem(last=False)
        return signed


def _key(path: Path, jwk: Any) -> bytes:
    """The storage's signing key, made when it is new; of several makers the first wins."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    whole.create(path, jwk.ECKey.generate_key("P-256").as_pem(private=True))
    return path.read_bytes()
