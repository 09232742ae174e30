"""The graph of a build: operations, and vertices that name an operation with its inputs.

An operation is frozen data: what is done, and how it is cached (`kind`, `definition`, `reads`). What does it is in
`build.execution`; a value does not know what runs it. A vertex's id is computed once, at birth, from all that decides
its result: two vertices that would do the same thing are one vertex before anything starts, and nothing is ever
merged in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from boxwright.spec import hashes
from boxwright.spec.digest import DiffID
from boxwright.spec.manifest import canonical_json
from boxwright.spec.urls import redacted
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Literal, Protocol

    from boxwright.build.dockerfile.errors import SourceRange

    Reads = Literal["none", "local", "remote", "input"]
else:
    Protocol = object  # what it is for is checked before it runs
    Reads = str

_NO_FILES: Mapping[str, str] = {}


def json_digest(value: object) -> str:
    """``sha256:…`` of the canonical JSON of a plain value; mappings are compared whatever their order."""
    return _digest(_sorted(value))


def _digest(value: object) -> str:
    return "sha256:" + hashes.sha256(canonical_json(value)).hexdigest()


def _sorted(value: object) -> object:
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, Mapping):
        return {k: _sorted(value[k]) for k in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(v) for v in value]
    return value


@dataclass(frozen=True, slots=True)
class Tree:
    """The result of a vertex: a stack of layers, bottom first. `created` (RFC 3339) is when the topmost step
    first ran. A tree may be known before its layers are here; `StepContext.ensure` brings them."""

    layers: tuple[DiffID, ...] = ()
    created: str = ""
    bytes: int = 0  # content of the layers that this vertex added
    _chain: list[str] = field(default_factory=list, init=False, compare=False, repr=False)

    @property
    def chain(self) -> str:
        """Names the stack: equal stacks have equal names."""
        if not self._chain:  # asked for several times, and as long as the stack
            self._chain.append(_digest([str(layer) for layer in self.layers]))
        return self._chain[0]


class Selection:
    """What an operation would read of a content-keyed input. `digest` covers everything that decides the result;
    `files` says of each path what tells two contents apart, so that a miss can be explained; `payload` saves `run`
    from looking again. Digest and files may be functions: they are called once, and perhaps only after the run, which
    has read the content anyway."""

    __slots__ = ("_digest", "_files", "_make_files", "payload")

    def __init__(
        self,
        digest: str | Callable[[], str],
        files: Mapping[str, str] | Callable[[], Mapping[str, str]] = _NO_FILES,
        payload: Any = None,
    ) -> None:
        self._digest = digest
        self._files = self._make_files = files
        self.payload = payload

    @property
    def digest(self) -> str:
        if not isinstance(self._digest, str):
            self._digest = self._digest()
        return self._digest

    def forget_files(self) -> None:
        """Let go of what `files` said; it can be asked again."""
        self._files = self._make_files

    @property
    def files(self) -> Mapping[str, str]:
        if not isinstance(self._files, Mapping):
            self._files = self._files()
        return self._files


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of an operation made: the layers that it adds, and anything that the record should keep (plain
    JSON)."""

    added: tuple[DiffID, ...]
    bytes: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


class Op(Protocol):
    """One kind of work. Implementations are frozen dataclasses.

    `reads` says which input is keyed by the content that is selected in it instead of by its name:
    ``local`` the build context, ``remote`` something that must be asked over the network, ``input`` the vertex
    inputs with the numbers `selects` (their names are tried first: a full hit reads nothing). `independent`: the
    layers that a run adds do not depend on input 0, and only they are recorded (COPY --link). `reads_alone`: what is
    read is all of the build context, and can be looked up without the inputs.
    """

    kind: ClassVar[str]  # "exec/1": bump the number when the meaning changes

    @property
    def reads(self) -> Reads: ...

    @property
    def reads_alone(self) -> bool: ...

    @property
    def selects(self) -> tuple[int, ...]: ...

    @property
    def independent(self) -> bool: ...

    def definition(self) -> Mapping[str, object]:
        """All of the key that is not an input: plain JSON, no secrets, no proxies, no host paths."""


class BaseOp:
    """What most operations have in common: nothing is keyed by content, the result stands on input 0."""

    @property
    def reads(self) -> Reads:
        return "none"

    @property
    def reads_alone(self) -> bool:
        return False

    @property
    def selects(self) -> tuple[int, ...]:
        return ()

    @property
    def independent(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Vertex:
    """An operation with its inputs. `name` is what people see (``[build 2/5] RUN make``); everything after
    `id` is for people and does not decide the result."""

    op: Op
    inputs: tuple[Vertex, ...]
    id: str
    fresh: bool = False  # ignore records (--no-cache)
    settled: Tree | None = None  # known without running: scratch, a base image
    name: str = ""
    lineage: str = ""  # what `why` compares with: project and stage
    position: int = 0  # in its stage
    text: str = ""  # the instruction as written
    location: SourceRange | None = None
    base: str = ""  # for a base image: its name and digest
    hidden: bool = False  # not shown as a step


class Graph:
    """Makes vertices; asking twice for the same work gives the same vertex."""

    def __init__(self) -> None:
        self._known: dict[str, Vertex] = {}

    def vertex(
        self,
        op: Op,
        inputs: Sequence[Vertex] = (),
        *,
        fresh: bool = False,
        settled: Tree | None = None,
        **shown: Any,
    ) -> Vertex:
        """The vertex of this operation on these inputs. `shown` are the fields for people; the first wins."""
        body = {"kind": op.kind, "op": op.definition(), "inputs": [v.id for v in inputs], "fresh": fresh}
        identity = json_digest(body)
        found = self._known.get(identity)
        if found is None:
            # They are shown, kept in records and told to others.
            shown |= {key: redacted(shown[key]) for key in ("name", "text", "base") if key in shown}
            found = Vertex(op=op, inputs=tuple(inputs), id=identity, fresh=fresh, settled=settled, **shown)
            self._known[identity] = found
        return found

    def __len__(self) -> int:
        return len(self._known)


def walk(target: Vertex) -> Iterator[Vertex]:
    """Everything that the target needs, inputs before users, each once."""
    seen: set[str] = set()
    stack: list[tuple[Vertex, bool]] = [(target, False)]
    while stack:
        vertex, done = stack.pop()
        if done:
            yield vertex
        elif vertex.id not in seen:
            seen.add(vertex.id)
            stack.append((vertex, True))
            stack.extend((v, False) for v in reversed(vertex.inputs) if v.id not in seen)
