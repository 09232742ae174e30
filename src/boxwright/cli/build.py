"""build."""

from __future__ import annotations

import os
import sys

from boxwright.cli.flags import SUPPRESS
from boxwright.errors import BoxwrightError, Cancelled, Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from boxwright.build.request import BuildRequest, BuildResult
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser

_TEXT = "string"


def build_args(p: Parser) -> None:
    """Docker's, BuildKit's, and our own."""
    p.usage = "PATH | URL | -"
    p.add_argument("path", metavar="PATH|URL", complete="dir")
    p.add_argument(
        "-t",
        "--tag",
        action="append",
        metavar="stringArray",
        help='Name and optionally a tag (format: "name:tag")',
    )
    p.add_argument(
        "-f",
        "--file",
        default="",
        metavar=_TEXT,
        complete="file",
        help='Name of the Dockerfile (default "PATH/Dockerfile"); - reads standard input',
    )
    p.add_argument("--target", default="", metavar=_TEXT, help="Set the target build stage to build")
    p.add_argument("--build-arg", action="append", metavar="stringArray", help="Set build-time variables")
    p.add_argument(
        "--build-context",
        action="append",
        metavar="stringArray",
        help="Additional build contexts (e.g., name=path)",
    )
    p.add_argument("--label", action="append", metavar="stringArray", help="Set metadata for an image")
    p.add_argument("--annotation", action="append", metavar="stringArray", help="Add annotation to the image")
    p.add_argument("--platform", action="append", metavar="stringArray", help="Set target platform for build")
    p.add_argument("--no-cache", action="store_true", help="Do not use cache when building the image")
    p.add_argument(
        "--no-cache-filter", action="append", metavar="stringArray", help="Do not cache specified stages"
    )
    p.add_argument("--pull", action="store_true", help="Always attempt to pull all referenced images")
    p.add_argument(
        "--progress",
        default="",
        metavar=_TEXT,
        help='Set type of progress output ("auto", "plain", "tty", "quiet", "rawjson")',
    )
    p.add_argument(
        "-q", "--quiet", action="store_true", help="Suppress the build output and print image ID on success"
    )
    p.add_argument(
        "--iidfile", default="", metavar=_TEXT, complete="file", help="Write the image ID to a file"
    )
    p.add_argument(
        "--metadata-file",
        default="",
        metavar=_TEXT,
        complete="file",
        help="Write build result metadata to a file",
    )
    p.add_argument(
        "-o",
        "--output",
        action="append",
        metavar="stringArray",
        help='Output destination (format: "type=local,dest=path")',
    )
    p.add_argument("--load", action="store_true", help='Shorthand for "--output=type=docker"')
    p.add_argument("--push", action="store_true", help="Push the image to its registry when it is built")
    p.add_argument(
        "--secret",
        action="append",
        metavar="stringArray",
        help='Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")',
    )
    p.add_argument(
        "--ssh",
        action="append",
        metavar="stringArray",
        help='SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")',
    )
    p.add_argument(
        "--network",
        default="default",
        metavar=_TEXT,
        help='Set the networking mode for the "RUN" instructions during build',
    )
    p.add_argument(
        "--add-host",
        action="append",
        metavar="strings",
        help='Add a custom host-to-IP mapping (format: "host:ip")',
    )
    p.add_argument(
        "--allow",
        action="append",
        metavar="stringArray",
        help='Allow extra privileged entitlement (e.g., "security.insecure")',
    )
    p.add_argument(
        "--shm-size", default="", metavar="bytes", help='Shared memory size for build containers ("64m")'
    )
    p.add_argument("--ulimit", action="append", metavar="ulimit", help="Ulimit options")
    p.add_argument(
        "--userns",
        default="host",
        metavar=_TEXT,
        help='User namespace of RUN steps: "host", or "auto" for one whose root is nobody on the host',
    )
    p.add_argument(
        "--untrusted",
        action="store_true",
        help="Keep RUN and ADD from this machine and its metadata service: the Dockerfile is somebody else's",
    )
    p.add_argument("-m", "--memory", default="", metavar="bytes", help="Memory limit of a RUN step")
    p.add_argument("--cpus", default="", metavar="decimal", help="Number of CPUs of a RUN step")
    for names, text in (
        (("-c", "--cpu-shares"), "CPU shares of a RUN step (relative weight)"),
        (("--cpu-period",), "Limit the CPU CFS (Completely Fair Scheduler) period of a RUN step"),
        (("--cpu-quota",), "Limit the CPU CFS (Completely Fair Scheduler) quota of a RUN step"),
    ):
        p.add_argument(*names, type=int, default=0, help=text)
    p.add_argument("--cpuset-cpus", default="", metavar=_TEXT, help="CPUs of a RUN step (0-3, 0,1)")
    p.add_argument("--cpuset-mems", default="", metavar=_TEXT, help="MEMs of a RUN step (0-3, 0,1)")
    p.add_argument(
        "--memory-swap",
        default="",
        metavar="bytes",
        help="Limit of memory and swap of a RUN step; -1 is unlimited",
    )
    p.add_argument("--cgroup-parent", default="", metavar=_TEXT, help="Parent cgroup of RUN steps")
    p.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="int",
        help="How many steps may run at once (default: one a CPU)",
    )
    p.add_argument(
        "--ignorefile",
        default="",
        metavar=_TEXT,
        complete="file",
        help="Use this file instead of .dockerignore",
    )
    p.add_argument(
        "--trust-host-ca",
        nargs="?",
        const="always",
        default="",
        metavar=_TEXT,
        help='Let RUN steps trust the host\'s certificates ("auto", "always", "never")',
    )
    p.add_argument(
        "--context-metadata",
        default="",
        metavar=_TEXT,
        help='Times and permissions of the context\'s files: "normalize" to what every checkout gives, '
        'or "keep" as they are (default "normalize")',
    )
    p.add_argument(
        "-D",
        "--debug",
        action="store_true",
        help="Show warnings with their lines, and where an error comes from",
    )
    p.add_argument("--explain", action="store_true", help="Say of every step why it is run again or reused")
    _accepted(p)
    p.examples = [
        ("The Dockerfile of this directory", "boxwright build -t app ."),
        ("One stage, with a variable", "boxwright build --target test --build-arg VERSION=2 ."),
        ("Why is this slow again?", "boxwright build --explain ."),
        ("A Dockerfile without a context", "boxwright build - < Dockerfile"),
        ("A directory of a Git repository", "boxwright build https://github.com/user/app.git#main:docker"),
    ]


# Options of Docker's with a value that cannot be had: the value that can, and why.
_REFUSED = {
    "squash": (False, "layers are not squashed", "a last stage with COPY --from of what it needs is smaller"),
    "rm": (True, "containers of steps never stay", ""),
    "disable_content_trust": (True, "content trust (Notary) is not supported", ""),
    "isolation": ("default", "there is one isolation technology on Linux, 'default'", ""),
    "builder": ("default", "there is one builder, 'default'", ""),
    "security_opt": ("", "RUN steps have Docker's default confinement", "RUN --security=insecure has none"),
}
_IGNORED = ("cache-from", "cache-to", "attest", "sbom", "provenance")


def _accepted(p: Parser) -> None:
    """Options of Docker's that are always so, or that cannot be had (docs/flags.md)."""
    for name in ("--compress", "--force-rm", "--squash"):
        p.add_argument(name, action="store_true", help=SUPPRESS)
    p.add_argument("--rm", action="store_true", default=True, help=SUPPRESS)
    p.add_argument("--disable-content-trust", action="store_true", default=True, help=SUPPRESS)
    for name in ("--isolation", "--builder"):
        p.add_argument(name, default="default", help=SUPPRESS)
    for name in ("--security-opt", "--cache-from", "--cache-to", "--attest"):
        p.add_argument(name, action="append", help=SUPPRESS)
    for name in ("--sbom", "--provenance"):
        p.add_argument(name, nargs="?", const="true", default="false", help=SUPPRESS)


def _refuse(ctx: Context, args: Namespace) -> None:
    """Raises Unsupported for what cannot be had; warns of what is left out."""
    for name, (possible, why, hint) in _REFUSED.items():
        value = getattr(args, name)
        if value not in (possible, [], ""):
            raise Unsupported(f"--{name.replace('_', '-')}: {why}", hint=hint)
    for name in _IGNORED:
        if getattr(args, name.replace("-", "_")) not in ([], "false", "False", "0"):
            ctx.warn(f"--{name} is not supported and is ignored")


def build(ctx: Context, args: Namespace) -> int:
    """Progress and warnings on standard error; standard output gets the image ID with ``-q``, or a tar with
    ``-o -``."""
    from boxwright.build.request import BuildFailed
    from boxwright.cli.progress import build as progress_build

    _refuse(ctx, args)
    request = _request(ctx, args)
    ctx.debug = ctx.debug or args.debug
    view = progress_build.make(ctx, args.progress, quiet=args.quiet)
    try:
        with view:
            result = ctx.engine.build(request, progress=view)
    except BuildFailed as error:
        _failed(ctx, error)
        return error.exit_code
    except Cancelled as error:
        ctx.err(f"ERROR: failed to solve: {error}")
        return error.exit_code
    if not args.quiet:
        view.tell_warnings()
    _told(ctx, args, result)
    return 0


def _failed(ctx: Context, error: BoxwrightError) -> None:
    text = str(error.render()) if hasattr(error, "render") else ""
    if text:
        ctx.err(text.rstrip("\n"))
    ctx.err(f"{ctx.paint('ERROR', 'red')}: {error}")
    if error.hint:
        ctx.err(f"{ctx.paint('Hint', 'cyan')}: {error.hint}")


def _told(ctx: Context, args: Namespace, result: BuildResult) -> None:
    if args.iidfile:
        _write(args.iidfile, result.image_id)
    if args.metadata_file:
        import json

        body = {
            "containerimage.config.digest": result.image_id,
            "containerimage.descriptor": dict(result.descriptor),
            "containerimage.digest": result.target,
            "image.name": ",".join(result.names),
        }
        _write(args.metadata_file, json.dumps(body, indent=2) + "\n")
    if args.quiet and result.image_id:
        ctx.out(result.image_id)


def _write(name: str, text: str) -> None:
    from boxwright.cli.archives import output_file

    with output_file(name) as out:
        out.write(text.encode())


def _request(ctx: Context, args: Namespace) -> BuildRequest:
    from pathlib import Path

    from boxwright.build import options
    from boxwright.build.request import BuildRequest

    environ = ctx.settings.environ
    context, stream, remote = _context(args.path)
    dockerfile: Path | None = Path(args.file) if args.file else None
    data: bytes | None = None
    if args.file == "-":
        if stream is not None:
            raise Invalid("invalid argument: can't use stdin for both build context and dockerfile")
        dockerfile, data = None, sys.stdin.buffer.read()
    elif (
        dockerfile is not None
        and not dockerfile.exists()
        and context is not None
        and os.path.lexists(context / dockerfile)
    ):
        dockerfile = context / dockerfile  # as the classic builder has it
    return BuildRequest(
        context=context,
        stream=stream,
        remote=remote,
        dockerfile=dockerfile,
        dockerfile_data=data,
        tags=tuple(args.tag),
        target=args.target,
        build_args=options.parse_build_args(args.build_arg, environ),
        labels=options.parse_pairs(args.label, "label"),
        annotations=options.parse_pairs(args.annotation, "annotation"),
        platforms=_platforms(args),
        build_contexts=options.parse_pairs(args.build_context, "build context"),
        ignore_file=Path(args.ignorefile) if args.ignorefile else None,
        no_cache=args.no_cache,
        no_cache_filter=_words(args.no_cache_filter),
        pull=args.pull,
        network=_network(args.network),
        add_hosts=options.parse_hosts(args.add_host),
        allow=_words(args.allow),
        secrets=tuple(options.parse_secret(text, environ) for text in args.secret),
        ssh=dict(options.parse_ssh(text, environ) for text in args.ssh),
        ulimits=tuple(args.ulimit),
        shm_size=_bytes(args.shm_size),
        memory=_bytes(args.memory),
        memory_swap=_swap(args.memory_swap),
        cpu_shares=args.cpu_shares,
        cpu_period=args.cpu_period,
        cpu_quota=args.cpu_quota,
        cpuset_cpus=args.cpuset_cpus,
        cpuset_mems=args.cpuset_mems,
        cgroup_parent=args.cgroup_parent,
        cpus=_cpus(args.cpus),
        userns=args.userns,
        untrusted=args.untrusted,
        jobs=_jobs(args.jobs),
        trust_host_ca=_trust(args.trust_host_ca),
        context_metadata=args.context_metadata,
        explain=args.explain,
        outputs=options.outputs(args.output, load=args.load, push=args.push),
    )


def _context(path: str) -> tuple[Path | None, BinaryIO | None, str]:
    """A directory, standard input, or a URL."""
    from pathlib import Path

    if path == "-":
        return None, sys.stdin.buffer, ""
    if "://" in path or "@" in path or path.startswith("github.com/"):
        from boxwright.build.gitref import is_url

        if is_url(path):
            return None, None, path
    return Path(path), None, ""


def _words(values: list[str]) -> tuple[str, ...]:
    return tuple(word for value in values for word in value.split(",") if word)


def _platforms(args: Namespace) -> tuple[str, ...]:
    from boxwright.spec.platform import host

    return tuple(str(host()) if word == "local" else word for word in _words(args.platform))


def _network(mode: str) -> str:
    if mode not in ("default", "none", "host", "bridge"):
        raise Invalid(f'network mode "{mode}" not supported by buildkit', hint="default, none or host")
    return "default" if mode == "bridge" else mode


def _trust(text: str) -> bool | None:
    known = {
        "": None,
        "auto": None,
        "always": True,
        "true": True,
        "1": True,
        "never": False,
        "false": False,
        "0": False,
    }
    if text not in known:
        raise Invalid(f"--trust-host-ca is {text!r}; it must be auto, always or never")
    return known[text]


def _bytes(text: str) -> int:
    if not text:
        return 0
    from boxwright.spec.units import parse_size

    return parse_size(text)


def _swap(text: str) -> int:
    if not text:
        return 0
    from boxwright.container.options import parse_swap

    return parse_swap(text)


def _cpus(text: str) -> float:
    try:
        return float(text) if text else 0.0
    except ValueError as error:
        raise Invalid(f"invalid number of CPUs: {text!r}") from error


def _jobs(count: int) -> int:
    if count < 0:
        raise Invalid("--jobs must not be negative")
    return count
