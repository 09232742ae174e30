"""The snapshot suite on the drivers that mount."""

from __future__ import annotations

import pytest

from suites.snapshot_suite import SnapshotSuite
from support import REAL_ROOT

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="mounting needs root")]


class TestMounted(SnapshotSuite):
    driver_name = "mounted"


class TestUnpacked(SnapshotSuite):
    driver_name = "unpacked"
