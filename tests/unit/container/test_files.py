"""/etc/hosts, /etc/resolv.conf; the log format; frames; JSON without `json`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.container import frames
from boxwright.container.supervisor.logfile import LogFile
from boxwright.network import files
from boxwright.spec.text import to_json
from boxwright.spec.times import stamp


def test_hosts() -> None:
    text = files.hosts(["db:10.0.0.9", "me:host-gateway"], [("172.17.0.2", ["abc"])], gateway="172.17.0.1")
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
    assert text.endswith("10.0.0.9\tdb\n172.17.0.1\tme\n172.17.0.2\tabc\n")
    assert files.host_hosts("1.1.1.1 a\n", ["b:2.2.2.2"]) == "1.1.1.1 a\n2.2.2.2\tb\n"
    assert files.host_hosts("same", []) == "same"


HOST = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\nsearch a.test b.test\noptions edns0\n"


def test_resolv_conf() -> None:
    assert files.resolv(HOST) == "nameserver 10.0.0.1\nsearch a.test b.test\noptions edns0\n"
    assert files.resolv(HOST, local=True).startswith(
        "nameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\n"
    )
    assert files.resolv("nameserver 127.0.0.1\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert (
        files.resolv(HOST, servers=["9.9.9.9"], search=["."], options=["ndots:3"])
        == "nameserver 9.9.9.9\noptions ndots:3\n"
    )
    assert (
        files.resolv(HOST, internal="10.89.0.1")
        == "nameserver 10.89.0.1\nsearch a.test b.test\noptions edns0 ndots:0\n"
    )


def entries(path: Path) -> list[tuple[str, str]]:
    return [(e["stream"], e["log"]) for e in map(json.loads, path.read_text().splitlines())]


def test_log_lines(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"))
    log.write(1, b"one\ntw")
    log.write(2, b"err\n")
    log.write(1, b"o\n\xff<&>\n")
    log.write(1, b"rest")
    log.close()
    assert entries(tmp_path / "log") == [
        ("stdout", "one\n"),
        ("stderr", "err\n"),
        ("stdout", "two\n"),
        ("stdout", "\ufffd<&>\n"),
        ("stdout", "rest"),
    ]


def test_long_lines_are_split(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"))
    log.write(1, b"x" * 40000 + b"\n")
    log.close()
    assert [len(text) for _, text in entries(tmp_path / "log")] == [16384, 16384, 7233]


def test_rotation_keeps_so_many_files(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 300, 3)
    for number in range(40):
        log.write(1, b"line %d\n" % number)
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    found = [text for name in ("log.2", "log.1", "log") for _, text in entries(tmp_path / name)]
    assert found == [f"line {n}\n" for n in range(40 - len(found), 40)]
    assert all((tmp_path / name).stat().st_size <= 300 for name in os.listdir(tmp_path))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_without_the_module(value: object) -> None:
    assert (
        json.loads(to_json(value).encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")) == value
    )


def test_stamps() -> None:
    assert stamp(0) == "1970-01-01T00:00:00.000000000Z"
    assert len(stamp()) == 30


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_frames_survive_any_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frames.frame(kind, body) for kind, body in sent)
    decoder, got, at = frames.Decoder(), [], 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        got += list(decoder.feed(data[at : at + size]))
        at += size
    assert got == sent


def test_frames_with_values() -> None:
    ((kind, body),) = frames.Decoder().feed(frames.message(frames.EXITED, {"code": 3, "error": ""}))
    assert kind == frames.EXITED and frames.value(body) == {"code": 3, "error": ""}


def test_an_endless_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="frame of"):
        list(frames.Decoder().feed(frames.HEADER.pack(1, 1 << 30)))


@pytest.mark.parametrize(
    ("hostname", "domain", "names"),
    [
        ("web", "", ["web"]),
        ("a.b", "", ["a.b", "a"]),
        ("web", "example.org", ["web.example.org", "web"]),
        ("a.b", "c", ["a.b.c", "a"]),
        (".x", "", [".x"]),
    ],
)
def test_names_of_a_container(hostname: str, domain: str, names: list[str]) -> None:
    assert files.host_names(hostname, domain) == names


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_batch_is_rotated_entry_by_entry(tmp_path: Path, batch: int) -> None:
    log = LogFile(str(tmp_path / "log"), 10_000, 2)
    lines = [b"%04d %s\n" % (number, b"x" * 150) for number in range(1000)]
    for at in range(0, 1000, batch):
        log.write(1, b"".join(lines[at : at + batch]))
    log.close()
    kept = b"".join((tmp_path / name).read_bytes() for name in ("log.1", "log"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert 9_700 < (tmp_path / "log.1").stat().st_size <= 10_000
    assert (tmp_path / "log").stat().st_size <= 10_000
    numbers = [int(json.loads(line)["log"][:4]) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], 1000))
