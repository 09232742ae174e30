"""The options of `build`: Docker's, BuildKit's, and our own; one function a group of them."""

from __future__ import annotations

from boxwright.cli.flags import SUPPRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.flags import Parser

_TEXT = "string"
_LIST = "stringArray"


def build_args(p: Parser) -> None:
    """All of them."""
    p.usage = "PATH | URL | -"
    for group in (
        _where,
        _image,
        _results,
        _shape,
        _attestations,
        _reuse,
        _progress,
        _access,
        _limits,
        _accepted,
    ):
        group(p)
    p.examples = [
        ("The Dockerfile of this directory", "boxwright build -t app ."),
        ("One stage, with a variable", "boxwright build --target test --build-arg VERSION=2 ."),
        ("Why is this slow again?", "boxwright build --explain ."),
        ("A Dockerfile without a context", "boxwright build - < Dockerfile"),
        ("A directory of a Git repository", "boxwright build https://github.com/user/app.git#main:docker"),
    ]


def _where(p: Parser) -> None:
    """What is built: the context, the Dockerfile, and what they are told."""
    p.add_argument("path", metavar="PATH|URL", complete="dir")
    p.add_argument(
        "-f",
        "--file",
        default="",
        metavar=_TEXT,
        complete="file",
        help='Name of the Dockerfile (default "PATH/Dockerfile"); - reads standard input',
    )
    p.add_argument(
        "--ignorefile",
        default="",
        metavar=_TEXT,
        complete="file",
        help="Use this file instead of .dockerignore",
    )
    p.add_argument(
        "--context-metadata",
        default="",
        metavar=_TEXT,
        help='Times and permissions of the context\'s files: "normalize" to what every checkout gives, '
        'or "keep" as they are (default "normalize")',
    )
    p.add_argument(
        "--build-context",
        action="append",
        metavar=_LIST,
        help="Additional build contexts (e.g., name=path)",
    )
    p.add_argument("--target", default="", metavar=_TEXT, help="Set the target build stage to build")
    p.add_argument("--build-arg", action="append", metavar=_LIST, help="Set build-time variables")
    p.add_argument(
        "--build-arg-file",
        action="append",
        metavar=_LIST,
        complete="file",
        help="Read build-time variables from a file: NAME=VALUE a line",
    )
    p.add_argument("--platform", action="append", metavar=_LIST, help="Set target platform for build")


def _image(p: Parser) -> None:
    """What the image is called, and what it says of itself."""
    p.add_argument(
        "-t",
        "--tag",
        action="append",
        metavar=_LIST,
        help='Name and optionally a tag (format: "name:tag")',
    )
    p.add_argument("--label", action="append", metavar=_LIST, help="Set metadata for an image")
    p.add_argument(
        "--format",
        default="",
        metavar=_TEXT,
        help='Media types of the image\'s manifest: "oci" (default) or "docker"',
    )
    p.add_argument("--annotation", action="append", metavar=_LIST, help="Add annotation to the image")


def _results(p: Parser) -> None:
    """Where the result goes."""
    p.add_argument(
        "-o",
        "--output",
        action="append",
        metavar=_LIST,
        help='Output destination (format: "type=local,dest=path")',
    )
    p.add_argument("--load", action="store_true", help='Shorthand for "--output=type=docker"')
    p.add_argument("--push", action="store_true", help="Push the image to its registry when it is built")
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


def _attestations(p: Parser) -> None:
    """What is said of the result."""
    p.add_argument(
        "--attest", action="append", metavar=_LIST, help='Attestation parameters (format: "type=sbom")'
    )
    for name, kind in (("--provenance", "provenance"), ("--sbom", "sbom")):
        p.add_argument(
            name,
            default="",
            metavar=_TEXT,
            help=f'Shorthand for "--attest=type={kind}"',
        )


def _shape(p: Parser) -> None:
    """What the image is made of: layers and times."""
    p.add_argument(
        "--squash", action="store_true", help="Make all layers of this build one, on top of the base's"
    )
    p.add_argument("--squash-all", action="store_true", help="Make all layers one, the base's too")
    p.add_argument("--omit-history", action="store_true", help="Leave the history out")
    for name, text in (
        ("--unsetenv", "Variable that the image does not get"),
        ("--unsetlabel", "Label that the image does not get"),
    ):
        p.add_argument(name, action="append", metavar="strings", help=text)
    p.add_argument(
        "--inherit-labels",
        action="store_true",
        default=True,
        help="Take the labels of base images and stages",
    )
    p.add_argument(
        "--source-date-epoch",
        default="",
        metavar="seconds",
        help="The latest time in config and history (default: SOURCE_DATE_EPOCH)",
    )
    p.add_argument(
        "--rewrite-timestamp",
        action="store_true",
        help="Let no file of a new layer be newer than --source-date-epoch",
    )
    p.add_argument(
        "--timestamp",
        default="",
        metavar="seconds",
        help="The one time of the image, its history and all files of new layers",
    )


def _reuse(p: Parser) -> None:
    """Which earlier results are used again."""
    p.add_argument(
        "--cache-from",
        action="append",
        metavar=_LIST,
        help='External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")',
    )
    p.add_argument(
        "--cache-to",
        action="append",
        metavar=_LIST,
        help='Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")',
    )
    p.add_argument("--no-cache", action="store_true", help="Do not use cache when building the image")
    p.add_argument("--no-cache-filter", action="append", metavar=_LIST, help="Do not cache specified stages")
    p.add_argument("--pull", action="store_true", help="Always attempt to pull all referenced images")


def _progress(p: Parser) -> None:
    """What is shown while it builds."""
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
        "-D",
        "--debug",
        action="store_true",
        help="Show where an error comes from",
    )
    p.add_argument(
        "--call",
        default="",
        metavar=_TEXT,
        help='What to do with the Dockerfile: "build", or tell its "check", "outline" or "targets" '
        '(with ",format=json" as JSON)',
    )
    p.add_argument("--check", action="store_true", help='Shorthand for "--call=check"')
    p.add_argument("--explain", action="store_true", help="Say of every step why it is run again or reused")


def _access(p: Parser) -> None:
    """What steps reach: secrets, hosts, privileges."""
    p.add_argument(
        "--secret",
        action="append",
        metavar=_LIST,
        help='Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")',
    )
    p.add_argument(
        "--ssh",
        action="append",
        metavar=_LIST,
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
        metavar=_LIST,
        help='Allow extra privileged entitlement (e.g., "security.insecure")',
    )
    p.add_argument(
        "--userns",
        default="host",
        metavar=_TEXT,
        help='User namespace of RUN steps: "host", or "auto" for one whose root is nobody on the host',
    )
    p.add_argument(
        "--untrusted",
        action="store_true",
        help="Keep RUN and ADD from this machine and its metadata service: the Dockerfile comes from others",
    )
    p.add_argument(
        "--trust-host-ca",
        nargs="?",
        const="always",
        default="",
        metavar=_TEXT,
        help='Let RUN steps trust the host\'s certificates ("auto", "always", "never")',
    )


def _limits(p: Parser) -> None:
    """How much steps may take."""
    p.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="int",
        help="How many steps may run at once (default: one a CPU)",
    )
    p.add_argument(
        "--shm-size", default="", metavar="bytes", help='Shared memory size for build containers ("64m")'
    )
    p.add_argument("--ulimit", action="append", metavar="ulimit", help="Ulimit options")
    p.add_argument("-m", "--memory", default="", metavar="bytes", help="Memory limit of a RUN step")
    p.add_argument(
        "--memory-swap",
        default="",
        metavar="bytes",
        help="Limit of memory and swap of a RUN step; -1 is unlimited",
    )
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
        "--resource",
        action="append",
        metavar=_LIST,
        help='Limit of RUN steps (format: "memory=2g", "cpu-quota=50000")',
    )
    p.add_argument("--cgroup-parent", default="", metavar=_TEXT, help="Parent cgroup of RUN steps")


def _accepted(p: Parser) -> None:
    """Options of Docker's that are always so, or that cannot be had (docs/flags.md)."""
    for name in ("--compress", "--force-rm", "--identity-label"):
        p.add_argument(name, action="store_true", help=SUPPRESS)
    p.add_argument("--rm", action="store_true", default=True, help=SUPPRESS)
    p.add_argument("--disable-content-trust", action="store_true", default=True, help=SUPPRESS)
    for name in ("--layers", "--skip-unused-stages", "--http-proxy"):
        p.add_argument(name, action="store_true", default=True, help=SUPPRESS)
    p.add_argument("--compat-volumes", action="store_true", help=SUPPRESS)
    for name in ("--retry", "--retry-delay"):
        p.add_argument(name, default="", help=SUPPRESS)
    for name, known in (("--isolation", "default"), ("--builder", "")):
        p.add_argument(name, default=known, help=SUPPRESS)
    p.add_argument("--security-opt", action="append", help=SUPPRESS)
