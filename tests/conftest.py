"""Every test runs apart from the host (support.host)."""

from support.host import (  # noqa: F401
    _outside,
    pytest_addoption,
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
)
