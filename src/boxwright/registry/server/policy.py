"""Who may do what: namespaces as Docker Hub has them, then the configuration's rules. Pure; knows no requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from boxwright.registry.server.config import ACTIONS, Auth, Rule

CATALOG = "registry:catalog"  # stands where a repository would, for lists and searches


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
    """What a token is limited to: repositories by glob, and actions (``*`` = all)."""

    repository: str
    actions: frozenset[str]

    def covers(self, repository: str, action: str) -> bool:
        return (action in self.actions or "*" in self.actions) and glob(self.repository).match(
            repository
        ) is not None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `name` is '' for nobody in particular; `grants` limits a token, None = all that the account may.

    `issued` = the grants were asked for request by request (a bearer token), so that asking again may widen them.
    """

    name: str = ""
    grants: tuple[Grant, ...] | None = None
    issued: bool = False

    def granted(self, repository: str, action: str) -> bool:
        """Whether the token's own limits allow it."""
        return self.grants is None or any(g.covers(repository, action) for g in self.grants)


NOBODY = Principal()


class Policy:
    """Decides by account, repository and action."""

    def __init__(self, auth: Auth, mirrors: tuple[str, ...] = ()) -> None:
        self._auth = auth
        self._mirrors = mirrors
        self._member: Mapping[str, frozenset[str]] = {
            org: frozenset(names) for org, names in auth.organisations.items()
        }

    def is_admin(self, user: str) -> bool:
        return bool(user) and user in self._auth.admins

    def allowed(self, user: str, repository: str, action: str) -> bool:
        """`action`: pull, push, delete; on `CATALOG` anything."""
        if self.is_admin(user):
            return True
        if repository == CATALOG:
            return bool(user) or bool(self._auth.anonymous)
        for rule in self._auth.rules:
            if action in rule.actions and glob(rule.repository).match(repository) and self._meant(rule, user):
                return rule.allow
        return self._by_namespace(user, repository, action)

    def actions(self, user: str, repository: str) -> frozenset[str]:
        """All that the account may do there."""
        return frozenset(a for a in ACTIONS if self.allowed(user, repository, a))

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
        ``library/`` are nobody's but the administrators'."""
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
