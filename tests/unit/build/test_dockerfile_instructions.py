"""Typed instructions: flags, mounts, forms, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.construct import parse_instruction, stages_of
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.dockerfile.heredoc import run_command
from boxwright.build.dockerfile.instructions import KeyValue, argv
from boxwright.build.dockerfile.parse import parse


def one(text: str) -> Any:
    return parse_instruction(text)


def refused(text: str) -> str:
    with pytest.raises(DockerfileError) as caught:
        parse_instruction(text)
    assert caught.value.ranges
    return caught.value.reason


def test_stages() -> None:
    args, stages = stages_of(
        parse(
            b"ARG v=1\nFROM --platform=linux/arm64 a:$v AS Build\nRUN x\nFROM build\nCOPY --from=build /a /b\n"
        )
    )
    assert [(a.key, a.default) for a in args[0].args] == [("v", "1")]
    assert [(s.index, s.name, s.from_.image, s.from_.platform, len(s.instructions)) for s in stages] == [
        (0, "build", "a:$v", "linux/arm64", 1),
        (1, "", "build", "", 1),
    ]
    assert stages[0].instructions[0].location == SourceRange(3, 3)
    assert stages[1].location == SourceRange(4, 4)


def test_original_text_and_comments() -> None:
    _, stages = stages_of(parse(b"FROM a\n# first\n# second\nRUN a \\\n  b\n"))
    run = stages[0].instructions[0]
    assert (run.original, run.comments, run.location) == ("RUN a   b", ("first", "second"), SourceRange(4, 5))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("COPY --link --link a b", "duplicate flag specified: --link"),
        ("COPY --chmod 777 a b", "missing a value on flag: --chmod"),
        ("COPY --link=x a b", "expecting boolean value for flag --link, not: x"),
        ("COPY --link= a b", "missing a value on flag: --link"),
        ("RUN --mont=type=bind x", "unknown flag: --mont (did you mean mount?)"),
        ("COPY <<A <<B\nA\nB", "COPY cannot accept a heredoc as a destination"),
        ("ENV =b", "ENV names can not be blank"),
        ("ARG =b", "ARG names can not be blank"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("HEALTHCHECK FOO x", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --interval=x CMD x", 'time: invalid duration "x"'),
        ("HEALTHCHECK --interval=1 CMD x", 'time: missing unit in duration "1"'),
        ("HEALTHCHECK --interval=1d CMD x", 'time: unknown unit "d" in duration "1d"'),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --retries=x CMD x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("LABEL a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        (
            "RUN --mount=type=bind,from=$x true",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
        ("RUN --mount=typ=bind true", "unexpected key 'typ' in 'typ=bind' (did you mean type?)"),
        ("RUN --mount=type=tmp true", 'unsupported mount type "tmp" (did you mean tmpfs?)'),
        ("RUN --mount=type=bind,z true", "invalid field 'z' must be a key=value pair"),
        ("RUN --mount=type=bind,mode=755,target=/x true", 'mode not allowed for "bind" type mounts'),
        ("RUN --mount=type=secret true", "invalid secret mount. one of source, target required"),
        ("RUN --mount=type=secret,id=a,source=b true", "both source and id can't be set"),
        ("RUN --mount=type=bind,sharing=locked,target=/x true", "invalid cache sharing set for bind mount"),
        (
            "RUN --mount=type=cache,sharing=shard,target=/x true",
            'unsupported sharing value "shard" (did you mean shared?)',
        ),
        (
            "RUN --mount=type=cache,required,target=/x true",
            "unexpected key 'required' for mount type 'cache'",
        ),
        ("RUN --mount=type=cache,size=1m,target=/x true", "unexpected key 'size' for mount type 'cache'"),
        ("RUN --mount=type=cache,mode=9,target=/x true", "invalid value 9 for mode"),
        ("RUN --mount=type=cache,uid=-1,target=/x true", "invalid value -1 for uid"),
        ("RUN --mount=type=cache,ro=perhaps,target=/x true", "invalid value for ro: perhaps"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    assert refused(text) == reason


@pytest.mark.parametrize(
    ("flag", "want"),
    [
        ("target=/x", {"type": "bind", "target": "/x", "readonly": True}),
        (
            "type=bind,source=/a,dst=/x,rw,from=s",
            {"source": "/a", "target": "/x", "readonly": False, "from_": "s"},
        ),
        ("type=cache,target=/c", {"readonly": False, "sharing": "shared", "mode": None}),
        (
            "type=cache,id=i,target=/c,sharing=locked,mode=0700,uid=1,gid=2,ro",
            {"id": "i", "sharing": "locked", "mode": 0o700, "uid": 1, "gid": 2, "readonly": True},
        ),
        ("type=tmpfs,destination=/t,size=64m", {"size": 64 << 20, "readonly": False}),
        ("type=secret,id=s,required", {"required": True, "secret_id": "s"}),
        ("type=secret,target=/a/b", {"secret_id": "b"}),
        ("type=secret,src=x,env=Y,required=false", {"secret_id": "x", "env": "Y", "required": False}),
        ("type=ssh", {"secret_id": "default"}),
        ('TYPE=cache,"target=/a,b"', {"type": "cache", "target": "/a,b"}),
    ],
)
def test_mounts(flag: str, want: dict[str, Any]) -> None:
    run = one(f"RUN --mount={flag} true" if '"' not in flag else "RUN --mount='" + flag + "' true")
    mount = run.mounts[0]
    assert {name: getattr(mount, name) for name in want} == want


def test_run_flags() -> None:
    run = one(
        "RUN --network=none --security=insecure --device=vendor.com/gpu=0,required --mount=type=ssh --mount=type=tmpfs,target=/t x y"
    )
    assert (run.network, run.security, len(run.mounts), run.args) == ("none", "insecure", 2, ("x y",))
    assert (run.devices[0].name, run.devices[0].required) == ("vendor.com/gpu=0", True)


@pytest.mark.parametrize(
    ("text", "want", "script"),
    [
        ("RUN echo hi", ("/bin/sh", "-c", "echo hi"), None),
        ('RUN ["a", "b c"]', ("a", "b c"), None),
        ("RUN", ("/bin/sh", "-c", ""), None),
        ("RUN <<E\na\nb\nE", ("/bin/sh", "-c", "a\nb\n"), None),
        ("RUN <<-E\n\ta\nE", ("/bin/sh", "-c", "a\n"), None),
        ("RUN <<E python3\nprint()\nE", ("/bin/sh", "-c", "<<E python3\nprint()\nE"), None),
        ("RUN cat <<A <<B\n1\nA\n2\nB", ("/bin/sh", "-c", "cat <<A <<B\n1\nA\n2\nB"), None),
        ("RUN <<-E\n\t#!/bin/sh\n\techo\nE", ("/bin/sh", "-c", "/dev/pipes/E"), "#!/bin/sh\necho\n"),
    ],
)
def test_run_command(text: str, want: tuple[str, ...], script: str | None) -> None:
    found, file = run_command(one(text))
    assert found == want
    assert (file.data if file else None) == script


def test_copy_and_add() -> None:
    copy = one("COPY --from=a --chown=1:2 --chmod=u+x --link --parents --exclude=*.a --exclude=b x y /z/")
    assert (copy.from_, copy.chown, copy.chmod, copy.link, copy.parents, copy.excludes) == (
        "a",
        "1:2",
        "u+x",
        True,
        True,
        ("*.a", "b"),
    )
    assert (copy.sources, copy.dest) == (("x", "y"), "/z/")
    add = one("ADD --checksum=sha256:1 --keep-git-dir --unpack=false --link=false http://x/y z")
    assert (add.checksum, add.keep_git_dir, add.unpack, add.link) == ("sha256:1", True, False, False)
    assert (one("ADD a b").unpack, one("ADD a b").keep_git_dir) == (None, None)


def test_heredoc_sources() -> None:
    copy = one("COPY a <<X <<'Y' /d\n1\nX\n2\nY")
    assert copy.sources == ("a",)
    assert [(c.path, c.data, c.expand) for c in copy.contents] == [("X", "1\n", True), ("Y", "2\n", False)]


def test_env_label_arg() -> None:
    assert one("ENV a=1 b='2 3'").pairs == (KeyValue("a", "1"), KeyValue("b", "'2 3'"))
    assert one("LABEL a b c").pairs == (KeyValue("a", "b c", True),)
    assert [(a.key, a.default) for a in one("ARG a b= c=d").args] == [("a", None), ("b", ""), ("c", "d")]


def test_commands() -> None:
    assert argv(one("CMD a b")) == ("/bin/sh", "-c", "a b")
    assert argv(one('ENTRYPOINT ["a"]')) == ("a",)
    assert argv(one("CMD []")) == ()
    assert argv(one("CMD ['a']"), ("/bin/bash", "-c")) == ("/bin/bash", "-c", "['a']")
    assert one('SHELL ["a", "b"]').args == ("a", "b")


def test_healthcheck() -> None:
    check = one("HEALTHCHECK --interval=5m --timeout=1.5s --start-period=0 --retries=3 CMD curl -f x")
    assert check.test == ("CMD-SHELL", "curl -f x")
    assert (check.interval, check.timeout, check.start_period, check.retries) == (
        300 * 10**9,
        1_500_000_000,
        0,
        3,
    )
    assert one('healthcheck cmd ["a"]').test == ("CMD", "a")
    assert one("HEALTHCHECK none").test == ("NONE",)


def test_onbuild_keeps_its_text() -> None:
    found = one("onbuild   COPY <<A /x\nb\nA")
    assert found.expression == "COPY <<A /x\nb\nA"
    inner = parse_instruction(found.expression, location=SourceRange(7, 9))
    assert isinstance(inner, ins.Copy)
    assert inner.location == SourceRange(7, 9) and inner.contents[0].data == "b\n"


def test_errors_of_triggers_are_those_of_the_instruction() -> None:
    assert refused("ONBUILD") == "ONBUILD requires at least one argument"
    assert (
        parse_instruction("ONBUILD NONSENSE x").original == "ONBUILD NONSENSE x"
    )  # noticed when it is triggered
