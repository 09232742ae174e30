"""The parser against BuildKit's own, as the PyPI package `dockerfile` wraps it (in a process of its own)."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boxwright.build.dockerfile.construct import _MAKERS
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.parse import Node, parse
from support import DATA

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("dockerfile") is None, reason="the package `dockerfile` is not installed"
    ),
]

# Go's runtime does not survive a fork, and may take the process with it: it gets one of its own.
_CHILD = """
import json, sys, dockerfile
out = []
for text in json.load(sys.stdin):
    try:
        out.append([[c.cmd, c.sub_cmd, c.json, list(c.flags), list(c.value), c.start_line, c.end_line, [[h.name, h.content] for h in c.heredocs]]
                    for c in dockerfile.parse_string(text)])
    except dockerfile.GoParseError:
        out.append(None)
json.dump(out, sys.stdout)
"""


KNOWN = frozenset(_MAKERS)


def theirs(texts: list[str]) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def ours(text: str) -> Any:
    try:
        return [_shown(node) for node in parse(text.encode()).nodes]
    except DockerfileError:
        return None


def _shown(node: Node) -> list[Any]:
    words = list(node.args)
    if node.name.lower() in ("env", "label"):
        words = [word for at, word in enumerate(words) if at % 3 != 2]
    inner = node.child
    if inner is not None:
        shown = _shown(inner)
        words, sub, as_json = shown[4], inner.name, inner.json
        heredocs = [[h.name, h.content] for h in node.heredocs]
        return [node.name, sub, as_json, shown[3], words, node.location.start, node.location.end, heredocs]
    flags = [flag.encode().decode("latin-1") for flag in node.flags]  # BuildKit reads flags bytewise
    return [
        node.name,
        None,
        node.json,
        flags,
        words,
        node.location.start,
        node.location.end,
        [[h.name, h.content] for h in node.heredocs],
    ]


def _comparable(result: Any) -> Any:
    """Without what the package itself loses: the case of names, what is behind a NUL, flags and words behind
    ONBUILD, the third word of ENV, the words of unknown instructions."""
    if result is None:
        return None
    found = []
    for name, sub, as_json, flags, words, start, end, heredocs in result:
        kind = (name or "").lower()
        words = [word.partition("\0")[0] for word in words]
        if kind == "onbuild":
            flags, words, as_json = [], [], False
        if kind in ("env", "label"):
            words = [word for word in words if word not in ("=", "")]
        if kind not in KNOWN:
            words = []
        found.append([kind, (sub or "").lower(), bool(as_json), flags, words, start, end, heredocs])
    return found


def corpus() -> list[str]:
    files = sorted((DATA / "vectors" / "buildkit-parser").rglob("Dockerfile"))
    texts = [path.read_bytes().decode("utf-8", "replace") for path in files]
    heredocs = json.loads((DATA / "vectors" / "heredoc.json").read_text())["dockerfile"]
    texts.append(heredocs.partition("RUN <<  EOF")[0])  # the package is older than spaces there
    texts += [
        case["dockerfile"] for case in json.loads((DATA / "vectors" / "lint-rules.json").read_text())["cases"]
    ]
    return [text for text in texts if text.strip()]


def test_the_corpus() -> None:
    texts = corpus()
    assert len(texts) > 100
    for text, want in zip(texts, theirs(texts), strict=True):
        assert _comparable(ours(text)) == _comparable(want), text


# The package's BuildKit is older than three changes: white space behind `<<`, text behind a JSON array, `# check`.
PIECES = [
    "FROM a\n",
    "RUN ",
    "RUN --mount=type=cache,target=/x ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ENV a=b ",
    "LABEL x=",
    "ARG ",
    "CMD ",
    "ONBUILD ",
    "EXPOSE 1 ",
    "HEALTHCHECK CMD ",
    "HEALTHCHECK --interval=1s CMD ",
    "WORKDIR ",
    "SHELL ",
    "VOLUME ",
    "NONSENSE ",
    "# comment\n",
    "# escape=`\n",
    '["a", "b"]\n',
    '["a",',
    "[]\n",
    '["\\u00e9", 1]\n',
    "<<EOF",
    "<<-'EOF'",
    "3<<EOF",
    "\nEOF\n",
    "\n\tEOF\n",
    "\\\n",
    "\\ \n",
    "\\\\\n",
    "`\n",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\r\n",
    "a",
    "b c",
    "'q r'",
    '"s $t"',
    "$x",
    "${y:-z}",
    "--flag",
    "--",
    "--x='y z' ",
    "=",
    "#",
    "é",
    "\u2003",
    "\x0b",
    "\\",
    "'",
    '"',
]


def test_random_mixtures() -> None:
    chooser = random.Random(20260101)
    texts = ["".join(chooser.choice(PIECES) for _ in range(chooser.randrange(1, 14))) for _ in range(4000)]
    texts = [text for text in texts if text.strip()]
    wrong = [
        (text, mine, want)
        for text, want in zip(texts, theirs(texts), strict=True)
        if (mine := _comparable(ours(text))) != _comparable(want)
    ]
    assert not wrong, "\n".join(
        f"{text!r}\n  ours   {mine}\n  theirs {want}" for text, mine, want in wrong[:5]
    )


def test_this_file_runs_the_package(tmp_path: Path) -> None:
    assert theirs(["FROM a"]) == [[["FROM", None, False, [], ["a"], 1, 1, []]]]
