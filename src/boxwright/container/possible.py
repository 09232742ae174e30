"""Which limits this host's cgroups can keep: a controller may be missing from the kernel, from the hierarchy that is
mounted at /sys/fs/cgroup, or from its version. Docker's engine takes such a limit out and warns; so does the command
line, and `hostside.check_limits` refuses what another caller did not take out."""

from __future__ import annotations

from boxwright.container.config import ContainerConfigInvalid, Limits
from boxwright.runtime import host as kernel
from boxwright.spec.values import replace

_ABSENT = "or the cgroup is not mounted."
# Fields, the controller, and what Docker says.
_BY_CONTROLLER = (
    (("memory", "memory_swap"), "memory", f"memory limit capabilities {_ABSENT} Limitation discarded."),
    (("memory_reservation",), "memory", f"memory soft limit capabilities {_ABSENT} Limitation discarded."),
    (("pids_limit",), "pids", f"PIDs limit capabilities {_ABSENT} PIDs limit discarded."),
    (("cpu_shares",), "cpu", f"CPU shares {_ABSENT} Shares discarded."),
    (("cpu_period", "cpu_quota"), "cpu", "CPU CFS scheduler. CPU period/quota discarded."),
    (("cpuset_cpus", "cpuset_mems"), "cpuset", f"cpuset {_ABSENT} Cpuset discarded."),
    (
        ("device_read_bps",),
        "blkio",
        f"BPS Block I/O read limit {_ABSENT} Block I/O BPS read limit discarded.",
    ),
    (
        ("device_write_bps",),
        "blkio",
        f"BPS Block I/O write limit {_ABSENT} Block I/O BPS write limit discarded.",
    ),
    (("device_read_iops",), "blkio", f"IOPS Block read limit {_ABSENT} Block I/O IOPS read limit discarded."),
    (
        ("device_write_iops",),
        "blkio",
        f"IOPS Block write limit {_ABSENT} Block I/O IOPS write limit discarded.",
    ),
)
_NONE = Limits()


def possible(limits: Limits) -> tuple[Limits, tuple[str, ...]]:
    """The limits without those that cannot be kept here, and a sentence for each of these. Raises
    ContainerConfigInvalid for `nano_cpus`, as Docker does."""
    if limits == _NONE:
        return limits, ()
    lacking: list[tuple[tuple[str, ...], str]] = [
        (fields, what)
        for fields, controller, what in _BY_CONTROLLER
        if _asked(limits, fields) and not kernel.has_controller(controller)
    ]
    if limits.nano_cpus and not kernel.has_controller("cpu"):
        raise ContainerConfigInvalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
            hint="leave out --cpus, or mount the cpu controller",
        )
    if limits.blkio_weight and not kernel.weighs_io():
        lacking.append((("blkio_weight",), f"Block I/O weight {_ABSENT} Weight discarded."))
    if limits.blkio_weight_device and not kernel.weighs_devices():
        lacking.append(
            (("blkio_weight_device",), f"Block I/O weight_device {_ABSENT} Weight-device discarded.")
        )
    if limits.memory_swappiness != -1 and not kernel.has_old_memory():
        lacking.append(
            (("memory_swappiness",), f"memory swappiness capabilities {_ABSENT} Memory swappiness discarded.")
        )
    if limits.oom_kill_disable and not kernel.has_old_memory():
        lacking.append((("oom_kill_disable",), "OomKillDisable. OomKillDisable discarded."))
    gone = {field: getattr(_NONE, field) for fields, _ in lacking for field in fields}
    return replace(limits, **gone), tuple(f"Your kernel does not support {what}" for _, what in lacking)


def _asked(limits: Limits, fields: tuple[str, ...]) -> bool:
    return any(getattr(limits, field) != getattr(_NONE, field) for field in fields)
