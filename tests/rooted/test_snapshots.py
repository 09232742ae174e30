"""The snapshot suite on the drivers that mount."""

from __future__ import annotations

import os

import pytest

from suites.snapshot_suite import SnapshotSuite

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")]


class TestMounted(SnapshotSuite):
    driver_name = "mounted"


class TestUnpacked(SnapshotSuite):
    driver_name = "unpacked"
