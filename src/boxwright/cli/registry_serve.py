"""registry serve."""

from __future__ import annotations

import os

from boxwright.files.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.registry.server.config import RegistryConfig


def storage_options(p: Parser) -> None:
    """What every command about a registry's storage takes."""
    p.add_argument(
        "--config",
        default="",
        metavar="file",
        help="Read the configuration from a TOML file",
        complete="file",
    )
    p.add_argument(
        "--storage",
        default="",
        metavar="path",
        help="Where the registry keeps everything (default: registry below the root)",
        complete="dir",
    )


def configuration(ctx: Context, args: Namespace, **given: object) -> RegistryConfig:
    """The configuration file and what the options change. Raises RegistryConfigInvalid."""
    from pathlib import Path

    from boxwright.registry.server.config import load

    path = Path(args.config) if args.config else None
    return load(
        path,
        default_storage=Places(ctx.settings.root).registry,
        **{**given, **({"storage": Path(args.storage)} if args.storage else {})},
    )


def registry_serve_args(p: Parser) -> None:
    storage_options(p)
    p.add_argument("--addr", default="", metavar="host:port", help='Listen there (default "127.0.0.1:5000")')
    p.add_argument(
        "--tls-cert",
        default="",
        metavar="file",
        help="Certificate chain (PEM); needs --tls-key",
        complete="file",
    )
    p.add_argument("--tls-key", default="", metavar="file", help="Private key (PEM)", complete="file")
    p.add_argument(
        "--workers", type=int, default=0, metavar="int", help="Processes (default: one for each CPU)"
    )
    p.add_argument("--read-only", action="store_true", help="Refuse pushes and deletions")
    p.add_argument(
        "--access-log",
        default="",
        metavar="file",
        help="Write a JSON line for each request; - is standard error",
        complete="file",
    )
    p.examples = [
        ("A registry on this machine", "boxwright registry serve"),
        (
            "For others, with TLS and accounts",
            "boxwright registry serve --addr :443 --tls-cert cert.pem --tls-key key.pem --config registry.toml",
        ),
    ]


def registry_serve(ctx: Context, args: Namespace) -> int:
    """Until Ctrl-C or SIGTERM, which wait for requests under way."""
    from dataclasses import replace
    from pathlib import Path

    from boxwright.errors import Invalid
    from boxwright.registry.server.auth.users import extra

    extra("aiohttp")
    if bool(args.tls_cert) != bool(args.tls_key):
        raise Invalid("--tls-cert and --tls-key go together")
    config = configuration(
        ctx,
        args,
        addr=args.addr or None,
        tls=(Path(args.tls_cert), Path(args.tls_key)) if args.tls_cert else None,
        read_only=True if args.read_only else None,
        access_log=args.access_log or None,
    )
    if args.workers or not config.workers:
        config = replace(config, workers=args.workers or os.cpu_count() or 1)
    from boxwright.registry.server.serve import serve

    return serve(config, listening=lambda url: ctx.err(f"listening on {url}"))
