"""What is said of an image in a registry."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import pytest

from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfigInvalid
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import replace
from boxwright.transfer.attestations import Inspected


class Repository:
    def __init__(self, *blobs: bytes) -> None:
        self._blobs = {Digest.of(blob): blob for blob in blobs}

    def open(self, desc: Descriptor) -> BinaryIO:
        return io.BytesIO(self._blobs[desc.digest])


@pytest.mark.parametrize("config", [b"no JSON", b"[" * 100_000, b"\xff"])
def test_a_config_that_is_none(config: bytes) -> None:
    """The index says the platform, so that nothing has read the config before."""
    manifest = Manifest.compose(Descriptor.of(config, mt.OCI_CONFIG), ())
    index = Index.compose([replace(manifest.descriptor, platform=Platform.parse("linux/amd64"))])
    remote: Any = Repository(config, manifest.raw)
    inspected = Inspected(remote, Reference.parse("host/app:1"), index.descriptor, index)
    with pytest.raises(ImageConfigInvalid, match="the config of linux/amd64 is not JSON"):
        inspected.configs()
