"""The command line reference, written from the parsers: ``python -m boxwright.cli.docs [DIRECTORY]``.

`pages` is a pure function of the declarations, so a test can hold the committed files against it.
"""

from __future__ import annotations

from boxwright.cli.commands import COMMANDS, GROUPS, HIDDEN, aliases
from boxwright.cli.flags import Operand, Parser
from boxwright.cli.help import option_help, shown
from boxwright.cli.parsers import PROG, global_parser, load

# A page, its title, and the management commands whose verbs it has; short forms follow their long one.
_PAGES = (
    ("images", "Images", ("image",)),
    ("build", "Building", ("builder", "buildx", "build")),
    ("containers", "Containers", ("container",)),
    (
        "registries",
        "Registries",
        (
            "registry",
            "manifest",
            "imagetools",
            "buildx imagetools",
            "tags",
            "login",
            "logout",
            "search",
            "copy",
        ),
    ),
    ("volumes", "Volumes", ("volume",)),
    ("networks", "Networks", ("network",)),
    (
        "system",
        "The store and the program",
        ("system", "serve", "context", "info", "version", "inspect", "completion"),
    ),
)
_WIDER = {"image build": "build", "image pull": "registries", "image push": "registries"}

ENVIRONMENT = (
    ("BOXWRIGHT_ROOT", "Where images and containers are kept, when `--root` does not say"),
    ("BOXWRIGHT_DEBUG", "Print the traceback of a failure before its sentence"),
    ("BOXWRIGHT_RUNTIME", "OCI runtime by name or path; otherwise crun or runc, whichever works"),
    ("BOXWRIGHT_DRIVER", "Snapshot driver: mounted, unpacked or copied; otherwise the first that works here"),
    (
        "BOXWRIGHT_TRUST_HOST_CA",
        "auto, always or never: whether RUN steps and containers see the host's CA bundle",
    ),
    ("BUILDKIT_PROGRESS", "Default of `build --progress`"),
    (
        "BUILDX_NO_DEFAULT_ATTESTATIONS",
        "Whether a pushed image says how it was built only when it is asked for",
    ),
    (
        "BUILDX_NO_DEFAULT_OCI_ARTIFACT",
        "Whether attestations have an image's form where `oci-artifact` does not say",
    ),
    ("BUILDX_BUILDER", "The builder, when `--builder` does not say"),
    ("BUILDX_BAKE_FILE", "Files of `bake`, when `-f` does not say; separated by BUILDX_BAKE_PATH_SEPARATOR"),
    ("BUILDX_BAKE_PATH_SEPARATOR", "What separates them (default `:`)"),
    ("BUILDX_BAKE_ENTITLEMENTS_FS", "false: paths that `bake` reaches need not be allowed"),
    ("BAKE_ALLOW_REMOTE_FS_ACCESS", "true: nor those of a definition in a repository or at a URL"),
    (
        "BUILDX_BAKE_GIT_AUTH_TOKEN, BUILDX_BAKE_GIT_AUTH_HEADER",
        "Account for the repository of `bake URL`, sent to its host alone",
    ),
    ("BUILDX_BAKE_GIT_SSH", "Keys or agent's socket for the repository of `bake URL`"),
    ("BUILDX_GIT_INFO", "false: provenance does not name the commit of the context"),
    ("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "Refused by `build`: source policies are not evaluated"),
    (
        "BUILDX_METADATA_PROVENANCE",
        "How much provenance `--metadata-file` of `build` and `bake` has: min, max or disabled (default min)",
    ),
    ("BUILDX_METADATA_WARNINGS", "With 1, `build --metadata-file` has the warnings"),
    ("DOCKER_CONFIG", "Directory of Docker's config.json, when `--config` does not say"),
    ("DOCKER_AUTH_CONFIG", "Credentials as JSON, in the form of config.json"),
    ("DOCKER_CONTEXT", "As `--context`: a context that means another engine than this machine's is refused"),
    ("DOCKER_DEFAULT_PLATFORM", "Default of `--platform`"),
    ("DOCKER_HOST", "As `-H`: an engine that is not this machine's is refused"),
    ("SOURCE_DATE_EPOCH", "Time stamps of built layers and images, in seconds since 1970"),
    ("NO_COLOR, FORCE_COLOR", "No colours; colours although standard error is no terminal"),
    (
        "HTTP_PROXY, HTTPS_PROXY, NO_PROXY",
        "Proxies for registries, and for RUN steps without becoming part of the image",
    ),
)

_EXIT_CODES = (
    ("0", "Done"),
    ("1", "Failed; one sentence on standard error says why, often with a hint"),
    ("70", "A bug in Boxwright"),
    ("125", "An option is unknown or has an impossible value; for `run`: the container could not be made"),
    ("126", "`run`, `exec`: the program cannot be started"),
    ("127", "`run`, `exec`: the program was not found"),
    ("130", "Interrupted with Ctrl-C"),
    ("other", "`run`, `exec`: what the program in the container said"),
)


def pages() -> dict[str, str]:
    """File name -> content of every page."""
    found = {f"{page}.md": _page(page, title) for page, title, _ in _PAGES if _on(page)}
    found["README.md"] = _index()
    return found


def main(argv: list[str]) -> int:
    """Write the pages; return an exit code."""
    from pathlib import Path

    directory = Path(argv[0] if argv else "docs/reference")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")
    print(f"{len(pages())} pages in {directory}")
    return 0


def _commands() -> list[str]:
    """One name of every command: the shortest, by which people call it."""
    best: dict[tuple[str, str], str] = {}
    for name, row in COMMANDS.items():
        if name not in HIDDEN:
            known = best.get(row[:2])
            if known is None or (name.count(" "), name) < (known.count(" "), known):
                best[row[:2]] = name
    return sorted(best.values())


def _home(command: str) -> str:
    """The page of a command."""
    names = aliases(command)
    for name in names:
        if name in _WIDER:
            return _WIDER[name]
    for page, _, owners in _PAGES:
        if any(n == owner or n.startswith(owner + " ") for n in names for owner in owners):
            return page
    raise LookupError(f"{command} belongs to no page of the reference")


def _on(page: str) -> list[str]:
    return [command for command in _commands() if _home(command) == page]


def _page(page: str, title: str) -> str:
    parts = [f"# {title}", "", "Written by `make docs` from the program's own declarations; do not edit.", ""]
    for command in _on(page):
        parts += _section(command)
    return "\n".join(parts).rstrip("\n") + "\n"


def _section(command: str) -> list[str]:
    parser, _ = load(command)
    lines = [f"## {PROG} {command}", "", parser.summary + ".", "", "```", parser.usage_line(), "```", ""]
    if parser.description:
        lines += [parser.description.strip(), ""]
    others = [name for name in aliases(command) if name != command]
    if others:
        lines += ["Also: " + ", ".join(f"`{PROG} {name}`" for name in others), ""]
    lines += _table(parser)
    if parser.examples:
        lines += ["```console"]
        for text, line in parser.examples:
            lines += [f"# {text}", f"$ {line}"]
        lines += ["```", ""]
    return lines


def _table(parser: Parser) -> list[str]:
    options = shown(parser)
    if not options:
        return []
    rows = [f"| {_names(option)} | {_escaped(option_help(option))} |" for option in options]
    return ["| option | meaning |", "| --- | --- |", *rows, ""]


def _names(option: Operand) -> str:
    names = ", ".join(sorted(option.names, key=len))
    return f"`{names} {option.kind}`".replace(" `", "`").replace("|", "\\|")


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _index() -> str:
    parts = [
        "# Command line reference",
        "",
        "Written by `make docs` from the program's own declarations; do not edit.",
        "",
    ]
    parts += [
        "```",
        global_parser().usage_line().replace("[OPTIONS] COMMAND", "[OPTIONS] COMMAND …"),
        "```",
        "",
    ]
    for page, title, _ in _PAGES:
        if commands := _on(page):
            parts += [f"## [{title}]({page}.md)", "", "| command | does |", "| --- | --- |"]
            parts += [
                f"| [`{c}`]({page}.md#{PROG}-{c.replace(' ', '-')}) | {COMMANDS[c][2]} |" for c in commands
            ]
            parts += [""]
    parts += ["## Options before the command", "", *_table(global_parser())]
    parts += ["## Environment", "", "| variable | meaning |", "| --- | --- |"]
    parts += [
        f"| {', '.join(f'`{v}`' for v in names.split(', '))} | {_escaped(text)} |"
        for names, text in ENVIRONMENT
    ]
    parts += [
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {code} | {text} |" for code, text in _EXIT_CODES),
    ]
    parts += ["", "Management commands: " + ", ".join(f"`{g}`" for g in sorted(GROUPS)) + ".", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
