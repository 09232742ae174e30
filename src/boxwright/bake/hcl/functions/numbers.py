"""Functions of numbers, and the operators as functions."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal, localcontext

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.evaluate import arithmetic, equal
from boxwright.bake.hcl.functions.function import function, whole
from boxwright.bake.hcl.types import CONTEXT, HclValue, boolean, checked_number, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _rounded(how: str) -> Callable[[HclValue], HclValue]:
    def run(value: HclValue) -> HclValue:
        with localcontext(CONTEXT):
            return number(
                value.data.quantize(Decimal(1), rounding=how)
                if value.data.as_tuple().exponent < 0
                else value.data
            )

    return run


def _log(value: HclValue, base: HclValue) -> HclValue:
    try:
        top, bottom = math.log(value.data), math.log(base.data)
        return number(checked_number(Decimal(repr(top / bottom))))
    except (ValueError, ArithmeticError):
        raise DefinitionInvalid("the logarithm is no number") from None


def _pow(value: HclValue, power: HclValue) -> HclValue:
    try:
        return number(checked_number(Decimal(repr(math.pow(value.data, power.data)))))
    except (ValueError, ArithmeticError):
        raise DefinitionInvalid("the power is no number that can be written down") from None


def _parseint(word: HclValue, base: HclValue) -> HclValue:
    radix = whole(base, "base")
    if not 2 <= radix <= 62:
        raise DefinitionInvalid("base must be a whole number between 2 and 62 inclusive")
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:radix]
    if word.type.kind != "string":
        raise DefinitionInvalid(f"first argument must be a string, not {word.type.friendly()}")
    text = word.data
    sign, body = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if radix <= 36:
        body = body.lower()
    if not body or len(body) > 4096 or any(c not in digits for c in body):
        raise DefinitionInvalid(f"cannot parse {text!r} as a base {radix} integer")
    found = 0
    for char in body:
        found = found * radix + digits.index(char)
    with localcontext(CONTEXT):
        return number(checked_number(Decimal(sign * found)))


def _some(values: tuple[HclValue, ...]) -> tuple[HclValue, ...]:
    if not values:
        raise DefinitionInvalid("must pass at least one number")
    return values


FUNCTIONS = (
    function("absolute", "num:number", lambda a: number(abs(a.data))),
    function("add", "a:number b:number", lambda a, b: number(arithmetic("+", a.data, b.data))),
    function("subtract", "a:number b:number", lambda a, b: number(arithmetic("-", a.data, b.data))),
    function("multiply", "a:number b:number", lambda a, b: number(arithmetic("*", a.data, b.data))),
    function("divide", "a:number b:number", lambda a, b: number(arithmetic("/", a.data, b.data))),
    function("modulo", "a:number b:number", lambda a, b: number(arithmetic("%", a.data, b.data))),
    function("negate", "num:number", lambda a: number(-a.data)),
    function("ceil", "num:number", _rounded(ROUND_CEILING)),
    function("floor", "num:number", _rounded(ROUND_FLOOR)),
    function("int", "num:number", _rounded(ROUND_DOWN)),
    function("log", "num:number base:number", _log),
    function("pow", "num:number power:number", _pow),
    function("signum", "num:number", lambda a: number((a.data > 0) - (a.data < 0))),
    function("parseint", "number:any base:number", _parseint),
    function("max", "numbers:number*", lambda *n: number(max(v.data for v in _some(n)))),
    function("min", "numbers:number*", lambda *n: number(min(v.data for v in _some(n)))),
    function("lessthan", "a:number b:number", lambda a, b: boolean(a.data < b.data)),
    function("lessthanorequalto", "a:number b:number", lambda a, b: boolean(a.data <= b.data)),
    function("greaterthan", "a:number b:number", lambda a, b: boolean(a.data > b.data)),
    function("greaterthanorequalto", "a:number b:number", lambda a, b: boolean(a.data >= b.data)),
    function("equal", "a:any? b:any?", lambda a, b: boolean(equal(a, b))),
    function("notequal", "a:any? b:any?", lambda a, b: boolean(not equal(a, b))),
    function("and", "a:bool b:bool", lambda a, b: boolean(a.data and b.data)),
    function("or", "a:bool b:bool", lambda a, b: boolean(a.data or b.data)),
    function("not", "val:bool", lambda a: boolean(not a.data)),
)
