"""Who may do what: namespaces as Docker Hub has them, then the configuration's rules. Pure; knows no requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from boxwright.registry.server.config import ACTIONS, Auth, Rule

CATALOG = "registry:catalog"  # stands where a repository would, for lists and searches
LISTS = ("catalog", "search")
EVERYONE = "@accounts"  # stands for a repository in a scope: what any account may
_ANY_ACCOUNT = "*"  # no account has this name: rules for ``*`` fit it, and no namespace is its own


@lru_cache(4096)
def glob(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within one part of a name, ``**`` does not; ``a/**`` also fits ``a``."""
    out, i = "", 0
    while i < len(pattern):
        if pattern.startswith("/**", i) and i + 3 == len(pattern):
            out, i = out + "(?:/.*)?", i + 3
        elif pattern.startswith("**", i):
            out, i = out + ".*", i + 2
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(pattern[i], re.escape(pattern[i]))
            i += 1
    return re.compile(out + r"\Z", re.S)


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether any of the globs fits."""
    return any(glob(p).match(name) for p in patterns)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a lasting token is limited to: repositories by glob, and actions (``*`` = all). The repository `EVERYONE`
    means what any account may do there."""

    repository: str
    actions: frozenset[str]

    def covers(self, repository: str, action: str) -> bool:
        return (action in self.actions or "*" in self.actions) and glob(self.repository).match(
            repository
        ) is not None


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request comes from. `name` is '' for an anonymous client.

    `limits` are the scopes of a lasting token, None = all that the account may. `asked` is what a signed token was
    fetched for, (repository, action) by (repository, action), None = no signed token: asking again may give another.
    """

    name: str = ""
    limits: tuple[Grant, ...] | None = None
    asked: frozenset[tuple[str, str]] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is the account itself: by its password, a session, or a token without limits."""
        return bool(self.name) and self.limits is None and self.asked is None

    @property
    def account(self) -> Principal:
        """What the best signed token of the same credential might do."""
        return Principal(self.name, self.limits)

    def fetched(self, resource: str, action: str) -> bool:
        """Whether a signed token is for this; what is no signed token is for everything."""
        return self.asked is None or (resource, action) in self.asked or (resource, "*") in self.asked


ANONYMOUS = Principal()


class Policy:
    """Decides by principal, action and repository."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._open = bool(auth.anonymous) or any(r.allow and "anonymous" in r.users for r in auth.rules)
        self._member: Mapping[str, frozenset[str]] = {
            org: frozenset(names) for org, names in auth.organisations.items()
        }

    def may(self, who: Principal, action: str, repository: str = "") -> bool:
        """The one decision, whichever route a request came by.

        Of a repository: ``pull``, ``push``, ``delete``, ``star``, and ``see`` (whether lists may name it: what could
        be pulled with the same credential). Of none: ``base`` (credentials at all), the lists ``catalog`` and
        ``search``, and ``administer``.
        """
        if action == "base":
            return who != ANONYMOUS
        if action == "administer":
            return who.whole and self._is_admin(who.name)
        if action in LISTS:
            return (bool(who.name) or self._open) and who.fetched(CATALOG, action)
        if action == "star":
            return who.whole and self._within(who, "pull", repository)
        if action == "see":
            return self._within(who, "pull", repository)
        return self._within(who, action, repository) and who.fetched(repository, action)

    def actions(self, who: Principal, repository: str) -> frozenset[str]:
        """All that a credential may do there."""
        return frozenset(a for a in ACTIONS if self.may(who, a, repository))

    def _within(self, who: Principal, action: str, repository: str) -> bool:
        """By the account, and by the limits of its token. What is open to anonymous clients no limits take away:
        without the token it could be had as well."""
        if not self._allowed(who.name, action, repository):
            return False
        if who.limits is None or any(g.covers(repository, action) for g in who.limits):
            return True
        if any(g.repository == EVERYONE and action in g.actions for g in who.limits):
            return self._allowed(_ANY_ACCOUNT, action, repository)
        return self._allowed("", action, repository)

    def _is_admin(self, user: str) -> bool:
        return bool(user) and user in self._auth.admins

    def _allowed(self, user: str, action: str, repository: str) -> bool:
        if self._is_admin(user):
            return True
        for rule in self._auth.rules:
            if action in rule.actions and glob(rule.repository).match(repository) and self._meant(rule, user):
                return rule.allow
        return self._by_namespace(user, repository, action)

    def _meant(self, rule: Rule, user: str) -> bool:
        if not user:
            return "anonymous" in rule.users
        return (
            user in rule.users
            or "*" in rule.users
            or any(w[:1] == "@" and user in self._member.get(w[1:], ()) for w in rule.users)
        )

    def owns(self, user: str, repository: str) -> bool:
        """Whether the repository is in a namespace of the user: the own one, or an organisation's. The root and
        ``library/`` are the administrators' alone."""
        namespace, slash, _ = repository.partition("/")
        if not user or not slash or namespace == "library":
            return False
        if namespace in self._member:
            return user in self._member[namespace]
        return namespace == user

    def _by_namespace(self, user: str, repository: str, action: str) -> bool:
        if self.owns(user, repository):
            return True
        if action != "pull" or fits(repository, self._auth.private):
            return False
        return bool(user) or fits(repository, self._auth.anonymous)
