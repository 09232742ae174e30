"""What is shown of images: listings, histories, Docker's inspect JSON. Reads rows and configs, never trees."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.image.catalog import ImageCatalog, ImageDamaged, ImageRow, familiar, split
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from boxwright.image.filters import Filters
    from boxwright.image.store import ImageStore

if TYPE_CHECKING:

    class _SummaryFields(NamedTuple):
        id: str
        parent: str
        tags: tuple[str, ...]
        digests: tuple[str, ...]
        created: str
        size: int
        labels_json: str
        targets: tuple[str, ...]
        platform: str

else:  # the same without `typing`; a tuple, because a thousand of them are made at a time
    from collections import namedtuple

    _SummaryFields = namedtuple(
        "_SummaryFields", "id parent tags digests created size labels_json targets platform"
    )

LIST_FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")


class ImageSummary(_SummaryFields):
    """One image ID with all its names. `created` is RFC 3339 or ''; `size` counts content bytes; names are as
    Docker prints them."""

    __slots__ = ()

    @property
    def dangling(self) -> bool:
        """Whether no name is left."""
        return not self.tags and not self.digests

    @property
    def labels(self) -> dict[str, str]:
        """The config's labels."""
        if self.labels_json in ("", "{}"):
            return {}
        import json

        found: dict[str, str] = json.loads(self.labels_json)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One entry of a history, newest first. `id` is '' where Docker prints ``<missing>``."""

    id: str
    created: str
    created_by: str
    size: int
    comment: str
    tags: tuple[str, ...] = ()
    layer: str = ""  # diff ID; '' for an entry without one


def summaries(
    catalog: ImageCatalog, filters: Filters | None = None, *, show_all: bool = False
) -> list[ImageSummary]:
    """All images, newest first. `show_all` includes unnamed images that others were made from.

    Raises FilterInvalid, and NoSuchImage for before= and since=.
    """
    # One after the other: a name that is set in between belongs to a row that is not shown yet.
    rows, names = catalog.listing(), catalog.names_by_target()
    found: dict[str, ImageSummary] = {}
    parents: set[str] = set()
    for target, image_id, parent, created, size, labels, platform in rows:
        parents.add(parent)
        own = names.get(target, ())
        tags = tuple([familiar(name) for name in own if "@" not in name])
        digests = tuple([familiar(name) for name in own if "@" in name]) if len(tags) < len(own) else ()
        other = found.get(image_id)
        if other is None:
            found[image_id] = ImageSummary(
                id=image_id,
                parent=parent,
                tags=tags,
                digests=digests,
                created=created,
                size=size,
                labels_json=labels,
                targets=(target,),
                platform=platform,
            )
        else:  # one image under two manifests: as it was built, and as it was pulled
            found[image_id] = other._replace(
                parent=other.parent or parent,
                tags=other.tags + tags,
                digests=other.digests + digests,
                targets=(*other.targets, target),
            )
    images = list(found.values())
    if not show_all:
        images = [s for s in images if s.tags or s.digests or s.id not in parents]
    return _filtered(catalog, images, filters) if filters else images


def _filtered(catalog: ImageCatalog, found: list[ImageSummary], filters: Filters) -> list[ImageSummary]:
    from boxwright.image.filters import check_names, flag, labels_match, moment, pattern

    check_names(filters, LIST_FILTERS)
    dangling = flag(filters, "dangling")
    if dangling is not None:
        found = [s for s in found if (not s.tags if dangling else not s.dangling)]
    if "label" in filters or "label!" in filters:
        found = [s for s in found if labels_match(s.labels, filters)]
    for name in filters.get("before", ()):
        limit = catalog.resolve(name).created
        found = [s for s in found if s.created < limit]
    for name in filters.get("since", ()):
        limit = catalog.resolve(name).created
        found = [s for s in found if s.created > limit]
    for text in filters.get("until", ()):
        end = moment(text)
        found = [s for s in found if seconds(s.created) < end]
    if patterns := [pattern(p) for p in filters.get("reference", ())]:

        def fits(name: str) -> bool:
            return any(p(name) or p(split(name)[0]) for p in patterns)

        found = [
            _with_names(s, tuple(t for t in s.tags if fits(t)), tuple(d for d in s.digests if fits(d)))
            for s in found
            if any(fits(n) for n in (*s.tags, *s.digests))
        ]
    return found


def _with_names(s: ImageSummary, tags: tuple[str, ...], digests: tuple[str, ...]) -> ImageSummary:
    return s._replace(tags=tags, digests=digests)


def seconds(created: str) -> float:
    """Unix seconds of a config's time; 0 when it says nothing."""
    from boxwright.image.filters import unix_time

    return (unix_time(created) or 0.0) if created else 0.0


def config_json(catalog: ImageCatalog, image_id: str) -> dict[str, Any]:
    """The image config as plain JSON. Raises ImageDamaged."""
    import json

    try:
        value = json.loads(catalog.blob(image_id))
    except ValueError as error:
        raise ImageDamaged(f"the config {image_id} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ImageDamaged(f"the config {image_id} is not a JSON object")
    history = value.get("history")
    # Tools write null for what is empty; what is no object in a history says nothing.
    return {
        **value,
        "history": [entry for entry in history if isinstance(entry, dict)]
        if isinstance(history, list)
        else [],
    }


def history(catalog: ImageCatalog, text: str) -> list[HistoryLine]:
    """How the image came to be, newest first, with the size of each layer. Raises NoSuchImage, ImageDamaged."""
    from boxwright.layer.rows import bytes_of

    row = catalog.resolve(text)
    body = config_json(catalog, row.image_id)
    diff_ids = [str(d) for d in (body.get("rootfs") or {}).get("diff_ids") or []]
    sizes = bytes_of(catalog.db, diff_ids)
    layers = iter(diff_ids)
    lines: list[HistoryLine] = []
    for entry in body["history"]:
        layer = "" if entry.get("empty_layer") else next(layers, "")
        lines.append(_line(entry, layer, sizes))
    lines += [_line({"created": row.created}, layer, sizes) for layer in layers]
    if not lines:
        lines.append(_line({"created": row.created, "comment": body.get("comment")}, "", sizes))
    top = lines[-1]
    tags = tuple(tag for r in catalog.same_image(row.image_id) for tag in r.tags)
    lines[-1] = replace(top, id=row.image_id, tags=tags)
    return lines[::-1]


def _line(entry: Mapping[str, Any], layer: str, sizes: Mapping[str, int]) -> HistoryLine:
    def said(key: str) -> str:
        return str(entry.get(key) or "")

    return HistoryLine(
        id="",
        created=said("created"),
        created_by=said("created_by"),
        size=sizes.get(layer, 0),
        comment=said("comment"),
        tags=(),
        layer=layer,
    )


def inspect(
    images: ImageStore, row: ImageRow, *, driver: str = "", platform: str | None = None
) -> dict[str, Any]:
    """Docker's JSON of one image (engine API, ImageInspect; field order as the daemon writes it).

    Raises ImageDamaged, PlatformAbsent.
    """
    from boxwright.spec.platform import host
    from boxwright.spec.times import rfc3339

    catalog, last_tagged = images, images.last_tagged(row)
    if platform:
        row = images.row_for(row, platform)
    body = config_json(catalog, row.image_id)
    rows = catalog.same_image(row.image_id)
    past = body["history"]
    comment = str(body.get("comment") or "") or (str(past[-1].get("comment") or "") if past else "")
    out: dict[str, Any] = {
        "Id": row.image_id,
        "RepoTags": [t for r in rows for t in r.tags],
        "RepoDigests": [d for r in rows for d in r.digests],
        "Parent": row.parent,
        "Comment": comment,
        "Created": row.created,
        "DockerVersion": str(body.get("docker_version") or ""),
        "Author": str(body.get("author") or ""),
        "Config": container_config(body.get("config") or {}),
        "Architecture": str(body.get("architecture") or host().architecture),
    }
    if body.get("variant"):
        out["Variant"] = str(body["variant"])
    out["Os"] = str(body.get("os") or host().os)
    if body.get("os.version"):
        out["OsVersion"] = str(body["os.version"])
    out |= {
        "Size": row.bytes,
        "GraphDriver": {"Data": None, "Name": driver},
        "RootFS": {"Type": "layers", "Layers": list((body.get("rootfs") or {}).get("diff_ids") or [])},
        "Metadata": {"LastTagTime": rfc3339(last_tagged) if last_tagged else "0001-01-01T00:00:00Z"},
        "Descriptor": {"mediaType": row.media_type, "digest": row.target, "size": row.size},
    }
    return out


def container_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config's ``config`` with the keys that Docker always shows."""
    from boxwright.spec.config import with_lists

    shown: dict[str, Any] = {
        "User": "",
        "Env": None,
        "Cmd": None,
        "Volumes": None,
        "WorkingDir": "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": None,
    }
    return {**shown, **with_lists(config)}
