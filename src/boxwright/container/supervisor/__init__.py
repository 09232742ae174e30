"""One small process for each running container: it owns the runtime's child, the output, the exit code, restarts
and health checks, and serves the clients that attach.

It is started early and in parallel with the command that creates the container, so it imports only what CPython has
in C (`_socket`, `_json`, `marshal`, …: 13 ms and 9 MB; with `json`, `socket` and `dataclasses` it is 76 ms and 14 MB).
"""
