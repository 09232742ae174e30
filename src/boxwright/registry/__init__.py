"""Registries: the client that speaks to any, and the server that is one."""
