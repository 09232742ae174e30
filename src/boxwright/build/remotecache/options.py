"""``--cache-from`` and ``--cache-to`` as people write them (docs.docker.com, "Cache backends"). Pure: the environment
is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from boxwright.build.fields import RequestInvalid, fields
from boxwright.spec.compression import EXPORTED
from boxwright.spec.reference import Reference
from boxwright.spec.text import go_bool
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BOTH: Mapping[str, tuple[str, ...]] = {
    "registry": ("ref", "registry.insecure"),
    "local": ("tag",),
    "s3": (
        "region",
        "bucket",
        "prefix",
        "blobs_prefix",
        "manifests_prefix",
        "name",
        "endpoint_url",
        "use_path_style",
        "retry_mode",
        "retry_max_attempts",
        "disable_accept_encoding",
        "access_key_id",
        "secret_access_key",
        "session_token",
    ),
    "gha": ("scope", "url", "url_v2", "token", "timeout", "version", "repository", "ghtoken"),
}
_PACKED = (
    "compression",
    "compression-level",
    "force-compression",
    "image-manifest",
    "oci-mediatypes",
)
_FROM: Mapping[str, tuple[str, ...]] = {"local": ("src", "digest")}
_TO: Mapping[str, tuple[str, ...]] = {
    "inline": (),
    "registry": ("mode", "ignore-error", *_PACKED),
    "local": ("dest", "reset", "mode", "ignore-error", *_PACKED),
    "s3": ("mode", "ignore-error", "touch_refresh", "upload_parallelism"),
    "gha": ("mode", "ignore-error"),
}
RETRY_MODES = ("standard", "adaptive")
_SECRET = ("access_key_id", "secret_access_key", "session_token", "token", "ghtoken")
_ENVIRONMENT: Mapping[str, tuple[tuple[str, str], ...]] = {
    "s3": (("bucket", "AWS_BUCKET"), ("region", "AWS_REGION")),
    "gha": (
        ("url", "ACTIONS_CACHE_URL"),
        ("url_v2", "ACTIONS_RESULTS_URL"),
        ("token", "ACTIONS_RUNTIME_TOKEN"),
    ),
}
_KEYS = (
    ("access_key_id", "AWS_ACCESS_KEY_ID"),
    ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("session_token", "AWS_SESSION_TOKEN"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlace:
    """Where records are looked for or written: `type` and its `options`. What proves who we are is in `secrets`, which
    no text of this value shows."""

    type: str
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """Its name for people."""
        options = self.options
        name = {
            "registry": options.get("ref", ""),
            "local": options.get("src") or options.get("dest", ""),
            "s3": f"{options.get('bucket', '')}/{options.get('prefix', '')}{options.get('name', 'buildkit')}",
            "gha": options.get("scope", "buildkit"),
        }.get(self.type, "")
        return name if self.type == "registry" else f"{self.type}:{name}" if name else self.type

    def completed(self, environ: Mapping[str, str]) -> CachePlace:
        """The same with what the environment says of what was left out: the variables of AWS's tools, of a GitHub
        job."""
        options, secrets = dict(self.options), dict(self.secrets)
        for key, variable in _ENVIRONMENT.get(self.type, ()):
            kept = secrets if key in _SECRET else options
            if key not in kept and environ.get(variable):
                kept[key] = environ[variable]
        if self.type == "s3" and "access_key_id" not in secrets and "secret_access_key" not in secrets:
            secrets |= {key: environ[variable] for key, variable in _KEYS if environ.get(variable)}
        return CachePlace(type=self.type, options=options, secrets=secrets)

    def require(self) -> None:
        """Raises RequestInvalid where something is missing without which the place is none."""
        for key in ("bucket", "region") if self.type == "s3" else ():
            if not self.options.get(key):
                raise RequestInvalid(f"an S3 cache needs {key}=…", hint=f"or the variable AWS_{key.upper()}")

    @property
    def mode(self) -> str:
        """``min``: what is in the result; ``max``: every step."""
        return self.options.get("mode", "min")

    def flag(self, key: str, default: bool = False) -> bool:
        """A yes or no. Raises RequestInvalid."""
        text = self.options.get(key, "").lower()
        value = go_bool(text) if text else default
        if value is None:
            raise RequestInvalid(f"cache {key}={text!r} is neither true nor false")
        return value

    def number(self, key: str, default: int | None) -> int | None:
        """A whole number of at least 0. Raises RequestInvalid."""
        text = self.options.get(key, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise RequestInvalid(f"cache {key}={text!r} is no whole number")
        return int(text)


def parse_from(text: str, environ: Mapping[str, str] | None = None) -> CachePlace:
    """One ``--cache-from``: ``type=…,key=value``, or only the name of an image or a cache in a registry. Raises
    RequestInvalid, ReferenceInvalid."""
    return _parsed(text, "--cache-from", own=_FROM, environ=environ or {})


def parse_to(text: str, environ: Mapping[str, str] | None = None) -> CachePlace:
    """One ``--cache-to``, alike. Raises RequestInvalid, ReferenceInvalid."""
    place = _parsed(text, "--cache-to", own=_TO, environ=environ or {})
    if place.mode not in ("min", "max"):
        raise RequestInvalid(f"cache mode={place.mode!r} is not known", hint="min or max")
    if place.options.get("compression", "gzip") not in EXPORTED:
        raise RequestInvalid(
            f"cache compression={place.options['compression']!r} is not known",
            hint=f"one of {', '.join(EXPORTED)}",
        )
    place.number("compression-level", None)
    if place.flag("image-manifest") and not place.flag("oci-mediatypes", True):
        raise RequestInvalid(
            "cache image-manifest=true takes OCI's media types", hint="leave oci-mediatypes out"
        )
    if place.number("upload_parallelism", 4) == 0:
        raise RequestInvalid("cache upload_parallelism must be a positive integer")
    seconds(place.options.get("touch_refresh", ""), 0)
    return place


def parse_all(
    texts: Iterable[str], environ: Mapping[str, str], *, to: bool = False
) -> tuple[CachePlace, ...]:
    """Several of them, also in the form of the first releases, in which commas part names. Raises as above."""
    parse = parse_to if to else parse_from
    return tuple(parse(one, environ) for text in texts for one in _names(text))


def places(value: Any, *, to: bool) -> tuple[CachePlace, ...]:
    """Values of an SDK: places, or texts as on the command line, without the environment. Raises ArgumentInvalid and as
    above."""
    from boxwright.spec.arguments import several

    def parse(text: str) -> tuple[CachePlace, ...]:
        return parse_all([text], {}, to=to)

    return several("cache_to" if to else "cache_from", value, kind=CachePlace, parse=parse)


def _names(text: str) -> list[str]:
    return [text] if "=" in text else [name for name in text.split(",") if name]


def _parsed(
    text: str, option: str, own: Mapping[str, tuple[str, ...]], environ: Mapping[str, str]
) -> CachePlace:
    try:
        values = fields(text, "cache") if "=" in text else {"type": "registry", "ref": text}
    except RequestInvalid:  # whose message would show the text, in which there may be a key
        raise RequestInvalid(f"{option}: its fields cannot be told apart", hint="type=…,key=value") from None
    kind = values.pop("type", "")
    known = sorted({*_BOTH, *own})
    if not kind:
        raise RequestInvalid(f"{option}: type is required", hint=f"one of {', '.join(known)}")
    if kind not in known:
        hint = (
            "what an image carries is read with type=registry,ref=IMAGE"
            if kind == "inline"
            else f"one of {', '.join(known)}"
        )
        raise RequestInvalid(f"{option}: unknown cache type {kind[:80]!r}", hint=hint)
    takes = (*_BOTH.get(kind, ()), *own.get(kind, ()))
    for key in values:
        if key not in takes:
            raise RequestInvalid(
                f"{option}: type={kind} does not take {key[:80]!r}",
                hint=f"it takes {', '.join(takes) or 'nothing else'}",
            )
    place = CachePlace(
        type=kind,
        options={k: v for k, v in values.items() if k not in _SECRET},
        secrets={k: v for k, v in values.items() if k in _SECRET},
    )
    _check(place, option)
    return place.completed(environ)


def _check(place: CachePlace, option: str) -> None:
    needed: dict[str, tuple[str, ...]] = {
        "registry": ("ref",),
        "local": ("src" if option.endswith("from") else "dest",),
    }
    for key in needed.get(place.type, ()):
        if not place.options.get(key):
            raise RequestInvalid(f"{option}: type={place.type} needs {key}=…")
    if place.type == "registry":
        Reference.parse(place.options["ref"])
    for key in ("registry.insecure", "force-compression", "ignore-error", "image-manifest"):
        place.flag(key)
    for key in ("oci-mediatypes", "use_path_style", "reset", "disable_accept_encoding"):
        place.flag(key)
    place.number("retry_max_attempts", None)
    if place.options.get("retry_mode", "standard").lower() not in RETRY_MODES:
        raise RequestInvalid(
            f"{option}: unknown retry_mode {place.options['retry_mode'][:80]!r}",
            hint=" or ".join(RETRY_MODES),
        )
    seconds(place.options.get("timeout", ""), 0)
    if place.type == "gha" and place.options.get("version", "2") != "2":
        raise RequestInvalid(
            f"{option}: version {place.options['version']!r} of GitHub's cache service is not spoken",
            hint="GitHub has shut version 1 down; url_v2 names version 2",
        )


def seconds(text: str, default: float) -> float:
    """A duration as Go writes it (``1h30m``, ``24h``), in seconds. Raises DurationInvalid."""
    from boxwright.spec.times import SECOND, parse_duration

    return parse_duration(text) / SECOND if text else default
