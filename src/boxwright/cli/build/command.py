"""`build`: from its options to a request, and what is told when it is done."""

from __future__ import annotations

import os
import sys

from boxwright.cli.build.flags import build_args
from boxwright.errors import BoxwrightError, Cancelled, Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from boxwright.build.remotecache.options import CachePlace
    from boxwright.build.request import BuildRequest, BuildResult, Output
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace

__all__ = ["build", "build_args"]

# Options of Docker's with a value that cannot be had: the value that can, and why.
_REFUSED = {
    "rm": (True, "containers of steps never stay", ""),
    "disable_content_trust": (True, "content trust (Notary) is not supported", ""),
    "identity_label": (False, "no label names the program that built it", "--label sets one"),
    "compat_volumes": (False, "what a RUN step writes below a VOLUME stays", ""),
    "http_proxy": (
        True,
        "proxies of the environment reach RUN steps",
        "unset them, or give --build-arg http_proxy=",
    ),
    "isolation": ("default", "there is one isolation technology on Linux, 'default'", ""),
    "layers": (
        True,
        "every step makes a layer",
        "--no-cache runs all steps, --squash makes one layer of them",
    ),
    "skip_unused_stages": (
        True,
        "stages that the target does not need are not built",
        "--target builds another",
    ),
    "security_opt": ("", "RUN steps have Docker's default confinement", "RUN --security=insecure has none"),
}
_IGNORED = ("retry", "retry-delay")


def _refuse(ctx: Context, args: Namespace) -> None:
    """Raises Unsupported for what cannot be had; warns of what is left out."""
    for name, (possible, why, hint) in _REFUSED.items():
        value = getattr(args, name)
        if value not in (possible, [], "") and (name, value) != ("isolation", "oci"):
            raise Unsupported(f"--{name.replace('_', '-')}: {why}", hint=hint)
    for name in _IGNORED:
        if getattr(args, name.replace("-", "_")) not in ([], "", "false", "False", "0"):
            ctx.warn(f"--{name} is not supported and is ignored")


def build(ctx: Context, args: Namespace) -> int:
    """Progress and warnings on standard error; standard output gets the image ID with ``-q`` and
    ``--progress=quiet``, or a tar with ``-o -``."""
    from boxwright.build.request import BuildFailed
    from boxwright.cli.build import calls
    from boxwright.cli.progress import build as progress_build

    _refuse(ctx, args)
    request = _request(ctx, args)
    _refuse_policies(ctx, request)
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
    view.tell_warnings()
    _told(ctx, args=args, result=result, outputs=request.outputs)
    if result.answer is None:
        return 0
    return calls.show(ctx, calls.parse(args), result.answer, request=request)


def _refuse_policies(ctx: Context, request: BuildRequest) -> None:
    """A policy that is not evaluated must not look as if it had been. Raises Unsupported."""
    name = request.dockerfile or (request.context / "Dockerfile" if request.context is not None else None)
    if ctx.settings.environ.get("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"):
        raise Unsupported(
            "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: source policies are not evaluated here", hint="unset it"
        )
    if name is not None and name.with_name(name.name + ".rego").exists():
        ctx.warn(f"{name.name}.rego is not evaluated: there are no source policies here")


def _failed(ctx: Context, error: BoxwrightError) -> None:
    text = str(error.render()) if hasattr(error, "render") else ""
    if text:
        ctx.err(text.rstrip("\n"))
    ctx.err(f"{ctx.paint('ERROR', 'red')}: {error}")
    if error.hint:
        ctx.err(f"{ctx.paint('Hint', 'cyan')}: {error.hint}")


def _told(ctx: Context, args: Namespace, result: BuildResult, outputs: Iterable[Output]) -> None:
    from boxwright.spec import mediatypes as mt

    several = result.descriptor.get("mediaType") in mt.INDEXES
    image = result.target if several else result.image_id  # as buildx: an index has no config of its own
    if args.iidfile:
        _write(args.iidfile, image)
    if args.metadata_file:
        import json

        from boxwright.build.metadata import metadata
        from boxwright.spec.text import go_bool

        told = bool(go_bool(ctx.settings.environ.get("BUILDX_METADATA_WARNINGS", "")))
        body = metadata(result, warnings=told)
        _write(args.metadata_file, json.dumps(body, indent=2) + "\n")
    quiet = args.quiet or args.progress == "quiet"  # not where a setting says so: as buildx
    if quiet and image and not any(output.to_standard_output for output in outputs):
        ctx.out(image)


def _write(name: str, text: str) -> None:
    from boxwright.cli.archives import output_file

    with output_file(name) as out:
        out.write(text.encode())


def _dockerfile(name: str, context: Path | None, *, stdin: bool) -> tuple[Path | None, bytes | None, str]:
    """``--file``: a path, what standard input gives, or a URL; `stdin` whether that can be read. Raises Invalid."""
    from pathlib import Path

    if name.startswith(("http://", "https://")):
        return None, None, name
    if name == "-":
        if not stdin:
            raise Invalid("invalid argument: can't use stdin for both build context and dockerfile")
        return None, sys.stdin.buffer.read(), ""
    if not name:
        return None, None, ""
    path = Path(name)
    if context is not None and not path.exists() and os.path.lexists(context / path):
        path = context / path  # as the classic builder has it
    return path, None, ""


def _request(ctx: Context, args: Namespace) -> BuildRequest:
    from pathlib import Path

    from boxwright.build import options
    from boxwright.build.attest.asked import (
        artifact_attestations,
        default_attestations,
        given,
        told_provenance,
    )
    from boxwright.build.request import BuildRequest
    from boxwright.cli.build import calls

    environ = ctx.settings.environ
    context, stream, remote = _context(args.path)
    dockerfile, data, url = _dockerfile(args.file, context, stdin=stream is None)
    limits = _limits(args.resource)
    return BuildRequest(
        context=context,
        stream=stream,
        remote=remote,
        dockerfile=dockerfile,
        dockerfile_data=data,
        dockerfile_url=url,
        tags=tuple(args.tag),
        target=args.target,
        build_args=options.parse_build_args([*_lines(args.build_arg_file), *args.build_arg], environ),
        labels=options.parse_pairs(args.label, "label"),
        annotations=options.parse_annotations(_given(args.annotation)),
        platforms=_platforms(args),
        build_contexts=options.parse_pairs(_given(args.build_context), "build context", alone=False),
        ignore_file=Path(args.ignorefile) if args.ignorefile else None,
        cache_from=_caches(args.cache_from, environ, to=False),
        cache_to=_caches(args.cache_to, environ, to=True),
        no_cache=args.no_cache,
        no_cache_filter=_words(args.no_cache_filter),
        pull=args.pull,
        network=_network(args.network or "default"),
        add_hosts=options.parse_hosts(_given(args.add_host)),
        allow=tuple(word for text in args.allow for word in ((text,) if "=" in text else _words([text]))),
        secrets=tuple(options.parse_secret(text, environ) for text in _given(args.secret)),
        ssh=options.parse_agents(_given(args.ssh), environ),
        ulimits=tuple(args.ulimit),
        shm_size=_bytes(args.shm_size),
        memory=_bytes(limits.get("memory", args.memory)),
        memory_swap=_swap(limits.get("memory-swap", args.memory_swap)),
        cpu_shares=_whole(limits, "cpu-shares", args.cpu_shares),
        cpu_period=_whole(limits, "cpu-period", args.cpu_period),
        cpu_quota=_whole(limits, "cpu-quota", args.cpu_quota),
        cpuset_cpus=limits.get("cpuset-cpus", args.cpuset_cpus),
        cpuset_mems=limits.get("cpuset-mems", args.cpuset_mems),
        cgroup_parent=args.cgroup_parent,
        cpus=_cpus(args.cpus),
        userns=args.userns,
        untrusted=args.untrusted,
        jobs=_jobs(args.jobs),
        trust_host_ca=_trust(args.trust_host_ca),
        context_metadata=args.context_metadata,
        explain=args.explain,
        call=calls.parse(args).method,
        outputs=_formed(args.format, options.outputs(_given(args.output), load=args.load, push=args.push)),
        attests=given(args.attest, args.provenance, args.sbom),
        default_attestations=default_attestations(environ),
        artifact_attestations=artifact_attestations(environ),
        squash="all" if args.squash_all else "new" if args.squash else "",
        timestamp=_seconds("timestamp", args.timestamp),
        source_date_epoch=_seconds("source-date-epoch", args.source_date_epoch),
        rewrite_timestamp=args.rewrite_timestamp,
        omit_history=args.omit_history,
        tell_provenance=told_provenance(environ) if args.metadata_file else "",
        unset_env=_words(args.unsetenv),
        unset_labels=_words(args.unsetlabel),
        inherit_labels=args.inherit_labels,
    )


_MOST = 2**63 - 1  # of a limit, as a number
_LIMITS = ("memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems")


def _limits(texts: list[str]) -> dict[str, str]:
    """``--resource NAME=VALUE``. Raises Invalid."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in _LIMITS or not equals:
            raise Invalid(f"invalid --resource {text!r}", hint=f"NAME=VALUE; names are {', '.join(_LIMITS)}")
        found[name] = value
    return found


def _whole(limits: dict[str, str], name: str, default: int) -> int:
    from boxwright.spec.text import whole_number

    text = limits.get(name)
    if text is None:
        return default
    number = whole_number(text, _MOST)
    if number is None:
        raise Invalid(f"invalid --resource {name}={text}", hint="it is a whole number")
    return number


def _lines(names: list[str]) -> list[str]:
    """The lines of files that say something. Raises Invalid."""
    found: list[str] = []
    for name in names:
        try:
            with open(name, encoding="utf-8", errors="surrogateescape") as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            raise Invalid(f"cannot read {name}: {(error.strerror or '').lower()}") from error
        found += [line for line in lines if line and not line.startswith("#")]
    return found


def _formed(form: str, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """``--format``, for each image among the outputs that has no format of its own. Raises Invalid."""
    from boxwright.build.request import Output

    if form not in ("", "oci", "docker"):
        raise Invalid(f"invalid --format {form!r}", hint="oci or docker")
    if form != "docker":
        return outputs
    images = ("image", "registry", "docker", "oci")
    return tuple(
        Output(o.type, o.dest, {"oci-mediatypes": "false", **o.options}) if o.type in images else o
        for o in outputs or (Output("image"),)
    )


def _seconds(option: str, text: str) -> int | None:
    from boxwright.spec.times import epoch_seconds

    if not text:
        return None
    seconds = epoch_seconds(text)
    if seconds is None:
        raise Invalid(
            f"invalid --{option} {text!r}",
            hint="it is a whole number of seconds since 1970, until the year 9999",
        )
    return seconds


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


def _caches(texts: list[str], environ: Mapping[str, str], *, to: bool) -> tuple[CachePlace, ...]:
    if not texts:
        return ()
    from boxwright.build.remotecache.options import parse_all

    return parse_all(texts, environ, to=to)


def _given(values: list[str]) -> list[str]:
    """Those of a repeated option that say something: a script's variable may be empty, and buildx passes over it."""
    return [value for value in values if value]


def _words(values: list[str]) -> tuple[str, ...]:
    return tuple(word for value in values for word in value.split(",") if word)


def _platforms(args: Namespace) -> tuple[str, ...]:
    from boxwright.spec.platform import host

    # A word that is empty is no platform, and refused as one.
    words = [word for value in args.platform for word in value.split(",")]
    return tuple(str(host()) if word == "local" else word for word in words)


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
