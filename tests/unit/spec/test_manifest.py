"""Documents as they are written."""

from __future__ import annotations

from boxwright.spec.manifest import canonical_json


def test_what_is_no_text_is_written_as_go_writes_it() -> None:
    name = b"caf\xe9 \xf0\x9f\x90\xb3".decode("utf-8", "surrogateescape")
    assert canonical_json({"name": name, "other": "\ud800"}) == (
        '{"name":"caf\ufffd \U0001f433","other":"\ufffd"}'.encode()
    )
