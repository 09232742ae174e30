"""registry gc, fsck, user and token: what an administrator does at the storage itself."""

from __future__ import annotations

import sys

from boxwright.cli.registry_serve import configuration, storage_options
from boxwright.cli.tables import created_at, table
from boxwright.errors import Invalid
from boxwright.spec.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.registry.server.auth.users import Users
    from boxwright.registry.server.config import RegistryConfig
    from boxwright.registry.server.store.catalog import RegistryCatalog


class NoAccounts(Invalid):
    """The configuration has no accounts."""


def _catalog(config: RegistryConfig) -> RegistryCatalog:
    from boxwright.registry.server.store.catalog import RegistryCatalog

    if not (config.storage / "registry.db").exists():
        raise Invalid(
            f"there is no registry in {config.storage}",
            hint="name it with --storage, or start `boxwright registry serve` once",
        )
    return RegistryCatalog(config.storage / "registry.db")


# --- garbage and soundness -------------------------------------------------------------------------


def registry_gc_args(p: Parser) -> None:
    storage_options(p)
    p.add_argument("--dry-run", action="store_true", help="Only show what would go")
    p.add_argument(
        "--grace",
        default="",
        metavar="duration",
        help='Keep unreferenced blobs that are younger (default "24h")',
    )
    p.add_argument("-q", "--quiet", action="store_true", help="Only show the total")


def registry_gc(ctx: Context, args: Namespace) -> int:
    """Beside a running server, without stopping pushes."""
    from dataclasses import replace

    from boxwright.registry.server.config import seconds
    from boxwright.registry.server.store.blobs import FileBlobs
    from boxwright.registry.server.store.collector import RegistryCollector, rehearse

    config = configuration(ctx, args)
    if args.grace:
        config = replace(
            config, housekeeping=replace(config.housekeeping, grace=seconds(args.grace, "--grace"))
        )
    catalog, blobs = _catalog(config), FileBlobs(config.storage)
    done = (
        rehearse(config, catalog, blobs) if args.dry_run else RegistryCollector(config, catalog, blobs).run()
    )
    would = "would be deleted" if args.dry_run else "deleted"
    if not args.quiet:
        for kind, names in (("tag", done.tags), ("manifest", done.manifests), ("blob", done.blobs)):
            for name in names:
                ctx.out(f"{kind} {name} {would}")
    if done.uploads:
        ctx.out(f"{done.uploads} stale uploads {would}")
    ctx.out(
        f"Total reclaimed space: {human_size(done.bytes)}"
        if not args.dry_run
        else f"Reclaimable space: {human_size(done.bytes)}"
    )
    return 0


def registry_fsck_args(p: Parser) -> None:
    storage_options(p)
    p.add_argument(
        "--repair",
        action="store_true",
        help="Forget blobs whose bytes are wrong or missing, so that the next push brings them again",
    )


def registry_fsck(ctx: Context, args: Namespace) -> int:
    """Read every byte. Exit code 1 when something is wrong."""
    from boxwright.registry.server.store.blobs import FileBlobs
    from boxwright.registry.server.store.fsck import check

    config = configuration(ctx, args)
    wrong = False
    for finding in check(config, _catalog(config), FileBlobs(config.storage), repair=args.repair):
        wrong = True
        ctx.out(f"{finding.what}: {finding.detail}")
    if not wrong:
        ctx.out("The storage is sound.")
    return int(wrong)


# --- users -----------------------------------------------------------------------------------------


def _user_options(p: Parser) -> None:
    storage_options(p)
    p.add_argument(
        "--htpasswd",
        default="",
        metavar="file",
        help="The file of accounts, when no configuration names it",
        complete="file",
    )


def _users(config: RegistryConfig, args: Namespace) -> Users:
    from pathlib import Path

    from boxwright.registry.server.auth.users import Users

    path = Path(args.htpasswd) if args.htpasswd else config.auth.htpasswd if config.auth else None
    if path is None:
        raise NoAccounts(
            "no file of accounts is known",
            hint="name it with --htpasswd FILE, or with --config FILE that has [auth] htpasswd",
        )
    return Users(path)


def _password(ctx: Context, args: Namespace) -> str:
    if args.password_stdin or not ctx.stdin_is_tty:
        return sys.stdin.readline().rstrip("\r\n")
    import getpass

    first = getpass.getpass("Password: ", sys.stderr)
    if getpass.getpass("Again: ", sys.stderr) != first:
        raise Invalid("the two passwords differ")
    return first


_TOKENS = ("access", "refresh", "session")


def registry_user_add_args(p: Parser) -> None:
    _user_options(p)
    p.add_argument("name", metavar="NAME")
    p.add_argument("--password-stdin", action="store_true", help="Take the password from standard input")


def registry_user_add(ctx: Context, args: Namespace) -> int:
    """Servers see it within a second."""
    config = configuration(ctx, args)
    users, password = _users(config, args), _password(ctx, args)
    if not users.exists(
        args.name
    ):  # tokens that there are were an earlier account's, which an editor took away
        _forget(config, args.name, _TOKENS)
    users.put(args.name, password, new=True)
    ctx.out(args.name)
    return 0


registry_user_passwd_args = registry_user_add_args


def registry_user_passwd(ctx: Context, args: Namespace) -> int:
    """Change a password; logins that clients kept end."""
    config = configuration(ctx, args)
    _users(config, args).put(args.name, _password(ctx, args), new=False)
    _forget(config, args.name, ("refresh", "session"))
    ctx.out(args.name)
    return 0


def registry_user_rm_args(p: Parser) -> None:
    _user_options(p)
    p.add_argument("name", metavar="NAME")


def registry_user_rm(ctx: Context, args: Namespace) -> int:
    """With all tokens."""
    config = configuration(ctx, args)
    _users(config, args).remove(args.name)
    _forget(config, args.name, _TOKENS)
    ctx.out(args.name)
    return 0


def _forget(config: RegistryConfig, user: str, kinds: tuple[str, ...]) -> None:
    from boxwright.registry.server.auth.tokens import AccessTokens

    if (config.storage / "registry.db").exists():
        AccessTokens(_catalog(config)).forget(user, kinds=kinds)


def registry_user_ls_args(p: Parser) -> None:
    _user_options(p)


def registry_user_ls(ctx: Context, args: Namespace) -> int:
    """Names and roles."""
    config = configuration(ctx, args)
    admins = config.auth.admins if config.auth else frozenset[str]()
    organisations = config.auth.organisations if config.auth else {}
    rows = [
        {
            "Name": name,
            "Role": "admin" if name in admins else "user",
            "Organisations": ", ".join(o for o, members in organisations.items() if name in members),
        }
        for name in _users(config, args).names()
    ]
    table(ctx, {"Name": "NAME", "Role": "ROLE", "Organisations": "ORGANISATIONS"}, rows)
    return 0


# --- tokens ----------------------------------------------------------------------------------------


def registry_token_create_args(p: Parser) -> None:
    storage_options(p)
    p.add_argument("user", metavar="USER")
    p.add_argument("--name", default="", metavar="string", help="What the token is for")
    p.add_argument(
        "--scope",
        action="append",
        metavar="list",
        help='Limit it, e.g. "team/**:pull,push" (several times: any of them)',
    )
    p.add_argument(
        "--expires", default="", metavar="duration", help='Lifetime, e.g. "30d" (default: until removed)'
    )
    p.examples = [
        (
            "For a build server that pulls",
            "boxwright registry token create --config registry.toml --scope 'acme/**:pull' --expires 90d carol",
        )
    ]


def registry_token_create(ctx: Context, args: Namespace) -> int:
    """The secret goes to standard output and is kept nowhere; it is used as the user's password."""
    from boxwright.registry.server.auth.tokens import AccessTokens
    from boxwright.registry.server.auth.users import AccountUnknown, Users
    from boxwright.registry.server.config import seconds

    config = configuration(ctx, args)
    if config.auth is not None and not Users(config.auth.htpasswd).exists(args.user):
        raise AccountUnknown(f"there is no user {args.user} in {config.auth.htpasswd}")
    ttl = seconds(args.expires, "--expires") if args.expires else 0
    ctx.out(AccessTokens(_catalog(config)).create(args.user, args.name, args.scope, ttl=ttl))
    return 0


def registry_token_ls_args(p: Parser) -> None:
    storage_options(p)
    p.add_argument("--user", default="", metavar="string", help="Only of this user")


def registry_token_ls(ctx: Context, args: Namespace) -> int:
    """Without their secrets."""
    from boxwright.registry.server.auth.tokens import AccessTokens

    rows = [
        {
            "ID": t.id,
            "User": t.user,
            "Name": t.name,
            "Scopes": " ".join(t.scopes) or "all",
            "Created": created_at(t.created),
            "Expires": created_at(t.expires) if t.expires else "never",
            "LastUsed": created_at(t.last_used) if t.last_used else "never",
        }
        for t in AccessTokens(_catalog(configuration(ctx, args))).all(args.user)
    ]
    table(
        ctx,
        {
            "ID": "ID",
            "User": "USER",
            "Name": "NAME",
            "Scopes": "SCOPES",
            "Created": "CREATED",
            "Expires": "EXPIRES",
            "LastUsed": "LAST USED",
        },
        rows,
    )
    return 0


def registry_token_rm_args(p: Parser) -> None:
    storage_options(p)
    p.add_argument("ids", nargs="+", metavar="ID")


def registry_token_rm(ctx: Context, args: Namespace) -> int:
    """At once, everywhere."""
    from boxwright.registry.server.auth.tokens import AccessTokens

    tokens = AccessTokens(_catalog(configuration(ctx, args)))
    for id in args.ids:
        tokens.remove(id)
        ctx.out(id)
    return 0
