"""The language of definitions beyond the corpus: errors with their places, what is refused, what has an end."""

from __future__ import annotations

import time

import pytest

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.hcl.regex import Regex
from support.bake import parsed, resolved, target, value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = foo", 'docker-bake.hcl:1,5-8: Unknown variable; There is no variable named "foo".'),
        ("foot = 1\na = foo", 'There is no variable named "foo". Did you mean "foot"?'),
        ("a = uper(1)", 'There is no function named "uper". Did you mean "upper"?'),
        ("a = b\nb = a", "variable cycle not allowed for"),
        ("a = [1,\n", 'There is no closing "]" before the end of the file.'),
        ("a = 1\na = 2", 'The argument "a" was already set at docker-bake.hcl:1,1-2'),
        (
            'target "a" {\n  tags = "x"\n}',
            "docker-bake.hcl:2,10-13: Unsuitable value type; Unsuitable value: list of string required, but have string",
        ),
        ('target "a/b" {}', 'only "[a-zA-Z0-9_-]+" are allowed'),
        ('target "a" {\n  tags = [target.a.tags[0]]\n}', "reference cycle not allowed for target.a.tags"),
        ("target {}", "a target block has one label"),
        ('group "g" {}', 'The argument "targets" is required'),
        ('target "a" { name = "b" }', "name requires matrix"),
        ('target "a" {\n matrix = { x = ["1", "1"] }\n name = "n-${x}"\n}', 'duplicate name "n-1"'),
        ('group "g" {\n matrix = {}\n targets = []\n}', "matrix is not supported for groups"),
        (
            'variable "V" {\n default = ""\n validation {\n  condition = V != ""\n  error_message = "V is empty"\n }\n}',
            "docker-bake.hcl:4,15-22: Validation failed; V is empty",
        ),
        (
            'variable "V" {\n type = number\n default = "x"\n}',
            "invalid type number for variable V default value: a number is required",
        ),
        ('function "f" {\n params = [x]\n result = f(x)\n}\na = f(1)', "function cycle not allowed for f"),
        ('a = "x\n"', "Quoted strings may not be split over multiple lines"),
        ('a = "\\q"', "is not a valid escape sequence selector"),
        ("a = <<E\nx\n", "No line with the heredoc's marker E follows."),
        ("a = 1 2", "An argument definition must end with a newline."),
        ('a = "%{ if true }x"', "A template directive is not ended."),
        ("\x00", "An argument or block definition is required here."),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(DefinitionInvalid) as error:
        parsed(text)
    assert message in str(error.value)


def test_errors_show_their_lines() -> None:
    with pytest.raises(DefinitionInvalid) as error:
        parsed('group "default" {\n  targets = [nothing]\n}\n')
    assert error.value.render() == (
        'docker-bake.hcl:2\n--------------------\n   1 |     group "default" {\n'
        "   2 | >>>   targets = [nothing]\n   3 |     }\n   4 |     \n--------------------\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 3000 + "]" * 3000,
        "a = " + "(" * 3000 + "1" + ")" * 3000,
        "a = " + "-" * 3000 + "1",
        "a = " + "1+" * 3000 + "1",
        "a = " + "true ? 1 : " * 3000 + "1",
        "a = " + '"${' * 2000 + "1" + '}"' * 2000,
        'a = "' + "%{ if true }" * 2000 + "%{ endif }" * 2000 + '"',
        "b {\n" * 3000 + "}\n" * 3000,
        "a = x" + ".y" * 3000 + "\nx = {}",
        "a = x" + "[0]" * 3000 + "\nx = {}",
        "\n".join(f"a{i + 1} = a{i}" for i in reversed(range(1000))) + "\na0 = 1\n",
        "\n".join(f'a{i + 1} = "${{a{i}}}${{a{i}}}"' for i in range(60)) + '\na0 = "xx"\n',
        "\n".join(f"a{i + 1} = [a{i}, a{i}]" for i in range(60)) + '\na0 = "xx"\nb = jsonencode(a60)\n',
        'a = format("%1000000000s", "x")',
        "a = pow(10, 100000000)",
        "a = 1e1000000000",
        "a = 9e4000 * 9e4000",
        'a = replace("' + "x" * 10000 + '", "", "' + "y" * 100000 + '")',
        "x = range(1000)\na = setproduct(x, x, x, x)",
        "x = range(1000)\na = [for a in x: [for b in x: [for c in x: [for d in x: 1]]]]",
        'target "t" {\n matrix = { a = range(1000), b = range(1000) }\n name = "t-${a}-${b}"\n}',
        'a = regex("' + "(" * 500 + ")" * 500 + '", "x")',
        'a = regex("((x{1000}){1000}){1000}", "x")',
        'a = jsondecode("' + "[" * 100000 + '")',
    ],
    ids=range(24),
)
def test_everything_has_an_end(text: str) -> None:
    began = time.process_time()
    with pytest.raises(DefinitionInvalid):
        parsed(text)
    assert time.process_time() - began < 20


def test_sets_of_many_take_time_by_their_size_alone() -> None:
    words = 'flatten([for a in range(20): [for b in range(1000): "${a}-${b}"]])'
    pairs = "[for word in x: { word = word }]"
    body = (
        f'x = {words}\ny = {pairs}\ntarget "default" {{ args = {{ v = jsonencode([length(distinct(concat(x, x))),'
        ' length(setunion(x, x)), length(setsubtract(x, ["1-1"])), length(setintersection(x, ["1-1", "?"])),'
        ' length(setsymmetricdifference(x, ["1-1", "?"])), length(setunion(y, y))]) } }'
    )
    began = time.process_time()
    assert target(body)["args"]["v"] == "[20000,20000,19999,1,20000,20000]"
    assert time.process_time() - began < 20


def test_functions_that_call_each_other_end() -> None:
    doubling = "\n".join(
        f'function "f{i + 1}" {{\n params = [x]\n result = concat(f{i}(x), f{i}(x))\n}}' for i in range(40)
    )
    with pytest.raises(DefinitionTooLarge):
        parsed(doubling + '\nfunction "f0" {\n params = [x]\n result = [x]\n}\na = length(f40(1))')


def test_a_pattern_takes_time_by_its_size_alone() -> None:
    began = time.process_time()
    assert Regex(r"(a+)+$").search("a" * 3000 + "!") is None
    assert Regex(r"^(a?){50}a{50}$").search("a" * 50) is not None
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a|ab", "ab", "a"),
        ("(a|ab)(c|bcd)", "abcd", "abcd"),
        ("a*?b", "aab", "aab"),
        ("x{2,3}", "xxxx", "xxx"),
        ("x{2,3}?", "xxxx", "xx"),
        (r"\bfoo\b", "a foo b", "foo"),
        ("(?m)^b$", "a\nb\nc", "b"),
        ("(?s)a.c", "a\nc", "a\nc"),
        ("[^a-c]+", "abxyzc", "xyz"),
        ("[[:digit:]]+", "ab12", "12"),
        (r"\p{Lu}+", "abCD", "CD"),
        (r"\x41\Q.*\E", "A.*", "A.*"),
        ("(?i)É", "é", "é"),
        ("x{,2}", "x{,2}", "x{,2}"),
        ("", "abc", ""),
    ],
)
def test_patterns(pattern: str, text: str, found: str) -> None:
    match = Regex(pattern).search(text)
    assert match is not None and text[match[0] : match[1]] == found


@pytest.mark.parametrize(
    "pattern", ["(", ")", "[", "a**", "*", r"\8", "(?<=a)b", r"\p{Zzz}", "x{3,2}", "x{2000}", "(?P<1>x)"]
)
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(DefinitionInvalid, match="invalid regexp pattern"):
        Regex(pattern)


def test_values() -> None:
    assert value("[for k, v in {b = 1, a = 2}: k]") == ["a", "b"]
    assert value("try(a.b.c, 1)") == 1
    assert value('[1, "a", true, null]') == [1, "a", True, None]
    assert value("{for x in [1, 2]: x => x * x}") == {"1": 1, "2": 4}


def test_what_the_environment_says() -> None:
    text = 'variable "V" { default = 1 }\nvariable "L" {\n type = list(number)\n default = []\n}\ntarget "default" { args = { v = V + 1, l = jsonencode(L) } }'
    assert target(text)["args"] == {"l": "[]", "v": "2"}
    assert target(text, environ={"V": "4", "L": "1,2"})["args"] == {"l": "[1,2]", "v": "5"}
    assert target(text, environ={"L_JSON": "[3]"})["args"]["l"] == "[3]"
    with pytest.raises(DefinitionInvalid, match="failed to parse V as number"):
        target(text, environ={"V": "x"})
    with pytest.raises(DefinitionInvalid, match="failed to convert variable L from CSV"):
        target(text, environ={"L": "x"})


def test_several_files_are_one() -> None:
    found = resolved(
        'target "a" {\n args = { X = "1", Y = "1" }\n tags = ["one"]\n}',
        "a",
        override__hcl='target "a" {\n args = { Y = "2" }\n tags = ["two"]\n}\nvariable "V" { default = "v" }',
        more__json='{"target": {"a": {"labels": {"l": "${V}"}}}}',
    )
    shown = found.targets["a"].to_json()
    assert (shown["args"], shown["tags"], shown["labels"]) == ({"X": "1", "Y": "2"}, ["two"], {"l": "v"})


def test_what_is_not_known_is_said() -> None:
    config = parsed('foo "x" {}\ntarget "a" {\n colour = "red"\n inner {}\n}')
    assert len(config.warnings) == 3 and "colour" in " ".join(config.warnings)


def test_a_matrix_is_warned_of_once_and_takes_time_by_its_size_alone() -> None:
    began = time.process_time()
    config = parsed(
        "\n".join(
            f'target "t{at}" {{\n matrix = {{ x = range(1000) }}\n name = "t{at}-${{x}}"\n colour = 1\n inner {{}}\n}}'
            for at in range(20)
        )
    )
    assert (len(config.targets), len(config.warnings)) == (20_000, 40)
    assert time.process_time() - began < 20
