"""What the text of flags means."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.container import options
from boxwright.container.config import DeviceSpec, RestartPolicy, Ulimit
from boxwright.container.options import OptionInvalid


@pytest.mark.parametrize(
    ("text", "nano"),
    [("1", 10**9), ("0.5", 500_000_000), (".25", 250_000_000), ("1.123456789", 1_123_456_789)],
)
def test_cpus(text: str, nano: int) -> None:
    assert options.parse_cpus(text) == nano


def test_cpus_that_are_none() -> None:
    for text in ("", "x", "1.0000000001", "."):
        with pytest.raises(OptionInvalid):
            options.parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("sigkill", 9),
        ("9", 9),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("WINCH", 28),
        ("CHLD", 17),
        ("SYS", 31),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert options.parse_signal(text) == number


def test_signals_that_are_none() -> None:
    for text in ("", "0", "65", "SIGNOPE", "RTMIN+40"):
        with pytest.raises(OptionInvalid, match="invalid signal"):
            options.parse_signal(text)


def test_environment(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(
        b"\xef\xbb\xbf# comment\n\nA=1\r\nB = spaces\nHERE\nGONE\n".replace(b"B = spaces\n", b"B= spaces \n")
    )
    found = options.environment([str(tmp_path / "a")], ["C=3=4", "HERE", "NOWHERE"], {"HERE": "yes"})
    assert found == ("A=1", "B= spaces ", "HERE=yes", "C=3=4", "HERE=yes")
    assert options.unset_names(["C=3", "HERE", "NOWHERE"], {"HERE": "yes"}) == ("NOWHERE",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A B=1\n", "contains whitespaces"),
        (b"=1\n", "no variable name on line '=1'"),
        (b"A=\xff\n", "line 1 is not valid UTF-8"),
    ],
)
def test_environment_files_that_are_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(OptionInvalid, match=message):
        options.environment([str(tmp_path / "a")], [], {})
    with pytest.raises(OptionInvalid, match="no such file"):
        options.environment([str(tmp_path / "b")], [], {})


def test_merging_environments() -> None:
    assert options.merge_env(["A=1", "B=2"], ["A=3", "C=4"], ["B"]) == ["A=3", "C=4"]


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("a=1\nplain\n")
    assert options.labels([str(tmp_path / "l")], ["a=2", "x.y=z=w"]) == {"a": "2", "plain": "", "x.y": "z=w"}
    with pytest.raises(OptionInvalid):
        options.labels([], ["=x"])


def test_small_ones() -> None:
    assert options.parse_ulimit("nofile=1:2") == Ulimit("nofile", 1, 2)
    assert options.parse_ulimit("core=-1") == Ulimit("core", -1, -1)
    assert options.parse_device("/dev/a") == DeviceSpec("/dev/a", "/dev/a", "rwm")
    assert options.parse_device("/dev/a:r") == DeviceSpec("/dev/a", "/dev/a", "r")
    assert options.parse_device("/dev/a:/dev/b:rw") == DeviceSpec("/dev/a", "/dev/b", "rw")
    assert options.parse_restart("on-failure:3") == RestartPolicy("on-failure", 3)
    assert options.parse_restart("") == RestartPolicy("no", 0)
    assert options.parse_host("db:10.0.0.1") == "db:10.0.0.1"
    assert options.parse_host("db=[::1]") == "db:::1"
    assert options.parse_host("me:host-gateway") == "me:host-gateway"
    assert options.parse_tmpfs("/run:rw,size=1m") == ("/run", ("rw", "size=1m"))
    assert options.parse_map(["a=b=c"], "sysctl") == {"a": "b=c"}


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (options.parse_ulimit, "nofile"),
        (options.parse_ulimit, "nofile=a"),
        (options.parse_ulimit, "nofile=3:2"),
        (options.parse_device, "/dev/a:/dev/b:x"),
        (options.parse_device, "a:b"),
        (options.parse_restart, "often"),
        (options.parse_restart, "always:3"),
        (options.parse_restart, "on-failure:x"),
        (options.parse_host, "db"),
        (options.parse_host, "db:1.2.3"),
        (options.parse_tmpfs, "run"),
        (options.parse_tmpfs, "/run:rubbish"),
        (options.parse_tmpfs, "/run:rubbish=1"),
        (options.parse_tmpfs, "/run:exec=1"),
    ],
)
def test_small_ones_that_are_wrong(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(OptionInvalid):
        parse(text)


def test_security_options(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    assert options.parse_security(
        ["no-new-privileges", "seccomp=unconfined", f"seccomp:{tmp_path}/p.json", "apparmor=x"]
    ) == (
        "no-new-privileges",
        "seccomp=unconfined",
        "seccomp={}",
        "apparmor=x",
    )
    for wrong in ("nope", "seccomp=/no/such/file", "seccomp"):
        with pytest.raises(OptionInvalid):
            options.parse_security([wrong])


def test_health() -> None:
    assert options.health() is None
    assert options.health("curl x", interval=10**9, retries=2) == {
        "Test": ["CMD-SHELL", "curl x"],
        "Interval": 10**9,
        "Retries": 2,
    }
    assert options.health(none=True) == {"Test": ["NONE"]}
    with pytest.raises(OptionInvalid, match="conflicts"):
        options.health("x", none=True)
    with pytest.raises(OptionInvalid, match=r"^--health-start-period cannot be negative$"):
        options.health("x", start_period=-1)
    with pytest.raises(OptionInvalid, match="less than 1ms"):
        options.health("x", interval=1000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size=10m", "supported only for overlay over xfs with 'pquota' mount option"),
        ("size", "^invalid storage option$"),
        ("foo=1", "^Unknown option foo$"),
    ],
)
def test_trees_have_no_quotas(text: str, message: str) -> None:
    with pytest.raises(OptionInvalid, match=message):
        options.parse_storage([text])


@pytest.mark.parametrize("text", ["kernel.shmmax=5", "net.core.somaxconn=9", "fs.mqueue.msg_max=1"])
def test_kernel_parameters_of_namespaces(text: str) -> None:
    assert options.parse_sysctl(text) == text


@pytest.mark.parametrize("text", ["foo=1", "kernel.panic=1", "net.core.somaxconn", "vm.swappiness=1"])
def test_kernel_parameters_of_the_host(text: str) -> None:
    with pytest.raises(OptionInvalid, match=f"^sysctl '{text}' is not allowed$"):
        options.parse_sysctl(text)
