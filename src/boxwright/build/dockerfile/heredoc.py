"""Heredocs: where a line names them, and what a delimiter word means (dockerfile.md 1.6)."""

from __future__ import annotations

import re

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.expand import nothing_set, process_words
from boxwright.build.dockerfile.instructions import Heredoc

_WORD = re.compile(r"([0-9]*)<<(-?)\s*([^<]*)\Z")


def parse_heredoc(word: str) -> Heredoc | None:
    """The heredoc that a word announces (without content), or None. Raises DockerfileError: open quotes."""
    match = _WORD.match(word)
    if match is None or not match[3]:
        return None
    plain = process_words(match[3], nothing_set, keep_unset=True)
    if len(plain) != 1:
        return None
    quoted = process_words(match[3], nothing_set, keep_unset=True, keep_quotes=True)
    if len(quoted) != 1:
        return None
    # Quotes that vanish were syntax: then the body is literal.
    expand = _quotes(plain[0]) == _quotes(quoted[0])
    return Heredoc(plain[0], "", expand, match[2] == "-", int(match[1][:9] or 0))


def is_heredoc(word: str) -> bool:
    """Whether a word announces a heredoc; a malformed one does not."""
    if "<<" not in word:
        return False
    try:
        return parse_heredoc(word) is not None
    except DockerfileError:
        return False


def heredocs_of(line: str) -> list[Heredoc]:
    """The heredocs that a line announces, in order. Raises DockerfileError."""
    try:
        words = process_words(line, nothing_set, keep_unset=True, keep_quotes=True, keep_escapes=True)
    except DockerfileError:
        return []  # not shell words at all: the text is meant for a shell to complain about
    return [found for word in words if (found := parse_heredoc(word)) is not None]


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
