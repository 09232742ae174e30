"""The door: who a request comes from, whether it may pass, and what it is told when it may not."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from boxwright.registry.server.config import Auth, RegistryConfig
from boxwright.registry.server.limits import Buckets
from boxwright.registry.server.policy import CATALOG, NOBODY, Policy, Principal
from boxwright.registry.server.tokens import AccessTokens, Signer, TokenRow, parse_scope, refresh_token
from boxwright.registry.server.users import Users
from boxwright.registry.server.wire import Forbidden, TooManyRequests, Unauthenticated
from boxwright.spec.times import rfc3339

if TYPE_CHECKING:
    from boxwright.registry.server.service import Service

_SCOPE = re.compile(r"(?P<type>[a-z]+)(?:\([^)]*\))?:(?P<name>[^\s]+):(?P<actions>[a-z*,]*)\Z")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")
_LISTS = ("catalog", "search")
_WRONG_LOGINS = (0.2, 20)  # a second and at once, of one address
_MOST_FORM = 65_536
_PRINCIPAL = web.RequestKey("principal", Principal)


class Gate:
    """Accounts, tokens and rules behind one question. Shared by all requests of a worker."""

    def __init__(
        self,
        config: RegistryConfig,
        auth: Auth,
        users: Users,
        tokens: AccessTokens,
        signer: Signer,
        buckets: Buckets,
    ) -> None:
        self.auth, self.users, self.tokens, self.signer = auth, users, tokens, signer
        self.policy = Policy(auth)
        self._base_url = config.base_url
        self._buckets = buckets

    # --- who ---------------------------------------------------------------------------------------

    async def prepare(self, service: Service, request: web.BaseRequest) -> None:
        """Find out who asks, before any handler; passwords are checked off the loop. Raises Unauthenticated."""
        header = request.headers.get("Authorization")
        if not header:
            return
        kind, _, value = header.partition(" ")
        principal: Principal | None = None
        if kind.lower() == "bearer":
            principal = (
                self.signer.verify(value) if "." in value else await service.run(self.by_secret, value)
            )
            if principal is None:
                raise self._challenge(request, "", error="invalid_token")
        elif kind.lower() == "basic":
            name, password = _basic(value)
            principal = (
                Principal(name)
                if self.users.known(name, password)
                else await self.login(service, request, name, password)
            )
            if principal is None:
                raise self._challenge(request, "", message="incorrect username or password")
        else:
            raise self._challenge(request, "")
        request[_PRINCIPAL] = principal

    async def login(
        self, service: Service, request: web.BaseRequest, name: str, password: str
    ) -> Principal | None:
        """By password or access token; None when it is wrong. Raises TooManyRequests for somebody who guesses."""
        key = f"login {request.remote}"
        wait = self._buckets.wait(key, *_WRONG_LOGINS)
        if wait:
            raise TooManyRequests("too many wrong passwords", headers={"Retry-After": str(int(wait) + 1)})
        found = await service.run(self.authenticate, name, password)
        if found is None:
            self._buckets.take(key, *_WRONG_LOGINS)
        return found

    def authenticate(self, name: str, password: str) -> Principal | None:
        """Blocks. A token is good as a password for its own user's name."""
        principal = self.by_secret(password)
        if principal is not None:
            return principal if principal.name == name else None
        return Principal(name) if self.users.check(name, password) else None

    def by_secret(self, secret: str) -> Principal | None:
        """Who a lasting access token speaks for."""
        row = self.tokens.find(secret)
        return self._of(row) if row is not None and row.kind == "access" else None

    def _of(self, row: TokenRow) -> Principal | None:
        if not self.users.exists(row.user):
            return None
        return Principal(row.user, tuple(parse_scope(s) for s in row.scopes) if row.scopes else None)

    def principal(self, request: web.BaseRequest) -> Principal:
        """Who asks; `NOBODY` without credentials."""
        found: Principal = request.get(_PRINCIPAL, NOBODY)
        return found

    def resume(self, request: web.BaseRequest, session: str) -> None:
        """A browser's session, by the token in its cookie; one that is over makes nobody."""
        principal = self.signer.verify(session, kind="session") if _PRINCIPAL not in request else None
        if principal is not None and self.users.exists(principal.name):
            request[_PRINCIPAL] = Principal(principal.name)

    # --- may they ----------------------------------------------------------------------------------

    def check(self, request: web.BaseRequest, repository: str, action: str) -> str:
        """See service.Access."""
        who = self.principal(request)
        if action == "base":
            if who is NOBODY:  # stock clients send credentials only where /v2/ asked for them
                raise self._challenge(request, "")
            return who.name
        target = CATALOG if action in _LISTS else repository
        permitted = self.policy.allowed(who.name, target, action)
        if permitted and who.granted(target, action):
            return who.name
        if who.name and not (permitted and who.issued):
            raise Forbidden(
                f"{who.name} may not {action} {repository or 'the list of repositories'}",
                detail={"name": repository, "action": action},
            )
        scope = (
            "registry:catalog:*"
            if target == CATALOG
            else f"repository:{repository}:{'pull,push' if action == 'push' else action}"
        )
        raise self._challenge(request, scope, error="insufficient_scope" if who.issued else "")

    def allows(self, request: web.BaseRequest, repository: str, action: str) -> bool:
        """See service.Access."""
        who = self.principal(request)
        return who.granted(repository, action) and self.policy.allowed(who.name, repository, action)

    def may_see(self, request: web.BaseRequest, repository: str) -> bool:
        """Whether the account behind the request may know of the repository: for lists, whose tokens name none."""
        who = self.principal(request)
        return (who.issued or who.granted(repository, "pull")) and self.policy.allowed(
            who.name, repository, "pull"
        )

    def _challenge(
        self,
        request: web.BaseRequest,
        scope: str,
        *,
        error: str = "",
        message: str = "authentication required",
    ) -> Unauthenticated:
        if self.auth.challenge == "basic" or request.path == "/token":
            value = f'Basic realm="{self.auth.service}"'
        else:
            value = f'Bearer realm="{self._origin(request)}/token",service="{self.auth.service}"'
            value += f',scope="{scope}"' if scope else ""
            value += f',error="{error}"' if error else ""
        return Unauthenticated(
            message, detail={"scope": scope} if scope else None, headers={"WWW-Authenticate": value}
        )

    def _origin(self, request: web.BaseRequest) -> str:
        if self._base_url:
            return self._base_url
        host = request.host if _HOST.match(request.host) else "localhost"
        return f"{request.scheme}://{host}"

    # --- the token endpoint --------------------------------------------------------------------------

    async def token(self, service: Service, request: web.BaseRequest) -> web.StreamResponse:
        """``GET /token`` with Basic credentials or none, and the OAuth2 ``POST`` (password, refresh_token).

        What is granted is what was asked for and may be had; less is no error, and no scope at all is a login.
        """
        refresh = ""
        if request.method == "POST":
            form = await _form(service, request)
            principal, refresh = await self._oauth(service, request, form)
            scopes = form.get("scope", "").split()
            lasting = not refresh and form.get("access_type") == "offline"
        else:
            form = {}
            principal = self.principal(request)
            scopes = [s for text in request.rel_url.query.getall("scope", []) for s in text.split()]
            lasting = request.rel_url.query.get("offline_token") == "true"
            form["client_id"] = request.rel_url.query.get("client_id", "")
        if principal.issued:
            raise self._challenge(request, "", message="a token is no credential for another token")
        if lasting and principal.name:
            refresh = await service.run(refresh_token, self.tokens, principal, form.get("client_id", ""))
        token = self.signer.issue(principal.name, self._granted(principal, scopes), self.auth.token_ttl)
        body = {
            "token": token,
            "access_token": token,
            "expires_in": self.auth.token_ttl,
            "issued_at": rfc3339(digits=0),
        }
        if refresh:
            body["refresh_token"] = refresh
        return web.Response(
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def _oauth(
        self, service: Service, request: web.BaseRequest, form: dict[str, str]
    ) -> tuple[Principal, str]:
        principal: Principal | None = None
        secret = form.get("refresh_token", "")
        if form.get("grant_type") == "refresh_token":
            row = await service.run(self.tokens.find, secret)
            if row is not None:
                principal = self._of(row)
        elif form.get("grant_type") == "password":
            principal, secret = (
                await self.login(service, request, form.get("username", ""), form.get("password", "")),
                "",
            )
        if principal is None:
            raise self._challenge(request, "", message="incorrect username or password")
        return principal, secret

    def _granted(self, principal: Principal, scopes: list[str]) -> list[dict[str, Any]]:
        granted = []
        for text in scopes[:100]:
            match = _SCOPE.match(text)
            if match is None:
                continue
            kind, name, asked = match["type"], match["name"], frozenset(match["actions"].split(","))
            if (
                kind == "registry"
                and name == "catalog"
                and self.policy.allowed(principal.name, CATALOG, "catalog")
            ):
                granted.append({"type": kind, "name": name, "actions": sorted(asked)})
            elif kind == "repository":
                may = {a for a in self.policy.actions(principal.name, name) if principal.granted(name, a)}
                actions = sorted(may if "*" in asked else may & asked)
                if actions:
                    granted.append({"type": kind, "name": name, "actions": actions})
        return granted


def _basic(value: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


async def _form(service: Service, request: web.BaseRequest) -> dict[str, str]:
    body = bytearray()
    while len(body) < _MOST_FORM and (piece := await service.read(request)):
        body += piece
    try:
        return dict(parse_qsl(body.decode()))
    except ValueError:
        return {}
