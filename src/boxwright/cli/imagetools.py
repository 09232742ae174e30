"""How `imagetools inspect` shows what a registry has: buildx's template and buildx's list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from boxwright.gotemplate.compile import compile as compile_template
from boxwright.gotemplate.functions import to_indented_json
from boxwright.gotemplate.values import Struct, declared
from boxwright.spec.manifest import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.spec.reference import Reference
    from boxwright.transfer.attestations import Inspected

_WHOLE = "{{.Manifest}}"


class _Row(dict):  # type: ignore[type-arg]
    """The fields of a template, of which ``{{json .}}`` shows those of buildx's struct."""

    def items(self) -> Any:
        return [(name.lower(), self[name]) for name in ("Name", "Manifest", "Image")]


def formatted(text: str, name: str, found: Inspected) -> str:
    """The text of a template. Raises FormatError and what the registry raises."""
    if "".join(text.split()) == _WHOLE:
        head = f"Name:      {found.reference}\nMediaType: {found.content.media_type}\nDigest:    {found.desc.digest}\n"
        more = listing(found.reference, found.content) if isinstance(found.content, Index) else ()
        return head + "".join(f"{line}\n" for line in more)
    several = len(found.images()) > 1

    def part(read: Callable[[], dict[str, Any]], kind: str) -> Callable[[], Any]:
        """All platforms of several, or what the only one has."""

        def values() -> Any:
            said = {platform: Struct(_shown(value, kind), kind) for platform, value in read().items()}
            return said if several else next(iter(said.values()), Struct({}, kind))

        return values

    row = _Row(
        Name=name,
        Manifest=Struct(
            _manifest(found), "OCIIndex" if isinstance(found.content, Index) else "OCIDescriptor"
        ),
        Image=part(found.configs, "OCIImage"),
        SBOM=part(found.sbom, "SBOM"),
        Provenance=part(found.provenance, "SLSA"),
    )
    return compile_template(text)(row, {"json": to_indented_json})


def _manifest(found: Inspected) -> dict[str, Any]:
    about: dict[str, Any] = {**found.desc.to_json()}
    if isinstance(found.content, Index):
        about = {"schemaVersion": 2, "mediaType": about.pop("mediaType"), **about}
        about["manifests"] = [entry.to_json() for entry in found.content.manifests]
        if found.content.annotations:
            about["annotations"] = dict(sorted(found.content.annotations.items()))
    return about


def _shown(value: dict[str, Any], kind: str) -> Any:
    """A config as the specification's struct is written, decoded JSON with its maps in the order of their keys."""
    return (
        declared(value, kind) if kind == "OCIImage" else {key: _by_key(item) for key, item in value.items()}
    )


def _by_key(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _by_key(value[key]) for key in sorted(value)}
    return [_by_key(item) for item in value] if isinstance(value, list) else value


def listing(reference: Reference, index: Index) -> Iterator[str]:
    """The manifests of an index, each a block of lines whose cells are aligned."""
    yield "           "
    yield "Manifests: "
    block: list[tuple[str, str]] = []

    def flush() -> Iterator[str]:
        width = max((len(left) for left, _ in block), default=0) + 1
        yield from (left.ljust(width) + right for left, right in block)
        block.clear()

    for number, entry in enumerate(index.manifests):
        if number:
            block.append(("", ""))
        name = f"{reference.name}{':' + reference.tag if reference.tag else ''}@{entry.digest}"
        block += [("  Name:", name), ("  MediaType:", entry.media_type)]
        if entry.platform is None:
            continue
        block.append(("  Platform:", str(entry.platform)))
        if entry.platform.os_version:
            block.append(("  OSVersion:", entry.platform.os_version))
        if entry.platform.os_features:
            block.append(("  OSFeatures:", ", ".join(entry.platform.os_features)))
        if entry.annotations:
            block.append(("  Annotations:", ""))
            yield from flush()
            block += [(f"    {key}:", value) for key, value in sorted(entry.annotations.items())]
            yield from flush()
    yield from flush()
