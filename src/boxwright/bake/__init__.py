"""Definitions of builds: what `bake` reads, and the build requests that they are."""
