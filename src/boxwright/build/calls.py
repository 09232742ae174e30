"""What can be asked of a Dockerfile instead of building it (``--call``): checks, outline, targets; the answers in the
form of BuildKit's subrequests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from boxwright.build.dockerfile.errors import DockerfileError, SourceRange, Warning
from boxwright.build.dockerfile.parse import Dockerfile
from boxwright.errors import BoxwrightError, Unsupported
from boxwright.spec.urls import redacted, redacted_source
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.dockerfile.outline import Asked, Outline, Target

_ALIASES = {"lint": "check", "build": ""}
METHODS = ("check", "outline", "targets", "subrequests.describe")
_REQUESTS: tuple[tuple[str, str, list[dict[str, str]] | None], ...] = (
    (
        "outline",
        "List all parameters current build target supports",
        [{"name": "target", "description": "Target build stage"}],
    ),
    ("targets", "List all targets current build supports", []),
    ("subrequests.describe", "List available subrequest types", None),
)


class CallUnsupported(Unsupported):
    """A build was asked for something that this frontend does not answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call found: `data` is JSON in BuildKit's form, `status` the exit code that it stands for."""

    method: str
    data: Any
    status: int = 0


def method_of(text: str) -> str:
    """The method that a name means; '' is to build. Raises CallUnsupported."""
    method = _ALIASES.get(text, text)
    if method and method not in METHODS:
        hint = (
            "steps are run from the Dockerfile itself; there is no LLB to show"
            if method == "convertllb"
            else f"known are build, {', '.join(METHODS)}"
        )
        raise CallUnsupported(f"unsupported request frontend.{method}", hint=hint)
    return method


def checked(dockerfile: Dockerfile, warnings: Iterable[Warning], error: BoxwrightError | None) -> Answer:
    """The answer to ``check``. `error` is what would end the build."""
    found = [
        {
            "ruleName": one.rule,
            "description": one.description,
            **({"url": one.url} if one.url else {}),
            "detail": one.message,
            "location": _location([one.location] if one.location else []),
        }
        for one in warnings
    ]
    source = {"filename": dockerfile.filename, "data": _encoded(dockerfile.data), "language": "Dockerfile"}
    data: dict[str, Any] = {"warnings": found or None, "sources": [source]}
    if error is not None:
        ranges = error.ranges if isinstance(error, DockerfileError) else ()
        data["buildError"] = {"message": redacted(str(error)), "location": _location(ranges)}
    return Answer("check", data, 1 if found or error is not None else 0)


def unreadable(filename: str, data: bytes, error: DockerfileError) -> Answer:
    """The answer to ``check`` for a file that cannot even be parsed."""
    return checked(Dockerfile(filename=filename, data=data, nodes=()), (), error)


def outlined(dockerfile: Dockerfile, outline: Outline) -> Answer:
    """The answer to ``outline``."""
    arguments = [
        {
            "name": one.key,
            **_filled(description=one.description, value=redacted(one.value)),
            "location": _location([one.location]),
        }
        for one in outline.arguments
    ]
    data = _filled(
        name=outline.name,
        description=outline.description,
        args=arguments,
        secrets=[_asked(one) for one in outline.secrets],
        ssh=[_asked(one) for one in outline.ssh],
        sources=[_encoded(dockerfile.data)],
    )
    return Answer("outline", data)


def listed(dockerfile: Dockerfile, targets: Iterable[Target]) -> Answer:
    """The answer to ``targets``."""
    found = [
        {
            **_filled(
                name=one.name,
                default=one.default,
                description=one.description,
                base=one.base,
                platform=one.platform,
            ),
            "location": _location([one.location]),
        }
        for one in targets
    ]
    return Answer("targets", {"targets": found, "sources": [_encoded(dockerfile.data)]})


def described() -> Answer:
    """The answer to ``subrequests.describe``."""
    results = [{"name": name, "description": ""} for name in ("result.json", "result.txt")]
    found = [
        {
            "name": f"frontend.{name}",
            "version": "1.0.0",
            "type": "rpc",
            "description": text,
            "opts": options,
            "inputs": None,
            "metadata": results,
            "refs": None,
        }
        for name, text, options in _REQUESTS
    ]
    return Answer("subrequests.describe", found)


def _filled(**values: Any) -> dict[str, Any]:
    """The values that say something, as Go's ``omitempty`` has it."""
    return {name: value for name, value in values.items() if value}


def _asked(one: Asked) -> Mapping[str, Any]:
    return {"name": one.name, **_filled(required=one.required), "location": _location([one.location])}


def _location(ranges: Sequence[SourceRange]) -> Mapping[str, Any]:
    shown = [{"start": {"line": one.start}, "end": {"line": max(one.start, one.end)}} for one in ranges]
    return {"ranges": shown} if shown else {}


def _encoded(data: bytes) -> str:
    import base64

    return base64.b64encode(redacted_source(data)).decode()
