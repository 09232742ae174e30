"""Names and values at one place of a Dockerfile: ARG and ENV, global and in a stage."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.build.dockerfile.instructions import ArgValue
from boxwright.spec.config import DEFAULT_PATH
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass, field

EPOCH = "SOURCE_DATE_EPOCH"  # the latest time in what is made
PROXY_NAMES = tuple(
    n
    for key in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for n in (key, key.lower())
)


def both_spellings(proxies: Mapping[str, str]) -> dict[str, str]:
    """Proxy variables in capitals and in small letters, whichever was given: programs look at one or the other."""
    out: dict[str, str] = {}
    for name, value in proxies.items():
        for spelling in (name.upper(), name.lower()):
            if spelling == name or spelling not in proxies:
                out[spelling] = value
    return out


def platform_args(build: Platform, target: Platform, target_stage: str) -> dict[str, str]:
    """The predefined global ARGs."""
    values = {"TARGETSTAGE": target_stage or "default"}
    for prefix, p in (("BUILD", build), ("TARGET", target)):
        text = str(p)
        if prefix == "TARGET" and p.os_version:
            text = text.replace(p.os, f"{p.os}({p.os_version})", 1)
        values |= {
            f"{prefix}PLATFORM": text,
            f"{prefix}OS": p.os,
            f"{prefix}OSVERSION": p.os_version,
            f"{prefix}ARCH": p.architecture,
            f"{prefix}VARIANT": p.variant,
        }
    return values


@dataclass
class Scope:
    """What is set in a stage so far. One instruction sees the values from before it.

    `values` is what expansion and RUN see: the last of ENV and ARG wins. `env` alone goes into the image, `args`
    are the declared ARGs in order (None: declared, without a value).
    """

    values: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str | None] = field(default_factory=dict)
    from_arg: set[str] = field(default_factory=set)  # names whose value in force is an ARG's

    def lookup(self, name: str) -> str | None:
        """For expansion."""
        return self.values.get(name)

    def set_env(self, name: str, value: str) -> None:
        self.env[name] = self.values[name] = value
        self.from_arg.discard(name)

    def set_arg(self, name: str, value: str | None) -> None:
        """Declare an ARG; without a value what was set before stays."""
        self.args[name] = value
        if value is not None:
            self.values[name] = value
            self.from_arg.add(name)

    def add_image_env(self, entries: list[str], *, default_path: bool = True) -> None:
        """What a base image's config sets. Every stage has a PATH."""
        for entry in entries:
            name, _, value = entry.partition("=")
            self.set_env(name, value)
        if default_path and "PATH" not in self.env:
            self.set_env("PATH", DEFAULT_PATH)

    def declared(self) -> dict[str, str]:
        """The declared ARGs as RUN's history entry lists them: first position, value in force."""
        return {name: self.values.get(name, value or "") for name, value in self.args.items()}

    def exec_env(self) -> tuple[dict[str, str], dict[str, str]]:
        """The environment of a RUN: what ENV decides, and what ARG decides."""
        env = {n: v for n, v in self.values.items() if n not in self.from_arg}
        return env, {n: self.values[n] for n in self.values if n in self.from_arg}

    def fork(self) -> Scope:
        """The scope of a stage that is built on this one."""
        return Scope(
            values=dict(self.values), env=dict(self.env), args=dict(self.args), from_arg=set(self.from_arg)
        )


def arg_value(arg: ArgValue, build_args: Mapping[str, str], outer: Mapping[str, str]) -> str | None:
    """What an ARG of a stage comes to; `arg.default` is already expanded. `outer` are the global ARGs."""
    if arg.key in build_args:
        return build_args[arg.key]
    if arg.default is not None:
        return arg.default
    return outer.get(arg.key)
