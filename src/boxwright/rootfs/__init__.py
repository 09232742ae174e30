"""Safe access to a tree that somebody else filled: every path from a directory descriptor, never out of it."""
