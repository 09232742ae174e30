"""The composite settings of a target: caches, outputs, attestations, secrets, agents. Each is written as CSV text or as
an object, is merged with others of its kind, and is printed as an object."""

from __future__ import annotations

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.types import (
    STRING,
    HclValue,
    Type,
    convert,
    list_of,
    listed,
    map_of,
    mismatch,
    object_of,
    text,
)
from boxwright.spec.text import go_bool
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

Attributes = tuple[tuple[str, str], ...]


def csv_fields(given: str) -> list[str]:
    """One line of CSV. Raises DefinitionInvalid."""
    import csv
    import io

    try:
        return next(csv.reader(io.StringIO(given), strict=True), [])
    except csv.Error as error:
        raise DefinitionInvalid(f"{given!r} is no line of values: {error}") from None


@dataclass(frozen=True, slots=True)
class TypedEntry:
    """A cache, an output or an attestation: its type and its other attributes, sorted."""

    type: str
    attributes: Attributes = ()
    dest: str = ""
    disabled: bool = False

    @property
    def options(self) -> dict[str, str]:
        return dict(self.attributes)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {**self.options, "type": self.type}
        if self.dest:
            found["dest"] = self.dest
        if self.disabled:
            found["disabled"] = True
        return dict(sorted(found.items()))

    def to_text(self) -> str:
        """As a command line has it."""
        import csv
        import io

        if self.type == "registry" and [key for key, _ in self.attributes] == ["ref"]:
            return self.attributes[0][1]
        pairs = [("type", self.type), *((("dest", self.dest),) if self.dest else ()), *self.attributes]
        if self.disabled:
            pairs.append(("disabled", "true"))
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow([f"{key}={value}" for key, value in pairs])
        return out.getvalue()


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """A secret: its name, and the file or the variable that it is read from."""

    id: str = ""
    src: str = ""
    env: str = ""

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in (("id", self.id), ("src", self.src), ("env", self.env)) if value}


@dataclass(frozen=True, slots=True)
class SshEntry:
    """An agent, or the keys of one."""

    id: str = ""
    paths: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"id": self.id} if self.id else {}
        return found | ({"paths": list(self.paths)} if self.paths else {})


def _sorted(found: dict[str, str]) -> Attributes:
    return tuple(sorted(found.items()))


# --- from text ------------------------------------------------------------------------------------


def _pairs(fields: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Raises DefinitionInvalid for a field that has no value."""
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise DefinitionInvalid(f"invalid value {field}")
        yield key, value


def cache_of(given: str) -> list[TypedEntry]:
    """``type=…,…``, or references alone. Raises DefinitionInvalid."""
    fields = csv_fields(given)
    if "=" not in given:
        return [TypedEntry("registry", (("ref", field),)) for field in fields]
    kind, found = "", {}
    for key, value in _pairs(fields):
        if key.lower() == "type":
            kind = value
        else:
            found[key.lower()] = value
    if not kind:
        raise DefinitionInvalid(f'type required form> "{given}"')
    return [TypedEntry(kind, _sorted(found))]


def output_of(given: str) -> list[TypedEntry]:
    """``type=…,dest=…``, a directory, or ``-``. Raises DefinitionInvalid."""
    fields = csv_fields(given)
    if fields == [given] and not given.startswith("type="):
        return [TypedEntry("tar" if given == "-" else "local", (), given)]
    kind, dest, found = "", "", {}
    for key, value in _pairs(fields):
        name = key.lower().strip()
        if name == "type":
            kind = value
        elif name == "dest":
            dest = value
        else:
            found[name] = value
    if not kind:
        raise DefinitionInvalid("type is required for output")
    return [TypedEntry(kind, _sorted(found), dest)]


def attest_of(given: str) -> list[TypedEntry]:
    """``type=…,…``. Raises DefinitionInvalid."""
    kind, disabled, found = "", False, {}
    for key, value in _pairs(csv_fields(given)):
        name = key.lower().strip()
        if name == "type":
            kind = value
        elif name == "disabled":
            known = go_bool(value)
            if known is None:
                raise DefinitionInvalid(f"invalid value {key}={value}")
            disabled = known
        else:
            found[key] = value
    if not kind:
        raise DefinitionInvalid("attestation type not specified")
    return [TypedEntry(kind, _sorted(found), dest="", disabled=disabled)]


def secret_of(given: str) -> list[SecretEntry]:
    """``id=…,src=…`` or ``id=…,env=…``. Raises DefinitionInvalid."""
    kind, found = "", {"id": "", "src": "", "env": ""}
    for field in csv_fields(given):
        key, equals, value = field.partition("=")
        name = {"source": "src"}.get(key.lower(), key.lower())
        if not equals:
            raise DefinitionInvalid(f"invalid field '{field}' must be a key=value pair")
        if name == "type":
            if value not in ("file", "env"):
                raise DefinitionInvalid(f'unsupported secret type "{value}"')
            kind = value
        elif name in found:
            found[name] = value
        else:
            raise DefinitionInvalid(f"unexpected key '{name}' in '{field}'")
    if kind == "env" and not found["env"]:
        found["env"], found["src"] = found["src"], ""
    return [SecretEntry(**found)]


def ssh_of(given: str) -> list[SshEntry]:
    """``default``, ``id=path,path``."""
    name, equals, paths = given.partition("=")
    return [SshEntry(name, tuple(paths.split(",")) if equals else ())]


def attest_text(kind: str, word: str) -> str:
    """``true``, ``false`` or attributes, as an attestation's text."""
    flag = go_bool(word)
    if flag is None:
        return f"type={kind},{word}"
    return f"type={kind},disabled={'false' if flag else 'true'}"


# --- from values ----------------------------------------------------------------------------------


def _typed(value: HclValue, *, with_dest: bool = False, with_disabled: bool = False) -> TypedEntry:
    """An entry as an object. Raises DefinitionInvalid."""
    converted = convert(value, map_of(STRING)).data
    found = {key: item.data for key, item in converted.items() if not item.null}
    kind = found.pop("type", "")
    dest = found.pop("dest", "") if with_dest else ""
    disabled = go_bool(found.pop("disabled", "false")) if with_disabled else False
    if disabled is None:
        raise DefinitionInvalid("disabled is no bool")
    return TypedEntry(kind, _sorted(found), dest=dest, disabled=disabled)


def _cache_value(value: HclValue) -> TypedEntry:
    found = _typed(value)
    if not found.type:
        from boxwright.bake.hcl.functions.encoding import json_text

        raise DefinitionInvalid(f'type required form> "{json_text(value)}"')
    return found


def _output_value(value: HclValue) -> TypedEntry:
    found = _typed(value, with_dest=True)
    if not found.type:
        raise DefinitionInvalid("type is required for output")
    return found


def _attest_value(value: HclValue) -> TypedEntry:
    return _typed(value, with_disabled=True)


_SECRET = object_of({"id": STRING, "src": STRING, "env": STRING}, ("id", "src", "env"))
_SSH = object_of({"id": STRING, "paths": list_of(STRING)}, ("id", "paths"))


def _secret_value(value: HclValue) -> SecretEntry:
    found = convert(value, _SECRET).data
    return SecretEntry(*(found[key].data or "" for key in ("id", "src", "env")))


def _ssh_value(value: HclValue) -> SshEntry:
    found = convert(value, _SSH).data
    paths = found["paths"].data or ()
    return SshEntry(found["id"].data or "", tuple(path.data or "" for path in paths))


def _entry_out(entry: Any) -> HclValue:
    shown = {key: text("true" if value is True else str(value)) for key, value in entry.to_json().items()}
    return HclValue(map_of(STRING), shown)


def _output_out(entry: Any) -> HclValue:
    return HclValue(map_of(STRING), {**_entry_out(entry).data, "dest": text(entry.dest)})


def _secret_out(entry: Any) -> HclValue:
    return HclValue(_SECRET, {"id": text(entry.id), "src": text(entry.src), "env": text(entry.env)})


def _ssh_out(entry: Any) -> HclValue:
    paths = listed([text(path) for path in entry.paths], STRING)
    return HclValue(_SSH, {"id": text(entry.id), "paths": paths})


# --- kinds ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entries: how they are read, merged, and handed to expressions."""

    parse: Callable[[str], list[Any]]
    read: Callable[[HclValue], Any]
    show: Callable[[Any], HclValue]
    element: Type
    unique: Callable[[Sequence[Any]], list[Any]]

    def of_texts(self, given: Sequence[str]) -> list[Any]:
        """Entries of a command line or a file of another kind. Raises DefinitionInvalid."""
        return [entry for one in given if one for entry in self.parse(one)]

    def of_value(self, value: HclValue) -> list[Any] | None:
        """Entries of an expression. Raises DefinitionInvalid."""
        if value.null:
            return None
        if value.type.kind not in ("list", "tuple"):
            raise DefinitionInvalid(mismatch(value.type, list_of(self.element)))
        found: list[Any] = []
        for item in value.data:
            if item.null:
                raise DefinitionInvalid("an element is null")
            if item.type.kind == "string":
                found += self.parse(item.data) if item.data else []
            else:
                found.append(self.read(item))
        return found

    def merged(self, old: list[Any] | None, new: list[Any] | None) -> list[Any] | None:
        """Both, each once."""
        if new is None or old is None:
            return self.normal(old if new is None else new)
        return self.normal([*old, *new])

    def normal(self, entries: list[Any] | None) -> list[Any] | None:
        """Each once; None for none."""
        return self.unique(entries) if entries else None


def _without_copies(entries: Sequence[Any]) -> list[Any]:
    """Each entry once. The order is that of buildx, which fills the place of a copy with the last entry."""
    found = list(entries)
    at = len(found) - 2
    while at >= 0:
        for other in range(at + 1, len(found)):
            if found[at] == found[other]:
                found[other] = found[-1]
                found.pop()
                break
        at -= 1
    return found


def _last_by(name: str) -> Callable[[Sequence[Any]], list[Any]]:
    """The last entry of each name, at the place of the first."""

    def unique(entries: Sequence[Any]) -> list[Any]:
        return list({getattr(entry, name): entry for entry in entries}.values())

    return unique


CACHES = Kind(
    parse=cache_of, read=_cache_value, show=_entry_out, element=map_of(STRING), unique=_without_copies
)
OUTPUTS = Kind(
    parse=output_of, read=_output_value, show=_output_out, element=map_of(STRING), unique=_without_copies
)
ATTESTS = Kind(
    parse=attest_of, read=_attest_value, show=_entry_out, element=map_of(STRING), unique=_last_by("type")
)
SECRETS = Kind(parse=secret_of, read=_secret_value, show=_secret_out, element=_SECRET, unique=_last_by("id"))
AGENTS = Kind(parse=ssh_of, read=_ssh_value, show=_ssh_out, element=_SSH, unique=_last_by("id"))
