"""The solver with fakes: what runs, what is answered from records, and what happens when something fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from boxwright.build import solver as solver_module
from boxwright.build.graph import Graph, Tree, Vertex, walk
from boxwright.build.progress import StepCached, StepDone, StepFailure, StepStarted
from boxwright.build.solver import Solver, TooManyLayers
from boxwright.build.why import Why
from boxwright.errors import Cancelled, NotFound
from boxwright.image.steps import StepCache
from support.build import FakeHost, FakeOp, diff


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FakeHost]:
    host = FakeHost(tmp_path)
    yield host
    host.db.close()


class Runs:
    """Counts what ran."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lock = threading.Lock()

    def op(self, name: str, layer: str = "", **more: object) -> FakeOp:
        def work(inputs: object) -> str:
            with self.lock:
                self.names.append(name)
            return layer or name

        return FakeOp(name, work, **more)  # type: ignore[arg-type]


def solve(
    host: FakeHost, target: Vertex, *, jobs: int = 0, events: list[object] | None = None, why: bool = False
) -> tuple[Tree, Solver]:
    cache = StepCache(host.db)
    solver = Solver(
        cache,
        host,
        (events if events is not None else []).append,
        jobs=jobs,
        explain=Why(cache) if why else None,
    )
    return solver.solve([target])[0], solver


def chain(graph: Graph, *ops: FakeOp, **shown: object) -> Vertex:
    vertex: Vertex | None = None
    for op in ops:
        vertex = graph.vertex(op, [vertex] if vertex else [], name=op.name, text=op.name, **shown)
    assert vertex is not None
    return vertex


def test_equal_work_is_one_vertex() -> None:
    graph = Graph()
    one = chain(graph, FakeOp("a"), FakeOp("b"))
    other = chain(graph, FakeOp("a"), FakeOp("b"))
    assert one is other and len(graph) == 2
    assert graph.vertex(FakeOp("b"), one.inputs, fresh=True) is not one
    assert [v.op.definition()["name"] for v in walk(one)] == ["a", "b"]


def test_runs_once_then_answers_from_records(host: FakeHost) -> None:
    runs, events = Runs(), []
    target = chain(Graph(), runs.op("a"), runs.op("b"))
    tree, _ = solve(host, target, events=events)
    assert tree.layers == (diff("a"), diff("b")) and runs.names == ["a", "b"]
    assert [type(e) for e in events] == [StepStarted, StepDone] * 2
    events.clear()
    again, solver = solve(host, chain(Graph(), runs.op("a"), runs.op("b")), events=events)
    assert again == tree and runs.names == ["a", "b"]
    assert [type(e) for e in events] == [StepStarted, StepCached] * 2
    assert not host.held - set(tree.layers)
    assert all(r.cached for r in solver.reports([target]))


def test_a_full_hit_starts_no_thread_and_selects_no_input(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()

    def build(files: object) -> Vertex:
        graph = Graph()
        source = chain(graph, runs.op("make"))
        return graph.vertex(
            runs.op("copy", read="input", chosen=(1,), content=files), [chain(graph, runs.op("base")), source]
        )

    solve(host, build(lambda: {"x": "1"}))

    def unwanted() -> dict[str, str]:
        raise AssertionError("read although its name was known")

    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("a thread for a full hit"))
    solve(host, build(unwanted))
    assert sorted(runs.names) == ["base", "copy", "make"]


def test_an_input_rebuilt_to_the_same_content_hits_below(host: FakeHost) -> None:
    runs = Runs()
    solve(host, chain(Graph(), runs.op("compile v1", layer="same"), runs.op("after")))
    solve(host, chain(Graph(), runs.op("compile v2", layer="same"), runs.op("after")))
    assert runs.names == ["compile v1", "after", "compile v2"]


def test_content_key_of_an_input(host: FakeHost) -> None:
    runs = Runs()

    def build(make: str, files: dict[str, str]) -> Vertex:
        graph = Graph()
        base, source = chain(graph, runs.op("base")), chain(graph, runs.op(make))
        return graph.vertex(runs.op("copy", read="input", chosen=(1,), content=lambda: files), [base, source])

    solve(host, build("one", {"out": "1"}))
    solve(host, build("two", {"out": "1"}))  # other tree, same files
    assert runs.names.count("copy") == 1
    solve(host, build("three", {"out": "2"}))
    assert runs.names.count("copy") == 2
    runs.names.clear()
    solve(host, build("two", {"out": "never read"}))  # by name, from the alias
    assert runs.names == []


def test_local_content_decides(host: FakeHost) -> None:
    runs = Runs()

    def build(files: dict[str, str]) -> Vertex:
        return chain(Graph(), runs.op("base"), runs.op("copy", read="local", content=lambda: files))

    solve(host, build({"a": "1"}))
    solve(host, build({"a": "1"}))
    assert runs.names == ["base", "copy"]
    solve(host, build({"a": "2"}))
    assert runs.names == ["base", "copy", "copy"]


def test_independent_layers_survive_a_new_base(host: FakeHost) -> None:
    runs = Runs()
    first, _ = solve(host, chain(Graph(), runs.op("base 1"), runs.op("link", link=True)))
    second, _ = solve(host, chain(Graph(), runs.op("base 2"), runs.op("link", link=True)))
    assert runs.names.count("link") == 1
    assert (first.layers, second.layers) == ((diff("base 1"), diff("link")), (diff("base 2"), diff("link")))


def test_fresh_ignores_and_replaces_records(host: FakeHost) -> None:
    runs = Runs()
    solve(host, chain(Graph(), runs.op("a")))
    graph = Graph()
    solve(host, graph.vertex(runs.op("a"), fresh=True))
    assert runs.names == ["a", "a"]
    solve(host, chain(Graph(), runs.op("a")))
    assert runs.names == ["a", "a"]


def test_a_record_without_its_layers_is_no_hit(host: FakeHost) -> None:
    runs = Runs()
    solve(host, chain(Graph(), runs.op("a"), runs.op("b")))
    with host.db.write() as sql:
        sql.execute("DELETE FROM layers WHERE diff_id = ?", (str(diff("b")),))
    solve(host, chain(Graph(), runs.op("a"), runs.op("b")))
    assert runs.names == ["a", "b", "b"]


def test_branches_run_at_the_same_time(host: FakeHost) -> None:
    meeting = threading.Barrier(2, timeout=10)

    def meet(inputs: object) -> str:
        meeting.wait()
        return "met"

    graph = Graph()
    left = graph.vertex(FakeOp("left", meet))
    right = graph.vertex(FakeOp("right", meet))
    solve(host, graph.vertex(FakeOp("join"), [left, right]), jobs=2)


def test_one_job_runs_one_at_a_time_and_cannot_deadlock(host: FakeHost) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def work(inputs: object) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return "done"

    graph = Graph()
    leaves = [graph.vertex(FakeOp(f"leaf {n}", work)) for n in range(6)]
    solve(host, graph.vertex(FakeOp("join", work), leaves), jobs=1)
    assert most == 1


def test_the_first_failure_stops_the_rest(host: FakeHost) -> None:
    waiting = threading.Event()

    def fail(inputs: object) -> str:
        assert waiting.wait(10)
        raise NotFound("no such file")

    def wait(inputs: object) -> str:
        waiting.set()
        assert host.cancel.wait(10)
        raise Cancelled("stopped")

    graph = Graph()
    failing = graph.vertex(FakeOp("fails", fail), name="fails")
    target = graph.vertex(FakeOp("join"), [failing, graph.vertex(FakeOp("waits", wait))], name="join")
    events: list[object] = []
    cache = StepCache(host.db)
    solver = Solver(cache, host, events.append, jobs=2)
    with pytest.raises(NotFound, match="no such file"):
        solver.solve([target])
    assert solver.failed is failing
    failed = [e for e in events if isinstance(e, StepFailure)]
    assert {(e.message, e.cancelled) for e in failed} == {("no such file", False), ("stopped", True)}
    assert not any(isinstance(e, StepStarted) and e.name == "join" for e in events)


def test_two_builds_at_once_do_a_step_once(tmp_path: Path) -> None:
    runs, started = Runs(), threading.Event()

    def slow(inputs: object) -> str:
        runs.names.append("slow")
        started.set()
        time.sleep(0.3)
        return "slow"

    hosts = [FakeHost(tmp_path) for _ in range(2)]
    trees: list[Tree] = []

    def one(host: FakeHost) -> None:
        trees.append(solve(host, Graph().vertex(FakeOp("slow", slow)))[0])
        host.db.close()

    threads = [threading.Thread(target=one, args=(host,)) for host in hosts]
    threads[0].start()
    assert started.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert runs.names == ["slow"] and trees[0].layers == trees[1].layers
    assert not list((tmp_path / "locks").iterdir())


def test_a_lock_left_by_a_dead_process_is_no_obstacle(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    target = Graph().vertex(FakeOp("a"))
    solve(host, target)
    key = StepCache(host.db).all()[0].key
    (tmp_path / "locks" / key.replace(":", "-")).touch()
    solve(host, replace(target, fresh=True))


def test_why(host: FakeHost) -> None:
    runs = Runs()

    def build(files: dict[str, str], base: str = "base") -> Vertex:
        copy = runs.op("COPY . .", read="local", content=lambda: files)
        return chain(Graph(), runs.op(base), copy, runs.op("RUN make"), lineage="p:0")

    def reasons(vertex: Vertex) -> list[str]:
        _, solver = solve(host, vertex, why=True)
        return [r.reason for r in solver.reports([vertex])]

    unknown = reasons(build({"a": "644 1", "b": "644 1"}))
    assert unknown == ["no record of this step"] * 3
    assert all(r.startswith("on record since") for r in reasons(build({"a": "644 1", "b": "644 1"})))
    changed = reasons(build({"a": "644 2", "b": "664 1", "c": "644 1"}))
    assert changed[1] == "a modified; b mode 644->664; c added"
    moved = reasons(build({"a": "644 2", "b": "664 1", "c": "644 1"}, "other base"))
    assert moved == ["instruction changed", "parent step changed", "parent step changed"]


def test_no_stack_grows_without_end(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a step names every layer below it: the square of their number in all."""
    monkeypatch.setattr(solver_module, "_MOST_LAYERS", 3)
    runs = Runs()
    tree, _ = solve(host, chain(Graph(), *(runs.op(name) for name in "abc")))
    assert len(tree.layers) == 3
    with pytest.raises(TooManyLayers, match="more than 3 layers"):
        solve(host, chain(Graph(), *(runs.op(name) for name in "abcd")))
