"""SOURCE_DATE_EPOCH as a word: the context, a named one, a stage that only fetches, a global ARG (loopback only)."""

from __future__ import annotations

import functools
import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.build.request import BuildFailed, BuildRequest
from boxwright.errors import BoxwrightError
from boxwright.spec.times import epoch_seconds, rfc3339
from support.gitserver import COMMITTED, git, publish, serving
from support.image import engine as make_engine
from support.web import FileHandler, web_server

MADE = 1_500_000_000  # of the newest file of the archive
CHANGED = 1_400_000_000  # what the server says of "dated"
SAID = "Tue, 13 May 2014 16:53:20 GMT"
LAST = "FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL at=$SOURCE_DATE_EPOCH\nCOPY <<E /f\nx\nE\n"


class Handler(FileHandler):
    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Last-Modified":
            value = (
                SAID
                if "dated" in self.path
                else "Tue, 13 May 1901 16:53:20 GMT"
                if "old" in self.path
                else ""
            )
        if value:
            super().send_header(keyword, value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    top = tmp_path_factory.mktemp("site")
    with tarfile.open(top / "context.tar.gz", "w:gz") as tar:
        for name, data, at in (("Dockerfile", LAST.encode(), MADE), ("f", b"", 5), ("new", b"", 2**40)):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), at
            tar.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("directory")
        info.type, info.mtime = tarfile.DIRTYPE, MADE + 9
        tar.addfile(info)
    for name in ("dated", "dated.tar.gz", "old.tar.gz"):
        shutil.copy(top / "context.tar.gz", top / name)
    (top / "plain").write_text(LAST)
    handler = functools.partial(Handler, directory=str(top))
    with web_server(handler) as url:
        yield url


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    top = tmp_path_factory.mktemp("repository")
    work = top / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / "Dockerfile").write_text(LAST)
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "one")
    publish(work, top / "app.git")
    with serving(top) as url:
        yield f"{url}/smart/app.git"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return make_engine(tmp_path / "root")


def times(engine: Engine, request: BuildRequest) -> tuple[int | None, str]:
    """What the image's own history says as its time (None: now), and what `ARG SOURCE_DATE_EPOCH` was."""
    engine.build(request)
    config = engine.services.images_store.resolve_platform("x").config
    known = {rfc3339(n): n for n in (MADE, CHANGED, COMMITTED, 5, 7)}
    return known.get(config.created), config.config.get("Labels", {}).get("at", "")


def local(tmp_path: Path, text: str, **more: object) -> BuildRequest:
    (tmp_path / "c").mkdir(exist_ok=True)
    (tmp_path / "c/Dockerfile").write_text(text)
    return BuildRequest(context=tmp_path / "c", tags=("x",), **more)  # type: ignore[arg-type]


def of(word: str) -> dict[str, dict[str, str]]:
    return {"build_args": {"SOURCE_DATE_EPOCH": word}}


def test_a_repository_has_the_time_of_its_commit(engine: Engine, repository: str) -> None:
    request = BuildRequest(remote=repository, tags=("x",), **of("context"))  # type: ignore[arg-type]
    assert times(engine, request) == (COMMITTED, str(COMMITTED))


@pytest.mark.parametrize(
    "name, expected",
    [("context.tar.gz", MADE), ("dated.tar.gz", CHANGED), ("old.tar.gz", MADE), ("plain", None)],
)
def test_a_download_has_the_time_of_the_server_or_its_newest_file(
    engine: Engine, site: str, name: str, expected: int | None
) -> None:
    request = BuildRequest(remote=f"{site}/{name}", tags=("x",), **of("context"))  # type: ignore[arg-type]
    assert times(engine, request) == (expected, str(expected or ""))


def test_a_tar_on_a_stream_has_the_time_of_its_newest_file(engine: Engine, site: str, tmp_path: Path) -> None:
    from urllib.request import urlopen

    with urlopen(f"{site}/context.tar.gz") as reply:
        request = BuildRequest(stream=io.BytesIO(reply.read()), tags=("x",), **of("context"))  # type: ignore[arg-type]
    assert times(engine, request) == (MADE, str(MADE))


def test_a_directory_has_no_time(engine: Engine, tmp_path: Path) -> None:
    assert times(engine, local(tmp_path, LAST, **of("context"))) == (None, "")


def test_a_named_context_has_its_time(engine: Engine, repository: str, site: str, tmp_path: Path) -> None:
    for url, expected in ((repository, COMMITTED), (f"{site}/dated", CHANGED), (str(tmp_path), None)):
        request = local(tmp_path, LAST, build_contexts={"src": url}, **of("src"))
        assert times(engine, request) == (expected, str(expected or ""))


@pytest.mark.parametrize("name, expected", [("plain", None), ("context.tar.gz", MADE), ("dated", CHANGED)])
def test_a_stage_has_the_time_of_what_it_fetches(
    engine: Engine, site: str, tmp_path: Path, name: str, expected: int | None
) -> None:
    text = f"ARG SITE={site}\nFROM scratch AS Src\nARG WHAT={name}\nADD $SITE/$WHAT /\n"
    request = local(tmp_path, text + LAST, **of("src"))
    assert times(engine, request) == (expected, str(expected or ""))


def test_a_stage_of_a_repository(engine: Engine, repository: str, tmp_path: Path) -> None:
    request = local(tmp_path, f"FROM scratch AS src\nADD {repository}#main /\n{LAST}", **of("src"))
    assert times(engine, request) == (COMMITTED, str(COMMITTED))


@pytest.mark.parametrize(
    "stage, message",
    [
        ("FROM scratch AS src\nADD f /", "stage source must be a single HTTP(S) or Git ADD"),
        ("FROM scratch AS src\nADD http://x/a http://x/b /", "exactly one remote ADD source"),
        ("FROM scratch AS src\nADD http://x/a /\nADD http://x/b /", "exactly one remote ADD"),
        ("FROM scratch AS src\nADD <<E /\nE", "exactly one remote ADD source"),
        ("FROM scratch AS src", "exactly one remote ADD"),
        ("FROM scratch AS src\nADD http://x/a /\nUSER x", "unsupported USER instruction"),
        ("FROM busybox AS src\nADD http://x/a /", "must use FROM scratch"),
        ("FROM scratch AS other", "invalid SOURCE_DATE_EPOCH: src"),
    ],
)
def test_other_stages_have_no_time(engine: Engine, tmp_path: Path, stage: str, message: str) -> None:
    with pytest.raises(BoxwrightError) as caught:
        engine.build(local(tmp_path, f"{stage}\n{LAST}", **of("src")))
    assert message in str(caught.value)
    if isinstance(caught.value, BuildFailed):
        assert [(at.start, at.end) for at in caught.value.ranges] == [(1, 1)]


def test_a_global_arg_is_the_default(engine: Engine, tmp_path: Path, repository: str) -> None:
    text = f"ARG SOURCE_DATE_EPOCH=7\n{LAST}"
    assert times(engine, local(tmp_path, text)) == (7, "7")
    assert times(engine, local(tmp_path, text, **of("5"))) == (5, "5")
    assert times(engine, local(tmp_path, text, **of(""))) == (None, "")
    word = f"ARG W=src\nARG SOURCE_DATE_EPOCH=$W\nFROM scratch AS src\nADD {repository} /\n{LAST}"
    assert times(engine, local(tmp_path, word)) == (COMMITTED, str(COMMITTED))


def test_the_environment_is_a_build_argument(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "root", SOURCE_DATE_EPOCH="7")
    assert times(engine, local(tmp_path, LAST)) == (7, "7")
    assert times(engine, local(tmp_path, LAST, source_date_epoch=5)) == (5, "5")
    engine = make_engine(tmp_path / "root", SOURCE_DATE_EPOCH="context")
    assert times(engine, local(tmp_path, LAST)) == (None, "")
    with pytest.raises(BoxwrightError, match="it must be a whole number"):
        engine.images.import_(io.BytesIO(bytes(10240)), "i")


def test_platforms_have_one_time(engine: Engine, tmp_path: Path) -> None:
    request = local(
        tmp_path, f"ARG SOURCE_DATE_EPOCH=$TARGETARCH\n{LAST}", platforms=("linux/amd64", "linux/arm64")
    )
    with pytest.raises(BuildFailed, match="differs between platforms: amd64, arm64"):
        engine.build(request)


@pytest.mark.parametrize("word", ["²", "-5", "99999999999999999999", "253402300800", "9" * 5000, "1e3", "\0"])
def test_what_is_no_time_is_refused(engine: Engine, tmp_path: Path, word: str) -> None:
    with pytest.raises(BoxwrightError, match="invalid SOURCE_DATE_EPOCH"):
        engine.build(local(tmp_path, LAST, **of(word)))
    assert epoch_seconds(word) is None


def test_the_files_of_an_output_have_the_time(engine: Engine, repository: str, tmp_path: Path) -> None:
    from boxwright.build.request import Output

    out = (Output("local", str(tmp_path / "out")),)
    engine.build(BuildRequest(remote=repository, outputs=out, **of("context")))  # type: ignore[arg-type]
    assert (tmp_path / "out/f").stat().st_mtime == COMMITTED
