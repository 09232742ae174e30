"""Dockerfile bytes to instructions with their words, flags, heredocs and lines (Dockerfile reference, "Format").

Only the shape is read here: which words, which flags. What they mean is `construct`'s part.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.build.dockerfile.directives import Directive, DirectiveReader
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange, Warning
from boxwright.build.dockerfile.heredoc import heredocs_of
from boxwright.build.dockerfile.instructions import Heredoc
from boxwright.build.dockerfile.lint_rules import warning
from boxwright.build.dockerfile.text import SPACES, go_quote_list
from boxwright.build.dockerfile.words import split_command, words_of
from boxwright.spec.text import go_quote
from boxwright.spec.values import dataclass, replace

MAX_LINE = 65535  # bytes, as BuildKit's scanner has it

_BOM = b"\xef\xbb\xbf"
_ESCAPES = ("\\", "`")
_HEREDOC_INSTRUCTIONS = ("add", "copy", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An instruction as words. ENV and LABEL have triples: key, value, `=` (or '' for the old form)."""

    name: str  # as written
    args: tuple[str, ...]
    flags: tuple[str, ...]
    json: bool  # the arguments were a JSON array
    original: str
    location: SourceRange
    child: Node | None = None  # what ONBUILD stores
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()

    def dump(self) -> str:
        """BuildKit's parse tree text: `(run "echo hi")` without the outer parentheses."""
        parts = [self.name.lower()]
        if self.flags:
            parts.append(go_quote_list(self.flags))
        if self.child is not None:
            parts.append(f"({self.child.dump()})")
        else:
            parts += map(go_quote, self.args)
        return " ".join(parts)

    def words(self) -> tuple[str, ...]:
        """The arguments; for ONBUILD those of the stored instruction after its name."""
        return self.args if self.child is None else (self.child.name, *self.child.words())


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed file. `data` is what was read, for excerpts."""

    filename: str
    data: bytes
    nodes: tuple[Node, ...]
    directives: tuple[Directive, ...] = ()
    escape: str = "\\"
    warnings: tuple[Warning, ...] = ()

    def directive(self, name: str) -> str | None:
        """The value of a parser directive, or None."""
        return next((d.value for d in self.directives if d.name == name), None)

    def dump(self) -> str:
        """The golden form: one parenthesised instruction a line."""
        return "\n".join(f"({node.dump()})" for node in self.nodes)


def parse(data: bytes, *, filename: str = "Dockerfile", escape: str = "\\") -> Dockerfile:
    """Parse a Dockerfile. `escape` is the token that holds until a directive sets another.

    Raises DockerfileError with the lines concerned.
    """
    if not data.strip():
        raise DockerfileError("the Dockerfile cannot be empty")
    return _Parser(data, filename, escape).run()


def continuation(text: str, escape: str) -> tuple[str, bool]:
    """A line without the escape character that continues it, and whether there was one: two in a row are none."""
    bare = text.rstrip(" \t")
    if not bare.endswith(escape) or bare.endswith(2 * escape):
        return text, False
    return bare[:-1], True


class _Parser:
    """The state of one parse: where it is, and what holds from here on."""

    def __init__(self, data: bytes, filename: str, escape: str) -> None:
        self.data, self.filename, self.escape = data, filename, escape
        self.line = 0
        self.comments: list[str] = []
        self.directives: list[Directive] = []
        self.warnings: list[Warning] = []
        self.reader = DirectiveReader()
        self.source = self.lines()

    def lines(self) -> Iterator[str]:
        """The physical lines with their ends, counted as they are taken."""
        for raw in _split(self.data.removeprefix(_BOM)):
            self.line += 1
            if len(raw) > MAX_LINE and len(raw.removesuffix(b"\n")) > MAX_LINE:
                raise self.error(f"dockerfile line greater than max allowed size of {MAX_LINE}")
            yield raw.decode("utf-8", "surrogateescape")

    def error(self, reason: str, start: int = 0) -> DockerfileError:
        return DockerfileError(reason, ranges=(SourceRange(start or self.line, self.line),))

    def run(self) -> Dockerfile:
        nodes: list[Node] = []
        for raw in self.source:
            text = raw.rstrip("\r\n").lstrip(SPACES)
            if text.startswith("#"):
                self.comment(text)
                continue
            self.reader.done = True
            text, continued = continuation(text, self.escape)
            if not text and not continued:
                continue
            nodes.append(self.instruction(text, continued))
        if not nodes:
            raise self.error("file with no instructions")
        return Dockerfile(
            filename=self.filename,
            data=self.data,
            nodes=tuple(nodes),
            directives=tuple(self.directives),
            escape=self.escape,
            warnings=tuple(self.warnings),
        )

    def comment(self, text: str) -> None:
        directive = self.reader.read(text, self.line)
        if directive is not None:
            if directive.name == "escape":
                if directive.value not in _ESCAPES:
                    raise self.error(f"invalid escape token '{directive.value}' does not match ` or \\")
                self.escape = directive.value
            self.directives.append(directive)
        elif comment := text[1:].strip(SPACES):
            self.comments.append(comment)
        else:
            self.comments = []

    def instruction(self, text: str, continued: bool) -> Node:
        start = self.line
        parts, empty = [text], False
        while continued and (raw := next(self.source, None)) is not None:
            line = raw.rstrip("\r\n")
            bare = line.lstrip(SPACES)
            if bare.startswith("#"):
                continue  # a comment does not end the instruction
            if not bare:
                empty = True
                continue
            line, continued = continuation(line, self.escape)
            parts.append(line)
        whole = "".join(parts)
        if empty:
            where = SourceRange(self.line, self.line)
            self.warnings.append(warning("NoEmptyContinuation", "Empty continuation line", where))
        try:
            node = self.node(whole, tuple(self.comments))
            heredocs = self.heredocs(node, start)
        except DockerfileError as error:
            raise error.at(SourceRange(start, self.line)) from None
        self.comments = []
        return replace(node, location=SourceRange(start, self.line), heredocs=heredocs)

    def node(self, line: str, comments: tuple[str, ...]) -> Node:
        name, flags, rest = split_command(line, self.escape)
        if name.lower() == "onbuild":
            child = self.node(rest, ()) if rest else None
            return Node(
                name=name,
                args=(),
                flags=flags,
                json=False,
                original=line,
                location=SourceRange(0, 0),
                child=child,
                heredocs=(),
                comments=comments,
            )
        args, json = words_of(name.lower(), rest, self.escape)
        return Node(
            name=name,
            args=args,
            flags=flags,
            json=json,
            original=line,
            location=SourceRange(0, 0),
            child=None,
            heredocs=(),
            comments=comments,
        )

    def heredocs(self, node: Node, start: int) -> tuple[Heredoc, ...]:
        """Read the bodies of the heredocs that an instruction announces, off the lines below it."""
        named = node.child or node
        if named.name.lower() not in _HEREDOC_INSTRUCTIONS or named.json or "<<" not in node.original:
            return ()
        found: list[Heredoc] = []
        for heredoc in heredocs_of(node.original):
            body: list[str] = []
            for raw in self.source:
                end = raw.rstrip("\r\n")
                if (end.lstrip("\t") if heredoc.chomp else end) == heredoc.name:
                    break
                body.append(raw)
            else:
                raise self.error("unterminated heredoc", start)
            found.append(replace(heredoc, content="".join(body)))
        return tuple(found)


def _split(data: bytes) -> list[bytes]:
    """Lines that end at `\\n` alone: a lone `\\r` is text."""
    lines = data.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])
