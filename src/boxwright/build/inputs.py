"""What a build reads: the Dockerfile, its ignore file, the build context and the named ones."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from boxwright.build.context.filetree import FileTree
from boxwright.build.context.local import LocalContext
from boxwright.build.context.node import umask_of
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.ignore import IgnoreMatcher, read_ignorefile
from boxwright.build.dockerfile.parse import Dockerfile, parse
from boxwright.build.dockerfile.syntax import check_syntax
from boxwright.build.fields import RequestInvalid
from boxwright.build.named import NamedContexts, key_of, parse_value
from boxwright.build.progress import DOCKERFILE, Emit, StepStatus, showing
from boxwright.build.request import BuildRequest
from boxwright.errors import NotFound
from boxwright.files.places import Places
from boxwright.files.trees import discard
from boxwright.rootfs.root import Root, found_in
from boxwright.spec import hashes
from boxwright.spec.hints import cast
from boxwright.spec.urls import public
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.build.gitref import GitRef
    from boxwright.build.ops.context import AgentSocket
    from boxwright.image.services import Services

_LARGEST = 16 << 20  # bytes of a Dockerfile
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO)
_HEAD = 1 << 16  # bytes by which a tar is told from a Dockerfile


class DockerfileMissing(NotFound):
    """There is no Dockerfile where it was looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Open for the length of the build. `contexts` by key, '' being the build context; `named` says what names mean.
    `keep_times` are the contexts whose files keep the times that they have. `project` names what is built."""

    dockerfile: Dockerfile
    shown: str
    contexts: Mapping[str, FileTree]
    named: NamedContexts
    ssh: Mapping[str, AgentSocket]
    project: str
    keep_times: frozenset[str] = frozenset()
    commit: str = ""  # of the repository that is the build context
    times: Mapping[str, int] = field(default_factory=dict)  # unix seconds, of contexts by key that have one


METADATA = ("normalize", "keep")


def keeps_metadata(services: Services, request: BuildRequest) -> bool:
    """Whether times and permissions of the contexts are copied as they are. Raises RequestInvalid."""
    choice = request.context_metadata or services.settings.context_metadata
    if choice not in METADATA:
        raise RequestInvalid(f"context-metadata is {choice!r}; it must be {' or '.join(METADATA)}")
    return choice == "keep"


@contextmanager
def open_inputs(
    services: Services, request: BuildRequest, emit: Emit, hold: Callable[[str], None]
) -> Iterator[Inputs]:
    """Read the Dockerfile and open the contexts; `hold` is told of a workspace before it is made. Raises
    DockerfileMissing, DockerfileError, ContextMissing, RequestInvalid, IgnoreInvalid."""
    keep = keeps_metadata(services, request)
    cache = Places(services.root).context_digests if request.stream is None and not request.remote else None
    with ExitStack() as stack:
        fetched = Fetched(services=services, request=request, emit=emit, stack=stack, hold=hold)
        directory, data, path = _locate(request, fetched)
        shown = _shown(path, directory)
        dockerfile = _parsed(
            data=data, shown=shown, syntax=request.build_args.get("BUILDKIT_SYNTAX"), emit=emit
        )
        contexts: dict[str, FileTree] = {}
        if directory is not None:
            # Git and HTTP contexts are taken whole, as BuildKit does: what is not wanted there is not in them.
            ignore = _ignore(directory, path, request) if not request.remote else None
            umask = _umask(path, directory) if not request.remote else None
            contexts[""] = stack.enter_context(
                LocalContext(directory, ignore, cache, umask=umask, keep_modes=keep)
            )
        images = {}
        for name, text in request.build_contexts.items():
            key, value = key_of(name), parse_value(text)
            if value.kind == "image":
                images[key] = value.place
                continue
            if value.kind == "remote":
                tree = LocalContext(fetched.directory(value.place, key), keep_modes=keep)
            else:
                top = Path(value.place)
                tree = LocalContext(top, _ignore(top, None, request), cache, keep_modes=keep)
            contexts[key] = stack.enter_context(tree)
        place = request.remote or (directory.resolve() if directory and request.stream is None else "-")
        identity = f"{place}\0{request.dockerfile if request.remote else path or '-'}"
        project = hashes.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        yield Inputs(
            dockerfile=dockerfile,
            shown=shown,
            contexts=contexts,
            named=NamedContexts(frozenset(key for key in contexts if key), images),
            ssh=fetched.ssh,
            project=project,
            keep_times=frozenset(contexts) if keep else frozenset(fetched.dated),
            commit=fetched.commits.get("", ""),
            times=fetched.times,
        )


def _locate(request: BuildRequest, fetched: Fetched) -> tuple[Path | None, bytes, Path | None]:
    """The context directory, the Dockerfile's bytes, and where they came from."""
    directory = request.context
    data = request.dockerfile_data
    if request.dockerfile_url:
        data = fetched.file(request.dockerfile_url)
    foreign = request.stream is not None or bool(request.remote)
    if foreign:
        brought = (
            fetched.stream(request.stream) if request.stream is not None else fetched.remote(request.remote)
        )
        if isinstance(brought, bytes):
            if request.dockerfile is not None or data is not None:
                raise RequestInvalid("the context is a lone Dockerfile; leave -f out")
            return None, brought, None
        directory = brought
    if data is not None:
        return directory, data, None
    if request.dockerfile is not None:
        if foreign and directory is not None:
            # From a context that was brought here the Dockerfile is named inside it.
            name = str(request.dockerfile).lstrip("/")
            return directory, _dockerfile_in(directory, name), directory / name
        return directory, _named_by_user(request.dockerfile, directory), request.dockerfile
    if directory is None:
        raise RequestInvalid("nothing to build: neither a context nor a Dockerfile was given")
    if not directory.is_dir():
        raise DockerfileMissing(
            f"unable to prepare context: path {str(directory)!r} "
            + ("is not a directory" if directory.exists() else "not found")
        )
    for name in ("Dockerfile", "dockerfile"):
        if os.path.lexists(directory / name) and not (directory / name).is_dir():
            return directory, _dockerfile_in(directory, name), directory / name
    where = public(request.remote) or ("the archive" if foreign else directory)
    raise DockerfileMissing(
        "failed to read dockerfile: open Dockerfile: no such file or directory",
        hint=f"there is no Dockerfile in {where}; name it with -f",
    )


class Fetched:
    """Contexts that are not here yet: each becomes a directory under ROOT/work for the length of the build."""

    def __init__(
        self,
        services: Services,
        request: BuildRequest,
        emit: Emit,
        stack: ExitStack,
        hold: Callable[[str], None],
    ) -> None:
        self._ssh: Mapping[str, AgentSocket] = {}
        if request.ssh:
            from boxwright.build.keys import agents

            self._ssh = stack.enter_context(agents(request.ssh))
        self._services, self._request, self._emit, self._stack, self._hold = (
            services,
            request,
            emit,
            stack,
            hold,
        )
        self.dated: set[str] = set()  # contexts by key whose files have the times that were asked for
        self.commits: dict[str, str] = {}  # of repositories, by the contexts' keys
        self.times: dict[
            str, int
        ] = {}  # unix seconds: of commits, downloads, or the newest file of an archive

    @property
    def ssh(self) -> Mapping[str, AgentSocket]:
        """The agents that the build was given, by id."""
        return self._ssh

    def stream(self, stream: BinaryIO, what: str = "standard input", key: str = "") -> bytes | Path:
        """A lone Dockerfile, or the directory into which a tar was unpacked. Raises RequestInvalid, TarInvalid."""
        from boxwright.build.context.archive import is_archive, unpacked_context

        head = b""
        while len(head) < _HEAD and (more := stream.read(_HEAD - len(head))):
            head += more
        if not is_archive(head):
            rest = stream.read(_LARGEST + 1)
            if len(head) + len(rest) > _LARGEST:
                raise RequestInvalid(f"{what} is neither a tar archive nor a Dockerfile")
            return head + rest
        return self._stack.enter_context(
            unpacked_context(
                head,
                stream,
                parent=self._workspace("context"),
                told=lambda newest: self.times.setdefault(key, newest),
            )
        )

    def remote(self, place: str, key: str = "") -> bytes | Path:
        """What is at a URL: the checkout of a Git repository, a tar's content, or a Dockerfile. Raises GitRefMissing,
        ProgramFailed, DownloadMissing, DownloadFailed, PeerUnreachable."""
        from boxwright.build.gitref import parse_git

        brought = self._request.brought.get(place)
        if brought is not None:
            self.commits |= {key: brought.commit} if brought.commit else {}
            self.dated |= {key} if brought.dated else set()
            return brought.directory
        repository = parse_git(place)
        if repository is not None:
            with self._step(f"load git source {public(place)}"):
                return self._checkout(repository, key)
        from boxwright.registry.client.fetch import Download, fetch

        with (
            self._step("load remote build context"),
            Download(fetch(self._services.settings, place)) as body,
        ):
            if body.modified is not None:
                self.times[key] = body.modified
            return self.stream(cast("BinaryIO", body), public(place), key)

    def file(self, place: str) -> bytes:
        """A Dockerfile at a URL. Raises RequestInvalid, and as `remote`."""
        from boxwright.registry.client.fetch import open_url

        with self._step(f"load remote Dockerfile {public(place)}"):
            with open_url(self._services.settings, place) as body:
                data = body.read(_LARGEST + 1)
                while len(data) <= _LARGEST and (more := body.read(_LARGEST + 1 - len(data))):
                    data += more
            if len(data) > _LARGEST:
                raise RequestInvalid(f"{public(place)} is no Dockerfile")
        return data

    def directory(self, place: str, key: str) -> Path:
        """A named context at a URL; a single file is in a directory of its own, as ``context``. Raises as `remote`."""
        found = self.remote(place, key)
        if not isinstance(found, bytes):
            return found
        top = self._workspace("context") / "context"
        top.mkdir(parents=True)
        self._stack.callback(discard, top)
        (top / "context").write_bytes(found)
        return top

    def _checkout(self, repository: GitRef, key: str) -> Path:
        from boxwright.build.ops.git import Git, GitOp

        keep = repository.keep_git_dir
        if keep is None:
            keep = self._request.flag("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
        op = GitOp.of(repository, keep_git_dir=keep)
        git = Git(
            op=op,
            settings=self._services.settings,
            secrets={s.id: s for s in self._request.secrets},
            ssh=self._ssh,
        )
        top = self._workspace("git") / "context"
        top.mkdir(parents=True)
        self._stack.callback(discard, top)
        self.commits[key] = commit = git.commit()
        git.checkout(top, commit)
        self.times[key] = git.time(top, commit)
        if op.mtime:
            self.dated.add(key)
        if not op.keep_git_dir:
            discard(top / ".git")
        try:
            inside, mode = found_in(top, repository.subdir)
        except OSError:
            mode = 0
        if not stat.S_ISDIR(mode):
            raise RequestInvalid(f"{public(repository.url)} has no directory {repository.subdir!r}")
        return Path(f"{top}{inside}")

    def _workspace(self, kind: str) -> Path:
        key = f"{kind}-{os.urandom(8).hex()}"
        self._hold(key)
        parent = Places(self._services.root).workspace(key)
        self._stack.callback(_remove_empty, parent)
        return parent

    def _step(self, title: str) -> AbstractContextManager[None]:
        return showing(self._emit, f"internal {title}", f"[internal] {title}")


def _remove_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        pass  # what could not be removed is the collector's


def _dockerfile_in(directory: Path, name: str) -> bytes:
    """A Dockerfile of a context; links are followed inside the context only. Raises DockerfileMissing."""
    missing = f"failed to read dockerfile: open {name}: "
    try:
        data = _read_in(directory, name)
    except OSError as error:
        hint = (
            "it is a link, and links are followed inside the context only"
            if os.path.islink(directory / name)
            else f"looked for it in {directory}"
        )
        raise DockerfileMissing(missing + (error.strerror or "").lower(), hint=hint) from error
    return _checked(data, directory / name)


def read_dockerfile(path: Path) -> bytes:
    """A Dockerfile of this host. Raises DockerfileMissing."""
    return _named_by_user(path, None)


def _named_by_user(path: Path, directory: Path | None) -> bytes:
    """What ``-f`` names on this host: the user's own choice, unless it is a link that lies in the context: then the
    link is the context's choice. Raises DockerfileMissing."""
    if directory is not None and path.is_symlink():
        name = os.path.relpath(os.path.abspath(path), os.path.abspath(directory))
        if not name.startswith("../"):
            return _dockerfile_in(directory, name)
    try:
        with path.open("rb") as file:
            return _checked(file.read(_LARGEST + 1), path)
    except FileNotFoundError as error:
        raise DockerfileMissing(
            f"failed to read dockerfile: open {path.name}: no such file or directory",
            hint=f"looked for {path}",
        ) from error
    except OSError as error:
        raise DockerfileMissing(
            f"failed to read dockerfile: open {path}: {(error.strerror or '').lower()}"
        ) from error


def _read_in(directory: Path, name: str) -> bytes:
    """The beginning of a regular file of a tree, links followed inside the tree only. Raises OSError."""
    with Root.at(directory) as root:
        fd = root.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(_LARGEST + 1)


def _checked(data: bytes, path: Path) -> bytes:
    if len(data) > _LARGEST:
        raise RequestInvalid(f"{path} is larger than {_LARGEST >> 20} MiB: that is no Dockerfile")
    return data


def _parsed(data: bytes, shown: str, syntax: str | None, emit: Emit) -> Dockerfile:
    with showing(emit, DOCKERFILE, f"[internal] load build definition from {shown}"):
        size = len(data)
        emit(StepStatus(DOCKERFILE, "transferring dockerfile", current=size, total=size, done=True))
        try:
            check_syntax(data, syntax)
            return parse(data, filename=shown)
        except DockerfileError as error:
            # The excerpt is cut from the text, which the caller has not seen yet.
            raise LocatedDockerfileError(error, shown, data) from error


class LocatedDockerfileError(DockerfileError):
    """A syntax error with the file that it is in."""

    def __init__(self, error: DockerfileError, filename: str, source: bytes) -> None:
        super().__init__(str(error), ranges=error.ranges, hint=error.hint)
        self.filename = filename
        self.source = source


def _ignore(directory: Path, dockerfile: Path | None, request: BuildRequest) -> IgnoreMatcher | None:
    """The ignore file: one beside the Dockerfile, named after it, wins over .dockerignore of the context. Both are
    paths of the tree they lie in; what leads out of it, or is no file, is as if it were not there. Raises
    RequestInvalid."""
    if request.ignore_file is not None:
        try:
            return IgnoreMatcher(read_ignorefile(request.ignore_file.read_bytes()))
        except FileNotFoundError:
            raise DockerfileMissing(f"the ignore file {request.ignore_file} does not exist") from None
        except OSError as error:
            raise RequestInvalid(
                f"cannot read {request.ignore_file}: {(error.strerror or '').lower()}"
            ) from error
    candidates = [(directory, ".dockerignore")]
    if dockerfile is not None:
        beside = dockerfile.with_name(dockerfile.name + ".dockerignore")
        name = os.path.relpath(os.path.abspath(beside), os.path.abspath(directory))
        inside = not name.startswith("../")
        candidates.insert(0, (directory, name) if inside else (beside.parent, beside.name))
    for top, name in candidates:
        try:
            return IgnoreMatcher(read_ignorefile(_read_in(top, name)))
        except OSError as error:
            if error.errno not in _ABSENT:
                raise RequestInvalid(f"cannot read {top / name}: {(error.strerror or '').lower()}") from error
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


def _shown(path: Path | None, directory: Path | None) -> str:
    if path is None:
        return "Dockerfile"
    if directory is not None and path.is_relative_to(directory):
        return str(path.relative_to(directory))
    return path.name
