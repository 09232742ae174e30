"""bake: build the targets of a definition, or show what would be built."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager

from boxwright.cli.flags import SUPPRESS
from boxwright.errors import Cancelled, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from boxwright.bake.plan import BakePlan, BakeRequest
    from boxwright.build.request import BuildResult
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser

_LIST = "stringArray"
_TEXT = "string"


def bake_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "[URL] [TARGET...]"
    p.add_argument("targets", nargs="*", metavar="TARGET")
    for names, metavar, text in (
        (("-f", "--file"), _LIST, "Build definition file"),
        (("--set",), _LIST, 'Override target value (e.g., "targetpattern.key=value")'),
        (("--var",), _LIST, 'Set a variable value (e.g., "name=value")'),
        (("--allow",), _LIST, "Allow build to access specified resources"),
    ):
        p.add_argument(*names, action="append", metavar=metavar, complete="file", help=text)
    p.add_argument("--print", action="store_true", help="Print the options without building")
    p.add_argument("--list", default="", metavar=_TEXT, help="List targets or variables")
    p.add_argument(
        "--load", action="store_true", help='Shorthand for "--set=*.output=type=docker". Conditional.'
    )
    p.add_argument(
        "--push", action="store_true", help='Shorthand for "--set=*.output=type=registry". Conditional.'
    )
    p.add_argument("--no-cache", action="store_true", help="Do not use cache when building the image")
    p.add_argument("--pull", action="store_true", help="Always attempt to pull all referenced images")
    p.add_argument("--sbom", default="", metavar=_TEXT, help='Shorthand for "--set=*.attest=type=sbom"')
    p.add_argument(
        "--provenance", default="", metavar=_TEXT, help='Shorthand for "--set=*.attest=type=provenance"'
    )
    p.add_argument(
        "--call",
        default="build",
        metavar=_TEXT,
        help='Set method for evaluating build ("check", "outline", "targets")',
    )
    p.add_argument("--check", action="store_true", help='Shorthand for "--call=check"')
    p.add_argument(
        "--progress",
        default="",
        metavar=_TEXT,
        help='Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty")',
    )
    p.add_argument(
        "--metadata-file",
        default="",
        metavar=_TEXT,
        complete="file",
        help="Write build result metadata to a file",
    )
    p.add_argument("--builder", default="", metavar=_TEXT, help=SUPPRESS)
    p.add_argument("--list-targets", action="store_true", help=SUPPRESS)
    p.add_argument("--list-variables", action="store_true", help=SUPPRESS)
    p.examples = [
        ("The default group or target of this directory's definition", "boxwright bake"),
        ("What would be built", "boxwright bake --print app"),
        (
            "The definition and the contexts of a repository",
            "boxwright bake https://github.com/docker/cli.git#v28.5.0 --print",
        ),
        ("Another tag, for all targets", "boxwright bake --set '*.tags=registry.example.com/app:2' --push"),
    ]


def bake(ctx: Context, args: Namespace) -> int:
    """Progress, warnings and what privileges are wanted on standard error; definitions on standard output."""
    from boxwright.cli.progress.build import check_kind

    check_kind(args.progress)
    with _opened(ctx, args, _request(ctx, args)) as request:
        return _bake(ctx, args, request)


@contextmanager
def _opened(ctx: Context, args: Namespace, request: BakeRequest) -> Iterator[BakeRequest]:
    """The request with its definition here, if it is somewhere else."""
    from boxwright.bake.plan import addressed

    request = addressed(request)
    if not request.remote:
        yield request
        return
    from boxwright.cli.progress import build as progress_build
    from boxwright.engine.bake import fetched

    with ExitStack() as stack:
        with progress_build.make(ctx, args.progress, quiet=False) as view:
            request = stack.enter_context(fetched(ctx.engine.services, request, view))
        yield request


def _bake(ctx: Context, args: Namespace, request: BakeRequest) -> int:
    from boxwright.bake.plan import configured, planned

    listed = args.list or ("targets" if args.list_targets else "variables" if args.list_variables else "")
    if listed:
        if args.print:
            raise Invalid("--print and --list are mutually exclusive")
        from boxwright.cli.bake_list import show

        return show(ctx, listed, configured(request))
    plan = planned(request)
    for warning in plan.warnings:
        ctx.warn(warning)
    if args.print:
        return _print(ctx, plan)
    _granted(ctx, request, plan)
    return _build(ctx, args, request=request, plan=plan)


def _granted(ctx: Context, request: BakeRequest, plan: BakePlan) -> None:
    """Ask whether the targets may reach further than they were allowed, where there is a terminal to ask at. Raises
    PrivilegesWanted."""
    from boxwright.bake.allow import PrivilegesWanted
    from boxwright.engine.bake import check_allowed

    try:
        check_allowed(request, plan)
    except PrivilegesWanted as wanted:
        wanted.shown = ctx.stdin_is_tty
        if not ctx.stdin_is_tty or not ctx.confirm(
            wanted.question(), question="Do you want to grant requested privileges and continue?"
        ):
            raise
        plan.allowed.take(wanted.flags)


def _request(ctx: Context, args: Namespace) -> BakeRequest:
    from boxwright.bake.plan import BakeRequest
    from boxwright.build.attest.asked import told_provenance

    variables = {}
    for word in args.var:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise Invalid(f"invalid variable {word!r}, expected name=value")
        variables[name] = value
    files = tuple(args.file) or _files_of(ctx)
    return BakeRequest(
        targets=tuple(args.targets),
        files=files,
        overrides=_overrides(args),
        variables=variables,
        environ=ctx.settings.environ,
        tell_provenance=told_provenance(ctx.settings.environ) if args.metadata_file else "",
        allow=tuple(args.allow),
        stdin=sys.stdin.buffer.read() if {"-", "cwd://-"} & set(files) else None,
    )


def _files_of(ctx: Context) -> tuple[str, ...]:
    """The definitions that the environment names."""
    environ = ctx.settings.environ
    between = environ.get("BUILDX_BAKE_PATH_SEPARATOR") or ":"
    return tuple(w for word in environ.get("BUILDX_BAKE_FILE", "").split(between) if (w := word.strip()))


def _overrides(args: Namespace) -> tuple[str, ...]:
    """`--set`, and what is short for it."""
    from boxwright.bake.entries import attest_text

    found = list(args.set)
    found += ["*.push=true"] if args.push else []
    found += ["*.load=true"] if args.load else []
    call = _call(args)
    found += [f"*.call={call}"] if call else []
    for name in ("no_cache", "pull"):
        if name in args.given:
            found.append(f"*.{name.replace('_', '-')}={'true' if getattr(args, name) else 'false'}")
    for name in ("sbom", "provenance"):
        if word := getattr(args, name):
            found.append(f"*.attest={attest_text(name, word)}")
    return tuple(found)


def _call(args: Namespace) -> str:
    """The method that is asked for instead of a build; buildx calls a check `lint` in a definition."""
    method = str(args.call).partition(",")[0] if not args.check else "check"
    return {"build": "", "check": "lint"}.get(method, method)


def _print(ctx: Context, plan: BakePlan) -> int:
    import json

    from boxwright.bake.hcl.functions.encoding import go_json

    ctx.out(go_json(json.dumps(plan.resolved.to_json(), indent=2, ensure_ascii=False)))
    return 0


def _build(ctx: Context, args: Namespace, request: BakeRequest, plan: BakePlan) -> int:
    from boxwright.cli.progress import build as progress_build
    from boxwright.engine.bake import build_planned

    view = progress_build.make(ctx, args.progress, quiet=False)
    try:
        with view:
            results = build_planned(ctx.engine.services, request, plan=plan, progress=view)
    except Cancelled as error:
        ctx.err(f"ERROR: failed to solve: {error}")
        return error.exit_code
    if args.progress not in ("quiet", "none"):
        view.tell_warnings()
    if args.metadata_file:
        _metadata(ctx, args.metadata_file, results)
    if any(result.answer is not None for result in results.values()):
        from boxwright.cli.bake_calls import show

        return show(ctx=ctx, args=args, request=request, plan=plan, results=results)
    return 0


def _metadata(ctx: Context, name: str, results: dict[str, BuildResult]) -> None:
    import json

    from boxwright.build.metadata import as_buildx, metadata
    from boxwright.cli.archives import output_file
    from boxwright.spec.text import go_bool

    body: dict[str, object] = {target: metadata(result) for target, result in sorted(results.items())}
    warnings = [warning for result in results.values() for warning in result.warnings]
    if warnings and go_bool(ctx.settings.environ.get("BUILDX_METADATA_WARNINGS", "")):
        body["buildx.build.warnings"] = as_buildx(warnings)
    with output_file(name) as out:
        out.write((json.dumps(body, indent=2) + "\n").encode())
