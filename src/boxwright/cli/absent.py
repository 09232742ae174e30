"""Commands and options of Docker's that are not here: why, instead of a word that only looks like them."""

from __future__ import annotations

_SWARM = "there is no cluster here: containers run on this host alone"
COMMANDS = {
    "ai": "there are no models and assistants here",
    "checkpoint": "checkpoints of processes are not supported",
    "compose": "applications of several containers are not supported",
    "config": _SWARM,
    "content": "content trust (Notary) is not supported; signatures of cosign are copied along",
    "context": "there is one engine, this program; nothing has to be chosen",
    "desktop": "there is no desktop application",
    "mcp": "there are no models and assistants here",
    "model": "there are no models and assistants here",
    "node": _SWARM,
    "offload": "builds and containers run on this host alone",
    "plugin": "there are no plugins: networks, volumes and logs have the drivers that are built in",
    "sandbox": "there are no models and assistants here",
    "scout": "images are not analysed for vulnerabilities",
    "secret": _SWARM + "; `build --secret` gives secrets to RUN steps",
    "service": _SWARM,
    "stack": _SWARM,
    "swarm": _SWARM,
    "trust": "content trust (Notary) is not supported; signatures of cosign are copied along",
}
_BLOCKS = "block devices have no limits here, only --blkio-weight"
OPTIONS = {
    "--blkio-weight-device": _BLOCKS,
    "--cpu-rt-period": "real-time scheduling has no limits here",
    "--cpu-rt-runtime": "real-time scheduling has no limits here",
    "--device-read-bps": _BLOCKS,
    "--device-read-iops": _BLOCKS,
    "--device-write-bps": _BLOCKS,
    "--device-write-iops": _BLOCKS,
    "--gpus": "GPUs need a vendor's runtime hook, which is not supported; --device gives a device of the host as it is",
    "--ip6": "containers get no IPv6 address of their own choice",
    "--kernel-memory": "the kernel has no such limit any more",
    "--link-local-ip": "containers get no link-local addresses",
    "--policy": "source policies are not evaluated here; pin images by digest, and ADD with --checksum",
    "--source-policy-file": "source policies are not evaluated here; pin images by digest, and ADD with --checksum",
    "--stream": "the context is read where it is",
    "--storage-opt": "the tree of a container has no size limit here",
    "--use-api-socket": "there is no daemon whose socket could be given",
}
