"""The instructions of a Dockerfile as frozen values: what they say, before anything is done.

Texts are as written until `substitute.expand_instruction` has replaced variables and removed quotes.
Every value knows the lines that it came from and its original text (continuation lines joined).
"""

from __future__ import annotations

from boxwright.build.dockerfile.errors import SourceRange
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A `<<NAME` and its lines. `expand` is false when any part of the delimiter was quoted."""

    name: str
    content: str  # as written, with its line ends
    expand: bool = True
    chomp: bool = False  # written `<<-`: leading tabs go
    fd: int = 0

    @property
    def text(self) -> str:
        """The content as it is meant: without leading tabs where `<<-` asked for that."""
        if not self.chomp:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


_NOWHERE = SourceRange(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all instructions have. `comments` are the comment lines directly above, without `#`."""

    name: ClassVar[str] = ""
    original: str = ""
    location: SourceRange = _NOWHERE
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyValue:
    """`key=value` of ENV and LABEL. `legacy` marks the form without `=`."""

    key: str
    value: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class ArgValue:
    """One name of an ARG; `default` is None when there is no `=`."""

    key: str
    default: str | None = None
    comment: str = ""  # what a comment line `# NAME text` above says of it


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """FROM. `image` may be a stage, an image or `scratch`; `stage` is lower case, '' when unnamed."""

    name: ClassVar[str] = "FROM"
    image: str
    stage: str = ""
    platform: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """RUN --mount. `raw` is the flag as written; the rest is final only after expansion.

    `mode` 0o… , `uid`, `gid` are None when not given, `size` is in bytes (tmpfs), `id` is '' when not
    given (see `secret_id` and `cache_id`).
    """

    raw: str
    type: Literal["bind", "cache", "tmpfs", "secret", "ssh"] = "bind"
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    sharing: Literal["shared", "private", "locked"] = "shared"
    readonly: bool = True
    required: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int = 0
    env: str | None = None  # secret as an environment variable of this name

    @property
    def secret_id(self) -> str:
        """The name under which the secret or ssh agent is looked for."""
        if self.type == "ssh":
            return self.id or self.source or "default"
        return self.id or self.source or self.target.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Device:
    """RUN --device: a CDI device name."""

    name: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Instruction):
    """Something with a command line. `shell_form`: `args` is one text for the SHELL; else an argv."""

    args: tuple[str, ...] = ()
    shell_form: bool = True
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Command):
    """RUN. `run_command` gives what is really executed."""

    name: ClassVar[str] = "RUN"
    mounts: tuple[RunMount, ...] = ()
    network: Literal["default", "none", "host"] = "default"
    security: Literal["sandbox", "insecure"] = "sandbox"
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A file whose content stands in the Dockerfile."""

    path: str
    data: str
    expand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """COPY. `contents` are heredoc sources (mode 0644); `sources` and `contents` are never both empty."""

    name: ClassVar[str] = "COPY"
    sources: tuple[str, ...] = ()
    contents: tuple[InlineFile, ...] = ()
    dest: str = ""
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    """ADD. `unpack` is None when not given: local archives are unpacked, downloads are not."""

    name: ClassVar[str] = "ADD"
    sources: tuple[str, ...] = ()
    contents: tuple[InlineFile, ...] = ()
    dest: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    keep_git_dir: bool | None = None
    checksum: str = ""
    unpack: bool | None = None
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    name: ClassVar[str] = "WORKDIR"
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    name: ClassVar[str] = "ENV"
    pairs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    name: ClassVar[str] = "LABEL"
    pairs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    name: ClassVar[str] = "ARG"
    args: tuple[ArgValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    name: ClassVar[str] = "USER"
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE. `words` as written; after expansion the split words. `ports.parse_ports` reads them."""

    name: ClassVar[str] = "EXPOSE"
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePaths(Instruction):
    """VOLUME: directories of the image that a container gets volumes at."""

    name: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Command):
    name: ClassVar[str] = "CMD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Command):
    name: ClassVar[str] = "ENTRYPOINT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    name: ClassVar[str] = "SHELL"
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """STOPSIGNAL. `signals.check_signal` says whether it names one, after expansion."""

    name: ClassVar[str] = "STOPSIGNAL"
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck(Instruction):
    """HEALTHCHECK. `test` as the image config has it; durations in nanoseconds, 0 = not given."""

    name: ClassVar[str] = "HEALTHCHECK"
    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """ONBUILD. `expression` is what the config stores: the text of the instruction, heredocs included."""

    name: ClassVar[str] = "ONBUILD"
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    name: ClassVar[str] = "MAINTAINER"
    author: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and what follows it, up to the next. `index` counts from 0; `name` is '' when unnamed."""

    index: int
    from_: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        return self.from_.stage

    @property
    def location(self) -> SourceRange:
        return self.from_.location


def argv(command: Command, shell: tuple[str, ...] = ("/bin/sh", "-c")) -> tuple[str, ...]:
    """What CMD or ENTRYPOINT put into the config: exec form as it is, else behind the SHELL in force."""
    return (*shell, " ".join(command.args)) if command.shell_form else command.args
