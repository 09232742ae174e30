"""Attestations of what is built: where it came from (provenance) and what is in it (a bill of materials)."""
