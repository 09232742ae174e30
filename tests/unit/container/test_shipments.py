"""Log drivers: options, tags, and lines that reach servers of the test's own."""

from __future__ import annotations

import gzip
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from boxwright.container import shipments
from boxwright.container.job import ShippingPlan
from boxwright.container.shipments import LogOptionInvalid, check, plan_of, rendered
from boxwright.container.supervisor import shipping
from boxwright.container.supervisor.lines import Unreachable
from boxwright.container.supervisor.logfile import LogFile
from boxwright.container.supervisor.shipping import Shipping
from boxwright.spec.units import SizeInvalid
from boxwright.spec.values import replace
from support.turns import Turns

GELF = {"gelf-address": "udp://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
        ("none", {"foo": "bar"}, "invalid logging opts for driver none"),
        ("json-file", {"foo": "bar"}, "unknown log opt 'foo' for json-file log driver"),
        ("local", {"labels": "a"}, "unknown log opt 'labels' for log driver local"),
        ("syslog", {"foo": "bar"}, "unknown log opt 'foo' for syslog log driver"),
        ("gelf", {**GELF, "foo": "bar"}, 'unknown log opt "foo" for gelf log driver'),
        ("json-file", {"mode": "foo"}, "logger: logging mode not supported: foo"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"compress": "true"}, "compress cannot be true when max-file is less than 2"),
        ("json-file", {"labels-regex": "("}, "error parsing regexp"),
        ("json-file", {"tag": "{{.Nope}}"}, r"invalid tag .* at <\.Nope>"),
        ("json-file", {"tag": "{{uper .Name}}"}, "invalid tag .* not defined"),
        ("syslog", {"tag": "a\nb"}, "invalid tag"),
        ("syslog", {"syslog-format": "foo"}, "Invalid syslog format"),
        ("syslog", {"syslog-facility": "nope"}, "invalid syslog facility"),
        ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog-address": "foo"}, "unsupported scheme: ''"),
        ("syslog", {"syslog-address": "http://x"}, "unsupported scheme: 'http'"),
        ("syslog", {"syslog-address": "unix://../x"}, "a path is wanted"),
        ("syslog", {"syslog-address": "udp://a b:1"}, "a host and a port are wanted"),
        ("syslog", {"syslog-address": "udp://a:99999"}, "a host and a port are wanted"),
        ("syslog", {"cache-disabled": "x"}, "invalid value for option cache-disabled: x"),
        ("gelf", {}, "gelf-address is a required parameter"),
        ("gelf", {"gelf-address": "http://x:1"}, "gelf: endpoint needs to be TCP or UDP"),
        (
            "gelf",
            {"gelf-address": "udp://127.0.0.1"},
            "gelf: please provide gelf-address as proto://host:port",
        ),
        (
            "gelf",
            {**GELF, "gelf-compression-type": "bz"},
            'unknown value "bz" for log opt "gelf-compression-type"',
        ),
        ("gelf", {**GELF, "gelf-compression-level": "10"}, "unknown value"),
        (
            "gelf",
            {"gelf-address": "tcp://127.0.0.1:9", "gelf-compression-level": "3"},
            "compression is only supported on UDP",
        ),
        (
            "fluentd",
            {"fluentd-address": "http://x"},
            r"invalid fluentd-address \(http://x\): unsupported scheme: 'http'",
        ),
        ("fluentd", {"fluentd-async": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
        ("fluentd", {"fluentd-max-retries": "-1"}, 'strconv.ParseUint: parsing "-1": invalid syntax'),
        ("fluentd", {"fluentd-retry-wait": "x"}, 'time: invalid duration "x"'),
        ("fluentd", {"fluentd-write-timeout": "-1s"}, "value must be a duration that is non-negative"),
        ("fluentd", {"fluentd-async-reconnect-interval": "1m"}, "must be between 100ms and 10s"),
        ("fluentd", {"fluentd-async-reconnect-interval": "1s"}, "needs fluentd-async=true"),
        ("fluentd", {"fluentd-read-timeout": "1s"}, "unknown log opt 'fluentd-read-timeout'"),
        ("gelf", {**GELF, "gelf-tcp-max-reconnect": "1"}, '"gelf-tcp-max-reconnect" is only valid for TCP'),
        ("gelf", {**GELF, "gelf-tcp-reconnect-delay": "x"}, "must be a positive integer"),
    ],
)
def test_options_that_cannot_be(driver: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(LogOptionInvalid, match=message):
        check(driver, options)


def test_a_buffer_has_a_size() -> None:
    with pytest.raises(SizeInvalid):
        check("gelf", {**GELF, "mode": "non-blocking", "max-buffer-size": "-1"})


@pytest.mark.parametrize(
    ("driver", "address", "found"),
    [
        ("syslog", "", ("unix", "", 0)),
        ("syslog", "udp://h", ("udp", "h", 514)),
        ("syslog", "tcp+tls://[fd00::1]:6514", ("tcp+tls", "fd00::1", 6514)),
        ("syslog", "tcp://[fd00::1]", ("tcp", "fd00::1", 514)),
        ("syslog", "unixgram:///run/x", ("unixgram", "/run/x", 0)),
        ("fluentd", "", ("tcp", "127.0.0.1", 24224)),
        ("fluentd", "h:1", ("tcp", "h", 1)),
        ("fluentd", "unix:///x", ("unix", "/x", 0)),
        ("gelf", "udp://h:12201", ("udp", "h", 12201)),
    ],
)
def test_addresses(driver: str, address: str, found: tuple[str, str, int]) -> None:
    assert shipments.address(driver, {f"{driver}-address": address}) == found


def container(path: Path, driver: str, **more: Any) -> Any:
    options = more.pop("options", {})
    merged = {"Labels": {"a.b": "1", "c": "2\n3"}, "Env": ["X=y", "Z=w"]}
    record = {"image_id": "sha256:" + "f" * 64, "image": "bb"}
    return SimpleNamespace(
        config=SimpleNamespace(log_driver=driver, log_opts=options),
        id="e" * 64,
        short_id="e" * 12,
        name="web",
        command=["sh", "-c", "echo\nhi"],
        merged=merged,
        record=record,
        created=0.0,
        log_path=path / "log",
    )


def test_what_a_supervisor_is_told(tmp_path: Path) -> None:
    options = {"labels": "a.b", "env-regex": "^Z", "tag": "{{.Name}}/{{ .ID }}", "mode": "non-blocking"}
    plan = plan_of(container(tmp_path, "json-file", options=options))
    assert dict(plan.attributes) == {"a.b": "1", "Z": "w", "tag": f"web/{'e' * 12}"} and plan.shipping is None
    plan = plan_of(container(tmp_path, "journald", options=options))
    assert plan.path == str(tmp_path / "log") and (plan.max_size, plan.max_files, plan.compress) == (
        20 << 20,
        5,
        True,
    )
    assert plan.shipping is not None and plan.shipping.buffer == 1 << 20
    assert (
        plan.shipping.extra == {"A_B": "1", "Z": "w"}
        and plan.shipping.facts["CONTAINER_TAG"] == f"web/{'e' * 12}"
    )
    plan = plan_of(container(tmp_path, "gelf", options={**GELF, "cache-disabled": "true"}))
    assert plan.path == "" and plan.shipping is not None and plan.shipping.tag == "e" * 12
    smallest = {
        **GELF,
        "mode": "non-blocking",
        "max-buffer-size": "0",
    }  # the newest line waits, and no container
    plan = plan_of(container(tmp_path, "gelf", options=smallest))
    assert plan.shipping is not None and plan.shipping.buffer == 1


def test_a_tag_is_checked_against_all_that_a_container_has(tmp_path: Path) -> None:
    assert set(shipments._SAMPLE) == set(shipments._facts(container(tmp_path, "json-file")))


def test_tags() -> None:
    facts = {"Name": "a", "ID": "b"}
    assert rendered("{{.Name}}-{{- .ID -}}!", facts) == "a-b!"
    assert rendered('{{upper .Name}}/{{with .ID}}{{printf "%q" .}}{{end}}', facts) == 'A/"b"'
    assert rendered("{{.Name}}", {"Name": "a\nb\x1b[0m\u202e"}) == "a b [0m "
    assert len(rendered("{{.Name}}", {"Name": "a" * 10_000})) == 4096


def test_tags_over_docker_s_fields(tmp_path: Path) -> None:
    """Those of its `logger.Info`, and its methods."""
    given = {
        "{{.ID}} {{.FullID}}": f"{'e' * 12} {'e' * 64}",
        "{{.ImageID}} {{slice .ImageFullID 0 7}} {{.ImageName}}": "sha256:",
        "{{.ContainerName}} {{.Name}} {{.DaemonName}}": "/web web boxwright",
        '{{.ContainerEntrypoint}}|{{join .ContainerArgs ","}}|{{.Command}}': None,
        '{{index .ContainerLabels "none"}}': "",
        '{{index .Config "tag"}}': '{{index .Config "tag"}}',
        "{{.Hostname}}": os.uname().nodename,
    }
    for template, wanted in given.items():
        made = container(tmp_path, "gelf", options={**GELF, "tag": template})
        check("gelf", {**GELF, "tag": template})
        shipping = plan_of(made).shipping
        assert shipping is not None
        if wanted is not None:
            assert shipping.tag.startswith(wanted), template


@pytest.mark.parametrize("tag", ["{{.HostName}}", "{{", "{{.Name", "{{nothing .Name}}", "{{range .Name}}"])
def test_tags_that_are_none(tag: str) -> None:
    with pytest.raises(LogOptionInvalid, match="invalid tag"):
        check("gelf", {**GELF, "tag": tag})


def plan(driver: str, scheme: str, host: str, port: int = 0, **options: str) -> ShippingPlan:
    return ShippingPlan(
        driver=driver,
        scheme=scheme,
        host=host,
        port=port,
        tag="t",
        facts={"container_id": "c"} if driver != "journald" else {"CONTAINER_ID": "c"},
        extra={"k": "v"} if driver != "journald" else {"K": "v"},
        options={"facility": "3", **options},
    )


def shipped(given: ShippingPlan) -> None:
    one = Shipping(given, Turns(), lambda: None)  # type: ignore[arg-type]
    one.write(1, b"first\nsec")
    one.write(2, b"wrong\n")
    one.write(1, b"ond\nlast")
    one.flush()
    one.close()


@pytest.fixture
def tcp() -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener, listener.getsockname()[1]


@pytest.fixture
def udp() -> Iterator[tuple[socket.socket, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(20)
        server.bind(("127.0.0.1", 0))
        yield server, server.getsockname()[1]


def all_of(listener: socket.socket) -> bytes:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(20)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def heard(listener: socket.socket, given: ShippingPlan) -> bytes:
    """What a server of streams hears until the end."""
    found: list[bytes] = []
    server = threading.Thread(target=lambda: found.append(all_of(listener)))
    server.start()
    shipped(given)
    server.join(30)
    return found[0]


def test_syslog_over_tcp(tcp: tuple[socket.socket, int]) -> None:
    lines = heard(tcp[0], plan("syslog", "tcp", "127.0.0.1", tcp[1])).decode().splitlines()
    assert [line.rpartition("]: ")[2] for line in lines] == ["first", "wrong", "second", "last"]
    assert [line.partition(">")[0] for line in lines] == ["<30", "<27", "<30", "<30"]


def test_syslog_over_udp_and_the_local_socket(udp: tuple[socket.socket, int], tmp_path: Path) -> None:
    shipped(plan("syslog", "udp", "127.0.0.1", udp[1], **{"syslog-format": "rfc5424"}))
    assert udp[0].recv(9999).endswith(b" t - first\n") and udp[0].recv(9999).startswith(b"<27>1 ")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
        local.settimeout(20)
        local.bind(str(tmp_path / "log"))
        shipped(plan("syslog", "unixgram", str(tmp_path / "log")))
        assert local.recv(9999).endswith(b": first\n")


@pytest.mark.parametrize("kind", ["gzip", "zlib", "none"])
def test_gelf_over_udp(udp: tuple[socket.socket, int], kind: str) -> None:
    import zlib

    shipped(plan("gelf", "udp", "127.0.0.1", udp[1], **{"gelf-compression-type": kind}))
    data = udp[0].recv(9999)
    data = {"gzip": gzip.decompress, "zlib": zlib.decompress, "none": bytes}[kind](data)
    found = json.loads(data)
    assert (found["short_message"], found["_k"], found["_container_id"]) == ("first", "v", "c")


def test_gelf_over_tcp(tcp: tuple[socket.socket, int]) -> None:
    *messages, end = heard(tcp[0], plan("gelf", "tcp", "127.0.0.1", tcp[1])).split(b"\0")
    assert [json.loads(m)["short_message"] for m in messages] == [
        "first",
        "wrong",
        "second",
        "last",
    ] and end == b""


def test_fluentd_over_tcp(tcp: tuple[socket.socket, int]) -> None:
    data = heard(tcp[0], plan("fluentd", "tcp", "127.0.0.1", tcp[1]))
    assert (
        data.count(b"\x93\xa1t\xce") == 4
        and b"\xa3log\xa5first" in data
        and b"\xafpartial_message\xa4true" in data
    )


def test_fluentd_waits_for_its_answers(tcp: tuple[socket.socket, int]) -> None:
    got: list[bytes] = []

    def serve() -> None:
        connection, _ = tcp[0].accept()
        with connection:
            while data := connection.recv(1 << 16):
                got.append(data)
                connection.sendall(b"\x81\xa3ack\xa1x")

    server = threading.Thread(target=serve)
    server.start()
    shipped(plan("fluentd", "tcp", "127.0.0.1", tcp[1], **{"fluentd-request-ack": "true"}))
    server.join(30)
    assert len(got) == 4 and all(b"\xa5chunk" in data for data in got)  # one at a time


def test_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "_JOURNAL", str(tmp_path / "socket"))
    with pytest.raises(Unreachable, match="journald is not enabled on this host"):
        shipped(plan("journald", "unixgram", ""))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.settimeout(20)
        journal.bind(str(tmp_path / "socket"))
        shipped(plan("journald", "unixgram", ""))
        first = journal.recv(9999)
    assert (
        b"MESSAGE=first\n" in first
        and b"CONTAINER_ID=c\n" in first
        and b"K=v\n" in first
        and b"PRIORITY=6" in first
    )


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("syslog", "dial tcp 127.0.0.1:{}: connect: connection refused"),
        ("fluentd", "dial tcp 127.0.0.1:{}: connect: connection refused"),
        (
            "gelf",
            "gelf: cannot connect to GELF endpoint: 127.0.0.1:{0} dial tcp 127.0.0.1:{0}: connect: connection refused",
        ),
    ],
)
def test_a_server_that_is_not_there(driver: str, words: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nothing listens there, and nothing else will
        port = held.getsockname()[1]
        with pytest.raises(Unreachable) as told:
            shipped(plan(driver, "tcp", "127.0.0.1", port))
    assert str(told.value) == words.format(port)


def test_a_name_that_no_server_can_have() -> None:
    with pytest.raises(Unreachable, match=f"dial tcp {'a' * 70}:1: connect: {'a' * 70}: .*label"):
        shipped(plan("syslog", "tcp", "a" * 70, 1))


def test_what_waits_is_counted_to_the_byte(udp: tuple[socket.socket, int]) -> None:
    one = Shipping(plan("syslog", "udp", "127.0.0.1", udp[1]), Turns(), lambda: None)  # type: ignore[arg-type]
    one.write(1, b"\n" + b"x" * (40 << 10))  # an empty line, two pieces of a long one, and its rest
    one.flush()
    one.close()
    assert (one._size, len(one._queue)) == (0, 0)


def test_a_server_that_comes_later(tcp: tuple[socket.socket, int]) -> None:
    given = plan("fluentd", "tcp", "127.0.0.1", tcp[1], **{"fluentd-async": "true"})
    assert b"first" in heard(tcp[0], given)


def test_a_container_waits_for_a_server_that_takes_nothing_and_goes_on_when_it_does(
    tcp: tuple[socket.socket, int],
) -> None:
    loop, drained = Turns(), list[bool]()
    given = plan("fluentd", "tcp", "127.0.0.1", tcp[1], **{"fluentd-request-ack": "true"})
    one = Shipping(replace(given, entries=2), loop, lambda: drained.append(one.lagging))  # type: ignore[arg-type]
    connection, _ = tcp[0].accept()
    with connection:
        connection.settimeout(20)
        one.write(1, b"1\n2\n3\n4\n5\n")
        assert one.lagging and not loop.turn(0.05) and not drained
        for _ in range(5):
            assert connection.recv(1 << 16)
            connection.sendall(b"ack")
        assert loop.turn(20) and drained == [False]
        one.close()
    assert not loop.watched and not one._queue


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ({"syslog-tls-ca-cert": "ca"}, True),
        ({"syslog-tls-skip-verify": "true"}, True),
        ({}, False),
        ({"syslog-tls-ca-cert": "ca", "syslog-tls-cert": "cert", "syslog-tls-key": "key"}, True),
    ],
    ids=["trusted", "unverified", "unknown", "known to the server"],
)
def test_syslog_over_tls(
    tcp: tuple[socket.socket, int], tmp_path: Path, options: dict[str, str], reached: bool
) -> None:
    authority = trustme.CA()
    own, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client")
    paths = {name: str(tmp_path / name) for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    client.cert_chain_pems[0].write_to_path(paths["cert"])
    client.private_key_pem.write_to_path(paths["key"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.configure_cert(context)
    if "syslog-tls-cert" in options:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    told = {key: paths.get(value, value) for key, value in options.items()}
    given = plan("syslog", "tcp+tls", "127.0.0.1", tcp[1], **{"syslog-format": "rfc5424", **told})
    with context.wrap_socket(tcp[0].dup(), server_side=True) as listener:
        listener.settimeout(20)
        if reached:
            data = heard(listener, given)
            lines = []
            while data:  # each message says how long it is (RFC 6587)
                length, _, data = data.partition(b" ")
                lines.append(data[: int(length)].rpartition(b" - ")[2])
                data = data[int(length) :]
            assert lines == [b"first\n", b"wrong\n", b"second\n", b"last\n"]
            return
        refused: list[OSError] = []

        def serve() -> None:
            try:
                listener.accept()
            except OSError as error:
                refused.append(error)

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(Unreachable, match="certificate"):
            shipped(given)
        server.join(20)
        assert refused


def test_how_long_a_server_is_waited_for(tmp_path: Path) -> None:
    one = container(tmp_path, "gelf", options={"gelf-address": "tcp://h:1", "gelf-tcp-max-reconnect": "0"})
    given = plan_of(one).shipping
    assert given is not None and (given.attempts, given.first_wait) == (1, 0.25)
    asked = {
        "fluentd-async": "true",
        "fluentd-async-reconnect-interval": "250ms",
        "fluentd-buffer-limit": "1k",
        "fluentd-max-retries": "3",
        "fluentd-retry-wait": "2s",
        "fluentd-write-timeout": "7s",
    }
    given = plan_of(container(tmp_path, "fluentd", options=asked)).shipping
    assert given is not None
    assert (given.attempts, given.first_wait, given.last_wait) == (4, 2.0, 60.0)
    assert (given.patience, given.renewal, given.entries) == (7.0, 0.25, 1024)


def test_a_server_that_is_gone_is_tried_so_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(shipping.time, "sleep", waits.append)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    given = plan("fluentd", "tcp", "127.0.0.1", port, **{"fluentd-async": "true"})
    lost = Shipping(
        replace(given, attempts=4, first_wait=1.0, last_wait=3.0),
        Turns(),  # type: ignore[arg-type]
        lambda: None,
    )
    lost.write(1, b"a\nb\n")
    lost.close()
    assert waits == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0] and not lost._queue


def test_a_connection_is_made_again_after_its_time(tcp: tuple[socket.socket, int]) -> None:
    given = plan("fluentd", "tcp", "127.0.0.1", tcp[1], **{"fluentd-async": "true"})
    one = Shipping(replace(given, renewal=1e-9), Turns(), lambda: None)  # type: ignore[arg-type]
    one.write(1, b"a\nb\n")
    one.close()
    found = [all_of(tcp[0]), all_of(tcp[0])]
    assert [(b"\xa1a" in data, b"\xa1b" in data) for data in found] == [(True, False), (False, True)]


def test_so_many_lines_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping._thread, "start_new_thread", lambda run, given: None)
    given = replace(plan("fluentd", "tcp", "h", 1, **{"fluentd-async": "true"}), entries=2)
    full = Shipping(given, Turns(), lambda: None)  # type: ignore[arg-type]
    full.write(1, b"1\n2\n3\n4\n")
    assert [line for _, _, line, _ in full._queue] == [b"1", b"2"] and not full.lagging
    monkeypatch.setattr(shipping, "_LogServer", lambda plan: None)
    waiting = Shipping(replace(given, options={}), Turns(), lambda: None)  # type: ignore[arg-type]
    waiting.write(1, b"1\n2\n")
    assert not waiting.lagging
    waiting.write(1, b"3\n")
    assert waiting.lagging and len(waiting._queue) == 3


def test_what_comes_with_the_order_to_end_is_sent(udp: tuple[socket.socket, int]) -> None:
    class Late(Shipping):
        told = False

        def _next(self) -> bool:
            more = super()._next()
            if not more and not self.told:  # the queue was empty, and now it is not
                self.told = True
                self._put(1, [b"late\n"])
                self._ending = time.monotonic() + 5
                os.eventfd_write(self._work, 1)
            return more

    one = Late(plan("syslog", "udp", "127.0.0.1", udp[1]), Turns(), lambda: None)  # type: ignore[arg-type]
    one.write(1, b"first\n")
    assert one._ended.acquire(timeout=20)
    one._server.close()
    assert [udp[0].recv(9999).rpartition(b": ")[2] for _ in range(2)] == [b"first\n", b"late\n"]


def test_a_full_queue_lets_the_container_wait_or_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "_FULL", 100)
    monkeypatch.setattr(
        shipping._thread, "start_new_thread", lambda run, given: None
    )  # a server that takes nothing
    waiting = Shipping(plan("fluentd", "tcp", "h", 1, **{"fluentd-async": "true"}), Turns(), lambda: None)  # type: ignore[arg-type]
    waiting.write(1, b"x" * 60 + b"\n")
    assert not waiting.lagging
    waiting.write(1, b"y" * 60 + b"\n")
    assert waiting.lagging and len(waiting._queue) == 2
    given = replace(plan("fluentd", "tcp", "h", 1, **{"fluentd-async": "true"}), buffer=100)
    losing = Shipping(given, Turns(), lambda: None)  # type: ignore[arg-type]
    losing.write(1, b"x" * 60 + b"\n" + b"y" * 60 + b"\n")
    assert not losing.lagging and [line for _, _, line, _ in losing._queue] == [b"y" * 60]
    assert losing._size == 61


# --- files -----------------------------------------------------------------------------------------


def logged(path: Path) -> list[str]:
    from boxwright.container.logs import read

    one = SimpleNamespace(config=SimpleNamespace(log_driver="json-file", log_opts={}), log_path=path)
    return [entry.text for entry in read(one)]  # type: ignore[arg-type]


@pytest.mark.parametrize("compress", [False, True])
def test_turned_logs_are_exact_to_the_line(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), 1000, 4, compress=compress, attributes='"a":"b"')
    lines = [f"line {n}\n" for n in range(100)]
    for line in lines:
        file.write(1, line.encode())
    file.close()
    found = logged(path)
    assert found == lines[-len(found) :] and len(found) > 30  # nothing is torn, doubled or missing between
    names = {p.name for p in tmp_path.iterdir()}
    assert names == (
        {"log", "log.1", "log.2.gz", "log.3.gz"} if compress else {"log", "log.1", "log.2", "log.3"}
    )
    assert all(p.stat().st_size <= 1000 for p in tmp_path.iterdir())


@pytest.mark.parametrize("tail", [-1, 2])
def test_who_follows_loses_no_line_when_the_log_is_turned_often(tmp_path: Path, tail: int) -> None:
    from boxwright.container.logs import read

    path = tmp_path / "log"
    file = LogFile(str(path), 300, 500)
    file.write(1, b"".join(b"old %d\n" % n for n in range(20)))
    alive = [True]
    one = SimpleNamespace(
        config=SimpleNamespace(log_driver="json-file", log_opts={}),
        log_path=path,
        refresh=lambda: SimpleNamespace(active=alive[0]),
        state=SimpleNamespace(supervised=True),
    )
    reader = read(one, tail=tail, follow=True)  # type: ignore[arg-type]
    found = [next(reader).text for _ in range(20 if tail < 0 else tail)]
    assert found == [f"old {n}\n" for n in range(20)][20 - len(found) :]

    def write() -> None:
        for n in range(400):
            file.write(1, b"new %d\n" % n)
        file.close()
        alive[0] = False

    writer = threading.Thread(target=write)
    writer.start()
    rest = [entry.text for entry in reader]
    writer.join()
    assert rest == [f"new {n}\n" for n in range(400)]
