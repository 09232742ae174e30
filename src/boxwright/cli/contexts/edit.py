"""context create, update, rm, export, import."""

from __future__ import annotations

import sys

from boxwright.cli.contexts import files
from boxwright.cli.contexts.options import docker_args, endpoint, pairs
from boxwright.errors import Conflict, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser


class ContextInUse(Conflict):
    """The current context is removed only by force."""


class ContextOptionsInvalid(Invalid):
    """Options that exclude each other, or no endpoint."""


class ExportInvalid(Invalid):
    """The file to write is there already, or cannot be."""


def context_create_args(p: Parser) -> None:
    p.add_argument("name", metavar="CONTEXT")
    docker_args(p)
    p.add_argument(
        "--from", dest="source", default="", metavar="string", help="create context from a named context"
    )


def context_create(ctx: Context, args: Namespace) -> int:
    """A context of the given endpoint, or as another one."""
    _new_name(ctx, args.name)
    about = {} if args.description is None else {"Description": args.description}
    if args.source:
        if args.docker:
            raise ContextOptionsInvalid("cannot use --docker flag when --from is set")
        found = files.saved(ctx, args.source)
        body, tls = {**found.body, "Metadata": {**found.metadata, **about}}, files.materials(ctx, args.source)
    else:
        if not args.docker:
            raise ContextOptionsInvalid(
                "docker endpoint configuration is required", hint="--docker host=unix:///PATH"
            )
        docker, tls = endpoint(ctx, pairs(args.docker, "boxwright context create"))
        body = {"Metadata": about, "Endpoints": {"docker": docker}}
    _save_new(ctx=ctx, name=args.name, context=files.SavedContext(body=body), tls=tls)
    ctx.out(args.name)
    ctx.err(f'Successfully created context "{args.name}"')
    return 0


def context_update_args(p: Parser) -> None:
    p.add_argument("name", metavar="CONTEXT")
    docker_args(p)


def context_update(ctx: Context, args: Namespace) -> int:
    """Another description, another endpoint with the keys that belong to it; what is not given stays."""
    files.check_name(args.name)
    with files.changing(ctx):
        found = files.saved(ctx, args.name)
        body, tls = dict(found.body), files.materials(ctx, args.name)
        if args.description is not None:
            body["Metadata"] = {**found.metadata, "Description": args.description}
        if args.docker:
            docker, of_docker = endpoint(ctx, pairs(args.docker, "boxwright context update"))
            endpoints = body.get("Endpoints")
            body["Endpoints"] = {**(endpoints if isinstance(endpoints, dict) else {}), "docker": docker}
            tls = {**{name: keys for name, keys in tls.items() if name != "docker"}, **of_docker}
        files.save(ctx=ctx, name=args.name, context=files.SavedContext(body=body), tls=tls)
    ctx.out(args.name)
    ctx.err(f'Successfully updated context "{args.name}"')
    return 0


def context_rm_args(p: Parser) -> None:
    p.add_argument("name", nargs="+", metavar="CONTEXT")
    p.add_argument("-f", "--force", action="store_true", help="Force the removal of a context in use")


def context_rm(ctx: Context, args: Namespace) -> int:
    """Remove contexts with their keys; by force the current one too, which is the default then."""
    from boxwright.cli.several import each

    def check(name: str) -> None:
        if name == files.DEFAULT:
            raise files.ContextNameInvalid(
                f'context "{name}" cannot be removed', hint="it is this engine, and has no files"
            )
        if not args.force:
            if not files.exists(ctx, name):
                raise files.NoSuchContext(f'context "{name}" does not exist')
            if files.current(ctx) == name:
                raise ContextInUse(f'context "{name}" is in use, set -f flag to force remove')

    def remove(name: str) -> None:
        check(name)
        with files.changing(ctx):
            check(name)  # another process may have made it the current one
            if files.named_in_config(ctx) == name:
                files.make_current(ctx, files.DEFAULT)
            files.remove(ctx, name)

    return each(ctx, args.name, remove)


def context_export_args(p: Parser) -> None:
    p.add_argument("name", metavar="CONTEXT")
    p.add_argument("file", nargs="?", default="", metavar="FILE|-", complete="file")


def context_export(ctx: Context, args: Namespace) -> int:
    """A context with its keys as a tar: CONTEXT.dockercontext, FILE, which must not be there, or standard output."""
    from boxwright.cli.contexts import archive
    from boxwright.files import whole

    target = args.file or f"{args.name}.dockercontext"
    found = files.saved(ctx, args.name)
    data = archive.write(name=args.name, context=found, tls=files.materials(ctx, args.name))
    if target == "-":
        if ctx.stdout_is_tty:
            raise ExportInvalid("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return 0
    try:
        made = whole.create(target, data)
    except OSError as error:
        raise ExportInvalid(f"open {target}: {(error.strerror or str(error)).lower()}") from error
    if not made:
        raise ExportInvalid(f"open {target}: file exists", hint="name another file, or remove it")
    ctx.err(f'Written file "{target}"')
    return 0


def context_import_args(p: Parser) -> None:
    p.add_argument("name", metavar="CONTEXT")
    p.add_argument("file", metavar="FILE|-", complete="file")


def context_import(ctx: Context, args: Namespace) -> int:
    """A context as `context export` of Docker's client or of this one wrote it, a tar or a zip."""
    from boxwright.cli.archives import standard_input
    from boxwright.cli.contexts import archive

    _new_name(ctx, args.name)
    if args.file == "-":
        found, tls = archive.read(standard_input(ctx, "requested import from stdin, but stdin is a terminal"))
    else:
        try:
            with open(args.file, "rb") as stream:
                found, tls = archive.read(stream)
        except OSError as error:
            raise files.ContextFileInvalid(
                f"open {args.file}: {(error.strerror or str(error)).lower()}"
            ) from error
    _save_new(ctx=ctx, name=args.name, context=found, tls=tls)
    ctx.out(args.name)
    ctx.err(f'Successfully imported context "{args.name}"')
    return 0


def _new_name(ctx: Context, name: str) -> None:
    if files.exists(ctx, files.check_name(name)):
        raise files.ContextExists(f'context "{name}" already exists')


def _save_new(ctx: Context, name: str, context: files.SavedContext, tls: files.Materials) -> None:
    with files.changing(ctx):
        _new_name(ctx, name)
        files.save(ctx=ctx, name=name, context=context, tls=tls)
