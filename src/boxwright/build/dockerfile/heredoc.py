"""Heredocs: where a line names them, and what a delimiter word means (Dockerfile reference, "Here-Documents")."""

from __future__ import annotations

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.expand import nothing_set, process_words
from boxwright.build.dockerfile.instructions import Heredoc, InlineFile, Run


def parse_heredoc(word: str) -> Heredoc | None:
    """The heredoc that a word announces (without content), or None. Raises DockerfileError: open quotes."""
    number, arrows, rest = word.partition("<<")
    name = rest.removeprefix("-").lstrip()
    if not arrows or not name or "<" in name or number.strip("0123456789"):
        return None
    plain = process_words(name, nothing_set, keep_unset=True)
    if len(plain) != 1:
        return None
    quoted = process_words(name, nothing_set, keep_unset=True, keep_quotes=True)
    if len(quoted) != 1:
        return None
    # Quotes that vanish were syntax: then the body is literal.
    expand = _quotes(plain[0]) == _quotes(quoted[0])
    return Heredoc(
        name=plain[0], content="", expand=expand, chomp=rest.startswith("-"), fd=int(number[:9] or 0)
    )


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


def run_command(
    run: Run, shell: tuple[str, ...] = ("/bin/sh", "-c")
) -> tuple[tuple[str, ...], InlineFile | None]:
    """The argv of a RUN under a SHELL, and the script file (mode 0755) that it needs, if any.

    A command that is only a heredoc runs its body: as the text of the shell, or, with `#!` in its first line,
    as the file /dev/pipes/NAME that the shell starts. With more around the heredoc the shell
    reads both.
    """
    args = run.args or (("",) if run.shell_form else ())
    script = None
    if run.heredocs and run.shell_form:
        first = run.heredocs[0]
        if parse_heredoc(args[0]) is None:
            args = (args[0] + "".join(f"\n{h.content}{h.name}" for h in run.heredocs),)
        elif first.text.startswith("#!"):
            script = InlineFile(f"/dev/pipes/{first.name}", first.text)
            args = (script.path,)
        else:
            args = (first.text,)
    return (*shell, *args) if run.shell_form else args, script


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
