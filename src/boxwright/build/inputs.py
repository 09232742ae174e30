"""What a build reads: the Dockerfile, its ignore file, the build context and the named ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from boxwright.build.context import LocalContext, umask_of
from boxwright.build.context_tree import FileTree
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.ignore import IgnoreMatcher, read_ignorefile
from boxwright.build.dockerfile.parse import Dockerfile, parse
from boxwright.build.progress import Emit, StepDone, StepFailed, StepStarted, StepStatus
from boxwright.build.request import BuildRequest, RequestInvalid
from boxwright.errors import NotFound, Unsupported
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.build.ops.context import Rooms

_LARGEST = 16 << 20  # bytes of a Dockerfile


class DockerfileMissing(NotFound):
    """There is no Dockerfile where it was looked for."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Open for the length of the build. `contexts` by name, '' being the build context; `images` are named
    contexts that are images. `project` names what is built."""

    dockerfile: Dockerfile
    shown: str
    contexts: Mapping[str, FileTree]
    images: Mapping[str, str]
    project: str


@contextmanager
def open_inputs(rooms: Rooms, request: BuildRequest, emit: Emit, hold: Callable[[str], None]) -> Iterator[Inputs]:
    """Read the Dockerfile and open the contexts; `hold` is told of a workspace before it is made. Raises DockerfileMissing, DockerfileError, ContextMissing,
    RequestInvalid, IgnoreInvalid."""
    cache = rooms.root / "cache" / "context" if request.stream is None else None
    with ExitStack() as stack:
        directory, data, path = _locate(rooms, request, stack, hold)
        shown = _shown(path, directory)
        dockerfile = _parsed(data, shown, emit)
        contexts: dict[str, FileTree] = {}
        if directory is not None:
            ignore = _ignore(directory, path, request)
            umask = _umask(path, directory)
            contexts[""] = stack.enter_context(LocalContext(directory, ignore, cache, umask=umask))
        images = {}
        for name, value in request.build_contexts.items():
            kind, found = _named(value)
            if kind == "image":
                images[name.lower()] = found
            else:
                contexts[name.lower()] = stack.enter_context(LocalContext(Path(found), _ignore(Path(found), None, request), cache))
        identity = f"{directory.resolve() if directory else '-'}\0{path or '-'}"
        project = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        yield Inputs(dockerfile, shown, contexts, images, project)


def _locate(rooms: Rooms, request: BuildRequest, stack: ExitStack, hold: Callable[[str], None]) -> tuple[Path | None, bytes, Path | None]:
    """The context directory, the Dockerfile's bytes, and where they came from."""
    directory = request.context
    data = request.dockerfile_data
    if request.stream is not None:
        streamed = _from_stream(rooms, request.stream, stack, hold)
        if isinstance(streamed, bytes):
            if request.dockerfile is not None or data is not None:
                raise RequestInvalid("the context on standard input is a Dockerfile; leave -f out")
            return None, streamed, None
        directory = streamed
    if data is not None:
        return directory, data, None
    if request.dockerfile is not None:
        # From a streamed context the Dockerfile is named inside it.
        path = directory / request.dockerfile if request.stream is not None and directory else request.dockerfile
        return directory, _read(path), path
    if directory is None:
        raise RequestInvalid("nothing to build: neither a context nor a Dockerfile was given")
    if not directory.is_dir():
        raise DockerfileMissing(f"unable to prepare context: path {str(directory)!r} " + ("is not a directory" if directory.exists() else "not found"))
    for name in ("Dockerfile", "dockerfile"):
        if (directory / name).is_file():
            return directory, _read(directory / name), directory / name
    raise DockerfileMissing("failed to read dockerfile: open Dockerfile: no such file or directory", hint=f"there is no Dockerfile in {directory}; name it with -f")


def _from_stream(rooms: Rooms, stream: BinaryIO, stack: ExitStack, hold: Callable[[str], None]) -> bytes | Path:
    """A lone Dockerfile, or the directory into which a tar was unpacked."""
    from boxwright.build.context_tar import is_archive, unpacked_context

    head = stream.read(1 << 16)
    if not is_archive(head):
        rest = stream.read(_LARGEST + 1)
        if len(head) + len(rest) > _LARGEST:
            raise RequestInvalid("standard input is neither a tar archive nor a Dockerfile")
        return head + rest
    key = f"context-{os.urandom(8).hex()}"
    hold(key)
    parent = rooms.root / "work" / key
    stack.callback(_remove_empty, parent)
    return stack.enter_context(unpacked_context(head, stream, parent))


def _remove_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        pass  # what could not be removed is the collector's


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise DockerfileMissing(f"failed to read dockerfile: open {path.name}: no such file or directory", hint=f"looked for {path}") from error
    except OSError as error:
        raise DockerfileMissing(f"failed to read dockerfile: open {path}: {(error.strerror or '').lower()}") from error
    if len(data) > _LARGEST:
        raise RequestInvalid(f"{path} is larger than {_LARGEST >> 20} MiB: that is no Dockerfile")
    return data


def _parsed(data: bytes, shown: str, emit: Emit) -> Dockerfile:
    step = "internal dockerfile"
    emit(StepStarted(step, f"[internal] load build definition from {shown}"))
    emit(StepStatus(step, "transferring dockerfile", len(data), len(data), done=True))
    try:
        dockerfile = parse(data, filename=shown)
    except DockerfileError as error:
        emit(StepFailed(step, str(error)))
        # The excerpt is cut from the text, which the caller has not seen yet.
        raise LocatedDockerfileError(error, shown, data) from error
    emit(StepDone(step, 0.0))
    return dockerfile


class LocatedDockerfileError(DockerfileError):
    """A syntax error with the file that it is in."""

    def __init__(self, error: DockerfileError, filename: str, source: bytes) -> None:
        super().__init__(str(error), ranges=error.ranges, hint=error.hint)
        self.filename = filename
        self.source = source


def _ignore(directory: Path, dockerfile: Path | None, request: BuildRequest) -> IgnoreMatcher | None:
    """The ignore file: one beside the Dockerfile, named after it, wins over .dockerignore of the context."""
    candidates = [request.ignore_file] if request.ignore_file is not None else []
    if not candidates:
        if dockerfile is not None:
            candidates.append(dockerfile.with_name(dockerfile.name + ".dockerignore"))
        candidates.append(directory / ".dockerignore")
    for path in candidates:
        try:
            return IgnoreMatcher(read_ignorefile(path.read_bytes()))
        except FileNotFoundError:
            if request.ignore_file is not None:
                raise DockerfileMissing(f"the ignore file {path} does not exist") from None
        except OSError as error:
            raise RequestInvalid(f"cannot read {path}: {(error.strerror or '').lower()}") from error
    return None


def _umask(dockerfile: Path | None, directory: Path) -> int | None:
    """The checkout's umask as the Dockerfile's own mode tells it; None when it is no file of the context."""
    if dockerfile is None:
        return None
    try:
        if not dockerfile.resolve().is_relative_to(directory.resolve()):
            return None
        return umask_of(dockerfile.stat().st_mode, directory=False)
    except OSError:
        return None


def _named(value: str) -> tuple[str, str]:
    scheme, separator, rest = value.partition("://")
    if separator and scheme == "docker-image":
        return "image", rest
    if separator:
        raise BuildContextUnsupported(f"build context {value!r}: {scheme} sources are not supported", hint="give a directory or docker-image://NAME")
    if not os.path.isdir(value):
        raise DockerfileMissing(f"build context {value!r} is not a directory")
    return "directory", value


class BuildContextUnsupported(Unsupported):
    """A named context of a kind that is not known here."""


def _shown(path: Path | None, directory: Path | None) -> str:
    if path is None:
        return "Dockerfile"
    if directory is not None and path.is_relative_to(directory):
        return str(path.relative_to(directory))
    return path.name
