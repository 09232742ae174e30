"""The SDK: an engine with its verbs, grouped as in Docker. The command line and the servers are its users.

Each method is one verb; the work is in the packages below. Everything is made on first use, so that
`Engine().images.list()` loads and opens only what it needs."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from boxwright.engine.services import EngineServices
from boxwright.settings import Settings, load
from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from boxwright.build.progress import Emit
    from boxwright.build.request import BuildRequest, BuildResult
    from boxwright.container.foreground import Finished
    from boxwright.container.manager import Containers
    from boxwright.engine.builds import BuildsAPI
    from boxwright.engine.images import ImagesAPI
    from boxwright.engine.networks import NetworksAPI
    from boxwright.engine.registry import RegistryAPI
    from boxwright.engine.system import SystemAPI
    from boxwright.engine.volumes import VolumesAPI


@checked
class Engine:
    """Everything that Boxwright does, on one root. Safe to share between threads; holds no lock while idle.

    An argument of another kind than its method declares raises ArgumentInvalid; one text serves where several may
    stand. `services` is what the verbs are made of; it may change between releases.
    """

    def __init__(self, root: str | Path | None = None, *, settings: Settings | None = None) -> None:
        self.settings = settings or load(root=str(root) if root is not None else None)
        self.root = self.settings.root
        self.services = EngineServices(self.settings)

    # --- the two verbs that are typed first ----------------------------------------------------

    def build(
        self, what: BuildRequest | str | Path | None = None, *, progress: Emit | None = None, **options: Any
    ) -> BuildResult:
        """Build an image: from a directory or a URL with the other fields of a request (``build(".", tags=["app"])``),
        or from a whole request.

        `progress` hears typed events (build.progress) from any thread. Raises BuildFailed (with its cause), Cancelled,
        RequestInvalid, ReferenceInvalid.
        """
        from boxwright.build.builder import build
        from boxwright.build.options import request_of
        from boxwright.build.progress import ignore
        from boxwright.build.registries import EngineRegistries
        from boxwright.build.request import BuildRequest

        request = what if isinstance(what, BuildRequest) else request_of(what, options)
        registries = EngineRegistries(lambda: self.services.transfers, self.services.images_store)
        return build(services=self.services, registries=registries, request=request, emit=progress or ignore)

    def bake(
        self,
        targets: Sequence[str] = (),
        *,
        files: Sequence[str] = (),
        set: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        allow: Sequence[str] = (),
        progress: Emit | None = None,
    ) -> dict[str, BuildResult]:
        """Build the targets of a definition (``bake``), several at once; the results by target. `targets` may begin
        with the URL of the repository, archive or file that is the definition.

        `files` are paths, none of them the usual names in the working directory; `set` are ``pattern.key=value``;
        `variables` stand before those of the environment; `allow` is what the definition may reach beyond the working
        directory. Raises DefinitionInvalid, DefinitionMissing, PrivilegesWanted, and what `build` raises.
        """
        from boxwright.bake.plan import BakeRequest, planned
        from boxwright.engine.bake import build_planned, fetched

        request = BakeRequest(
            targets=tuple(targets),
            files=tuple(files),
            overrides=tuple(set),
            variables=variables or {},
            environ=self.settings.environ,
            allow=tuple(allow),
        )
        with fetched(self.services, request, progress) as request:
            return build_planned(self.services, request, planned(request), progress=progress)

    def run(self, image: str, *command: str, input: bytes | None = None, **options: Any) -> Finished:
        """Run a command in a new container to its end; exit code and output. `options` are fields of
        `ContainerConfig`, or what the command line takes for them (``env={"A": "1"}``, ``mounts=["/a:/b"]``,
        ``ports=["8080:80"]``); the container is removed unless ``auto_remove=False``. Raises ArgumentInvalid,
        NoSuchImage, ExecutableMissing."""
        from boxwright.container.foreground import run
        from boxwright.container.given import config

        return run(self.containers, config(image, command, {"auto_remove": True, **options}), input=input)

    # --- what there is -------------------------------------------------------------------------

    @cached_property
    def images(self) -> ImagesAPI:
        """Images of this root, also from and to registries and archives."""
        from boxwright.engine.images import ImagesAPI

        return ImagesAPI(self.services)

    @property
    def containers(self) -> Containers:
        """Containers of this root."""
        return self.services.containers

    @cached_property
    def networks(self) -> NetworksAPI:
        """Networks of this root, and which containers are in them."""
        from boxwright.engine.networks import NetworksAPI

        return NetworksAPI(self.services)

    @cached_property
    def volumes(self) -> VolumesAPI:
        """Volumes of this root."""
        from boxwright.engine.volumes import VolumesAPI

        return VolumesAPI(self.services)

    @cached_property
    def registry(self) -> RegistryAPI:
        """Registries: accounts, and what lies there."""
        from boxwright.engine.registry import RegistryAPI

        return RegistryAPI(self.services)

    @cached_property
    def builds(self) -> BuildsAPI:
        """What builds left: the cache."""
        from boxwright.engine.builds import BuildsAPI

        return BuildsAPI(self.services)

    @cached_property
    def system(self) -> SystemAPI:
        """The root as a whole."""
        from boxwright.engine.system import SystemAPI

        return SystemAPI(self.services)
