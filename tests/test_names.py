"""What the words between back ticks name is there: modules, classes, methods and files of docstrings, comments, pages.

A name is looked at when it begins with something of ours (a module, a class); what only resembles one is listed with its reason.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "boxwright"
_NAME = re.compile(r"`+(?:boxwright\.)?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(\))?`")
_PATH = re.compile(r"`+((?:[\w.-]+/)*[\w-]+\.(?:py|md))(?:::\w+)?`")
# Names of files, which are not of modules.
_FILES = ("conf", "d", "db", "err", "json", "lock", "log", "md", "py", "sock", "tar", "toml", "txt", "io")
OTHERS: dict[str, str] = {
    "Dockerfile.rego": "a file of buildx's",
    "dockerfile.v0": "BuildKit's name of its frontend",
    "http.client": "Python's own module",
    "network.host": "an entitlement of BuildKit's",
    "image.name": "a key of buildx's metadata",
    "process.rlimits": "a field of the OCI runtime's config.json",
    "proxies.default": "a key of Docker's config.json",
    "registry.insecure": "an attribute of BuildKit's outputs",
}


@cache
def modules() -> dict[str, ast.Module]:
    """Dotted path under boxwright -> tree; a package has its own name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def names_in(body: list[ast.stmt]) -> dict[str, ast.AST | None]:
    """What a module or class defines or assigns, also `self.x` in its methods -> the class, where it is one."""
    found: dict[str, ast.AST | None] = {}
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                    found.setdefault(node.attr, None)
                case ast.Name(ctx=ast.Store()):
                    found.setdefault(node.id, None)
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    found[node.name] = node if isinstance(node, ast.ClassDef) else None
                case ast.ImportFrom() | ast.Import():
                    found.update(
                        {(alias.asname or alias.name).partition(".")[0]: None for alias in node.names}
                    )
    return found


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    found: dict[str, list[ast.ClassDef]] = {}
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def has(node: ast.ClassDef, name: str) -> bool:
    """A field, method or value of the class or of one that it inherits from; what is inherited from elsewhere may be
    called anything."""
    if name in names_in(node.body):
        return True
    for base in node.bases:
        word = ast.unparse(base).partition("[")[0].rpartition(".")[2]
        if any(has(one, name) for one in classes().get(word, ())):
            return True
    return False


def is_ours(name: str) -> bool | None:
    """None: not a name of ours at all."""
    parts = name.split(".")
    known = None
    for at in range(len(parts), 0, -1):
        head, rest = ".".join(parts[:at]), parts[at:]
        for module, tree in modules().items():
            if module != head and not module.endswith(f".{head}"):
                continue
            known = known or False
            if not rest:
                return True
            inside = names_in(tree.body)
            if rest[0] in inside:
                owner = inside[rest[0]]
                if len(rest) == 1 or not isinstance(owner, ast.ClassDef) or has(owner, rest[1]):
                    return True
    for one in classes().get(parts[0], ()):
        known = known or False
        if has(one, parts[1]):
            return True
    return known


def texts(*tops: Path) -> Iterator[tuple[Path, int, str]]:
    """Docstrings and comments of the program, or of the files below other folders, and the pages: file, line, text."""
    for path in sorted(path for top in tops or (SOURCE,) for path in top.rglob("*.py")):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and '"""' in token.string):
                yield path, token.start[0], token.string
    for page in [*REPOSITORY.glob("*.md"), *sorted((REPOSITORY / "docs").glob("*.md"))]:
        if page.name != "CHANGELOG.md":  # which tells of what was
            yield from ((page, at, line) for at, line in enumerate(page.read_text().splitlines(), 1))


def test_names_between_back_ticks_exist() -> None:
    bare = {path.name for top in ("src", "tests", "docs", "bench") for path in (REPOSITORY / top).rglob("*")}
    bare |= {path.name for path in REPOSITORY.glob("*")}
    wrong = []
    for path, line, text in texts():
        where = f"{path.relative_to(REPOSITORY)}:{line}"
        for match in _NAME.finditer(text):
            name = match[1]
            if name.rpartition(".")[2] not in _FILES and name not in OTHERS and is_ours(name) is False:
                wrong.append(f"{where} `{name}`")
        for match in _PATH.finditer(text):
            name = match[1]
            tops = (REPOSITORY, SOURCE, REPOSITORY / "tests", path.parent, SOURCE / "registry/server")
            there = any((top / name).is_file() for top in tops) if "/" in name else name in bare
            if not there:
                wrong.append(f"{where} `{name}`")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("spec.digest", True),
        ("spec.digest.Digest", True),
        ("digest.Digest.hasher", True),
        ("Digest.hex", True),
        ("spec.gone", False),
        ("digest.Gone", False),
        ("Digest.gone", False),
        ("os.environ", None),
        ("linux.seccomp", None),
    ],
)
def test_what_is_gone_is_found(name: str, ours: bool | None) -> None:
    assert is_ours(name) is ours


PACKAGE = re.compile(r"^  (\w+)/ +", re.MULTILINE)
# Packages of which a kind of module is meant ("one file a group of commands").
BY_KIND = ("api", "cli", "registry")


def test_the_map_names_every_module() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    start = page.index("src/boxwright/\n")
    drawn = PACKAGE.split(page[start : page.index("```", start)])
    said = dict(zip(drawn[1::2], drawn[2::2], strict=True))
    assert sorted(said) == sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
    missing = []
    for package, words in said.items():
        named = set(re.findall(r"\w+", words))
        folder = SOURCE / package
        there = {path.parent.name for path in folder.glob("*/__init__.py")}
        if package not in BY_KIND:
            there |= {path.stem for path in folder.glob("*.py")} - {"__init__"}
        missing += [f"{package}/{name}" for name in sorted(there - named)]
    assert not missing, "docs/architecture.md does not name " + ", ".join(missing)


# `page.md 1.5`: pages of other projects are called by their headings, ours have no numbers.
NUMBERED = re.compile(r"[\w-]+\.md,? \d")


def test_sections_of_pages_are_called_by_their_headings() -> None:
    """A reader looks for a heading; a number is that of some other page."""
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{line} {match[0]}"
        for path, line, text in texts(SOURCE, REPOSITORY / "tests", REPOSITORY / "bench")
        if path != Path(__file__)
        for match in NUMBERED.finditer(text)
    ]
    assert not wrong, "\n".join(wrong)
    assert NUMBERED.search("(dockerfile.md 1.5)") and not NUMBERED.search("docs/dockerfile.md, COPY")


# Subjects that hide who acts. In a user namespace root "is nobody on the host": that one is a user.
NO_ACTOR = re.compile(
    r"\b(?:whoever|somebody|someone|anybody|anyone|(?<!is )(?<!are )nobody|what is there)\b", re.IGNORECASE
)


def test_sentences_name_their_actor() -> None:
    """The collector, the client, another process; not one of whom only the writer knew who it is."""
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{line} {match[0]}"
        for path, line, text in texts(SOURCE, REPOSITORY / "tests", REPOSITORY / "bench")
        if path != Path(__file__)  # which names them
        for match in NO_ACTOR.finditer(text)
    ]
    assert not wrong, "\n".join(wrong)
    assert NO_ACTOR.search("Whoever has it") and NO_ACTOR.search("so that nobody reads it")
    assert not NO_ACTOR.search("the client has it") and not NO_ACTOR.search("its root is nobody on the host")
