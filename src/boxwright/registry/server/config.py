"""The registry's configuration file: TOML into frozen values, with every mistake named by its place.

Sizes are bytes or text such as ``"10GB"`` (powers of 1024); times are seconds or text such as ``"30m"``, ``"7d"``.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boxwright.errors import Invalid
from boxwright.registry.server.proxies import Network
from boxwright.spec.times import LONGER_UNITS, SECOND, DurationInvalid, parse_duration
from boxwright.spec.units import SizeInvalid, parse_size

ACTIONS = ("pull", "push", "delete")
EVENTS = ("push", "pull", "delete")
OTHER_TABLES = ("search", "pages")  # handed on as they are to the packages of these names


class RegistryConfigInvalid(Invalid):
    """The registry's configuration cannot be used."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may do what where; the first rule that fits decides. `users`: names, ``@organisation``, ``*`` = any
    account, ``anonymous``."""

    repository: str
    users: tuple[str, ...]
    actions: tuple[str, ...] = ACTIONS
    allow: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Accounts and rights. Globs: ``*`` within one part of a name, ``**`` across parts."""

    htpasswd: Path
    admins: frozenset[str] = frozenset()
    organisations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    anonymous: tuple[str, ...] = ()  # what may be pulled without an account
    private: tuple[str, ...] = ()  # what only its namespace's people (and rules) may pull
    rules: tuple[Rule, ...] = ()
    service: str = "boxwright-registry"
    token_ttl: int = 300
    challenge: str = "bearer"  # or basic


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Times in seconds; `every` = 0 switches the background collector off."""

    every: int = 3600
    grace: int = 86_400  # unreferenced blobs younger than this are a push under way
    uploads: int = 604_800  # uploads untouched for this long are given up


@dataclass(frozen=True, slots=True)
class Retention:
    """What may be forgotten in repositories that fit; 0 = never."""

    repository: str
    keep_tags: int = 0  # newest tags kept, others go
    tags: tuple[str, ...] = ("*",)  # tags that the rule looks at; others stay
    untagged_after: int = 0
    not_pulled_for: int = 0  # tags neither pulled nor pushed for so long


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """`rate` = requests a second and client (0 = any), `burst` = how many at once beyond it."""

    rate: float = 0
    burst: int = 100
    max_blob: int = 0  # bytes, 0 = any
    header_timeout: int = 75  # seconds without a whole request
    body_timeout: int = 60  # silence within a body
    connections: int = 0  # of one worker, 0 = any
    grace: int = 30  # a stop waits so long for requests under way


@dataclass(frozen=True, slots=True)
class Webhook:
    """Events go there as POST; `secret` signs the body (``X-Boxwright-Signature: sha256=<hmac>``)."""

    url: str
    events: tuple[str, ...] = ("push", "delete")
    repositories: tuple[str, ...] = ("**",)
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry that is mirrored as ``prefix/…``; prefix ``""`` takes every other name, none of which
    can then be pushed here."""

    prefix: str
    url: str
    username: str = ""
    password: str = ""
    ttl: int = 60  # seconds for which a tag is believed without asking
    namespace: str = ""  # what clients send as ?ns=; the URL's host when empty


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """Everything that a server process is told."""

    storage: Path
    addr: str = "127.0.0.1:5000"
    workers: int = 1
    tls: tuple[Path, Path] | None = None  # certificate, key
    read_only: bool = False
    sparse: bool = True
    sparse_images: bool = False
    base_url: str = ""  # how clients reach us when a proxy is in front
    trusted_proxies: tuple[Network, ...] = ()  # proxies that are believed about X-Forwarded-For
    access_log: str = ""  # a file, or - for standard error
    metrics: bool = True
    auth: Auth | None = None
    housekeeping: Housekeeping = Housekeeping()
    retention: tuple[Retention, ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)  # namespace (``*`` = every other) -> bytes
    limits: RequestLimits = RequestLimits()
    webhooks: tuple[Webhook, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    other: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "storage", absolute(self.storage))


def load(path: Path | None, *, default_storage: Path, **given: Any) -> RegistryConfig:
    """Read a file (none: the defaults); what is in `given` and not None wins over it. Raises RegistryConfigInvalid."""
    raw: dict[str, Any] = {}
    if path is not None:
        import tomllib

        try:
            raw = tomllib.loads(path.read_text())
        except OSError as error:
            raise RegistryConfigInvalid(f"cannot read {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RegistryConfigInvalid(f"{path} is not valid TOML: {error}") from error
    base = path.parent if path is not None else Path()
    top = _Table(raw, str(path or "the configuration"), base)
    values: dict[str, Any] = {
        "storage": top.path("storage") or default_storage,
        "addr": top.text("addr", "127.0.0.1:5000"),
        "workers": top.number("workers", 0),
        "tls": _tls(top.table("tls")),
        "read_only": top.flag("read-only", False),
        "sparse": top.flag("sparse", True),
        "sparse_images": top.flag("sparse-images", False),
        "base_url": top.text("base-url").rstrip("/"),
        "trusted_proxies": top.networks("trusted-proxies"),
        "access_log": top.text("access-log"),
        "metrics": top.flag("metrics", True),
        "auth": _auth(top.table("auth"), top),
        "housekeeping": _housekeeping(top.table("housekeeping")),
        "retention": tuple(_retention(t) for t in top.tables("retention")),
        "quotas": top.table("quotas").sizes(),
        "limits": _limits(top.table("limits")),
        "webhooks": tuple(_webhook(t) for t in top.tables("webhook")),
        "upstreams": tuple(_upstream(t) for t in top.tables("upstream")),
        "other": {
            **{
                name: dict(top.take(key=name, kind=dict, what="a table", default={})) for name in OTHER_TABLES
            },
            "build": _build(top.table("build")),
        },
    }
    top.end()
    values.update({name: value for name, value in given.items() if value is not None})
    return RegistryConfig(**values)


def absolute(path: Path) -> Path:
    """The same path for processes with another working directory."""
    return Path(os.path.abspath(path))


# --- the parts -------------------------------------------------------------------------------------


def _tls(t: _Table) -> tuple[Path, Path] | None:
    cert, key = t.path("cert"), t.path("key")
    t.end()
    if (cert is None) != (key is None):
        raise RegistryConfigInvalid(f"{t.place}: cert and key go together")
    return (cert, key) if cert and key else None


def _auth(t: _Table, top: _Table) -> Auth | None:
    organisations = top.table("organisations")
    members = {name: organisations.texts(name) for name in list(organisations.raw)}
    rules = tuple(_rule(r) for r in top.tables("rule"))
    if not t.raw:
        if members or rules:
            raise RegistryConfigInvalid(
                f"{top.place}: organisations and rules need accounts",
                hint='add an [auth] table with htpasswd = "FILE"',
            )
        return None
    htpasswd = t.path("htpasswd")
    if htpasswd is None:
        raise RegistryConfigInvalid(
            f"{t.place}: htpasswd is missing", hint="name the file that `boxwright registry user add` writes"
        )
    auth = Auth(
        htpasswd=htpasswd,
        admins=frozenset(t.texts("admins")),
        organisations=members,
        anonymous=t.texts("anonymous"),
        private=t.texts("private"),
        rules=rules,
        service=t.text("service", "boxwright-registry"),
        token_ttl=t.seconds("token-ttl", 300),
        challenge=t.choice("challenge", ("bearer", "basic")),
    )
    t.end()
    return auth


def _rule(t: _Table) -> Rule:
    actions = t.texts("actions", ACTIONS)
    if set(actions) - set(ACTIONS):
        raise RegistryConfigInvalid(
            f"{t.place}: actions are {', '.join(ACTIONS)}, not {', '.join(sorted(set(actions) - set(ACTIONS)))}"
        )
    rule = Rule(
        repository=t.need("repository"), users=t.texts("users"), actions=actions, allow=t.flag("allow", True)
    )
    t.end()
    return rule


def _housekeeping(t: _Table) -> Housekeeping:
    d = Housekeeping()
    made = Housekeeping(
        t.seconds("every", d.every), t.seconds("grace", d.grace), t.seconds("uploads", d.uploads)
    )
    t.end()
    return made


def _retention(t: _Table) -> Retention:
    made = Retention(
        t.need("repository"),
        keep_tags=t.number("keep-tags", 0),
        tags=t.texts("tags", ("*",)),
        untagged_after=t.seconds("untagged-after", 0),
        not_pulled_for=t.seconds("not-pulled-for", 0),
    )
    t.end()
    return made


def _build(t: _Table) -> dict[str, Any]:
    made = {
        "enabled": t.flag("enabled", False),
        "command": list(t.texts("command")),
        "pull": list(t.texts("pull")),
        "allow-host-root": t.flag("allow-host-root", False),
        "allow-local-git": t.flag("allow-local-git", False),
    }
    t.end()
    return made


def _limits(t: _Table) -> RequestLimits:
    d = RequestLimits()
    made = RequestLimits(
        rate=float(t.take(key="rate", kind=(int, float), what="a number", default=d.rate)),
        burst=t.number("burst", d.burst),
        max_blob=t.size("max-blob"),
        header_timeout=t.seconds("header-timeout", d.header_timeout),
        body_timeout=t.seconds("body-timeout", d.body_timeout),
        connections=t.number("connections", d.connections),
        grace=t.seconds("grace", d.grace),
    )
    t.end()
    return made


def _webhook(t: _Table) -> Webhook:
    headers = t.take(key="headers", kind=dict, what="a table of text", default={})
    events = t.texts("events", ("push", "delete"))
    if set(events) - set(EVENTS):
        raise RegistryConfigInvalid(f"{t.place}: events are {', '.join(EVENTS)}")
    made = Webhook(
        url=t.url("url"),
        events=events,
        repositories=t.texts("repositories", ("**",)),
        headers={str(k): str(v) for k, v in headers.items()},
        secret=t.text("secret"),
    )
    t.end()
    return made


def _upstream(t: _Table) -> Upstream:
    made = Upstream(
        prefix=t.text("prefix").strip("/"),
        url=t.url("url"),
        username=t.text("username"),
        password=t.text("password"),
        ttl=t.seconds("ttl", 60),
        namespace=t.text("namespace"),
    )
    t.end()
    return made


# --- reading ---------------------------------------------------------------------------------------


def size(value: object, place: str) -> int:
    """Bytes. Raises RegistryConfigInvalid."""
    try:
        return parse_size(_text(value))
    except SizeInvalid:
        raise RegistryConfigInvalid(f'{place} is {value!r}; it must be a size such as "10GB"') from None


def seconds(value: object, place: str) -> int:
    """A span of time, seconds where it names no unit. Raises RegistryConfigInvalid."""
    text = _text(value)
    try:
        return parse_duration(f"{text}s" if text.isdigit() else text, LONGER_UNITS) // SECOND
    except DurationInvalid:
        raise RegistryConfigInvalid(
            f'{place} is {value!r}; it must be a time such as "30m" or "7d"'
        ) from None


def _text(value: object) -> str:
    return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""


class _Table:
    """A TOML table whose keys are taken one by one; what is left at the end is a mistake."""

    def __init__(self, raw: Mapping[str, Any], place: str, base: Path) -> None:
        self.raw, self.place, self._base = dict(raw), place, base
        self._known: list[str] = []

    def take(self, key: str, kind: type | tuple[type, ...], what: str, default: Any) -> Any:
        self._known.append(key)
        value = self.raw.pop(key, default)
        if value is not default and (
            not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        ):
            raise RegistryConfigInvalid(f"{self.place}: {key} is {value!r}; it must be {what}")
        return value

    def text(self, key: str, default: str = "") -> str:
        value: str = self.take(key=key, kind=str, what="text", default=default)
        return value

    def need(self, key: str) -> str:
        if key not in self.raw:
            raise RegistryConfigInvalid(f"{self.place}: {key} is missing")
        return self.text(key)

    def url(self, key: str) -> str:
        value = self.need(key).rstrip("/")
        if not value.startswith(("http://", "https://")):
            raise RegistryConfigInvalid(
                f"{self.place}: {key} is {value!r}; it must begin with http:// or https://"
            )
        return value

    def choice(self, key: str, values: tuple[str, ...]) -> str:
        value = self.text(key, values[0])
        if value not in values:
            raise RegistryConfigInvalid(
                f"{self.place}: {key} is {value!r}; it must be one of {', '.join(values)}"
            )
        return value

    def path(self, key: str) -> Path | None:
        """A path; relative ones start at the file's own directory. Absolute: programs that are started elsewhere see
        it."""
        value = self.text(key)
        return absolute(self._base / value) if value else None

    def number(self, key: str, default: int) -> int:
        value: int = self.take(key=key, kind=int, what="a whole number", default=default)
        if value < 0:
            raise RegistryConfigInvalid(f"{self.place}: {key} is {value}; it must not be negative")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value: bool = self.take(key=key, kind=bool, what="true or false", default=default)
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value: Any = self.take(key=key, kind=list, what="a list of text", default=list(default))
        if not all(isinstance(item, str) for item in value):
            raise RegistryConfigInvalid(f"{self.place}: {key} must be a list of text")
        return tuple(value)

    def networks(self, key: str) -> tuple[Network, ...]:
        """Addresses and networks (``10.0.0.0/8``)."""
        try:
            return tuple(ipaddress.ip_network(text, strict=False) for text in self.texts(key))
        except ValueError as error:
            raise RegistryConfigInvalid(f"{self.place}: {key}: {error}") from error

    def seconds(self, key: str, default: int) -> int:
        return self._converted(key, seconds, default)

    def size(self, key: str) -> int:
        return self._converted(key, size, 0)

    def _converted(self, key: str, convert: Callable[[object, str], int], default: int) -> int:
        value: object = self.take(key=key, kind=(int, str), what="text or a number", default=default)
        return convert(value, f"{self.place}: {key}")

    def sizes(self) -> dict[str, int]:
        """A table of sizes under names that the user chose."""
        return {key: size(value, f"{self.place}: {key}") for key, value in self.raw.items()}

    def table(self, key: str) -> _Table:
        raw: dict[str, Any] = self.take(key=key, kind=dict, what="a table", default={})
        return _Table(raw, f"{self.place}: [{key}]", self._base)

    def tables(self, key: str) -> list[_Table]:
        raw: list[Any] = self.take(key=key, kind=list, what=f"tables, each under [[{key}]]", default=[])
        if not all(isinstance(item, dict) for item in raw):
            raise RegistryConfigInvalid(f"{self.place}: {key} must be tables, each under [[{key}]]")
        return [
            _Table(item, f"{self.place}: [[{key}]] number {n}", self._base) for n, item in enumerate(raw, 1)
        ]

    def end(self) -> None:
        """Raises RegistryConfigInvalid for a key that means nothing."""
        for key in self.raw:
            import difflib

            near = difflib.get_close_matches(key, self._known, 1)
            raise RegistryConfigInvalid(
                f"{self.place}: unknown key {key!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(self._known))}",
            )
