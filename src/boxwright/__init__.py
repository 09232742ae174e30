"""Boxwright: a container image engine. ``Engine`` is the SDK; the command line is one of its users. What it raises is
in ``boxwright.errors``."""

from __future__ import annotations

from boxwright.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright import errors
    from boxwright.engine import Engine

__all__ = ["Engine", "__version__", "errors"]


def __getattr__(name: str) -> object:
    # Imported on demand: `boxwright --version` must not pay for the engine.
    if name == "Engine":
        from boxwright.engine import Engine

        return Engine
    if name == "errors":
        import boxwright.errors as errors

        return errors
    raise AttributeError(f"module 'boxwright' has no attribute {name!r}")
