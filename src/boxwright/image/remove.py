"""Taking names and images away, by Docker's rules (moby daemon/images/image_delete.go).

Only rows change here; the bytes go with the collector's next sweep (`image.collect`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from boxwright.content.lease import in_use
from boxwright.errors import Conflict
from boxwright.image.catalog import ImageCatalog, ImageRow, NoSuchImage, familiar, quick_normal, split
from boxwright.image.describe import ImageSummary, seconds, summaries
from boxwright.image.filters import Filters, check_names, flag, labels_match, moment
from boxwright.spec.values import dataclass

PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class ImageInUse(Conflict):
    """A container or another name needs the image."""


@dataclass(frozen=True, slots=True)
class Use:
    """A container that was made from an image. `target` is the digest of the image's manifest or index; `layers` (diff
    IDs) and `volumes` (names) are what else it keeps."""

    container: str
    target: str
    running: bool
    layers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """One line of `rmi`: what happened ('Untagged' or 'Deleted') to what, and of which image (None: it is not about an
    image)."""

    action: str
    what: str
    image: ImageRow | None = None


class Remover:
    """Removal over a catalog; `uses` are all containers, running or not."""

    def __init__(self, catalog: ImageCatalog, uses: Iterable[Use] = ()) -> None:
        self._catalog = catalog
        self._db = catalog.db
        self._uses = list(uses)

    def remove(self, text: str, *, force: bool = False, prune: bool = True) -> list[Removed]:
        """What ``rmi text`` does; `prune` also removes unnamed parents. Raises NoSuchImage, AmbiguousId, ImageInUse."""
        with self._db.write():
            name = self._name_of(text)
            row = self._catalog.resolve(text)
            if not name and "@" in text:  # found by its digest under another name, which was not meant
                raise NoSuchImage(
                    f"No such image: {text}",
                    hint="`boxwright images --digests` lists the digests that images have as names",
                )
            lines: list[Removed] = []
            if name:
                if self._untag_one(name=name, row=row, lines=lines, text=text, force=force):
                    return lines
            else:
                names = self._names(row.image_id)
                if _single(names):
                    self._check(row.image_id, force=force, several=False)
                    self._untag(names, lines, row)
                elif not force:
                    raise ImageInUse(
                        f"conflict: unable to delete {row.image_id[7:19]} (must be forced) - image is "
                        f"referenced in multiple repositories",
                        hint="remove its names one by one, or use --force",
                    )
            self._delete(row.image_id, lines, force=force, prune=prune, quiet=bool(name))
            return lines

    def prune(self, filters: Filters | None = None, *, everything: bool = False) -> list[Removed]:
        """What ``image prune`` does: unnamed images, or with `everything` all that no container uses.

        Raises FilterInvalid.
        """
        filters = filters or {}
        check_names(filters, PRUNE_FILTERS)
        everything = everything or flag(filters, "dangling") is False
        ends = [moment(text) for text in filters.get("until", ())]
        lines: list[Removed] = []
        with self._db.write():
            used = {use.target for use in self._uses} | in_use(self._db, "image")
            for image in summaries(self._catalog, show_all=True):
                if not _prunable(
                    image=image, filters=filters, ends=ends, everything=everything
                ) or not used.isdisjoint(image.targets):
                    continue
                row = self._catalog.same_image(image.id)[0]
                self._untag(self._names(image.id), lines, row)
                self._drop_rows(row, lines)
        return lines

    # --- parts ---------------------------------------------------------------------------------

    def _name_of(self, text: str) -> str:
        """The normalised name that `text` is; '' when it is an ID."""
        from boxwright.errors import Invalid
        from boxwright.spec.reference import Reference

        candidates = [quick_normal(text)]
        try:
            reference = Reference.parse(text).with_default_tag()
            candidates.append(f"{reference.name}@{reference.digest}" if reference.digest else str(reference))
        except Invalid:
            pass
        with self._db.read() as sql:
            for name in filter(None, candidates):
                if sql.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone():
                    return name
        return ""

    def _names(self, image_id: str) -> list[str]:
        return [name for row in self._catalog.same_image(image_id) for name in row.names]

    def _untag_one(self, name: str, row: ImageRow, lines: list[Removed], text: str, force: bool) -> bool:
        """Remove one name; True when others remain, so that the image stays."""
        names = self._names(row.image_id)
        if not force and _single(names) and (use := self._user(row.image_id)):
            raise ImageInUse(
                f'conflict: unable to remove repository reference "{text}" (must force) - container '
                f"{use.container[:12]} "
                f"is using its referenced image {row.image_id[7:19]}",
                hint=f"boxwright rm {use.container[:12]}",
            )
        self._untag([name], lines, row)
        rest = self._names(row.image_id)
        repository = split(name)[0]
        same = [n for n in rest if split(n)[0] == repository]
        # Digests of a repository without a tag left name nothing that a user knows.
        if "@" not in name and all("@" in n for n in same):
            self._untag(same, lines, row)
            rest = [n for n in rest if n not in same]
        return bool(rest)

    def _untag(self, names: Sequence[str], lines: list[Removed], row: ImageRow) -> None:
        with self._db.write() as sql:
            sql.executemany("DELETE FROM names WHERE name = ?", [(n,) for n in names])
        lines += [Removed("Untagged", familiar(n), row) for n in names]

    def _user(self, image_id: str, *, running: bool | None = None) -> Use | None:
        targets = {row.target for row in self._catalog.same_image(image_id)}
        return next(
            (u for u in self._uses if u.target in targets and (running is None or u.running == running)), None
        )

    def _check(self, image_id: str, *, force: bool, several: bool = True) -> None:
        short = image_id[7:19]
        if use := self._user(image_id, running=True):
            raise ImageInUse(
                f"conflict: unable to delete {short} (cannot be forced) - image is being used by running "
                f"container {use.container[:12]}",
                hint=f"boxwright rm -f {use.container[:12]}",
            )
        if force:
            return
        if several and len(self._names(image_id)) > 1:
            raise ImageInUse(
                f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )
        if use := self._user(image_id, running=False):
            raise ImageInUse(
                f"conflict: unable to delete {short} (must be forced) - image is being used by stopped "
                f"container {use.container[:12]}",
                hint=f"boxwright rm {use.container[:12]}",
            )

    def _delete(self, image_id: str, lines: list[Removed], *, force: bool, prune: bool, quiet: bool) -> None:
        try:
            self._check(image_id, force=force)
        except ImageInUse:
            # The name is gone, as asked; that a container still needs the image is no failure.
            if quiet and self._user(image_id):
                return
            raise
        rows = self._catalog.same_image(image_id)
        parent = next((row.parent for row in rows if row.parent), "")
        self._untag(self._names(image_id), lines, rows[0])
        self._drop_rows(rows[0], lines)
        if prune and parent:
            self._prune_parent(parent, lines)

    def _drop_rows(self, row: ImageRow, lines: list[Removed]) -> None:
        with self._db.write() as sql:
            sql.execute("DELETE FROM images WHERE image_id = ?", (row.image_id,))
        lines.append(Removed("Deleted", row.image_id, row))

    def _prune_parent(self, image_id: str, lines: list[Removed]) -> None:
        """A parent that nothing names, uses or builds on any more goes too."""
        rows = self._catalog.same_image(image_id)
        with self._db.read() as sql:
            children = sql.execute("SELECT 1 FROM images WHERE parent = ? LIMIT 1", (image_id,)).fetchone()
        if not rows or children or self._names(image_id) or self._user(image_id):
            return
        self._delete(image_id, lines, force=False, prune=True, quiet=True)


def _prunable(image: ImageSummary, filters: Filters, ends: Sequence[float], everything: bool) -> bool:
    if image.tags and not everything:
        return False
    if image.digests and not everything:
        return False
    return labels_match(image.labels, filters) and all(seconds(image.created) < end for end in ends)


def _single(names: Sequence[str]) -> bool:
    """Whether the names are one reference: at most one tag, and digests only of its repository."""
    tags = [n for n in names if "@" not in n]
    digest_repositories = {split(n)[0] for n in names if "@" in n}
    if len(names) <= 1:
        return True
    if len(tags) > 1:
        return False
    repository = split((tags or list(names))[0])[0]
    return digest_repositories == {repository}


__all__ = ["ImageInUse", "NoSuchImage", "Removed", "Remover", "Use"]
