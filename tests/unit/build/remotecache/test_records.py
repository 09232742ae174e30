"""BuildKit's records, written and found again by values alone."""

from __future__ import annotations

from boxwright.build.graph import Graph, Selection, Tree, Vertex
from boxwright.build.ops.copy import CopyOp, CopyPart
from boxwright.build.ops.exec import ExecOp
from boxwright.build.ops.source import ImageOp
from boxwright.build.remotecache.config import CacheConfig, CacheLayer
from boxwright.build.remotecache.keys import KnownKeys, describe
from boxwright.build.remotecache.places import DIFF_ID, LoadedCache
from boxwright.build.remotecache.records import Matcher, RecordWriter, SolvedStep
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID


def layer(text: str) -> DiffID:
    return DiffID.of(text.encode())


BASE, ONE, TWO = layer("base"), layer("one"), layer("two")


def chain() -> list[Vertex]:
    graph = Graph()
    base = graph.vertex(ImageOp("sha256:" + "0" * 64, "linux/amd64"), settled=Tree((BASE,)))
    one = graph.vertex(ExecOp(argv=("one",), platform="linux/amd64"), [base])
    stage = CopyOp(parts=(CopyPart(origin="input", source="/x", input=1),), dest="/x")
    return [base, one, graph.vertex(stage, [base, one])]


def written(steps: list[SolvedStep]) -> LoadedCache:
    """A cache of these steps, whose blobs are called as their layers."""
    stacks = {step.stack for step in steps}
    nodes = sorted(
        {(stack[:at], stack[at]) for stack in stacks for at in range(len(stack))}, key=lambda n: len(n[0])
    )
    at = {(*below, top): number for number, (below, top) in enumerate(nodes)}
    writer = RecordWriter(lambda stack, created: {"layers": ((at[tuple(stack)], created),)})
    for step in steps:
        writer.add(step)
    layers = tuple(CacheLayer(blob=top, parent=at.get(below, -1)) for below, top in nodes)
    blobs = {top: Descriptor("x", top, 1, {DIFF_ID: str(top)}) for _, top in nodes}
    return LoadedCache(CacheConfig(layers=layers, records=tuple(writer.records)), blobs)


def test_what_was_written_is_found() -> None:
    base, one, copied = chain()
    steps = [
        SolvedStep(vertex=base, key=describe(base, None), stack=()),
        SolvedStep(vertex=one, key=describe(one, None), stack=(BASE, ONE), created="2024-01-01T00:00:00Z"),
        SolvedStep(
            vertex=copied, key=describe(copied, None), stack=(BASE, TWO), created="2024-01-02T00:00:00Z"
        ),
    ]
    matcher = Matcher(written(steps), KnownKeys(dict))
    found = [matcher.find(vertex) for vertex in chain()]
    assert [stack.layers if stack else None for stack in found] == [None, (BASE, ONE), (BASE, TWO)]
    other = Graph().vertex(ExecOp(argv=("other",), platform="linux/amd64"), [base])
    assert matcher.find(other) is None


def test_what_a_step_reads_may_be_known_later() -> None:
    """A step that was asked for too early is asked again."""
    base, *_ = chain()
    local = Graph().vertex(CopyOp(parts=(CopyPart(origin="context", source="a"),), dest="/a"), [base])
    known: dict[str, Selection | None] = {}
    loaded = written([SolvedStep(vertex=base, key=describe(base, None), stack=())])
    matcher = Matcher(loaded, KnownKeys(lambda: known))
    assert matcher.find(local) is None and local.id not in matcher._known
    known[local.id] = None
    assert matcher.find(local) is None and local.id in matcher._known


def test_the_whole_stack_needs_no_results_below() -> None:
    base, one, copied = chain()
    steps = [
        SolvedStep(vertex=base, key=describe(base, None), stack=()),
        SolvedStep(vertex=one, key=describe(one, None), stack=()),
        SolvedStep(vertex=copied, key=describe(copied, None), stack=(BASE, TWO), created="1"),
    ]
    matcher = Matcher(written(steps), KnownKeys(dict))
    found = [matcher.whole(vertex) for vertex in (base, one, copied)]
    assert [stack.layers if stack else None for stack in found] == [None, None, (BASE, TWO)]


def test_what_stands_on_a_step_to_be_made_anew_has_no_record() -> None:
    base, one, copied = chain()
    stacks: list[tuple[DiffID, ...]] = [(), (BASE, ONE), (BASE, TWO)]
    steps = [
        SolvedStep(vertex=vertex, key=describe(vertex, None), stack=stack)
        for vertex, stack in zip((base, one, copied), stacks)
    ]
    fresh = Graph().vertex(one.op, [base], fresh=True)
    anew = Graph().vertex(copied.op, [base, fresh])
    matcher = Matcher(written(steps), KnownKeys(dict))
    assert matcher.find(copied) and not matcher.find(anew) and not matcher.whole(anew)
