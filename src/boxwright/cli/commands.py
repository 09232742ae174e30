"""The central table: every command, where it lives, and its one line in the help.

A row is ``"words of the command": (module, function, summary)``. The module defines ``function(ctx, args) -> int``
and ``function_args(parser)`` (`boxwright.cli.flags`). Nothing is imported until its command runs. Rows with the
same module and function are aliases of each other.
"""

from __future__ import annotations

_C = "boxwright.cli.container.commands"
_R = "boxwright.cli.container.run"
_V = "boxwright.cli.volumes"
_N = "boxwright.cli.networks"
_I = "boxwright.cli.images"
_J = "boxwright.cli.inspect"
_A = "boxwright.cli.archives"
_S = "boxwright.cli.system"
_BOOT = "boxwright.cli.boot"
_EV = "boxwright.cli.events"
_H = "boxwright.cli.builds"
_B = "boxwright.cli.build.command"
_P = "boxwright.cli.registry_client"
_M = "boxwright.cli.manifests"
_G = "boxwright.cli.registry_admin"
_K = "boxwright.cli.bake"
_X = "boxwright.cli.builders"
_W = "boxwright.cli.build_cache"
_Y = "boxwright.cli.contexts.show"
_Z = "boxwright.cli.contexts.edit"

COMMANDS: dict[str, tuple[str, str, str]] = {
    # images
    "images": (_I, "images", "List images"),
    "image ls": (_I, "images", "List images"),
    "image list": (_I, "images", "List images"),
    "history": (_I, "history", "Show the history of an image"),
    "image history": (_I, "history", "Show the history of an image"),
    "inspect": (_J, "inspect", "Return low-level information on Docker objects"),
    "image inspect": (_J, "image_inspect", "Display detailed information on one or more images"),
    "rmi": (_I, "rmi", "Remove one or more images"),
    "image rm": (_I, "rmi", "Remove one or more images"),
    "image remove": (_I, "rmi", "Remove one or more images"),
    "tag": (_I, "tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "image tag": (_I, "tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "image prune": (_I, "image_prune", "Remove unused images"),
    "import": (_A, "import_", "Import the contents from a tarball to create a filesystem image"),
    "image import": (_A, "import_", "Import the contents from a tarball to create a filesystem image"),
    "load": (_A, "load", "Load an image from a tar archive or STDIN"),
    "image load": (_A, "load", "Load an image from a tar archive or STDIN"),
    "save": (_A, "save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    "image save": (_A, "save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    # building
    "build": (_B, "build", "Build an image from a Dockerfile"),
    "image build": (_B, "build", "Build an image from a Dockerfile"),
    "builder build": (_B, "build", "Build an image from a Dockerfile"),
    "buildx build": (_B, "build", "Build an image from a Dockerfile"),
    "buildx b": (_B, "build", "Build an image from a Dockerfile"),
    "bake": (_K, "bake", "Build from a file"),
    "buildx bake": (_K, "bake", "Build from a file"),
    "buildx f": (_K, "bake", "Build from a file"),
    "builder prune": (_W, "builder_prune", "Remove build cache"),
    "buildx ls": (_X, "buildx_ls", "List builder instances"),
    "buildx create": (_X, "buildx_create", "Create a new builder instance"),
    "buildx use": (_X, "buildx_use", "Set the current builder instance"),
    "buildx inspect": (_X, "buildx_inspect", "Inspect current builder instance"),
    "buildx rm": (_X, "buildx_rm", "Remove one or more builder instances"),
    "buildx stop": (_X, "buildx_stop", "Stop builder instance"),
    "buildx version": (_X, "buildx_version", "Show buildx version information"),
    "buildx install": (_X, "buildx_install", "Install buildx as a 'docker builder' alias"),
    "buildx uninstall": (_X, "buildx_uninstall", "Uninstall the 'docker builder' alias"),
    "buildx dial-stdio": (_X, "buildx_dial_stdio", "Proxy current stdio streams to builder instance"),
    "buildx dap": (_X, "buildx_dap", "Start a debug adapter for a build"),
    "buildx debug": (_X, "buildx_debug", "Start a debugger for a build"),
    "buildx policy": (_X, "buildx_policy", "Commands for working with build policies"),
    "buildx prune": (_W, "buildx_prune", "Remove build cache"),
    "buildx du": (_W, "buildx_du", "Disk usage of the build cache"),
    "builds ls": (_H, "builds_ls", "List build records"),
    "builds inspect": (_H, "builds_inspect", "Inspect a build record"),
    "builds inspect attachment": (_H, "builds_attachment", "Inspect a build record attachment"),
    "builds logs": (_H, "builds_logs", "Print the logs of a build record"),
    "builds rm": (_H, "builds_rm", "Remove build records"),
    "buildx history ls": (_H, "builds_ls", "List build records"),
    "buildx history inspect": (_H, "builds_inspect", "Inspect a build record"),
    "buildx history inspect attachment": (_H, "builds_attachment", "Inspect a build record attachment"),
    "buildx history logs": (_H, "builds_logs", "Print the logs of a build record"),
    "buildx history rm": (_H, "builds_rm", "Remove build records"),
    "buildx history open": (_H, "builds_open", "Say where a build record can be looked at"),
    "buildx history export": (_H, "builds_export", "Say how a build record can be taken elsewhere"),
    "buildx history import": (_H, "builds_import", "Say why build records of others cannot be taken in"),
    "buildx history trace": (_H, "builds_trace", "Say where the times of a build are"),
    # contexts
    "context ls": (_Y, "context_ls", "List contexts"),
    "context list": (_Y, "context_ls", "List contexts"),
    "context show": (_Y, "context_show", "Print the name of the current context"),
    "context inspect": (_Y, "context_inspect", "Display detailed information on one or more contexts"),
    "context use": (_Y, "context_use", "Set the current docker context"),
    "context create": (_Z, "context_create", "Create a context"),
    "context update": (_Z, "context_update", "Update a context"),
    "context rm": (_Z, "context_rm", "Remove one or more contexts"),
    "context remove": (_Z, "context_rm", "Remove one or more contexts"),
    "context export": (
        _Z,
        "context_export",
        "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    ),
    "context import": (_Z, "context_import", "Import a context from a tar or zip file"),
    # containers
    "run": (_R, "run", "Create and run a new container from an image"),
    "container run": (_R, "run", "Create and run a new container from an image"),
    "create": (_R, "create", "Create a new container"),
    "container create": (_R, "create", "Create a new container"),
    "ps": (_C, "ps", "List containers"),
    "container ls": (_C, "ps", "List containers"),
    "container list": (_C, "ps", "List containers"),
    "container ps": (_C, "ps", "List containers"),
    "container prune": (_C, "container_prune", "Remove all stopped containers"),
    "container inspect": (_C, "container_inspect", "Display detailed information on one or more containers"),
    "container remove": (_C, "rm", "Remove one or more containers"),
    # registries
    "pull": (_P, "pull", "Download an image from a registry"),
    "image pull": (_P, "pull", "Download an image from a registry"),
    "push": (_P, "push", "Upload an image to a registry"),
    "image push": (_P, "push", "Upload an image to a registry"),
    "login": (_P, "login", "Authenticate to a registry"),
    "logout": (_P, "logout", "Log out from a registry"),
    "search": (_P, "search", "Search a registry for images"),
    "copy": (_P, "copy", "Copy images between registries, archives, layouts and the store"),
    "tags ls": (_P, "tags_ls", "List the tags of a repository"),
    "tags rm": (_P, "tags_rm", "Remove tags or manifests from a registry"),
    "manifest create": (
        _M,
        "manifest_create",
        "Create a local manifest list for annotating and pushing to a registry",
    ),
    "manifest annotate": (_M, "manifest_annotate", "Add additional information to a local image manifest"),
    "manifest inspect": (_M, "manifest_inspect", "Display an image manifest, or manifest list"),
    "manifest push": (_M, "manifest_push", "Push a manifest list to a repository"),
    "manifest rm": (_M, "manifest_rm", "Delete one or more manifest lists from local storage"),
    "imagetools create": (_M, "imagetools_create", "Create a new image based on source images"),
    "imagetools inspect": (_M, "imagetools_inspect", "Show details of an image in the registry"),
    "buildx imagetools create": (_M, "imagetools_create", "Create a new image based on source images"),
    "buildx imagetools inspect": (_M, "imagetools_inspect", "Show details of an image in the registry"),
    "serve": ("boxwright.cli.serve", "serve", "Serve Docker's engine API to Docker's clients"),
    "registry serve": ("boxwright.cli.registry_serve", "registry_serve", "Serve a registry over HTTP"),
    "registry gc": (_G, "registry_gc", "Free what a registry's storage does not need"),
    "registry fsck": (_G, "registry_fsck", "Check a registry's storage against its digests"),
    "registry user add": (_G, "registry_user_add", "Add an account"),
    "registry user ls": (_G, "registry_user_ls", "List accounts"),
    "registry user passwd": (_G, "registry_user_passwd", "Change an account's password"),
    "registry user rm": (_G, "registry_user_rm", "Remove an account and its tokens"),
    "registry token create": (_G, "registry_token_create", "Create an access token"),
    "registry token ls": (_G, "registry_token_ls", "List access tokens"),
    "registry token rm": (_G, "registry_token_rm", "Revoke access tokens"),
    # volumes and networks
    "volume create": (_V, "volume_create", "Create a volume"),
    "volume export": (_V, "volume_export", "Write the contents of a volume as a tar archive"),
    "volume import": (_V, "volume_import", "Fill a volume with the contents of a tar archive"),
    "volume inspect": (_V, "volume_inspect", "Display detailed information on one or more volumes"),
    "volume ls": (_V, "volume_ls", "List volumes"),
    "volume list": (_V, "volume_ls", "List volumes"),
    "volume prune": (_V, "volume_prune", "Remove unused local volumes"),
    "volume rm": (_V, "volume_rm", "Remove one or more volumes"),
    "volume remove": (_V, "volume_rm", "Remove one or more volumes"),
    "network connect": (_N, "network_connect", "Connect a container to a network"),
    "network create": (_N, "network_create", "Create a network"),
    "network disconnect": (_N, "network_disconnect", "Disconnect a container from a network"),
    "network inspect": (_N, "network_inspect", "Display detailed information on one or more networks"),
    "network ls": (_N, "network_ls", "List networks"),
    "network list": (_N, "network_ls", "List networks"),
    "network prune": (_N, "network_prune", "Remove all unused networks"),
    "network reload": (_N, "network_reload", "Make the rules of networks and published ports again"),
    "network rm": (_N, "network_rm", "Remove one or more networks"),
    "network remove": (_N, "network_rm", "Remove one or more networks"),
    # the store and the program
    "system df": (_S, "system_df", "Show disk usage"),
    "system fsck": (_S, "system_fsck", "Check the store against its digests"),
    "events": (_EV, "events", "Get real time events from the engine"),
    "system events": (_EV, "events", "Get real time events from the engine"),
    "system install-units": (_BOOT, "install_units", "Have systemd start containers at boot"),
    "system info": (_S, "info", "Display system-wide information"),
    "system prune": (_S, "system_prune", "Remove unused data"),
    "system up": (_BOOT, "system_up", "Start what a boot ended and restart policies want"),
    "system reset": (
        _S,
        "system_reset",
        "Remove everything: containers, images, volumes, networks, build cache",
    ),
    "info": (_S, "info", "Display system-wide information"),
    "version": (_S, "version", "Show the version information"),
    "completion bash": ("boxwright.cli.completion", "bash", "Generate the autocompletion script for bash"),
    "completion fish": ("boxwright.cli.completion", "fish", "Generate the autocompletion script for fish"),
    "completion zsh": ("boxwright.cli.completion", "zsh", "Generate the autocompletion script for zsh"),
}

_STREAMING = ("attach", "commit", "cp", "diff", "exec", "export", "logs", "stats", "top")
# Docker's verbs on containers exist in both forms under one name; `exec` is a builtin of Python's.
for _verb, _function, _summary in (
    ("attach", "attach", "Attach local standard input, output, and error streams to a running container"),
    ("commit", "commit", "Create a new image from a container's changes"),
    ("cp", "cp", "Copy files/folders between a container and the local filesystem"),
    ("diff", "diff", "Inspect changes to files or directories on a container's filesystem"),
    ("exec", "exec_", "Execute a command in a running container"),
    ("export", "export", "Export a container's filesystem as a tar archive"),
    ("kill", "kill", "Kill one or more running containers"),
    ("logs", "logs", "Fetch the logs of a container"),
    ("pause", "pause", "Pause all processes within one or more containers"),
    ("port", "port", "List port mappings or a specific mapping for the container"),
    ("rename", "rename", "Rename a container"),
    ("restart", "restart", "Restart one or more containers"),
    ("rm", "rm", "Remove one or more containers"),
    ("start", "start", "Start one or more stopped containers"),
    ("stats", "stats", "Display a live stream of container(s) resource usage statistics"),
    ("stop", "stop", "Stop one or more running containers"),
    ("top", "top", "Display the running processes of a container"),
    ("unpause", "unpause", "Unpause all processes within one or more containers"),
    ("update", "update", "Update configuration of one or more containers"),
    ("wait", "wait", "Block until one or more containers stop, then print their exit codes"),
):
    _module = "boxwright.cli.container.io" if _verb in _STREAMING else _C
    COMMANDS[_verb] = COMMANDS[f"container {_verb}"] = (_module, _function, _summary)

GROUPS: dict[str, str] = {
    "builder": "Manage builds",
    "buildx": "Build with the names that buildx gives",
    "builds": "Look at what was built before",
    "buildx history": "Commands to work on build records",
    "buildx imagetools": "Commands to work on images in registries",
    "completion": "Generate the autocompletion script for the specified shell",
    "container": "Manage containers",
    "context": "Look at the contexts that Docker has",
    "image": "Manage images",
    "imagetools": "Commands to work on images in registries",
    "manifest": "Manage image manifests and manifest lists",
    "network": "Manage networks",
    "registry": "Serve images to others",
    "registry token": "Manage access tokens of a registry",
    "registry user": "Manage accounts of a registry",
    "system": "Manage the store",
    "tags": "Manage the tags of a registry's repositories",
    "volume": "Manage volumes",
}

COMMON = (
    "run",
    "exec",
    "ps",
    "build",
    "pull",
    "push",
    "images",
    "login",
    "logout",
    "search",
    "version",
    "info",
)

# Older names of a command, shown as aliases and not in lists of commands; and what buildx does not list either.
HIDDEN = frozenset(
    name
    for name in COMMANDS
    if name.split()[-1] in ("list", "remove", "b", "f")
    or name in ("container ps", "buildx install", "buildx uninstall")
)

# Failures of these commands' own end with 125, so that they cannot be taken for the program's exit code.
EXIT_125 = frozenset(("run", "container run"))


def available() -> dict[str, tuple[str, str, str]]:
    """The rows whose module is installed."""
    import os

    here = os.path.dirname(__file__)
    files = set(os.listdir(here))
    return {name: row for name, row in COMMANDS.items() if _present(row[0].rpartition(".")[2], files)}


def _present(stem: str, files: set[str]) -> bool:
    return stem + ".py" in files or stem in files


def aliases(name: str) -> list[str]:
    """All names of the command, the management form first, the one that is asked for last."""
    row = COMMANDS[name]
    return sorted(
        (n for n, other in COMMANDS.items() if other[:2] == row[:2]), key=lambda n: (-n.count(" "), n)
    )
