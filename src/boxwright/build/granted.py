"""What a request grants its build, read once into values: limits, entitlements, secrets, times, the form of images."""

from __future__ import annotations

from boxwright.build.fields import RequestInvalid
from boxwright.build.ops.context import DevicesAllowed, Sandbox
from boxwright.build.ops.exec import StepLimits
from boxwright.build.outputs import LOCAL_DELETE, ImageForm
from boxwright.build.request import BuildRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from boxwright.image.services import Services
    from boxwright.runtime.userns import Subordinate
    from boxwright.spec.platform import Platform

ENTITLEMENTS = frozenset(("network.host", "security.insecure"))  # what RUN may be allowed


def sandbox_of(services: Services, request: BuildRequest) -> Sandbox:
    """What RUN steps get beside their definition."""
    from boxwright.build.scope import PROXY_NAMES, both_spellings

    settings = services.settings
    trust = request.trust_host_ca
    if trust is None:
        trust = settings.trust_host_ca == "always" or (
            settings.trust_host_ca == "auto" and settings.host_ca_named
        )
    given = {n: v for n, v in request.build_args.items() if n in PROXY_NAMES}
    proxies = {**both_spellings(settings.proxies), **both_spellings(given)}
    return Sandbox(
        proxies=proxies,
        secrets={s.id: s for s in request.secrets},
        trust_host_ca=trust,
        untrusted=request.untrusted,
        devices=devices_allowed(request),
        users=_users(request.userns),
    )


def entitlements(request: BuildRequest) -> frozenset[str]:
    """What RUN lines may ask for; ``--network=host`` grants itself. Raises RequestInvalid."""
    allowed = {name for name in request.allow if name and not _names_device(name)}
    if unknown := allowed - ENTITLEMENTS - {LOCAL_DELETE}:
        raise RequestInvalid(
            f"unknown entitlement {min(unknown)}",
            hint=f"known are network.host, security.insecure, device[=NAME] and {LOCAL_DELETE}",
        )
    if request.network == "host":
        allowed.add("network.host")
    if request.untrusted and (allowed or any(map(_names_device, request.allow))):
        raise RequestInvalid(f"an untrusted build is not allowed {min(allowed or ['device'])}")
    return frozenset(allowed)


def _names_device(text: str) -> bool:
    return text == "device" or text.startswith("device=")


def devices_allowed(request: BuildRequest) -> DevicesAllowed:
    """``device``, ``device=NAME``, ``device=NAME,alias=WORD`` of the entitlements. Raises RequestInvalid."""
    texts = [text for text in request.allow if _names_device(text)]
    aliases: dict[str, str] = {}
    names: set[str] = set()
    for text in texts:
        name, *options = text.partition("=")[2].split(",")
        for option in options:
            key, _, value = option.partition("=")
            if key != "alias" or not value:
                raise RequestInvalid(f"unknown device config key {key!r}", hint="device=NAME[,alias=WORD]")
            aliases[value] = name
        names |= {name} - {""}
    return DevicesAllowed("device" in texts or "device=" in texts, frozenset(names), aliases)


def _users(userns: str) -> Subordinate | None:
    if userns == "host":
        return None
    if userns != "auto":
        raise RequestInvalid(f"invalid user namespace {userns!r}", hint="host or auto")
    from boxwright.runtime.userns import subordinate

    return subordinate()


def limits_of(request: BuildRequest) -> StepLimits:
    """The limits of RUN steps. Raises LimitInvalid, RequestInvalid."""
    if not 0 <= request.cpus < float("inf"):  # nor what is no number
        raise RequestInvalid(f"invalid number of CPUs: {request.cpus}")
    limits = StepLimits(
        memory=request.memory,
        memory_swap=request.memory_swap,
        nano_cpus=round(request.cpus * 1_000_000_000),
        cpu_shares=request.cpu_shares,
        cpu_period=request.cpu_period,
        cpu_quota=request.cpu_quota,
        cpuset_cpus=request.cpuset_cpus,
        cpuset_mems=request.cpuset_mems,
        cgroup_parent=request.cgroup_parent,
    )
    if limits.definition():
        from boxwright.runtime.host import check_cpusets

        limits.resources()
        check_cpusets(limits.cpuset_cpus, limits.cpuset_mems)
    if request.ulimits:
        from boxwright.spec.runtimespec import parse_limits, rlimits

        rlimits(parse_limits(request.ulimits))
    return limits


def asked_twice(platforms: Sequence[Platform]) -> list[str]:
    """What BuildKit says of platforms that a request names again."""
    again = dict.fromkeys(one for one in platforms if platforms.count(one) > 1)
    return [f'Duplicate platform result requested "{one}"' for one in again]


def form_of(request: BuildRequest, epoch: int | None) -> ImageForm:
    """The form that images have where an output does not say another. Raises RequestInvalid."""
    if request.squash not in ("", "new", "all"):
        raise RequestInvalid(f"invalid squash {request.squash!r}", hint="new or all")
    exactly = request.timestamp is not None
    return ImageForm(
        epoch=epoch,
        rewrite=request.rewrite_timestamp or exactly,
        exactly=exactly,
        artifact_attestations=request.artifact_attestations,
    )


def new_ref() -> str:
    """A name for one build: 25 letters and digits, as buildx has it."""
    import os

    digits, number = "0123456789abcdefghijklmnopqrstuvwxyz", int.from_bytes(os.urandom(16), "big")
    out = ""
    for _ in range(25):
        number, digit = divmod(number, 36)
        out += digits[digit]
    return out
