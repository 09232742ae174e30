"""The Dockerfile language: what is written is what is read, and nothing breaks it."""

from __future__ import annotations

import itertools
import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from boxwright.build.dockerfile.chmod import parse_chmod
from boxwright.build.dockerfile.construct import instruction_of, stages_of
from boxwright.build.dockerfile.errors import DockerfileError, render_excerpt
from boxwright.build.dockerfile.expand import expand, process_words
from boxwright.build.dockerfile.globs import compile_match
from boxwright.build.dockerfile.history import created_by
from boxwright.build.dockerfile.ignore import NOTHING, IgnoreMatcher, read_ignorefile
from boxwright.build.dockerfile.parse import parse
from boxwright.build.dockerfile.pattern import replace, trim_prefix, trim_suffix
from boxwright.build.dockerfile.substitute import expand_instruction
from boxwright.errors import Invalid
from boxwright.spec.times import format_duration, parse_duration

# Times on a busy machine say nothing.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# parse ∘ format

WORD = st.text(
    st.characters(whitelist_categories=("L", "N", "P", "S"), blacklist_characters="\\`'\"#$<[-="),
    min_size=1,
    max_size=8,
)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
GAP = st.sampled_from([" ", "  ", "\t", " \\\n", " \\ \t\n  ", " \\\n# a comment\n ", " \\\n\n"])
ROWS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["COPY", "ADD", "copy"]), st.lists(WORD, min_size=2, max_size=4)),
        st.tuples(st.sampled_from(["EXPOSE", "VOLUME"]), st.lists(WORD, min_size=1, max_size=3)),
        st.tuples(st.just("ARG"), st.lists(NAME, min_size=1, max_size=3)),
        st.tuples(st.just("ENV"), st.lists(st.tuples(NAME, WORD).map("=".join), min_size=1, max_size=3)),
        st.tuples(
            st.sampled_from(["WORKDIR", "USER", "CMD", "RUN", "STOPSIGNAL"]),
            st.lists(WORD, min_size=1, max_size=1),
        ),
    ),
    min_size=1,
    max_size=6,
)


@CALM
@given(rows=ROWS, data=st.data())
def test_what_is_written_is_read(rows: list[tuple[str, list[str]]], data: st.DataObject) -> None:
    text = "FROM scratch\n"
    for name, words in rows:
        text += (
            name
            + "".join(data.draw(GAP) + word for word in words)
            + data.draw(st.sampled_from(["\n", "\r\n", " \n\n", "\n# note\n"]))
        )
    nodes = parse(text.encode()).nodes
    assert len(nodes) == len(rows) + 1
    for node, (name, words) in zip(nodes[1:], rows, strict=True):
        expected = words if name != "ENV" else [part for word in words for part in (*word.split("=", 1), "=")]
        assert (node.name, list(node.args)) == (name, expected)
    lines = [(n.location.start, n.location.end) for n in nodes]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(lines))


@CALM
@given(
    words=st.lists(
        st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\r\0"), max_size=10),
        min_size=1,
        max_size=4,
    )
)
def test_json_form_keeps_every_character(words: list[str]) -> None:
    import json

    text = f"CMD {json.dumps(words, ensure_ascii=False)}"
    if len(text.encode()) < 60000 and not re.search(r"\\[ \t]*$", text):
        node = parse(text.encode()).nodes[0]
        assert (node.json, list(node.args)) == (True, words)


BODY = st.lists(
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n"), max_size=10), max_size=5
)


@CALM
@given(body=BODY, dash=st.booleans())
def test_heredoc_bodies_are_kept(body: list[str], dash: bool) -> None:
    lines = [line for line in body if line.rstrip("\r").lstrip("\t") != "END"]
    content = "".join(line + "\n" for line in lines)
    node = parse(f"RUN <<{'-' if dash else ''}END\n{content}END\nRUN x\n".encode()).nodes[0]
    assert node.heredocs[0].content == content


# Nothing but DockerfileError

SCRAPS = st.lists(
    st.sampled_from(
        [
            "FROM a\n",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "ARG ",
            "LABEL ",
            "EXPOSE ",
            "HEALTHCHECK ",
            "ONBUILD ",
            "SHELL ",
            "VOLUME ",
            "STOPSIGNAL ",
            "CMD ",
            "--mount=",
            "type=cache,",
            "target=/x",
            "--chmod=",
            "--from=",
            "--interval=",
            "<<EOF",
            "<<-'E'",
            "\nEOF\n",
            "\nE\n",
            "# escape=`\n",
            "# check=",
            "\\\n",
            "`\n",
            '["a"]',
            "[",
            '"',
            "'",
            "$",
            "${",
            "}",
            ":-",
            "##",
            "//",
            "%",
            "a=b",
            "=",
            "1",
            "é",
            "\x00",
            "\U0001f600",
            " ",
            "\n",
            "\t",
            "\\",
        ]
    ),
    max_size=25,
).map("".join)


def survive(data: bytes) -> None:
    try:
        file = parse(data)
        stages = stages_of(file)[1]
    except DockerfileError as error:
        render_excerpt("Dockerfile", data, error.ranges)
        return
    for node in file.nodes:
        instruction_of(node)
    for stage in stages:
        for step in stage.instructions:
            try:
                created_by(expand_instruction(step, {"a": "b", "e": ""}.get, file.escape))
            except DockerfileError as error:
                assert (
                    error.ranges
                    or "port" in str(error).lower()
                    or "proto" in str(error)
                    or "IP" in str(error)
                )


@CALM
@given(text=SCRAPS)
@example(text="FROM a\nRUN <<" + "9" * 5000 + "<<EOF")
@example(text="FROM a\nHEALTHCHECK --retries=" + "9" * 9000 + " CMD x")
@example(text="FROM a\nEXPOSE " + "9" * 9000)
@example(text="FROM a\nCMD " + "[" * 30000)
@example(text="FROM a\nENV a=" + "${a:-" * 5000)
def test_files_of_scraps(text: str) -> None:
    survive(text.encode("utf-8", "surrogatepass"))


@CALM
@given(data=st.binary(max_size=200))
def test_files_of_bytes(data: bytes) -> None:
    survive(data)


EXPRESSION = st.text("ab$${}{}:-+?#%/\\'\"*`<> ", max_size=30)


@CALM
@given(text=EXPRESSION, escape=st.sampled_from("\\`"), raw=st.booleans())
def test_expansion_raises_only_its_error(text: str, escape: str, raw: bool) -> None:
    for lookup in ({}.get, {"a": "xay", "b": ""}.get):
        try:
            expand(text, lookup, escape, raw=raw)
        except DockerfileError as error:
            assert str(error).startswith("failed to process ")
        try:
            words = process_words(text, lookup, escape)
            assert all(words)
        except DockerfileError:
            pass


@CALM
@given(text=st.text(st.characters(blacklist_characters="$'\"\\", blacklist_categories=("Cs",)), max_size=20))
def test_plain_text_stays(text: str) -> None:
    assert expand(text, {}.get) == text


@CALM
@given(text=st.text(st.characters(blacklist_categories=("Cs",)), max_size=20))
def test_quoting_protects(text: str) -> None:
    assert expand("'" + text.replace("'", "'\"'\"'") + "'", {}.get) == text
    assert expand("".join("\\" + char for char in text), {}.get) == text


# Patterns of ${…#…}, against regular expressions

GLOB = st.text("ab*?", max_size=6)


def shell_regex(pattern: str, star: str) -> str:
    return "".join(star if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)


@CALM
@given(pattern=GLOB, value=st.text("ab", max_size=10), longest=st.booleans())
def test_trimming(pattern: str, value: str, longest: bool) -> None:
    star = ".*" if longest else ".*?"
    match = re.match(shell_regex(pattern, star), value)
    assert trim_prefix(value, pattern, longest=longest) == (value[match.end() :] if match else value)
    ends = [n for n in range(len(value) + 1) if re.fullmatch(shell_regex(pattern, ".*"), value[n:])]
    assert trim_suffix(value, pattern, longest=longest) == (
        value[: ends[0] if longest else ends[-1]] if ends else value
    )


@CALM
@given(pattern=st.text("ab*?", min_size=1, max_size=5), value=st.text("ab", max_size=8))
def test_replacing(pattern: str, value: str) -> None:
    regex = shell_regex(pattern, ".*")
    assert replace(value, pattern, "-", everywhere=False) == re.sub(regex, "-", value, count=1)


# Ignore rules, against the definition

PATH = st.lists(st.sampled_from(["a", "b", "ab", "c.txt"]), min_size=1, max_size=4).map("/".join)
RULE = st.tuples(
    st.sampled_from(["", "", "!"]),
    st.lists(st.sampled_from(["a", "b", "*", "**", "?b", "a*", "[ab]", "*.txt"]), min_size=1, max_size=3).map(
        "/".join
    ),
).map("".join)


def glob_matches(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return True
        return any(glob_matches(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return (
        bool(path)
        and re.fullmatch(shell_regex_class(pattern[0]), path[0]) is not None
        and glob_matches(pattern[1:], path[1:])
    )


def shell_regex_class(part: str) -> str:
    return "".join(
        "[^/]*" if p == "*" else "[^/]" if p == "?" else p if p.startswith("[") else re.escape(p)
        for p in re.findall(r"\[.*?\]|.", part)
    )


def naively_excluded(rules: list[str], path: str) -> bool:
    parts = path.split("/")
    excluded = False
    for rule in rules:
        pattern = rule.removeprefix("!").split("/")
        if any(naive_match(pattern, parts[: at + 1]) for at in range(len(parts))):
            excluded = not rule.startswith("!")
    return excluded


def naive_match(pattern: list[str], path: list[str]) -> bool:
    # `x/**` wants something below x; in the middle `**` may be nothing.
    if pattern[-1] == "**" and len(pattern) > 1 and set(pattern) != {"**"}:
        return any(glob_matches(pattern[:-1], path[:at]) for at in range(len(path)))
    return glob_matches(pattern, path)


@CALM
@given(rules=st.lists(RULE, max_size=4), path=PATH)
@example(rules=["a/**"], path="a")
@example(rules=["**/a", "!a/b"], path="a/b/a")
def test_ignoring(rules: list[str], path: str) -> None:
    matcher = IgnoreMatcher(rules)
    assert matcher.excluded(path) is naively_excluded(rules, path)


@CALM
@given(rules=st.lists(RULE, max_size=4), path=PATH)
def test_pruning_loses_nothing(rules: list[str], path: str) -> None:
    """Wherever a walk would not go down, nothing below is part of the context."""
    matcher = IgnoreMatcher(rules)
    number = NOTHING
    parts = path.split("/")
    for at in range(1, len(parts)):
        directory = "/".join(parts[:at])
        number = matcher.decide(directory, number)
        if matcher.excludes(number) and not matcher.may_include_below(directory, number):
            assert matcher.excluded(path)
            return


@CALM
@given(data=st.binary(max_size=60))
def test_ignore_files_of_bytes(data: bytes) -> None:
    try:
        IgnoreMatcher(read_ignorefile(data)).excluded("a/b")
    except Invalid:
        pass


@CALM
@given(pattern=st.text("ab*?[]^-\\/", max_size=10))
def test_globs_raise_only_their_error(pattern: str) -> None:
    for use in (compile_match, lambda p: IgnoreMatcher([p])):
        try:
            use(pattern)
        except Invalid:
            pass


# Small things


@CALM
@given(value=st.integers(0, 10**16))
def test_durations_round_trip(value: int) -> None:
    assert parse_duration(format_duration(value)) == value


@CALM
@given(text=st.text("ugoa+-=rwxXst,01789", max_size=10), mode=st.integers(0, 0o7777), directory=st.booleans())
def test_chmod_stays_in_range(text: str, mode: int, directory: bool) -> None:
    try:
        change = parse_chmod(text)
    except DockerfileError:
        return
    after = change.apply(mode, directory=directory)
    assert 0 <= after <= 0o7777
    if change.absolute is not None:
        assert change.apply(after, directory=directory) == after
