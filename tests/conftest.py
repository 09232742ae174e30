"""Every test runs apart from the host (support.host), and Hypothesis takes the time that a busy machine needs."""

import os
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase, InMemoryExampleDatabase

from support.host import (  # noqa: F401
    _outside,
    pytest_addoption,
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

# Speed is measured in bench/: how fast inputs come depends on what else the machine does.
# A checkout may be another user's: what failed before is remembered only where it can be written.
_EXAMPLES = Path(__file__).parents[1] / ".hypothesis" / "examples"
_nearest = next(path for path in _EXAMPLES.parents if path.exists()) if not _EXAMPLES.exists() else _EXAMPLES
settings.register_profile(
    "boxwright",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=DirectoryBasedExampleDatabase(_EXAMPLES)
    if os.access(_nearest, os.W_OK)
    else InMemoryExampleDatabase(),
)
settings.load_profile("boxwright")
