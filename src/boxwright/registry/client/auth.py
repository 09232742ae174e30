"""Our account at a registry: challenges, Basic, Bearer tokens by GET and by OAuth2 POST.

The protocol is written as generators without I/O (`token_flow` yields requests and receives answers), so that it
can be tested without a socket. Sources: RFC 7235, distribution's docs/spec/auth/{token,oauth,scope}.md.
"""

from __future__ import annotations

import binascii
import json
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from urllib.parse import quote, urlencode, urlsplit

from boxwright.errors import Denied, Unauthorized, Unavailable
from boxwright.registry.client.addresses import is_loopback, may_be_sent_to, split
from boxwright.spec.values import dataclass

CLIENT_ID = "boxwright"
_SHORTEST = 60.0  # seconds; the token specification's least and default life time
_EARLY = 10.0  # seconds before its end at which a token is no longer used


class LoginNeeded(Unauthorized):
    """The registry wants credentials and there are none."""


class LoginRefused(Unauthorized):
    """The registry or its token server does not accept the credentials."""


class RealmRefused(Denied):
    """A challenge points to a token server to which credentials must not go."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What may be known about an account: a password, or an identity (refresh) token, or a ready registry token."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def basic(self) -> str:
        """The Authorization header; only the two servers that check it ever see it."""
        return (
            "Basic "
            + binascii.b2a_base64(f"{self.username}:{self.password}".encode(), newline=False).decode()
        )

    def __repr__(self) -> str:  # never in a traceback or log
        return f"Credential({self.username!r}, …)"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; scheme and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to a token server."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class AuthAnswer:
    """Its answer."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A bearer token; `expires` in seconds of the monotonic clock."""

    value: str
    expires: float
    refresh: str = ""


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|\Z)'
_SCHEME = rf"\s*,?\s*({_TOKEN})(?:\s+|\Z|,)"


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers: several a header, commas inside quotes. What cannot be read is left out."""
    # Compiled where they are used: to many requests there is no challenge.
    scheme, parameter = re.compile(_SCHEME), re.compile(_PARAMETER)
    found: list[Challenge] = []
    for value in values:
        position = 0
        while match := scheme.match(value, position):
            position = match.end()
            parameters: dict[str, str] = {}
            while pair := parameter.match(value, position):
                text = re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3]
                parameters.setdefault(pair[1].lower(), text)
                position = pair.end()
            found.append(Challenge(match[1].lower(), parameters))
    return found


def scope_for(repository: str, *actions: str) -> str:
    """``repository:a/b:pull,push``."""
    return f"repository:{repository}:{','.join(actions)}"


def merged(scopes: Iterable[str]) -> tuple[str, ...]:
    """One scope a resource, actions united in a fixed order, resources in the order given."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        resource, _, names = scope.rpartition(":")
        actions.setdefault(resource, set()).update(names.split(","))
    return tuple(f"{resource}:{','.join(sorted(names))}" for resource, names in actions.items() if resource)


def covers(have: Iterable[str], want: Iterable[str]) -> bool:
    """Whether a token with the scopes `have` serves for `want`."""
    held = {r: set(a.split(",")) for r, _, a in (s.rpartition(":") for s in have)}
    return all(set(a.split(",")) <= held.get(r, set()) for r, _, a in (s.rpartition(":") for s in want))


def check_realm(realm: str, registry: str) -> None:
    """Raises RealmRefused unless credentials of `registry` (a URL) may go to the token server at `realm`.

    HTTPS always; plain HTTP only when the registry is itself spoken to in plain text and it is the same host,
    or both are this machine. A registry outside may not name an address inside our network.
    """
    to, of = split(realm), urlsplit(registry)
    host, own = (to.hostname or "") if to else "", of.hostname or ""
    plain = (
        to is not None
        and to.scheme == "http"
        and of.scheme == "http"
        and (host == own or (is_loopback(host) and is_loopback(own)))
    )
    if (
        to is None
        or not host
        or to.username
        or (to.scheme != "https" and not plain)
        or not may_be_sent_to(host, own)
    ):
        raise RealmRefused(
            f"{of.netloc} wants credentials to be sent to {realm[:200]!r}, which is not safe",
            hint="a token server must be reached by https, or be the registry itself",
        )


def token_flow(
    challenge: Challenge,
    scopes: Sequence[str],
    credential: Credential | None,
    *,
    now: Callable[[], float] = time.monotonic,
    offline: bool = False,
) -> Generator[Ask, AuthAnswer, BearerToken]:
    """Ask a challenge's token server for these scopes. Raises LoginRefused, Unavailable.

    An identity token goes by OAuth2 POST. A password goes by GET with Basic, which every token server knows, and
    by POST where GET does not exist.
    """
    realm = challenge.parameters.get("realm", "")
    service = challenge.parameters.get("service", "")
    if credential is not None and credential.identity_token:
        answer = yield _post(
            realm=realm,
            service=service,
            scopes=scopes,
            form={"grant_type": "refresh_token", "refresh_token": credential.identity_token},
        )
        return _token(answer, realm, now)
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    headers: dict[str, str] = {}
    if credential is not None and credential.username:
        query += [("account", credential.username), ("client_id", CLIENT_ID)]
        if offline:
            query.append(("offline_token", "true"))
        headers["Authorization"] = credential.basic
    mark = "&" if "?" in realm else "?"
    answer = yield Ask(
        "GET", realm + (mark + urlencode(query, quote_via=quote, safe="/:,") if query else ""), headers
    )
    if answer.status in (404, 405, 501) and credential is not None and credential.username:
        form = {
            "grant_type": "password",
            "username": credential.username,
            "password": credential.password,
            "access_type": "offline",
        }
        answer = yield _post(realm=realm, service=service, scopes=scopes, form=form)
    return _token(answer, realm, now)


def _post(realm: str, service: str, scopes: Sequence[str], form: Mapping[str, str]) -> Ask:
    body = {**form, "service": service, "client_id": CLIENT_ID}
    if scopes:
        body["scope"] = " ".join(scopes)
    return Ask(
        method="POST",
        url=realm,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(body).encode(),
    )


def _token(answer: AuthAnswer, realm: str, now: Callable[[], float]) -> BearerToken:
    host = urlsplit(realm).netloc
    try:
        body = json.loads(answer.body or b"{}")
    except (ValueError, RecursionError):
        body = {}
    body = body if isinstance(body, dict) else {}
    if answer.status in (400, 401, 403):
        said = (
            body.get("details")
            or body.get("error_description")
            or body.get("message")
            or _first(body.get("errors"))
        )
        raise LoginRefused(
            f"{host} refuses a token: {_clean(said) if said else f'status {answer.status}'}",
            hint="check the user name and password: boxwright login",
        )
    if answer.status != 200:
        raise Unavailable(f"the token server {host} answers with status {answer.status}")
    value = body.get("token") or body.get("access_token")
    if not isinstance(value, str) or not value or not value.isprintable() or not value.isascii():
        raise Unavailable(f"the token server {host} gives no token")
    seconds = body.get("expires_in")
    seconds = (
        float(seconds) if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else _SHORTEST
    )
    refresh = body.get("refresh_token")
    return BearerToken(value, now() + max(seconds, _SHORTEST), refresh if isinstance(refresh, str) else "")


def _first(errors: object) -> str:
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("message") or errors[0].get("code") or "")
    return ""


def _clean(text: object) -> str:
    """A peer's text, fit for a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))[:300]


class Authenticator:
    """What is known about getting into one registry; shared by threads.

    `ask` sends a request to a token server. After the first challenge, tokens for other scopes are fetched without
    provoking a 401 first.
    """

    def __init__(self, credential: Callable[[], Credential | None], ask: Callable[[Ask], AuthAnswer]) -> None:
        self._credential = credential
        self._ask = ask
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], BearerToken] = {}

    @property
    def can_introduce(self) -> bool:
        """Whether there is an account that the registry did not ask for yet."""
        return self._challenge is None and self._credential() is not None

    def header(self, scopes: Sequence[str]) -> str:
        """The Authorization header for these scopes; '' while the registry asked for none."""
        with self._lock:
            if self._challenge is None:
                return ""
            return self._answer(self._challenge, scopes)

    def challenged(self, registry: str, values: Iterable[str], scopes: Sequence[str], refused: str) -> str:
        """After a 401: another header, or ''. `refused` is the header that was sent ('' for none).

        Raises LoginNeeded, LoginRefused, RealmRefused.
        """
        challenges = parse_challenges(values)
        chosen = next((c for c in challenges if c.scheme == "bearer" and c.parameters.get("realm")), None)
        chosen = chosen or next((c for c in challenges if c.scheme == "basic"), None)
        if chosen is None:
            return ""
        if chosen.scheme == "bearer":
            check_realm(chosen.parameters["realm"], registry)
        with self._lock:
            self._challenge = chosen
            if chosen.scheme == "basic":
                fresh = self._answer(chosen, scopes)
                if fresh == refused:
                    raise LoginRefused(
                        f"{urlsplit(registry).netloc} refuses the credentials",
                        hint="log in again: boxwright login",
                    )
                return fresh
            wanted = merged([*scopes, *chosen.parameters.get("scope", "").split()])
            current = self._find(wanted)
            if current is not None and f"Bearer {current.value}" != refused:
                return f"Bearer {current.value}"  # another thread was quicker
            self._tokens = {k: t for k, t in self._tokens.items() if f"Bearer {t.value}" != refused}
            return self._answer(chosen, wanted)

    def login(self, registry: str, values: Iterable[str]) -> BearerToken | None:
        """Prove the credentials; returns the bearer token (perhaps with a refresh token), or None for Basic.

        Raises LoginRefused, RealmRefused, LoginNeeded.
        """
        challenges = parse_challenges(values)
        chosen = next((c for c in challenges if c.scheme == "bearer" and c.parameters.get("realm")), None)
        if chosen is None:
            return None
        check_realm(chosen.parameters["realm"], registry)
        return self._run(chosen, (), offline=True)

    def _answer(self, challenge: Challenge, scopes: Sequence[str]) -> str:
        credential = self._credential()
        if challenge.scheme == "basic":
            if credential is None or not credential.username:
                raise LoginNeeded("no basic auth credentials", hint="log in first: boxwright login")
            return credential.basic
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        wanted = merged(scopes)
        token = self._find(wanted)
        if token is None:
            token = self._tokens[wanted] = self._run(challenge, wanted)
        return f"Bearer {token.value}"

    def _find(self, wanted: tuple[str, ...]) -> BearerToken | None:
        soon = time.monotonic() + _EARLY
        for scopes, token in self._tokens.items():
            if token.expires > soon and covers(scopes, wanted):
                return token
        return None

    def _run(self, challenge: Challenge, scopes: Sequence[str], *, offline: bool = False) -> BearerToken:
        flow = token_flow(challenge, scopes, self._credential(), offline=offline)
        try:
            ask = next(flow)
            while True:
                ask = flow.send(self._ask(ask))
        except StopIteration as end:
            token: BearerToken = end.value
            return token
