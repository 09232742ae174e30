"""tar <-> tree: layers that are mounted where they lie and never unpacked (docs/storage.md)."""
