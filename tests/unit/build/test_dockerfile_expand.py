"""Variables, quotes, escapes; which fields of which instruction they are looked for in."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.construct import parse_instruction
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.dockerfile.expand import Expansions, expand, process_words
from boxwright.build.dockerfile.substitute import expand_from, expand_instruction
from support import DATA, vectors

VECTORS: dict[str, Any] = vectors("variable-expansion.json")


def cases() -> list[Any]:
    found = []
    for section, table in VECTORS.items():
        if isinstance(table, list):
            for case in table:
                env = VECTORS["env_single_word"] if section == "single_word" else dict(case.get("env") or {})
                found.append(pytest.param(section == "words", case, env, id=f"{section}:{case['input']}"))
    return found


def test_all_are_here() -> None:
    assert len(cases()) == 308


@pytest.mark.parametrize(("split", "case", "env"), cases())
def test_expansion(split: bool, case: dict[str, Any], env: dict[str, str]) -> None:
    unset: set[str] = set()
    used: set[str] = set()
    if case.get("error"):
        with pytest.raises(DockerfileError) as caught:
            process_words(case["input"], env.get) if split else expand(case["input"], env.get)
        assert case.get("error_contains", "") in str(caught.value)
    elif split:
        assert process_words(case["input"], env.get) == case["words"]
    else:
        assert expand(case["input"], env.get, unset=unset, used=used) == case["expected"]
        assert sorted(unset) == case.get("undefined", sorted(unset))
        assert sorted(used) == case.get("used", sorted(used))


def raw_lines(name: str, width: int) -> list[Any]:
    """The upstream files as they are: `platform | input | expected`, without the lines for Windows alone."""
    found = []
    for line in (DATA / "vectors" / "buildkit-shell" / name).read_text().splitlines():
        text = line.partition("#")[0].strip() if line.startswith("#") else line
        parts = [part.strip() for part in text.split("|")] if text else []
        if len(parts) == width and parts[0] != "W":
            found.append(parts)
    return found


def test_upstream_env_file() -> None:
    env = VECTORS["env_single_word"]
    lines = [parts for parts in raw_lines("envVarTest", 3) if parts[0] in ("A", "U")]
    assert len(lines) > 200
    for _, text, expected in lines:
        if expected == "error":
            with pytest.raises(DockerfileError):
                expand(text, env.get)
        else:
            assert expand(text, env.get) == expected, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '"a',
            'failed to process "\\"a": unexpected end of statement while looking for matching double-quote',
        ),
        (
            "'a",
            'failed to process "\'a": unexpected end of statement while looking for matching single-quote',
        ),
        ("${a", "failed to process \"${a\": syntax error: missing '}'"),
        ("${}", 'failed to process "${}": syntax error: bad substitution'),
        ("${a:=b}", 'failed to process "${a:=b}": unsupported modifier (:=) in substitution'),
        ("${a=b}", 'failed to process "${a=b}": unsupported modifier (=) in substitution'),
        ("${a:#b}", 'failed to process "${a:#b}": unsupported modifier (:#) in substitution'),
        ("${a:?}", 'failed to process "${a:?}": a: is not allowed to be unset'),
        ("${e:?}", 'failed to process "${e:?}": e: is not allowed to be empty'),
        ("${a?gone}", 'failed to process "${a?gone}": a: gone'),
        (
            "${e#\\x}",
            "failed to process \"${e#\\\\x}\": invalid pattern (\\x) in substitution: invalid escape '\\x'",
        ),
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        expand(text, {"e": ""}.get)
    assert str(caught.value) == message


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DockerfileError, match="nested too deeply"):
        expand("${a:-" * 3000 + "}" * 3000, {}.get)


def test_patterns_of_many_stars_are_quick() -> None:
    assert expand("${a//*x*x*x*x*x*x*x*x*y/}", {"a": "x" * 3000}.get) == "x" * 3000


def expanded(text: str, escape: str = "\\", **env: str) -> Any:
    return expand_instruction(parse_instruction(text, escape=escape), env.get, escape)


def test_env_sees_the_values_from_before() -> None:
    assert [p.value for p in expanded("ENV abc=bye def=$abc", abc="hello").pairs] == ["bye", "hello"]


def test_old_form_of_env() -> None:
    pair = expanded("ENV ONE TWO= THREE=$x").pairs[0]
    assert (pair.key, pair.value, pair.legacy) == ("ONE", "TWO= THREE=", True)


def test_copy() -> None:
    found = expanded(
        "COPY --chown=$u --chmod=$m --exclude=$e $a/b 'c' $dest", u="1:2", m="755", a="x", dest="/y"
    )
    assert (found.sources, found.dest, found.chown, found.chmod) == (("x/b", "c"), "/y", "1:2", "755")
    assert found.excludes == ("$e",)


def test_copy_words_with_spaces_need_json() -> None:
    assert expanded('COPY ["a $x", "/b"]', x="y").sources == ("a y",)


def test_heredoc_bodies() -> None:
    found = expanded('COPY <<A <<"B" /x\n"$v" \\$v \\\\\nA\n$v\nB', v="1")
    assert [(c.path, c.data) for c in found.contents] == [("A", '"1" $v \\\n'), ("B", "$v\n")]


def test_heredoc_escape_is_always_the_backslash() -> None:
    found = expand_instruction(parse_instruction("COPY <<A /x\n\\$v `$v\nA", escape="`"), {"v": "1"}.get, "`")
    assert isinstance(found, ins.Copy)
    assert found.contents[0].data == "$v `1\n"


def test_copy_from_takes_no_variable() -> None:
    with pytest.raises(DockerfileError, match="variable expansion is not supported for --from"):
        expanded("COPY --from=$x a b", x="y")


def test_run_text_is_the_shells() -> None:
    found = expanded("RUN --mount=type=cache,target=$t echo $x", t="/c", x="1")
    assert found.args == ("echo $x",) and found.mounts[0].target == "/c"


def test_mount_is_checked_once_expanded() -> None:
    run = parse_instruction("RUN --mount=type=$t,target=/x true")
    with pytest.raises(
        DockerfileError, match='unsupported mount type "tmp" \\(did you mean tmpfs\\?\\)'
    ) as caught:
        expand_instruction(run, {"t": "tmp"}.get)
    assert caught.value.ranges == (SourceRange(1, 1),)


def test_expose_is_split_after_expansion() -> None:
    assert sorted(expanded("EXPOSE $p 1", p="80 443/udp").words) == ["1", "443/udp", "80"]


@pytest.mark.parametrize(
    "text",
    [
        "CMD echo $x",
        "ENTRYPOINT $x",
        'SHELL ["$x"]',
        "HEALTHCHECK CMD $x",
        "MAINTAINER $x",
        "ONBUILD RUN $x",
        "ARG a=$x",
    ],
)
def test_not_expanded(text: str) -> None:
    instruction = parse_instruction(text)
    assert expand_instruction(instruction, {"x": "1"}.get) is instruction


def test_unset_names_are_reported() -> None:
    unset: set[str] = set()
    expand_instruction(parse_instruction("COPY $a ${b:-x} /c"), {}.get, unset=unset)
    assert unset == {"a", "b"}


def test_from() -> None:
    found = parse_instruction("FROM --platform=$p ${i}:1 AS X")
    assert isinstance(found, ins.From)
    done = expand_from(found, {"p": "linux/arm64", "i": "alpine"}.get)
    assert (done.image, done.platform, done.stage) == ("alpine:1", "linux/arm64", "x")
    with pytest.raises(DockerfileError, match=r"empty platform value from expression \$p"):
        expand_from(found, {"i": "alpine"}.get)
    blank = parse_instruction("FROM $i")
    assert isinstance(blank, ins.From)
    with pytest.raises(DockerfileError, match=r"base name \(\$i\) should not be blank"):
        expand_from(blank, {}.get)


def test_what_variables_come_to_has_an_end() -> None:
    """Each twice the one before it: after thirty lines they would be larger than any memory."""
    expansions, values = Expansions(), {"a": "x" * 64}
    with pytest.raises(DockerfileError, match="come to more than 16 MiB"):
        for _ in range(30):
            values["a"] = expand("$a$a", expansions.of(values.get))
    assert len(values["a"]) == 8 << 20


def test_one_text_has_an_end_of_its_own() -> None:
    with pytest.raises(DockerfileError, match="come to more than 16 MiB"):
        expand("$a" * 100, {"a": "x" * (1 << 20)}.get)


@pytest.mark.parametrize("word", ["${a//x/$b}", "${a#$b}", "${a%%$b}", "${a/$b/y}"])
def test_a_pattern_has_an_end(word: str) -> None:
    values = {"a": "x" * 10_000, "b": "x" * 10_000}
    with pytest.raises(DockerfileError, match="too long"):
        expand(word, values.get)
