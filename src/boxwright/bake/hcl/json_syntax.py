"""HCL's JSON form, into the same tree (hashicorp/hcl, json/spec.md): text is a template, and the caller's
schema says which properties are blocks."""

from __future__ import annotations

import re

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl import tree
from boxwright.bake.hcl.cursor import DEEPEST
from boxwright.bake.hcl.source import SourceText
from boxwright.bake.hcl.syntax import HclParser
from boxwright.bake.hcl.types import NULL, boolean, number, parse_number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from boxwright.bake.errors import SourcePlace
    from boxwright.bake.hcl.tree import Expression, HclBody

# Blocks by their type: how many labels each has, and which blocks are in it.
Schema = dict[str, tuple[int, "Schema"]]

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\.)*)"')
_WORDS = {"true": boolean(True), "false": boolean(False), "null": NULL}


class JsonNode:
    """A JSON value with its place: a dictionary is a list of properties, each with its key's place."""

    __slots__ = ("data", "kind", "place", "start")

    def __init__(self, kind: str, data: object, place: SourcePlace, start: int) -> None:
        self.kind, self.data, self.place, self.start = kind, data, place, start

    @property
    def properties(self) -> list[tuple[JsonNode, JsonNode]]:
        assert self.kind == "object"
        return self.data  # type: ignore[return-value]

    @property
    def items(self) -> list[JsonNode]:
        assert self.kind == "array"
        return self.data  # type: ignore[return-value]


def parse(data: bytes, name: str, schema: Schema) -> HclBody:
    """The body of a file. Raises DefinitionInvalid."""
    reader = _JsonReader(SourceText.of(data, name))
    root = reader.document()
    if root.kind != "object":
        _fail(
            root.place,
            "Root value must be object",
            "The root value in a JSON-based configuration must be a JSON object.",
        )
    return _Bodies(reader.source).body([root], schema)


class _JsonReader:
    def __init__(self, source: SourceText) -> None:
        self.source, self.text, self.at = source, source.text, 0
        self._depth = 0

    def document(self) -> JsonNode:
        found = self._value()
        self._blank()
        if self.at < len(self.text):
            self._fail("Extraneous data after value", "Extra characters appear after the JSON value.")
        return found

    def _value(self) -> JsonNode:
        self._blank()
        start = self.at
        char = self.text[start : start + 1]
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail("Nesting too deep", f"The JSON is nested in more than {DEEPEST} levels.")
        if char == "{":
            found = self._object(start)
        elif char == "[":
            found = self._array(start)
        else:
            found = self._scalar(start, char)
        self._depth -= 1
        return found

    def _scalar(self, start: int, char: str) -> JsonNode:
        if char == '"':
            return self._string(start)
        matched = _NUMBER.match(self.text, start)
        if matched:
            self.at = matched.end()
            return JsonNode("number", number(parse_number(matched[0])), place=self._place(start), start=start)
        for word, value in _WORDS.items():
            if self.text.startswith(word, start):
                self.at += len(word)
                return JsonNode("word", value, place=self._place(start), start=start)
        self._fail(
            "Invalid JSON value",
            "A JSON value is required here." if char else "The JSON ends before its value does.",
        )

    def _string(self, start: int) -> JsonNode:
        import json

        matched = _STRING.match(self.text, start)
        if not matched:
            self._fail("Invalid JSON string", "A JSON string is not closed on its line.")
        try:
            data = json.loads(matched[0])
            data.encode()
        except ValueError:
            self._fail("Invalid JSON string", "A JSON string has an invalid escape sequence.")
        self.at = matched.end()
        return JsonNode("string", data, place=self._place(start), start=start)

    def _object(self, start: int) -> JsonNode:
        self.at += 1
        found: list[tuple[JsonNode, JsonNode]] = []
        while not self._ends("}", bool(found)):
            self._blank()
            if self.text[self.at : self.at + 1] != '"':
                self._fail("Invalid JSON object", "A JSON object's key must be a string.")
            key = self._string(self.at)
            self._blank()
            if not self._take(":"):
                self._fail("Missing property value colon", "Expected a colon between the key and its value.")
            found.append((key, self._value()))
        return JsonNode("object", found, place=self._place(start), start=start)

    def _array(self, start: int) -> JsonNode:
        self.at += 1
        found: list[JsonNode] = []
        while not self._ends("]", bool(found)):
            found.append(self._value())
        return JsonNode("array", found, place=self._place(start), start=start)

    def _ends(self, bracket: str, more: bool) -> bool:
        self._blank()
        if self._take(bracket):
            return True
        if more and not self._take(","):
            self._fail("Missing comma", f'A comma or "{bracket}" is wanted here.')
        return False

    def _blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def _take(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def _place(self, start: int) -> SourcePlace:
        return self.source.place(start, self.at)

    def _fail(self, summary: str, detail: str) -> NoReturn:
        _fail(self.source.place(self.at, min(self.at + 1, len(self.text))), summary, detail)


class _Bodies:
    """Nodes as bodies, blocks and expressions."""

    def __init__(self, source: SourceText) -> None:
        self.source = source

    def body(self, nodes: list[JsonNode], schema: Mapping[str, tuple[int, Schema]]) -> HclBody:
        """All properties of some objects."""
        arguments: dict[str, tree.HclArgument] = {}
        blocks: list[tree.Block] = []
        for node in nodes:
            for key, value in node.properties:
                name = str(key.data)
                if name in schema:
                    labels, inner = schema[name]
                    blocks += self._blocks(
                        kind=name, header=key.place, node=value, labels=labels, schema=inner, found=[]
                    )
                elif name != "//":
                    arguments[name] = tree.HclArgument(
                        name, key.place, value=self.expression(value), place=value.place
                    )
        return tree.HclBody(arguments, tuple(blocks), nodes[0].place)

    def _blocks(
        self,
        kind: str,
        header: SourcePlace,
        node: JsonNode,
        labels: int,
        schema: Schema,
        found: list[tuple[str, SourcePlace]],
    ) -> list[tree.Block]:
        if node.kind == "word" and node.data is NULL and labels == 0:
            return []
        objects = node.items if node.kind == "array" else [node]
        out: list[tree.Block] = []
        for one in objects:
            if one.kind != "object":
                _fail(
                    one.place,
                    "Incorrect JSON value type",
                    f"Either a JSON object or a JSON array is required, representing the contents of one "
                    f'or more "{kind}" blocks.',
                )
            if labels:
                for key, value in one.properties:
                    label = (str(key.data), key.place)
                    out += self._blocks(
                        kind=kind,
                        header=key.place,
                        node=value,
                        labels=labels - 1,
                        schema=schema,
                        found=[*found, label],
                    )
            else:
                names = tuple(word for word, _ in found)
                places = tuple(place for _, place in found)
                out.append(
                    tree.Block(
                        type=kind,
                        labels=names,
                        label_places=places,
                        header=header,
                        body=self.body([one], schema),
                    )
                )
        return out

    def expression(self, node: JsonNode) -> Expression:
        """A value: text in it is templates."""
        if node.kind == "string":
            return self._template(node)
        if node.kind in ("number", "word"):
            return tree.Literal(node.place, 1, node.data)  # type: ignore[arg-type]
        if node.kind == "array":
            items = tuple(self.expression(item) for item in node.items)
            return tree.Tuple(node.place, 1 + max((i.height for i in items), default=0), items)
        seen: set[str] = set()
        pairs = []
        for key, value in node.properties:
            if str(key.data) in seen:
                _fail(
                    key.place,
                    "Duplicate object attribute",
                    f'An attribute named "{key.data}" was already defined.',
                )
            seen.add(str(key.data))
            pairs.append((self._template(key), self.expression(value)))
        height = 1 + max((max(k.height, v.height) for k, v in pairs), default=0)
        return tree.Object(node.place, height, tuple(pairs))

    def _template(self, node: JsonNode) -> Expression:
        data = str(node.data)
        if "${" not in data and "%{" not in data:
            return tree.Literal(node.place, 1, text(data))
        # What is inside stands, for messages, where the string does: escapes would shift its columns.
        parser = HclParser(_At(node.place, data))
        return parser.bare_template()


class _At(SourceText):
    """A text all of which has one place."""

    def __init__(self, place: SourcePlace, text: str) -> None:
        super().__init__(place.file, text)
        self._here = place

    def place(self, start: int, end: int) -> SourcePlace:
        return self._here


def as_expression(e: Expression) -> Expression:
    """Where the language wants a word or a call and JSON can only write text: what the text says. Raises
    DefinitionInvalid."""
    if isinstance(e, tree.Literal) and e.value.type.kind == "string" and not e.value.null:
        return HclParser(_At(e.place, str(e.value.data))).whole_expression()
    return e


def _fail(place: SourcePlace, summary: str, detail: str) -> NoReturn:
    raise DefinitionInvalid(detail, summary=summary, place=place)
