"""What of the Dockerfile language is read by hand, beside the pattern that says the same."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from boxwright.build.dockerfile.directives import DirectiveReader
from boxwright.build.dockerfile.heredoc import parse_heredoc
from boxwright.build.dockerfile.lint import check
from boxwright.build.dockerfile.parse import continuation, parse
from boxwright.build.dockerfile.text import SPACES
from boxwright.build.dockerfile.words import json_words, split_command, words_of

_CONTINUED = r"([^\\])\\[ \t]*\Z|^\\[ \t]*\Z"
_DIRECTIVE = r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z"
_HEREDOC = r"([0-9]*)<<(-?)\s*([^<]*)\Z"
_WHITE = r"[\t\v\f\r ]+"
_SECRET = (
    "(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)",
    "(?:_|^)(?:public|file|version)(?:_|$)",
)


@given(st.text("a\\ \t`", max_size=8))
@example("\\")
@example("a\\ \t")
@example("\\\\")
@example("a\\ \\")
def test_a_line_is_continued(text: str) -> None:
    found = re.search(_CONTINUED, text)
    assert continuation(text, "\\") == (
        (text[: found.start()] + (found[1] or ""), True) if found else (text, False)
    )


@given(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["syntax", "Escape", "check", "other", "a-b"]),
        st.text(" \t=", max_size=3),
        st.text("a= \t#\n", max_size=4),
    )
)
@example("escape= ")
@example("escape=\t ")
@example("escape= \n")
@example("escape")
@example("=x")
def test_a_directive(text: str) -> None:
    found = re.match(_DIRECTIVE, text.lstrip(SPACES))
    known = found is not None and found[1].lower() in ("syntax", "escape", "check")
    read = DirectiveReader().read(f"#{text}", 1)
    assert (read and (read.name, read.value)) == (
        (found[1].lower(), found[2]) if found is not None and known else None
    )


@given(st.text("<-01a \u00a0", max_size=7))
@example("<<a")
@example("3<<-a")
@example("<<- a")
@example("<<<a")
@example("a<<a")
@example("١<<a")
def test_a_heredoc_is_announced(word: str) -> None:
    found = re.match(_HEREDOC, word)
    heredoc = parse_heredoc(word)
    if found is None or not found[3]:
        assert heredoc is None
    elif heredoc is not None:
        assert (heredoc.chomp, heredoc.fd, heredoc.name) == (
            found[2] == "-",
            int(found[1] or 0),
            found[3].strip(),
        )


@given(st.text("ab \t\v\f\r\u00a0", max_size=10))
def test_words_that_white_space_parts(text: str) -> None:
    rest = text.strip(SPACES)
    assert words_of("from", rest, "\\") == (tuple(re.split(_WHITE, rest)) if rest else (), False)
    if rest:
        name, *others = re.split(_WHITE, rest, maxsplit=1)
        assert split_command(text, "\\") == (name, (), others[0].strip(SPACES) if others else "")


@given(
    st.text("AUTHkeyKEYsecretPUBLICfile_", max_size=3).map("_".join)
    | st.lists(st.sampled_from(["TOKEN", "api", "Key", "file", "", "PUBLIC", "passwords"]), max_size=4).map(
        "_".join
    )
)
def test_a_name_of_a_secret(name: str) -> None:
    if not name:
        return
    checked = check(parse(f"FROM scratch\nENV {name}=1\n".encode()))
    found = [warning.rule for warning in checked.warnings]
    secret, harmless = (re.search(pattern, name, re.IGNORECASE) for pattern in _SECRET)
    assert ("SecretsUsedInArgOrEnv" in found) == bool(secret and not harmless)


@given(st.lists(st.text(max_size=3), max_size=3))
def test_an_array_of_strings(words: list[str]) -> None:
    assert json_words(json.dumps(words)) == tuple(words)
