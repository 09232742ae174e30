"""Configs and layers to manifests."""

from __future__ import annotations

import json

import pytest

from boxwright.image.compose import (
    blank,
    compose,
    layer_descriptor,
    steps,
    with_layer,
    with_values,
)
from boxwright.spec.config import HistoryEntry, ImageConfig, ImageConfigInvalid
from boxwright.spec.digest import DiffID
from boxwright.spec.platform import Platform
from support.image import with_entry

A, B = DiffID.of(b"a"), DiffID.of(b"b")
LINUX = Platform("linux", "amd64")


def test_the_same_values_give_the_same_bytes() -> None:
    config = with_layer(
        blank(LINUX, created="2024-01-01T00:00:00Z"), A, HistoryEntry("2024-01-01T00:00:00Z", "x")
    )
    first, second = (compose(config, [layer_descriptor(A, 1024)]) for _ in range(2))
    assert first == second
    manifest, raw = first
    assert json.loads(manifest.raw)["layers"] == [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": str(A), "size": 1024}
    ]
    assert ImageConfig.parse(raw) == config


def test_bytes_from_elsewhere_keep_the_image_id() -> None:
    raw = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]},"odd":1}'
    manifest, kept = compose(ImageConfig.parse(raw), [], raw=raw)
    assert kept == raw and manifest.config.digest.hex == __import__("hashlib").sha256(raw).hexdigest()


def test_config_and_layers_must_agree() -> None:
    with pytest.raises(ImageConfigInvalid):
        compose(blank(LINUX), [layer_descriptor(A, 1)])


def test_history_pairs_with_layers() -> None:
    config = with_layer(
        with_entry(with_layer(blank(LINUX), A, HistoryEntry(created_by="1")), HistoryEntry(created_by="2")),
        B,
        HistoryEntry(created_by="3"),
    )
    assert [(e.created_by, d) for e, d in steps(config)] == [("1", A), ("2", None), ("3", B)]
    short = ImageConfig(platform=LINUX, diff_ids=(A, B), history=(HistoryEntry(created_by="1"),))
    assert [(e.created_by, d) for e, d in steps(short)] == [("1", A), ("", B)]
    long = ImageConfig(
        platform=LINUX, diff_ids=(A,), history=(HistoryEntry(created_by="1"), HistoryEntry(created_by="2"))
    )
    assert [(e.created_by, d) for e, d in steps(long)] == [("1", A), ("2", None)]


def test_values_replace_and_vanish() -> None:
    config = with_values(with_values(blank(LINUX), {"Cmd": ["a"], "User": "x"}), {"Cmd": None, "User": "y"})
    assert config.config == {"User": "y"}
