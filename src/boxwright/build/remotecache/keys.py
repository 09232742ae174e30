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

from boxwright.build.graph import Selection, Vertex
from boxwright.build.ops.copy import CopyOp, CopyPart
from boxwright.build.ops.exec import ExecOp, StepLimits
from boxwright.build.ops.source import ImageOp
from boxwright.build.ops.workdir import WorkdirOp
from boxwright.spec import hashes
from boxwright.spec.config import DEFAULT_PATH
from boxwright.spec.digest import chain_id
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.context.filetree import FileTree, TreeNode

_ROOT = "/"
_NETWORKS = {"default": 0, "host": 1, "none": 2}
_CHUNK = 1 << 20
_TYPES = {"file": "0", "dir": "5", "symlink": "2"}


@dataclass(frozen=True, slots=True)
class KeyInput:
    """An input of an operation: the number of one of the vertex's own with the selector of what is read of it, or
    (`content`) a record that is known by content alone."""

    number: int = -1
    selector: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKey:
    """A step in BuildKit's words: the digest of its record, and its inputs. `merged`: the record of what stands above
    its base when the layers do not depend on it (COPY --link), on which it is merged."""

    digest: str
    inputs: tuple[KeyInput, ...] = ()
    merged: StepKey | None = None


def describe(vertex: Vertex, selection: Selection | None) -> StepKey | None:
    """The key of a vertex; `selection` is what it reads of the context. None for what has none here."""
    op = vertex.op
    if isinstance(op, ImageOp):
        layers = vertex.settled.layers if vertex.settled is not None else ()
        chain = chain_id(layers)
        return StepKey(digest=output(_sha(f"buildkit.source.v0:{chain}".encode()))) if chain else None
    if isinstance(op, WorkdirOp):
        return _workdir(op)
    if isinstance(op, ExecOp):
        return _exec(op)
    if isinstance(op, CopyOp):
        return _copy(op, selection)
    return None


class KnownKeys:
    """The keys of one build's steps: what a step reads of the context is read once, however many places are asked.
    `selections` are those of the steps that were asked for theirs, by their vertices' ids."""

    def __init__(self, selections: Callable[[], Mapping[str, Selection | None]]) -> None:
        self._selections = selections
        self._read: dict[str, tuple[Selection, StepKey | None]] = {}

    def of(self, vertex: Vertex) -> StepKey | None:
        """See `describe`."""
        selection = self._selections().get(vertex.id)
        if selection is None:
            return describe(vertex, None)
        known = self._read.get(vertex.id)
        if known is None or known[0] is not selection:
            known = self._read[vertex.id] = selection, describe(vertex, selection)
        return known[1]

    def waits(self, vertex: Vertex) -> bool:
        """Whether it is not known yet what the step reads of the context."""
        return vertex.op.reads == "local" and vertex.id not in self._selections()


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


# --- operations --------------------------------------------------------------------------------


def _exec(op: ExecOp) -> StepKey | None:
    plain = op.limits == StepLimits() and op.script is None and op.epoch is None and not op.shm_size
    mounts, secrets = _mounts(op), _secrets(op)
    if not plain or mounts is None or op.ulimits or op.devices:
        return None
    env = [f"{name}={value}" for name, value in (*op.env, *op.build_args)]
    if not any(entry.startswith("PATH=") for entry in env):
        env.append(f"PATH={DEFAULT_PATH}")
    meta = _some(
        args=list(op.argv),
        env=env,
        cwd=op.cwd,
        user=op.user,
        extraHosts=[{"Host": name} for name, _ in op.hosts],
        hostname=op.hostname if op.hostname != "buildkitsandbox" else "",
        removeMountStubsRecursive=True,
    )
    security = 1 if op.security == "insecure" else 0
    body = {
        "meta": meta,
        **_some(mounts=mounts, network=_NETWORKS[op.network], security=security, secretenv=secrets),
    }
    system, architecture, *variant = op.platform.split("/")
    whole = {"Type": "buildkit.exec.v0", "Exec": body, "OS": system, "Arch": architecture}
    whole |= _some(Variant="".join(variant))
    return StepKey(digest=output(_sha(go_json(whole))), inputs=(KeyInput(0, _sha(_ROOT.encode())),))


def _mounts(op: ExecOp) -> list[dict[str, Any]] | None:
    """The root and what is mounted beside it; [] where that is the root alone, None for what has no name here."""
    beside, behind = [], []
    for mount in op.mounts:
        said: dict[str, Any] = {"input": -1, "dest": mount.target, "output": -1}
        if mount.type == "cache" and mount.input is None and not (mount.readonly or mount.uid or mount.gid):
            if mount.mode is not None:
                return None
            usual = mount.id == mount.target and mount.sharing == "shared"  # all others are one to it
            cache = {"ID": f"{op.cache_namespace}/{mount.id}"} if usual else {}
            beside.append({**said, "mountType": 3, "cacheOpt": cache})
        elif mount.type == "tmpfs":
            beside.append({**said, "mountType": 4, "TmpfsOpt": _some(size=mount.size)})
        elif mount.type == "secret":
            if mount.file:
                mode = 0o400 if mount.mode is None else mount.mode
                secret = _some(
                    ID=mount.id, uid=mount.uid, gid=mount.gid, mode=mode, optional=not mount.required
                )
                behind.append({"input": -1, "dest": mount.target, "mountType": 1, "secretOpt": secret})
        else:
            return None
    if not beside and not behind:
        return []
    return [{"dest": _ROOT}, *sorted(beside, key=lambda mount: str(mount["dest"])), *behind]


def _secrets(op: ExecOp) -> list[dict[str, Any]]:
    """Secrets in the environment."""
    return [
        _some(ID=mount.id, name=mount.env, optional=not mount.required)
        for mount in op.mounts
        if mount.type == "secret" and mount.env is not None
    ]


def _workdir(op: WorkdirOp) -> StepKey | None:
    if op.user or op.epoch is not None:
        return None
    made = {"path": op.path, "mode": 0o755, "makeParents": True, "timestamp": -1}
    return StepKey(digest=_files([made]), inputs=(KeyInput(0),))


def _copy(op: CopyOp, selection: Selection | None) -> StepKey | None:
    mode = _mode(op.chmod)
    origins = {(part.origin, part.input, part.context) for part in op.parts}
    if op.chown or op.excludes or op.parents or op.epoch is not None or mode is None or len(origins) != 1:
        return None
    if any(part.origin == "inline" or part.mode is not None or _wild(part.source) for part in op.parts):
        return None
    if op.link and not op.independent:
        return None
    sources = [posixpath.normpath("/" + part.source.lstrip("/")) for part in op.parts]
    digest = _files(
        [_action(source, op, part, mode) for source, part in zip(sources, op.parts)],
        _on_nothing(len(op.parts)) if op.link else None,
    )
    source = _source(op.parts[0], sources, selection)
    if source is None:
        return None
    if not op.link:
        return StepKey(digest=digest, inputs=(KeyInput(0), source))
    merge = _sha(go_json({"Type": "buildkit.merge.v0", "Merge": {"inputs": [{}, {"input": 1}]}}))
    return StepKey(
        digest=output(merge), inputs=(KeyInput(0),), merged=StepKey(digest=digest, inputs=(source,))
    )


def _on_nothing(count: int) -> list[list[int]]:
    """What each of several copies stands on, copies and gives, the first of them on nothing."""
    last = count - 1
    return [[at if at else -1, 0, 0 if at == last else -1] for at in range(count)]


def _action(source: str, op: CopyOp, part: CopyPart, mode: int) -> dict[str, Any]:
    return {
        "src": posixpath.basename(source) or _ROOT,
        "dest": op.dest,
        **_some(mode=mode),
        "followSymlink": True,
        "dirCopyContents": True,
        **_some(attemptUnpackDockerCompatibility=part.unpack),
        "createDestPath": True,
        "allowWildcard": True,
        "allowEmptyWildcard": True,
        "timestamp": -1,
    }


def _source(part: CopyPart, sources: Sequence[str], selection: Selection | None) -> KeyInput | None:
    """Where files come from: of the context they are known by content, of another step by what is read of it."""
    if part.origin == "input":
        return KeyInput(part.input, _sha("\0".join(sorted(sources, reverse=True)).encode()))
    if selection is None:
        return None
    tree = selection.payload[0].tree
    found = []
    for path in _outermost(sources):
        digest = _content(tree, path.lstrip("/"))
        if digest is None:
            return None
        found.append(digest)
    return KeyInput(content=output(_sha("\0".join(found).encode()), -1))


def _files(actions: Sequence[Mapping[str, Any]], indexes: list[list[int]] | None = None) -> str:
    written = [base64.b64encode(go_json(action)).decode() for action in actions]
    return output(_sha(go_json({"Type": "buildkit.file.v0", "Actions": written, **_some(indexes=indexes)})))


def _mode(text: str) -> int | None:
    """-1 for none; None for a symbolic one."""
    if not text:
        return -1
    return int(text, 8) if not text.strip("01234567") else None


def _wild(source: str) -> bool:
    return any(character in source for character in "*?[\\")


def _outermost(paths: Sequence[str]) -> list[str]:
    """Sorted, without what lies below another one."""
    wanted = set(paths)
    return sorted(
        path
        for path in wanted
        if not any(path != above and path.startswith(above.rstrip("/") + "/") for above in wanted)
    )


# --- files -------------------------------------------------------------------------------------


def _content(tree: FileTree, path: str) -> str | None:
    """The digest of a file or directory: of its head and content, of a directory those of all below it. None where
    it holds what is told in another way (devices, extended attributes)."""
    node = tree.resolve(path)
    if node is None:
        return None
    if node.type != "dir":
        return _node(tree, node)
    inside: dict[str, dict[bytes, str]] = {}  # of directories, by their paths, the names with their digests
    below = [inner for inner in tree.walk(node.path) if inner.path != node.path]
    for inner in reversed(below):  # what is in a directory before the directory
        digest = _node(tree, inner)
        if digest is None:
            return None
        if inner.type == "dir":
            digest = _directory(digest, inside.pop(inner.path, {}))
        inside.setdefault(posixpath.dirname(inner.path), {})[_name(inner.path)] = digest
    head = _node(tree, node) if node.path else _sha(b"")  # the root has no head
    return _directory(head, inside.pop(node.path, {})) if head is not None else None


def _directory(head: str, names: Mapping[bytes, str]) -> str:
    hashed = hashes.new("sha256")
    hashed.update(b"\0" + head.encode())
    for name in sorted(names):
        hashed.update(b"\0" + name + names[name].encode())
    return "sha256:" + hashed.hexdigest()


def _name(path: str) -> bytes:
    return posixpath.basename(path).encode("utf-8", "surrogateescape")


def _node(tree: FileTree, node: TreeNode) -> str | None:
    kind = _TYPES.get(node.type)
    if kind is None or node.xattrs:
        return None
    mode = 0o777 if node.type == "symlink" else node.mode & 0o7777
    size = node.size if node.type == "file" else 0
    link = node.link if node.type == "symlink" else ""
    head = f"namemode{mode}uid{node.uid}gid{node.gid}size{size}typeflag{kind}linkname{link}unamegname"
    hashed = hashes.new("sha256")
    hashed.update(f"{head}devmajor0devminor0".encode("utf-8", "surrogateescape"))
    if node.type == "file":
        opened = tree.open(node)
        if isinstance(opened, bytes):
            hashed.update(opened)
        else:
            with opened:
                while data := opened.read(_CHUNK):
                    hashed.update(data)
    return "sha256:" + hashed.hexdigest()
