"""Where things lie under a root: the drawn tree, the code and what a store has agree."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from boxwright.engine import Engine
from boxwright.files import locks, places
from boxwright.files.places import Places

REPOSITORY = Path(__file__).parents[3]


def drawn() -> set[str]:
    """The paths of the tree in docs/architecture.md."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    tree = text.split("```\nROOT/\n")[1].split("```")[0]
    return {line.split()[0].rstrip("/") for line in tree.splitlines()}


def known() -> set[str]:
    """The paths that `Places` knows, with what they are given in brackets."""
    given = {"hexed": "hex", "identity": "id", "wanted": "name"}
    all_places, found = Places(Path("/")), {"runtime.json"}
    for name, value in vars(Places).items():
        if isinstance(value, property):
            found.add(str(getattr(all_places, name)))
        elif inspect.isfunction(value) and not name.startswith("_"):
            words = [f"<{given.get(word, word)}>" for word in list(inspect.signature(value).parameters)[1:]]
            found.add(str(value(all_places, *words)))
    return {path.strip("/") for path in found}


def test_the_drawn_tree_is_the_codes() -> None:
    tree = drawn()
    whole = tree | {str(above) for path in tree for above in Path(path).parents if str(above) != "."}
    flat = {rank.files for rank in locks.ORDER if re.fullmatch(r"\w+\.lock", rank.files)}
    assert whole == known() | flat
    for rank in locks.ORDER:
        if not rank.files.startswith("<"):  # what lies outside of ROOT
            top = rank.files.split("/")[0].split(".<")[0]
            assert top in {path.split("/")[0] for path in tree}, rank


def test_a_store_has_nothing_that_is_not_drawn(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "root")
    assert engine.services.images_store and engine.services.layers
    with engine.services.db.write(), engine.services.store.ingest("key"):
        pass
    engine.system.collect()
    tops = {path.split("/")[0] for path in drawn()}
    assert {path.name for path in engine.root.iterdir()} <= tops | {"boxwright.db-wal", "boxwright.db-shm"}


def test_paths_under_a_root_are_spelled_in_one_place() -> None:
    names = {path.split("/")[0] for path in known()} | {"store.lock", "index.lock"}
    source = Path(places.__file__).parents[1]
    wrong = []
    for file in sorted(source.rglob("*.py")):
        if file == Path(places.__file__) or "registry/server" in str(file):  # its root is another
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                left, right = ast.unparse(node.left), node.right
                if isinstance(right, ast.JoinedStr) and right.values:
                    right = right.values[0] if isinstance(right.values[0], ast.Constant) else right
                named = isinstance(right, ast.Constant) and str(right.value).split("/")[0] in names
                if named and re.search(r"(^|[._])root$", left):
                    wrong.append(f"{file.relative_to(source)}:{node.lineno} {ast.unparse(node)}")
    assert not wrong, "files.places knows where that lies: " + ", ".join(wrong)
