"""URLs without what proves who asks."""

from __future__ import annotations

import pytest

from boxwright.spec.urls import redacted


@pytest.mark.parametrize(
    "text, shown",
    [
        ("get https://me:secret@host/x?a=1 now", "get https://host/x?a=1 now"),
        ("ssh://git:secret@host/x", "ssh://git@host/x"),
        ("1https://token@host and 'svn+ssh://a:b@c'", "1https://host and 'svn+ssh://a@c'"),
        ("https://host/me@here", "https://host/me@here"),
    ],
)
def test_accounts(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_long_line_is_looked_at_once() -> None:
    """A file written out in a Dockerfile: digits and letters that could all begin a scheme."""
    line = "deadbeef" * 200_000
    assert redacted(f"{line} https://me:secret@host {line}://me:secret@host") == (
        f"{line} https://host {line}://me@host"
    )
