"""A stage on its way through planning: its tree, its config, its history."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.history import created_by
from boxwright.build.dockerfile.ports import parse_ports
from boxwright.build.dockerfile.signals import check_signal
from boxwright.build.graph import Vertex
from boxwright.build.scope import Scope
from boxwright.spec.config import HistoryEntry, ImageConfig
from boxwright.spec.platform import Platform
from boxwright.spec.urls import redacted
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_SHELL = ("/bin/sh", "-c")
# The order in which Docker writes a container config; more keys may follow.
_CONFIG_ORDER = (
    "Hostname",
    "Domainname",
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Healthcheck",
    "ArgsEscaped",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "OnBuild",
    "Shell",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A history entry before the build: its time comes from `vertex`, the step that makes its layer; None for a
    change of metadata."""

    created_by: str
    vertex: Vertex | None = None


@dataclass(kw_only=True)
class StageState:
    """Built up instruction by instruction, by one planner, then only read."""

    index: int
    name: str  # as steps show it
    platform: Platform
    tree: Vertex
    scope: Scope = field(default_factory=Scope)
    config: dict[str, Any] = field(default_factory=dict)
    base: ImageConfig | None = None  # of the image at the bottom
    base_name: str = ""
    parent: str = ""  # its image ID
    drafts: list[Draft] = field(default_factory=list)
    author: str = ""
    shell: tuple[str, ...] = DEFAULT_SHELL
    own_cmd: bool = False  # CMD was set in this stage
    prefix: str = ""  # before the text of steps: triggers of the base say ONBUILD
    position: int = 0
    total: int = 0
    _own: set[str] = field(default_factory=set)  # keys of the config whose maps are this stage's alone

    @property
    def workdir(self) -> str:
        return str(self.config.get("WorkingDir") or "/")

    @property
    def user(self) -> str:
        return str(self.config.get("User") or "")

    def take_image(self, config: ImageConfig) -> None:
        """Start from an image's config."""
        self.base = config
        self.config = {k: v for k, v in config.config.items() if k != "OnBuild"}
        self.author = config.author
        self.shell = tuple(map(str, config.config.get("Shell") or DEFAULT_SHELL))
        self.scope.add_image_env(list(config.env))
        self.config["Env"] = [f"{k}={v}" for k, v in self.scope.env.items()]

    def take_scratch(self) -> None:
        """Start from nothing."""
        self.scope.add_image_env([])
        self.config = {"Env": [f"{k}={v}" for k, v in self.scope.env.items()], "WorkingDir": "/"}

    def take_stage(self, other: StageState) -> None:
        """Start from what another stage ended with."""
        self.tree, self.base, self.base_name, self.parent = (
            other.tree,
            other.base,
            other.base_name,
            other.parent,
        )
        self.scope = other.scope.fork()
        self.config = {k: v for k, v in other.config.items() if k != "OnBuild"}
        self.drafts = list(other.drafts)
        self.author, self.shell = other.author, other.shell

    def final_config(
        self, labels: Mapping[str, str], unset_env: Collection[str] = (), unset_labels: Collection[str] = ()
    ) -> dict[str, Any]:
        """The container config, keys in Docker's order, `labels` last and winning; without these variables and
        labels."""
        config = {**self.config, "Env": [f"{k}={v}" for k, v in self.scope.env.items()]}
        if labels:
            config["Labels"] = {**(config.get("Labels") or {}), **labels}
        if unset_env:
            config["Env"] = [one for one in config.get("Env") or () if one.partition("=")[0] not in unset_env]
        if unset_labels:
            kept = {k: v for k, v in (config.get("Labels") or {}).items() if k not in unset_labels}
            config["Labels"] = kept or None
        ordered = {key: config[key] for key in _CONFIG_ORDER if key in config}
        return {**ordered, **{k: v for k, v in config.items() if k not in ordered}}

    def base_history(self) -> tuple[HistoryEntry, ...]:
        return self.base.history if self.base is not None else ()

    def note(self, step: ins.Instruction, vertex: Vertex | None = None) -> None:
        """Add the history entry of an expanded instruction, if it has one; a `vertex` makes it one with a layer.

        To be called before the instruction changes the shell or the working directory.
        """
        declared = self.scope.declared().items() if isinstance(step, ins.Run) else ()
        text = created_by(step, shell=self.shell, build_args=declared, workdir=self.workdir)
        if text is not None:
            self.drafts.append(Draft(redacted(text), vertex))  # everybody who has the image reads it

    # --- instructions that change nothing but the config ---------------------------------------

    def apply(self, step: ins.Instruction) -> bool:
        """Apply an expanded metadata instruction; False when it is none. Raises DockerfileError."""
        match step:
            case ins.Env():
                for pair in step.pairs:
                    self.scope.set_env(pair.key, pair.value)
            case ins.Label():
                self._keyed("Labels").update((p.key, p.value) for p in step.pairs)
            case ins.User():
                self.config["User"] = step.user
            case ins.Expose():
                self._keyed("ExposedPorts").update((p, {}) for p in parse_ports(step.words))
            case ins.VolumePaths():
                self._keyed("Volumes").update((p, {}) for p in step.paths)
            case ins.Cmd() | ins.Entrypoint():
                self._command(step)
            case ins.Shell():
                self.config["Shell"] = list(step.args)
            case ins.StopSignal():
                check_signal(step.signal)
                self.config["StopSignal"] = step.signal
            case ins.HealthCheck():
                self._healthcheck(step)
            case ins.OnBuild():
                self.config.setdefault("OnBuild", []).append(step.expression)  # no stage inherits them
            case ins.Maintainer():
                self.author = step.author
            case _:
                return False
        self.note(step)
        if isinstance(step, ins.Shell):
            self.shell = step.args
        return True

    def _keyed(self, key: str) -> dict[str, Any]:
        """The map under a key of the config, to be changed: what came from below is another's, and copied once."""
        if key not in self._own:
            self._own.add(key)
            self.config[key] = dict(self.config.get(key) or {})
        found: dict[str, Any] = self.config[key]
        return found

    def _command(self, step: ins.Cmd | ins.Entrypoint) -> None:
        argv = list(ins.argv(step, self.shell))
        if isinstance(step, ins.Cmd):
            self.config["Cmd"] = argv
            self.config["ArgsEscaped"] = True
            self.own_cmd = True
        else:
            self.config["Entrypoint"] = argv or None
            if not self.own_cmd:
                self.config.pop("Cmd", None)

    def _healthcheck(self, step: ins.HealthCheck) -> None:
        values = (
            ("Interval", step.interval),
            ("Timeout", step.timeout),
            ("StartPeriod", step.start_period),
            ("StartInterval", step.start_interval),
            ("Retries", step.retries),
        )
        self.config["Healthcheck"] = {
            "Test": list(step.test),
            **{key: value for key, value in values if value},
        }
