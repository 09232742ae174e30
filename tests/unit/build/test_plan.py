"""Planning: stages, scopes, the final config and its history, step names; what is refused and where."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.parse import parse
from boxwright.build.graph import walk
from boxwright.build.plan import Plan, Planner
from boxwright.build.planning import Base, PlanOptions
from boxwright.spec.config import ImageConfig
from boxwright.spec.platform import Platform
from support import vectors

AMD = Platform("linux", "amd64")


class Bases:
    """Images by name; remembers what was asked for."""

    def __init__(self, **configs: dict[str, Any]) -> None:
        self.configs = configs
        self.asked: list[tuple[str, str]] = []

    def image(self, name: str, platform: Platform) -> Base:
        self.asked.append((name, str(platform)))
        return Base(
            f"docker.io/library/{name}:latest",
            "sha256:" + "1" * 64,
            ImageConfig(platform=platform, config=self.configs.get(name, {})),
        )


def plan(text: str, bases: Bases | None = None, **options: Any) -> Plan:
    return Planner(parse(text.encode()), PlanOptions(**{"platform": AMD, **options}), bases or Bases()).plan()


def names(made: Plan) -> list[str]:
    return [v.name for v in walk(made.target) if not v.hidden]


def history(made: Plan) -> list[tuple[str, bool]]:
    return [(d.created_by, d.vertex is None) for d in made.drafts]


def run_env(made: Plan) -> dict[str, str]:
    op: Any = made.target.op
    return {**dict(op.env), **dict(op.build_args)}


@pytest.mark.parametrize(
    "fact",
    [f for f in vectors("history-and-small-facts.json")["history"] if f["created_by"]],
    ids=lambda f: f["line"],
)
def test_history_facts(fact: dict[str, Any]) -> None:
    before = "\n".join(fact.get("before", ()))
    made = plan(f"FROM a AS base\nFROM a\n{before}\n{fact['line']}\n")
    assert history(made)[-1] == (fact["created_by"], fact["empty_layer"])


def test_names_and_counts() -> None:
    text = "FROM a\nENV x=1\nWORKDIR /w\nCOPY . .\nRUN <<E\nfirst\nsecond\nE\nRUN make \\\n  all\nCMD x\n"
    assert names(plan(text)) == [
        "[1/5] FROM docker.io/library/a:latest@sha256:" + "1" * 64,
        "[2/5] WORKDIR /w",
        "[3/5] COPY . .",
        "[4/5] RUN <<E (first...)",
        "[5/5] RUN make   all",
    ]
    two = names(plan("FROM a AS build\nRUN x\nFROM scratch\nCOPY --from=build /x /\n"))
    assert two == [
        "[build 1/2] FROM docker.io/library/a:latest@sha256:" + "1" * 64,
        "[build 2/2] RUN x",
        "[stage-1 1/1] COPY --from=build /x /",
    ]
    assert names(plan("FROM scratch\n" + "COPY a b\n" * 10))[0] == "[ 1/10] COPY a b"
    assert names(plan("FROM scratch\nCOPY a b\n", show_platform=True)) == ["[linux/amd64 1/1] COPY a b"]


def test_names_have_the_values_of_variables() -> None:
    """As buildx 0.29 shows the same file, but for quotes and escapes, which stay."""
    text = """\
FROM a AS only
ARG V=dflt
ARG D=/d
ENV E="a b" LINES="x\ty" LONG=%s
WORKDIR $D/$V
WORKDIR /a\\$V
COPY o $V/${E}
ADD --chown=1:2 o $D/p
RUN echo $V "$E" '$E' $NOT ${V:-x} ${NOT:-y} \\$V
RUN ["echo","$V"]
RUN <<EOF
echo $V
EOF
RUN <<EOF cat > /x$V
$E
EOF
COPY <<EOF /h$V
hello $V
EOF
RUN echo $LINES $LONG ${V^^} $(( 1 + 2 )) $V
RUN --mount=type=secret,id=x,env=V echo $V $D
ARG https_proxy=http://u:p@there
RUN echo $https_proxy
""" % ("l" * 300)
    assert [name.partition("] ")[2] for name in names(plan(text))[1:]] == [
        "WORKDIR /d/dflt",
        "WORKDIR /a$V",
        "COPY o dflt/a b",
        "ADD --chown=1:2 o /d/p",
        "RUN echo dflt \"a b\" '$E' $NOT dflt ${NOT:-y} \\$V",
        'RUN ["echo","dflt"]',
        "RUN <<EOF (echo dflt)",
        "RUN <<EOF cat > /xdflt",
        "COPY <<EOF /hdflt",
        "RUN echo $LINES $LONG ${V^^} $(( 1 + 2 )) $V",
        "RUN --mount=type=secret,id=x,env=V echo $V /d",
        "RUN echo $https_proxy",
    ]
    assert names(plan(text))[1].startswith("[ 2/13] "), "one stage needs no name"


@pytest.mark.parametrize(
    ("args", "target", "shown"),
    [
        ("", "linux/arm64", "linux/amd64"),
        ("TARGETARCH", "linux/amd64", "linux/amd64"),
        ("TARGETARCH", "linux/arm64", "linux/amd64->arm64"),
        ("TARGETOS TARGETARCH TARGETVARIANT", "linux/arm/v6", "linux/amd64->arm/v6"),
        ("TARGETPLATFORM", "windows/amd64", "linux/amd64->windows/amd64"),
    ],
)
def test_names_tell_what_a_stage_compiles_for(args: str, target: str, shown: str) -> None:
    text = f"FROM --platform=linux/amd64 a AS build\nARG {args or 'x'}\nRUN x\nFROM scratch\nCOPY --from=build / /\n"
    made = plan(text, platform=Platform.parse(target), show_platform=True)
    assert names(made)[1] == f"[{shown} build 2/2] RUN x"


def test_only_what_the_target_needs() -> None:
    text = "FROM unused AS a\nFROM used AS b\nFROM also AS c\nFROM b\nCOPY --from=2 x y\n"
    bases = Bases()
    plan(text, bases)
    assert sorted(n for n, _ in bases.asked) == ["also", "used"]
    bases = Bases()
    plan(text, bases, target="B")
    assert [n for n, _ in bases.asked] == ["used"]


def test_args_and_env() -> None:
    text = (
        "ARG V=1\nARG W=$V-w\nFROM a\nARG V\nARG W\nARG X=def\nARG Y\nENV Z=$X\nARG Z=late\nENV Q=$Z\nRUN x\n"
    )
    assert run_env(plan(text)) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "V": "1",
        "W": "1-w",
        "X": "def",
        "Z": "late",
        "Q": "late",
    }
    made = plan(text, build_args={"V": "2", "X": "given", "UNKNOWN": "x"})
    assert {k: v for k, v in run_env(made).items() if k != "PATH"} == {
        "V": "2",
        "W": "2-w",
        "X": "given",
        "Z": "late",
        "Q": "late",
    }
    assert made.config["Env"][1:] == ["Z=given", "Q=late"]  # type: ignore[index]
    assert "RUN |5 V=2 W=2-w X=given Y= Z=late /bin/sh -c x # buildkit" in [c for c, _ in history(made)]
    assert "ENV" not in str(made.target.op.definition()["build_args"])


@pytest.mark.parametrize(
    ("from_", "target", "stage"),
    [
        ("a", "", "default"),
        ("a AS Last", "", "last"),
        ("a AS Last", "last", "last"),
        ("a AS Last", "LAST", "LAST"),
    ],
)
def test_the_name_of_the_target(from_: str, target: str, stage: str) -> None:
    """As it was typed, as BuildKit has it; without --target that of the last stage."""
    made = plan(f"FROM {from_}\nARG TARGETSTAGE\nRUN x\n", target=target)
    assert run_env(made)["TARGETSTAGE"] == stage


def test_platform_args() -> None:
    text = "FROM --platform=$BUILDPLATFORM a AS b\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT\nRUN x\n"
    bases = Bases()
    made = plan(text, bases, platform=Platform("linux", "arm", "v7"))
    assert {k: v for k, v in run_env(made).items() if k.startswith("T")} == {
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
    }
    assert bases.asked[0][1] != "linux/arm/v7" or Platform.parse("linux/arm/v7") == AMD


def test_config() -> None:
    base = {
        "Env": ["PATH=/p", "A=1"],
        "Cmd": ["old"],
        "Entrypoint": ["e"],
        "Labels": {"x": "1"},
        "User": "u",
        "WorkingDir": "/b",
        "OnBuild": ["ENV T=1"],
    }
    made = plan(
        "FROM a\nENV B=2 A=3\nLABEL y=2\nEXPOSE 80 53/udp\nVOLUME /v\nSTOPSIGNAL SIGQUIT\nHEALTHCHECK --interval=1s CMD true\nONBUILD RUN x\n"
        'SHELL ["/bin/bash","-c"]\nENTRYPOINT run me\nWORKDIR c\nMAINTAINER me\n',
        Bases(a=base),
        labels={"x": "9", "z": "3"},
    )
    assert made.author == "me"
    assert made.config == {
        "User": "u",
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
        "Env": ["PATH=/p", "A=3", "T=1", "B=2"],
        "Entrypoint": ["/bin/bash", "-c", "run me"],
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 1_000_000_000},
        "Volumes": {"/v": {}},
        "WorkingDir": "/b/c",
        "Labels": {"x": "9", "y": "2", "z": "3"},
        "StopSignal": "SIGQUIT",
        "OnBuild": ["RUN x"],
        "Shell": ["/bin/bash", "-c"],
    }
    assert list(made.config)[:3] == ["User", "ExposedPorts", "Env"]


@pytest.mark.parametrize(
    ("text", "cmd"),
    [
        ('CMD a\nENTRYPOINT ["e"]', ["/bin/sh", "-c", "a"]),
        ('ENTRYPOINT ["e"]', None),
        ('ENTRYPOINT ["e"]\nCMD ["b"]', ["b"]),
        ("CMD []", []),
        ("", ["old"]),
    ],
)
def test_cmd_and_entrypoint(text: str, cmd: list[str] | None) -> None:
    assert plan(f"FROM a\n{text}\n", Bases(a={"Cmd": ["old"]})).config.get("Cmd") == cmd


def test_onbuild_of_a_base_and_of_a_stage() -> None:
    made = plan(
        "FROM a AS one\nONBUILD COPY --from=tools /t /t\nFROM b AS tools\nFROM one\nRUN last\n",
        Bases(a={"OnBuild": ["RUN trigger"]}),
    )
    shown = names(made)
    assert [n.split("] ", 1)[1] for n in shown if "FROM" not in n] == [
        "ONBUILD RUN trigger",
        "ONBUILD COPY --from=tools /t /t",
        "RUN last",
    ]
    assert "OnBuild" not in made.config


def test_equal_stages_are_one() -> None:
    made = plan(
        "FROM a AS x\nRUN same\nFROM a AS y\nRUN same\nFROM scratch\nCOPY --from=x / /1\nCOPY --from=y / /2\n"
    )
    assert len([n for n in names(made) if "RUN same" in n]) == 1


def test_no_cache_for_a_stage() -> None:
    made = plan("FROM a AS x\nRUN 1\nFROM x AS y\nRUN 2\n", no_cache_stages=frozenset({"y"}))
    assert {v.text: v.fresh for v in walk(made.target) if v.text.startswith("RUN")} == {
        "RUN 1": False,
        "RUN 2": True,
    }


def test_all_that_a_run_can_see_is_in_its_key() -> None:
    """Every field of the operation and of its mounts, but for those that only say how it is done."""
    from boxwright.build.ops.exec import ExecMount, ExecOp, StepLimits

    other: dict[str, Any] = {
        "str": "other",
        "int": 7,
        "float": 1.5,
        "bool": False,
        "tuple": (("n", "1.2.3.4"),),
        "StepLimits": StepLimits(memory=7),
    }

    def changed(whole: Any, name: str) -> Any:
        value = getattr(whole, name)
        kind = "tuple" if name in ("script",) else "int" if value is None else type(value).__name__
        return replace(whole, **{name: (not value) if kind == "bool" else other[kind]})

    op = ExecOp(argv=("x",))
    for one in fields(ExecOp):
        if one.name != "mounts":
            assert changed(op, one.name).definition() != op.definition(), one.name
    for one in fields(StepLimits):
        assert changed(StepLimits(), one.name).definition() != {}, one.name
    unseen = {
        "bind": {"id", "sharing", "mode", "uid", "gid", "size", "env", "required", "file", "by_content"},
        "tmpfs": {
            "source",
            "input",
            "id",
            "sharing",
            "mode",
            "uid",
            "gid",
            "env",
            "required",
            "file",
            "by_content",
        },
        "cache": {"sharing", "size", "env", "required", "file", "by_content"},
        "secret": {"source", "input", "sharing", "size", "file", "by_content"},
        "ssh": {"source", "input", "sharing", "size", "env", "file", "by_content"},
    }
    for kind, names in unseen.items():
        mount = ExecMount(type=kind, target="/m", input=1)  # type: ignore[arg-type]
        for one in fields(ExecMount):
            if one.name not in (*names, "type"):
                assert changed(mount, one.name).definition() != mount.definition(), (kind, one.name)


def test_options_of_the_build_are_in_the_key_of_a_run() -> None:
    from boxwright.build.ops.exec import StepLimits

    def identity(flag: str = "", **options: Any) -> str:
        return plan(f"FROM a\nRUN {flag} x\n", **options).target.id

    seen = [
        {"hosts": (("h", "1.2.3.4"),)},
        {"hosts": (("h", "1.2.3.5"),)},
        {"ulimits": ("nofile=5",)},
        {"shm_size": 1 << 20},
        {"limits": StepLimits(memory=1 << 30)},
        {"limits": StepLimits(nano_cpus=5)},
        {"build_args": {"BUILDKIT_CACHE_MOUNT_NS": "mine"}},
        {"hostname": "h"},
        {"network": "none"},
        {"epoch": 5},
    ]
    flags = [
        f"--mount=type=cache,target=/c{more}" for more in ("", ",id=b", ",uid=5", ",gid=5", ",mode=0700")
    ]
    made = [identity(), *(identity(**options) for options in seen), *map(identity, flags)]
    assert len(set(made)) == 1 + len(seen) + len(flags)
    assert identity(flags[0] + ",sharing=locked") == identity(flags[0])


@pytest.mark.parametrize(
    "flags, expected",
    [
        ("--mount=type=tmpfs", [("/w/k", "")]),
        ("--mount=type=cache", [("/w/k", ".")]),
        ("--mount=type=cache,target=c/", [("/w/k/c", "c")]),
        ("--mount=type=cache,target=../c", [("/w/c", "../c")]),
        ("--mount=type=cache,target=//c/./d/", [("/c/d", "/c/d")]),
        ("--mount=type=cache,target=c,id=i", [("/w/k/c", "i")]),
        ("--mount=type=secret,id=s", [("/run/secrets/s", "s")]),
        (
            "--mount=type=ssh --mount=type=ssh --mount=type=ssh,target=a",
            [
                ("/run/buildkit/ssh_agent.0", "default"),
                ("/run/buildkit/ssh_agent.1", "default"),
                ("/w/k/a", "default"),
            ],
        ),
    ],
)
def test_where_mounts_are(flags: str, expected: list[tuple[str, str]]) -> None:
    """Without a target a mount is at the working directory; the name of a cache is its target as it was written."""
    from boxwright.build.ops.exec import ExecOp

    op = plan(f"FROM a\nWORKDIR /w/k\nRUN {flags} x\n").target.op
    assert isinstance(op, ExecOp)
    assert [(m.target, m.id if m.type != "tmpfs" else "") for m in op.mounts] == expected


FAILURES = [
    ("FROM a\nRUN --mount=type=tmpfs x\n", {}, 'invalid mount target "/"', [2]),
    ("FROM a\nWORKDIR /w\nRUN --mount=type=cache,target=.. x\n", {}, 'invalid mount target "/"', [3]),
    ("FROM a\nFROM b AS t\n", {"target": "tt"}, 'target stage "tt" could not be found (did you mean t?)', []),
    ("FROM a AS x\nCOPY --from=x a b\n", {}, "circular dependency detected on stage: x", [1, 2]),
    (
        "FROM a AS x\nCOPY --from=y a b\nFROM a AS y\n",
        {"target": "x"},
        'cannot copy from stage "y", it needs to be defined before current stage "x"',
        [2],
    ),
    ("FROM a\nCOPY --from=5 a b\n", {}, "invalid stage index 5", [2]),
    ("FROM a\nCOPY --from=" + "9" * 5000 + " a b\n", {}, "invalid stage index 999", [2]),
    ("ARG E\nFROM $E\n", {}, "base name ($E) should not be blank", [2]),
    ("FROM --platform=$X a\n", {}, "empty platform value from expression $X", [1]),
    ("FROM a\nCOPY --from=$x a b\n", {}, "variable expansion is not supported for --from", [2]),
    ("FROM a\nSTOPSIGNAL NO\n", {}, "invalid signal: NO", [2]),
    ("FROM a\nENV a=${x:?is-needed}\n", {}, "x: is-needed", [2]),
    (
        "FROM a\nRUN --security=insecure x\n",
        {},
        "security.insecure is not allowed",
        [2],
    ),
    ("FROM a\nRUN --network=host x\n", {"network": "none"}, "network.host is not allowed", [2]),
    (
        "FROM a\nRUN --network=host x\n",
        {"entitlements": frozenset({"security.insecure"})},
        "network.host is not allowed",
        [2],
    ),
    ("FROM a\nRUN --mount=type=tmpfs,target=/ x\n", {}, 'invalid mount target "/"', [2]),
    ("FROM a\nADD --checksum=sha256:" + "0" * 64 + " x y\n", {}, "checksum can only be used", [2]),
]


@pytest.mark.parametrize(("text", "options", "message", "lines"), FAILURES, ids=[f[2][:40] for f in FAILURES])
def test_failures(text: str, options: dict[str, Any], message: str, lines: list[int]) -> None:
    with pytest.raises(DockerfileError) as caught:
        plan(text, **options)
    assert message in str(caught.value)
    assert [r.start for r in caught.value.ranges] == lines


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("https://example.com/x", "URL"),
        ("https://example.com/x.git#v1", "git ref"),
        ("git@example.com:x.git", "git ref"),
    ],
)
def test_only_add_fetches(source: str, what: str) -> None:
    with pytest.raises(DockerfileError, match=f"source can't be a {what} for COPY"):
        plan(f"FROM scratch\nCOPY {source} /x\n")


@pytest.mark.parametrize(
    "text",
    [
        "ARG a0=xxxxxxxx\n{ARG}FROM scratch\n",
        "FROM scratch\nENV a0=xxxxxxxx\n{ENV}",
        "FROM scratch AS a\nENV a0=xxxxxxxx\n{ENV}FROM a\nLABEL l=$a40\n",
        "FROM scratch\nARG a0=xxxxxxxx\n{ARG}",
    ],
)
def test_a_short_file_does_not_come_to_much(text: str) -> None:
    lines = {f"{{{k}}}": "".join(f"{k} a{n + 1}=$a{n}$a{n}\n" for n in range(40)) for k in ("ARG", "ENV")}
    for key, value in lines.items():
        text = text.replace(key, value)
    with pytest.raises(DockerfileError, match="come to more than 16 MiB"):
        plan(text)


def test_a_stage_does_not_change_what_it_is_built_on() -> None:
    text = "FROM scratch AS a\nLABEL a=1\nVOLUME /a\nEXPOSE 1\nONBUILD USER x\n"
    alone = plan(text).config
    both = plan(f"{text}FROM a AS b\nLABEL b=2\nVOLUME /b\nEXPOSE 2\nFROM a\n").config
    assert {**both, "User": None, "OnBuild": None} == {**alone, "User": None, "OnBuild": None}
    upper = plan(f"{text}FROM a\nLABEL b=2\nVOLUME /b\nEXPOSE 2\n").config
    assert upper["Labels"] == {"a": "1", "b": "2"} and list(upper["Volumes"]) == ["/a", "/b"]
    assert list(upper["ExposedPorts"]) == ["1/tcp", "2/tcp"]
