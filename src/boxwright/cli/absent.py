"""Commands and options of Docker's that are not here: the error says why, instead of
proposing a word that only looks like them."""

from __future__ import annotations

_SWARM = "there is no cluster here: containers run on this host alone"
_CRIU = "checkpoints of processes need CRIU, and nothing here drives it"
COMMANDS = {
    "ai": "there are no models and assistants here",
    "checkpoint": _CRIU,
    "compose": "applications of several containers are not supported",
    "config": _SWARM,
    "content": "content trust (Notary) is not supported; signatures of cosign are copied along",
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
    "volume update": "only volumes of a cluster are updated, and there is no cluster here",
    "trust": "content trust (Notary) is not supported; signatures of cosign are copied along",
}
OPTIONS = {
    "--checkpoint": _CRIU,
    "--checkpoint-dir": _CRIU,
    "--policy": "source policies are not evaluated here; pin images by digest, and ADD with --checksum",
    "--source-policy-file": "source policies are not evaluated here; pin images by digest, and ADD with --checksum",
    "--stream": "the context is read where it is",
}
_VOLUME = (
    "write RUN --mount=type=bind,from=NAME,target=DIRECTORY, and --build-context NAME=DIRECTORY; or "
    "RUN --mount=type=cache"
)
# Of `build`: options of podman's and of older builders, and what to write for them.
BUILD = {
    "--authfile": "credentials are in Docker's configuration: `boxwright login`, or another --config DIRECTORY",
    "--cache-ttl": "records of steps stay until they are removed: `builder prune --filter until=24h`",
    "--cap-add": "RUN --security=insecure with --allow security.insecure has all capabilities",
    "--cap-drop": "RUN steps have Docker's default capabilities",
    "--cpp-flag": "preprocess the file before: cpp -P Dockerfile.in | boxwright build -f - .",
    "--creds": "`boxwright login` keeps credentials",
    "--device": "write RUN --device=vendor.com/class=name, and --allow device",
    "--dns": "RUN steps ask the host's name servers; --add-host adds a name, --network=host shares the host's network",
    "--dns-option": "RUN steps ask the host's name servers",
    "--dns-search": "RUN steps ask the host's name servers",
    "--env": "write ENV in the Dockerfile, with the value of an ARG and --build-arg where it varies",
    "--from": "--build-context NAME=docker-image://IMAGE replaces the base NAME",
    "--group-add": "USER name:group in the Dockerfile, or --security=insecure",
    "--hooks-dir": "there are no hooks of RUN steps but those of CDI devices",
    "--logfile": "write --progress=plain 2> FILE",
    "--manifest": "--platform with several platforms and --tag NAME makes one index of that name",
    "--os-version": "the base image's is kept",
    "--runtime": "the runtime is chosen by BOXWRIGHT_RUNTIME",
    "--save-stages": "--target STAGE --tag NAME keeps a stage; steps of all stages stay on record",
    "--sign-by": "sign what was pushed: cosign sign NAME@DIGEST",
    "--stdin": "RUN steps have no input; give them a secret, a heredoc or a file of the context",
    "--tls-verify": "registries without TLS are named in the configuration, or registry.insecure=true of --output",
    "--userns-gid-map": "--userns=auto maps the users of RUN steps",
    "--userns-uid-map": "--userns=auto maps the users of RUN steps",
    "--arch": "--platform=linux/ARCH",
    "--decryption-key": "encrypted layers are not read",
    "--disable-compression": "layers are plain in the store; --output compression=uncompressed leaves them so",
    "--iidfile-raw": "--iidfile writes the ID with its algorithm: sha256:…",
    "--label-file": "--label NAME=VALUE for each, or LABEL in the Dockerfile",
    "--os": "--platform=OS/ARCH",
    "--variant": "--platform=linux/ARCH/VARIANT",
    "--volume": _VOLUME,
    "-v": _VOLUME,
}
