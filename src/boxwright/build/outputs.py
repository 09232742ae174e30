"""Where results go beside the store: a directory, a tar, an archive that other tools read (dockerfile.md 2.2)."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright.build.export import Exported
from boxwright.build.graph import Tree
from boxwright.build.plan import Plan
from boxwright.build.progress import BuildWarning
from boxwright.build.request import Output, RequestInvalid
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.build.builder import Building
    from boxwright.image.services import Services
    from boxwright.layer.view import LayersView
    from boxwright.layer.write import TarBuilder
    from boxwright.spec.intoto import Attested

# What each type takes beside `type`; BuildKit knows more, which would do nothing here.
_IMAGE = ("name", "push", "store", "compression", "compression-level", "oci-artifact")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "image": _IMAGE,
    "registry": _IMAGE,
    "docker": ("dest", "name"),
    "oci": ("dest", "name", "tar", "oci-artifact"),
    "local": ("dest", "platform-split", "attestation-prefix"),
    "tar": ("dest", "platform-split", "attestation-prefix"),
    "cacheonly": (),
}
_INSTEAD = {
    "annotation": "give --annotation KEY=VALUE",
    "annotation-index": "give --annotation KEY=VALUE",
    "rewrite-timestamp": "layers that are made here have the times of SOURCE_DATE_EPOCH without it",
    "oci-mediatypes": "the media types are OCI's",
}
_COMPRESSIONS = {"gzip": "gzip", "zstd": "zstd", "uncompressed": "none"}
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


@dataclass(frozen=True, slots=True)
class Push:
    """Names that are to be pushed, and how layers made here are compressed (`level` None: the usual one)."""

    names: tuple[str, ...]
    compression: str = "gzip"
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the outputs of a request come to: whether the image is kept in the store, its normalised names there, what
    is pushed, and what is written."""

    store: bool
    names: tuple[str, ...]
    pushes: tuple[Push, ...] = ()
    files: tuple[Output, ...] = ()
    artifact: bool = False  # attestations have the form of an OCI artifact


def wanted_outputs(outputs: Sequence[Output], names: Sequence[str], platforms: int = 1) -> Wanted:
    """Read the outputs, of which none means the store; `names` are the build's own, normalised. Raises RequestInvalid,
    ReferenceInvalid for what cannot be done, before anything is."""
    if not outputs:
        return Wanted(True, tuple(names))
    kept = list(names)
    pushes: list[Push] = []
    files: list[Output] = []
    for output in outputs:
        _check(output, platforms)
        own = names_of(output) or tuple(names)
        if output.type in ("image", "registry") or (output.type == "docker" and not output.dest):
            kept += [name for name in own if name not in kept]
            if output.type != "docker" and (push := _push(output, own)) is not None:
                pushes.append(push)
        elif output.type != "cacheonly":
            files.append(output)
    if sum(_is_stdout(output) for output in files) > 1:
        raise RequestInvalid("only one output can be written to standard output")
    in_store = any(o.type in ("image", "registry") or (o.type == "docker" and not o.dest) for o in outputs)
    return Wanted(
        store=in_store,
        names=tuple(kept),
        pushes=tuple(pushes),
        files=tuple(files),
        artifact=any(_flag(output, "oci-artifact", False) for output in outputs),
    )


def names_of(output: Output) -> tuple[str, ...]:
    """The names that ``name=`` gives, normalised; a list is separated by commas. Raises ReferenceInvalid."""
    texts = [text.strip() for text in output.options.get("name", "").split(",") if text.strip()]
    return tuple(str(Reference.parse(text).with_default_tag()) for text in texts)


def _check(output: Output, platforms: int) -> None:
    kind = output.type
    if kind not in _KEYS:
        raise RequestInvalid(f"unknown output type {kind!r}", hint=f"one of {', '.join(_KEYS)}")
    for key in (*output.options, *(("dest",) if output.dest else ())):
        if key not in _KEYS[kind]:
            known = ", ".join(_KEYS[kind]) or "nothing else"
            hint = _INSTEAD.get(key.partition(".")[0].partition("[")[0]) or f"it takes {known}"
            raise RequestInvalid(f"output type={kind} does not take {key!r}", hint=hint)
    if not output.dest and kind in ("local", "oci"):
        raise RequestInvalid(f"output type={kind} needs dest=PATH")
    if kind == "oci" and not _flag(output, "tar", True) and output.dest == "-":
        raise RequestInvalid("output type=oci,tar=false is a directory and needs dest=PATH")
    if kind == "local" and output.dest == "-":
        raise RequestInvalid("output type=local is a directory and needs dest=PATH", hint="type=tar,dest=-")
    if _is_stdout(output) and sys.stdout is not None and sys.stdout.isatty():
        raise RequestInvalid("refusing to write a tar to the terminal", hint="give dest=FILE")
    if kind in ("image", "registry") and not _flag(output, "store", True):
        raise RequestInvalid("output store=false is not possible: a build's image is in the store")
    if not _flag(output, "platform-split", True) and platforms > 1:
        raise RequestInvalid(
            f"output type={kind},platform-split=false: files of several platforms would replace each other"
        )


def _is_stdout(output: Output) -> bool:
    return output.dest == "-" or (output.type == "tar" and not output.dest)


def _flag(output: Output, key: str, default: bool) -> bool:
    text = output.options.get(key)
    if text is None:
        return default
    if text.lower() in _TRUE or text.lower() in _FALSE:
        return text.lower() in _TRUE
    raise RequestInvalid(f"output {key}={text!r} is neither true nor false")


def _push(output: Output, names: tuple[str, ...]) -> Push | None:
    compression = output.options.get("compression", "gzip")
    level = output.options.get("compression-level")
    if compression not in _COMPRESSIONS:
        raise RequestInvalid(
            f"output compression={compression!r} is not supported", hint=f"one of {', '.join(_COMPRESSIONS)}"
        )
    if level is not None and not level.isdigit():
        raise RequestInvalid(f"output compression-level={level!r} is no number")
    if not _flag(output, "push", output.type == "registry"):
        if "compression" in output.options or level is not None:
            raise RequestInvalid(
                "layers are compressed when they are pushed: compression needs push=true",
                hint="the store keeps what is made here uncompressed",
            )
        return None
    if not names:
        raise RequestInvalid("tag is needed when pushing to registry", hint="add -t NAME, or name=NAME")
    return Push(names, _COMPRESSIONS[compression], int(level) if level is not None else None)


def write_outputs(
    building: Building,
    outputs: Sequence[Output],
    solved: Sequence[tuple[Plan, Tree]],
    exported: Exported | None,
    names: Sequence[str],
) -> None:
    """Write every output. Raises what writing raises."""
    from boxwright.build.directory import write_directory
    from boxwright.files.disk import whole_file

    for output in outputs:
        if output.type in ("oci", "docker"):
            assert exported is not None
            _archive(
                services=building.services, output=output, exported=exported, names=names_of(output) or names
            )
            continue
        split = _flag(output, "platform-split", len(solved) > 1)
        trees = [
            (str(plan.platform).replace("/", "_") if split else "", building.step(plan.target).view(tree))
            for plan, tree in solved
        ]
        prefix = output.options.get("attestation-prefix", "")
        if "/" in prefix:
            raise RequestInvalid(
                f"output attestation-prefix={prefix!r}: it is the beginning of names and no path"
            )
        said = [building.attester().files(plan, prefix) for plan, _ in solved]
        if output.type == "tar":
            with _sink(output.dest) as sink:
                _tar(trees, said, sink)
            continue
        for (name, view), files in zip(trees, said):
            if left_out := write_directory(view, Path(output.dest) / name):
                count = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
                message = (
                    f"/{left_out[0]}{count} not written to {output.dest}: devices and sockets have "
                    f"no place there (type=tar has devices)"
                )
                building.emit(BuildWarning("", message))
            for file, raw in files:
                with whole_file(Path(output.dest) / name / file) as out:
                    out.write(raw)


def make_index(
    services: Services,
    made: Sequence[Exported],
    platforms: Sequence[Platform],
    attested: Sequence[Attested] = (),
) -> Exported:
    """Join the images of several platforms, and what is said of them, under one index, and register that."""
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import Digest
    from boxwright.spec.manifest import Index

    images = [
        Descriptor(one.media_type, Digest.parse(one.target), one.size, platform=platform)
        for one, platform in zip(made, platforms)
    ]
    index = Index.compose([*images, *(one.entry for one in attested)])
    with services.store.committing():
        for one in attested:
            for blob, raw in one.blobs:
                services.store.put(raw, blob.media_type)
            services.store.put(one.manifest.raw, one.manifest.media_type)
        desc = services.store.put(index.raw, index.media_type)
        row = services.images_store.add(desc)
    return Exported(
        image_id=row.image_id, target=row.target, media_type=row.media_type, size=row.size, reused=False
    )


def _archive(services: Services, output: Output, exported: Exported, names: Sequence[str]) -> None:
    """An archive of the image, or its OCI layout as a directory."""
    from boxwright.content.copy import copy
    from boxwright.content.layout import Layout
    from boxwright.content.lease import Lease
    from boxwright.image.save import ArchiveSink
    from boxwright.image.target import LocalTarget

    with Lease(services.db, "build output") as lease:
        source = LocalTarget(services.images_store, lease)
        if not _flag(output, "tar", True):
            layout = Layout(Path(output.dest), create=True)
            desc = copy(source=source, source_name=exported.target, sink=layout, sink_name="")
            # In a layout a name is a tag; the repository is the directory.
            for tag in dict.fromkeys(Reference.parse(name).tag for name in names) or [""]:
                layout.tag(tag, desc)
            return
        with _sink(output.dest) as out:
            archive = ArchiveSink(out, platform=services.images_store.default_platform)
            desc = copy(source=source, source_name=exported.target, sink=archive, sink_name="", jobs=1)
            for name in names or [""]:
                archive.tag(name, desc)
            archive.close()


@contextmanager
def _sink(dest: str) -> Iterator[BinaryIO]:
    """A file that appears when it is whole, or standard output."""
    from boxwright.files.disk import whole_file

    if dest in ("", "-"):
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
            yield out
        return
    path = Path(dest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as out:
        yield out


def _tar(
    trees: Sequence[tuple[str, LayersView]], said: Sequence[Sequence[tuple[str, bytes]]], sink: BinaryIO
) -> None:
    """One tree, or several each below a directory of its own, each with the files of what is said of it."""
    from boxwright.layer.write import Entry, TarBuilder

    builder = TarBuilder(sink)
    for (directory, view), files in zip(trees, said):
        if directory:
            builder.add(Entry(path=directory, type="dir", mode=0o755))
        _tree(builder, directory + "/" if directory else "", view)
        for name, raw in files:
            path = f"{directory}/{name}" if directory else name
            builder.add(Entry(path=path, type="file", mode=0o644, size=len(raw)), io.BytesIO(raw))
    builder.finish()


def _tree(builder: TarBuilder, prefix: str, view: LayersView) -> None:
    from boxwright.layer.write import Entry

    first: dict[object, str] = {}
    for node in view.walk(""):
        if not node.path or node.type == "socket":
            continue
        path = prefix + node.path
        known = first.setdefault(node.identity, path) if node.type == "file" and node.links > 1 else path
        if known != path:
            builder.add(
                Entry(
                    path=path,
                    type="hardlink",
                    mode=node.mode,
                    uid=node.uid,
                    gid=node.gid,
                    mtime_ns=node.mtime_ns,
                    link=known,
                )
            )
            continue
        entry = Entry(
            path=path,
            type=node.type,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            mtime_ns=node.mtime_ns,
            size=node.size,
            link=node.link,
            device=node.device,
            xattrs=node.xattrs,
        )
        if node.type == "file" and node.size:
            with view.open(node) as content:
                builder.add(entry, content)
        else:
            builder.add(entry)
