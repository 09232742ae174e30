"""What a stranger types first in Python works, or is refused with a sentence; nothing passes silently."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.container.config import Limits, MountSpec, PortBinding, RestartPolicy
from boxwright.container.given import config
from boxwright.errors import BoxwrightError, Invalid, NotFound
from boxwright.spec.arguments import ArgumentInvalid, fitted
from support.registry import tar_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(tmp_path / "root")
    engine.images.import_(io.BytesIO(tar_of({"f": b"x"})), "base:1")
    engine.images.import_(io.BytesIO(tar_of({"g": b"y"})), "other:1")
    return engine


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nARG WHO=nobody\nLABEL who=$WHO\n")
    (folder / "D1").write_text("FROM scratch\nLABEL from=D1\n")
    return folder


def labels(engine: Engine, image: str) -> Any:
    return engine.images.inspect(image)["Config"]["Labels"]


def test_build_as_first_typed(
    engine: Engine, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.build(context, tags="app").names == engine.build(str(context), tags=["app"]).names
    engine.build(context, tags="app", build_args={"WHO": "me"}, labels={"a": "b"})
    assert labels(engine, "app") == {"who": "me", "a": "b"}
    engine.build(context, tags="app", dockerfile="D1")
    assert labels(engine, "app") == {"from": "D1"}
    engine.build(context, tags="app", dockerfile=str(context / "D1"))
    (tmp_path / "D2").write_text("FROM scratch\nLABEL from=D2\n")
    monkeypatch.chdir(tmp_path)
    engine.build(context, tags="app", dockerfile="D2")
    assert labels(engine, "app") == {"from": "D2"}
    engine.build(context, outputs=f"type=tar,dest={tmp_path / 'out.tar'}")
    assert (tmp_path / "out.tar").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"tag": "app"},
        {"tags": 3},
        {"tags": ["app", 3]},
        {"build_args": ["WHO=me"]},
        {"build_args": {"WHO": 3}},
        {"no_cache": "no"},
        {"no_cache": 1},
        {"dockerfile": b"FROM scratch"},
        {"dockerfile": 1},
        {"target": None},
        {"platforms": [None]},
        {"jobs": "two"},
        {"secrets": ["id=x"]},
        {"outputs": [1]},
        {"add_hosts": 1},
        {"ssh": "default"},
        {"ssh": {"default": 1}},
        {"stream": "a Dockerfile"},
        {"brought": {"https://a": "/b"}},
    ],
    ids=str,
)
def test_build_refuses(engine: Engine, context: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentInvalid):
        engine.build(context, **options)


def test_a_near_miss_is_told(engine: Engine, context: Path) -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        engine.build(context, tag="app")
    assert (str(caught.value), caught.value.hint) == ("there is no option 'tag'", "did you mean tags?")


def test_run_as_first_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = config(
        "app",
        ["echo", "x"],
        {
            "env": {"A": "1", "N": 2},
            "mounts": ["/a:/b", "/c:/d:ro"],
            "ports": ["8080:80", "127.0.0.1:53:53/udp"],
            "restart": "on-failure:3",
            "entrypoint": "sh",
            "extra_hosts": {"db": "10.0.0.2"},
            "cap_drop": "ALL",
            "limits": {"memory": 1 << 20},
            "ulimits": "nofile=1:2",
        },
    )
    assert made.env == ("A=1", "N=2") == config("app", (), {"env": ["A=1", "N=2"]}).env
    assert [(m.kind, m.source, m.target, m.readonly) for m in made.mounts] == [
        ("bind", "/a", "/b", False),
        ("bind", "/c", "/d", True),
    ]
    assert made.ports == (PortBinding(80, host_port=8080), PortBinding(53, "udp", "127.0.0.1", 53))
    assert made.restart == RestartPolicy("on-failure", 3) and made.limits == Limits(memory=1 << 20)
    assert made.entrypoint == ("sh",) and made.extra_hosts == ("db:10.0.0.2",) and made.cap_drop == ("ALL",)
    assert (made.ulimits[0].soft, made.ulimits[0].hard) == (1, 2) and made.command == ("echo", "x")
    mount = MountSpec(kind="tmpfs", target="/t")
    assert (
        config("app", (), {"mounts": mount}).mounts
        == config("app", (), {"mounts": [mount]}).mounts
        == (mount,)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"environment": {"A": "1"}},
        {"env": {"A": None}},
        {"env": {"A": True}},
        {"env": {1: "x"}},
        {"env": 5},
        {"env": ["=x"]},
        {"mounts": ["relative"]},
        {"mounts": {"/a": "/b"}},
        {"mounts": [3]},
        {"ports": {"80/tcp": 8080}},
        {"ports": [8080]},
        {"ports": ["x:y:z:80"]},
        {"restart": "sometimes"},
        {"limits": {"memry": 1}},
        {"limits": "512m"},
        {"name": ["a"]},
        {"tty": "yes"},
        {"cap_add": {"NET_ADMIN"}},
        {"network": None},
        {"labels": ["a=b"]},
        {"stop_timeout": 1.5},
    ],
    ids=str,
)
def test_run_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        config("app", (), options)


def test_filters_as_first_typed(engine: Engine) -> None:
    assert len(engine.images.list(filters={"reference": "base"})) == 1
    assert engine.images.list(filters={"reference": ["base"]}) == engine.images.list(
        filters={"reference": "base"}
    )
    assert engine.images.list(filters={"reference": "x"}) == []
    for bad in ("reference=x", {"reference": 1}, {1: "x"}, {"reference": [1]}):
        with pytest.raises(Invalid):
            engine.images.list(filters=bad)  # type: ignore[arg-type]


def test_filters_of_events_as_first_typed(engine: Engine) -> None:
    """One text is one value, not its letters; an unknown name is refused at once, not by the first event."""
    engine.images.tag("base:1", "seen:1")
    for filters in ({"type": "image"}, {"type": ["image"], "event": "tag"}, {"image": "seen"}):
        found = list(engine.system.events(since=0, until=time.time(), filters=filters))
        assert found and all(one["Type"] == "image" for one in found)
    any_engine: Any = engine
    for bad in ({"nosuch": "x"}, {"type": 1}, "type=image"):
        with pytest.raises(Invalid):
            any_engine.system.events(filters=bad)


def test_every_request_looks_at_all_of_its_fields() -> None:
    """A field whose kind is not fitted by its declaration has a function of its own."""
    from boxwright.build.options import request_of
    from boxwright.build.request import BuildRequest
    from boxwright.container.config import ContainerConfig
    from boxwright.spec.values import fields

    for cls, read in ((BuildRequest, lambda given: request_of(None, given)), (ContainerConfig, _configured)):
        for field in fields(cls):
            with pytest.raises(Invalid):
                read({field.name: object()})


def _configured(given: dict[str, Any]) -> object:
    return config("app", (), given)


def test_every_method_looks_at_its_arguments(engine: Engine, tmp_path: Path) -> None:
    with open(tmp_path / "a.tar", "wb") as out:
        engine.images.save("base:1", out)  # one text is one image, not five letters
    assert engine.images.load(tmp_path / "a.tar")
    any_engine: Any = engine
    for call in (
        lambda: any_engine.images.tag("base:1", None),
        lambda: any_engine.images.tag(source="base:1", name=3),
        lambda: any_engine.images.inspect(3),
        lambda: any_engine.images.history(None),
        lambda: any_engine.images.prune(everything="no"),
        lambda: any_engine.images.pull("x", platform=["linux/amd64"]),
        lambda: any_engine.images.push("x", level="9"),
        lambda: any_engine.registry.copy("a", "b", jobs="6"),
        lambda: any_engine.images.import_(io.BytesIO(), changes=[1]),
        lambda: any_engine.registry.login("host", "user", None),
        lambda: any_engine.system.fsck(repair="no"),
        lambda: any_engine.images.list(all="yes"),
    ):
        with pytest.raises(ArgumentInvalid):
            call()
    assert len(engine.images.list()) == 2
    with pytest.raises(TypeError):
        any_engine.images.list(show_all=True)


def test_what_is_not_declared_simply_is_left_alone() -> None:
    assert fitted("x", {1}, "Path | BinaryIO") == {1}
    assert fitted("x", None, "str | None") is None and fitted("x", 1, "float") == 1
    with pytest.raises(ArgumentInvalid, match="x is 'y', which is no whole number"):
        fitted("x", "y", "int | None")


CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--no-incremental", "--config-file="],
    "pyright": ["-m", "basedpyright", "--pythonpath", sys.executable],
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("page", ["README.md", "docs/sdk.md"])
def test_programs_of_the_pages_are_typed(checker: str, page: str, tmp_path: Path) -> None:
    """As in a user's project: only the installed package's own types count."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (tmp_path / "program.py").write_text(f"{code}reveal_type(engine)\nreveal_type(result)\n")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = subprocess.run(
        [sys.executable, *CHECKERS[checker], "program.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r'"(boxwright\.engine\.)?Engine"', done.stdout), done.stdout
    assert re.search(r'"(boxwright\.build\.request\.)?BuildResult"', done.stdout)


GROUPS = ("images", "networks", "volumes", "registry", "builds", "system")


def verbs(thing: object) -> set[str]:
    return {name for name in dir(type(thing)) if not name.startswith("_")}


def test_the_page_names_every_verb(engine: Engine) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text()
    rows = dict(re.findall(r"^\| `engine(?:\.(\w+))?` \| (.*) \|$", page, re.MULTILINE))
    said = {group: set(re.findall(r"`(\w+)`", text)) for group, text in rows.items()}
    assert {group: verbs(getattr(engine, group)) for group in GROUPS} == {g: said[g] for g in GROUPS}
    assert verbs(engine) == said[""] | {*GROUPS, "containers"}
    assert said["containers"] < verbs(engine.containers)


def test_the_program_of_the_page_uses_every_group() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "sdk.md").read_text(), re.DOTALL)
    assert set(re.findall(r"engine\.(\w+)\.", code)) == {*GROUPS, "containers"}


def test_every_group_looks_at_its_arguments(engine: Engine) -> None:
    any_engine: Any = engine
    for call in (
        lambda: any_engine.networks.get(3),
        lambda: any_engine.networks.create("n", internal="no"),
        lambda: any_engine.networks.connect("n", "c", aliases=[1]),
        lambda: any_engine.volumes.create("vv", labels={"a": 1}),
        lambda: any_engine.volumes.prune(everything=1),
        lambda: any_engine.builds.cache(filters=["id=x"]),
        lambda: any_engine.builds.prune(keep="1g"),
        lambda: any_engine.registry.tags(None),
        lambda: any_engine.system.prune(volumes="yes"),
    ):
        with pytest.raises(ArgumentInvalid):
            call()


def test_a_filter_that_a_prune_does_not_have_is_refused(engine: Engine) -> None:
    """It would remove more than was meant."""
    for prune in (
        engine.images.prune,
        engine.containers.prune,
        engine.networks.prune,
        engine.volumes.prune,
        engine.system.prune,
        engine.builds.prune,
    ):
        with pytest.raises(Invalid):
            prune(filters={"lable": ["keep"]})
    assert len(engine.images.list()) == 2


def test_images_that_cannot_be_removed_do_not_stop_the_others(engine: Engine) -> None:
    failures: list[BoxwrightError] = []
    removed = engine.images.remove("absent", "base:1", failed=failures.append)
    assert removed[0].what == "base:1" and len(engine.images.list()) == 1
    assert [type(failure).__name__ for failure in failures] == ["NoSuchImage"]
    with pytest.raises(NotFound):
        engine.images.remove("absent", "other:1")
    assert not engine.images.list()


def test_the_door_gives_the_errors() -> None:
    code = "import boxwright; print(*(type(getattr(boxwright, name)).__name__ for name in boxwright.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "type str module\n", done.stderr
