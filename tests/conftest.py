"""Every test runs apart from the host (support.host), and Hypothesis takes the time that a busy machine needs."""

from hypothesis import HealthCheck, settings

from support.host import (  # noqa: F401
    _outside,
    pytest_addoption,
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

# Speed is measured in bench/: how fast inputs come depends on what else the machine does.
settings.register_profile("boxwright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("boxwright")
