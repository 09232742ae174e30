"""BuildKit's names of our steps: the digests of its operations, as BuildKit 0.9 to 0.25 compute them. Pure but for the
files of the context, which are read.

A record of BuildKit's is found by the digest of an operation (its JSON, without what does not decide the result) and
by the records of its inputs. What the build context gives is known by the content of the files alone. What has no
name here (`describe` gives None) is never found by BuildKit's records, and neither is what stands on it.

    image     sha256("buildkit.source.v0:" + chain ID)
    RUN       {"Type":"buildkit.exec.v0","Exec":…}, on its root with the selector "/"
    WORKDIR   {"Type":"buildkit.file.v0","Actions":[mkdir]}
    COPY, ADD {"Type":"buildkit.file.v0","Actions":[copy…]}, with --link on nothing, and a merge
"""

from __future__ import annotations

import base64
import json
import posixpath
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.parse import unquote, urlsplit

from boxwright.build.dockerfile.globs import has_wildcards
from boxwright.build.graph import Selection, Vertex
from boxwright.build.ops.copy import CopyOp, CopyPart
from boxwright.build.ops.exec import ExecMount, ExecOp, StepLimits
from boxwright.build.ops.git import GitOp
from boxwright.build.ops.http import HttpOp
from boxwright.build.ops.source import ImageOp, ScratchOp
from boxwright.build.ops.workdir import WorkdirOp
from boxwright.build.remotecache.contents import Picked, selected
from boxwright.spec import hashes
from boxwright.spec.config import DEFAULT_PATH
from boxwright.spec.digest import chain_id
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.context.filetree import FileTree

_ROOT = "/"
_NETWORKS = {"default": 0, "host": 1, "none": 2}


@dataclass(frozen=True, slots=True)
class KeyInput:
    """An input of an operation. It is named in one of three ways: by `number`, the position among the vertex's inputs;
    by `made`, the record of an operation without inputs; by `contents`, the digests of what is read (BuildKit's
    versions differ in some, so that there may be several). With the first two, `selector` is the path that is read."""

    number: int = -1
    selector: str = ""
    contents: tuple[str, ...] = ()
    made: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKey:
    """A step as BuildKit records it: the digest of its operation, and its inputs. A COPY --link, whose layer does not
    depend on its base, is two operations: `merged` is the copy, the step itself the merge of that with the base."""

    digest: str
    inputs: tuple[KeyInput, ...] = ()
    merged: StepKey | None = None


Selections = Callable[[Vertex], "Selection | None"]


def describe(
    vertex: Vertex, selection: Selection | None, below: Selections = lambda vertex: None
) -> StepKey | None:
    """The key of a vertex, None when BuildKit's records cannot name it. `selection` is what the vertex reads of the
    context or of an input; `below` gives the selections of its inputs."""
    op = vertex.op
    if isinstance(op, ImageOp):
        layers = vertex.settled.layers if vertex.settled is not None else ()
        chain = chain_id(layers)
        return StepKey(digest=output(_sha(f"buildkit.source.v0:{chain}".encode()))) if chain else None
    on_nothing = bool(vertex.inputs) and isinstance(vertex.inputs[0].op, ScratchOp)
    if isinstance(op, WorkdirOp):
        return _workdir(op, on_nothing)
    if isinstance(op, ExecOp):
        return None if on_nothing else _exec(op, vertex, below)
    if isinstance(op, CopyOp):
        return _copy(op, vertex, selection=selection, below=below)
    return None


class KnownKeys:
    """The keys of one build's steps: what a step reads of the context is read once, however many places are asked.
    `selections` are those of the steps that were asked for theirs, by their vertices' ids."""

    def __init__(self, selections: Callable[[], Mapping[str, Selection | None]]) -> None:
        self._selections = selections
        self._read: dict[str, tuple[list[Selection | None], StepKey | None]] = {}

    def of(self, vertex: Vertex) -> StepKey | None:
        """See `describe`."""
        known = self._read.get(vertex.id)
        read = [self._selection(one) for one in (vertex, *vertex.inputs)]
        if known is None or known[0] != read:
            known = self._read[vertex.id] = read, describe(vertex, read[0], self._selection)
        return known[1]

    def _selection(self, vertex: Vertex) -> Selection | None:
        return self._selections().get(vertex.id)

    def waits(self, vertex: Vertex) -> bool:
        """Whether it is not known yet what the step, or what it mounts, reads of the context, or what it adds is."""
        known = self._selections()
        read = [vertex, *(one for one in vertex.inputs if one.hidden or one.op.reads == "remote")]
        return any(one.op.reads in ("local", "remote") and one.id not in known for one in read)


def output(digest: str, number: int = 0) -> str:
    """The name of an operation's output; -1 is that of content."""
    return _sha(f"{digest}@{number}".encode())


def go_json(value: object) -> bytes:
    """JSON as Go writes it: nothing that HTML would take for its own."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "&<>\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace")


def _sha(data: bytes) -> str:
    return "sha256:" + hashes.sha256(data).hexdigest()


def _some(**fields: Any) -> dict[str, Any]:
    """The fields that say something: Go leaves the others out."""
    return {name: value for name, value in fields.items() if value}


# --- RUN -----------------------------------------------------------------------------------------


def _exec(op: ExecOp, vertex: Vertex, below: Selections) -> StepKey | None:
    if op.limits != StepLimits() or op.epoch is not None or op.devices:
        return None
    mounted = _Mounted(op, vertex, below)
    if not mounted.told:
        return None
    env = [f"{name}={value}" for name, value in (*op.env, *op.build_args)]
    if mounted.agent and not any(entry.startswith("SSH_AUTH_SOCK=") for entry in env):
        env.append(f"SSH_AUTH_SOCK={mounted.agent}")
    if not any(entry.startswith("PATH=") for entry in env):
        env.append(f"PATH={DEFAULT_PATH}")
    meta = _some(
        args=list(op.argv),
        env=env,
        cwd=op.cwd,
        user=op.user,
        extraHosts=[{"Host": name} for name, _ in op.hosts],
        hostname=op.hostname if op.hostname != "buildkitsandbox" else "",
        ulimit=[_ulimit(text) for text in op.ulimits],
        removeMountStubsRecursive=True,
    )
    security = 1 if op.security == "insecure" else 0
    body = {
        "meta": meta,
        **_some(
            mounts=mounted.mounts,
            network=_NETWORKS[op.network],
            security=security,
            secretenv=mounted.secrets,
        ),
    }
    system, architecture, *variant = op.platform.split("/")
    whole = {"Type": "buildkit.exec.v0", "Exec": body, "OS": system, "Arch": architecture}
    whole |= _some(Variant="".join(variant))
    return StepKey(digest=output(_sha(go_json(whole))), inputs=mounted.inputs)


def _ulimit(text: str) -> dict[str, Any]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return _some(Name=name, Soft=int(soft), Hard=int(hard or soft))


class _Mounted:
    """The mounts of a RUN as BuildKit lists them: the root among them, sorted by their targets, each with its input.
    `told` is False when one of them cannot be named."""

    def __init__(self, op: ExecOp, vertex: Vertex, below: Selections) -> None:
        self._vertex, self._below = vertex, below
        self._read: dict[object, list[str]] = {
            "root": [_ROOT]
        }  # by source what is read of it, the root first
        beside = [_tmpfs("/dev/shm", op.shm_size)] if op.shm_size else []
        given = [one for one in map(partial(self._beside, op), op.mounts) if one is not None]
        if op.script is not None:
            path, text = op.script
            written = "made", _made(_mkfile(posixpath.basename(path), text, 0o755))
            beside.append(self._from(written, _ROOT, "/dev/pipes/", readonly=True))
        beside = sorted([*beside, *given], key=lambda mount: str(mount["dest"]))
        for mount in beside:  # inputs are counted in this order
            if "source" in mount:
                source, read = mount.pop("source")
                self._read.setdefault(source, []).append(read)
                mount["input"] = list(self._read).index(source)
        behind = [*_secret_files(op), *_agents(op)]
        self.mounts = [{"dest": _ROOT}, *beside, *behind] if beside or behind else []
        self.agent = next((mount.target for mount in op.mounts if mount.type == "ssh"), "")
        self.secrets = [
            _some(ID=mount.id, name=mount.env, optional=not mount.required)
            for mount in op.mounts
            if mount.type == "secret" and mount.env is not None
        ]
        inputs = [self._input(source, read) for source, read in self._read.items()]
        self.inputs = tuple(one for one in inputs if one is not None)
        self.told = len(self.inputs) == len(inputs)

    @staticmethod
    def _from(source: object, read: str, target: str, **more: Any) -> dict[str, Any]:
        return {"input": 0, "dest": target, "output": -1, **_some(**more), "source": (source, read)}

    def _beside(self, op: ExecOp, mount: ExecMount) -> dict[str, Any] | None:
        if mount.type == "tmpfs":
            return _tmpfs(mount.target, mount.size)
        if mount.type == "bind":
            return self._from(self._source(mount), mount.source, mount.target, readonly=mount.readonly)
        if mount.type != "cache":
            return None
        usual = mount.id == mount.target and mount.sharing == "shared"  # all others are one to it
        cache = {"ID": f"{op.cache_namespace}/{mount.id}"} if usual else {}
        said = {"readonly": True} if mount.readonly else {}
        if mount.input is None and mount.owned:
            made = {"path": "/cache", "mode": 0o755 if mount.mode is None else mount.mode}
            owner = {"user": _user(mount.uid), "group": _user(mount.gid)}
            owned = "made", _made({**_some(**made), "owner": owner, "timestamp": -1})
            found = self._from(owned, "/cache", mount.target, **said)
        elif mount.input is not None:
            source = "owned" if mount.owned else self._source(mount)
            found = self._from(source, mount.source, mount.target, **said)
        else:
            found = {"input": -1, "dest": mount.target, "output": -1, **said}
        return {**found, "mountType": 3, "cacheOpt": cache}

    def _source(self, mount: ExecMount) -> object:
        """What is mounted: the context, or one of the vertex's inputs."""
        assert mount.input is not None
        mounted = self._vertex.inputs[mount.input]
        if not mounted.hidden:
            return self._vertex.inputs.index(mounted)  # which may be mounted several times
        if isinstance(mounted.op, CopyOp):
            return "context", mounted.op.parts[0].context
        return "unknown"

    def _input(self, source: object, read: Sequence[str]) -> KeyInput | None:
        selector = _sha("\0".join(read).encode())
        if source == "root":
            return KeyInput(0, selector)
        if isinstance(source, int):
            return KeyInput(source, selector)
        match source:
            case ("made", str(digest)):
                return KeyInput(selector=selector, made=digest)
            case ("context", key):
                return self._of_context(key, read)
        return None

    def _of_context(self, key: object, read: Sequence[str]) -> KeyInput | None:
        for vertex in self._vertex.inputs:
            if isinstance(vertex.op, CopyOp) and vertex.hidden and vertex.op.parts[0].context == key:
                selection = self._below(vertex)
                if selection is None:
                    return None
                paths = [_ROOT] if _ROOT in read else read
                contents = _contents(selection.payload[0].tree, [Picked(path) for path in paths])
                return KeyInput(contents=contents) if contents else None
        return None


def _tmpfs(target: str, size: int) -> dict[str, Any]:
    return {"input": -1, "dest": target, "output": -1, "mountType": 4, "TmpfsOpt": _some(size=size)}


def _secret_files(op: ExecOp) -> list[dict[str, Any]]:
    found = []
    for mount in op.mounts:
        if mount.type == "secret" and mount.file:
            mode = 0o400 if mount.mode is None else mount.mode
            said = _some(ID=mount.id, uid=mount.uid, gid=mount.gid, mode=mode, optional=not mount.required)
            found.append({"input": -1, "dest": mount.target, "mountType": 1, "secretOpt": said})
    return found


def _agents(op: ExecOp) -> list[dict[str, Any]]:
    found = []
    for mount in op.mounts:
        if mount.type == "ssh":
            mode = 0o600 if mount.mode is None else mount.mode
            name = mount.id if mount.id != "default" else ""
            said = _some(ID=name, uid=mount.uid, gid=mount.gid, mode=mode, optional=not mount.required)
            found.append({"input": -1, "dest": mount.target, "mountType": 2, "SSHOpt": said})
    return found


# --- WORKDIR, COPY and ADD -----------------------------------------------------------------------


def _workdir(op: WorkdirOp, on_nothing: bool) -> StepKey | None:
    owner = _owner(op.user, -1 if on_nothing else 0) if op.user else {}
    if op.epoch is not None or owner is None:
        return None
    made = {"path": op.path, "mode": 0o755, "makeParents": True, **_some(owner=owner), "timestamp": -1}
    if on_nothing:
        return StepKey(digest=_made(made))
    return StepKey(digest=_files([made], [[0, -1, 0]]), inputs=(KeyInput(0),))


def _copy(op: CopyOp, vertex: Vertex, selection: Selection | None, below: Selections) -> StepKey | None:
    on_nothing = bool(vertex.inputs) and isinstance(vertex.inputs[0].op, ScratchOp)
    if op.epoch is not None or (op.link and not op.independent):
        return None
    merged = op.link and not on_nothing  # a merge with nothing is no merge
    on_nothing = on_nothing or op.link
    owner = _owner(op.chown, -1 if on_nothing else 0) if op.chown else {}
    read = [part for part in op.parts if part.origin != "inline"]
    if owner is None or any("\\" in part.source for part in read):
        return None
    common = {"dest": op.dest, **_some(owner=owner), **_mode(op.chmod)}
    excluded = _some(exclude_patterns=list(op.excludes))
    inputs = [] if on_nothing else [KeyInput(0)]
    actions: list[tuple[dict[str, Any], int]] = []
    fetched = [_fetched(vertex, part, below) for part in read]
    sources = [_wanted(op, part.source) for part in read]
    copied_at = [number for number, alone in enumerate(fetched) if alone is None]
    together = [sources[number] for number in copied_at]
    if any(one.included == ("",) for one in together):
        return None
    files: KeyInput | None = None  # of all that are copied; to name it, they are read
    if copied_at:
        tree = selection.payload[copied_at[0]].tree if selection is not None else None
        files = _source(read[copied_at[0]], together, tree)
    for part, picked, alone in zip(read, sources, fetched):
        source = files if alone is None else alone.source
        if source is None:
            return None
        if source not in inputs:
            inputs.append(source)
        if alone is None:
            action = _action(picked, common, part)
        else:
            action = _plain(alone.name, common, excluded, unpack=part.unpack)
        actions.append((action, inputs.index(source)))
    for part in op.parts[len(read) :]:
        made = KeyInput(
            selector=_sha(f"/{part.source}".encode()), made=_made(_mkfile(part.source, part.data))
        )
        if made not in inputs:
            inputs.append(made)
        actions.append((_plain(part.source, common, excluded), inputs.index(made)))
    first = -1 if on_nothing else 0
    last = len(actions) - 1
    indexes = [
        [len(inputs) + at - 1 if at else first, second, 0 if at == last else -1]
        for at, (_, second) in enumerate(actions)
    ]
    digest = _files([action for action, _ in actions], indexes)
    copied = StepKey(digest=digest, inputs=tuple(inputs))
    if not merged:
        return copied
    merge = _sha(go_json({"Type": "buildkit.merge.v0", "Merge": {"inputs": [{}, {"input": 1}]}}))
    return StepKey(digest=output(merge), inputs=(KeyInput(0),), merged=copied)


def _wanted(op: CopyOp, source: str) -> Picked:
    """With --parents, BuildKit reads what a pattern matches below the pivot."""
    if not op.parents:
        return Picked(_clean(source), (), op.excludes)
    above, pivot, below = source.partition("/./")
    return Picked(_clean(above if pivot else ""), (_clean(below if pivot else source)[1:],), op.excludes)


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _action(wanted: Picked, common: Mapping[str, Any], part: CopyPart) -> dict[str, Any]:
    said = {**common}
    symbolic = _some(modeStr=said.pop("modeStr", ""))
    return {
        "src": posixpath.basename(wanted.path) or _ROOT,
        **said,
        "followSymlink": True,
        "dirCopyContents": True,
        **_some(attemptUnpackDockerCompatibility=part.unpack),
        "createDestPath": True,
        "allowWildcard": True,
        "allowEmptyWildcard": True,
        "timestamp": -1,
        **_some(include_patterns=list(wanted.included), exclude_patterns=list(wanted.excluded)),
        **symbolic,
        **_some(required_paths=_required(wanted)),
    }


def _required(wanted: Picked) -> list[str]:
    """What BuildKit 0.27 and later say of --parents: a path has to be there, a pattern need not match."""
    paths = [posixpath.join(wanted.path, path) for path in wanted.included]
    return [path for path in paths if not has_wildcards(path)]


def _plain(
    name: str, common: Mapping[str, Any], excluded: Mapping[str, Any], *, unpack: bool = False
) -> dict[str, Any]:
    """The action that copies one source, by its name and without wildcards."""
    said = {**common}
    symbolic = _some(modeStr=said.pop("modeStr", ""))
    said |= _some(attemptUnpackDockerCompatibility=unpack)
    return {"src": name, **said, "createDestPath": True, "timestamp": -1, **excluded, **symbolic}


@dataclass(frozen=True, slots=True)
class _Fetched:
    """What ADD fetches: its record, which is made of nothing here (None where it has no name), and what it is called
    in it."""

    name: str
    source: KeyInput | None


def _fetched(vertex: Vertex, part: CopyPart, below: Selections) -> _Fetched | None:
    """None for what is not fetched."""
    of = vertex.inputs[part.input] if part.origin == "input" else vertex
    if not isinstance(of.op, (HttpOp, GitOp)):
        return None
    selection, name = below(of), part.source.strip("/")
    if isinstance(of.op, HttpOp):
        key = _url(of.op, name, selection)
    else:
        key, name = _commit(of.op, name.removesuffix(".").rstrip("/"), selection), _ROOT
    made = output(_sha(f"buildkit.source.v0:{key}".encode()))
    path = name if name == _ROOT else f"/{name}"
    return _Fetched(name, KeyInput(selector=_sha(path.encode()), made=made) if key else None)


def _url(op: HttpOp, name: str, selection: Selection | None) -> str:
    """The name of a download: of what it is and when it was made."""
    if posixpath.basename(unquote(urlsplit(op.url).path).rstrip("/")) != name or op.epoch is not None:
        return ""
    digest, modified = op.checksum, ""
    if not digest:
        if selection is None:
            return ""
        digest, modified = selection.payload["digest"], selection.payload["modified"]
    told = {"Filename": name, "Perm": 0, "UID": 0, "GID": 0, "Checksum": digest}
    return _sha(go_json(told | _some(LastModTime=modified)))


def _commit(op: GitOp, directory: str, selection: Selection | None) -> str:
    """The name of a checkout. One with its repository in it depends on more."""
    commit = op.commit or (selection.payload if selection is not None else "")
    if not commit or op.keep_git_dir or op.epoch is not None:
        return ""
    times = f"(mtime={op.mtime})" if op.mtime == "commit" else ""
    modules = "" if op.submodules else "(skip-submodules)"
    return f"{commit}{f':{directory}' if directory else ''}{modules}{times}"


def _source(part: CopyPart, sources: Sequence[Picked], tree: FileTree | None) -> KeyInput | None:
    """Where files come from: of the context they are known by content, of another step by what is read of it, and by
    content, too, once that is known."""
    contents = _contents(tree, sources) if tree is not None else ()
    if part.origin == "input":
        paths = sorted((one.path for one in sources), reverse=True)
        return KeyInput(part.input, _sha("\0".join(paths).encode()), contents)
    return KeyInput(contents=contents) if contents else None


def _contents(tree: FileTree, picked: Sequence[Picked]) -> tuple[str, ...]:
    """The records of what these select."""
    return tuple(output(digest, -1) for digest in selected(tree, picked))


def _files(actions: Sequence[Mapping[str, Any]], indexes: list[list[int]]) -> str:
    """The record of an operation on files; `indexes` are what each action stands on, what it copies and what it
    gives."""
    count = len(indexes)
    usual = [[at and count + at - 1, one[1], 0 if at == count - 1 else -1] for at, one in enumerate(indexes)]
    told = [] if indexes == usual and all(second in (-1, 1) for _, second, _ in indexes) else indexes
    written = [base64.b64encode(go_json(action)).decode() for action in actions]
    return output(_sha(go_json({"Type": "buildkit.file.v0", "Actions": written, **_some(indexes=told)})))


def _made(action: Mapping[str, Any]) -> str:
    """The record of a file or directory that is made on nothing."""
    return _files([action], [[-1, -1, 0]])


def _mkfile(name: str, text: str, mode: int = 0o644) -> dict[str, Any]:
    data = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
    return {"path": f"/{name}", "mode": mode, **_some(data=data), "timestamp": -1}


def _mode(text: str) -> dict[str, Any]:
    if not text:
        return {"mode": -1}
    return {"modeStr": text} if text.strip("01234567") else _some(mode=int(text, 8))


def _owner(text: str, base: int) -> dict[str, Any] | None:
    """A user and group, by number or as the base's files name them. None where the two sides mean others."""
    user, _, group = text.partition(":")
    if not user or text.endswith(":"):
        return None
    found = {"user": _user(user, base)}
    return {**found, "group": _user(group, base)} if group else found


def _user(one: str | int, base: int = 0) -> dict[str, Any]:
    number = 0 if one == "root" else int(one) if str(one).isascii() and str(one).isdigit() else None
    if number is not None:
        return {"User": _some(byId=number)}
    return {"User": {"byName": {"name": one, **_some(input=base)}}}
