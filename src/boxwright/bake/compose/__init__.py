"""Compose files as definitions: their services with a build section are targets."""

from __future__ import annotations

from boxwright.bake.compose.load import is_compose, load

__all__ = ["is_compose", "load"]
