"""``--change`` of `import` and `commit`: Dockerfile instructions that only touch the config.

Docker allows eleven of them, one a flag, without heredocs, comments or continuation lines; that small language is read
here, so that this package needs nothing of the builder above it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from boxwright.errors import Invalid
from boxwright.image.filters import duration
from boxwright.spec.times import SECOND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_SHELL = ["/bin/sh", "-c"]
_VARIABLE = re.compile(r"\\(.)|\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?\Z", re.IGNORECASE)
_FORBIDDEN_IN_ONBUILD = frozenset(("ONBUILD", "FROM", "MAINTAINER"))


class ChangeInvalid(Invalid):
    """A ``--change`` cannot be read or is not allowed."""


def apply_changes(config: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """The container config (``Env``, ``Cmd``, …) after these instructions. Raises ChangeInvalid."""
    out = dict(config)
    for text in changes:
        for line in filter(None, map(str.strip, text.split("\n"))):
            word, _, rest = line.partition(" ")
            handler = _HANDLERS.get(word.upper())
            if handler is None:
                raise ChangeInvalid(
                    f"{word.lower()!r} is not a valid change command",
                    hint="allowed are " + ", ".join(sorted(_HANDLERS)),
                )
            if not rest.strip():
                raise ChangeInvalid(f"{word.upper()} requires an argument: {line!r}")
            handler(out, rest.strip())
    return out


# --- words ---------------------------------------------------------------------------------------


def _expand(text: str, config: Mapping[str, Any]) -> str:
    """Variables of the image's own environment; a backslash keeps the next character."""
    env = dict(str(e).partition("=")[::2] for e in config.get("Env") or ())

    def value(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1] if match[1] in "$\\\"' " else match[0]
        found = env.get(match[2] or match[3], "")
        if match[4] == "-":
            return found or match[5]
        return (match[5] if found else "") if match[4] == "+" else found

    return _VARIABLE.sub(value, text)


def _words(text: str, config: Mapping[str, Any]) -> list[str]:
    """Words as a shell splits them; variables are expanded outside single quotes."""
    words: list[str] = []
    current: str | None = None
    at = 0
    while at < len(text):
        char = text[at]
        if char in "\"'":
            end = at + 1
            while end < len(text) and text[end] != char:
                end += 2 if char == '"' and text[end] == "\\" else 1
            if end >= len(text):
                raise ChangeInvalid(
                    f"unexpected end of statement while looking for matching "
                    f"{'double' if char == chr(34) else 'single'}-quote: {text!r}"
                )
            inner = text[at + 1 : end]
            current = (current or "") + (inner if char == "'" else _expand(inner, config))
            at = end + 1
        elif char.isspace():
            if current is not None:
                words.append(current)
            current = None
            at += 1
        else:
            end = at
            while end < len(text) and not text[end].isspace() and text[end] not in "\"'":
                end += 2 if text[end] == "\\" else 1
            current = (current or "") + _expand(text[at:end], config)
            at = end
    return [*words, current] if current is not None else words


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def _pairs(text: str, config: Mapping[str, Any], what: str) -> list[tuple[str, str]]:
    """``a=b c="d e"``, or the old form ``name the rest``."""
    words = _words(text, config)
    if words and "=" not in words[0]:
        name, _, rest = text.partition(" ")
        if not rest.strip():
            raise ChangeInvalid(f"{what} must have two arguments")
        return [(name, _expand(rest.strip(), config))]
    pairs = [tuple(word.partition("=")[::2]) for word in words]
    for word, (name, _) in zip(words, pairs, strict=True):
        if not name or "=" not in word:
            raise ChangeInvalid(f"{what}: {word!r} is not name=value")
    return [(name, value) for name, value in pairs]


# --- instructions --------------------------------------------------------------------------------


def _command(text: str, config: Mapping[str, Any]) -> list[str]:
    listed = _json_list(text)
    return listed if listed is not None else [*(config.get("Shell") or _SHELL), text]


def _cmd(config: dict[str, Any], text: str) -> None:
    config["Cmd"] = _command(text, config)


def _entrypoint(config: dict[str, Any], text: str) -> None:
    config["Entrypoint"] = _command(text, config)


def _env(config: dict[str, Any], text: str) -> None:
    values = dict(str(e).partition("=")[::2] for e in config.get("Env") or ())
    values.update(_pairs(text, config, "ENV"))
    config["Env"] = [f"{name}={value}" for name, value in values.items()]


def _label(config: dict[str, Any], text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(text, config, "LABEL"))}


def _expose(config: dict[str, Any], text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in _words(text, config):
        match = _PORT.match(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not match or not 0 < first <= last < 65536:
            raise ChangeInvalid(f"invalid containerPort: {word}", hint="wanted port[-port][/tcp|udp|sctp]")
        ports.update({f"{port}/{(match[3] or 'tcp').lower()}": {} for port in range(first, last + 1)})
    config["ExposedPorts"] = dict(sorted(ports.items()))


def _volume(config: dict[str, Any], text: str) -> None:
    paths = _json_list(text)
    config["Volumes"] = {
        **(config.get("Volumes") or {}),
        **{path: {} for path in (paths if paths is not None else _words(text, config))},
    }


def _user(config: dict[str, Any], text: str) -> None:
    config["User"] = _one(text, config, "USER")


def _workdir(config: dict[str, Any], text: str) -> None:
    import posixpath

    config["WorkingDir"] = posixpath.normpath(
        posixpath.join("/", str(config.get("WorkingDir") or ""), _one(text, config, "WORKDIR"))
    )


def _stopsignal(config: dict[str, Any], text: str) -> None:
    name = _one(text, config, "STOPSIGNAL")
    import signal

    if (
        not name.isdigit()
        and f"SIG{name.upper().removeprefix('SIG')}".partition("+")[0] not in signal.Signals.__members__
    ):
        raise ChangeInvalid(f"invalid signal: {name}")
    config["StopSignal"] = name


def _one(text: str, config: Mapping[str, Any], what: str) -> str:
    words = _words(text, config)
    if len(words) != 1:
        raise ChangeInvalid(f"{what} requires exactly one argument: {text!r}")
    return words[0]


def _onbuild(config: dict[str, Any], text: str) -> None:
    if (word := text.split()[0].upper()) in _FORBIDDEN_IN_ONBUILD:
        raise ChangeInvalid(
            f"{word} isn't allowed as an ONBUILD trigger"
            if word != "ONBUILD"
            else "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
        )
    config["OnBuild"] = [*(config.get("OnBuild") or ()), text]


def _healthcheck(config: dict[str, Any], text: str) -> None:
    fields = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
        "retries": "Retries",
    }
    check: dict[str, Any] = {}
    while text.startswith("--"):
        flag, _, text = text.partition(" ")
        text = text.strip()
        name, equals, value = flag[2:].partition("=")
        if name not in fields or not equals:
            raise ChangeInvalid(f"HEALTHCHECK: unknown flag {flag!r}")
        span = float(value) if name == "retries" and value.isdigit() else duration(value)
        if span is None or span < 0:
            raise ChangeInvalid(f"HEALTHCHECK: invalid value {value!r} for --{name}")
        check[fields[name]] = int(span) if name == "retries" else round(span * SECOND)
    kind, _, rest = text.partition(" ")
    if kind.upper() == "NONE" and not rest and not check:
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    rest = rest.strip()
    if kind.upper() != "CMD" or not rest:
        raise ChangeInvalid(f"HEALTHCHECK: wanted NONE, or CMD and a command: {text!r}")
    listed = _json_list(rest)
    config["Healthcheck"] = {"Test": ["CMD", *listed] if listed is not None else ["CMD-SHELL", rest], **check}


_HANDLERS = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
