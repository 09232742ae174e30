"""Paths inside an image: always with `/`, always clean, never the host's."""

from __future__ import annotations

import posixpath


def normalize_workdir(current: str, path: str) -> str:
    """WORKDIR `path` where `current` is in force: absolute and clean."""
    return clean_path(posixpath.join("/", current, path))


def clean_path(path: str) -> str:
    """Go's path.Clean: one form for every spelling of a path; `..` above the root goes; '' is `.`."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned
