"""pull, push, login, logout, search, tags, copy."""

from __future__ import annotations

import sys

from boxwright.cli.flags import SUPPRESS
from boxwright.errors import Invalid, Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.reference import Reference


class NotATerminal(Invalid):
    """A question cannot be asked."""


def _progress_option(p: Parser) -> None:
    p.add_argument(
        "--progress",
        default="",
        metavar="string",
        help='How progress is shown ("auto", "plain", "tty", "json", "quiet")',
    )


# --- pull -------------------------------------------------------------------------------------------


def pull_args(p: Parser) -> None:
    """Docker's, and several platforms at once."""
    p.usage = "NAME[:TAG|@DIGEST]"
    p.add_argument("name", metavar="NAME[:TAG|@DIGEST]", complete="image")
    p.add_argument(
        "-a", "--all-tags", action="store_true", help="Download all tagged images in the repository"
    )
    p.add_argument(
        "--platform",
        default="",
        metavar="string",
        help="Set platform if server is multi-platform capable; several with commas",
    )
    p.add_argument("-q", "--quiet", action="store_true", help="Suppress verbose output")
    p.add_argument("--disable-content-trust", action="store_true", default=True, help=SUPPRESS)
    _progress_option(p)
    p.examples = [
        ("Several platforms into one image", "boxwright pull --platform linux/amd64,linux/arm64 alpine")
    ]


def pull(ctx: Context, args: Namespace) -> int:
    """Lines as Docker's; standard output gets the digest, the status and, last, the full name."""
    name = fetch(
        ctx,
        args.name,
        platform=args.platform or ctx.settings.platform,
        all_tags=args.all_tags,
        quiet=args.quiet,
        progress=args.progress,
        out=ctx.out,
    )
    ctx.out(name)
    return 0


def fetch(
    ctx: Context,
    name: str,
    *,
    platform: str = "",
    all_tags: bool = False,
    quiet: bool = False,
    progress: str = "",
    out: Callable[[str], None],
) -> str:
    """Pull, showing how it goes; digest and status go to `out`. Returns the full name."""
    from contextlib import nullcontext

    from boxwright.cli.progress import transfer as progress_transfer
    from boxwright.spec.reference import Reference

    asked = Reference.parse(name)
    shown = progress_transfer.make(ctx, progress, progress_transfer.PULL, quiet=quiet)
    if not asked.tag and not asked.digest and not all_tags and not quiet:
        ctx.err("Using default tag: latest")

    def announce(reference: Reference, desc: Descriptor, known: bool) -> None:
        if shown is not None:
            shown.unchanged = known
            shown.say(f"{reference.tag or reference.digest}: Pulling from {reference.path}")

    with shown or nullcontext():
        done = ctx.engine.images.pull(
            name, platform=platform, all_tags=all_tags, progress=shown, resolved=announce
        )
    for pulled in done:
        if pulled.warning:
            ctx.warn(pulled.warning)
        if not quiet:
            out(f"Digest: {pulled.target.digest}")
    whole = asked if all_tags else done[0].reference
    if not quiet:
        fresh = any(p.fresh for p in done)
        out(f"Status: {'Downloaded newer image' if fresh else 'Image is up to date'} for {whole.familiar}")
    return str(whole)


# --- push -------------------------------------------------------------------------------------------


def push_args(p: Parser) -> None:
    """Docker's, several names at once, and how layers made here are compressed."""
    from boxwright.spec.compression import COMPRESSIONS

    p.usage = "NAME[:TAG] [NAME[:TAG]...]"
    p.add_argument("names", nargs="+", metavar="NAME[:TAG]", complete="image")
    p.add_argument(
        "-a", "--all-tags", action="store_true", help="Push all tags of an image to the repository"
    )
    p.add_argument(
        "--platform",
        default="",
        metavar="string",
        help="Push a platform-specific manifest as a single-platform image",
    )
    p.add_argument("-q", "--quiet", action="store_true", help="Suppress verbose output")
    p.add_argument(
        "--compression",
        default="gzip",
        choices=tuple(COMPRESSIONS),
        metavar="string",
        help="Of layers built here (" + ", ".join(f'"{name}"' for name in COMPRESSIONS) + ")",
    )
    p.add_argument("--compression-level", type=int, metavar="int", help="Of layers built here")
    p.add_argument("--disable-content-trust", action="store_true", default=True, help=SUPPRESS)
    _progress_option(p)


def push(ctx: Context, args: Namespace) -> int:
    """Lines as Docker's; standard output gets ``TAG: digest: … size: N``."""
    from boxwright.cli.several import each

    return each(ctx, args.names, lambda name: _push(ctx, name, args))


def _push(ctx: Context, name: str, args: Namespace) -> str:
    from contextlib import nullcontext

    from boxwright.cli.progress import transfer as progress_transfer
    from boxwright.spec.reference import Reference

    reference = Reference.parse(name)
    if not args.quiet:
        if not reference.tag and not reference.digest and not args.all_tags:
            ctx.err("Using default tag: latest")
        ctx.err(f"The push refers to repository [{reference.name}]")
    shown = progress_transfer.make(ctx, args.progress, progress_transfer.PUSH, quiet=args.quiet)
    with shown or nullcontext():
        done = ctx.engine.images.push(
            name,
            all_tags=args.all_tags,
            platform=args.platform,
            compression=args.compression,
            level=args.compression_level,
            progress=shown,
        )
    for pushed in done:
        if pushed.note:
            ctx.err(f"Info -> {pushed.note}")
    if args.quiet:
        return str(reference if args.all_tags else done[0].reference)
    return "\n".join(f"{p.reference.tag}: digest: {p.target.digest} size: {p.target.size}" for p in done)


# --- login ------------------------------------------------------------------------------------------


def login_args(p: Parser) -> None:
    """Docker's."""
    p.usage = "[SERVER]"
    p.add_argument("server", nargs="?", default="", metavar="SERVER")
    p.add_argument("-u", "--username", default="", metavar="string", help="Username")
    p.add_argument("-p", "--password", default=None, metavar="string", help="Password")
    p.add_argument("--password-stdin", action="store_true", help="Take the password from stdin")
    p.examples = [
        (
            "Without the password in the shell's history",
            "boxwright login -u me --password-stdin registry.example.com < password.txt",
        )
    ]


def _read_password(stream: BinaryIO) -> str:
    """A password from standard input: one line break at its end does not belong to it."""
    text = stream.read(1 << 20).decode("utf-8", "strict")
    return text.removesuffix("\n").removesuffix("\r")


def login(ctx: Context, args: Namespace) -> int:
    """Check an account and keep it in Docker's config.json or its helper."""
    if args.password is not None and args.password_stdin:
        raise Invalid("--password and --password-stdin are mutually exclusive")
    if args.password_stdin:
        if not args.username:
            raise Invalid("Must provide --username with --password-stdin")
        password = _read_password(sys.stdin.buffer)
    elif args.password is not None:
        ctx.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        password = args.password
    else:
        if not args.username and _again(ctx, args.server):
            return 0
        args.username, password = _ask(ctx, args.username)
    if not args.username:
        raise Invalid("username is required", hint="give one: -u NAME")
    if not password:
        raise Invalid("password is empty" if args.password_stdin else "password required")
    done = ctx.engine.registry.login(args.server, args.username, password)
    if done.stored.plain:
        ctx.err(f"WARNING! Your credentials are stored unencrypted in '{done.stored.where}'.")
        ctx.err("Configure a credential helper to remove this warning: set credsStore in that file")
    ctx.out("Login Succeeded")
    return 0


def _again(ctx: Context, server: str) -> bool:
    """Try what is stored, as Docker does; whether it still works."""
    from boxwright.registry.client.client import server_name

    known = ctx.engine.services.registry.credentials.get(server_name(server))
    if known is None or not known.password:
        return False
    ctx.err("Authenticating with existing credentials...")
    try:
        ctx.engine.registry.login(server, known.username, known.password)
    except Unauthorized as error:
        ctx.err(f"Stored credentials are not valid any more: {error}")
        return False
    ctx.out("Login Succeeded")
    return True


def _ask(ctx: Context, username: str) -> tuple[str, str]:
    if not ctx.stdin_is_tty:
        raise NotATerminal(
            "Cannot perform an interactive login from a non TTY device", hint="use -u NAME --password-stdin"
        )
    import getpass

    if not username:
        sys.stderr.write("Username: ")
        sys.stderr.flush()
        username = sys.stdin.readline().strip()
    return username, getpass.getpass("Password: ")


def logout_args(p: Parser) -> None:
    """Docker's."""
    p.usage = "[SERVER]"
    p.add_argument("server", nargs="?", default="", metavar="SERVER")


def logout(ctx: Context, args: Namespace) -> int:
    """Forget an account."""
    from boxwright.registry.client.client import server_name

    name = server_name(args.server)
    shown = "https://index.docker.io/v1/" if name == "docker.io" else name
    if ctx.engine.registry.logout(args.server):
        ctx.out(f"Removing login credentials for {shown}")
    else:
        ctx.out(f"Not logged in to {shown}")
    return 0


# --- search and tags --------------------------------------------------------------------------------

_SEARCH = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}
_WIDTH = 45  # columns of a description, as docker cuts it


def search_args(p: Parser) -> None:
    """Docker's; ``HOST/TERM`` searches another registry."""
    p.usage = "TERM"
    p.add_argument("term", metavar="TERM")
    p.add_argument(
        "-f",
        "--filter",
        action="append",
        metavar="filter",
        help="Filter output based on conditions provided (stars=N, is-official=true|false)",
    )
    p.add_argument("--format", default="", metavar="string", help="Pretty-print search using a Go template")
    p.add_argument("--limit", type=int, default=0, metavar="int", help="Max number of search results")
    p.add_argument("--no-trunc", action="store_true", help="Don't truncate output")
    p.examples = [
        ("A registry of your own", "boxwright search localhost:5000/app"),
        ("All that it has", "boxwright search localhost:5000/"),
    ]


def search(ctx: Context, args: Namespace) -> int:
    """NAME, DESCRIPTION, STARS, OFFICIAL."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.tables import ellipsis, table
    from boxwright.image.filters import flag

    filters = parse_filters(args.filter, ("stars", "is-official", "is-automated"))
    stars = filters.get("stars", ["0"])
    if not all(s.isdigit() for s in stars):
        raise Invalid(f"invalid filter 'stars={stars[0]}': wanted a number")
    if "is-automated" in filters:
        ctx.warn('filtering with "is-automated" is deprecated: no registry says it any more')
    found = ctx.engine.registry.search(
        args.term,
        limit=args.limit,
        stars=max(map(int, stars)),
        official=flag(filters, "is-official"),
        automated=flag(filters, "is-automated") or False,
    )
    yes, no = ("true", "false") if args.format == "json" or "json ." in args.format else ("[OK]", "")
    rows = []
    for entry in found:
        text = " ".join(entry.description.split())
        rows.append(
            {
                "Name": entry.name,
                "Description": text if args.no_trunc else ellipsis(text, _WIDTH),
                "StarCount": str(entry.stars),
                "IsOfficial": yes if entry.official else no,
            }
        )
    table(ctx, _SEARCH, rows, format=args.format)
    return 0


def tags_ls_args(p: Parser) -> None:
    """One repository."""
    p.usage = "REPOSITORY"
    p.add_argument("repository", metavar="REPOSITORY")
    p.add_argument(
        "--format",
        default="",
        metavar="string",
        help="Format output using a Go template: .Name, .Tag, .Reference",
    )


def tags_ls(ctx: Context, args: Namespace) -> int:
    """One tag a line."""
    from boxwright.spec.reference import Reference

    reference = Reference.parse(args.repository)
    tags = ctx.engine.registry.tags(args.repository)
    if not args.format:
        for tag in tags:
            ctx.out(tag)
        return 0
    from boxwright.cli.tables import table

    rows = [
        {"Name": reference.familiar_name, "Tag": tag, "Reference": f"{reference.familiar_name}:{tag}"}
        for tag in tags
    ]
    table(ctx, {"Name": "NAME", "Tag": "TAG", "Reference": "REFERENCE"}, rows, format=args.format)
    return 0


def tags_rm_args(p: Parser) -> None:
    """One or several."""
    p.usage = "NAME:TAG|NAME@DIGEST [NAME:TAG|NAME@DIGEST...]"
    p.description = (
        "A tag goes alone; a digest takes the manifest with all its tags. The registry must allow it."
    )
    p.add_argument("name", nargs="+", metavar="NAME")


def tags_rm(ctx: Context, args: Namespace) -> int:
    """Delete tags and manifests in registries."""
    from boxwright.cli.several import each
    from boxwright.spec.reference import Reference

    def delete(name: str) -> str:
        reference = Reference.parse(name)
        if not reference.tag and not reference.digest:
            raise Invalid(
                f"{name} names a whole repository",
                hint=f"say which tag or digest: boxwright tags ls {name}",
            )
        ctx.engine.registry.delete(name)
        return f"Deleted: {reference.familiar}"

    return each(ctx, args.name, delete)


# --- copy -------------------------------------------------------------------------------------------


def copy_args(p: Parser) -> None:
    """Any place to any place."""
    p.usage = "SOURCE DESTINATION"
    p.description = (
        "A place is a name in a registry (docker://NAME works too), local:NAME for the store, "
        "oci:DIR[:NAME] for an OCI layout,\n"
        "oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME]. Nothing is kept in the store unless it is "
        "one of the two."
    )
    p.add_argument("source", metavar="SOURCE")
    p.add_argument("destination", metavar="DESTINATION")
    p.add_argument("-a", "--all", action="store_true", help=SUPPRESS)
    p.add_argument(
        "--platform",
        default="",
        metavar="string",
        help="Only these platforms (with commas); the default is all of them",
    )
    p.add_argument("--no-referrers", action="store_true", help="Leave signatures and other referrers behind")
    p.add_argument("--jobs", type=int, default=6, metavar="int", help="How many blobs at a time")
    p.add_argument("-q", "--quiet", action="store_true", help="Print nothing but the digest")
    _progress_option(p)
    p.examples = [
        ("From one registry to another", "boxwright copy docker.io/library/alpine:3 localhost:5000/alpine:3")
    ]


def copy(ctx: Context, args: Namespace) -> int:
    """Standard output gets the digest."""
    from contextlib import nullcontext

    from boxwright.cli.progress import transfer as progress_transfer

    shown = progress_transfer.make(ctx, args.progress, progress_transfer.COPY, quiet=args.quiet)
    notes: list[str] = []
    with shown or nullcontext():
        desc = ctx.engine.registry.copy(
            args.source,
            args.destination,
            platform=args.platform,
            referrers=not args.no_referrers,
            jobs=args.jobs,
            progress=shown,
            note=notes.append,
        )
    for text in notes:
        ctx.err(f"Info -> {text}")
    ctx.out(str(desc.digest))
    return 0
