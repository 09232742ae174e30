"""Containers: what goes in and out of them. Logs, attach, exec, files, images made of them, what they use."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.container.execs import ExecConfig
    from boxwright.container.records import Container

# --- logs and attach ---------------------------------------------------------------------------


def logs_args(p: Parser) -> None:
    p.add_argument("--details", action="store_true", help="Show extra details provided to logs")
    p.add_argument("-f", "--follow", action="store_true", help="Follow log output")
    p.add_argument(
        "--since",
        metavar="string",
        default="",
        help='Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    )
    p.add_argument(
        "-n",
        "--tail",
        metavar="string",
        default="all",
        help="Number of lines to show from the end of the logs",
    )
    p.add_argument("-t", "--timestamps", action="store_true", help="Show timestamps")
    p.add_argument(
        "--until",
        metavar="string",
        default="",
        help='Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    )
    p.add_argument("container", metavar="CONTAINER", complete="container")


def logs(ctx: Context, args: Namespace) -> int:
    """What the container wrote, on the same streams."""
    from boxwright.cli.flags import FlagError
    from boxwright.container.logs import read, texts
    from boxwright.image.filters import moment

    if args.tail != "all" and not args.tail.lstrip("-").isdecimal():
        raise FlagError(
            f'invalid argument "{args.tail}" for "-n, --tail" flag: wanted a number or all', prog=ctx.prog
        )
    tail = -1 if args.tail == "all" or args.tail.startswith("-") else int(args.tail)
    container = ctx.engine.containers.get(args.container)
    since, until = (moment(text) if text else None for text in (args.since, args.until))
    targets = {"stdout": sys.stdout, "stderr": sys.stderr}
    try:
        if tail < 0 and not (args.since or args.until or args.timestamps or args.details):
            for stream, text in texts(container, follow=args.follow):
                targets[stream].write(text)
                if args.follow:
                    targets[stream].flush()
            return 0
        for entry in read(container, tail=tail, since=since, until=until, follow=args.follow):
            target = targets[entry.stream]
            # Where Docker shows what --log-opt labels and env added; the loggers here keep nothing of the kind.
            text = f"{entry.details} {entry.text}" if args.details else entry.text
            target.write(f"{entry.time} {text}" if args.timestamps else text)
            if args.follow:
                target.flush()
    except KeyboardInterrupt:
        return 130
    sys.stdout.flush()
    return 0


def attach_args(p: Parser) -> None:
    from boxwright.cli.container.attach import declare_detach_keys

    declare_detach_keys(p)
    p.add_argument("--no-stdin", action="store_true", help="Do not attach STDIN")
    p.add_argument(
        "--sig-proxy",
        action="store_true",
        default=True,
        help="Proxy all received signals to the process (default true)",
    )
    p.add_argument("container", metavar="CONTAINER", complete="running")


def attach(ctx: Context, args: Namespace) -> int:
    """The exit code is the program's."""
    from boxwright.cli.container.attach import Attachment
    from boxwright.container.records import WrongState

    container = ctx.engine.containers.get(args.container)
    if not container.state.running:
        raise WrongState("you cannot attach to a stopped container, start it first")
    if container.state.status == "paused":
        raise WrongState("you cannot attach to a paused container, unpause it first")
    return Attachment(
        ctx,
        container,
        None,
        keys=args.detach_keys,
        proxy=args.sig_proxy,
        stdin=not args.no_stdin,
        all_output=True,
    ).attached()


# --- exec --------------------------------------------------------------------------------------


def exec__args(p: Parser) -> None:
    from boxwright.cli.container.attach import declare_detach_keys
    from boxwright.cli.flags import REMAINDER

    p.add_argument("-d", "--detach", action="store_true", help="Detached mode: run command in the background")
    declare_detach_keys(p)
    p.add_argument("-e", "--env", action="append", help="Set environment variables")
    p.add_argument(
        "--env-file", action="append", complete="file", help="Read in a file of environment variables"
    )
    p.add_argument("-i", "--interactive", action="store_true", help="Keep STDIN open even if not attached")
    p.add_argument("--privileged", action="store_true", help="Give extended privileges to the command")
    p.add_argument("-t", "--tty", action="store_true", help="Allocate a pseudo-TTY")
    p.add_argument(
        "-u",
        "--user",
        metavar="string",
        default="",
        help="Username or UID (format: <name|uid>[:<group|gid>])",
    )
    p.add_argument(
        "-w", "--workdir", metavar="string", default="", help="Working directory inside the container"
    )
    p.add_argument("container", metavar="CONTAINER", complete="running")
    p.add_argument("command", nargs=REMAINDER, metavar="COMMAND")
    p.usage = "CONTAINER COMMAND [ARG...]"


def exec_(ctx: Context, args: Namespace) -> int:
    """The exit code is the command's; 126 when it cannot be run, 127 when it is not there."""
    from boxwright.cli.flags import UsageError
    from boxwright.container import execs
    from boxwright.container.options import environment
    from boxwright.runtime.moves import Ahead
    from boxwright.runtime.process import become_subreaper, reap_orphans

    if not args.command:
        raise UsageError(
            f"boxwright: '{ctx.prog}' requires at least 2 arguments",
            prog=ctx.prog,
            usage=f"{ctx.prog} [OPTIONS] CONTAINER COMMAND [ARG...]",
        )
    if args.workdir and not args.workdir.startswith("/"):
        raise execs.ExecFailed(
            f"the working directory '{args.workdir}' is invalid, it needs to be an absolute path"
        )
    config = execs.ExecConfig(
        command=tuple(args.command),
        env=environment(args.env_file, args.env, ctx.settings.environ),
        user=args.user,
        workdir=args.workdir,
        tty=args.tty,
        privileged=args.privileged,
    )
    with Ahead():
        container = ctx.engine.containers.get(args.container)
        become_subreaper()
        try:
            return _exec(ctx=ctx, container=container, config=config, args=args)
        finally:
            reap_orphans()


def _exec(ctx: Context, container: Container, config: ExecConfig, args: Namespace) -> int:
    from boxwright.container import execs
    from boxwright.container.options import OptionInvalid
    from boxwright.errors import BoxwrightError
    from boxwright.runtime.tty import write_all

    if args.detach:
        try:
            execs.run_detached(ctx.engine.services, container, config._replace(tty=False))
        except BoxwrightError as error:
            error.exit_code = 1  # no program's code is waited for that it could be taken for
            raise
        return 0
    if args.tty and args.interactive and not ctx.stdin_is_tty:
        raise OptionInvalid("the input device is not a TTY", hint="leave -t out, or -i")
    if args.tty:
        return _exec_terminal(ctx=ctx, container=container, config=config, args=args)
    sys.stdout.flush()
    return execs.run(
        ctx.engine.services, container, config, stdin=0 if args.interactive else -1, output=write_all
    )


def _exec_terminal(ctx: Context, container: Container, config: ExecConfig, args: Namespace) -> int:
    from contextlib import ExitStack

    from boxwright.cli.container.attach import detach_keys
    from boxwright.container.execs import TerminalExec
    from boxwright.runtime.tty import (
        DetachKeys,
        follow_window_size,
        raw_mode,
        relay,
        set_window_size,
        window_size,
    )

    keys = DetachKeys(detach_keys(ctx, args.detach_keys)) if args.interactive else None
    size = window_size(1) or window_size(0)
    with (
        TerminalExec(services=ctx.engine.services, container=container, config=config, size=size) as running,
        ExitStack() as stack,
    ):
        if args.interactive:
            stack.enter_context(raw_mode(0))
        if ctx.stdin_is_tty:
            stack.enter_context(
                follow_window_size(0, lambda rows, columns: set_window_size(running.master, rows, columns))
            )
        if relay(0 if args.interactive else -1, 1, running.master, keys=keys, process=running.pidfd):
            running.detached()
            ctx.err("read escape sequence")
            return 0
        return running.wait()


# --- files -------------------------------------------------------------------------------------


def cp_args(p: Parser) -> None:
    p.add_argument("-a", "--archive", action="store_true", help="Archive mode (copy all uid/gid information)")
    p.add_argument("-L", "--follow-link", action="store_true", help="Always follow symbol link in SRC_PATH")
    p.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="Suppress progress output during copy. Progress output is automatically suppressed if no "
        "terminal is attached",
    )
    p.add_argument("source", metavar="CONTAINER:SRC_PATH|SRC_PATH|-", complete="file")
    p.add_argument("target", metavar="DEST_PATH|-|CONTAINER:DEST_PATH", complete="file")


def cp(ctx: Context, args: Namespace) -> int:
    """Copy between a container and the host; ``-`` is a tar on standard input or output."""
    from boxwright.container import copying
    from boxwright.spec.units import human_size

    name_from, source = copying.split_argument(args.source)
    name_to, target = copying.split_argument(args.target)
    if name_from and name_to:
        raise copying.ContainerCopyRefused("copying between containers is not supported")
    if not name_from and not name_to:
        raise copying.ContainerCopyRefused(
            "must specify at least one container source", hint="name it as CONTAINER:PATH"
        )
    container = ctx.engine.containers.get(name_from or name_to)
    if (name_from and not source) or (name_to and not target):
        raise copying.ContainerCopyRefused(
            "a path in the container is missing", hint="name it as CONTAINER:PATH"
        )
    services = ctx.engine.services
    if name_from and target == "-":
        if ctx.stdout_is_tty:
            raise copying.ContainerCopyRefused(
                "refusing to write a tar to a terminal", hint="send it to a file or a program"
            )
        sink = sys.stdout.buffer
        copying.archive_out(services, container, source, sink=sink, follow=args.follow_link)
        return 0
    if name_to and source == "-":
        tar = sys.stdin.buffer
        copying.archive_in(services, container, target, tar=tar, keep_owner=args.archive)
        return 0
    how: dict[str, Any] = {"archive": args.archive, "follow": args.follow_link}
    if name_from:
        copied = copying.copy_out(services, container, path=source, target=target, **how)
    else:
        copied = copying.copy_in(services, container, source=source, path=target, **how)
    if not args.quiet and ctx.stderr_is_tty:
        ctx.err(f"Successfully copied {human_size(copied)} to {args.target}")
    return 0


def diff_args(p: Parser) -> None:
    p.add_argument("container", metavar="CONTAINER", complete="container")


def diff(ctx: Context, args: Namespace) -> int:
    """A added, C changed, D deleted."""
    from boxwright.container.commit import changes

    for change in changes(ctx.engine.services, ctx.engine.containers.get(args.container)):
        ctx.out(f"{change.kind} {change.path}")
    return 0


def export_args(p: Parser) -> None:
    p.add_argument("-o", "--output", metavar="string", default="", help="Write to a file, instead of STDOUT")
    p.add_argument("container", metavar="CONTAINER", complete="container")


def export(ctx: Context, args: Namespace) -> int:
    """The whole tree as a tar."""
    from boxwright.container.copying import ContainerCopyRefused
    from boxwright.container.copying import export as write

    container = ctx.engine.containers.get(args.container)
    if not args.output:
        if ctx.stdout_is_tty:
            raise ContainerCopyRefused("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        write(ctx.engine.services, container, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return 0
    from boxwright.cli.archives import output_file

    with output_file(args.output) as file:
        write(ctx.engine.services, container, file)
    return 0


def commit_args(p: Parser) -> None:
    p.add_argument(
        "-a",
        "--author",
        metavar="string",
        default="",
        help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
    )
    p.add_argument(
        "-c", "--change", action="append", help="Apply Dockerfile instruction to the created image"
    )
    p.add_argument("-m", "--message", metavar="string", default="", help="Commit message")
    p.add_argument(
        "-p",
        "--pause",
        action="store_true",
        default=True,
        help="Pause container during commit (default true)",
    )
    p.add_argument("container", metavar="CONTAINER", complete="container")
    p.add_argument("name", nargs="?", metavar="REPOSITORY[:TAG]", complete="image")


def commit(ctx: Context, args: Namespace) -> int:
    """Print the new image's ID."""
    row = ctx.engine.containers.commit(
        ctx.engine.containers.get(args.container),
        args.name or "",
        author=args.author,
        message=args.message,
        changes=args.change,
        pause=args.pause,
    )
    ctx.out(row.image_id)
    return 0


# --- use ---------------------------------------------------------------------------------------


def top_args(p: Parser) -> None:
    from boxwright.cli.flags import REMAINDER

    p.add_argument("container", metavar="CONTAINER", complete="running")
    p.add_argument("options", nargs=REMAINDER, metavar="ps OPTIONS")
    p.usage = "CONTAINER [ps OPTIONS]"


def top(ctx: Context, args: Namespace) -> int:
    """The container's processes, as the host's ps shows them."""
    from boxwright.cli.tables import align

    titles, rows = ctx.engine.containers.top(args.container, " ".join(args.options))
    for line in align([titles, *rows], min_width=20):
        ctx.out(line.rstrip())
    return 0


_STATS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}


def stats_args(p: Parser) -> None:
    p.add_argument(
        "-a", "--all", action="store_true", help="Show all containers (default shows just running)"
    )
    p.add_table_format()
    p.add_argument(
        "--no-stream", action="store_true", help="Disable streaming stats and only pull the first result"
    )
    p.add_argument("--no-trunc", action="store_true", help="Do not truncate output")
    p.add_argument("containers", nargs="*", metavar="CONTAINER", complete="running")


def stats(ctx: Context, args: Namespace) -> int:
    """What containers use, once a second."""
    import time

    from boxwright.cli.tables import table
    from boxwright.container.stats import sample

    containers = ctx.engine.containers

    named = {name: containers.get(name) for name in args.containers}

    def chosen() -> dict[str, Container]:
        """By what the user calls them; those named at the beginning, as long as they are there."""
        here = list(containers.list(all=args.all or bool(named)))
        there = {c.id for c in here}
        return {n: c for n, c in named.items() if c.id in there} if named else {c.id: c for c in here}

    before = {c.id: sample(c) for c in chosen().values()}
    try:
        while True:
            if before or not args.no_stream:
                time.sleep(1)
            found = [(called, c, sample(c)) for called, c in chosen().items()]
            if named and not found:
                return 0
            rows = [
                {"Container": called, **_stats_row(c, before.get(c.id, now), now, trunc=not args.no_trunc)}
                for called, c, now in found
            ]
            if not args.no_stream and not args.format and ctx.stdout_is_tty:
                sys.stdout.write("\x1b[2J\x1b[H")
            table(
                ctx,
                _STATS,
                rows,
                default=("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"),
                format=args.format,
                config_key="statsFormat",
            )
            sys.stdout.flush()
            if not rows:
                ctx.err("no container is here" if args.all else "no container runs; --all shows the others")
            if args.no_stream:
                return 0
            before = {c.id: now for _, c, now in found}
    except KeyboardInterrupt:
        return 0


def _stats_row(container: Container, before: Any, now: Any, *, trunc: bool) -> dict[str, str]:
    from boxwright.container.stats import cpu_percent
    from boxwright.spec.units import binary_size, human_size

    share = now.memory / now.memory_limit * 100 if now.memory_limit else 0.0
    return {
        "ID": container.short_id if trunc else container.id,
        "Name": container.name,
        "CPUPerc": f"{cpu_percent(before, now):.2f}%",
        "MemUsage": f"{binary_size(now.memory)} / {binary_size(now.memory_limit)}",
        "MemPerc": f"{share:.2f}%",
        "NetIO": f"{human_size(now.received)} / {human_size(now.sent)}",
        "BlockIO": f"{human_size(now.read)} / {human_size(now.written)}",
        "PIDs": str(now.pids),
    }
