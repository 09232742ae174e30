"""A cache's config, as it is written and read; what comes from outside may be anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.build.remotecache import config as cacheconfig
from boxwright.build.remotecache.config import (
    CacheConfig,
    CacheInvalid,
    CacheLayer,
    CacheRecord,
    OwnRecord,
    RecordLink,
)
from boxwright.errors import Invalid
from boxwright.spec.digest import DiffID, Digest


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


def diff(text: str) -> DiffID:
    return DiffID.of(text.encode())


WHOLE = CacheConfig(
    layers=(
        CacheLayer(
            blob=digest("a"), media_type="m", diff_id=diff("A"), size=3, created="2024-01-01T00:00:00Z"
        ),
        CacheLayer(
            blob=digest("b"),
            parent=0,
            media_type="m",
            diff_id=diff("B"),
            size=4,
            created="2024-01-01T00:00:00Z",
        ),
    ),
    records=(
        CacheRecord(digest=str(digest("root"))),
        CacheRecord(
            digest=str(digest("step")),
            inputs=((RecordLink(0, str(digest("/"))), RecordLink(0)),),
            layers=((1, "2024-01-01T00:00:00Z"),),
        ),
        CacheRecord(
            digest=str(digest("merge")), inputs=((RecordLink(0),), (RecordLink(1),)), chains=(((0, 1), ""),)
        ),
    ),
    own=(
        OwnRecord(key=str(digest("k")), stack=(diff("A"), diff("B")), created=5.25, bytes=7, seconds=0.5),
        OwnRecord(key=str(digest("l")), stack=(diff("A"),), created=1.0),
        OwnRecord(key=str(digest("m")), stack=(), created=1.0),
    ),
)


def test_what_was_written_is_read() -> None:
    assert cacheconfig.parse(WHOLE.to_json(annotated=True)) == WHOLE
    plain = cacheconfig.parse(WHOLE.to_json())
    assert [layer.blob for layer in plain.layers] == [digest("a"), digest("b")] and plain.layers[
        0
    ].diff_id is None
    assert plain.records == WHOLE.records and plain.stack(1) == (0, 1)
    body = json.loads(WHOLE.to_json())
    assert body["boxwright"]["diffs"] == [[str(diff("A")), -1], [str(diff("B")), 0]]  # said once


def test_go_leaves_out_what_is_nothing() -> None:
    raw = json.dumps(
        {"layers": [{"blob": str(digest("a")), "parent": -1}, {"blob": str(digest("b"))}]}
    ).encode()
    assert cacheconfig.parse(raw).layers[1].parent == 0


def test_an_image_s_own() -> None:
    records = json.dumps([{"digest": str(digest("x")), "layers": [{"layer": 1}]}]).encode()
    found = cacheconfig.parse_inline(records, [(digest("a"), diff("A")), (digest("b"), diff("B"))])
    assert found.stack(found.records[0].layers[0][0]) == (0, 1)
    assert cacheconfig.parse_inline(b"", [], {"version": 2, "steps": "?"}).own == ()


def bad(**parts: Any) -> bytes:
    return json.dumps({**json.loads(WHOLE.to_json()), **parts}).encode()


X, Y = str(digest("x")), str(diff("y"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[" * 50_000,
        b"[]",
        bad(layers={}),
        bad(layers=[{"blob": "sha256:short", "parent": -1}]),
        bad(layers=[{"blob": X, "parent": 5}]),
        bad(layers=[{"blob": X, "parent": 0}]),  # on itself
        bad(layers=[{"blob": X, "parent": 1}, {"blob": X, "parent": 0}]),
        bad(layers=[{"blob": X, "parent": -1, "annotations": {"diffID": "md5:1"}}]),
        bad(layers=[{"blob": X, "parent": -1}, *({"blob": X, "parent": n} for n in range(5000))]),
        bad(records=[{"digest": X, "layers": [{"layer": 2}]}]),
        bad(records=[{"digest": X, "layers": [{"layer": -1}]}]),
        bad(records=[{"digest": X, "chains": [{"layers": [0, 9]}]}]),
        bad(records=[{"digest": X, "inputs": [[]]}]),
        bad(records=[{"digest": X, "inputs": [[{"link": 1}]]}]),
        bad(records=[{"digest": X, "inputs": [[{"link": True}]]}]),
        bad(records=[{"digest": X, "inputs": [[{"link": 0}]]}]),
        bad(records=[{"digest": X, "inputs": [[{"link": 1}]]}, {"digest": X, "inputs": [[{"link": 0}]]}]),
        bad(records=[{"digest": 7}]),
        bad(boxwright={"version": 1, "diffs": [[Y, 0]]}),
        bad(boxwright={"version": 1, "diffs": [[Y, -1]], "steps": [[X, 1, 0, 0, 0]]}),
        bad(boxwright={"version": 1, "diffs": [[Y, -1]], "steps": [[X, 0, "now", 0, 0]]}),
        bad(boxwright={"version": 1, "diffs": [[Y, -1]], "steps": [["x", 0, 0, 0, 0]]}),
        bad(boxwright={"version": 1, "diffs": [[Y, -1]], "steps": [[X, 0, -1, 0, 0]]}),
        # few bytes that would be many layers in memory
        bad(
            boxwright={
                "version": 1,
                "diffs": [[Y, n - 1] for n in range(4000)],
                "steps": [[X, 3999, 0, 0, 0]] * 9999,
            }
        ),
    ],
)
def test_refused(raw: bytes) -> None:
    with pytest.raises(CacheInvalid):
        cacheconfig.parse(raw)


def test_a_large_one_is_not_read() -> None:
    with pytest.raises(CacheInvalid):
        cacheconfig.parse(b" " * (cacheconfig.MAX_SIZE + 1))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(X),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "layers records boxwright blob parent digest inputs link selector layer chains diffs steps version "
                "annotations diffID size createdAt".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(_JSON)
def test_anything_is_read_or_refused(value: Any) -> None:
    try:
        found = cacheconfig.parse(json.dumps(value).encode())
    except Invalid:
        return
    assert cacheconfig.parse(found.to_json()).records == found.records


@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 6)), max_size=7))
def test_links_lead_somewhere_or_are_refused(links: list[tuple[int, int]]) -> None:
    """Whatever leads to whatever: what is accepted has no circles, so that following it ends."""
    layers = [{"blob": X, "parent": parent} for parent, _ in links]
    records = [{"digest": X, "inputs": [[{"link": link}]]} if link else {"digest": X} for _, link in links]
    try:
        found = cacheconfig.parse(json.dumps({"layers": layers, "records": records}).encode())
    except CacheInvalid:
        return
    for at in range(len(links)):
        assert len(found.stack(at)) <= len(links)
        steps = 0
        while found.records[at].inputs:
            at, steps = found.records[at].inputs[0][0].record, steps + 1
            assert steps <= len(links)
