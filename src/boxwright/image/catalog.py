"""Reading names and image rows: what `images`, `history`, `inspect` and every look-up need, and nothing more.

This module is on the path of commands that must answer in a few milliseconds: it imports no hashing, no JSON
and no value classes; a malformed or unknown name loads the full grammar for its error only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from boxwright.content.db import Database
from boxwright.errors import Conflict, Corrupt, NotFound
from boxwright.files.places import Places
from boxwright.spec.values import dataclass

TYPE_CHECKING = False  # `typing` costs as much as listing
if TYPE_CHECKING:
    from typing import Any

COLUMNS = (
    "target, media_type, size, image_id, manifest, platform, created, bytes, labels, parent, added, last_used"
)
_HEX = frozenset("0123456789abcdef")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/:")
_LIBRARY = "docker.io/library/"


class NoSuchImage(NotFound):
    """Nothing here has this name or ID."""


class AmbiguousId(Conflict):
    """A prefix of an ID fits several images."""


class ImageDamaged(Corrupt):
    """A row of the database points at content that is gone."""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image: a manifest or index, with what listings show of it. Digests are text; `labels` is a JSON
    object as text; `created` is RFC 3339, '' when unknown; `added` and `last_used` are unix seconds."""

    target: str
    media_type: str
    size: int
    image_id: str
    manifest: str
    platform: str
    created: str
    bytes: int
    labels: str
    parent: str
    added: float
    last_used: float
    names: tuple[str, ...] = ()  # normalised, sorted

    @property
    def tags(self) -> list[str]:
        """Names with a tag, as Docker prints them."""
        return [familiar(name) for name in self.names if "@" not in name]

    @property
    def digests(self) -> list[str]:
        """Names with a digest, as Docker prints them."""
        return [familiar(name) for name in self.names if "@" in name]


def familiar(name: str) -> str:
    """A normalised name as Docker prints it: without ``docker.io/`` and ``library/``."""
    if name.startswith("docker.io/library/"):
        rest = name[18:]
        return rest if "/" not in rest else "library/" + rest
    return name.removeprefix("docker.io/")


def split(name: str) -> tuple[str, str, str]:
    """Repository, tag and digest of a name that may have either; '' for what is missing."""
    name, _, digest = name.partition("@")
    slash = name.rfind("/")
    colon = name.rfind(":")
    if colon > slash:
        return name[:colon], name[colon + 1 :], digest
    return name, "", digest


def quick_normal(text: str) -> str:
    """The normal form of an ordinary name such as ``user/app:1``; '' when only the full grammar can say."""
    if not text or not _PLAIN.issuperset(text) or text[0] in "/:.-" or "//" in text:
        return ""
    repository, tag, _ = split(text)
    head, slash, _ = repository.partition("/")
    if not slash:
        repository = _LIBRARY + repository
    elif head == "docker.io":
        return ""
    elif not ("." in head or ":" in head or head == "localhost"):
        repository = "docker.io/" + repository
    elif head == "index.docker.io":
        return ""
    return f"{repository}:{tag or 'latest'}"


class ImageCatalog:
    """Names and image rows under a root. Threads may share it."""

    def __init__(self, root: Path, db: Database) -> None:
        self._root = root
        self.db = db

    def tell(self, action: str, row: ImageRow, name: str = "", *, identity: str = "") -> None:
        """Something happened to an image, for `events`, under a name or its ID. Its labels are told with it."""
        import json

        from boxwright.content import journal

        attributes = {**json.loads(row.labels or "{}"), "name": name or row.image_id}
        journal.tell(
            str(Places(self._root).events),
            kind="image",
            action=action,
            identity=identity or row.image_id,
            attributes=attributes,
        )

    def rows(self, where: str = "", arguments: Iterable[Any] = ()) -> list[ImageRow]:
        """Image rows with their names, newest first; `where` is an SQL condition on table images."""
        condition = f" WHERE {where}" if where else ""
        arguments = tuple(arguments)
        names: dict[str, list[str]] = {}
        with self.db.read() as sql:
            # One after the other: a name that is set in between belongs to a row that is not shown yet.
            found = sql.execute(
                f"SELECT {COLUMNS} FROM images{condition} ORDER BY created DESC, added DESC", arguments
            ).fetchall()
            subset = f" WHERE target IN (SELECT target FROM images{condition})" if where else ""
            for name, target in sql.execute(
                f"SELECT name, target FROM names{subset} ORDER BY name", arguments if where else ()
            ):
                names.setdefault(target, []).append(name)
        return [ImageRow(*(*row, tuple(names.get(row[0], ())))) for row in found]

    def listing(self) -> list[tuple[str, str, str, str, int, str, str]]:
        """Of every image, newest first: target, image ID, parent, created, bytes, labels, platform."""
        with self.db.read() as sql:
            return sql.execute(
                "SELECT target, image_id, parent, created, bytes, labels, platform FROM images ORDER BY "
                "created DESC, added DESC"
            ).fetchall()

    def names_by_target(self) -> dict[str, list[str]]:
        """Every name, sorted, under what it points at."""
        found: dict[str, list[str]] = {}
        with self.db.read() as sql:
            for name, target in sql.execute("SELECT name, target FROM names ORDER BY name"):
                if target in found:
                    found[target].append(name)
                else:
                    found[target] = [name]
        return found

    def target_of(self, name: str) -> str:
        """The digest that a name in its normal form points at, '' when it is not set."""
        with self.db.read() as sql:
            row = sql.execute("SELECT target FROM names WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def tagged_in(self, repository: str) -> list[str]:
        """The names with a tag of one repository (``domain/path``), sorted."""
        prefix = repository + ":"
        with self.db.read() as sql:
            rows = sql.execute(
                "SELECT name FROM names WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
            ).fetchall()
        return [name for (name,) in rows if "@" not in name]

    def find(self, text: str, *, digits: int = 1) -> ImageRow | None:
        """Like `resolve`, with None for what is not here. Raises AmbiguousId, ReferenceInvalid."""
        quick = quick_normal(text)
        if quick and (row := self._named(quick)):
            return row
        if len(text) >= digits and (row := self._by_id(text)):
            return row
        from boxwright.spec.reference import Reference

        if text.startswith(("sha256:", "sha512:")) or (len(text) == 64 and _HEX.issuperset(text)):
            return None
        reference = Reference.parse(text)
        if not reference.digest:
            return self._named(str(reference.with_default_tag()))
        exact = f"{reference.name}@{reference.digest}"
        if row := self._named(exact):
            return row
        # A digest that is here under another tag of the same repository.
        rows = self.rows("target = ? OR manifest = ?", (reference.digest, reference.digest))
        return next((r for r in rows if any(split(n)[0] == reference.name for n in r.names)), None)

    def resolve(self, text: str, *, digits: int = 1) -> ImageRow:
        """The image with this name, digest, ID or unambiguous ID prefix; names win over IDs, as in Docker. A text of
        less than `digits` is a name.

        Raises NoSuchImage, AmbiguousId, ReferenceInvalid.
        """
        row = self.find(text, digits=digits)
        if row is None:
            raise NoSuchImage(
                f"No such image: {self._shown(text)}",
                hint="`boxwright images` lists what is here; `boxwright pull` fetches",
            )
        return row

    def has(self, target: str) -> bool:
        """Whether there is an image of this manifest or index."""
        with self.db.read() as sql:
            return sql.execute("SELECT 1 FROM images WHERE target = ?", (target,)).fetchone() is not None

    def same_image(self, image_id: str) -> list[ImageRow]:
        """Every row of one image ID: an image may be here under several manifests."""
        return self.rows("image_id = ?", (image_id,))

    def _named(self, name: str) -> ImageRow | None:
        rows = self.rows("target = (SELECT target FROM names WHERE name = ?)", (name,))
        return rows[0] if rows else None

    def _by_id(self, text: str) -> ImageRow | None:
        prefix = text.removeprefix("sha256:")
        if not prefix or len(prefix) > 64 or not _HEX.issuperset(prefix):
            return None
        low, high = f"sha256:{prefix}", f"sha256:{prefix}g"  # 'g' sorts after every hex digit
        rows = self.rows("image_id >= ? AND image_id < ?", (low, high))
        if not rows:
            rows = self.rows(
                "(target >= ? AND target < ?) OR (manifest >= ? AND manifest < ?)", (low, high, low, high)
            )
        ids = sorted({row.image_id for row in rows})
        if len(ids) > 1:
            raise AmbiguousId(
                f"image ID {text!r} is ambiguous: it fits " + ", ".join(i[7:19] for i in ids[:5]),
                hint="give more digits",
            )
        # A whole digest names its own row, whatever index the same manifest is in.
        return max(rows, key=lambda row: (row.target == low, bool(row.names), row.added)) if rows else None

    @staticmethod
    def _shown(text: str) -> str:
        from boxwright.errors import Invalid
        from boxwright.spec.reference import Reference

        try:
            return Reference.parse(text).with_default_tag().familiar
        except Invalid:
            return text

    def last_tagged(self, row: ImageRow) -> float:
        """Unix seconds of the newest name; 0 when it has none."""
        with self.db.read() as sql:
            value = sql.execute("SELECT max(updated) FROM names WHERE target = ?", (row.target,)).fetchone()[
                0
            ]
        return float(value or 0)

    def blob(self, digest: str) -> bytes:
        """A small stored blob by digest text. It was verified when it was written. Raises ImageDamaged."""
        algorithm, _, hexed = digest.partition(":")
        try:
            return Places(self._root).blob(algorithm, hexed).read_bytes()
        except FileNotFoundError as error:
            raise ImageDamaged(
                f"the store lacks {digest}",
                hint="`boxwright system fsck --repair` drops what is broken; pull or load the image again",
            ) from error
