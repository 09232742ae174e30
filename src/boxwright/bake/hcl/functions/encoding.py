"""Functions that write values down and read them: JSON, CSV, base64, URLs, hashes, UUIDs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import uuid
from urllib.parse import quote_plus

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.functions.function import function
from boxwright.bake.hcl.types import (
    NULL,
    STRING,
    HclValue,
    boolean,
    listed,
    number,
    number_text,
    object_of,
    objected,
    parse_number,
    text,
    tupled,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.bake.hcl.budget import Budget

_DEEPEST = 100
_MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def go_json(shown: str) -> str:
    """A JSON text as Go writes it, with nothing in it that HTML would take for its own."""
    for char, code in _MARKUP.items():
        if char in shown:
            shown = shown.replace(char, code)
    return shown


def json_text(value: HclValue) -> str:
    """A value as JSON."""
    from boxwright.spec.text import quote

    if value.null:
        return "null"
    data = value.data
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, str):
        return go_json(quote(data))
    if isinstance(data, tuple):
        return "[" + ",".join(json_text(item) for item in data) + "]"
    if isinstance(data, dict):
        return "{" + ",".join(f"{go_json(quote(k))}:{json_text(v)}" for k, v in sorted(data.items())) + "}"
    return number_text(data)


def from_json(data: str) -> HclValue:
    """JSON as a value. Raises DefinitionInvalid."""
    import json

    try:
        parsed = json.loads(data, parse_float=str_number, parse_int=str_number, parse_constant=_refused)
    except RecursionError:
        raise DefinitionInvalid("the JSON is nested too deeply") from None
    except ValueError as error:
        raise DefinitionInvalid(f"the JSON is invalid: {error}") from None
    return _value(parsed, 0)


class str_number(str):
    """A number of a JSON text, as it was written."""


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _value(data: Any, depth: int) -> HclValue:
    if depth > _DEEPEST:
        raise DefinitionInvalid("the JSON is nested too deeply")
    if data is None:
        return NULL
    if isinstance(data, bool):
        return boolean(data)
    if isinstance(data, str_number):
        return number(parse_number(str(data)))
    if isinstance(data, str):
        return text(data)
    if isinstance(data, list):
        return tupled([_value(item, depth + 1) for item in data])
    return objected({key: _value(item, depth + 1) for key, item in data.items()})


def _csv(given: HclValue) -> HclValue:
    import csv
    import io

    try:
        rows = [row for row in csv.reader(io.StringIO(given.data), strict=True) if row]
    except csv.Error as error:
        raise DefinitionInvalid(f"invalid CSV: {error}") from None
    if not rows:
        raise DefinitionInvalid("missing header line")
    header = rows[0]
    if len(set(header)) < len(header):
        raise DefinitionInvalid("duplicate column name in the header line")
    kind = object_of(dict.fromkeys(header, STRING))
    made = []
    for row in rows[1:]:
        if len(row) != len(header):
            raise DefinitionInvalid("wrong number of fields")
        made.append(HclValue(kind, {name: text(cell) for name, cell in zip(header, row)}))
    return listed(made, kind)


def _decode64(given: HclValue) -> HclValue:
    try:
        return text(base64.b64decode(given.data.replace("\n", "").replace("\r", ""), validate=True).decode())
    except (binascii.Error, ValueError):
        raise DefinitionInvalid("failed to decode base64 data") from None


def _hash(name: str) -> Any:
    return lambda given: text(hashlib.new(name, given.data.encode(), usedforsecurity=False).hexdigest())


_SPACES = {
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}


def _uuid5(space: HclValue, name: HclValue) -> HclValue:
    try:
        known = _SPACES.get(space.data) or uuid.UUID(space.data)
    except ValueError:
        raise DefinitionInvalid("uuidv5() doesn't support namespace " + repr(space.data)) from None
    return text(str(uuid.uuid5(known, name.data)))


def _bcrypt(given: HclValue, *cost: HclValue) -> HclValue:
    if len(cost) > 1:
        raise DefinitionInvalid("bcrypt() takes no more than two arguments")
    try:
        import bcrypt
    except ImportError:
        raise DefinitionInvalid("bcrypt() needs the package bcrypt, which is not installed") from None
    rounds = int(cost[0].data) if cost else 10
    if not 4 <= rounds <= 12:
        raise DefinitionInvalid("the cost of bcrypt() is between 4 and 12")
    return text(bcrypt.hashpw(given.data.encode()[:72], bcrypt.gensalt(rounds, prefix=b"2a")).decode())


def _decrypt(given: HclValue, key: HclValue) -> HclValue:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise DefinitionInvalid(
            "rsadecrypt() needs the package cryptography, which is not installed"
        ) from None
    try:
        private = load_pem_private_key(key.data.encode(), None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise ValueError("no RSA key")
        return text(private.decrypt(base64.b64decode(given.data, validate=True), padding.PKCS1v15()).decode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise DefinitionInvalid("failed to decrypt") from None


def _json_decode(budget: Budget, given: HclValue) -> HclValue:
    budget.make(len(given.data))
    return from_json(given.data)


FUNCTIONS = (
    function("base64encode", "str:string", lambda s: text(base64.b64encode(s.data.encode()).decode())),
    function("base64decode", "str:string", _decode64),
    function("urlencode", "str:string", lambda s: text(quote_plus(s.data, safe="-_.~"))),
    function("jsonencode", "val:any?", lambda v: text(json_text(v))),
    function("jsondecode", "str:string", _json_decode, needs=True),
    function("csvdecode", "str:string", _csv),
    function("md5", "str:string", _hash("md5")),
    function("sha1", "str:string", _hash("sha1")),
    function("sha256", "str:string", _hash("sha256")),
    function("sha512", "str:string", _hash("sha512")),
    function("uuidv4", "", lambda: text(str(uuid.uuid4()))),
    function("uuidv5", "namespace:string name:string", _uuid5),
    function("bcrypt", "str:string cost:number*", _bcrypt),
    function("rsadecrypt", "ciphertext:string privatekey:string", _decrypt),
)
