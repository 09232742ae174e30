"""The house rules of docs/architecture.md, read off the sources: who imports whom, and what is done where.

Exceptions are listed by name, each with its reason.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import boxwright
from boxwright.cli.commands import COMMANDS, GROUPS
from boxwright.cli.flags import HelpRequested
from boxwright.cli.parsers import load, split
from boxwright.errors import BoxwrightError

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "boxwright"

# --- who may import whom ---------------------------------------------------------------------------

GROUND = {"errors", "spec", "files", "version", "gotemplate"}
STORE = GROUND | {"content", "layer", "rootfs", "snapshot", "runtime", "network", "settings"}
MAY_IMPORT = {
    "errors": set(),
    "version": set(),
    "spec": {"errors"},
    "files": {"errors"},  # the operating system, and nothing of images
    "gotemplate": {"errors", "spec"},  # a language, which any package may read a text of
    "settings": GROUND,  # a leaf: frozen values, handed down from the engine
    "content": GROUND,
    "layer": GROUND | {"content", "rootfs"},
    "rootfs": GROUND,
    "runtime": GROUND | {"rootfs"},
    "network": GROUND | {"content", "rootfs", "runtime"},
    "snapshot": GROUND | {"content", "layer", "rootfs"},
    "image": STORE,
    "registry": STORE - {"snapshot", "network"},
    "transfer": STORE | {"image", "registry"},
    "build": STORE | {"image", "registry", "transfer"},
    "container": STORE | {"image", "registry", "transfer"},
    "bake": STORE | {"image", "build"},
    "engine": STORE | {"image", "registry", "transfer", "build", "bake", "container"},
    "cli": STORE | {"image", "registry", "transfer", "build", "bake", "container", "engine", "api"},
    "api": STORE | {"image", "registry", "transfer", "build", "container", "engine"},
    "": {"engine", "errors", "cli", "version"},  # boxwright/__init__.py and __main__.py: the doors
}

# --- what is done where ----------------------------------------------------------------------------

ENVIRON = ("settings.py", "cli/")
PRINT = ("cli/", "__main__.py")
PRINT_EXCEPTIONS: dict[str, str] = {
    "build/outputs.py": "`--output -` is refused where the standard output is a terminal",
    "build/written.py": "`--output -` is an archive on the standard output of the process that builds",
    "container/supervisor/main.py": "a bug of the supervisor's own: nothing else of it is left to tell it",
    "runtime/spawn.py": "between fork and exec descriptor 2 is the container's, not ours",
    "registry/server/events/observe.py": "an access log named `-` goes where the operator sees it",
}
STARTS = ("runtime/spawn.py",)
STARTS_EXCEPTIONS: dict[str, str] = {
    "registry/client/credentials.py": "credential helpers are programs that speak JSON over pipes",
    "registry/server/serve.py": "forks workers that share its socket and its counters: no program is started",
}
LOCKING = ("flock", "lockf", "F_SETLK", "F_SETLKW", "F_OFD_SETLK", "F_OFD_SETLKW")
STARTERS = re.compile(r"system|popen|forkpty|fork|posix_spawnp?|exec[lv]p?e?|spawn[lv]p?e?")
MUTATORS = frozenset(
    "add append appendleft clear discard extend insert pop popitem popleft remove setdefault update".split()
)
STATE_EXCEPTIONS: dict[str, str] = {
    "bake/compose/yaml.py": "PyYAML keeps its resolvers in the class: set once, where the module is read",
}
# Functions that remember what they returned
MEMOS: dict[str, str] = {
    "build/dockerfile/errors.py _lines": "of the one file whose warnings are shown",
    "files/syscalls.py _library": "the C library is one",
    "files/syscalls.py function": "of the C library",
    "registry/server/auth/policy.py glob": "4096 patterns at most, compiled",
    "registry/server/pages/look.py environment": "files of the package",
    "registry/server/pages/look.py static": "files of the package",
    "runtime/host.py host": "a machine has one kernel and one processor",
    "spec/platform.py host": "a machine has one platform",
    "spec/seccomp.py compiled_default": "one profile and one machine",
}
CATCH_ALL: dict[str, str] = {
    "cli/main.py": "the outermost border: every failure becomes one sentence and an exit code",
    "registry/server/serve.py": "a background task that fails is logged and started again; requests go on",
    "api/server.py": "the outermost border of a request: a bug answers 500 and is logged; other requests go on",
}
LONG_FILES: dict[str, str] = {}
LINES = 600


@cache
def files() -> dict[str, ast.Module]:
    """Path under src/boxwright -> its tree."""
    return {
        str(path.relative_to(SOURCE)): ast.parse(path.read_text(), str(path))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def module_of(name: str) -> str:
    parts = ["boxwright", *Path(name).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, name: str = "") -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere in the tree, in functions too: name, line. `name` is the file's, which
    relative imports start from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            package = ["boxwright", *Path(name).parent.parts][: -node.level + 1 or None] if node.level else []
            module = ".".join([*package, *([node.module] if node.module else [])])
            if module == "boxwright" or (
                (SOURCE / Path(*module.split(".")[1:])).is_dir() and module.startswith("boxwright.")
            ):
                for alias in node.names:
                    whole = f"{module}.{alias.name}"
                    yield (whole if exists(whole) else module), node.lineno
            else:
                yield module, node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.lineno


def exists(module: str) -> bool:
    path = SOURCE / Path(*module.split(".")[1:])
    return path.with_suffix(".py").is_file() or path.is_dir()


def in_places(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or (place.endswith("/") and name.startswith(place)) for place in places)


def test_rooms_import_downwards_only() -> None:
    wrong = []
    for name, tree in files().items():
        here = room(module_of(name)) if "/" in name or name not in ("__init__.py", "__main__.py") else ""
        assert here in MAY_IMPORT, f"{name}: a room that the table does not know"
        for module, line in imports(tree, name):
            there = room(module)
            if not module.startswith("boxwright.") or there == here:
                continue
            if there not in MAY_IMPORT[here]:
                wrong.append(f"{name}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


CLIENT_ROOMS = {"errors", "spec", "version", "files", "settings", "content"}
CLIENT_CONTENT = ("boxwright.content.store", "boxwright.content.verify")


def test_the_registry_client_stands_alone() -> None:
    """It could be shipped without the engine: it knows values, the protocols of content, and no room that keeps any."""
    wrong = []
    for name, tree in files().items():
        if not name.startswith("registry/client/"):
            continue
        for module, line in imports(tree):
            if not module.startswith("boxwright.") or module.startswith("boxwright.registry.client"):
                continue
            if (module.startswith("boxwright.content") and not module.startswith(CLIENT_CONTENT)) or room(
                module
            ) not in CLIENT_ROOMS:
                wrong.append(f"{name}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def at_run_time(tree: ast.AST) -> ast.AST:
    """The tree without what only type checkers read."""

    class Out(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                return node.orelse
            return self.generic_visit(node)

    return Out().visit(ast.parse(ast.unparse(tree)))


def graph_of(sources: dict[str, ast.Module], *, types: bool = False) -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports, at its top or in any function; with `types` also those that only
    type checkers read."""
    return {
        module_of(name): {
            module
            for module, _ in imports(tree if types else at_run_time(tree), name)
            if module.startswith("boxwright.") and module != module_of(name)
        }
        for name, tree in sources.items()
    }


def circles(graph: dict[str, set[str]]) -> list[str]:
    """One line for each way around that is found."""
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            found.append(" -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())
    return found


def test_no_cycles() -> None:
    found = circles(graph_of(files()))
    assert not found, "\n".join(found)


# Modules that a circle of types may go through.
TYPE_CIRCLES: dict[str, str] = {}


def test_no_cycles_of_types() -> None:
    """What two files need of each other, even to name it, is a third file below both, or is handed in."""
    found = circles(graph_of(files(), types=True))
    wrong = [one for one in found if not set(one.split(" -> ")) & set(TYPE_CIRCLES)]
    assert not wrong, "\n".join(wrong)
    gone = [name for name in TYPE_CIRCLES if not any(name in one.split(" -> ") for one in found)]
    assert not gone, f"in no circle any more: {gone}"


def test_a_cycle_is_seen_at_every_depth() -> None:
    def house(first: str, second: str, *, types: bool = False) -> list[str]:
        sources = {"spec/digest.py": ast.parse(first), "spec/descriptor.py": ast.parse(second)}
        return circles(graph_of(sources, types=types))

    back = "from boxwright.spec.digest import Digest"
    assert house("from boxwright.spec import descriptor", back)
    assert house("def late():\n  if 1:\n    from boxwright.spec.descriptor import Descriptor", back)
    assert house("from . import descriptor", "def late():\n  from .digest import Digest")
    assert house("from ..spec import descriptor", "import boxwright.spec.digest")
    assert not house("from boxwright.spec import descriptor", f"if TYPE_CHECKING:\n  {back}")
    assert house("from boxwright.spec import descriptor", f"if TYPE_CHECKING:\n  {back}", types=True)
    assert not house("from boxwright.spec import descriptor", "from boxwright.spec import reference")


def test_imports_for_types_have_one_spelling() -> None:
    """`TYPE_CHECKING = False` costs nothing; that of `typing` costs the import of `typing`."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in files().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and any(a.name == "TYPE_CHECKING" for a in node.names))
        or (isinstance(node, ast.Attribute) and node.attr == "TYPE_CHECKING")
    ]
    assert not wrong, "say `TYPE_CHECKING = False`: " + ", ".join(wrong)


def test_typing_is_imported_for_types_alone() -> None:
    """`typing` takes 3 ms of every command: what it gives at run time is in `spec.hints`. The registry's server starts
    seldom and may use it."""

    def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            children: Iterator[ast.AST] = iter(node.orelse)
        else:
            children = ast.iter_child_nodes(node)
        for child in children:
            yield from at_run_time(child)

    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in files().items()
        if not name.startswith("registry/server/")
        for node in at_run_time(tree)
        if (isinstance(node, ast.ImportFrom) and node.module == "typing")
        or (isinstance(node, ast.Import) and any(a.name == "typing" for a in node.names))
    ]
    assert not wrong, "import it under `if TYPE_CHECKING:`, or from boxwright.spec.hints: " + ", ".join(wrong)


def uses(tree: ast.AST, module: str, names: tuple[str, ...]) -> Iterator[int]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in names
            and isinstance(node.value, ast.Name)
            and node.value.id == module
        ):
            yield node.lineno
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == module
            and any(a.name in names for a in node.names)
        ):
            yield node.lineno


def test_the_environment_is_read_in_one_place() -> None:
    wrong = [
        f"{name}:{line}"
        for name, tree in files().items()
        if not in_places(name, ENVIRON)
        for line in uses(tree, "os", ("environ", "environb", "getenv"))
    ]
    assert not wrong, "os.environ belongs to settings.py: " + ", ".join(wrong)


# What a guard knows by its name is imported under that name, as a module.
BY_NAME = frozenset({"os", "sys", "fcntl", "sqlite3", "_sqlite3", "shutil"})
OF_OS = frozenset({"write", "writev", "fdopen", "dup", "dup2", "sendfile"})
# The modules below `os`, `fcntl` and `subprocess`
BELOW = frozenset({"posix", "_posixsubprocess"})


def renamed(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Imports by which a module or a function escapes the guards: what, line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (
                    alias.name in BY_NAME and (alias.asname or alias.name) not in BY_NAME
                ) or alias.name in BELOW:
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module in (*BY_NAME, *BELOW):
            for alias in node.names:
                if alias.asname or alias.name == "*" or node.module in BELOW or alias.name in OF_OS:
                    yield f"{node.module}.{alias.name}", node.lineno


def test_modules_that_are_guarded_have_their_names() -> None:
    wrong = [f"{name}:{line} {what}" for name, tree in files().items() for what, line in renamed(tree)]
    assert not wrong, "imported so that no guard sees its use: " + ", ".join(wrong)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("import os as o", True),
        ("import posix", True),
        ("from posix import fork", True),
        ("from os import write", True),
        ("from sys import stderr as said", True),
        ("from os import *", True),
        ("import os", False),
        ("from os import PathLike", False),
        ("import os.path as paths", False),
    ],
)
def test_an_import_under_another_name_is_seen(line: str, seen: bool) -> None:
    assert bool(list(renamed(ast.parse(line)))) == seen


DESCRIPTORS = ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/proc/self/fd/2")


def prints(tree: ast.AST) -> Iterator[int]:
    """Lines that write to the process's own standard output or error, or get hold of them."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="open") | ast.Name(id="open"), args=[ast.Constant(value=value), *_]
            ) if value in DESCRIPTORS:
                yield node.lineno
            case ast.Call(func=ast.Name(id="open"), keywords=words) if any(
                w.arg == "file" and isinstance(w.value, ast.Constant) and w.value.value in (1, 2)
                for w in words
            ):
                yield node.lineno
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="os"), attr="dup2"),
                args=[_, ast.Constant(value=1 | 2), *_],
            ):
                yield node.lineno
            case ast.Call(func=ast.Name(id="print" | "input")):
                yield node.lineno
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id="os"), attr="write" | "writev" | "fdopen" | "dup" | "dup2" | "sendfile"
                )
                | ast.Name(id="open"),
                args=[ast.Constant(value=1 | 2), *_],
            ):
                yield node.lineno
            case ast.Attribute(
                value=ast.Name(id="sys"), attr="stdout" | "stderr" | "__stdout__" | "__stderr__"
            ):
                yield node.lineno
            case ast.ImportFrom(module="sys", names=names) if {n.name for n in names} & {"stdout", "stderr"}:
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="logging"), attr="StreamHandler" | "basicConfig"):
                yield node.lineno


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{name}:{line}"
        for name, tree in files().items()
        if not in_places(name, PRINT) and name not in PRINT_EXCEPTIONS
        for line in prints(tree)
    ]
    assert not wrong, "what is printed belongs to cli: " + ", ".join(wrong)
    stale = [name for name in PRINT_EXCEPTIONS if not any(prints(files()[name]))]
    assert not stale, f"print no longer: {stale}"


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("print(1)", True),
        ("os.write(2, b'x')", True),
        ("os.write(fd, b'x')", False),
        ("sys.stderr.write('x')", True),
        ("out = sys.stdout.buffer", True),
        ("from sys import stderr", True),
        ("os.dup2(2, 5)", True),
        ("os.dup2(fd, 1)", True),
        ("open('/dev/stderr', 'w')", True),
        ("open(file=2, mode='w')", True),
        ("open(1, 'wb')", True),
        ("open(path)", False),
        ("process.stdout.read()", False),
        ("logging.StreamHandler()", True),
    ],
)
def test_every_way_to_print_is_seen(line: str, seen: bool) -> None:
    assert bool(list(prints(ast.parse(line)))) == seen


def test_programs_are_started_in_one_place() -> None:
    wrong = []
    for name, tree in files().items():
        if in_places(name, STARTS) or name in STARTS_EXCEPTIONS:
            continue
        wrong += [
            f"{name}:{line}"
            for module, line in imports(tree)
            if module.split(".")[0] in ("subprocess", "_posixsubprocess", "multiprocessing", "pty")
        ]
        wrong += [f"{name}:{line}" for line in uses(tree, "os", tuple(filter(STARTERS.fullmatch, dir(os))))]
    assert not wrong, "use runtime/process.py, or the light runtime/spawn.py: " + ", ".join(wrong)


def changed_names(function: ast.AST) -> Iterator[tuple[str, int]]:
    """Names of outer scopes whose values a function changes in place: name, line."""
    inside = list(ast.walk(function))
    own = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.arg for n in inside if isinstance(n, ast.arg)}
    for node in inside:
        target: ast.expr | None = None
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            target = node.value
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS
        ):
            target = node.func.value
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            target = node.value
        if isinstance(target, ast.Name) and target.id not in own:
            yield target.id, node.lineno


def module_state(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What a file keeps between calls outside of any object: `global`, containers of the module or of a class that
    functions change."""
    containers = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef))
        for statement in node.body
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    } | {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from ((name, node.lineno) for name in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "globals":
            yield "globals()", node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from ((name, line) for name, line in changed_names(node) if name in containers)


def test_modules_keep_no_state() -> None:
    wrong = [
        f"{name}:{line} {kept}"
        for name, tree in files().items()
        if name not in STATE_EXCEPTIONS
        for kept, line in module_state(tree)
    ]
    assert not wrong, "state belongs to an object that its user holds: " + ", ".join(wrong)


def memos(tree: ast.AST) -> Iterator[str]:
    """Functions that `functools` makes remember what they returned."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            words = (re.split(r"[(]", ast.unparse(d))[0].rpartition(".")[2] for d in node.decorator_list)
            if {"cache", "lru_cache"} & set(words):
                yield node.name


def test_what_a_function_remembers_is_true_for_the_whole_process() -> None:
    found = {f"{name} {function}" for name, tree in files().items() for function in memos(tree)}
    assert not found - set(MEMOS), "state belongs to an object: " + ", ".join(sorted(found - set(MEMOS)))
    assert not set(MEMOS) - found, "remembers nothing any more: " + ", ".join(sorted(set(MEMOS) - found))


def test_a_function_that_remembers_is_seen() -> None:
    assert list(memos(ast.parse("@functools.lru_cache(maxsize=1)\ndef f(): ...\n@cache\ndef g(): ..."))) == [
        "f",
        "g",
    ]
    assert not list(memos(ast.parse("@wraps(h)\ndef f(): ...")))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x = None\ndef f():\n    global x\n    x = 1", ["x"]),
        ("x = {}\ndef f(k):\n    x[k] = 1", ["x"]),
        ("x: deque[int] = deque()\ndef f():\n    x.append(1)", ["x"]),
        ("class C:\n    x = []\n    def f(self):\n        del x[0]", ["x"]),
        ("class C:\n    n = 0\ndef f():\n    C.n += 1", ["C"]),
        ("c = C()\ndef f():\n    c.n = 1", ["c"]),
        ("def f():\n    globals()['x'] = 1", ["globals()"]),
        ("class C:\n    def f(self):\n        self.n = 1", []),
        ("x = {}\ndef f(x):\n    x[1] = 1", []),
        ("x = {}\ndef f():\n    x = []\n    x.append(1)", []),
        ("x = {1: 2}\nx[3] = 4\ndef f():\n    return x[1]", []),
    ],
)
def test_state_is_found(text: str, kept: list[str]) -> None:
    assert [name for name, _ in module_state(ast.parse(text))] == kept


def test_locks_are_taken_in_one_place() -> None:
    wrong = [
        f"{name}:{line}"
        for name, tree in files().items()
        if name != "files/locks.py"
        for module in ("fcntl", "os")
        for line in uses(tree, module, LOCKING)
    ]
    assert not wrong, "files.locks has every lock with its place in the order: " + ", ".join(wrong)


CONNECTS = ("content/db.py",)
CONNECTS_EXCEPTIONS: dict[str, str] = {
    "build/attest/sbom/rpm.py": "rpm's database of an image, in memory: foreign bytes with a limit of steps",
    "cli/complete.py": "a shell that completes reads what is there: it makes nothing, and waits for no lock",
    "content/migrations.py": "copies the file before it changes, beside the connection that changes it",
    "registry/server/store/collector.py": "a rehearsal runs on a copy of the catalog",
}


def test_databases_are_opened_in_one_place() -> None:
    opened = {
        name
        for name, tree in files().items()
        for module in ("sqlite3", "_sqlite3")
        if any(uses(tree, module, ("connect",)))
    }
    assert opened == {*CONNECTS, *CONNECTS_EXCEPTIONS}, "content.db knows pragmas, errors and the lock order"


# Table -> where its rows are read and written: other rooms ask there
OWNERS = {
    "names": "image/",
    "images": "image/",
    "attached": "image/",
    "steps": "image/steps.py",
    "builds": "image/builds.py",
    "layers": "layer/",
    "layer_blobs": "layer/",
    "containers": "container/",
    "volumes": "container/volumes.py",
    "networks": "network/",
    "addresses": "network/",
    "leases": "content/lease.py",
    "lease_refs": "content/lease.py",
}
OWNERS_EXCEPTIONS: dict[str, str] = {
    "cli/complete.py": "a shell waits for it on every Tab: names of four tables, and no room is imported for them",
}


# The same of the registry's catalog
REGISTRY = "registry/server/"
REGISTRY_OWNERS = {
    **dict.fromkeys(
        ("repositories", "contents", "manifests", "links", "tags", "blobs", "uploads"), REGISTRY + "store/"
    ),
    **dict.fromkeys(
        ("search", "search_text", "search_todo", "stars", "own_descriptions"), REGISTRY + "store/search.py"
    ),
    "tokens": REGISTRY + "auth/tokens.py",
    **dict.fromkeys(("build_links", "builds"), REGISTRY + "builds/queue.py"),
    "events": REGISTRY + "events/",
}


def tables(tree: ast.AST, known: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Tables that SQL in the tree's texts speaks of: name, line."""
    table = rf"(?:{'|'.join(known)})\b"
    # Capitals as we write SQL, or a whole statement in small letters; `FROM a, b AS c, d` names three.
    spoken = re.compile(
        rf"(?<!A )\b(?:FROM|INTO|UPDATE|JOIN)\s+({table}(?:(?:\s+(?:AS\s+)?\w+)?\s*,\s*{table})*)"
    )
    small = re.compile(
        rf"^\s*(?:select|insert|update|delete|replace)\b.*?\b(?:from|into|update|join)\s+({table})", re.S
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for run in (*spoken.findall(node.value), *small.findall(node.value)):
                yield from ((one, node.lineno) for one in re.findall(table, run))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT a FROM names", ["names"]),
        ("SELECT a FROM\n  names WHERE b IN (SELECT c FROM steps)", ["names", "steps"]),
        ("SELECT 1 FROM containers AS c, names n, steps", ["containers", "names", "steps"]),
        ("DELETE FROM names", ["names"]),
        ("select a from names", ["names"]),
        ("what it takes from names", []),
        ("COPY FROM namesake", []),
    ],
)
def test_tables_are_found(text: str, found: list[str]) -> None:
    assert [table for table, _ in tables(ast.parse(repr(text)), OWNERS)] == found


def test_a_row_belongs_to_its_room() -> None:
    found = {
        name: [(table, line) for table, line in tables(tree, OWNERS) if not in_places(name, (OWNERS[table],))]
        for name, tree in files().items()
        if not name.startswith(("registry/server/", "content/schema.py", "content/migrations.py"))
    }
    wrong = [
        f"{name}:{line} {table}"
        for name, lines in found.items()
        if name not in OWNERS_EXCEPTIONS
        for table, line in lines
    ]
    assert not wrong, "the room that owns the table offers a function: " + ", ".join(wrong)
    stale = [name for name in OWNERS_EXCEPTIONS if not found.get(name)]
    assert not stale, f"asks the owners now: {stale}"
    made = re.findall(r"CREATE TABLE (\w+)", (SOURCE / "content/schema.py").read_text())
    assert sorted(made) == sorted(OWNERS), "a table without an owner"


def test_a_row_of_the_registry_belongs_to_its_room() -> None:
    wrong = [
        f"{name}:{line} {table}"
        for name, tree in files().items()
        if name.startswith(REGISTRY) and name != REGISTRY + "store/schema.py"
        for table, line in tables(tree, REGISTRY_OWNERS)
        if not in_places(name, (REGISTRY_OWNERS[table],))
    ]
    assert not wrong, "the module that owns the table offers a method: " + ", ".join(wrong)
    text = (SOURCE / REGISTRY / "store/schema.py").read_text()
    made = re.findall(r"CREATE (?:VIRTUAL )?TABLE (?:IF NOT EXISTS )?(\w+)", text)
    assert sorted(made) == sorted(REGISTRY_OWNERS), "a table without an owner"


PLACES = ("files/places.py", "files/locks.py")  # the tree, and the names of the locks in it


def test_the_tree_below_a_root_is_drawn_once() -> None:
    """Patterns of what lies below a root are made of `Places`, too."""
    below = re.compile(r"(containers|work|volumes|mounts|ingest|trash)/[*<]")
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in files().items()
        if name not in PLACES
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and below.match(node.value)
    ]
    assert not wrong, "files.places says where: " + ", ".join(wrong)


def test_trees_are_removed_in_one_place() -> None:
    wrong = [f"{name}:{line}" for name, tree in files().items() for line in uses(tree, "shutil", ("rmtree",))]
    assert not wrong, "files.trees enters no mount: " + ", ".join(wrong)


def test_tarfile_is_not_used() -> None:
    wrong = [
        f"{name}:{line}"
        for name, tree in files().items()
        for module, line in imports(tree)
        if module.split(".")[0] == "tarfile"
    ]
    assert not wrong, "layer.scan and layer.writer know hostile tars: " + ", ".join(wrong)


def test_what_tests_share_is_in_one_folder() -> None:
    """An import of a file of tests/support that is not there fails here, not in the test that needs root."""
    tests = REPOSITORY / "tests"
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{line} imports {module}"
        for path in sorted([*tests.rglob("*.py"), *(REPOSITORY / "bench").rglob("*.py")])
        for module, line in imports(ast.parse(path.read_text()))
        if module.startswith("support")
        and module != "support"
        and not (tests / (module.replace(".", "/") + ".py")).is_file()
    ]
    assert not wrong, "\n".join(wrong)


def test_no_catch_all_swallows() -> None:
    wrong = []
    for name, tree in files().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler) or name in CATCH_ALL:
                continue
            caught = "" if node.type is None else ast.unparse(node.type)
            names = {n.strip(" ()") for n in caught.split(",")}
            # Raised again or translated, or handed as a value to the thread that will raise it.
            inside = [n for statement in node.body for n in ast.walk(statement)]
            passed_on = any(
                isinstance(n, ast.Raise) or (isinstance(n, ast.Name) and n.id == node.name) for n in inside
            )
            if names & {"", "Exception", "BaseException"} and not passed_on:
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong, "caught and swallowed: " + ", ".join(wrong)


POSITIONAL = 3  # at most: from four on the reader counts
# Their callees take the rest of the arguments as they come: the kernel's and struct's, and functions that run another.
VARIADIC = frozenset(
    {
        "attrgetter",
        "pack",
        "run_in_executor",
        "partial",
        "posix_fadvise",
        "sendfile",
        "getaddrinfo",
        "__new__",
    }
)
BY_POSITION: dict[str, str] = {
    **dict.fromkeys(
        ("Planned", "Inode", "ViewNode", "Header", "Extended"),
        "a named tuple of each file: by keywords it costs half a microsecond more",
    ),
    **dict.fromkeys(("_explain", "builder", "_deleted"), "handed in: a callable's type names no arguments"),
    **dict.fromkeys(("function('sync_file_range')", "function('fallocate')"), "the kernel's"),
    "_Request": "the arguments of the library's factory",
}


def class_names() -> dict[str, list[str]]:
    """Name of a class -> the files that have one of it."""
    found: dict[str, list[str]] = {}
    for name, tree in files().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name)
    return found


def test_a_class_says_whose_it_is() -> None:
    wrong = [f"{name}: {', '.join(where)}" for name, where in class_names().items() if len(where) > 1]
    assert not wrong, "two classes have one name: " + "; ".join(wrong)


PARAMETERS = 7  # at most: more of them are a value without a name
MANY_PARAMETERS: dict[str, str] = {
    "content/copy.py copy": "the verb that everything moves by: two ends with their names, and options by keyword",
    "engine/networks.py create": "a verb of the SDK, all options by keyword, which it makes a value of",
    "layer/write.py put": "called for each file of a layer: a value more would be made for each of them",
    "layer/write.py _header": "as put",
}


def variadic() -> set[str]:
    """Functions of ours that take any number of arguments."""
    return VARIADIC | {
        node.name
        for tree in files().values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.args.vararg
    }


def positional_calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Calls whose arguments only a count can tell apart: name, line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) > POSITIONAL:
            yield ast.unparse(node.func).rpartition(".")[2], node.lineno


def test_calls_name_their_arguments() -> None:
    known = variadic()
    found = [(f"{name}:{line}", to) for name, tree in files().items() for to, line in positional_calls(tree)]
    wrong = [f"{where} {to}" for where, to in found if to not in known and to not in BY_POSITION]
    assert not wrong, "more than three arguments by position: " + ", ".join(wrong)
    stale = set(BY_POSITION) - {to for _, to in found}
    assert not stale, f"called with keywords by now: {stale}"


def test_a_call_without_names_is_seen() -> None:
    assert list(positional_calls(ast.parse("a.b(1, 2, 3, *rest)"))) == [("b", 1)]
    assert not list(positional_calls(ast.parse("f(1, 2, 3, four=4)")))


def many_parameters(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            if len([a for a in given if a.arg not in ("self", "cls")]) > PARAMETERS:
                yield node.name


def test_functions_take_few_parameters() -> None:
    # Not counted is what stands in for the standard library's `dataclasses`.
    found = [
        f"{name} {function}"
        for name, tree in files().items()
        if name != "spec/values.py"
        for function in many_parameters(tree)
    ]
    wrong = [one for one in found if one not in MANY_PARAMETERS]
    assert not wrong, f"more than {PARAMETERS} parameters ask for a value: " + ", ".join(wrong)
    stale = set(MANY_PARAMETERS) - set(found)
    assert not stale, f"fewer by now: {stale}"


def test_many_parameters_are_seen() -> None:
    assert list(many_parameters(ast.parse("def f(self, a, b, c, /, d, e, *, f, g, h): ...")))
    assert not list(many_parameters(ast.parse("def f(self, a, b, c, d, e, f, g): ...")))


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|NotImplemented" + r"Error")
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{at}"
        for top in ("src", "tests")
        for path in sorted((REPOSITORY / top).rglob("*.py"))
        for at, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert not wrong, ", ".join(wrong)


def test_files_stay_small() -> None:
    counted = {name: len((SOURCE / name).read_text().splitlines()) for name in files()}
    wrong = {name: lines for name, lines in counted.items() if lines > LINES and name not in LONG_FILES}
    assert not wrong, f"over {LINES} lines, asking to be two rooms: {wrong}"
    stale = [name for name in LONG_FILES if counted.get(name, 0) <= LINES]
    assert not stale, f"no longer long: {stale}"


def test_lists_of_exceptions_are_alive() -> None:
    for name in (*CATCH_ALL, *STARTS_EXCEPTIONS, *STATE_EXCEPTIONS):
        assert name in files(), f"{name} is gone"


def test_every_public_thing_says_what_it_is() -> None:
    wrong = []
    for name, tree in files().items():
        if ast.get_docstring(tree) is None:
            wrong.append(name)
        for node in tree.body:
            # Plain values (a row of named fields, an error) may speak by their names alone.
            speaks = isinstance(node, ast.FunctionDef) or (
                isinstance(node, ast.ClassDef) and any(isinstance(n, ast.FunctionDef) for n in node.body)
            )
            declares = (
                name.startswith("cli/") and node.__class__ is ast.FunctionDef and node.name.endswith("_args")
            )  # its options speak
            if speaks and not declares and not node.name.startswith("_") and ast.get_docstring(node) is None:
                wrong.append(f"{name}:{node.lineno} {node.name}")
    assert not wrong, "no docstring: " + ", ".join(wrong)


# --- errors ----------------------------------------------------------------------------------------


@cache
def every_error() -> tuple[type[BoxwrightError], ...]:
    for found in pkgutil.walk_packages(boxwright.__path__, "boxwright."):
        if found.name == "boxwright.__main__":
            continue
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:  # the registry server's extra is not installed
            if (error.name or "").startswith("boxwright"):
                raise
    known: set[type[BoxwrightError]] = set()
    todo = [BoxwrightError]
    while todo:
        one = todo.pop()
        if one not in known and one.__module__.startswith("boxwright"):
            known.add(one)
            todo += one.__subclasses__()
    return tuple(sorted(known, key=lambda e: (e.__module__, e.__name__)))


# Errors that are none of the meanings, since another program decides on their meaning: why
OTHERS_MEANING = {
    "boxwright.bake.run.TargetFailed": "has the status of what stopped the target",
    "boxwright.build.request.BuildFailed": "has the status of what stopped the build",
    "boxwright.registry.server.errors.RegistryError": "the registry's codes carry their own status",
    "boxwright.runtime.oci.RuntimeFailed": "whatever the runtime said",
    "boxwright.runtime.process.ProgramFailed": "whatever the program said",
    "boxwright.snapshot.mount.MountFailed": "whatever the kernel said",
}


def test_every_error_has_a_row_in_each_table() -> None:
    for error in every_error():
        assert isinstance(error.http_status, property) or 400 <= error.http_status < 600, error
        assert error.exit_code in (1, 125, 126, 127, 130), error


def test_every_error_has_a_meaning() -> None:
    wrong = {
        f"{e.__module__}.{e.__name__}"
        for e in every_error()
        if BoxwrightError in e.__bases__ and e.__module__ != "boxwright.errors"
    }
    assert set(OTHERS_MEANING) <= wrong, f"gone: {set(OTHERS_MEANING) - wrong}"
    wrong -= set(OTHERS_MEANING)
    assert not wrong, (
        "derive from NotFound, Conflict, Invalid…, not from BoxwrightError itself: "
        + ", ".join(sorted(wrong))
    )


# --- the command line ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_exists(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from boxwright.cli.main import main

    parser, function = load(name)
    assert callable(function)
    assert main([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage:  boxwright {name}")
    assert parser.usage_line().startswith(f"boxwright {name}")
    for option in parser.options:
        assert option.help, f"{name}: {option.long} says nothing"


def test_every_command_is_in_the_table() -> None:
    rows = {row[:2] for row in COMMANDS.values()}
    for name, tree in files().items():
        functions = {
            n.name for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")
        }
        for function in functions:
            if name.startswith("cli/") and functions & {f"{function}_args", f"{function.rstrip('_')}_args"}:
                assert (module_of(name), function) in rows, (
                    f"{name}: {function} is a command without a row in cli/commands.py"
                )


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Commands in the code blocks of the pages for people."""
    for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]:
        if not page.is_file():
            continue
        for kind, block in re.findall(
            r"^```(console|sh|bash|shell)\n(.*?)^```", page.read_text(), re.M | re.S
        ):
            for line in re.sub(r"\\\n", " ", block).splitlines():
                if kind == "console" and not line.startswith("$ "):
                    continue
                yield from ((page.name, words) for words in commands(line.removeprefix("$ ")))


def commands(line: str) -> Iterator[list[str]]:
    """The words of each ``boxwright …`` in a line of shell."""
    lexer = shlex.shlex(line.replace("\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if redirected:
            redirected = False
        elif set(word) <= set("<>&|") and set(word) & set("<>"):
            redirected = True
            words = words[:-1] if words[-1:] in (["1"], ["2"]) else words
        elif set(word) <= set("();|&"):
            while words and (
                words[0] in ("sudo", "time", "if", "then", "do", "exec") or re.match(r"[A-Z_]+=", words[0])
            ):
                words = words[1:]
            if words[:1] == ["boxwright"]:
                yield words[1:]
            words = []
        else:
            words.append(word)


def test_the_pages_show_commands_that_exist() -> None:
    shown = list(command_lines())
    assert shown
    for page, line in shown:
        name, options, rest = split(line)
        if not name or name in GROUPS:
            assert options.version or not rest or rest[0] in ("--help", "help"), f"{page}: {line}"
            continue
        try:
            load(name)[0].parse_args(rest)
        except HelpRequested:
            pass


HEAVY = (
    "argparse",
    "asyncio",
    "concurrent.futures",
    "isal",
    "jinja2",
    "json",
    "logging",
    "shutil",
    "sqlite3",
    "subprocess",
    "tempfile",
    "typing",
    "urllib3",
    "zstandard",
    "dataclasses",
    "re",
)


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["image", "--help"], ["__complete", "im"], ["images"], ["ps"]]
)
def test_light_commands_import_little(argv: list[str], tmp_path: Path) -> None:
    imported(argv, tmp_path)  # which makes the root
    loaded = imported(argv, tmp_path) & {*HEAVY, *LATER}
    assert not loaded, f"boxwright {' '.join(argv)} imports {sorted(loaded)}"


STORES = ("_sqlite3", "boxwright.content.db", "boxwright.content.local", "boxwright.image.store")
LATER = (
    "datetime",
    "ipaddress",
    "queue",
    "selectors",
    "ntpath",
    "fnmatch",
    "base64",
    "boxwright.layer",
    "ssl",
)


def test_commands_that_ask_a_registry_import_little(tmp_path: Path) -> None:
    """With everything there already. What reads no image of this root opens none."""
    from support.registry import make_image, running

    with running() as registry:
        registry.add_image("app", "1", make_image({"a": b"x"}))
        name = f"127.0.0.1:{registry.port}/app:1"
        copy = ["copy", "-q", name, name.replace("app:1", "other:1")]
        imported(copy, tmp_path)
        for argv in (copy, ["tags", "ls", name.removesuffix(":1")]):
            loaded = imported(argv, tmp_path) & {*HEAVY, *STORES, *LATER} - {"re", "json"}
            assert not loaded, f"boxwright {' '.join(argv)} imports {sorted(loaded)}"
        imported(["pull", "-q", name], tmp_path)
        for verb in ("pull", "push"):
            loaded = imported([verb, "-q", name], tmp_path) & {*HEAVY, *LATER}
            loaded -= {"re", "json", "boxwright.layer"}
            assert not loaded, f"boxwright {verb} imports {sorted(loaded)}"


def test_a_build_in_which_nothing_changed_imports_little(tmp_path: Path) -> None:
    """Nothing runs, nothing is mounted, no layer is read, and what is hashed is too little for OpenSSL."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "f").write_text("x")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\nENV A=1\n")
    build = ["build", "-q", "-t", "app", str(folder)]
    imported(build, tmp_path)
    rooms = ("boxwright.layer.w", "boxwright.layer.view", "boxwright.snapshot", "boxwright.runtime.")
    rooms += ("boxwright.transfer", "boxwright.network", "boxwright.registry", "boxwright.container")
    alone = (
        "boxwright.build.why",
        "boxwright.build.attest.attach",
        "boxwright.spec.runtimespec",
        "hashlib",
        "secrets",
        "hmac",
        "random",
    )
    loaded = imported(build, tmp_path)
    found = loaded & {*HEAVY, *LATER, *alone} - {"boxwright.layer"}
    found |= {name for name in loaded if name.startswith(rooms)}
    assert not found, f"a build that does nothing imports {sorted(found)}"


def imported(argv: list[str], home: Path) -> set[str]:
    """The modules that a command really loads; `cli.startup` leaves stand-ins for some."""
    script = """if True:
        import os, sys
        from boxwright.cli import startup
        def leave(code):
            loaded = [name for name, module in sys.modules.items() if type(module).__name__ != "_Later"]
            os.write(2, "\\n".join(loaded).encode())
            os._exit(code)
        startup.leave = leave
        from boxwright.__main__ import main
        main()
    """
    environ = {
        "PATH": "/usr/bin:/bin",
        "BOXWRIGHT_ROOT": str(home),
        "HOME": str(home),
        "PYTHONPATH": f"{REPOSITORY / 'src'}:{sysconfig.get_path('platlib')}",
    }
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, *argv], capture_output=True, text=True, env=environ
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines())
