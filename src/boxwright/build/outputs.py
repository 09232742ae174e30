"""What the outputs of a build come to: text of ``--output`` read into values, and refused before anything is done
(docs.docker.com, "Exporters"). What is written, and how, is in `build.written`; images are made by `build.export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from boxwright.build.annotations import Annotation, check_annotations, parse_attribute
from boxwright.build.fields import RequestInvalid
from boxwright.build.request import Output
from boxwright.spec.compression import COMPRESSIONS, EXPORTED
from boxwright.spec.reference import Reference
from boxwright.spec.text import whole_number
from boxwright.spec.times import LAST
from boxwright.spec.values import dataclass, replace

_FORM = (
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
    "source-date-epoch",
    "prefer-nondist-layers",
    "attestation-inline",
    "oci-artifact",
)
_IMAGE = (
    "name",
    "push",
    "push-by-digest",
    "registry.insecure",
    "name-canonical",
    "dangling-name-prefix",
    "danging-name-empty-only",
    "unpack",
    "store",
    *_FORM,
)
_ARCHIVE = ("dest", "name", "tar", *_FORM)
_FILES = ("dest", "platform-split", "attestation-prefix", "source-date-epoch")
# What each type takes beside `type`, and images beside annotations.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "image": _IMAGE,
    "registry": _IMAGE,
    "docker": (*_ARCHIVE, "context"),
    "oci": _ARCHIVE,
    "local": (*_FILES, "mode"),
    "tar": _FILES,
    "cacheonly": (),
}
_ESTARGZ = "estargz"  # gzip with a table of its files
_TRUE, _FALSE = ("1", "t", "true", ""), ("0", "f", "false")
_MOST = 2**31 - 1  # of a compression level, as a number
LOCAL_DELETE = "buildx.local.delete"  # the entitlement


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageForm:
    """How an output wants its image; equal forms are one image.

    `compression` is gzip, zstd, estargz, none, or '' for what the place has anyway: plain in the store, gzip where a
    layer leaves it. Layers that came compressed stay as they came unless `force`. `epoch` (unix seconds) is the latest
    time in config and history, with `rewrite` also in new layers, with `exactly` the only one there.
    """

    compression: str = ""
    level: int | None = None
    force: bool = False
    oci: bool = True
    epoch: int | None = None
    rewrite: bool = False
    exactly: bool = False
    foreign: bool = False  # layers that registries may not hold stay such
    annotations: tuple[Annotation, ...] = ()
    inline_attestations: bool = True
    artifact_attestations: bool = True

    @property
    def plain(self) -> bool:
        """Whether layers are named as the store has them, so that they can be compressed while they leave it."""
        return not self.compression and self.oci and not self.foreign


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Names that are to be pushed; `by_digest` without a tag, `insecure` also over plain HTTP and with a certificate
    that cannot be verified."""

    names: tuple[str, ...]
    by_digest: bool = False
    insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOutput:
    """An image: in the store under `names` (`store`), perhaps pushed, or in an archive or layout at `dest`."""

    type: str  # image, oci or docker
    form: ImageForm = ImageForm()
    names: tuple[str, ...] = ()
    store: bool = True
    push: Push | None = None
    canonical: bool = False  # name@digest is a name, too
    dangling: str = ""  # the name before the digest of another name
    dest: str = ""
    tar: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOutput:
    """The files of the result: a directory, or a tar. `split` None: where there are several platforms."""

    type: str  # local or tar
    dest: str
    split: bool | None = None
    delete: bool = False  # what is in the directory and not in the result
    epoch: int | None = None  # the time of every file
    attestation_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the outputs of a request come to, in their order. `names` are those that the image gets in the store."""

    outputs: tuple[ImageOutput | FilesOutput, ...]
    names: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[ImageOutput, ...]:
        return tuple(one for one in self.outputs if isinstance(one, ImageOutput))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the whole build says to its outputs: names of ``--tag``, normalised; its platforms; whether attestations
    are made, so that there is an index; annotations; the form that they start from; what is allowed."""

    names: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ("",)
    attested: bool = False
    attested_everywhere: bool = False  # not only where a provenance is by default
    annotations: tuple[Annotation, ...] = ()
    form: ImageForm = ImageForm()
    allowed: frozenset[str] = frozenset()


def wanted_outputs(outputs: Sequence[Output], around: Surroundings) -> Wanted:
    """Read the outputs, of which none means the store. Raises RequestInvalid, ReferenceInvalid for what cannot be
    done, before anything is."""
    read = [_read(output, around) for output in outputs or (Output("image"),)]
    found = tuple(one for one in read if one is not None)
    if sum(one.dest == "-" for one in found) > 1:
        raise RequestInvalid("only one output can be written to standard output")
    _apart([one.dest for one in found if one.dest not in ("", "-")])
    named = {name: None for one in found if isinstance(one, ImageOutput) and one.store for name in one.names}
    tags = dict.fromkeys(around.names) if any(_in_store(one) for one in found) or not outputs else {}
    return Wanted(found, tuple(tags | named) if named or tags else around.names)


def _apart(places: Sequence[str]) -> None:
    """Refuse two outputs of which the second would take the place of the first. Devices and pipes take both."""
    seen: set[str] = set()
    for place in places:
        real = os.path.realpath(place)
        if real in seen and (os.path.isdir(real) or os.path.isfile(real) or not os.path.lexists(real)):
            raise RequestInvalid(
                f"two outputs are to be written to {place}",
                hint="give each a dest of its own, or leave one out",
            )
        seen.add(real)


def _in_store(one: ImageOutput | FilesOutput) -> bool:
    return isinstance(one, ImageOutput) and one.store


def _read(output: Output, around: Surroundings) -> ImageOutput | FilesOutput | None:
    kind = output.type
    if kind not in _KEYS:
        raise RequestInvalid(f"unknown output type {kind!r}", hint=f"one of {', '.join(_KEYS)}")
    attributes = _Attributes(output)
    attributes.check(with_annotations=kind in ("image", "registry", "docker", "oci"))
    if kind == "cacheonly":
        return None
    if kind in ("local", "tar"):
        return _files(attributes, around)
    return _image(attributes, around)


def _files(given: _Attributes, around: Surroundings) -> FilesOutput:
    output = given.output
    split = given.flag("platform-split", True) if "platform-split" in output.options else None
    directory = output.type == "local"
    mode = output.options.get("mode", "copy") or "copy"
    if mode not in ("copy", "delete"):
        raise RequestInvalid(f"output mode={mode!r} is neither copy nor delete")
    dest = _directory(output) if directory else _file(output)
    if mode == "delete" and LOCAL_DELETE not in around.allowed and not _below_here(dest):
        raise RequestInvalid(
            f'local output mode=delete for destination "{dest}" requires --allow={LOCAL_DELETE}',
            hint="everything in that directory that is not of the result is removed",
        )
    return FilesOutput(
        type=output.type,
        dest=dest,
        split=split,
        delete=mode == "delete",
        epoch=given.epoch(around.form.epoch),
        attestation_prefix=_prefix(output),
    )


def _prefix(output: Output) -> str:
    prefix = output.options.get("attestation-prefix", "")
    if "/" in prefix:
        raise RequestInvalid(
            f"output attestation-prefix={prefix!r}: it is the beginning of names and no path"
        )
    return prefix


def _image(given: _Attributes, around: Surroundings) -> ImageOutput:
    output = given.output
    form = _form(given, around)
    several = len(around.platforms) > 1
    check_annotations(form.annotations, around.platforms, index=several or around.attested)
    names = names_of(output) or around.names
    if output.type in ("oci", "docker"):
        tar = given.flag("tar", True)
        if (context := output.options.get("context", "default")) not in ("", "default"):
            raise RequestInvalid(
                f"output context={context!r} is another engine than this one",
                hint="write an archive with dest=FILE, and load it there",
            )
        if output.type == "docker" and not output.dest and tar:
            return ImageOutput(type="image", form=form, names=names)
        dest = _file(output) if tar else _directory(output)
        form = replace(form, compression=form.compression or "gzip")
        return ImageOutput(type=output.type, form=form, names=names, store=False, dest=dest, tar=tar)
    given.flag("unpack", True)  # a layer of the store is always ready to run
    canonical = given.flag("name-canonical", False)
    dangling = output.options.get("dangling-name-prefix", "")
    if dangling:
        dangling = Reference.parse(dangling).name
        if names and given.flag("danging-name-empty-only", False):
            dangling = ""
    if canonical or dangling:  # a name with a digest means what registries have under it
        form = replace(form, compression=form.compression or "gzip")
    return ImageOutput(
        type="image",
        form=form,
        names=names,
        store=given.flag("store", True),
        push=_push(given, names),
        canonical=canonical,
        dangling=dangling,
    )


def _push(given: _Attributes, names: tuple[str, ...]) -> Push | None:
    if not given.flag("push", given.output.type == "registry"):
        return None
    if not names:
        raise RequestInvalid("tag is needed when pushing to registry", hint="add -t NAME, or name=NAME")
    return Push(
        names=names,
        by_digest=given.flag("push-by-digest", False),
        insecure=given.flag("registry.insecure", False),
    )


def _form(given: _Attributes, around: Surroundings) -> ImageForm:
    options = given.output.options
    text = options.get("compression", "")
    known = {**EXPORTED, _ESTARGZ: _ESTARGZ}
    if text and text not in known:
        raise RequestInvalid(f"unsupported compression type {text}", hint=f"one of {', '.join(known)}")
    compression = known[text] if text else around.form.compression
    level, force = given.number("compression-level", _MOST), given.flag("force-compression", False)
    if not compression and (level is not None or force):
        compression = "gzip"
    packed = COMPRESSIONS.get(compression, COMPRESSIONS["gzip"])
    if level is not None:
        if not packed.most:
            raise RequestInvalid("output compression-level: what is uncompressed has no level")
        if not 0 <= level <= packed.most:
            raise RequestInvalid(
                f"output compression-level={level} is too high for {compression}", hint=f"0 to {packed.most}"
            )
    own = [one for key, value in options.items() if (one := parse_attribute(key, value)) is not None]
    oci = given.flag("oci-mediatypes", around.form.oci)
    annotations = (*around.annotations, *own)
    if not oci and (packed.oci_only or compression == _ESTARGZ):
        raise RequestInvalid(f'exporter option "compression={text}" conflicts with "oci-mediatypes=false"')
    if not oci and around.attested_everywhere:
        raise RequestInvalid('cannot export attestations with "oci-mediatypes=false"')
    if not oci and annotations:
        raise RequestInvalid('cannot export annotations with "oci-mediatypes=false"')
    if not oci and options.get("oci-artifact") and given.flag("oci-artifact", False):
        raise RequestInvalid('exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"')
    return ImageForm(
        # Docker's media types have no place in the store's own manifests: the layers are named as they leave it.
        compression=compression or ("" if oci else "gzip"),
        level=level,
        force=force,
        oci=oci,
        epoch=given.epoch(around.form.epoch),
        rewrite=given.flag("rewrite-timestamp", around.form.rewrite),
        exactly=around.form.exactly,
        foreign=given.flag("prefer-nondist-layers", False),
        annotations=annotations,
        inline_attestations=given.flag("attestation-inline", given.output.type in ("image", "registry")),
        artifact_attestations=given.flag("oci-artifact", oci and around.form.artifact_attestations),
    )


def pushes(outputs: Iterable[Output]) -> bool:
    """Whether one of them is an image that goes to a registry. Raises RequestInvalid."""
    return any(
        _Attributes(output).flag("push", output.type == "registry")
        for output in outputs
        if output.type in ("image", "registry")
    )


def names_of(output: Output) -> tuple[str, ...]:
    """The names that ``name=`` gives, normalised; a list is separated by commas. Raises ReferenceInvalid."""
    texts = [text.strip() for text in output.options.get("name", "").split(",") if text.strip()]
    return tuple(str(Reference.parse(text).with_default_tag()) for text in texts)


class _Attributes:
    """An output's attributes, read as what they are."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def check(self, *, with_annotations: bool) -> None:
        """Whether the type takes them all. Raises RequestInvalid."""
        kind, known = self.output.type, _KEYS[self.output.type]
        for key, value in self.output.options.items():
            if key not in known and not (with_annotations and parse_attribute(key, value) is not None):
                raise _unknown(kind, key, known)
        if self.output.dest and "dest" not in known:
            raise _unknown(kind, "dest", known)

    def flag(self, key: str, default: bool) -> bool:
        text = self.output.options.get(key)
        if text is None:
            return default
        if text.lower() in _TRUE or text.lower() in _FALSE:
            return text.lower() in _TRUE
        raise RequestInvalid(f"output {key}={text!r} is neither true nor false")

    def number(self, key: str, most: int) -> int | None:
        text = self.output.options.get(key)
        if text is None:
            return None
        number = whole_number(text, most)
        if number is None:
            raise RequestInvalid(f"output {key}={text!r} is no number from 0 to {most}")
        return number

    def epoch(self, default: int | None) -> int | None:
        """``source-date-epoch``; given and empty there is none."""
        if "source-date-epoch" not in self.output.options:
            return default
        return self.number("source-date-epoch", LAST) if self.output.options["source-date-epoch"] else None


def _unknown(kind: str, key: str, known: Iterable[str]) -> RequestInvalid:
    listed = ", ".join(known) or "nothing else"
    return RequestInvalid(f"output type={kind} does not take {key!r}", hint=f"it takes {listed}")


def _directory(output: Output) -> str:
    dest = output.dest
    if not dest or dest == "-":
        other = "type=tar,dest=-" if output.type == "local" else "without tar=false it is an archive"
        raise RequestInvalid(f"output type={output.type} is a directory and needs dest=PATH", hint=other)
    if os.path.exists(dest) and not os.path.isdir(dest):
        raise RequestInvalid(f"output type={output.type}: {dest} is no directory")
    return dest


def _file(output: Output) -> str:
    dest = output.dest or "-"
    if dest == "-" and sys.stdout is not None and sys.stdout.isatty():
        raise RequestInvalid("refusing to write a tar to the terminal", hint="give dest=FILE")
    if dest != "-" and os.path.isdir(dest):
        raise RequestInvalid(f"output type={output.type}: {dest} is a directory", hint="give dest=FILE")
    if not os.path.isdir(folder := os.path.dirname(dest) or "."):
        raise RequestInvalid(
            f"output type={output.type}: the directory {folder} of dest={dest} does not exist",
            hint=f"make it first: mkdir -p {folder}",
        )
    return dest


def _below_here(dest: str) -> bool:
    """Whether a directory is in the working directory, not that itself, nor led out of it by a link."""
    here, there = os.path.realpath("."), os.path.realpath(dest)
    return there.startswith(here.rstrip("/") + "/")
