"""Compose files as definitions: interpolation, merging, what is read beside them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.bake import files
from boxwright.bake.allow import PrivilegesWanted, check, parse
from boxwright.bake.compose.environment import parse_dotenv, substituted
from boxwright.bake.definition import Outside
from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge


def load(cwd: Path, *names: str, environ: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    found = files.read(names or ("compose.yaml",), cwd)
    config = files.parse(found, Outside(environ=environ or {}, builtin={}), cwd)
    return {one.name: one.to_json() for one in config.targets}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$A-${A}", "a-a"),
        ("$$A $", "$A $"),
        ("${NONE}", ""),
        ("${NONE:-d}${EMPTY:-e}${EMPTY-f}", "de"),
        ("${A:+x}${EMPTY:+y}${EMPTY+z}", "xz"),
        ("${NONE:-${A}-${NONE:-{b}}}", "a-{b}"),
    ],
)
def test_interpolation(template: str, expected: str) -> None:
    assert substituted(template, {"A": "a", "EMPTY": ""}) == expected


@pytest.mark.parametrize(
    "template", ["${", "${}", "${1}", "${A!}", "${NONE:?is needed}", "${NONE?}", "${X:-" * 50 + "}" * 50]
)
def test_interpolation_that_fails(template: str) -> None:
    with pytest.raises(DefinitionInvalid):
        substituted(template, {})


def test_what_variables_expand_to_is_counted(tmp_path: Path) -> None:
    with pytest.raises(DefinitionTooLarge):
        substituted("$A" * 10_000, {"A": "x" * 1_000_000})  # 10 GB, were they made first
    many = "".join(f"A{at}=$A\n" for at in range(100))
    with pytest.raises(DefinitionTooLarge):
        parse_dotenv(f"A={'x' * 1_000_000}\n{many}", {})
    (tmp_path / ".env").write_text(f"A={'x' * 1_000_000}")
    args = "".join(f"        A{at}: $A\n" for at in range(100))
    (tmp_path / "compose.yaml").write_text(
        f"services:\n  a:\n    build:\n      context: .\n      args:\n{args}"
    )
    with pytest.raises(DefinitionTooLarge):
        load(tmp_path)


def test_many_variables_cost_as_much_as_their_lines() -> None:
    assert len(parse_dotenv("".join(f"A{at}=$A{at - 1}x\n" for at in range(1, 1000)), {"A0": ""})) == 999
    assert len(parse_dotenv("".join(f"A{at}=1\n" for at in range(60_000)), {})) == 60_000


def test_dotenv() -> None:
    text = '# c\nexport A=1\nB = two # c\nC=\'$A\'\nD="x\\n$A"\nE: y\nINHERITED\nF="a\nb"\n'
    assert parse_dotenv(text, {"INHERITED": "i"}) == {
        "A": "1",
        "B": "two",
        "C": "$A",
        "D": "x\n1",
        "E": "y",
        "INHERITED": "i",
        "F": "a\nb",
    }
    for bad in ('A="x', "1 2=3", "A B"):
        with pytest.raises(DefinitionInvalid, match="line 1"):
            parse_dotenv(bad, {})


def test_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAG=from-dotenv\nTOKEN=t\n")
    (tmp_path / "service.env").write_text("ARG=from-file\n")
    (tmp_path / "base.yaml").write_text(
        "services:\n  base:\n    build:\n      context: ctx\n      args: [X=1, Y=1]\n"
    )
    (tmp_path / "compose.yaml").write_text(
        "services:\n  app:\n    extends: {file: base.yaml, service: base}\n    image: app:${TAG}\n"
        "    env_file: service.env\n    build:\n      args: {Y: 2, ARG: null, TOKEN: null, GONE: null}\n"
        "      secrets: [s]\nsecrets:\n  s: {file: ./secret}\n"
    )
    shown = load(tmp_path)["app"]
    assert shown["args"] == {"ARG": "from-file", "TOKEN": "t", "X": "1", "Y": "2"}
    assert (shown["context"], shown["tags"]) == ("ctx", ["app:from-dotenv"])
    assert shown["secret"] == [{"id": "s", "src": "secret"}]
    assert load(tmp_path, environ={"TAG": "mine"})["app"]["tags"] == ["app:mine"]


def test_later_files_change_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "services:\n  a:\n    build:\n      context: x\n      args: {A: 1}\n      tags: [one]\n      target: t\n"
    )
    (tmp_path / "b.yaml").write_text(
        "services:\n  a:\n    build:\n      args: [B=2]\n      tags: !override [two]\n      target: !reset null\n"
    )
    shown = load(tmp_path, "a.yaml", "b.yaml")["a"]
    assert (shown["args"], shown["tags"], "target" in shown) == ({"A": "1", "B": "2"}, ["two"], False)


def test_marks_of_merging_are_never_values(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "services:\n  a:\n    build:\n      context: .\n      args: {A: 1, B: 2, C: 3}\n      extra_hosts: {x: 1.1.1.1}\n"
        "      tags: [one]\n      labels: [l=1]\n"
    )
    (tmp_path / "b.yaml").write_text(
        "services:\n  a:\n    build:\n      args: {A: !reset null, B: !override 4}\n"
        "      extra_hosts: {x: !reset null, y: !override 2.2.2.2}\n"
        "      tags: [two, !reset null]\n      labels: [m=2, !reset null]\n"
    )
    shown = load(tmp_path, "a.yaml", "b.yaml")["a"]
    assert shown["args"] == {"B": "4", "C": "3"}
    assert (shown["extra-hosts"], shown["tags"]) == ({"y": "2.2.2.2"}, ["one", "two"])
    assert shown["labels"] == {"l": "1", "m": "2"}


def test_yaml_is_of_version_1_2(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a:\n    build:\n      context: .\n      args: {A: yes, B: 2020-01-02, C: 12:30:45, D: 0o17, E: 1.50, F: true, G: 1_000}\n"
    )
    assert load(tmp_path)["a"]["args"] == {
        "A": "yes",
        "B": "2020-01-02",
        "C": "12:30:45",
        "D": "15",
        "E": "1.5",
        "F": "true",
        "G": "1_000",
    }


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    "text",
    [
        "services: [",
        "services: 1",
        "[]",
        "services:\n  a: 1",
        "services:\n  a:\n    build: []",
        "services:\n  a:\n    build: {nothing: 1}",
        "services:\n  a:\n    build: {context: {}}",
        "services:\n  a:\n    build: {tags: x}",
        "services:\n  a:\n    build: {context: ., secrets: [none]}",
        "services:\n  a:\n    extends: a\n    build: .",
        "services:\n  a:\n    extends: {service: b}\n  b:\n    extends: {service: a}",
        "services:\n  a:\n    build: .\n    build: .",
        "services:\n  a:\n    build: ${X",
        "services:\n  'a/b':\n    build: .",
        "services: {a: {build: .}}\nx: !!python/object:os.system {}",
        "services: {a: {build: .}}\nx: !!timestamp y",
        "services: {a: {build: .}}\nx: !!bool y",
        "services: {a: {build: .}}\nx: !!int ''",
        "services:\n  a: &a\n    build: *a",
        "{" * 5000,
        "- " * 5000,
        BOMB + "services: {a: {build: .}}\n",
        "include: [compose.yaml]\nservices: {a: {build: .}}",
        "include: [[]]\nservices: {a: {build: .}}",
        "services: {a: {build: ., extends: [b]}}",
        "services: {a: {build: {context: ., secrets: [s]}}}\nsecrets: {s: file}",
    ],
    ids=range(26),
)
def test_what_is_no_compose_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    with pytest.raises(DefinitionInvalid):
        load(tmp_path)


def test_a_bomb_of_aliases_is_counted(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(BOMB)
    with pytest.raises(DefinitionTooLarge):
        load(tmp_path)


def test_files_elsewhere_are_told_of(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (tmp_path / "s.env").write_text("A=1")
    (work / "link.env").symlink_to("../s.env")
    (tmp_path / "base.yaml").write_text("services: {b: {build: .}}")
    (work / "sub/own.env").write_text("A=2")
    (work / "sub/more.yaml").write_text("services: {m: {env_file: own.env, build: {args: [A]}}}")
    (work / "compose.yaml").write_text(
        "include: [sub/more.yaml]\nservices:\n  a:\n    extends: {file: ../base.yaml, service: b}\n"
        "    env_file: [link.env]\n    build: {args: [A]}\n"
    )
    found = files.parse(files.read((), work), Outside(environ={}, builtin={}), work)
    assert {one.name: one.get("args") for one in found.targets} == {"a": {"A": "1"}, "m": {"A": "2"}}
    assert found.paths == {"../base.yaml", "link.env", "sub/more.yaml", "sub/own.env"}
    with pytest.raises(PrivilegesWanted) as wanted:
        check([], parse([]), work, paths=found.paths)
    assert wanted.value.flags == ("fs.read=../base.yaml", "fs.read=../s.env")
    check([], parse(["fs.read=.."]), work, paths=found.paths)


def test_what_bake_takes_nothing_of_is_told(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services: {a: {build: {context: ., privileged: true, isolation: hyperv, "
        "entitlements: [network.host], x-bake: {colour: red}}}}"
    )
    found = files.parse(files.read((), tmp_path), Outside(environ={}, builtin={}), tmp_path)
    keys = ("privileged", "isolation", "entitlements")
    assert [one.split(":")[0] for one in found.warnings] == [
        *(f"services.a.build.{key} is not for bake" for key in keys),
        'services.a.build.x-bake has no "colour"',
    ]
