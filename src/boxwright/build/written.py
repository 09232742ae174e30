"""Results as files of the host: a directory, a tar, an archive that other tools read."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright.build.fields import RequestInvalid
from boxwright.build.outputs import FilesOutput, ImageOutput
from boxwright.errors import Invalid
from boxwright.files.disk import DiskError, disk_error, whole_file
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.content.lease import Lease
    from boxwright.image.store import ImageStore
    from boxwright.layer.view import LayersView


_ELSEWHERE = "choose another place with dest="


class OutputUnwritable(Invalid):
    """The place of an output cannot be written to."""


@contextmanager
def reaching(dest: str) -> Iterator[None]:
    """Errors of the place that an output goes to, whose disk is not the store's. Raises OutputUnwritable, DiskError; a
    closed pipe is told as it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except DiskError as error:
        raise type(error)(str(error), hint=_ELSEWHERE) from error
    except OSError as error:
        where = "standard output" if dest == "-" else dest
        at = error.filename if isinstance(error.filename, str) and error.filename != dest else ""
        told = disk_error(where, error.errno or 0)
        raise (type(told) if told is not None else OutputUnwritable)(
            f"cannot write {where}: {f'{at}: ' if at else ''}{error.strerror or error}", hint=_ELSEWHERE
        ) from error


@dataclass(frozen=True, slots=True)
class ResultTree:
    """The files of one platform. `said` are names and content of further ones, which attest them."""

    platform: Platform
    view: LayersView
    said: Sequence[tuple[str, bytes]] = ()

    @property
    def directory(self) -> str:
        """Its name among those of other platforms: ``linux_arm64``."""
        return str(self.platform).replace("/", "_")


def write_files(output: FilesOutput, trees: Sequence[ResultTree]) -> list[str]:
    """Write the files of every platform, in a directory each where the output says so. Returns the paths that a
    directory cannot have: devices and sockets. Raises RequestInvalid where files of platforms would replace each other,
    before anything is written, and what reading and writing raise."""
    split = output.split if output.split is not None else len(trees) > 1
    if not split and len(trees) > 1:
        _check_apart(trees)
    mtime = output.epoch * 1_000_000_000 if output.epoch is not None else None
    if output.type == "tar":
        with _sink(output.dest) as sink:
            _tar(trees=trees, sink=sink, split=split, mtime=mtime)
        return []
    from boxwright.build.directory import Written

    written = Written(Path(output.dest), mtime)
    for tree in trees:
        written.add(tree.view, tree.directory if split else "")
        for name, raw in tree.said:
            written.add_file(name, raw, tree.directory if split else "")
    if output.delete:
        written.remove_others()
    return written.left_out


def _check_apart(trees: Sequence[ResultTree]) -> None:
    owner: dict[str, Platform] = {}
    for tree in trees:
        for node in tree.view.walk(""):
            if node.type == "dir":
                continue
            if (other := owner.setdefault(node.path, tree.platform)) != tree.platform:
                raise RequestInvalid(
                    f"cannot overwrite {node.path} from {other} with {tree.platform} when split option is disabled",
                    hint="leave platform-split=false out",
                )


def _tar(trees: Sequence[ResultTree], sink: BinaryIO, split: bool, mtime: int | None) -> None:
    from boxwright.layer.nodes import NodeWriter
    from boxwright.layer.write import Entry, TarBuilder

    builder = TarBuilder(sink)
    directories: set[str] = set()
    for tree in trees:
        prefix = ""
        if split:
            builder.add(Entry(path=tree.directory, type="dir", mode=0o755, mtime_ns=mtime or 0))
            prefix = tree.directory + "/"
        writer = NodeWriter(builder, tree.view, prefix=prefix, mtime_ns=mtime)
        for node in tree.view.walk(""):
            path = prefix + node.path
            if node.path and path not in directories:
                writer.add(node)
                if node.type == "dir" and not split:
                    directories.add(path)
        for name, raw in tree.said:
            builder.add(
                Entry(path=prefix + name, type="file", mode=0o644, size=len(raw), mtime_ns=mtime or 0),
                io.BytesIO(raw),
            )
    builder.finish()


def write_image(images: ImageStore, lease: Lease, output: ImageOutput, desc: Descriptor) -> None:
    """An archive of the image, or its OCI layout as a directory. Raises what writing raises."""
    from boxwright.content.copy import copy_tree
    from boxwright.content.tree import load_tree
    from boxwright.image.target import LocalTarget

    source = LocalTarget(images, lease)
    tree = load_tree(source, desc, lambda index: list(index.manifests))
    if not output.tar:
        from boxwright.content.layout import Layout

        layout = Layout(Path(output.dest), create=True)
        copy_tree(source=source, tree=tree, sink=layout, sink_name="")
        # In a layout a name is a tag; the repository is the directory.
        for tag in dict.fromkeys(Reference.parse(name).tag for name in output.names) or [""]:
            layout.tag(tag, desc)
        return
    from boxwright.image.save import ArchiveSink

    with _sink(output.dest) as out:
        archive = ArchiveSink(out, platform=images.default_platform)
        copy_tree(source=source, tree=tree, sink=archive, sink_name="", jobs=1)
        for name in output.names or [""]:
            archive.tag(name, desc)
        archive.close()


@contextmanager
def _sink(dest: str) -> Iterator[BinaryIO]:
    """A file that appears when it is whole, or standard output."""
    if dest == "-":
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
            yield out
        return
    path = Path(dest)
    if path.exists() and not path.is_file():  # a FIFO or a device is written as it is
        with path.open("wb") as out:
            yield out
        return
    with whole_file(path) as out:
        yield out
