"""inspect: what is known of any object, as Docker's JSON."""

from __future__ import annotations

from boxwright.errors import BoxwrightError, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser

TYPES = ("container", "image", "network", "volume")


class NoSuchObject(NotFound):
    """No object of any kind has this name."""


def inspect_args(p: Parser) -> None:
    p.add_argument("name", nargs="+", metavar="NAME|ID", complete="object")
    p.add_object_format()
    p.add_argument(
        "-s", "--size", action="store_true", help="Display total file sizes if the type is container"
    )
    p.add_argument("--type", default="", metavar="string", help="Only inspect objects of the given type")


def inspect(ctx: Context, args: Namespace) -> int:
    """Show any object: a container, or else an image, a network or a volume of that name."""
    if args.type and args.type not in TYPES:
        raise Invalid(f'"{args.type}" is not a valid value for --type', hint="it can be " + ", ".join(TYPES))
    kinds = (args.type,) if args.type else TYPES

    def find(name: str) -> tuple[str, Any]:
        for kind in kinds:
            try:
                return kind, _one(ctx, kind, name, size=args.size)
            except (NotFound, Invalid) as error:  # a name that is none for an image may be one for a volume
                if len(kinds) == 1:
                    raise
                missing = error
        raise NoSuchObject(f"No such object: {name}") from missing

    return show(ctx=ctx, names=args.name, find=find, template=args.format)


def image_inspect_args(p: Parser) -> None:
    p.add_argument("image", nargs="+", metavar="IMAGE", complete="image")
    p.add_object_format()
    p.add_argument(
        "--platform", metavar="string", help="Inspect a specific platform of the multi-platform image"
    )


def image_inspect(ctx: Context, args: Namespace) -> int:
    """Show images."""
    return show(
        ctx=ctx,
        names=args.image,
        find=lambda name: ("image", ctx.engine.images.inspect(name, platform=args.platform)),
        template=args.format,
    )


def _one(ctx: Context, kind: str, name: str, *, size: bool) -> Any:
    engine = ctx.engine
    if kind == "container":
        return engine.containers.inspect(name, size=size)
    if kind == "image":
        return engine.images.inspect(name)
    return engine.networks.inspect(name) if kind == "network" else engine.volumes.inspect(name)


def show(ctx: Context, names: Sequence[str], find: Callable[[str], tuple[str, Any]], template: str) -> int:
    """Print what is found, as one JSON list or through a template; then tell what is missing. For any `inspect`; `find`
    gives the kind (one of `TYPES`) and the JSON."""
    from boxwright.cli.several import Failures
    from boxwright.gotemplate.values import Struct

    render = _renderer(template)
    found: list[Any] = []
    failures = Failures(ctx)
    for name in names:
        try:
            kind, value = find(name)
        except BoxwrightError as error:
            failures.keep(error)
            continue
        found.append(value)
        if render:
            ctx.out(render(Struct(value, kind)))
    if not render:
        import json

        ctx.out(json.dumps(found, indent=4, ensure_ascii=False))
    return failures.end()


def _renderer(template: str) -> Callable[[Any], str] | None:
    if not template:
        return None
    from boxwright.gotemplate.compile import FormatError, compile, to_json

    try:
        return to_json if template == "json" else compile(template)
    except FormatError as error:
        error.exit_code = 64  # Docker's, of inspect alone
        raise
