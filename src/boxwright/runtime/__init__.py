"""Processes: running programs, OCI runtimes, build steps, terminals."""
