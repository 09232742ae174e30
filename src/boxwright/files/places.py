"""Where everything under ROOT lies.

docs/architecture.md ("On disk") draws the tree, and a test holds the two to each other. Names of locks are in `locks`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class Places:
    """The paths under one root. Nothing is looked at or made."""

    __slots__ = ("root",)

    def __init__(self, root: Path) -> None:
        self.root = root

    # --- what other tools read ---------------------------------------------------------------------

    @property
    def layout(self) -> Path:
        """That ROOT is an OCI layout, and a store: the first file that is made, the last that is removed."""
        return self.root / "oci-layout"

    @property
    def index(self) -> Path:
        """The names, for other tools."""
        return self.root / "index.json"

    @property
    def blobs(self) -> Path:
        """Of every algorithm."""
        return self.root / "blobs"

    def blobs_of(self, algorithm: str) -> Path:
        """A directory of blobs by hex digest."""
        return self.root / "blobs" / algorithm

    def blob(self, algorithm: str, hexed: str) -> Path:
        """A file of bytes named by digest."""
        return self.root / "blobs" / algorithm / hexed

    # --- rows --------------------------------------------------------------------------------------

    @property
    def database(self) -> Path:
        """All rows; SQLite's own files lie beside it."""
        return self.root / "boxwright.db"

    @property
    def reserve(self) -> Path:
        """Space for a full disk."""
        return self.root / "reserve"

    # --- bytes and trees ---------------------------------------------------------------------------

    @property
    def ingests(self) -> Path:
        """Downloads on their way in, and notes of uploads."""
        return self.root / "ingest"

    def ingest(self, key: str) -> Path:
        """One of them."""
        return self.root / "ingest" / key

    @property
    def layers(self) -> Path:
        """Layers by diff ID."""
        return self.root / "layers"

    def layer(self, algorithm: str, hexed: str) -> Path:
        """One of them: a directory."""
        return self.root / "layers" / f"{algorithm}-{hexed}"

    @property
    def mounts(self) -> Path:
        """Layers that are mounted, and the locks for that."""
        return self.root / "mounts"

    def mount(self, algorithm: str, hexed: str) -> Path:
        """Where a layer's index is mounted."""
        return self.root / "mounts" / f"{algorithm}-{hexed}"

    @property
    def workspaces(self) -> Path:
        """Trees in use."""
        return self.root / "work"

    def workspace(self, key: str) -> Path:
        """One of them."""
        return self.root / "work" / key

    @property
    def trash(self) -> Path:
        """What is about to be deleted."""
        return self.root / "trash"

    # --- containers --------------------------------------------------------------------------------

    @property
    def containers(self) -> Path:
        """What supervisors write."""
        return self.root / "containers"

    def container(self, identity: str) -> Path:
        """A container's directory."""
        return self.containers / identity

    @property
    def volumes(self) -> Path:
        """Volumes by name."""
        return self.root / "volumes"

    def volume(self, name: str) -> Path:
        """A volume's directory; its content is below in ``_data``."""
        return self.volumes / name

    # --- builds ------------------------------------------------------------------------------------

    @property
    def events(self) -> Path:
        """What happened (`content.journal`)."""
        return self.root / "events"

    @property
    def builds(self) -> Path:
        """Logs of builds."""
        return self.root / "builds"

    def build_log(self, identity: str) -> Path:
        """Everything that a build told, a line an event."""
        return self.root / "builds" / f"{identity}.jsonl"

    # --- what is found out again -------------------------------------------------------------------

    @property
    def cache(self) -> Path:
        """All caches of builds."""
        return self.root / "cache"

    @property
    def context_digests(self) -> Path:
        """Digests of context files."""
        return self.root / "cache" / "context"

    @property
    def downloads(self) -> Path:
        """What is remembered of ADD's downloads."""
        return self.root / "cache" / "http"

    @property
    def builders(self) -> Path:
        """Names that were given to the builder, each a file."""
        return self.root / "builders"

    @property
    def cache_mounts(self) -> Path:
        """``RUN --mount=type=cache``."""
        return self.root / "cache" / "mounts"

    @property
    def step_locks(self) -> Path:
        """Locks of build steps."""
        return self.root / "locks"

    @property
    def network_lock(self) -> Path:
        """`locks.NETWORK`; those of janitors begin with its name."""
        return self.root / "network.lock"

    @property
    def driver(self) -> Path:
        """Which snapshot driver the host can use."""
        return self.root / "driver.json"

    def runtime(self, wanted: str = "") -> Path:
        """What was found out of the runtime that is wanted, or of the first that works."""
        return self.root / (f"cache/runtime-{wanted}.json" if wanted else "runtime.json")

    @property
    def manifest_lists(self) -> Path:
        """Manifest lists that were created and not pushed."""
        return self.root / "manifest-lists"

    @property
    def registry(self) -> Path:
        """The storage of ``registry serve``, unless it is told another."""
        return self.root / "registry"
