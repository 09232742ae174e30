"""serve."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser

DEFAULT = "unix:///run/boxwright/docker.sock"


def serve_args(p: Parser) -> None:
    p.add_argument(
        "-H",
        "--host",
        default=DEFAULT,
        metavar="string",
        help="Listen there: unix:///PATH, tcp://127.0.0.1:PORT, or fd:// for a socket of systemd's",
    )
    p.add_argument(
        "--group", default="docker", metavar="string", help="Group that may use the unix socket, if it exists"
    )
    p.examples = [
        ("An engine for Docker's clients", "boxwright serve -H unix:///run/boxwright/docker.sock"),
    ]


def serve(ctx: Context, args: Namespace) -> int:
    """Until Ctrl-C or SIGTERM, which wait for requests under way."""
    from boxwright.registry.server.auth.users import extra
    from boxwright.runtime.process import require_root

    require_root("serving Docker's API")
    extra("aiohttp", "serve")
    from boxwright.api.listening import listen
    from boxwright.api.server import serve as serve_api

    listener = listen(args.host, ctx.settings.environ, group=args.group)
    if not listener.local:
        ctx.warn("every process of this machine that can connect is root on it: prefer a unix socket")
    ctx.engine.images.list()  # a store that cannot be used is told now, not to the first client
    return serve_api(ctx.engine, listener, listening=lambda address: ctx.err(f"listening on {address}"))
