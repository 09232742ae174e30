"""What builds left behind to be quicker next time, as `system df`, `buildx du` and the prunes see it: step records
(rows, which keep layers) and the directories of ``RUN --mount=type=cache`` (ROOT/cache/mounts)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from boxwright.content.db import Database
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.files.places import Places
from boxwright.files.trees import set_aside
from boxwright.image.filters import FilterInvalid, Filters, check_names, flag, moment
from boxwright.image.steps import StepCache
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

MOUNT = "exec.cachemount"  # the kind of a cache mount: BuildKit's word
_TEXTS = ("id", "parents", "type", "description")
_FLAGS = ("inuse", "shared", "private", "mutable", "immutable")
FILTERS = ("until", "unused-for", *(name + sign for name in _TEXTS for sign in ("", "!", "~")), *_FLAGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A step record or a cache mount. `layers` are the diff IDs that a record keeps; `path` is the directory of a
    mount. `bytes` is what a record's step yielded. Times are unix seconds. `in_use`: what it keeps costs nothing,
    since images and containers keep it too. `parents` are the keys of records of the stack without its top layer."""

    key: str
    kind: str
    name: str
    layers: tuple[str, ...] = ()
    path: Path | None = None
    bytes: int = 0
    created: float = 0.0
    last_used: float = 0.0
    uses: int = 0
    in_use: bool = False
    parents: tuple[str, ...] = ()


class BuildCache:
    """The build cache of one root."""

    def __init__(self, root: Path, db: Database) -> None:
        self._places = Places(root)
        self._steps = StepCache(db)

    def entries(self, kept: set[str]) -> list[CacheEntry]:
        """Oldest first. `kept` are the layers of images and containers."""
        steps = self._steps.summaries()
        of_stack: dict[tuple[str, ...], list[str]] = {}
        for step in steps:
            of_stack.setdefault(step.layers, []).append(step.key)
        found = [
            CacheEntry(
                key=step.key,
                kind=step.kind,
                name=step.name,
                layers=step.layers,
                bytes=step.bytes,
                created=step.created,
                last_used=step.last_used,
                uses=step.uses,
                in_use=bool(step.layers) and kept.issuperset(step.layers),
                parents=tuple(sorted(of_stack.get(step.layers[:-1], ()))) if len(step.layers) > 1 else (),
            )
            for step in steps
        ]
        return sorted([*found, *self._mounts()], key=lambda entry: entry.created)

    def _mounts(self) -> list[CacheEntry]:
        folder = self._places.cache_mounts
        found = []
        for name in os.listdir(folder) if folder.is_dir() else ():
            try:
                lock = (folder / name / "lock").stat()
            except OSError:  # removed meanwhile, or not yet made
                continue
            try:
                text, created = (
                    (folder / name / "id").read_text(errors="replace"),
                    (folder / name / "id").stat().st_mtime,
                )
            except OSError:  # its build was killed before it was filled
                text, created = "", lock.st_mtime
            # Each use adds a byte to the lock, see build.ops.stepmounts.
            found.append(
                CacheEntry(
                    key=name,
                    kind=MOUNT,
                    name=f"cached mount {text}".strip(),
                    layers=(),
                    path=folder / name,
                    bytes=0,
                    created=created,
                    last_used=lock.st_mtime,
                    uses=lock.st_size,
                )
            )
        return found

    def remove(self, entries: Sequence[CacheEntry]) -> list[CacheEntry]:
        """Forget these; returns what went. A mount that a build holds stays. What they kept is the next sweep's."""
        gone = [entry for entry in entries if entry.path is None or self._set_aside(entry.path)]
        self._steps.remove(entry.key for entry in gone if entry.path is None)
        return gone

    def forget_digests(self) -> None:
        """Drop what is remembered of context files and of downloads: it is found out again."""
        for folder in (self._places.context_digests, self._places.downloads):
            if folder.is_dir():
                set_aside(folder, self._places.trash)

    def _set_aside(self, path: Path) -> bool:
        try:
            with Lock(locks.CACHE_MOUNT, os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC), wait=False):
                set_aside(path, self._places.trash)
        except (FileNotFoundError, BlockingIOError):
            return False
        return True


def matcher(filters: Filters) -> Callable[[CacheEntry], bool]:
    """The ``--filter`` of `builder prune` and `buildx du`: until and unused-for (last used before), inuse, shared,
    private, mutable, immutable; and id, parents (one of them), type, description (a part of it), each also with ``!=``,
    or ``~=`` and a regular expression. Values of one are alternatives, and none of those of a ``!=`` may hold. Raises
    FilterInvalid."""
    check_names(filters, FILTERS)
    end = min(
        (moment(text) for key in ("until", "unused-for") for text in filters.get(key, ())), default=None
    )
    texts = [_text_matcher(filters, name) for name in _TEXTS]
    flags = {name: wanted for name in _FLAGS if (wanted := flag(filters, name)) is not None}

    def matches(entry: CacheEntry) -> bool:
        return (
            (end is None or entry.last_used < end)
            and all(text(entry) for text in texts)
            and all(_flagged(entry, name) is wanted for name, wanted in flags.items())
        )

    return matches


def _text_matcher(filters: Filters, name: str) -> Callable[[CacheEntry], bool]:
    """What ``name=``, ``name!=`` and ``name~=`` say. Raises FilterInvalid."""
    meant, not_meant = filters.get(name, ()), filters.get(name + "!", ())
    patterns = [_expression(name, text) for text in filters.get(name + "~", ())]

    def matches(entry: CacheEntry) -> bool:
        return (
            (not meant or any(_equals(entry, name, text) for text in meant))
            and not any(_equals(entry, name, text) for text in not_meant)
            and (not patterns or any(one.search(text) for one in patterns for text in _shown(entry, name)))
        )

    return matches


def _expression(name: str, text: str) -> re.Pattern[str]:
    import re

    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise FilterInvalid(
            f"invalid filter '{name}~={text}'", hint=f"it is a regular expression: {error}"
        ) from error


def _shown(entry: CacheEntry, name: str) -> tuple[str, ...]:
    """What an expression is searched in: also BuildKit's word for a kind of ours."""
    if name == "id":
        return (entry.key,)
    if name == "parents":
        return entry.parents
    if name == "description":
        return (entry.name,)
    return (entry.kind,) if entry.kind == MOUNT else (entry.kind, "regular")


def _equals(entry: CacheEntry, name: str, text: str) -> bool:
    if name in ("id", "parents"):
        keys = (entry.key,) if name == "id" else entry.parents
        return any(key.removeprefix("sha256:").startswith(text.removeprefix("sha256:")) for key in keys)
    return text in entry.name if name == "description" else _is(entry.kind, text)


def _flagged(entry: CacheEntry, name: str) -> bool:
    mutable = entry.path is not None  # a cache mount
    answers = {"private": not entry.in_use, "mutable": mutable, "immutable": not mutable}
    return answers.get(name, entry.in_use)


def _is(kind: str, wanted: str) -> bool:
    """BuildKit calls whatever a step yielded ``regular``; ours say of which kind it was."""
    return kind == wanted or kind.partition("/")[0] == wanted or (wanted == "regular" and kind != MOUNT)
