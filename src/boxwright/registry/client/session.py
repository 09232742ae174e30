"""A conversation with one host: which scheme it speaks, our account, redirects, and trying again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlencode, urlsplit

from boxwright.errors import Denied, Unavailable
from boxwright.registry.client.addresses import is_loopback, may_be_sent_to, split
from boxwright.registry.client.auth import Ask, AuthAnswer, Authenticator, Credential
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.endpoint import RegistryHost
from boxwright.registry.client.errors import (
    TRANSIENT,
    RateLimited,
    RegistryRefused,
    error_from,
    json_object,
    next_link,
    retry_after,
)
from boxwright.registry.client.http import Http, Reply, Timeouts
from boxwright.registry.client.peers import (
    NotTls,
    PeerAbsent,
    PeerUnreachable,
    ResponseTooLarge,
    Tls,
    UntrustedPeer,
)
from boxwright.spec.manifest import MAX_SIZE, ManifestInvalid
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_MOST_REDIRECTS = 6
_SPOKEN = (200, 403, 404, 405)  # of a question that only seeks a challenge
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_PAGE = 8 << 20  # bytes of one page of a list
_MOST_PAGES = 10_000
_LONGEST_LIST = 64 << 20  # characters of all pages
_LONGEST_TOKEN = 1 << 20  # bytes of a token server's answer


class RedirectRefused(Denied):
    """A registry sends us where we do not go."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as its caller means it. `body` is bytes, a stream or a callable that gives a fresh body; `patience`
    is how many seconds the peer may be silent (0 = the configured time); `flows` says that the answer may be large."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    patience: float = 0
    flows: bool = False


class RegistrySession:
    """Requests to one host. Shared by threads; `credential` is asked for at the first challenge only."""

    def __init__(
        self,
        http: Http,
        config: ClientConfig,
        host: RegistryHost,
        credential: Callable[[], Credential | None],
    ) -> None:
        self.host = host
        self._http = http
        self._config = config
        self._scheme = host.scheme
        self._lock = threading.Lock()
        self._spoke = False  # whether it ever answered
        self.auth = Authenticator(credential, _TokenServer(http, config, host))

    # --- where ---------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``. Raises PeerUnreachable."""
        with self._lock:
            if not self._scheme:
                self._scheme = self._find_scheme()
            return f"{self._scheme}://{self.host.name}"

    def _find_scheme(self) -> str:
        """HTTPS, and plain HTTP only where it was allowed and TLS is not spoken. Nothing secret is sent to find out."""
        if not self.host.insecure:
            return "https"
        for attempt in range(1, self._config.tries + 1):
            try:
                return self._one_scheme()
            except PeerUnreachable as error:
                if attempt == self._config.tries or isinstance(error, PeerAbsent):
                    raise
                self.pause(attempt)
        raise AssertionError("unreachable")

    def _one_scheme(self) -> str:
        if self._speaks_plainly():
            return "http"
        path = f"{self.host.name}{self.host.root}/"
        try:
            self._http.send(
                "GET",
                f"https://{path}",
                tls=Tls(verify=False, client=self.host.tls.client),
                timeouts=Timeouts(connect=self.host.dial_timeout),
            ).close()
            return "https"
        except NotTls:
            return "http"
        except PeerUnreachable:  # no server on 443, or one that hangs up on a TLS greeting
            self._http.send(
                "GET", f"http://{path}", timeouts=Timeouts(connect=self.host.dial_timeout)
            ).close()
            return "http"

    def _speaks_plainly(self) -> bool:
        """Whether a port of this machine answers in plain text, which is asked first: TLS would have to be loaded to
        find out that it is not spoken, and between two programs of one machine it protects nothing. A server that wants
        TLS there does not answer, or with 400."""
        host = urlsplit("//" + self.host.name)
        if host.port is None or not is_loopback(host.hostname or "") or self.host.tls != Tls(verify=False):
            return False
        try:
            reply = self._http.send(
                "GET",
                f"http://{self.host.name}{self.host.root}/",
                timeouts=Timeouts(connect=self.host.dial_timeout),
            )
        except PeerAbsent:
            raise
        except PeerUnreachable:
            return False
        reply.release()
        return reply.status != 400 and reply.status < 500

    def url(self, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        """The URL of a path under the API's root, e.g. ``/library/x/tags/list``."""
        query = [*query, *([("ns", self.host.namespace)] if self.host.namespace else [])]
        return f"{self.origin}{self.host.root}{path}" + (f"?{urlencode(query, safe='/:,')}" if query else "")

    # --- requests ------------------------------------------------------------------------------

    def request(
        self,
        request: HttpRequest,
        *,
        scopes: Sequence[str] = (),
        what: str,
        ok: Sequence[int] = (200,),
        again: bool = True,
    ) -> Reply:
        """Send until one of the `ok` statuses comes back; `again` says whether a failure may be tried again.

        Raises what `errors.error_from` says, PeerUnreachable, and
        what authentication raises.
        """
        tries = self._config.tries if again else 1
        for attempt in range(1, tries + 1):
            try:
                reply = self._authorized(request, scopes)
            except (UntrustedPeer, NotTls):
                raise
            except PeerUnreachable as error:
                # A registry that restarts is waited for; a mistyped name should fail at once.
                if attempt == tries or (isinstance(error, PeerAbsent) and not self._spoke):
                    raise
                self.pause(attempt)
                continue
            self._spoke = True
            if reply.status in ok:
                return reply
            if reply.status not in TRANSIENT or attempt == tries:
                raise error_from(reply, what)
            wait_as_told(config=self._config, reply=reply, attempt=attempt, what=what)
        raise AssertionError("unreachable")

    def introduce(self, scopes: Sequence[str]) -> None:
        """Before a question that needs no account but whose answer depends on it: lists are shorter for anonymous
        clients, and a registry that answers asks for no account. It costs nothing where no account is known. Raises
        what authentication raises."""
        if self.auth.can_introduce:
            url = self.url("/")
            self.request(
                HttpRequest("GET", url), scopes=scopes, what=f"access to {self.host.name}", ok=_SPOKEN
            ).release()

    def document(
        self,
        url: str,
        *,
        limit: int,
        scopes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        what: str,
        ok: Sequence[int] = (200,),
        again: bool = True,
    ) -> tuple[Reply, bytes]:
        """GET a whole document; a connection that breaks in the middle of it is tried again, too.

        Raises what `request` raises, and ResponseTooLarge.
        """
        tries = self._config.tries if again else 1
        for attempt in range(1, tries + 1):
            reply = self.request(
                HttpRequest("GET", url, headers=headers or {}), scopes=scopes, what=what, ok=ok, again=again
            )
            try:
                return reply, reply.read_all(limit)
            except PeerUnreachable:
                reply.close()
                if attempt == tries:
                    raise
                self.pause(attempt)
        raise AssertionError("unreachable")

    def pause(self, attempt: int) -> None:
        """Wait before trying again."""
        pause(self._config, attempt)

    def _authorized(self, wanted: HttpRequest, scopes: Sequence[str]) -> Reply:
        sent = ""
        reply = None
        for _ in range(
            3
        ):  # without, with what was asked for, with the wider scope that the second answer named
            sent = sent or self.auth.header(scopes)
            reply = self._follow(wanted, {"Authorization": sent} if sent else {})
            if reply.status != 401 or urlsplit(reply.url)[:2] != urlsplit(self.origin)[:2]:
                return reply  # what other hosts say about access is no challenge to us
            try:
                fresh = self.auth.challenged(
                    registry=self.origin,
                    values=reply.headers("WWW-Authenticate"),
                    scopes=scopes,
                    refused=sent,
                )
            except BaseException:
                reply.close()
                raise
            if not fresh or fresh == sent:
                return reply
            reply.release()
            sent = fresh
        assert reply is not None
        return reply

    def _follow(self, wanted: HttpRequest, access: Mapping[str, str]) -> Reply:
        """One request and the redirects of its answer. Credentials stay on the host that they were meant for."""
        headers, url, method = {**wanted.headers, **access}, wanted.url, wanted.method
        own = urlsplit(self.origin)
        for _ in range(_MOST_REDIRECTS):
            parts = urlsplit(url)
            at_home = parts[:2] == own[:2]
            if not at_home:
                headers.pop("Authorization", None)
            extra = dict(self.host.headers) if at_home else {}
            content = wanted.body() if callable(wanted.body) else wanted.body
            tls = self.host.tls if parts.netloc == own.netloc else Tls()
            reply = self._http.send(
                method,
                url,
                headers={**extra, **headers},
                body=content,
                tls=tls,
                timeouts=Timeouts(connect=self.host.dial_timeout, silence=wanted.patience),
                flows=wanted.flows,
            )
            target = reply.header("Location")
            if reply.status not in _REDIRECTS or not target or method not in ("GET", "HEAD"):
                return reply
            reply.release()
            url = self.checked(target, url)
        raise RedirectRefused(f"{self.host.name} redirects more than {_MOST_REDIRECTS} times")

    def checked(self, target: str, source: str) -> str:
        """The URL that an answer of `source` sends us to, if we may go there. Raises RedirectRefused."""
        to, of = split(target, source), urlsplit(source)
        if to is None or to.scheme not in ("http", "https") or not to.hostname or to.username:
            raise RedirectRefused(f"{of.netloc} sends us to {target[:200]!r}, which is no usable address")
        if to.scheme == "http" and of.scheme == "https" and to.hostname == of.hostname and to.port is None:
            # A registry behind a proxy that does not tell it about TLS; only the scheme is wrong.
            return of._replace(path=to.path, query=to.query, fragment="").geturl()
        if to.scheme == "http" and of.scheme == "https" and not self.host.insecure:
            raise RedirectRefused(f"{of.netloc} sends us from https to plain http ({to.netloc})")
        if not may_be_sent_to(to.hostname or "", of.hostname or ""):
            raise RedirectRefused(
                f"{of.netloc} sends us to the private address {to.netloc}",
                hint="a registry outside must not reach into your network through you",
            )
        return to.geturl()


class _TokenServer:
    """Speaks to a host's token server, trying again when it is merely busy. Not part of RegistrySession, which would
    then be in a cycle with its Authenticator and outlive its use."""

    def __init__(self, http: Http, config: ClientConfig, host: RegistryHost) -> None:
        self._http, self._config, self._host = http, config, host

    def __call__(self, ask: Ask) -> AuthAnswer:
        own = urlsplit("//" + self._host.name).hostname
        tls = self._host.tls if urlsplit(ask.url).hostname == own else Tls()
        for attempt in range(1, self._config.tries + 1):
            last = attempt == self._config.tries
            try:
                reply = self._http.send(ask.method, ask.url, headers=ask.headers, body=ask.body, tls=tls)
                if reply.status not in TRANSIENT or last:
                    return AuthAnswer(reply.status, reply.read_all(_LONGEST_TOKEN))
            except (UntrustedPeer, NotTls):
                raise
            except Unavailable:
                if last:
                    raise
                pause(self._config, attempt)
                continue
            wait_as_told(config=self._config, reply=reply, attempt=attempt, what="a token")
        raise AssertionError("unreachable")


def pause(config: ClientConfig, attempt: int, at_least: float = 0) -> None:
    """Wait before trying again: doubling, with jitter so that many clients do not come back at once."""
    import random

    seconds = min(config.backoff * 2 ** (attempt - 1), config.longest_pause)
    time.sleep(max(seconds * random.uniform(0.75, 1.25), at_least))


def wait_as_told(config: ClientConfig, reply: Reply, attempt: int, what: str) -> None:
    """Wait as long as a busy peer says. Raises RateLimited when that is too long to wait here."""
    told = retry_after(reply)
    if told is not None and told > config.longest_pause:
        host = urlsplit(reply.url).netloc
        reply.close()
        raise RateLimited(
            f"{what}: {host} asks to wait {told:.0f} seconds",
            hint="try again then, or log in for a higher limit",
        )
    reply.release()
    pause(config, attempt, told or 0)


def manifest_document(session: RegistrySession, url: str, *, what: str, **more: Any) -> tuple[Reply, bytes]:
    """A manifest or list. Raises ManifestInvalid beyond MAX_SIZE, and what RegistrySession.document raises."""
    try:
        return session.document(url, limit=MAX_SIZE, what=what, **more)
    except ResponseTooLarge as error:
        raise ManifestInvalid(f"{what}: it has more than the {MAX_SIZE} bytes that are accepted") from error


def one_page(
    session: RegistrySession, url: str, key: str, scopes: tuple[str, ...], what: str
) -> tuple[list[str], str]:
    """The strings under `key`, and the URL of the next page ('' on the last). Raises what RegistrySession.request
    raises."""
    reply, raw = session.document(url, limit=_LONGEST_PAGE, scopes=scopes, what=what)
    values = json_object(raw, what).get(key)
    names = values if isinstance(values, list) else []
    return [name if isinstance(name, str) else "" for name in names], next_link(reply)


def paged(session: RegistrySession, url: str, key: str, scopes: tuple[str, ...], what: str) -> Iterator[str]:
    """The strings under `key` of every page of a list. Raises what RegistrySession.request raises."""
    seen: set[str] = set()
    left = _LONGEST_LIST
    for _ in range(_MOST_PAGES):
        values, following = one_page(session=session, url=url, key=key, scopes=scopes, what=what)
        yield from values
        left -= sum(map(len, values))
        if left < 0:
            raise RegistryRefused(
                f"{what}: {session.host.name} lists more than {_LONGEST_LIST} bytes of them"
            )
        seen.add(url)
        if not following or following in seen:
            return
        url = following
