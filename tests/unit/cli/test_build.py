"""The build command: what goes where, exit codes, progress in all its forms. Scratch builds, no privilege."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.build.progress import (
    BuildWarning,
    StepCached,
    StepDone,
    StepFailure,
    StepLog,
    StepMissed,
    StepStarted,
    StepStatus,
)
from boxwright.cli.context import Context
from boxwright.cli.main import main
from boxwright.cli.progress import build as progress_build
from support.web import Reply, answering

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("BUILDKIT_PROGRESS", raising=False)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/f").write_text("x")
    (tmp_path / "c/Dockerfile").write_text("FROM scratch\nCOPY f /\nENV a=b\n")

    def call(*words: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["build", *words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_plain(run: Run) -> None:
    code, out, err = run("-t", "app", "-t", "app:2", "c")
    assert code == 0 and out == ""
    text = re.sub(r"sha256:[0-9a-f]{64}", "ID", re.sub(r"\d+\.\ds", "0.0s", err))
    assert text == (
        "#1 [internal] load build definition from Dockerfile\n#1 transferring dockerfile: 30B done\n#1 DONE 0.0s\n\n"
        "#3 [internal] load build context\n#3 transferring context: 1B done\n#3 DONE 0.0s\n\n"
        "#2 [1/1] COPY f /\n#2 DONE 0.0s\n\n"
        "#4 exporting to image\n#4 exporting layers\n#4 exporting layers done\n#4 exporting manifest ID done\n"
        "#4 writing image ID done\n"
        "#4 naming to docker.io/library/app:latest done\n#4 naming to docker.io/library/app:2 done\n#4 DONE 0.0s\n\n"
    )
    _, _, again = run("-t", "app", "c")
    assert "[1/1] COPY f /\n" in again and "CACHED\n" in again


def test_quiet_files_and_explain(run: Run, tmp_path: Path) -> None:
    code, out, err = run("-q", "--iidfile", "id", "--metadata-file", "meta", "-t", "app", "c")
    assert code == 0 and err == "" and re.fullmatch(r"sha256:[0-9a-f]{64}\n", out)
    assert (tmp_path / "id").read_text() == out.strip()
    meta = json.loads((tmp_path / "meta").read_text())
    assert (
        meta["containerimage.config.digest"] == out.strip()
        and meta["image.name"] == "docker.io/library/app:latest"
    )
    (tmp_path / "c/Shell").write_text("FROM scratch\nCMD shell\n")
    for quiet in ("-q", "--progress=quiet"):
        _, told, err = run(quiet, "-f", "c/Shell", "c")
        assert err == "" and re.fullmatch(r"sha256:[0-9a-f]{64}\n", told)
    assert run("--progress=none", "-f", "c/Shell", "c")[1:] == ("", "")
    assert "progress=plain and quiet cannot be used together" in run("-q", "--progress=plain", "c")[2]
    assert "JSONArgsRecommended" in run("-f", "c/Shell", "c")[2]
    (tmp_path / "c/f").write_text("changed")
    assert "runs because: f modified" in run("--explain", "c")[2]


@pytest.mark.parametrize("output", ["-", "type=tar", "type=oci", "type=docker,dest=-"])
def test_an_archive_on_standard_output_has_nothing_behind_it(run: Run, output: str) -> None:
    code, packed, _ = run("-q", "-o", output, "c")
    assert code == 0 and packed.endswith("\0" * 512)


def test_empty_words_of_repeated_options_are_none(run: Run) -> None:
    """A variable of a script that is empty, as buildx takes it; where a value is needed the word is refused."""
    options = "--build-context --output --cache-from --cache-to --no-cache-filter --secret --ssh --network --add-host"
    empty = [
        f"{name}=" for name in [*options.split(), "--allow", "--annotation", "--target", "--file", "--call"]
    ]
    code, plain, _ = run("-q", "c")
    assert (code, plain) == run("-q", *empty, "c")[:2] and code == 0
    for name in ("--tag", "--build-arg", "--label", "--platform", "--attest", "--ulimit"):
        assert run("-q", f"{name}=", "c")[0] == 1, name


def test_standard_input(run: Run, tmp_path: Path) -> None:
    import tarfile

    assert run("-q", "-", stdin=b"FROM scratch\nENV x=1\n")[0] == 0
    assert "no context to copy from" in run("-q", "-", stdin=b"FROM scratch\nCOPY a b\n")[2]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(tmp_path / "c", ".")
    from_tar, from_directory = run("-q", "-", stdin=packed.getvalue()), run("-q", "c")
    assert from_tar == from_directory
    assert run("-q", "-f", "-", "c", stdin=b"FROM scratch\nCOPY f /g\n")[0] == 0
    assert "can't use stdin for both" in run("-f", "-", "-", stdin=b"")[2]


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        (
            "FROM scratch\nFNTRYPOINT x\n",
            1,
            "Dockerfile:2\n--------------------\n   1 |     FROM scratch\n   2 | >>> FNTRYPOINT x\n   3 |     \n--------------------\n"
            "ERROR: failed to solve: dockerfile parse error on line 2: unknown instruction: FNTRYPOINT (did you mean ENTRYPOINT?)\n",
        ),
        ("", 1, "ERROR: failed to solve: the Dockerfile cannot be empty\n"),
        (
            "FROM scratch\nCOPY missing /\n",
            1,
            "   2 | >>> COPY missing /\n   3 |     \n--------------------\nERROR: failed to solve: ",
        ),
        (
            "FROM scratch AS x\nCOPY --from=x a b\n",
            1,
            "ERROR: failed to solve: circular dependency detected on stage: x\n",
        ),
    ],
)
def test_dockerfile_errors(run: Run, tmp_path: Path, text: str, code: int, error: str) -> None:
    (tmp_path / "c/Dockerfile").write_text(text)
    got, out, err = run("c")
    assert got == code and out == "" and error in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "unable to prepare context: path 'nowhere' not found"),
        (["-f", "missing", "c"], "failed to read dockerfile: open missing: no such file or directory"),
        (["-t", "BAD", "c"], "must be lowercase"),
        (["--network", "mine", "c"], 'network mode "mine" not supported by buildkit'),
        (["--secret", "id=x,src=missing", "c"], "missing does not exist"),
        (["--platform", "x/y/z/w", "c"], "invalid platform"),
        (["--platform", "linux/amd64,,linux/arm64", "c"], "invalid platform ''"),
        (["--progress", "loud", "c"], "invalid progress mode"),
        (["--target", "no", "c"], 'target stage "no" could not be found'),
        (["--jobs", "-1", "c"], "--jobs must not be negative"),
        (["-o", "type=weird", "c"], "unknown output type"),
        (["--trust-host-ca=maybe", "c"], "it must be auto, always or never"),
        (["http://127.0.0.1:1/context.tar"], "cannot reach 127.0.0.1:1: connection refused"),
        (["http://127.0.0.1:1/x.git"], "git failed with exit code 128"),
        (["https://example.com/x.git?depth=1"], 'unexpected query "depth"'),
        (["--build-arg", "SOURCE_DATE_EPOCH=x", "c"], "invalid SOURCE_DATE_EPOCH: x"),
        (["--build-context", "x=nowhere", "c"], "is not a directory"),
    ],
)
def test_bad_arguments(run: Run, words: list[str], message: str) -> None:
    code, out, err = run(*words)
    assert code == 1 and out == "" and message in err and "Traceback" not in err


WARNING = """
 1 warning found:
 - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)
The 'as' keyword should match the case of the 'from' keyword
More info: https://docs.docker.com/go/dockerfile/rule/from-as-casing/
Dockerfile:1
--------------------
   1 | >>> FROM scratch as x
   2 |     COPY f /
   3 |     \n\
--------------------

"""


@pytest.mark.parametrize("words", [[], ["--progress=plain"], ["-D"]])
def test_warnings_are_told_whole(run: Run, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "c/Dockerfile").write_text("FROM scratch as x\nCOPY f /\n")
    code, _, err = run(*words, "c")
    assert code == 0 and err.endswith(WARNING)


def test_warnings_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c/Dockerfile").write_text("FROM scratch as x\nCOPY f /\n")
    _, _, err = run("--progress=rawjson", "c")
    (warning,) = json.loads(err.splitlines()[-1])["warnings"]
    step = next(v for line in err.splitlines() for v in json.loads(line).get("vertexes", ()))
    assert warning["vertex"] == step["digest"]
    assert base64.b64decode(warning["short"]).decode() in WARNING
    assert [base64.b64decode(text).decode() for text in warning["detail"]] == [WARNING.splitlines()[3]]
    assert base64.b64decode(warning["sourceInfo"]["data"]) == b"FROM scratch as x\nCOPY f /\n"
    assert warning["range"] == [{"start": {"line": 1}, "end": {"line": 1}}]
    assert warning["url"] in WARNING and warning["sourceInfo"]["filename"] == "Dockerfile"


CALLED = """# tool says what it is
FROM scratch AS tool
# VERSION of it
ARG VERSION=1
RUN --mount=type=secret,id=key,required=true --mount=type=ssh true

FROM tool as last
COPY $nope /
"""


def test_check(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c/Dockerfile").write_text(CALLED)
    code, out, _ = run("--check", "c")
    assert code == 1
    head, *found = out.split("\nWARNING: ")
    assert head == "Check complete, 2 warnings have been found!\n"
    assert found[0].startswith("FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/\n")
    assert "\nc/Dockerfile:7\n--------------------\n" in found[0]
    assert "\nUsage of undefined variable '$nope'\n" in found[1]
    assert "UndefinedVar" not in run("--check", "--target=tool", "c")[1]
    assert run("--call=check,ignorestatus", "c")[0] == 0
    skipped = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all"
    assert run("--check", skipped, "c")[:2] == (0, "Check complete, no warnings found.\n")
    code, out, _ = run("--call", "check,format=json", "c")
    answer = json.loads(out)
    assert code == 1 and [w["ruleName"] for w in answer["warnings"]] == ["FromAsCasing", "UndefinedVar"]
    assert answer["warnings"][1]["location"] == {"ranges": [{"start": {"line": 8}, "end": {"line": 8}}]}
    assert base64.b64decode(answer["sources"][0]["data"]).decode() == CALLED and "buildError" not in answer


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("FROM scratch as x\nBADCMD\n", "dockerfile parse error on line 2: unknown instruction: BADCMD"),
        ("FROM scratch as x\nCOPY <<A /\n", "unterminated heredoc"),
        ("FROM scratch\nCOPY --from=2 / /\n", "invalid stage index 2"),
        ("FROM scratch\nCOPY --chmod=abc / /\n", "invalid chmod parameter: 'abc'. invalid syntax"),
        ("# check=error=true\nFROM scratch as x\n", "lint violation found for rules: FromAsCasing"),
    ],
)
def test_a_check_says_what_would_end_the_build(run: Run, tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "c/Dockerfile").write_text(text)
    code, out, err = run("--check", "c")
    assert code == 1 and f"\nERROR: {error}" in err and "no warnings found" not in out
    code, out, _ = run("--call=check,format=json", "c")
    assert code == 1 and json.loads(out)["buildError"]["message"].startswith(error)


def test_a_dockerfile_from_a_url_is_not_shown_as_the_contexts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c/Dockerfile").write_text("FROM scratch\n")
    with answering(lambda asked: Reply(b"FROM scratch as x\n")) as site:
        code, out, _ = run("--check", "-f", f"{site.url}/Dockerfile", "c")
    assert code == 1 and "\nDockerfile:1\n--------------------\n" in out and "c/Dockerfile" not in out


def test_outline_and_targets(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c/Dockerfile").write_text(CALLED)
    assert run("--call=outline", "--target=tool", "--build-arg=VERSION=2", "c")[:2] == (
        0,
        "TARGET:      tool\nDESCRIPTION: says what it is\n\n"
        "BUILD ARG   VALUE   DESCRIPTION\nVERSION     2       of it\n\n"
        "SECRET   REQUIRED\nkey      true\n\nSSH       REQUIRED\ndefault   \n\n",
    )
    assert run("--call=targets", "c")[:2] == (
        0,
        "TARGET         DESCRIPTION\ntool           says what it is\nlast (default) \n",
    )
    answer = json.loads(run("--call=outline,format=json", "c")[1])
    assert answer["secrets"] == [
        {
            "name": "key",
            "required": True,
            "location": {"ranges": [{"start": {"line": 5}, "end": {"line": 5}}]},
        }
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--call=convertllb", "c"], "unsupported request frontend.convertllb"),
        (["--call=x", "c"], "unsupported request frontend.x"),
        (["--call=check,format=xml", "c"], "--call has no format 'xml'"),
        (["--call=outline", "--target=x", "c"], 'target stage "x" could not be found'),
    ],
)
def test_calls_that_are_not_answered(run: Run, words: list[str], message: str) -> None:
    code, out, err = run(*words)
    assert code == 1 and out == "" and message in err


class Screen(Context):
    """A context whose lines are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def relay(self, text: str) -> None:
        self.lines.append(text)


def test_lines_of_parallel_steps_do_not_mix() -> None:
    ctx = Screen()
    view = progress_build.Plain(ctx)
    for event in (
        StepStarted("a", "A"),
        StepStarted("b", "B"),
        StepLog("a", 1, b"one\ntw", 0.1),
        StepLog("b", 2, b"other\r\n", 0.2),
        StepLog("a", 1, b"o\n", 0.3),
        StepMissed("b", "because"),
        StepDone("a", 1.25),
        StepStatus("b", "x", 1270, 5000),
        StepLog("b", 1, b"unfinished", 0.4),
        StepFailure("b", "went wrong"),
        StepStarted("c", "C"),
        StepFailure("c", "no", True),
        StepStarted("d", "D"),
        StepCached("d"),
        BuildWarning(rule="Rule", message="text", line=3),
    ):
        view(event)
    assert ctx.lines == [
        "#1 A",
        "#1 0.100 one",
        "#1 ...\n",
        "#2 B",
        "#2 0.200 other",
        "#2 ...\n",
        "#1 A",
        "#1 0.100 two",
        "#1 ...\n",
        "#2 B",
        "#2 runs because: because",
        "#2 ...\n",
        "#1 A",
        "#1 DONE 1.2s",
        "",
        "#2 B",
        "#2 x: 1.27kB / 5.00kB",
        "#2 0.400 unfinished",
        "#2 ERROR: went wrong",
        "",
        "#3 C",
        "#3 CANCELED",
        "",
        "#4 D",
        "#4 CACHED",
        "",
    ]
    ctx.lines.clear()
    view.tell_warnings()
    assert ctx.lines == ["\n 1 warning found:", " - Rule: text (line 3)", ""]


def test_rawjson(run: Run) -> None:
    code, _, err = run("--progress", "rawjson", "c")
    lines = [json.loads(line) for line in err.splitlines()]
    names = {v["name"] for line in lines for v in line.get("vertexes", ())}
    assert code == 0 and {"[1/1] COPY f /", "exporting to image"} <= names
    assert all(
        re.fullmatch(r"sha256:[0-9a-f]{64}", v["digest"]) for line in lines for v in line.get("vertexes", ())
    )
    assert any(
        s["id"] == "transferring context" and s["completed"]
        for line in lines
        for s in line.get("statuses", ())
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[1;32mgreen\x1b[0m text\r", "green text"),
        ("10%\r20%\r100%", "100%"),
        ("a\tb", "a       b"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1b(Bx\x1bMy\x07", "xy"),
        ("\x1b[2J\x1b[H\x9bx", "x"),
        ("ünï", "ünï"),
        ("\x1b", ""),
    ],
)
def test_what_a_step_says_to_its_terminal_stays_there(said: str, shown: str) -> None:
    from boxwright.cli.progress.terminal import _readable

    assert _readable(said) == shown


def test_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "stderr_is_tty", True)
    code, out, err = run("--progress", "tty", "-t", "app", "c")
    assert code == 0 and out == ""
    last = re.split(r"\x1b\[\d+A", err)[-1]
    assert "[+] Building" in last and "FINISHED" in last and " => [1/1] COPY f /" in last
    told = re.sub(r"\x1b\[2K|\r", "", last).splitlines()[-2:]
    assert re.match(r" => => writing image sha256:[0-9a-f]{12}", told[0])
    assert told[1] == " => => naming to docker.io/library/app:latest done"


def test_a_terminals_view_needs_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("--progress=tty", "c")
    assert code != 0 and "--progress=tty needs a terminal" in err and "\x1b" not in err
    monkeypatch.setenv("BUILDKIT_PROGRESS", "tty")  # a preference, for where it can be had
    code, _, err = run("c")
    assert code == 0 and "\x1b" not in err and "#2 [1/1] COPY f /" in err


def test_source_policies_are_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for option in ("--policy=filename=x", "--source-policy-file=x"):
        code, _, err = run(option, "c")
        assert code != 0 and "source policies are not evaluated here" in err
    (tmp_path / "c/Dockerfile.rego").write_text("package docker\n")
    code, _, err = run("c")
    assert code == 0 and "Dockerfile.rego is not evaluated" in err
    monkeypatch.setenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "x")
    code, _, err = run("c")
    assert code == 1 and "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY" in err


def test_options_of_other_builders(run: Run, tmp_path: Path) -> None:
    """They work, or say what to write instead."""
    (tmp_path / "c/Dockerfile").write_text("FROM scratch\nARG A B\nLABEL a=$A b=$B\n")
    (tmp_path / "arguments").write_text("# a comment\nA=1\n\nB=2\n")
    words = [f"--build-arg-file={tmp_path}/arguments", "--build-arg=B=3", "--format=docker", "--retry=3"]
    code, _, err = run(*words, "--layers", "--isolation=oci", f"--metadata-file={tmp_path}/m", "c")
    assert code == 0, err
    assert "--retry is not supported and is ignored" in err
    told = json.loads((tmp_path / "m").read_text())
    assert told["containerimage.descriptor"]["mediaType"].startswith("application/vnd.docker.")
    for option, said in (
        ("--volume=/a:/b", "--build-context NAME=DIRECTORY"),
        ("-v=/a:/b", "--build-context NAME=DIRECTORY"),
        ("--arch=arm64", "--platform=linux/ARCH"),
        ("--variant=v7", "--platform=linux/ARCH/VARIANT"),
        ("--os=linux", "--platform=OS/ARCH"),
        ("--label-file=x", "--label NAME=VALUE"),
        ("--iidfile-raw=x", "--iidfile"),
        ("--disable-compression", "compression=uncompressed"),
        ("--decryption-key=x", "encrypted layers"),
        ("--env=A=1", "write ENV in the Dockerfile"),
        ("--device=/dev/fuse", "RUN --device="),
        ("--from=x", "docker-image://IMAGE replaces"),
        ("--stdin", "RUN steps have no input"),
        ("--logfile=x", "--progress=plain 2> FILE"),
        ("--cache-ttl=1h", "builder prune"),
        ("--save-stages", "--target STAGE --tag NAME"),
        ("--manifest=x", "--platform with several"),
        ("--cpp-flag=-DX", "cpp -P"),
        ("--dns=1.1.1.1", "--add-host"),
        ("--userns-uid-map=0:1:2", "--userns=auto"),
        ("--layers=false", "--squash makes one layer"),
        ("--format=v2s1", "oci or docker"),
        ("--resource=gpu=1", "memory-swap"),
        ("--resource=cpu-quota=x", "a whole number"),
        ("--resource=cpu-quota=" + "9" * 5000, "a whole number"),
        ("--timestamp=" + "9" * 5000, "until the year 9999"),
        ("--cpus=nan", "invalid number of CPUs: nan"),
        ("--cpus=inf", "invalid number of CPUs: inf"),
        ("--cpuset-cpus=0,9999", "Requested CPUs are not available - requested 0,9999, available: 0"),
        ("--cpuset-mems=9999", "--cpuset-mems wants some of these"),
        ("--resource=cpuset-cpus=0-x", "Invalid value 0-x for cpuset cpus"),
        ("--cpu-period=1", "CPU cfs period can not be less than 1ms"),
        ("--cpu-quota=1", "--cpu-quota is in microseconds"),
        ("--cpu-shares=-1", "invalid CPU shares (-1)"),
        ("--cpu-shares=1", "the minimum allowed cpu-shares is 2"),
        ("--resource=cpu-shares=300000", "the maximum allowed cpu-shares is 262144"),
        ("--cpus=0.001", "--cpus 0.001 is less than 0.01"),
        ("--ulimit=nonsense=1", "invalid ulimit type: nonsense"),
        ("--ulimit=nofile=9:8", "nofile 9 > 8"),
        ("--ulimit=nofile", "invalid ulimit argument: nofile"),
        ("--build-context=x", "invalid build context 'x', expected key=value"),
        ("--build-arg-file=/no/such", "cannot read /no/such"),
    ):
        code, _, err = run(option, "c")
        assert code != 0 and said in err, (option, err)


def test_a_filter_that_meets_no_stage_is_told(run: Run, tmp_path: Path) -> None:
    """The cache that was to be passed over is used: a word for it."""
    (tmp_path / "c/Dockerfile").write_text("FROM scratch AS First\nCOPY f /\nFROM first\nCOPY f /g\n")
    code, _, err = run("--no-cache-filter=FIRST,1", "c")
    assert code == 0 and "no stage" not in err
    code, _, err = run("--no-cache-filter=frist,9", "c")
    assert code == 0
    assert 'no stage is called "frist", whose cache was to be passed over (did you mean first?)' in err
    assert 'no stage is called "9", whose cache was to be passed over\n' in err


def test_a_platform_that_is_named_twice_is_told(run: Run) -> None:
    """In BuildKit's words."""
    code, _, err = run("--platform", "linux/arm64,linux/aarch64,linux/amd64", "c")
    assert code == 0 and err.count('Duplicate platform result requested "linux/arm64"') == 1
    assert "Duplicate" not in run("--platform", "linux/arm64,linux/amd64", "c")[2]


def test_resources_are_limits_of_steps() -> None:
    from boxwright.cli import parsers
    from boxwright.cli.build import command

    words = [
        "--resource=memory=2g",
        "--resource=cpu-quota=50000",
        "--resource=cpuset-cpus=0",
        "--memory=1g",
        "c",
    ]
    request = command._request(Context(), parsers.load("build")[0].parse_args(words))
    assert (request.memory, request.cpu_quota, request.cpuset_cpus) == (2 << 30, 50000, "0")
