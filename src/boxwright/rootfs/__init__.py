"""Safe access to a tree that another program filled: every path from a directory descriptor, never out of it."""
