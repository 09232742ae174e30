"""What an operation is given while it runs: the store and its layers, views of trees, the context, secrets, its log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from boxwright.build.graph import Tree, Vertex
from boxwright.build.progress import Emit, StepLog, StepStatus
from boxwright.build.shared import Shared
from boxwright.errors import Cancelled, Invalid, NotFound
from boxwright.spec.digest import DiffID
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from boxwright.build.context.filetree import FileTree
    from boxwright.content.lease import Lease
    from boxwright.image.services import Services
    from boxwright.layer.store import Layer
    from boxwright.layer.view import LayersView
    from boxwright.runtime.userns import Subordinate


class SecretMissing(NotFound):
    """A step requires a secret or an agent that the build was not given, or that cannot be read."""


class ContextAbsent(Invalid):
    """A step wants files of the context, and the build was started with a Dockerfile alone."""


EPOCH = 315532800  # 1980-01-01T00:00:00Z: zip files cannot say less


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of the build, read when a step asks for it: from a file, or from a value of the environment."""

    id: str
    path: Path | None = None
    value: bytes | None = None

    def read(self) -> bytes:
        """Its content. Raises SecretMissing."""
        if self.value is not None:
            return self.value
        try:
            assert self.path is not None
            return self.path.read_bytes()
        except OSError as error:
            raise SecretMissing(
                f"secret {self.id}: cannot read {self.path}: {(error.strerror or '').lower()}"
            ) from error


@dataclass(frozen=True, slots=True)
class AgentSocket:
    """An agent that listens. `raw`: what a step says reaches it as it is."""

    path: Path
    raw: bool = False


@dataclass(frozen=True, slots=True)
class DevicesAllowed:
    """Which CDI devices RUN steps may have (``--allow device``): all, or those of these names and kinds. `aliases` are
    names that a Dockerfile may use for them."""

    all: bool = False
    names: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()  # where specifications are; none = the usual ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What RUN steps get that no key, image or history shows."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ssh: Mapping[str, AgentSocket] = field(default_factory=dict)  # by id
    trust_host_ca: bool = False
    untrusted: bool = (
        False  # the Dockerfile is not the user's own: nothing reaches this machine by its network
    )
    devices: DevicesAllowed = DevicesAllowed()
    users: Subordinate | None = None  # whom a step's users are on the host; None: root is the host's root


def _nothing(count: int) -> None:
    """Progress that is not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Given to what selects and runs for one vertex."""

    vertex: Vertex
    services: Services
    lease: Lease | None
    emit: Emit
    cancel: threading.Event
    sandbox: Sandbox
    contexts: Mapping[str, FileTree]  # '' is the build context; others are named local ones
    fetch: Callable[[Sequence[DiffID], StepContext], None]  # brings missing layers of bases
    shared: Shared = field(default_factory=Shared)
    context_read: Callable[[int], None] = _nothing  # hears how many bytes of the context a step selects
    began: float = field(default_factory=time.monotonic)

    def log(self, stream: int, data: bytes) -> None:
        """Show output of the step."""
        self.emit(StepLog(step=self.vertex.id, stream=stream, data=data, at=time.monotonic() - self.began))

    def status(self, what: str, current: int = 0, total: int = 0, *, done: bool = False) -> None:
        """Show how far a named part of the step is."""
        self.emit(StepStatus(step=self.vertex.id, id=what, current=current, total=total, done=done))

    def context(self, name: str = "") -> FileTree:
        """The build context, or a named local one. Raises ContextAbsent."""
        if name not in self.contexts:
            raise ContextAbsent(
                "the build has no context to copy from", hint="give a directory instead of a lone Dockerfile"
            )
        return self.contexts[name]

    def check(self) -> None:
        """Stop here when the build was cancelled. Raises Cancelled."""
        if self.cancel.is_set():
            raise Cancelled("the build was cancelled")

    def ensure(self, tree: Tree) -> None:
        """Make sure that the tree's layers are here: pull the base they come from. Raises what a pull raises."""
        if missing := self.services.layers.missing(tree.layers):
            self.fetch(missing, self)

    def view(self, tree: Tree) -> LayersView:
        """The merged tree, to be read without mounting it."""
        from boxwright.layer.store import LayerMissing

        views, store = self.shared.views, self.services.layers
        try:
            return views.of(tree.layers, store)
        except LayerMissing:
            self.ensure(tree)
            return views.of(tree.layers, store)

    def keep(self, publish: Callable[[], Layer]) -> Layer:
        """Publish a layer so that the collector cannot take it before it is held by the build's lease. Its files are
        durable; its row will be with the record of the step, which comes next."""
        assert self.lease is not None
        with self.services.store.committing(), self.services.db.synced_later():
            layer = publish()
            self.lease.hold("layer", layer.diff_id)
        self.shared.views.held([layer.diff_id])
        return layer

    def hold_workspace(self, key: str) -> None:
        """Own a workspace: it goes when this process dies."""
        assert self.lease is not None
        self.lease.hold("workspace", key)


def layer_time(epoch: int | None, below: int) -> int:
    """The modification time, in nanoseconds, that a layer's entries get: `epoch` (SOURCE_DATE_EPOCH) as it is, or
    1980 plus one second a layer below, so that what was made later is newer (make and cargo compare)."""
    return (epoch if epoch is not None else EPOCH + below) * 1_000_000_000
