"""Search over names, descriptions, labels and platforms, and stars.

What is searched lives beside the catalog, in the same database. Triggers note every repository that changed, in
the transaction that changed it; the next search describes those anew. So nothing is lost, whichever process pushed,
deleted or collected, and a push does not wait for it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from boxwright.registry.server.errors import NameUnknown
from boxwright.registry.server.store.blobs import BlobStorage
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.store.describe import Reader
from boxwright.spec.times import rfc3339

SORTS = {
    "relevance": "official DESC, stars DESC, pulls DESC, name",
    "stars": "stars DESC, pulls DESC, name",
    "pulls": "pulls DESC, name",
    "updated": "updated DESC, name",
    "name": "name",
}
_COLUMNS = "name, title, description, official, automated, stars, pulls, platforms, updated"
_CLOSENESS = (
    "CASE WHEN name = :term THEN 0 WHEN substr(name, -length(:term) - 1) = '/' || :term THEN 1 "
    "WHEN substr(name, 1, length(:term)) = :term THEN 2 WHEN instr(name, :term) THEN 3 ELSE 4 END"
)
_RANKED = 2000  # matches that are ranked one by one; of more, the popular ones come first
_MANY = 10_000  # of more than so many, the next hit is near in any order: the text index is not needed
_COUNTED = 200  # of what is not ranked, only so many are counted
_BATCH = 1000  # described in one transaction: the text index is written once for all of them
FEW = 50  # changed repositories that a search describes itself, before it looks
_MOST_WORDS = 8
MOST_OFFSET = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A repository that was found. `updated` in unix seconds."""

    name: str
    title: str
    description: str
    official: bool
    automated: bool
    stars: int
    pulls: int
    platforms: tuple[str, ...]
    updated: float


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of hits. `total` counts all that the principal may see; it is a lower bound unless `exact`."""

    hits: tuple[SearchHit, ...]
    total: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for. All words must be found, anywhere; `official` None = either."""

    words: tuple[str, ...] = ()
    official: bool | None = None
    platform: str = ""
    sort: str = "relevance"
    limit: int = 25
    offset: int = 0

    @classmethod
    def of(cls, text: str, **more: Any) -> Question:
        """From what a user typed."""
        return cls(tuple(dict.fromkeys(text.lower()[:300].split()[:_MOST_WORDS])), **more)


class Search:
    """Stateless; every call blocks."""

    def __init__(self, catalog: RegistryCatalog, blobs: BlobStorage) -> None:
        self._catalog, self._blobs = catalog, blobs

    # --- what is searched --------------------------------------------------------------------------

    def pending(self) -> int:
        """How many repositories changed since they were described; counts a few only."""
        count: int = (
            self._catalog.connection()
            .execute("SELECT count(*) FROM (SELECT 1 FROM search_todo LIMIT ?)", (FEW + 1,))
            .fetchone()[0]
        )
        return count

    def refresh(self, limit: int = _BATCH) -> int:
        """Describe repositories that changed, the newest ones first; returns how many."""
        todo = (
            self._catalog.connection()
            .execute(
                "SELECT t.repository, t.change, r.name, r.updated, o.description FROM search_todo t LEFT "
                "JOIN repositories r ON r.id = t.repository "
                "LEFT JOIN own_descriptions o ON o.repository = t.repository ORDER BY t.repository DESC LIMIT ?",
                (limit,),
            )
            .fetchall()
        )
        rows = []
        for id, _, name, updated, own in reversed(todo):  # the text index takes ascending ids in one go
            if name is None:
                continue
            about = Reader(self._catalog, self._blobs, name).about()
            labels = "\n".join(f"{k}={v}" for k, v in about.labels.items())
            platforms = " ".join(("", *about.platforms, ""))
            rows.append(
                (
                    id,
                    name,
                    about.title,
                    about.description if own is None else own,
                    labels,
                    platforms,
                    is_official(name),
                    updated,
                )
            )
        if todo:
            with self._catalog.write() as sql:
                self._record(sql, rows)
                sql.executemany(
                    "DELETE FROM search_todo WHERE repository = ? AND change = ?", [row[:2] for row in todo]
                )
        return len(todo)

    def _record(self, sql: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        """What is known is changed where it is other; what is new comes in one statement, since the text index is
        written down after each. Pulls and stars are as they are now: a trigger counts those that come later."""
        ids = json.dumps([row[0] for row in rows])
        known = {
            id
            for (id,) in sql.execute(
                "SELECT id FROM search WHERE id IN (SELECT value FROM json_each(?))", (ids,)
            )
        }
        old = [row for row in rows if row[0] in known]
        sql.executemany(
            "UPDATE search SET updated = ?2 WHERE id = ?1",
            [(row[0], row[7]) for row in old],
        )
        sql.executemany(
            "UPDATE search SET title = ?2, description = ?3, labels = ?4, platforms = ?5 WHERE id = ?1 "
            "AND (title, description, labels, platforms) IS NOT (?2, ?3, ?4, ?5)",
            [(row[0], *row[2:6]) for row in old],
        )
        fields = ", ".join(f"value ->> {n}" for n in range(8))
        sql.execute(
            "INSERT INTO search (id, name, title, description, labels, platforms, official, updated, pulls, stars) "
            f"SELECT {fields}, r.pulls, (SELECT count(*) FROM stars WHERE repository = r.id) "
            "FROM json_each(?) CROSS JOIN repositories r ON r.id = value ->> 0",  # in the order of the ids
            (json.dumps([row for row in rows if row[0] not in known]),),
        )

    # --- searching ---------------------------------------------------------------------------------

    def find(self, question: Question, visible: Callable[[str], bool]) -> SearchPage:
        """The page of hits that the asker may see."""
        ids = self._matches(question)
        few = ids is not None and len(ids) <= _RANKED
        most = _RANKED if few else max(_COUNTED, question.offset + question.limit)
        page: list[int] = []
        total = 0
        for id, name in self._candidates(question, ids, few):
            if not visible(name):
                continue
            total += 1
            if question.offset < total <= question.offset + question.limit:
                page.append(id)
            elif total > most:
                return SearchPage(self._hits(page), total, False)
        return SearchPage(self._hits(page), total, True)

    def _matches(self, question: Question) -> list[int] | None:
        """What the text index finds; None when it is not asked (nothing of three characters), or finds too many."""
        terms = [_quoted(word) for word in question.words if len(word) >= 3]
        if question.platform:
            before, after = _ends(question.platform)
            terms.append(f"platforms : ({_quoted(before + ' ')} OR {_quoted(after)})")
        if not terms:
            return None
        rows = self._catalog.connection().execute(
            "SELECT rowid FROM search_text WHERE search_text MATCH ? LIMIT ?",
            (" AND ".join(terms), _MANY + 1),
        )
        ids = [id for (id,) in rows]
        return ids if len(ids) <= _MANY else None

    def _candidates(self, question: Question, ids: list[int] | None, few: bool) -> Iterator[tuple[int, str]]:
        """Ids and names, best first. Few are ranked; of many, an index gives the order and is read as far as needed."""
        conditions, arguments = ["1"], dict[str, Any]()
        for number, word in enumerate(question.words):
            if len(word) < 3:
                conditions.append(f"instr(name, :w{number})")
            elif ids is None:
                conditions.append(
                    f"(instr(name, :w{number}) OR instr(lower(title || char(10) || description || char(10) "
                    f"|| labels || platforms), :w{number}))"
                )
            arguments[f"w{number}"] = word
        if ids is not None:
            conditions.append(f"{'' if few else '+'}id IN (SELECT value FROM json_each(:ids))")
            arguments["ids"] = json.dumps(ids)
        elif question.platform:
            before, after = _ends(question.platform)
            conditions.append("(instr(platforms, :before) OR instr(platforms, :after))")
            arguments.update(before=before + " ", after=after)
        if question.official is not None:
            conditions.append(f"official = {int(question.official)}")
        order = SORTS[question.sort]
        first: list[tuple[int, str]] = []
        if question.sort == "relevance" and question.words:
            term = " ".join(question.words)
            arguments["term"] = term
            if few:
                order = f"{_CLOSENESS}, {order}"
            elif (
                ids is None or len(question.words) == 1
            ):  # what is called exactly so comes first all the same
                first = self._rows(
                    f"SELECT id, name FROM search WHERE name IN (:term, 'library/' || :term) AND "
                    f"{' AND '.join(conditions)}",
                    arguments,
                ).fetchall()
                yield from first
        for row in self._rows(
            f"SELECT id, name FROM search WHERE {' AND '.join(conditions)} ORDER BY {order}", arguments
        ):
            if row not in first:
                yield row

    def _rows(self, query: str, arguments: Mapping[str, Any]) -> sqlite3.Cursor:
        return self._catalog.connection().execute(query, arguments)

    def _hits(self, ids: list[int]) -> tuple[SearchHit, ...]:
        rows = self._rows(
            f"SELECT id, {_COLUMNS} FROM search WHERE id IN (SELECT value FROM json_each(:ids))",
            {"ids": json.dumps(ids)},
        )
        found = {row[0]: _hit(row[1:]) for row in rows}
        return tuple(found[id] for id in ids if id in found)

    def hit(self, repository: str) -> SearchHit:
        """One repository as a search would show it. Raises NameUnknown."""
        for row in self._rows(f"SELECT {_COLUMNS} FROM search WHERE name = :name", {"name": repository}):
            return _hit(row)
        raise NameUnknown(
            f"repository {repository} is not known to the registry", detail={"name": repository}
        )

    def tag_count(self, repository: str) -> int:
        """How many tags the repository has."""
        count: int = (
            self._catalog.connection()
            .execute(
                "SELECT count(*) FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?)",
                (repository,),
            )
            .fetchone()[0]
        )
        return count

    # --- stars and descriptions ----------------------------------------------------------------------

    def star(self, repository: str, user: str, on: bool) -> int:
        """Set or take a user's star; returns how many there are now. Raises NameUnknown."""
        self.hit(repository)
        with self._catalog.write() as sql:
            if on:
                sql.execute(
                    "INSERT OR IGNORE INTO stars SELECT id, ?, ? FROM repositories WHERE name = ?",
                    (user, time.time(), repository),
                )
            else:
                sql.execute(
                    "DELETE FROM stars WHERE user = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                    (user, repository),
                )
            row = sql.execute("SELECT stars FROM search WHERE name = ?", (repository,)).fetchone()
        return int(row[0]) if row else 0

    def starred(self, repository: str, user: str) -> bool:
        """Whether the user gave it a star."""
        return (
            self._catalog.connection()
            .execute(
                "SELECT 1 FROM stars WHERE user = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (user, repository),
            )
            .fetchone()
            is not None
        )

    def describe(self, repository: str, description: str | None) -> None:
        """The owners' words instead of the image's; None = the image's again. Raises NameUnknown."""
        self.hit(repository)
        with self._catalog.write() as sql:
            sql.execute(
                "DELETE FROM own_descriptions WHERE repository = (SELECT id FROM repositories WHERE name = ?)",
                (repository,),
            )
            if description is not None:
                sql.execute(
                    "INSERT INTO own_descriptions SELECT id, ? FROM repositories WHERE name = ?",
                    (description, repository),
                )


def _quoted(text: str) -> str:
    """A phrase for the text index."""
    return '"' + text.replace('"', '""') + '"'


def _ends(platform: str) -> tuple[str, str]:
    """How the platform begins in the list of platforms: complete, and with a variant behind it."""
    start = (" " if "/" in platform else "/") + platform.lower()
    return start, start + "/"


def is_official(name: str) -> bool:
    """Repositories of the root, and of ``library/``, are the administrators'."""
    return "/" not in name or name.startswith("library/")


def _hit(row: tuple[Any, ...]) -> SearchHit:
    name, title, description, official, automated, stars, pulls, platforms, updated = row  # as in _COLUMNS
    return SearchHit(
        name=name,
        title=title,
        description=description,
        official=bool(official),
        automated=bool(automated),
        stars=stars,
        pulls=pulls,
        platforms=tuple(platforms.split()),
        updated=updated,
    )


def to_json(hit: SearchHit) -> dict[str, Any]:
    """As the JSON API shows it."""
    return {
        "name": hit.name,
        "title": hit.title,
        "description": hit.description,
        "official": hit.official,
        "automated": hit.automated,
        "stars": hit.stars,
        "pulls": hit.pulls,
        "platforms": list(hit.platforms),
        "updated": rfc3339(hit.updated, digits=0),
    }


def body(value: object) -> bytes:
    """JSON as the API sends it."""
    return json.dumps(value, ensure_ascii=False).encode()
