"""Log drivers and their options: what `--log-driver` and `--log-opt` may say, in Docker's words, and what of it a
supervisor is told."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from boxwright.container.config import ContainerConfigInvalid
from boxwright.container.job import LogPlan, ShippingPlan
from boxwright.spec.text import go_uint, whole_number
from boxwright.spec.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.records import Container

_FILE = ("max-size", "max-file", "compress")
_ATTRIBUTES = ("labels", "labels-regex", "env", "env-regex", "tag")
_MODE = ("mode", "max-buffer-size")
_CACHE = ("cache-disabled", "cache-max-size", "cache-max-file", "cache-compress")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "json-file": (*_FILE, *_ATTRIBUTES),
    "local": _FILE,
    "none": (),
    "journald": _ATTRIBUTES,
    "syslog": (
        *_ATTRIBUTES,
        *("syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert", "syslog-tls-cert"),
        *("syslog-tls-key", "syslog-tls-skip-verify"),
    ),
    "gelf": (
        *_ATTRIBUTES,
        *("gelf-address", "gelf-compression-type", "gelf-compression-level", "gelf-tcp-max-reconnect"),
        "gelf-tcp-reconnect-delay",
    ),
    "fluentd": (
        *_ATTRIBUTES,
        *("fluentd-address", "fluentd-async", "fluentd-request-ack", "fluentd-sub-second-precision"),
        *("fluentd-async-reconnect-interval", "fluentd-buffer-limit", "fluentd-max-retries"),
        *("fluentd-retry-wait", "fluentd-write-timeout"),
    ),
}
SHIPPED = ("journald", "syslog", "gelf", "fluentd")
_MOST_TRIES, _SHORTEST = (1 << 32) - 1, 0.05
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_LONGEST_TAG = 4096
_LOCAL_SIZE, _LOCAL_FILES = "20m", "5"


class LogOptionInvalid(ContainerConfigInvalid):
    """A log driver, or an option of one, that cannot be."""


def check(driver: str, options: Mapping[str, str]) -> None:
    """Raises LogOptionInvalid."""
    driver = driver or "json-file"
    if driver not in OPTIONS:
        raise LogOptionInvalid(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found',
            hint=f"known are {', '.join(sorted(OPTIONS))}",
        )
    if driver == "none" and options:
        raise LogOptionInvalid("invalid logging opts for driver none")
    _check_known(driver, options)
    _check_mode(options)
    for key in ("max-size", "cache-max-size", "max-buffer-size"):
        if options.get(key, "-1") != "-1" or (key == "max-buffer-size" and key in options):
            size = parse_size(options[key])
            if size < 1 and (driver, key) == ("json-file", "max-size"):
                raise LogOptionInvalid("max-size must be a positive number")
    for key in ("compress", "cache-compress", "cache-disabled"):
        if options.get(key, "true").lower() not in _TRUE + _FALSE:
            raise LogOptionInvalid(f"invalid value for option {key}: {options[key]}")
    for key in ("max-file", "cache-max-file"):
        if not (options.get(key, "1").isdecimal() and 0 < int(options.get(key, "1")[:9]) < 1000):
            raise LogOptionInvalid(f"{key} cannot be less than 1")
    single = int(options.get("max-file", "1")) < 2 or options.get("max-size", "-1") == "-1"
    if driver == "json-file" and _flag(options.get("compress")) and single:
        raise LogOptionInvalid("compress cannot be true when max-file is less than 2 or max-size is not set")
    for key in ("labels-regex", "env-regex"):
        _pattern(options.get(key, ""))
    if tag := options.get("tag"):
        rendered(tag, _SAMPLE)
    if driver in SHIPPED:
        _check_server(driver, options)


def _check_known(driver: str, options: Mapping[str, str]) -> None:
    allowed = {*OPTIONS[driver], *_MODE, *(_CACHE if driver not in ("local", "none") else ())}
    for key in options:
        if key not in allowed:
            told = {
                "local": f"unknown log opt '{key}' for log driver local",
                "gelf": f'unknown log opt "{key}" for gelf log driver',
            }
            raise LogOptionInvalid(told.get(driver, f"unknown log opt '{key}' for {driver} log driver"))


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "blocking")
    if mode not in ("blocking", "non-blocking"):
        raise LogOptionInvalid(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options and mode != "non-blocking":
        raise LogOptionInvalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")


def _check_server(driver: str, options: Mapping[str, str]) -> None:
    address(driver, options)
    if driver == "syslog":
        facility(options)
        if options.get("syslog-format", "") not in ("", "rfc3164", "rfc5424", "rfc5424micro"):
            raise LogOptionInvalid("Invalid syslog format", hint="known are rfc3164, rfc5424, rfc5424micro")
    if driver == "gelf":
        kind, level = options.get("gelf-compression-type", "gzip"), options.get("gelf-compression-level", "1")
        if options["gelf-address"].startswith("tcp") and any(
            k.startswith("gelf-compression") for k in options
        ):
            raise LogOptionInvalid("compression is only supported on UDP")
        if kind not in ("gzip", "zlib", "none"):
            raise LogOptionInvalid(
                f'unknown value "{kind}" for log opt "gelf-compression-type" for gelf log driver'
            )
        if level not in [str(n) for n in range(-1, 10)]:
            raise LogOptionInvalid(
                f'unknown value "{level}" for log opt "gelf-compression-level" for gelf log driver'
            )
    _patience(driver, options)
    for key, value in options.items():
        yes_or_no = key in ("fluentd-async", "fluentd-request-ack", "fluentd-sub-second-precision")
        if yes_or_no and value.lower() not in _TRUE + _FALSE:
            raise LogOptionInvalid(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def _patience(driver: str, options: Mapping[str, str]) -> dict[str, float]:
    """Fields of `ShippingPlan`: how long a server is waited for. Raises LogOptionInvalid; the texts are Docker's."""
    if driver == "gelf":
        return _gelf_patience(options)
    if driver != "fluentd":
        return {}
    found: dict[str, float] = {}
    if text := options.get("fluentd-buffer-limit"):
        found["entries"] = max(1, parse_size(text))
    if text := options.get("fluentd-max-retries"):
        try:
            tries = go_uint(text, 32)
            found["attempts"] = tries + 1 if tries < _MOST_TRIES else 0
        except ValueError as error:
            raise LogOptionInvalid(str(error)) from None
    if text := options.get("fluentd-retry-wait"):
        found["first_wait"] = max(_seconds("fluentd-retry-wait", text), _SHORTEST)
        found["last_wait"] = max(60.0, found["first_wait"])
    if text := options.get("fluentd-write-timeout"):
        found["patience"] = _seconds("fluentd-write-timeout", text) or 10.0
    if text := options.get("fluentd-async-reconnect-interval"):
        found["renewal"] = _seconds("fluentd-async-reconnect-interval", text)
        if not 0.1 <= found["renewal"] <= 10:
            raise LogOptionInvalid(
                f'invalid value for fluentd-async-reconnect-interval: value ("{text}") must be between 100ms and 10s'
            )
        if not _flag(options.get("fluentd-async")):
            raise LogOptionInvalid("fluentd-async-reconnect-interval needs fluentd-async=true")
    return found


def _gelf_patience(options: Mapping[str, str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key in ("gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"):
        if key not in options:
            continue
        number = whole_number(options[key], 1 << 31)
        if number is None:
            raise LogOptionInvalid(f'"{key}" must be a positive integer')
        if not options["gelf-address"].startswith("tcp"):
            raise LogOptionInvalid(f'"{key}" is only valid for TCP')
        if key == "gelf-tcp-max-reconnect":
            found["attempts"] = number + 1
        else:
            found["first_wait"] = found["last_wait"] = max(float(number), _SHORTEST)
    return found


def _seconds(key: str, text: str) -> float:
    from boxwright.spec.times import DurationInvalid, parse_duration

    try:
        found = parse_duration(text) / 1e9
    except DurationInvalid as error:
        raise LogOptionInvalid(f"invalid value for {key}: value must be a duration: {error}") from None
    if found < 0:
        raise LogOptionInvalid(f"invalid value for {key}: value must be a duration that is non-negative")
    return found


def _flag(text: str | None) -> bool:
    return (text or "").lower() in _TRUE


def facility(options: Mapping[str, str]) -> int:
    """Of syslog, by name or number; the daemons' when nothing is said. Raises LogOptionInvalid."""
    text = options.get("syslog-facility") or "daemon"
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isascii() and text.isdecimal() and int(text[:4]) <= 23:
        return int(text)
    raise LogOptionInvalid("invalid syslog facility")


def address(driver: str, options: Mapping[str, str]) -> tuple[str, str, int]:
    """Scheme, host or path, and port of the server; empty for the local one. Raises LogOptionInvalid."""
    if driver == "journald":
        return "unixgram", "", 0
    text = options.get(f"{driver}-address", "")
    if driver == "gelf" and not text:
        raise LogOptionInvalid("gelf-address is a required parameter")
    if not text:
        return ("unix", "", 0) if driver == "syslog" else ("tcp", "127.0.0.1", 24224)
    scheme, separator, rest = text.partition("://")
    if driver == "fluentd" and not separator:
        scheme, rest = "tcp", text
    elif not separator:
        scheme = ""
    known = {
        "syslog": ("udp", "tcp", "tcp+tls", "unix", "unixgram"),
        "gelf": ("udp", "tcp"),
        "fluentd": ("tcp", "unix"),
    }[driver]
    if scheme not in known:
        told = {
            "syslog": f"unsupported scheme: '{scheme}'",
            "gelf": "gelf: endpoint needs to be TCP or UDP",
            "fluentd": f"invalid fluentd-address ({text}): unsupported scheme: '{scheme}'",
        }
        raise LogOptionInvalid(told[driver])
    if scheme in ("unix", "unixgram"):
        if not rest.startswith("/") or "\0" in rest or len(os.fsencode(rest)) > 107:
            raise LogOptionInvalid(f"invalid {driver}-address ({text}): a path is wanted")
        return scheme, rest, 0
    return scheme, *_host_and_port(driver, text, rest)


def _host_and_port(driver: str, text: str, rest: str) -> tuple[str, int]:
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        host, port = rest, {"syslog": "514", "fluentd": "24224"}.get(driver, "")
    if not port:
        raise LogOptionInvalid("gelf: please provide gelf-address as proto://host:port")
    host = host.strip("[]")
    fits = host.isprintable() and not any(c.isspace() or c in "/?#@" for c in host)
    if not fits or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise LogOptionInvalid(f"invalid {driver}-address ({text}): a host and a port are wanted")
    return host or "127.0.0.1", int(port)


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except (re.error, RecursionError, OverflowError) as error:
        raise LogOptionInvalid(f"error parsing regexp: {error}: `{text}`") from error


# --- what a supervisor is told ----------------------------------------------------------------------

# A container's facts, for a tag that is checked before there is one.
_SAMPLE: Mapping[str, Any] = {
    **dict.fromkeys(("ID", "FullID", "ContainerID"), "0" * 64),
    **dict.fromkeys(("ImageID", "ImageFullID", "ContainerImageID"), "sha256:" + "0" * 64),
    **dict.fromkeys(
        ("Name", "ContainerName", "ImageName", "ContainerImageName", "DaemonName", "Hostname"), "x"
    ),
    **dict.fromkeys(("Command", "ContainerEntrypoint", "ContainerCreated", "LogPath"), ""),
    **dict.fromkeys(("ContainerArgs", "ContainerEnv"), ()),
    "ContainerLabels": {},
    "Config": {},
}


def rendered(template: str, facts: Mapping[str, Any]) -> str:
    """A tag, a Go template over the facts of a container. What a terminal or a line of a log would act on is a blank in
    it: labels and variables may be an image's. Raises LogOptionInvalid."""
    from boxwright.gotemplate.compile import FormatError, compile

    if not template.isprintable():
        raise LogOptionInvalid(f"invalid tag {template[:200]!r}: it has control characters")
    try:
        text = compile(template)(facts)
    except FormatError as error:
        raise LogOptionInvalid(f"invalid tag {template[:200]!r}: {error}", hint=error.hint) from error
    return "".join(char if char.isprintable() else " " for char in text[:_LONGEST_TAG])


def plan_of(container: Container) -> LogPlan:
    """Of a container at its start. Raises LogOptionInvalid."""
    driver, options = container.config.log_driver or "json-file", container.config.log_opts
    shipped = driver in SHIPPED
    prefix = "cache-" if shipped else ""
    bounded = shipped or driver == "local"
    size = options.get(f"{prefix}max-size", _LOCAL_SIZE if bounded else "0")
    kept = driver != "none" and not (shipped and _flag(options.get("cache-disabled")))
    extra = _attributes(container, options)
    compress = options.get(f"{prefix}compress", "true" if bounded else "false")
    return LogPlan(
        path=str(container.log_path) if kept else "",
        max_size=0 if size == "-1" else parse_size(size),
        max_files=int(options.get(f"{prefix}max-file", _LOCAL_FILES if bounded else "1")),
        compress=_flag(compress),
        attributes=tuple(extra.items()) if driver == "json-file" else (),
        shipping=_shipping(container, driver=driver, options=options, extra=extra) if shipped else None,
    )


def _attributes(container: Container, options: Mapping[str, str]) -> dict[str, str]:
    """Labels and variables that each entry carries, and a tag that was asked for."""
    found: dict[str, str] = {}
    labels = {str(k): str(v) for k, v in (container.merged.get("Labels") or {}).items()}
    env = dict(text.partition("=")[::2] for text in container.merged.get("Env") or ())
    for key, values in (("labels", labels), ("env", env)):
        named = [name.strip() for name in options.get(key, "").split(",")]
        pattern = _pattern(options.get(f"{key}-regex", ""))
        found |= {
            k: v for k, v in values.items() if k in named or (pattern is not None and pattern.search(k))
        }
    if options.get("tag") and (container.config.log_driver or "json-file") == "json-file":
        found["tag"] = rendered(options["tag"], _facts(container))
    return found


def _facts(container: Container) -> dict[str, Any]:
    """Fields and methods of Docker's `logger.Info`, by which its tags are written."""
    from boxwright.spec.times import stamp

    image = container.record["image_id"]
    name = container.record["image"]
    entrypoint, *arguments = container.command or ("",)
    return {
        "ID": container.short_id,
        "FullID": container.id,
        "Name": container.name,
        "ImageID": image[:12],  # with its ``sha256:``, as Docker cuts it
        "ImageFullID": image,
        "ImageName": name,
        "DaemonName": "boxwright",
        "Command": " ".join(container.command),
        "Hostname": os.uname().nodename,
        "ContainerID": container.id,
        "ContainerName": f"/{container.name}",
        "ContainerImageID": image,
        "ContainerImageName": name,
        "ContainerEntrypoint": entrypoint,
        "ContainerArgs": arguments,
        "ContainerCreated": stamp(container.created),
        "ContainerEnv": list(container.merged.get("Env") or ()),
        "ContainerLabels": {str(k): str(v) for k, v in (container.merged.get("Labels") or {}).items()},
        "Config": dict(container.config.log_opts),
        "LogPath": str(container.log_path),
    }


def _shipping(
    container: Container, *, driver: str, options: Mapping[str, str], extra: Mapping[str, str]
) -> ShippingPlan:
    from boxwright.container.supervisor.logformats import journal_name
    from boxwright.spec.times import stamp

    scheme, host, port = address(driver, options)
    known = _facts(container)
    tag = rendered(options["tag"], known) if options.get("tag") else known["ID"]
    facts = {
        "syslog": {},
        "journald": {
            "CONTAINER_ID": container.short_id,
            "CONTAINER_ID_FULL": container.id,
            "CONTAINER_NAME": container.name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": known["ImageName"],
        },
        "gelf": {
            "container_id": container.id,
            "container_name": container.name,
            "image_id": known["ImageFullID"],
            "image_name": known["ImageName"],
            "command": known["Command"],
            "tag": tag,
            "created": stamp(container.created),
        },
        "fluentd": {"container_id": container.id, "container_name": f"/{container.name}"},
    }[driver]
    if driver == "journald":
        extra = {name: value for key, value in extra.items() if (name := journal_name(key))}
    settings = {
        key: value.lower() if value.lower() in _TRUE + _FALSE else value for key, value in options.items()
    }
    flags = ("fluentd-async", "fluentd-request-ack", "fluentd-sub-second-precision", "syslog-tls-skip-verify")
    settings |= {key: "true" if _flag(options.get(key)) else "false" for key in flags}
    if driver == "syslog":
        settings["facility"] = str(facility(options))
    waits = options.get("mode") == "non-blocking"
    return ShippingPlan(
        driver=driver,
        scheme=scheme,
        host=host,
        port=port,
        tag=tag,
        facts=facts,
        extra=dict(extra),
        options=settings,
        buffer=max(1, parse_size(options.get("max-buffer-size", "1m"))) if waits else 0,
        **_patience(driver, options),  # type: ignore[arg-type]  # of each its kind
    )
