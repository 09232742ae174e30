"""Lines, directives, continuations, words, heredocs."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.build.dockerfile.construct import parse_instruction, stages_of
from boxwright.build.dockerfile.directives import parse_check
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.dockerfile.heredoc import heredocs_of, parse_heredoc
from boxwright.build.dockerfile.instructions import Arg, Heredoc
from boxwright.build.dockerfile.parse import MAX_LINE, parse
from boxwright.build.dockerfile.words import json_words, parse_words
from support import DATA, vectors

FACTS: dict[str, Any] = vectors("parser-facts.json")
HEREDOC: dict[str, Any] = vectors("heredoc.json")


@pytest.mark.parametrize("case", FACTS["errors"], ids=lambda case: case["dockerfile"][:40])
def test_error_texts(case: dict[str, str]) -> None:
    text = case["dockerfile"]
    with pytest.raises(DockerfileError) as caught:
        if text.startswith("FROM"):
            stages_of(parse(text.encode()))
        else:
            parse_instruction(text)
    if "error" in case:
        assert caught.value.reason == case["error"]
    else:
        assert case["error_contains"] in caught.value.reason


@pytest.mark.parametrize("case", FACTS["json_arrays"], ids=lambda case: case["input"])
def test_json_array(case: dict[str, Any]) -> None:
    assert json_words(case["input"]) == tuple(case["words"])


@pytest.mark.parametrize("text", FACTS["json_not_strings"])
def test_json_with_other_things(text: str) -> None:
    with pytest.raises(DockerfileError, match="arrays must be comprised of strings only"):
        json_words(text)


@pytest.mark.parametrize("text", ["", "echo", "['a']", '["a"] x', '["a",]', "[NaN", '["a\n"]', "[" * 5000])
def test_json_not_at_all(text: str) -> None:
    assert json_words(text) is None


@pytest.mark.parametrize("case", FACTS["parse_words"], ids=lambda case: case["input"])
def test_words(case: dict[str, Any]) -> None:
    assert parse_words(case["input"], "\\") == case["words"]


@pytest.mark.parametrize("case", FACTS["directives"], ids=lambda case: case["input"][:20])
def test_directives(case: dict[str, Any]) -> None:
    found = parse(case["input"].encode() + b"FROM x\n")
    assert [[d.name, d.value] for d in found.directives] == case["directives"]


def test_doc_comments() -> None:
    for case in FACTS["doc_comments"]:
        global_args, stages = stages_of(parse(case["dockerfile"].encode()))
        assert {stage.name: stage.from_.description for stage in stages} == case["stage"]
        args = [*global_args, *(i for stage in stages for i in stage.instructions if isinstance(i, Arg))]
        assert [[value.key, value.comment] for arg in args for value in arg.args] == case["args"]


def test_line_numbers() -> None:
    facts = FACTS["line_numbers"]
    nodes = parse((DATA / "vectors" / facts["file"]).read_bytes()).nodes
    assert [[n.location.start, n.location.end] for n in nodes] == facts["instructions"]
    assert (nodes[0].location.start, nodes[-1].location.end) == (facts["first"], facts["last"])


def test_heredocs_of_a_file() -> None:
    nodes = parse(HEREDOC["dockerfile"].encode()).nodes[1:]
    found = [
        [
            {"name": h.name, "content": h.content, "expand": h.expand, "chomp": h.chomp, "fd": h.fd}
            for h in n.heredocs
        ]
        for n in nodes
    ]
    assert found == HEREDOC["instructions"]


@pytest.mark.parametrize("word", HEREDOC["words_valid_EOF"])
def test_heredoc_word(word: str) -> None:
    found = parse_heredoc(word)
    assert found is not None and found.name == "EOF"


@pytest.mark.parametrize("word", HEREDOC["words_error"])
def test_heredoc_word_broken(word: str) -> None:
    with pytest.raises(DockerfileError):
        parse_heredoc(word)


@pytest.mark.parametrize("word", HEREDOC["words_not_heredoc"])
def test_no_heredoc_word(word: str) -> None:
    assert parse_heredoc(word) is None


@pytest.mark.parametrize("case", HEREDOC["from_line"], ids=lambda case: case["line"])
def test_heredocs_of_a_line(case: dict[str, Any]) -> None:
    assert [h.name for h in heredocs_of(case["line"])] == case["names"]


@pytest.mark.parametrize("line", HEREDOC["json_form_has_none"])
def test_no_heredoc_in_json(line: str) -> None:
    assert parse(line.encode()).nodes[0].heredocs == ()


def test_chomp() -> None:
    for case in HEREDOC["chomp"]:
        assert Heredoc("x", case["input"], chomp=True).text == case["output"]


def test_unterminated_heredoc_is_located() -> None:
    with pytest.raises(DockerfileError, match="unterminated heredoc") as caught:
        parse(b"FROM a\nRUN <<EOF\nx\ny\n")
    assert caught.value.ranges == (SourceRange(2, 4),)


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        (b"RUN a \\\n  b", "RUN a   b"),
        (b"RUN a \\ \t\n b", "RUN a  b"),
        (b"RUN a\\\\\nRUN b", "RUN a\\\\"),  # a doubled token is text
        (b"RUN a \\\n# note\n  # note\nb", "RUN a b"),
        (b"RUN a \\\n\\\nb", "RUN a b"),
        (b"RUN a \\", "RUN a "),
        (b"RUN a # b", "RUN a # b"),
        (b"  RUN x\r\n", "RUN x"),
        (b"# escape=`\nRUN a `\nb \\", "RUN a b \\"),
        (b"\xef\xbb\xbfRUN x", "RUN x"),
        (b"RUN a \\\n#\\\nb", "RUN a b"),  # comments are never continued
    ],
)
def test_continuations(text: bytes, joined: str) -> None:
    assert parse(text).nodes[0].original == joined


def test_empty_continuation_line_warns() -> None:
    found = parse(b"FROM a\nRUN b \\\n\n  c\n")
    assert [(w.rule, w.message, w.location) for w in found.warnings] == [
        ("NoEmptyContinuation", "Empty continuation line", SourceRange(4, 4))
    ]


def test_longest_line() -> None:
    assert parse(b"RUN " + b"x" * (MAX_LINE - 4)).nodes
    with pytest.raises(DockerfileError, match="dockerfile line greater than max allowed size of 65535"):
        parse(b"RUN " + b"x" * (MAX_LINE - 3))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\"),
        (b"# escape=`\n# escape=`\nFROM a", "only one escape parser directive can be used"),
        (b"", "the Dockerfile cannot be empty"),
        (b" \n\n", "the Dockerfile cannot be empty"),
        (b"# a\n", "file with no instructions"),
    ],
)
def test_refused_files(text: bytes, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ARG a", "dockerfile contains no stages to build"),
        ("RUN x", "no build stage in current context"),
        (
            "FROM a\n\nFNTRYPOINT x",
            "dockerfile parse error on line 3: unknown instruction: FNTRYPOINT (did you mean ENTRYPOINT?)",
        ),
        (
            "FROM a\nfntrypoint x",
            "dockerfile parse error on line 2: unknown instruction: fntrypoint (did you mean entrypoint?)",
        ),
        ("FROM a\nNONSENSE x", "dockerfile parse error on line 2: unknown instruction: NONSENSE"),
        (
            "FROM a AS 1",
            'dockerfile parse error on line 1: invalid name for build stage: "1", name can\'t start with a number or contain symbols',
        ),
    ],
)
def test_refused_stages(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        stages_of(parse(text.encode()))
    assert str(caught.value) == message


def test_bytes_that_are_no_utf8_survive() -> None:
    node = parse(b"FROM a\nRUN echo \xff\n").nodes[1]
    assert node.args[0].encode("utf-8", "surrogateescape") == b"echo \xff"


@pytest.mark.parametrize(
    "text",
    [
        b"RUN echo \xe9",
        b"LABEL a=\xe9",
        b"ENV a=\xe9",
        b"COPY \xe9 /",
        b"WORKDIR /\xe9",
        b"CMD \xe9",
        b"RUN <<E\necho \xe9\nE",
        b"ONBUILD RUN \xe9",
    ],
)
def test_an_instruction_is_utf8(text: bytes) -> None:
    with pytest.raises(DockerfileError, match="is not valid UTF-8: byte 0xe9") as caught:
        stages_of(parse(b"FROM scratch\n" + text + b"\n"))
    assert caught.value.ranges[0].start == 2 and caught.value.hint


def test_comments_may_be_in_any_encoding() -> None:
    stages_of(parse(b"# \xe9\nFROM scratch\n# \xe9\nLABEL a=b\n"))


def test_heredoc_keeps_carriage_returns() -> None:
    node = parse(b"COPY <<EOF /x\r\na\r\nEOF\r\n").nodes[0]
    assert node.heredocs[0].content == "a\r\n"


def test_flags_end_at_the_first_word() -> None:
    node = parse(b'COPY --chown="a b" --link -- --x y').nodes[0]
    assert (node.flags, node.args) == (("--chown=a b", "--link"), ("--x", "y"))


def test_check_options() -> None:
    found = parse_check("skip=A, B;error=true;experimental=all")
    assert (found.skip, found.error, found.experimental_all, found.skip_all) == (
        ("A", "B"),
        True,
        True,
        False,
    )
    with pytest.raises(DockerfileError, match='invalid check option "x"'):
        parse_check("x=1")
