"""Go templates: what Docker's --format accepts, and how it complains."""

from __future__ import annotations

import json
from typing import Any

import pytest

from boxwright.gotemplate.compile import FormatError, Method, compile, to_json

LABELS = {"app": "web"}
ROW: dict[str, Any] = {
    "ID": "abc",
    "Names": ["a", "b"],
    "N": 3,
    "F": 1.5,
    "T": True,
    "Nil": None,
    "Empty": [],
    "Lazy": lambda: "made",
    "Label": Method(lambda key: LABELS.get(key, "")),
    "Config": {"Env": ["A=1", "B=2"], "Labels": LABELS, "Cmd": None},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "abc"),
        ("{{ .ID }}:{{.N}}", "abc:3"),
        ("{{.Config.Labels.app}}", "web"),
        ("{{.Names}}", "[a b]"),
        ("{{.Config.Labels}}", "map[app:web]"),
        ("{{.F}} {{.T}} {{.Nil}}", "1.5 true <no value>"),
        ("{{.Config}}", "map[Cmd:<nil> Env:[A=1 B=2] Labels:map[app:web]]"),
        ("{{.Lazy}} {{upper .Lazy}} {{.Lazy | len}}", "made MADE 4"),
        ('{{.Label "app"}}', "web"),
        ('{{.Label "app" | upper}}', "WEB"),
        ('{{"app" | .Label}}', "web"),
        ("{{json .Names}}", '["a","b"]'),
        ("{{json .Config}}", '{"Env":["A=1","B=2"],"Labels":{"app":"web"},"Cmd":null}'),
        ('{{join .Names ", "}}', "a, b"),
        ('{{split "a/b/c" "/"}}', "[a b c]"),
        ('{{index (split "a/b/c" "/") 1}}', "b"),
        ('{{lower "ABC"}} {{title "two words"}}', "abc Two Words"),
        ('{{pad "x" 1 2}}|{{pad "" 1 2}}|', " x  ||"),
        ('{{truncate "abcdef" 3}} {{truncate "ab" 9}}', "abc ab"),
        ("{{println .ID .N}}", "abc 3\n"),
        ('{{print "a" 1 2 "b" "c"}}', "a1 2bc"),
        (
            '{{printf "%s=%d %5s|%-5s|%05d|%q %v %t %x %.2f %%" "a" 7 "r" "l" 42 "q" .Names true 255 1.0}}',
            'a=7     r|l    |00042|"q" [a b] true ff 1.00 %',
        ),
        (
            '{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}}',
            "%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)",
        ),
        ("{{len .Names}} {{len .ID}} {{len .Config}}", "2 3 3"),
        ('{{index .Config "Labels" "app"}}', "web"),
        ("{{index .Config.Env 1}}", "B=2"),
        ("{{slice .ID 1}} {{slice .ID 0 2}} {{slice .Names 1}}", "bc ab [b]"),
        ("{{if .T}}yes{{end}}", "yes"),
        ("{{if .Empty}}yes{{else}}no{{end}}", "no"),
        ("{{if .Nil}}a{{else if eq .N 3}}b{{else}}c{{end}}", "b"),
        ("{{if .Nil}}a{{else if eq .N 4}}b{{else}}c{{end}}", "c"),
        ("{{with .Config}}{{.Labels.app}}{{end}}{{.ID}}", "webabc"),
        ("{{with .Nil}}x{{else}}none{{end}}", "none"),
        ("{{with $c := .Config}}{{$c.Labels.app}}{{end}}", "web"),
        ("{{range .Names}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $v := .Names}}{{if $i}}, {{end}}{{$i}}={{$v}}{{end}}", "0=a, 1=b"),
        ("{{range $v := .Names}}{{$v}}{{$.ID}}{{end}}", "aabcbabc"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "app=web"),
        ('{{range .Names}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', "a"),
        ('{{range .Names}}{{if eq . "a"}}{{continue}}{{end}}{{.}}{{end}}', "b"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}", "12"),
        ("{{$n := 0}}{{range .Names}}{{$n = len .}}{{end}}{{$n}}", "1"),
        ("a  {{- .ID -}}  b", "aabcb"),
        ("a {{/* comment */ -}} b", "a b"),
        ("{{- /* comment */}}b", "b"),
        ("{{`raw \\n`}} {{\"tab\\t\"}} {{'a'}}", "raw \\n tab\t 97"),
        (
            '{{eq .ID "x" "abc"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1 2}}',
            "true true true true true false",
        ),
        ('{{and .ID .N}} {{or .Nil "d"}} {{not .T}}', "3 d false"),
        ("{{or .ID .Missing}}", "abc"),  # never looked at
        ("{{(index .Names 0)}}{{(.Config).Labels.app}}", "aweb"),
        ("{{-1}} {{+2}} {{0x10}} {{1e6}} {{.5}}", "-1 2 16 1e+06 0.5"),
        ('{{html "<a>"}} {{urlquery "a b"}}', "&lt;a&gt; a+b"),
        (".ID\\t.N\\n", ".ID\t.N\n"),
        ('{{join .Names "\\n"}}', "a\nb"),
        ("{{true}} {{false}}", "true false"),
    ],
)
def test_values(template: str, expected: str) -> None:
    assert compile(template)(ROW) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.ID", "template parsing error: 1:6: unclosed action"),
        ("{{}}", "template parsing error: 1:3: missing value for command"),
        ("{{end}}", "template parsing error: 1:1: unexpected {{end}}"),
        ("{{if .ID}}x", "template parsing error: 1:12: unexpected EOF: {{end}} is missing"),
        ("{{if .ID}}{{else}}{{else}}{{end}}", "template parsing error: 1:19: unexpected {{else}}"),
        ("{{if}}{{end}}", "template parsing error: 1:5: missing value for if"),
        ("{{foo .ID}}", 'template parsing error: 1:3: function "foo" not defined'),
        ("line\n  {{foo}}", 'template parsing error: 2:5: function "foo" not defined'),
        ("{{$x}}", 'template parsing error: 1:3: undefined variable "$x"'),
        ("{{.ID | }}", "template parsing error: 1:9: missing value for command"),
        ('{{"a" .ID}}', 'template parsing error: 1:3: can\'t give argument to non-function "a"'),
        ('{{"open}}', "template parsing error: 1:3: unterminated quoted string"),
        ("{{break}}", "template parsing error: 1:3: {{break}} outside {{range}}"),
        ("{{(.ID}}", "template parsing error: 1:7: missing value for parenthesized pipeline"),
        ("{{.ID)}}", 'template parsing error: 1:6: unexpected ")" in command'),
        ('{{define "x"}}{{end}}', "template parsing error: 1:3: {{define}} is not supported here"),
        ("{{.Foo}}", 'template error: 1:3: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.ID.Foo}}", "template error: 1:6: can't evaluate field Foo in 'abc'"),
        ("{{.Nil.Foo}}", "template error: 1:7: nil pointer evaluating .Foo"),
        ("{{index .Names 2}}", "template error: 1:3: error calling index: index out of range: 2"),
        ("{{len 3}}", "template error: 1:3: error calling len: len of 3"),
        ('{{join .ID ","}}', "template error: 1:3: error calling join: expected []string; found abc"),
        ("{{lower}}", "template error: 1:3: error calling lower: wrong number of args (0)"),
        ('{{eq 1 "a"}}', "template error: 1:3: error calling eq: incompatible types for comparison"),
        ("{{lt .T .T}}", "template error: 1:3: error calling lt: invalid type for comparison"),
        ("{{.ID .N}}", "template error: 1:3: .ID has arguments but is not a method"),
        ("{{range .ID}}{{end}}", "template error: 1:9: range can't iterate over abc"),
        ("{{range 99999999}}{{end}}", "template error: 1:9: range is too long"),
        ('{{pad "x" 999999999 0}}', "template error: 1:3: error calling pad: 999999999 is out of range"),
    ],
)
def test_errors_say_where(template: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        compile(template)(ROW)
    assert str(caught.value) == message


def test_hints() -> None:
    with pytest.raises(FormatError) as caught:
        compile("{{.id}}")(ROW)
    assert caught.value.hint == "did you mean .ID?"
    with pytest.raises(FormatError) as caught:
        compile("{{uper .ID}}")
    assert caught.value.hint == "did you mean upper?"


def test_deep_nesting_is_an_error() -> None:
    for template in (
        "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
        "{{if 1}}" * 5000 + "{{end}}" * 5000,
        "{{" + "not (" * 3000 + "1" + ")" * 3000 + "}}",
    ):
        with pytest.raises(FormatError, match="nested too deeply"):
            compile(template)


def test_header() -> None:
    columns = {"ID": "IMAGE ID", "Names": "NAMES"}
    assert compile(r"{{.ID}}\t{{upper .Names}}").header(columns) == "IMAGE ID\tNAMES"
    assert (
        compile('{{.ID}} {{join .Names ","}} {{truncate .ID 2}} {{json .Names}}').header(columns)
        == "IMAGE ID NAMES IMAGE ID NAMES"
    )
    assert compile('{{printf "%s" .ID}}').header(columns) == "IMAGE ID"


def test_json_resolves_lazies_and_leaves_methods_out() -> None:
    row = json.loads(to_json(ROW))
    assert row["Lazy"] == "made"
    assert "Label" not in row
    assert to_json({"a": "<&>é"}) == '{"a":"<&>é"}'


def test_json_survives_names_that_are_not_utf8() -> None:
    assert json.loads(to_json({"name": "a\udcff"})) == {"name": "a�"}


def test_a_template_serves_many_rows() -> None:
    template = compile("{{$x := .ID}}{{$x}}")
    assert [template({"ID": name}) for name in "ab"] == ["a", "b"]
