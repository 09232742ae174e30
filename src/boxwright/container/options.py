"""What the text of Docker's flags means: environment, limits, devices, health, restart, hosts. Pure but for reading
the files that ``--env-file`` and ``--label-file`` name. Error texts are docker/cli's (cli/command/container/opts.go,
opts/)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from boxwright.container.config import ContainerConfigInvalid, DeviceSpec, RestartPolicy, Ulimit
from boxwright.errors import Invalid
from boxwright.spec.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Patterns as text: each is compiled at its first use.
_LARGEST = 16 << 20  # bytes of a file that an option names
_TMPFS_VALUES = frozenset("size mode uid gid nr_inodes nr_blocks mpol".split())
_TMPFS_FLAGS = frozenset(
    "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime "
    "noatime diratime nodiratime bind rbind unbindable "
    "runbindable private rprivate shared rshared slave rslave relatime norelatime strictatime nostrictatime".split()
)
TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))  # strconv.ParseBool
FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
DEVICE_RULE = r"([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})\Z"
_ACCESS = r"[rwm]{1,3}\Z"
SIGNALS = {
    name: number
    for number, name in enumerate(
        "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP "
        "TTIN TTOU URG XCPU XFSZ VTALRM "
        "PROF WINCH POLL PWR SYS".split(),
        1,
    )
} | {"IOT": 6, "IO": 29, "CLD": 17}


class OptionInvalid(Invalid):
    """The value of an option cannot be understood."""


def parse_swap(text: str) -> int:
    """As `parse_size`, and -1 for unlimited."""
    return -1 if text.strip() == "-1" else parse_size(text)


def parse_weight(text: str) -> int:
    """Of ``--blkio-weight``, which is a number of 16 bits. Raises OptionInvalid."""
    from boxwright.spec.text import go_uint

    try:
        return go_uint(text, 16)
    except ValueError as error:
        raise OptionInvalid(str(error)) from None


def parse_cpus(text: str) -> int:
    """10^-9 CPUs of ``1.5``. Raises OptionInvalid."""
    match = re.match(r"(\d*)(?:\.(\d{0,9})0*)?\Z", text.strip())
    if match is None or not (match[1] or match[2]):
        raise OptionInvalid(
            f"failed to parse {text} as a rational number"
            if not re.match(r"[\d.]+\Z", text)
            else "value is too precise"
        )
    return int(match[1] or 0) * 10**9 + int((match[2] or "").ljust(9, "0") or 0)


def parse_signal(text: str) -> int:
    """The number of ``SIGTERM``, ``term``, ``15`` or ``RTMIN+3``. Raises OptionInvalid."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdigit() and 0 < int(name) <= 64:
        return int(name)
    if name in SIGNALS:
        return SIGNALS[name]
    if match := re.match(r"RT(MIN|MAX)(?:([+-])(\d+))?\Z", name):
        number = (34 if match[1] == "MIN" else 64) + (
            int(match[3]) if match[2] == "+" else -int(match[3] or 0)
        )
        if 34 <= number <= 64:
            return number
    raise OptionInvalid(f"invalid signal: {text}")


def environment(files: Iterable[str], values: Iterable[str], host: Mapping[str, str]) -> tuple[str, ...]:
    """``--env-file`` and ``--env`` together: ``NAME=value``; a bare NAME takes the host's value, if it has one.

    Raises OptionInvalid, with file and line where there is one."""
    out: list[str] = []
    for name in files:
        out += _file_entries(name, host, env=True)
    for text in values:
        key, equals, _ = text.partition("=")
        if not key:
            raise OptionInvalid(f"invalid environment variable: {text}")
        if equals:
            out.append(text)
        elif key in host:
            out.append(f"{key}={host[key]}")
    return tuple(out)


def unset_names(values: Iterable[str], host: Mapping[str, str]) -> tuple[str, ...]:
    """The bare names of ``--env`` that the host does not have: Docker keeps them, and they take the image's away."""
    return tuple(text for text in values if "=" not in text and text not in host)


def labels(files: Iterable[str], values: Iterable[str]) -> dict[str, str]:
    """``--label-file`` and ``--label`` together. Raises OptionInvalid."""
    out: dict[str, str] = {}
    for text in [entry for name in files for entry in _file_entries(name, {}, env=False)] + list(values):
        key, _, value = text.partition("=")
        if not key:
            raise OptionInvalid(f"invalid label format: '{text}'" if text else "invalid empty label")
        out[key] = value
    return out


def _read(path: str) -> bytes:
    """A small file whole: a device may have no end. Raises OSError, ValueError, OptionInvalid."""
    with open(path, "rb") as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise OptionInvalid(f"{path} is larger than {_LARGEST >> 20} MiB")
    return raw


def _file_entries(name: str, host: Mapping[str, str], *, env: bool) -> list[str]:
    try:
        raw = _read("/dev/stdin" if name == "-" else name)
    except (OSError, ValueError) as error:
        raise OptionInvalid(
            f"open {name}: {(getattr(error, 'strerror', '') or str(error)).lower()}"
        ) from error
    out = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            text = line.rstrip(b"\r").decode().lstrip()
        except UnicodeDecodeError as error:
            raise OptionInvalid(f"invalid env file ({name}): line {number} is not valid UTF-8") from error
        if not text or text.startswith("#"):
            continue
        key, equals, _ = text.partition("=")
        if any(c.isspace() for c in key.rstrip() if env) or (env and key != key.rstrip()):
            raise OptionInvalid(
                f"invalid env file ({name}): variable '{key}' contains whitespaces (line {number})"
            )
        if not key:
            raise OptionInvalid(
                f"invalid env file ({name}): no variable name on line '{text}' (line {number})"
            )
        if equals:
            out.append(text)
        elif not env:
            out.append(key.rstrip())
        elif key in host:
            out.append(f"{key}={host[key]}")
    return out


def merge_env(*lists: Iterable[str]) -> list[str]:
    """Later entries replace earlier ones of the same name, in the earlier one's place; a bare NAME removes it."""
    out: dict[str, str | None] = {}
    for entry in (e for entries in lists for e in entries):
        name, equals, _ = entry.partition("=")
        out[name] = entry if equals else None
    return [entry for entry in out.values() if entry is not None]


def parse_env(text: str) -> str:
    """An entry of ``--env``; only its name must be there. Raises OptionInvalid."""
    if not text.partition("=")[0]:
        raise OptionInvalid(f"invalid environment variable: {text}")
    return text


def parse_label(text: str) -> str:
    """An entry of ``--label``; only its key must be there. Raises OptionInvalid."""
    if not text.partition("=")[0]:
        raise OptionInvalid(f"invalid label '{text}': empty name")
    return text


def parse_stream(text: str) -> str:
    """``stdin``, ``stdout`` or ``stderr``. Raises OptionInvalid."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise OptionInvalid("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def parse_address(text: str) -> str:
    """An IP address. Raises OptionInvalid."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError as error:
        raise OptionInvalid(f"IP address is not correctly formatted: {text}") from error


def parse_mac(text: str) -> str:
    """Six bytes with colons between them. Raises OptionInvalid."""
    if not re.match(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\Z", text):
        raise OptionInvalid(f"{text} is not a valid mac address")
    return text


def parse_ulimit(text: str) -> Ulimit:
    """``nofile=1024:2048`` or ``nofile=1024``. Raises OptionInvalid."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise OptionInvalid(f"invalid ulimit argument: {text}")
    soft, colon, hard = value.partition(":")
    if not re.match(r"-?\d+\Z", soft) or (colon and not re.match(r"-?\d+\Z", hard)):
        raise OptionInvalid(f"invalid ulimit argument: {text}")
    most = int(hard) if colon else int(soft)
    if most >= 0 and int(soft) > most:
        raise OptionInvalid(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {most}")
    return Ulimit(name, int(soft), most)


def cdi_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Those of ``--device`` that are names of CDI devices."""
    likely = [text for text in texts if "=" in text and "/" in text and not text.startswith("/")]
    if not likely:
        return ()
    from boxwright.runtime import cdi

    return tuple(text for text in likely if cdi.is_name(text))


def parse_device(text: str) -> DeviceSpec:
    """``/dev/sda:/dev/xvda:rwm``, the last two optional. Raises OptionInvalid."""
    parts = text.split(":")
    access, inside = "rwm", ""
    if len(parts) > 3 or not parts[0]:
        raise OptionInvalid(f"invalid device specification: {text}")
    if len(parts) == 3:
        inside, access = parts[1], parts[2]
        if not re.match(_ACCESS, access):
            raise OptionInvalid(f"bad mode specified: {access}")
    elif len(parts) == 2:
        if re.match(_ACCESS, parts[1]):
            access = parts[1]
        else:
            inside = parts[1]
    if not parts[0].startswith("/") or (inside and not inside.startswith("/")):
        raise OptionInvalid(f"{inside or parts[0]} is not an absolute path")
    return DeviceSpec(parts[0], inside or parts[0], access)


_SYSCTLS = frozenset(
    f"kernel.{name}" for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)


def parse_sysctl(text: str) -> str:
    """``name=value`` of a kernel parameter that namespaces have of their own. Raises OptionInvalid."""
    name, equals, _ = text.partition("=")
    if not equals or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise OptionInvalid(f"sysctl '{text}' is not allowed")
    return text


def parse_device_rule(text: str) -> str:
    """``c 1:3 rwm``. Raises OptionInvalid."""
    if not re.match(DEVICE_RULE, text):
        raise OptionInvalid(f"invalid device cgroup format '{text}'")
    return text


def parse_annotations(values: Iterable[str]) -> dict[str, str]:
    """``--annotation``. Raises OptionInvalid."""
    out = {key: value for key, _, value in (text.partition("=") for text in values)}
    if "" in out:
        raise OptionInvalid("invalid Annotations: the empty string is not permitted as an annotation key")
    return out


def parse_storage(values: Iterable[str]) -> None:
    """``--storage-opt size=…``: there are no quotas of trees here. Raises OptionInvalid; the texts are Docker's."""
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise OptionInvalid("invalid storage option", hint="wanted size=SIZE")
        if key.lower() != "size":
            raise OptionInvalid(f"Unknown option {key}")
        parse_size(value)
        raise OptionInvalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            hint="trees have no quotas of their own here; --read-only with --tmpfs bounds what is written",
        )


def parse_umask(text: str) -> int:
    """``0027``, in octal digits. Raises OptionInvalid."""
    if not re.match(r"0?[0-7]{1,3}\Z", text):
        raise OptionInvalid(f"invalid umask {text}: wanted at most three octal digits")
    return int(text, 8)


def parse_link(text: str) -> str:
    """``CONTAINER`` or ``CONTAINER:ALIAS``. Raises OptionInvalid."""
    if not text:
        raise OptionInvalid("empty string specified for links")
    if text.count(":") > 1:
        raise OptionInvalid(f"bad format for links: {text}")
    return text


def parse_restart(text: str) -> RestartPolicy:
    """``on-failure:3``. Raises OptionInvalid."""
    name, colon, count = text.partition(":")
    if name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise OptionInvalid(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            f"'unless-stopped'"
        )
    if colon and not re.match(r"\d+\Z", count):
        raise OptionInvalid("invalid restart policy format: maximum retry count must be an integer")
    if colon and int(count) and name != "on-failure":
        raise OptionInvalid("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    return RestartPolicy(name or "no", int(count or 0))


def check_word(text: str, what: str) -> str:
    """The text, when it can stand in a line of /etc/hosts, resolv.conf or the name server's list. Raises
    OptionInvalid."""
    if not text or any(c.isspace() or c == "," or not c.isprintable() for c in text):
        raise OptionInvalid(f"invalid {what} {text!r}: wanted a name without blanks, commas and controls")
    return text


def check_line(text: str, what: str) -> str:
    """The text, when it is one line. Raises OptionInvalid."""
    if not text.isprintable():
        raise OptionInvalid(f"invalid {what} {text!r}: it contains a newline or another control character")
    return text


def check_unicode(value: Any) -> None:
    """Raises OptionInvalid when a text in it, as JSON has values, came from bytes that are not UTF-8: neither a runtime
    nor a record can be told of it."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise OptionInvalid(f"{value!a} is not valid UTF-8") from None
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_unicode(key)
            check_unicode(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            check_unicode(inner)


def parse_host(text: str) -> str:
    """``name:address``, ``name=address`` or ``name:host-gateway``, as ``name:address``. Raises OptionInvalid."""
    import ipaddress

    equals, colon = text.find("="), text.find(":")
    at = equals if equals > 0 and (colon < 0 or equals < colon) else colon
    name, address = (text[:at], text[at + 1 :]) if at > 0 else ("", "")
    if not name:
        raise OptionInvalid(f'bad format for add-host: "{text}"')
    address = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if address != "host-gateway":
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise OptionInvalid(f'invalid IP address in add-host: "{address}"') from error
    return f"{name}:{address}"


def parse_tmpfs(text: str) -> tuple[str, tuple[str, ...]]:
    """``/run:rw,size=64m`` -> target and options. Raises OptionInvalid."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise OptionInvalid(f"invalid mount path: '{target}' mount path must be absolute")
    given = tuple(o for o in options.split(",") if o)
    wrong = [o for o in given if o.partition("=")[0] not in (_TMPFS_VALUES if "=" in o else _TMPFS_FLAGS)]
    if wrong:
        raise OptionInvalid(
            f"invalid tmpfs option {wrong[0]!r}",
            hint="known are size=, mode=, uid=, gid=, nr_inodes=, nr_blocks=, mpol=, ro, exec, suid, dev "
            "and their opposites",
        )
    return target, given


def parse_map(values: Iterable[str], what: str) -> dict[str, str]:
    """``key=value`` entries, such as ``--sysctl`` and ``--log-opt``. Raises OptionInvalid."""
    out = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise OptionInvalid(f"invalid {what}: {text!r}: wanted key=value")
        out[key] = value
    return out


def parse_security(values: Sequence[str]) -> tuple[str, ...]:
    """``--security-opt``: files of seccomp profiles are read here, as docker/cli does. Raises OptionInvalid."""
    out = []
    for text in values:
        key, separator, value = text.partition("=")
        if not separator:
            key, separator, value = text.partition(":")
        if (key == "no-new-privileges" and value and value not in TRUE | FALSE) or (
            key == "writable-cgroups" and value not in TRUE | FALSE
        ):
            raise OptionInvalid(f'Invalid --security-opt: "{text}"', hint=f"{key} is true or false")
        if key == "label" and not re.match(r"disable\Z|(user|role|type|level|filetype):.", value):
            raise OptionInvalid(
                f'Invalid --security-opt: "{text}"',
                hint="known are label=disable, and label=user:, role:, type:, level:, filetype: with a value",
            )
        if key in ("no-new-privileges", "writable-cgroups") or (
            key == "systempaths" and value == "unconfined"
        ):
            out.append(f"{key}={value}" if value else key)
            continue
        if key not in ("seccomp", "apparmor", "label") or not separator:
            raise OptionInvalid(
                f'Invalid --security-opt: "{text}"',
                hint="known are seccomp=, apparmor=, label=, no-new-privileges, systempaths=unconfined, "
                "writable-cgroups=",
            )
        if key == "seccomp" and value not in ("unconfined", "builtin"):
            try:
                value = _read(value).decode()
            except (OSError, ValueError) as error:
                raise OptionInvalid(
                    f"opening seccomp profile ({value}) failed: open {value}: "
                    f"{(error.strerror or '').lower() if isinstance(error, OSError) else error}"
                ) from error
        out.append(f"{key}={value}")
    return tuple(out)


def health(
    command: str = "",
    *,
    interval: int = 0,
    timeout: int = 0,
    start_period: int = 0,
    start_interval: int = 0,
    retries: int = 0,
    none: bool = False,
) -> dict[str, Any] | None:
    """Docker's Healthcheck object from ``--health-*``, spans in nanoseconds; None when nothing was said. Raises
    OptionInvalid."""
    spans = {
        "Interval": interval,
        "Timeout": timeout,
        "StartPeriod": start_period,
        "StartInterval": start_interval,
    }
    for key, value in spans.items():
        if value < 0:
            flag = re.sub("(?<!^)([A-Z])", r"-\1", key).lower()
            raise OptionInvalid(f"--health-{flag} cannot be negative")
    if none:
        if command or retries or any(spans.values()):
            raise OptionInvalid("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    out: dict[str, Any] = {"Test": ["CMD-SHELL", command]} if command else {}
    for key, value in spans.items():
        if value:
            if value < 1_000_000:
                raise OptionInvalid(f"{key} in Healthcheck cannot be less than 1ms")
            out[key] = value
    if retries < 0:
        raise OptionInvalid("--health-retries cannot be negative")
    if retries:
        out["Retries"] = retries
    return out or None


def parse_network(text: str) -> tuple[str, dict[str, Any]]:
    """``--network``'s value: a name, or ``name=N,alias=A,ip=…,mac-address=…``. Raises ContainerConfigInvalid."""
    if "=" not in text:
        return text, {}
    name = ""
    out: dict[str, Any] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        key = key.strip().lower()
        if key == "name":
            name = value
        elif key in ("alias", "link-local-ip"):
            kept = "aliases" if key == "alias" else "link_local"
            out[kept] = (*out.get(kept, ()), value)
        elif key in ("ip", "ip6", "mac-address"):
            out[{"ip": "ipv4", "ip6": "ipv6"}.get(key, "mac")] = value
        elif key == "gw-priority":
            out["priority"] = priority(value)
        elif key == "driver-opt":
            out["driver_opts"] = {**out.get("driver_opts", {}), **driver_opts([value])}
        else:
            raise ContainerConfigInvalid(f"invalid field key {key} in --network: {part}")
    if not name:
        raise ContainerConfigInvalid("network name is missing in --network", hint="give it as name=NETWORK")
    return name, out


def priority(text: str) -> int:
    """Of a gateway. Raises ContainerConfigInvalid."""
    try:
        if len(text) > 12:
            raise ValueError
        return int(text)
    except ValueError as error:
        raise ContainerConfigInvalid(f"invalid gw-priority ({text}): invalid syntax") from error


def driver_opts(texts: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` of an endpoint; keys in small letters. Raises ContainerConfigInvalid."""
    out = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ContainerConfigInvalid("invalid key value pair format in driver options")
        out[key.strip().lower()] = value.strip()
    return out
