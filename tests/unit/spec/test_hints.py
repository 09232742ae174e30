"""Protocols and named tuples behave as those of typing do."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from boxwright.spec import hints


class Opener(hints.Protocol):
    def open(self) -> int: ...


@hints.runtime_checkable
class Both(Opener, hints.Protocol):
    def close(self) -> None: ...


class Stranger:
    def open(self) -> int:
        return 1

    def close(self) -> None:
        pass


class Half:
    def close(self) -> None:
        pass


class Refusing(Stranger):
    close = None  # type: ignore[assignment]


class Heir(Both):
    def open(self) -> int:
        return 2


class Node(hints.NamedTuple):
    """A node."""

    name: str
    size: int = 0

    @property
    def large(self) -> bool:
        return self.size > 10


def test_a_checkable_protocol_asks_for_the_methods_of_all_its_bases() -> None:
    assert isinstance(Stranger(), Both)
    assert not isinstance(Half(), Both)
    assert not isinstance(Refusing(), Both)
    assert isinstance(Heir(), Both) and isinstance(Heir(), Opener)


def test_what_names_a_protocol_as_its_base_is_asked_for_as_a_class() -> None:
    assert isinstance(Heir(), Heir)
    assert not isinstance(Stranger(), Heir)


def test_a_named_tuple() -> None:
    node = Node("a", 11)
    assert node == ("a", 11) and node.large and not Node("b").large
    assert Node._fields == ("name", "size") and node._replace(size=1).size == 1
    assert (Node.__name__, Node.__module__, Node.__doc__) == ("Node", __name__, "A node.")
    assert copy.copy(node) == node and repr(node) == "Node(name='a', size=11)"
    with pytest.raises(TypeError):
        Node()  # type: ignore[call-arg]


def test_a_named_tuple_is_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "Node", Node, raising=False)
    assert pickle.loads(pickle.dumps(Node("a", 1))) == Node("a", 1)


def test_a_cast_gives_the_value() -> None:
    value = object()
    assert hints.cast("int", value) is value


def test_nothing_is_imported_for_it() -> None:
    script = (
        "import sys; known = set(sys.modules); import boxwright.spec.hints; print(*set(sys.modules) - known)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    new = {name for name in done.stdout.split() if not name.startswith("boxwright")}
    assert new <= {"__future__"}
