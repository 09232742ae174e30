"""Targets are built: together, in the order of their links, under their names, and not at all when one fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.bake.allow import PrivilegesWanted
from boxwright.build.progress import Event, StepCached, StepDone, StepStarted
from boxwright.cli.main import main
from boxwright.errors import BoxwrightError

TEXT = """
group "default" { targets = ["app", "copy"] }
target "base" { dockerfile-inline = "FROM scratch\\nCOPY f /base\\n" }
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nCOPY f /app\\n"
  tags = ["app"]
}
target "copy" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM scratch\\nCOPY --from=base /base /copy\\n"
  output = ["type=local,dest=out"]
}
target "fails" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nCOPY nothing /\\n"
}
target "away" { context = ".." }
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NO_COLOR", "1")
    (work / "docker-bake.hcl").write_text(TEXT)
    (work / "f").write_text("content")
    return Engine(tmp_path / "root")


def test_targets_use_each_other(engine: Engine) -> None:
    heard: list[Event] = []
    results = engine.bake(progress=heard.append)
    assert set(results) == {"app", "copy", "base"}
    assert Path("out/copy").read_text() == "content"
    assert [row.names for row in engine.services.images_store.rows()] == [("docker.io/library/app:latest",)]
    names = {event.name for event in heard if isinstance(event, StepStarted)}
    assert "[base 1/1] COPY f /base" in names and "[app 2/2] COPY f /app" in names
    assert "[copy internal] load build definition from Dockerfile" in names
    base = results["base"].target
    assert {f"[app context base] load metadata for {base}", f"[app context base] {base}"} <= names


def test_a_step_of_two_targets_is_done_once(engine: Engine) -> None:
    Path("docker-bake.hcl").write_text(
        'target "t" {\n name = "t${n}"\n matrix = { n = range(6) }\n'
        ' dockerfile-inline = "FROM scratch\\nCOPY f /f\\nLABEL n=${n}\\n"\n}\n'
    )
    heard: list[Event] = []
    assert len(engine.bake("t", progress=heard.append)) == 6
    steps = {e.step for e in heard if isinstance(e, StepStarted) and "COPY f /f" in e.name}
    ran = [e for e in heard if isinstance(e, StepDone) and e.step in steps]
    cached = [e for e in heard if isinstance(e, StepCached) and e.step in steps]
    assert (len(steps), len(ran), len(cached)) == (6, 1, 5)


def test_what_fails_names_its_target(engine: Engine) -> None:
    with pytest.raises(BoxwrightError, match="target fails: failed to solve") as error:
        engine.bake("fails")
    assert "COPY nothing /" in error.value.render()  # type: ignore[attr-defined]
    with pytest.raises(PrivilegesWanted) as wanted:
        engine.bake("away")
    assert wanted.value.flags == ("fs.read=..",)


def test_one_target_is_as_a_build(engine: Engine) -> None:
    heard: list[Event] = []
    engine.bake("base", set=["base.tags=one", "base.args.A=b"], progress=heard.append)
    assert "[1/1] COPY f /base" in {event.name for event in heard if isinstance(event, StepStarted)}
    assert engine.images.get("one")


@pytest.fixture
def run(engine: Engine, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["bake", *words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_the_command(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("--metadata-file", "m.json", "app")
    assert (code, out) == (0, "") and "#1 [base internal] load build definition" in err
    meta = json.loads(Path("m.json").read_text())
    assert meta["app"]["image.name"] == "docker.io/library/app:latest"
    assert meta["app"]["buildx.build.provenance"]["buildDefinition"]["externalParameters"]["request"]
    monkeypatch.setenv("BUILDX_METADATA_PROVENANCE", "disabled")
    assert run("--metadata-file", "m.json", "app")[0] == 0
    assert "buildx.build.provenance" not in json.loads(Path("m.json").read_text())["app"]
    assert run("--progress=quiet", "app") == (0, "", "")
    code, _, err = run("away")
    assert code == 1 and 'Pass "--allow=fs.read=.." to grant requested privileges.' in err
    assert run("--print", "--allow", "fs=*", "away")[0] == 0
    monkeypatch.setenv("BUILDX_BAKE_FILE", "nowhere.hcl")
    assert run("--print")[0] == 1
    code, _, err = run("-f", "docker-bake.hcl", "--set", "app.colour=red", "--print")
    assert code == 1 and "unknown key: colour" in err
    code, _, err = run("-f", "docker-bake.hcl", "aap")
    assert code == 1 and "did you mean app?" in err


@pytest.mark.parametrize("word", ["", "0", "1"])
def test_the_environment_says_whether_a_push_is_attested(engine: Engine, word: str) -> None:
    from boxwright.bake.plan import BakeRequest, planned
    from boxwright.bake.requests import request_of

    target = planned(BakeRequest(targets=("app",))).resolved.targets["app"]
    environ = {"BUILDX_NO_DEFAULT_ATTESTATIONS": word}
    assert request_of(target, Path.cwd(), environ, {"base": "sha256:" + "0" * 64}).default_attestations is (
        word != "1"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--list=x"],
        ["--list=type=targets,format=x"],
        ["--list=targets", "--print"],
        ["--var", "x"],
        ["--allow", "x"],
    ],
)
def test_what_cannot_be_asked(run: Callable[..., tuple[int, str, str]], words: list[str]) -> None:
    code, out, err = run(*words)
    assert code != 0 and out == "" and err.startswith("Error: ")


def test_variables_and_standard_input(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    text = b'variable "V" { default = "v" }\ntarget "default" { tags = [V] }\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, out, _ = run("-f", "-", "--print", "--var", "V=typed")
    assert code == 0 and json.loads(out)["target"]["default"]["tags"] == ["typed"]


@pytest.mark.parametrize("words", [["--print"], ["--list=targets"], []])
def test_a_progress_that_there_is_not(run: Callable[..., tuple[int, str, str]], words: list[str]) -> None:
    code, out, err = run(*words, "--progress=nosuch")
    assert code == 1 and out == "" and "invalid progress mode 'nosuch'" in err


def test_a_variable_that_the_definition_does_not_have_is_told(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    Path("x.hcl").write_text('variable "TAG" { default = "v" }\ntarget "default" { tags = [TAG] }\n')
    Path("x.yaml").write_text(
        "services:\n  a:\n    build:\n      context: .\n      args:\n        - BARE\n    image: a:${IMAGE}\n"
    )
    Path(".env").write_text("IMAGE=${INNER:-no}\nX\n")
    for words, told in (
        (["-f", "x.hcl", "--var", "TGA=1"], {"TGA"}),
        (["-f", "x.hcl", "--var", "TAG=1", "--var", "BAKE_CMD_CONTEXT=x"], {"BAKE_CMD_CONTEXT"}),
        (["-f", "x.yaml", "--var", "BARE=1", "--var", "INNER=1", "--var", "TAG=1"], {"TAG"}),
        (["-f", "x.yaml", "-f", "x.hcl", "--var", "IMAGE=1", "--var", "TAG=1", "--var", "X=1"], set()),
    ):
        code, _, err = run("--print", *words)
        found = {line.split("--var ")[1].split(":")[0] for line in err.splitlines() if "--var " in line}
        assert (code, found) == (0, told), err
    assert "did you mean TAG?" in run("--print", "-f", "x.hcl", "--var", "TGA=1")[2]


def test_an_archive_without_a_place_goes_to_standard_output(run: Callable[..., tuple[int, str, str]]) -> None:
    words = ("type=oci", "type=tar", "type=oci,tar=false", "type=oci,dest=x", "type=docker")
    options = [word for text in words for word in ("--set", f"app.output+={text}")]
    code, out, err = run("--print", *options, "app")
    assert code == 0, err
    assert json.loads(out)["target"]["app"]["output"] == [
        {"dest": "-", "type": "oci"},
        {"dest": "-", "type": "tar"},
        {"tar": "false", "type": "oci"},
        {"dest": "x", "type": "oci"},
        {"type": "docker"},
    ]


def test_a_url_is_no_file(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("--print", "-f", "https://user:secret@example.com/a.git")
    assert code == 1 and out == "" and "the URL of a definition stands before the targets" in err
    assert "secret" not in err


def test_caches_reach_the_builds(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = run(
        "base", "--set", "base.cache-to=type=local,dest=cache,mode=max", "--set", "base.output=type=cacheonly"
    )
    assert code == 0, err
    assert Path("cache/index.json").is_file()
    code, _, err = run(
        "base", "--set", "base.cache-from=type=local,src=cache", "--set", "base.attest=type=sbom"
    )
    assert code == 0, err


def test_checks(run: Callable[..., tuple[int, str, str]]) -> None:
    Path("docker-bake.hcl").write_text(
        'target "bad" {\n description = "has a warning"\n dockerfile-inline = "from scratch\\nCOPY f /\\n"\n}\n'
        'target "good" { dockerfile-inline = "FROM scratch\\nCOPY f /\\n" }\n'
        'target "base" { dockerfile-inline = "FROM scratch\\nCOPY f /\\n" }\n'
        'target "linked" {\n contexts = { base = "target:base" }\n dockerfile-inline = "FROM base\\n"\n}\n'
    )
    code, out, _ = run("--check", "--progress=quiet", "bad", "good")
    assert code == 1 and out.startswith("bad\nhas a warning\n\nCheck complete, 1 warning has been found!\n")
    assert "\ngood\n\nCheck complete, no warnings found.\n" in out
    assert run("--check", "--progress=quiet", "linked")[0] == 0
    code, out, _ = run("--call=check,format=json", "--progress=quiet", "good", "bad")
    shown = json.loads(out)["target"]
    assert (
        code == 1 and len(shown["bad"]["check"]["warnings"]) == 1 and shown["good"]["build"]["context"] == "."
    )


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_terminal_is_asked(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    Path("../Dockerfile").write_text("FROM scratch\nCOPY work/f /\n")
    given, _, err = run("away", "--progress=quiet")
    assert given == code
    assert err.startswith(
        "Your build is requesting privileges for following possibly insecure capabilities:\n\n"
        " - Read access to path ..\n\n"
        'In order to not see this message in the future pass "--allow=fs.read=.." to grant requested privileges.\n'
    )
    assert "Do you want to grant requested privileges and continue? [y/N] " in err
    assert err.count("Your build is requesting") == 1
    assert ("additional privileges requested" in err) == bool(code)


def test_the_image_between_targets_is_there_for_all_who_use_it(engine: Engine) -> None:
    """Two bakes of one definition: the image that both have made goes with the last of them, and no prune takes it."""
    from boxwright.bake.linked import LinkedImages

    services = engine.services
    base = engine.build(dockerfile_data=b"FROM scratch\nLABEL a=b\n", tags=()).target
    removed: list[str] = []

    def gone(target: str) -> None:
        removed.append(target)
        services.maintenance.remove([target])

    kept = LinkedImages(services, gone)
    kept.begin()  # it was there before: it stays
    assert kept.keep(base, made=True)
    assert engine.images.prune().removed == ()
    kept.release()
    assert not removed
    engine.images.remove(base)
    first, second = LinkedImages(services, gone), LinkedImages(services, gone)
    first.begin()
    assert engine.build(dockerfile_data=b"FROM scratch\nLABEL a=b\n", tags=()).target == base
    assert first.keep(base, made=True)
    second.begin()
    assert second.keep(base, made=True)
    first.release()
    assert not removed and services.images_store.find(base) is not None
    second.release()
    assert removed == [base] and services.images_store.find(base) is None
    third = LinkedImages(services, gone)
    third.begin()
    assert not third.keep(base, made=True)  # what is gone is built again
    third.release()


@pytest.mark.parametrize(
    "setting",
    [
        'context = "a\\u0000b"',
        'dockerfile = "cwd://a\\u0000"',
        'contexts = { a = "\\u0000" }',
        'secret = ["id=a,src=a\\u0000b"]',
        'output = ["a\\u0000b"]',
        'args = { "a\\u0000" = "b" }',
    ],
)
def test_a_nul_is_refused(run: Callable[..., tuple[int, str, str]], setting: str) -> None:
    Path("docker-bake.hcl").write_text(f'target "default" {{\n{setting}\n}}')
    code, out, err = run()
    assert code == 1 and out == "" and "has a NUL" in err
    Path("docker-bake.hcl").write_text('target "default" {\n args = { A = "\\\\u0000" }\n}')
    assert run("--print")[0] == 0


def test_a_pipe_is_no_definition_of_the_usual_names(run: Callable[..., tuple[int, str, str]]) -> None:
    import os

    Path("docker-bake.hcl").unlink()
    os.mkfifo("docker-bake.hcl")
    code, _, err = run("--print")
    assert code == 1 and "open docker-bake.hcl: it is no file" in err


def test_a_target_that_is_built_again_names_itself_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process took the image of a linked target away, and its second build fails."""
    from boxwright.bake.linked import LinkedImages

    def gone(self: LinkedImages, target: str, *, made: bool) -> bool:
        Path("f").unlink()
        return False

    monkeypatch.setattr(LinkedImages, "keep", gone)
    with pytest.raises(BoxwrightError) as error:
        engine.bake("app")
    assert str(error.value).count("target base: ") == 1


@pytest.mark.parametrize("more", ["", ",store=false", ",compression=zstd,force-compression=true"])
def test_a_target_that_is_pushed_is_a_base_of_others(engine: Engine, more: str) -> None:
    """The registry's manifest, whose layers are compressed, is another than the store's; what others are built on is
    the store's, and nothing is built or pushed twice."""
    from support.registry import running

    Path("f").write_text("content" * 100_000)
    pushing: list[Event] = []

    def hear(event: Event) -> None:
        if isinstance(event, StepStarted) and "pushing" in event.name:
            pushing.append(event)
            assert len(pushing) == 1

    with running() as registry:
        output = f"type=image,push=true{more},name={registry.host}/lib/base:1"
        results = engine.bake(["app", "base"], set=[f"base.output={output}"], progress=hear)
        base = results["base"]
        assert registry.manifests["lib/base"]["1"] == registry.manifests["lib/base"][base.target]
        assert len(pushing) == 1 and base.outputs[-1].pushed
        assert (base.stored == base.target) is ("compression" in more)  # where it is compressed here already
        layers = engine.images.inspect("app")["RootFS"]["Layers"]
        assert engine.images.inspect(base.stored)["RootFS"]["Layers"] == layers[:1] and len(layers) == 2
        engine.services.registry.http.close()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('output = ["type=tar,dest=x,nonsense=1"]', "does not take 'nonsense'"),
        ('ulimits = ["nonsense=1"]', "invalid ulimit type: nonsense"),
        ('platforms = ["nonsense/a/b/c"]', "invalid platform"),
        ('tags = ["Upper"]', "must be lowercase"),
        ('cache-to = ["type=local,dest=x,nonsense=1"]', "does not take 'nonsense'"),
    ],
)
def test_nothing_is_built_beside_a_target_that_cannot_be(engine: Engine, setting: str, said: str) -> None:
    with open("docker-bake.hcl", "a") as file:
        file.write(f'target "typo" {{\n context = "."\n contexts = {{ b = "target:base" }}\n {setting}\n}}\n')
    heard: list[Event] = []
    with pytest.raises(BoxwrightError, match=f"^target typo: .*{said}"):
        engine.bake(["base", "typo"], progress=heard.append)
    assert not heard and not engine.services.images_store.rows()
