"""Named contexts: what they may be, which words of a Dockerfile they mean, and what they replace."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.fields import RequestInvalid
from boxwright.build.named import NamedContexts, key_of
from boxwright.build.request import BuildFailed, BuildRequest
from boxwright.errors import BoxwrightError
from boxwright.spec.platform import Platform
from support.image import engine as make_engine
from support.web import serving_files

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = make_engine(tmp_path / "root")
    made.images.import_(io.BytesIO(corpus.small_base()), "base", changes=["ENV FROM_BASE=1"])
    return made


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code/sub").mkdir(parents=True)
    (tmp_path / "code/f").write_text("from the context")
    (tmp_path / "code/sub/g").write_text("g")
    (tmp_path / "code/left").write_text("out")
    (tmp_path / "code/.dockerignore").write_text("left\n")
    return tmp_path / "code"


def built(engine: Engine, text: str, contexts: dict[str, str], **more: object) -> set[str]:
    request = BuildRequest(
        dockerfile_data=text.encode(),
        build_contexts=contexts,
        tags=("x",),
        **more,  # type: ignore[arg-type]
    )
    engine.build(request)
    return {path for path in corpus.tree(engine, "x") if path}


@pytest.mark.parametrize(
    ("given", "word", "found"),
    [
        ("a", "a", True),
        ("a", "A", True),
        ("a", "docker.io/library/a:latest", True),
        ("docker.io/library/a", "a:latest", True),
        ("a:1", "a:1", True),
        ("a:1", "a", False),
        ("a::linux/amd64", "a", True),
        ("a::linux/arm64", "a", False),
        ("h.example/a", "h.example/a", True),
        ("scratch", "scratch", False),
    ],
)
def test_which_words_mean_it(given: str, word: str, found: bool) -> None:
    key = key_of(given)
    assert NamedContexts(frozenset((key,))).find(word, AMD) == (key if found else "")


def test_a_platform_s_own_comes_first() -> None:
    contexts = NamedContexts(frozenset((key_of("a"), key_of("a::linux/arm64"))))
    assert contexts.find("a", ARM) == "a::linux/arm64" and contexts.find("a", AMD) == "a"


@pytest.mark.parametrize("name", ["", "Bad Name", "a::", "a::b/c/d/e", "::linux/amd64"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(RequestInvalid, match="invalid context name"):
        key_of(name)


def test_a_stage_from_a_directory(engine: Engine, code: Path) -> None:
    assert built(engine, "FROM code\nENV A=1\n", {"code": str(code)}) == {
        "f",
        "sub",
        "sub/g",
        ".dockerignore",
    }
    config = engine.images.inspect("x")["Config"]
    assert "A=1" in config["Env"]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("FROM base AS code\nRUN false\nFROM code\n", ""),
        ("FROM base AS code\nRUN false\nFROM scratch\nCOPY --from=code / /\n", ""),
        ("FROM base AS code\nRUN false\nFROM scratch\nCOPY --from=0 / /\n", ""),
        ("FROM base AS code\nRUN false\nFROM scratch\n", "code"),
        ("FROM code:latest\n", ""),
        ("FROM docker.io/library/code\n", ""),
    ],
)
def test_a_context_replaces_stages_and_images(engine: Engine, code: Path, text: str, target: str) -> None:
    assert {"f", "sub", "sub/g"} <= built(engine, text, {"code": str(code)}, target=target)


def test_an_image_replaces_a_stage(engine: Engine) -> None:
    text = "FROM scratch AS tool\nRUN false\nFROM tool\nENV A=$FROM_BASE\n"
    found = built(engine, text, {"tool": "docker-image://base"})
    assert "etc/passwd" in found and "A=1" in engine.images.inspect("x")["Config"]["Env"]
    assert built(engine, "FROM base AS t\nFROM t\n", {"t": "docker-image://scratch"}) == set()


def test_by_platform(engine: Engine, code: Path) -> None:
    text = "FROM code\n"
    contexts = {"code::linux/amd64": str(code), "code": "docker-image://base"}
    assert "f" in built(engine, text, contexts, platforms=("linux/amd64",))


@pytest.fixture
def layout(engine: Engine, tmp_path: Path) -> Path:
    """A layout with two images; `latest` has the file `late`."""
    for tag, name in (("1", "early"), ("latest", "late")):
        context = tmp_path / f"context-{tag}"
        context.mkdir()
        (context / name).write_text(name)
        (context / "Dockerfile").write_text("FROM base\nENV WHICH=" + name + "\nCOPY " + name + " /\n")
        engine.build(str(context), tags=("made:" + tag,))
        engine.registry.copy(f"local:made:{tag}", f"oci:{tmp_path}/layout:{tag}")
    return tmp_path / "layout"


def digest_of(layout: Path, tag: str) -> str:
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    names = {e["annotations"]["org.opencontainers.image.ref.name"]: e["digest"] for e in entries}
    return str(names[tag])


def test_an_oci_layout(engine: Engine, layout: Path, tmp_path: Path) -> None:
    """Read by another engine, which has none of it; a hit brings no layer."""
    other = make_engine(tmp_path / "other")
    text = "FROM tool\nENV A=$WHICH\n"
    for place, name in (
        (f"{layout}", "late"),
        (f"{layout}:1", "early"),
        (f"{layout}@{digest_of(layout, '1')}", "early"),
    ):
        assert name in built(other, text, {"tool": f"oci-layout://{place}"})
        assert f"A={name}" in other.images.inspect("x")["Config"]["Env"]
    copied = built(other, "FROM scratch\nCOPY --from=tool /late /\n", {"tool": f"oci-layout://{layout}"})
    assert copied == {"late"}


def test_a_layout_whose_bytes_are_others(engine: Engine, layout: Path, tmp_path: Path) -> None:
    manifest = json.loads((layout / "blobs/sha256" / digest_of(layout, "1").partition(":")[2]).read_text())
    blob = layout / "blobs/sha256" / manifest["layers"][-1]["digest"].partition(":")[2]
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(BuildFailed, match="sha256"):
        built(
            make_engine(tmp_path / "other"),
            "FROM tool\nCOPY --from=tool / /\n",
            {"tool": f"oci-layout://{layout}:1"},
        )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nowhere", "is not a directory"),
        ("oci-layout://nowhere", "there is no directory"),
        ("oci-layout://{}", "is no OCI layout"),
        ("target:other", "is known to `bake` alone"),
        ("ftp://h/x", "ftp sources are not supported"),
        ("docker-image://", "invalid reference"),
    ],
)
def test_what_cannot_be_had(engine: Engine, code: Path, value: str, said: str) -> None:
    with pytest.raises(BoxwrightError, match=said):
        built(engine, "FROM code\n", {"code": value.format(code)})


# --- by HTTP and standard input -----------------------------------------------------------------


def archive(compress: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("Dockerfile", b"FROM scratch\nCOPY f /f\n"), ("f", b"from the tar")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return compress(out.getvalue())


COMPRESSED = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    top = tmp_path / "site"
    top.mkdir()
    for name, compress in COMPRESSED.items():
        (top / name).write_bytes(archive(compress))
    (top / "file").write_text("a single file")
    (top / "D").write_text("FROM scratch\nCOPY f /from-url\n")
    with serving_files(top) as url:
        yield url


@pytest.mark.parametrize("kind", COMPRESSED)
def test_archives_of_every_compression(engine: Engine, site: str, kind: str) -> None:
    engine.build(BuildRequest(stream=io.BytesIO(archive(COMPRESSED[kind])), tags=("x",)))
    assert set(corpus.tree(engine, "x")) >= {"f"}
    engine.build(BuildRequest(remote=f"{site}/{kind}", tags=("y",)))
    assert set(corpus.tree(engine, "y")) >= {"f"}
    assert built(engine, "FROM scratch\nCOPY --from=c f /g\n", {"c": f"{site}/{kind}"}) == {"g"}


def test_a_single_file_is_called_context(engine: Engine, site: str) -> None:
    assert built(engine, "FROM scratch\nCOPY --from=c context /g\n", {"c": f"{site}/file"}) == {"g"}


def test_a_dockerfile_at_a_url(engine: Engine, site: str, code: Path) -> None:
    engine.build(str(code), dockerfile=f"{site}/D", tags=("x",))
    assert "from-url" in corpus.tree(engine, "x")
    with pytest.raises(BuildFailed, match="404"):
        engine.build(str(code), dockerfile=f"{site}/nothing")


@pytest.mark.parametrize(
    "break_, message",
    [
        (lambda top, blob: blob.unlink(), "lacks sha256:"),
        (lambda top, blob: (blob.unlink(), os.mkfifo(blob)), "lacks sha256:"),
        (lambda top, blob: (blob.unlink(), blob.mkdir()), "lacks sha256:"),
        (lambda top, blob: (top / "index.json").write_text("[" * 200_000), "cannot be read"),
    ],
    ids=["gone", "fifo", "directory", "deep"],
)
def test_a_layout_that_is_not_whole_is_told_of(
    engine: Engine, tmp_path: Path, break_: Callable[[Path, Path], object], message: str
) -> None:
    """Nothing waits for a FIFO, and the layout is not looked for as if it were a name."""
    from boxwright.build.request import Output

    top = tmp_path / "Layout"
    output = Output("oci", str(top), {"tar": "false"})
    engine.build(BuildRequest(dockerfile_data=b"FROM base\n", outputs=(output,)))
    digest = json.loads((top / "index.json").read_bytes())["manifests"][0]["digest"]
    break_(top, top / "blobs" / digest.replace(":", "/"))
    with pytest.raises(BuildFailed) as caught:
        built(engine, "FROM n\n", {"n": f"oci-layout://{top}"})
    assert message in str(caught.value)
