"""What planning is told: what the caller decides, and the base images that it asks for."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.build.named import NamedContexts
from boxwright.build.ops.exec import StepLimits
from boxwright.spec.config import ImageConfig
from boxwright.spec.platform import Platform, host
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object  # what it is for is checked before it runs


@dataclass(frozen=True, slots=True)
class Base:
    """A base image as planning needs it. `name` is normalised, `digest` that of the platform's manifest."""

    name: str
    digest: str
    config: ImageConfig
    image_id: str = ""  # digest of the config as it is stored
    pinned: str = ""  # the name by which exactly this image can be pulled


def pinned(base: Base) -> str:
    """What a base is called, with the digest that it is."""
    return base.name if base.name.endswith(base.digest) else f"{base.name}@{base.digest}"


class Bases(Protocol):
    """Finds base images."""

    def image(self, name: str, platform: Platform) -> Base:
        """The image of this name for a platform; its layers need not be here. Raises NotFound and what a registry
        raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What the caller decides, beside the Dockerfile."""

    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: Platform = field(default_factory=host)
    show_platform: bool = False  # in the names of steps: builds for several platforms
    network: str = "default"
    hostname: str = "buildkitsandbox"
    hosts: tuple[tuple[str, str], ...] = ()  # name, address
    ulimits: tuple[str, ...] = ()
    shm_size: int = 0
    limits: StepLimits = StepLimits()
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    epoch: int | None = None
    contexts: NamedContexts = NamedContexts()
    entitlements: frozenset[str] = frozenset()  # what RUN may ask for: security.insecure, network.host
    keep_times: frozenset[str] = frozenset()  # contexts by key whose times are no accident of the checkout
    inherit_labels: bool = True  # of base images and stages
    unset_env: tuple[str, ...] = ()  # what the image does not get
    unset_labels: tuple[str, ...] = ()
    project: str = ""  # names what is built, for `why`
