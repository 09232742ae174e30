"""Automated images: linked to a git repository, built on a push or on demand."""
