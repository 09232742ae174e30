"""Docker's forms of -p and --expose."""

from __future__ import annotations

import pytest

from boxwright.container.config import PortBinding
from boxwright.container.ports import PortInvalid, parse_expose, parse_exposed, parse_publish, show


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80", [PortBinding(80)]),
        ("8080:80", [PortBinding(80, "tcp", "", 8080)]),
        ("8080:80/UDP", [PortBinding(80, "udp", "", 8080)]),
        ("127.0.0.1:8080:80", [PortBinding(80, "tcp", "127.0.0.1", 8080)]),
        ("127.0.0.1::80", [PortBinding(80, "tcp", "127.0.0.1", 0)]),
        (":80", [PortBinding(80)]),
        ("[::1]:8080:80", [PortBinding(80, "tcp", "::1", 8080)]),
        ("[::1]::80", [PortBinding(80, "tcp", "::1")]),
        ("0:80", [PortBinding(80)]),
        (
            "8000-8002:80-82",
            [
                PortBinding(80, "tcp", "", 8000),
                PortBinding(81, "tcp", "", 8001),
                PortBinding(82, "tcp", "", 8002),
            ],
        ),
        ("80-81", [PortBinding(80), PortBinding(81)]),
        ("published=8080,target=80,protocol=udp", [PortBinding(80, "udp", "", 8080)]),
    ],
)
def test_publish(text: str, found: list[PortBinding]) -> None:
    assert list(parse_publish(text)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no port specified"),
        ("8080:", "no port specified"),
        ("x", "invalid containerPort"),
        ("1:70000", "invalid containerPort"),
        ("70000:1", "invalid hostPort"),
        ("80/icmp", "invalid proto"),
        ("1.2.3:1:2", "invalid IP address"),
        ("1-2:3-5", "invalid ranges specified"),
        ("3-2", "invalid range"),
        ("0", "invalid containerPort"),
        ("[::1:80:80", "invalid IP address"),
        ("[::1]:80", "invalid IP address"),
        ("::1:8080:80", "too many colons in address"),
        ("a=b", "invalid field"),
    ],
)
def test_publish_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PortInvalid, match=message):
        parse_publish(text)


def test_expose() -> None:
    assert parse_expose("80") == ("80/tcp",)
    assert parse_expose("80-81/udp") == ("80/udp", "81/udp")
    for wrong in ("1:2", "x", "80/foo"):
        with pytest.raises(PortInvalid):
            parse_expose(wrong)


def test_the_ports_column() -> None:
    bound = [(80, "tcp", "0.0.0.0", 8080), (81, "tcp", "0.0.0.0", 8081), (53, "udp", "127.0.0.1", 53)]
    assert (
        show(bound, ["80/tcp", "443/tcp"])
        == "127.0.0.1:53->53/udp, 443/tcp, 0.0.0.0:8080->80/tcp, 0.0.0.0:8081->81/tcp"
    )
    assert show([], ["90/tcp", "91/tcp", "93/tcp", "90/udp"]) == "90-91/tcp, 93/tcp, 90/udp"
    assert show([(80, "tcp", "::", 80), (81, "tcp", "::", 81)]) == "[::]:80-81->80-81/tcp"
    assert show([(80, "tcp", "::", 1)]) == "[::]:1->80/tcp"
    assert show([]) == ""


def test_what_an_image_exposes() -> None:
    assert parse_exposed(["80/tcp", "53/udp", "80", "443/TCP"]) == (
        (80, "tcp"),
        (53, "udp"),
        (443, "tcp"),
    )
    for wrong in (
        "foo",
        "80-70/tcp",
        "80-90/tcp",
        "99999",
        "0",
        "-1",
        "80/xyz",
        "80/tcp\nCOMMIT",
        "",
        "80/",
        "\u0663",
    ):
        with pytest.raises(PortInvalid, match="is no port"):
            parse_exposed(["80/tcp", wrong])
        assert show([], ["80/tcp", wrong]) == "80/tcp"


@pytest.mark.parametrize("text", ["\u0663", "9" * 5000, "80-\u0664"])
def test_digits_are_ascii_and_few(text: str) -> None:
    with pytest.raises(PortInvalid):
        parse_publish(text)
    with pytest.raises(PortInvalid):
        parse_expose(text)
