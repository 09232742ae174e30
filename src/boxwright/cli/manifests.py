"""manifest create|annotate|inspect|push|rm and imagetools create|inspect."""

from __future__ import annotations

from boxwright.cli.flags import SUPPRESS
from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.manifest import Index
    from boxwright.spec.reference import Reference


# --- manifest ---------------------------------------------------------------------------------------


def manifest_create_args(p: Parser) -> None:
    """Docker's."""
    p.usage = "MANIFEST_LIST MANIFEST [MANIFEST...]"
    p.add_argument("list", metavar="MANIFEST_LIST")
    p.add_argument("images", nargs="+", metavar="MANIFEST")
    p.add_argument("-a", "--amend", action="store_true", help="Amend an existing manifest list")
    p.add_argument("--insecure", action="store_true", help=SUPPRESS)


def manifest_create(ctx: Context, args: Namespace) -> int:
    """Start a list under work."""
    reference = ctx.engine.registry.manifests.create(args.list, args.images, amend=args.amend)
    ctx.out(f"Created manifest list {reference}")
    return 0


def manifest_annotate_args(p: Parser) -> None:
    """Docker's."""
    p.usage = "MANIFEST_LIST MANIFEST"
    p.add_argument("list", metavar="MANIFEST_LIST")
    p.add_argument("image", metavar="MANIFEST")
    p.add_argument("--arch", default="", metavar="string", help="Set architecture")
    p.add_argument("--os", default="", metavar="string", help="Set operating system")
    p.add_argument("--os-features", action="append", metavar="strings", help="Set operating system feature")
    p.add_argument("--os-version", default="", metavar="string", help="Set operating system version")
    p.add_argument("--variant", default="", metavar="string", help="Set architecture variant")


def manifest_annotate(ctx: Context, args: Namespace) -> int:
    """Change what an entry says about its platform."""
    features = tuple(f for text in args.os_features for f in text.split(",") if f)
    ctx.engine.registry.manifests.annotate(
        args.list,
        args.image,
        architecture=args.arch,
        os=args.os,
        variant=args.variant,
        os_version=args.os_version,
        os_features=features,
    )
    return 0


def manifest_inspect_args(p: Parser) -> None:
    """Docker's."""
    p.usage = "[MANIFEST_LIST] MANIFEST"
    p.add_argument("names", nargs="+", metavar="MANIFEST")
    p.add_argument(
        "-v", "--verbose", action="store_true", help="Output additional info including layers and platform"
    )
    p.add_argument("--insecure", action="store_true", help=SUPPRESS)


def manifest_inspect(ctx: Context, args: Namespace) -> int:
    """The list under work or an image of it, or what a registry has under the name."""
    from boxwright.spec.reference import Reference
    from boxwright.spec.values import replace

    if len(args.names) > 2:
        raise Invalid("manifest inspect takes a manifest, or a manifest list and a manifest")
    from boxwright.spec.manifest import Index

    lists, client = ctx.engine.registry.manifests, ctx.engine.services.registry
    if lists.has(args.names[0]):
        entries = lists.entries(args.names[0])
        if len(args.names) == 2:
            wanted = Reference.parse(args.names[1]).with_default_tag()
            entries = [e for e in entries if e.reference == wanted]
        if entries and (args.verbose or len(args.names) == 2):
            shown = [
                (
                    e.reference,
                    e.desc,
                    client.remote(e.reference).manifest(str(e.reference.with_digest(e.desc.digest)))[1],
                )
                for e in entries
            ]
            _print_manifests(ctx, shown, alone=len(args.names) == 2, verbose=args.verbose)
            return 0
        if len(args.names) == 1:
            _print_index(ctx, lists.index(args.names[0]))
            return 0
    reference, desc, content, platforms = ctx.engine.registry.imagetools_inspect(args.names[-1])
    if not isinstance(content, Index):
        _print_manifests(
            ctx,
            [(reference, replace(desc, platform=platforms.get(desc.digest)), content)],
            alone=True,
            verbose=args.verbose,
        )
    elif not args.verbose:
        _print_index(ctx, content)
    else:
        remote = client.remote(reference)
        names = [(reference.with_digest(d.digest), d) for d in content.manifests]
        _print_manifests(
            ctx, [(name, d, remote.manifest(str(name))[1]) for name, d in names], alone=False, verbose=True
        )
    return 0


def _print_manifests(
    ctx: Context, shown: Sequence[tuple[Reference, Descriptor, Any]], *, alone: bool, verbose: bool
) -> None:
    import base64
    import json

    out = []
    for reference, desc, content in shown:
        kind = "SchemaV2Manifest" if "docker" in desc.media_type else "OCIManifest"
        body = json.loads(content.raw)
        raw = base64.b64encode(content.raw).decode()
        out.append(
            {"Ref": str(reference), "Descriptor": desc.to_json(), "Raw": raw, kind: body} if verbose else body
        )
    ctx.out(json.dumps(out[0] if alone else out, indent="\t", ensure_ascii=False))


def _print_index(ctx: Context, index: Index) -> None:
    import json

    ctx.out(json.dumps(json.loads(index.raw), indent=3, ensure_ascii=False))


def manifest_push_args(p: Parser) -> None:
    """Docker's."""
    p.usage = "MANIFEST_LIST"
    p.add_argument("list", metavar="MANIFEST_LIST")
    p.add_argument("-p", "--purge", action="store_true", help="Remove the local manifest list after push")
    p.add_argument("--insecure", action="store_true", help=SUPPRESS)


def manifest_push(ctx: Context, args: Namespace) -> int:
    """Push a list; standard output gets the digest."""
    ctx.out(str(ctx.engine.registry.manifests.push(args.list, purge=args.purge).digest))
    return 0


def manifest_rm_args(p: Parser) -> None:
    """Docker's."""
    p.usage = "MANIFEST_LIST [MANIFEST_LIST...]"
    p.add_argument("lists", nargs="+", metavar="MANIFEST_LIST")


def manifest_rm(ctx: Context, args: Namespace) -> int:
    """Forget lists under work."""
    from boxwright.cli.several import each

    def remove(name: str) -> str:
        ctx.engine.registry.manifests.remove(name)
        return ""

    return each(ctx, args.lists, remove)


# --- imagetools -------------------------------------------------------------------------------------


def imagetools_create_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "[SOURCE...]"
    p.add_argument("sources", nargs="*", metavar="SOURCE")
    p.add_argument("-t", "--tag", action="append", metavar="stringArray", help="Set reference for new image")
    p.add_argument("--append", action="store_true", help="Append to existing manifest")
    p.add_argument("--annotation", action="append", metavar="stringArray", help="Add annotation to the image")
    p.add_argument("--dry-run", action="store_true", help="Show final image instead of pushing")
    p.add_argument(
        "-f", "--file", action="append", metavar="stringArray", help="Read source descriptor from file"
    )
    p.add_argument("--progress", default="", metavar="string", help=SUPPRESS)
    p.add_argument("--builder", default="", metavar="string", help=SUPPRESS)


def imagetools_create(ctx: Context, args: Namespace) -> int:
    """Join images in registries."""
    from boxwright.build.options import parse_annotations
    from boxwright.cli.progress.build import check_kind

    check_kind(args.progress)
    annotations = parse_annotations(args.annotation)
    sources = [*(_from_file(ctx, path) for path in args.file), *args.sources]
    made = ctx.engine.registry.imagetools_create(
        args.tag, sources, append=args.append, annotations=annotations, dry_run=args.dry_run
    )
    if args.dry_run:
        import json

        ctx.out(json.dumps(json.loads(made.raw), indent=2))
    else:
        for tag in args.tag:
            ctx.err(f"pushed {made.descriptor.digest} to {tag}")
        ctx.out(str(made.descriptor.digest))
    return 0


def _from_file(ctx: Context, path: str) -> str:
    """buildx's --file: a reference, or JSON with one."""
    import json
    from pathlib import Path

    try:
        text = Path(path).read_text().strip()
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror}") from error
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text)["ref"])
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(
            f"{path} holds no reference", hint='write the reference itself, or {"ref": "NAME"}'
        ) from error


def imagetools_inspect_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "NAME"
    p.add_argument("name", metavar="NAME")
    p.add_argument(
        "--format",
        default="",
        metavar="string",
        help="Format the output using the given Go template: .Name, .Manifest, .Image, .Provenance, .SBOM",
    )
    p.add_argument("--raw", action="store_true", help="Show original, unformatted JSON manifest")
    p.add_argument("--builder", default="", metavar="string", help=SUPPRESS)


def imagetools_inspect(ctx: Context, args: Namespace) -> int:
    """What a registry has under a name."""
    import sys

    from boxwright.spec.manifest import Index

    if args.format:
        from boxwright.cli.imagetools import formatted

        found = ctx.engine.registry.attestations(args.name)
        text = "{{json .}}" if args.format == "json" else args.format
        ctx.out(formatted(text, args.name, found), end="")
        return 0
    reference, desc, content, platforms = ctx.engine.registry.imagetools_inspect(args.name)
    if args.raw:
        if ctx.stdout_is_tty:
            ctx.out(content.raw.decode("utf-8", "surrogateescape"))
            return 0
        sys.stdout.flush()
        sys.stdout.buffer.write(content.raw)
        return 0
    ctx.out(f"Name:      {reference}")
    ctx.out(f"MediaType: {content.media_type}")
    ctx.out(f"Digest:    {desc.digest}")
    if isinstance(content, Index):
        from boxwright.cli.imagetools import listing

        for line in listing(reference, content):
            ctx.out(line)
        return 0
    platform = platforms.get(desc.digest)
    if platform is not None:
        ctx.out(f"Platform:  {platform}")
    return 0
