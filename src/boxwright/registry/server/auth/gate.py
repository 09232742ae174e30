"""The gate: which principal a request comes from, whether it may pass, and what it is told when it may not."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

from aiohttp import web

from boxwright.registry.server.api import bodies
from boxwright.registry.server.api import requests as asked
from boxwright.registry.server.auth.limits import Buckets
from boxwright.registry.server.auth.logins import PasswordChecks
from boxwright.registry.server.auth.policy import ANONYMOUS, LISTS, Policy, Principal
from boxwright.registry.server.auth.tokens import (
    AccessTokens,
    Signer,
    is_token,
    parse_scope,
    refresh_token,
)
from boxwright.registry.server.auth.users import Users
from boxwright.registry.server.config import Auth, RegistryConfig
from boxwright.registry.server.errors import Forbidden, Unauthenticated
from boxwright.registry.server.routes import check_name
from boxwright.spec.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.server.api.service import Service

_SCOPE = re.compile(r"(?P<type>[a-z]+)(?:\([^)]*\))?:(?P<name>[^\s]+):(?P<actions>[a-z*,]*)\Z")
_MOST_FORM = 65_536
_MOST_SCOPES = 100
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
        self.passwords = PasswordChecks(users, buckets)
        self._base_url = config.base_url

    # --- who ---------------------------------------------------------------------------------------

    async def prepare(self, service: Service, request: web.BaseRequest) -> None:
        """Find out the principal, before any handler; passwords are checked off the loop. Raises Unauthenticated."""
        header = request.headers.get("Authorization")
        if not header:
            return
        kind, _, value = header.partition(" ")
        principal: Principal | None = None
        if kind.lower() == "bearer":
            principal = self._signed(value) if "." in value else await service.run(self.by_secret, value)
            if principal is None:
                raise self._challenge(request, "", error="invalid_token")
        elif kind.lower() == "basic":
            principal = await self.login(service, request, *_basic(value))
            if principal is None:
                raise self._challenge(request, "", message="incorrect username or password")
        else:
            raise self._challenge(request, "")
        request[_PRINCIPAL] = principal

    async def login(
        self, service: Service, request: web.BaseRequest, name: str, password: str
    ) -> Principal | None:
        """By password or access token; None when it is wrong. A token is good as a password for its own user's name.
        Raises TooManyRequests for a client that guesses, Busy."""
        if is_token(password):
            principal = await service.run(self.by_secret, password)
            return principal if principal is not None and principal.name == name else None
        right = await self.passwords.right(service.address(request), name, password)
        return Principal(name) if right else None

    def by_secret(self, secret: str) -> Principal | None:
        """The principal that a lasting access token speaks for."""
        return self._lasting(secret, "access")

    def _lasting(self, secret: str, kind: str) -> Principal | None:
        """Blocks."""
        row = self.tokens.find(secret)
        account = self.users.mark(row.user) if row is not None else ""
        if row is None or row.kind != kind or not account or row.account not in ("", account):
            return None
        return Principal(row.user, tuple(parse_scope(s) for s in row.scopes) if row.scopes else None)

    def _signed(self, token: str) -> Principal | None:
        """Of a signed token, unless its account's password changed since, or the account is gone."""
        found = self.signer.verify(token)
        if found is None or found.account != self.users.mark(found.principal.name):
            return None
        return found.principal

    def principal(self, request: web.BaseRequest) -> Principal:
        """The principal of a request; `ANONYMOUS` without credentials."""
        found: Principal = request.get(_PRINCIPAL, ANONYMOUS)
        return found

    async def open_session(self, service: Service, user: str, ttl: int) -> str:
        """A browser's session: what its cookie holds. It ends with `end_session`, with another password, and with
        the account."""
        return await service.run(
            lambda: self.tokens.create(user, "", ttl=ttl, kind="session", account=self.users.mark(user))
        )

    async def resume(self, service: Service, request: web.BaseRequest, session: str) -> None:
        """The request gets the session's principal; none when the session is over."""
        if _PRINCIPAL not in request:
            found = await service.run(self._lasting, session, "session")
            if found is not None:
                request[_PRINCIPAL] = found

    async def end_session(self, service: Service, session: str) -> None:
        """Everywhere."""
        await service.run(self.tokens.end_session, session)

    def end_tokens_of_removed_accounts(self) -> None:
        """Else a later account of the same name would have them. Blocks."""
        now = time.time()  # a token that is made later may be of an account that is added later
        names = self.users.settled()
        if names is not None:
            self.tokens.retain(names, before=now)

    def close(self) -> None:
        """See service.Access."""
        self.passwords.close()

    # --- may they ----------------------------------------------------------------------------------

    def check(self, request: web.BaseRequest, repository: str, action: str) -> str:
        """See service.Access."""
        who = self.principal(request)
        if self.policy.may(who, action, repository):
            return who.name
        if who.name and not (who.asked is not None and self.policy.may(who.account, action, repository)):
            raise Forbidden(
                f"{who.name if who.limits is None else f'this token of {who.name}'} may not {action} "
                f"{repository or 'here'}",
                detail={"name": repository, "action": action},
            )
        if action in LISTS:
            scope = "registry:catalog:*"
        elif repository:
            scope = f"repository:{repository}:{'pull,push' if action == 'push' else action}"
        else:
            scope = ""
        raise self._challenge(
            request, scope, error="insufficient_scope" if who.asked is not None and scope else ""
        )

    def allows(self, request: web.BaseRequest, repository: str, action: str) -> bool:
        """See service.Access."""
        return self.policy.may(self.principal(request), action, repository)

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
        return f"{request.scheme}://{asked.host(request) or 'localhost'}"

    # --- the token endpoint --------------------------------------------------------------------------

    async def token(self, service: Service, request: web.BaseRequest) -> web.StreamResponse:
        """``GET /token`` with Basic credentials or none, and the OAuth2 ``POST`` (password, refresh_token).

        What is granted is what was asked for and may be had; less is no error, and no scope at all is a login.
        """
        refresh = ""
        if request.method == "POST":
            form = await bodies.form(service, request, _MOST_FORM)
            principal, refresh = await self._oauth(service, request, form)
            scopes = form.get("scope", "").split()
            lasting = not refresh and form.get("access_type") == "offline"
        else:
            form = {}
            principal = self.principal(request)
            arguments = asked.query(request)
            scopes = [s for text in arguments.getall("scope", []) for s in text.split()]
            lasting = arguments.get("offline_token") == "true"
            form["client_id"] = arguments.get("client_id", "")
        if principal.asked is not None:
            raise self._challenge(request, "", message="a token is no credential for another token")
        granted = self._granted(principal, scopes)
        account = self.users.mark(principal.name)
        if lasting and principal.name:
            refresh = await service.run(
                refresh_token, self.tokens, principal, form.get("client_id", ""), account
            )
        token = self.signer.issue(principal, granted, self.auth.token_ttl, account=account)
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
            principal = await service.run(self._lasting, secret, "refresh")
        elif form.get("grant_type") == "password":
            principal, secret = (
                await self.login(
                    service=service,
                    request=request,
                    name=form.get("username", ""),
                    password=form.get("password", ""),
                ),
                "",
            )
        if principal is None:
            raise self._challenge(request, "", message="incorrect username or password")
        return principal, secret

    def _granted(self, principal: Principal, scopes: list[str]) -> list[dict[str, Any]]:
        """Raises RepositoryNameInvalid for a scope that names no single repository: globs are for rights that are
        given, not for rights that are asked for."""
        granted = []
        for text in scopes[:_MOST_SCOPES]:
            match = _SCOPE.match(text)
            if match is None:
                continue
            kind, name, wanted = match["type"], match["name"], frozenset(match["actions"].split(","))
            if kind == "registry" and name == "catalog":
                actions = {a for a in ("*", *LISTS) if a in wanted}
                if actions and self.policy.may(principal, "catalog"):
                    granted.append({"type": kind, "name": name, "actions": sorted(actions)})
            elif kind == "repository":
                may = self.policy.actions(principal, check_name(name))
                actions = set(may if "*" in wanted else may & wanted)
                if actions:
                    granted.append({"type": kind, "name": name, "actions": sorted(actions)})
        return granted


def _basic(value: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:  # no base64, or no text
        return "", ""
    return name, password
