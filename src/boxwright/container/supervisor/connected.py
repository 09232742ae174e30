"""A container's network beside its processes: its namespace, the ports that we hand on ourselves, and its rules in the
host's firewall, which are made again when another program removes them.

Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import select
import time

from boxwright.network import bridge, firewall, zones
from boxwright.network.namespace import NetworkNamespace
from boxwright.network.removals import Removals
from boxwright.network.values import Unfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from boxwright.container.job import RestartChange
    from boxwright.container.supervisor.loop import Loop
    from boxwright.network.plan import Endpoint, NetworkPlan

_NAMESPACE_FD = 60  # where the runtime finds the network namespace: /proc/<supervisor>/fd/60
_FIRST_DELAY, _LAST_DELAY = 1.0, 60.0  # seconds from a removal to our answer, doubling …
_QUIET = 120.0  # … unless so many have passed since the last answer: two programs are not to fight


class Connected:
    """The network of one container: `namespace` is its own, `firewall` the host's."""

    def __init__(
        self,
        loop: Loop,
        plan: NetworkPlan,
        *,
        namespace: NetworkNamespace | None = None,
        firewall: HostFirewall | None = None,
    ) -> None:
        self._loop, self._plan = loop, plan
        self._namespace = namespace or NetworkNamespace(plan, _NAMESPACE_FD)
        self._relays: Any = None
        self._rules = KeptRules(loop, plan, firewall=firewall or HostFirewall(plan))

    def up(self) -> None:
        """Build it. Raises OSError; what was built until then is for `close`."""
        self._rules.watch()
        self._namespace.up()
        self._relay()

    def hold(self, pid: int, named: Sequence[str]) -> None:
        """Instead of `up`: a process has it, with names registered on the networks `named` (ids). Raises OSError."""
        self._rules.watch()
        self._rules.mend()  # nothing minded them since its supervisor was killed
        self._namespace.hold(pid, named)
        self._relay()

    def _relay(self) -> None:
        if self._plan.relayed:
            from boxwright.container.supervisor.relay import Relays

            self._relays = Relays(self._loop, self._plan.relayed)

    def change(self, change: RestartChange) -> None:
        """Networks were joined or left."""
        if change.name_server is not None:
            self._namespace.also_named(change.name_server, change.named)
        if change.joined is not None:
            self._rules.join(change.joined)
        if change.networks is not None:
            self._rules.keep({shown["id"] for shown in change.networks.values()})

    def close(self) -> None:
        """Idempotent."""
        self._rules.close()
        if self._relays is not None:
            self._relays.close()
        self._namespace.down()


class HostFirewall:
    """What one container needs of the host's firewall."""

    def __init__(self, plan: NetworkPlan) -> None:
        self._plan = plan

    def removals(self) -> Removals | None:
        """A new watch for rules that are removed; None where nothing tells of them."""
        try:
            return Removals() if firewall.told() else None
        except OSError:  # a kernel without nftables
            return None

    def mend(self, endpoints: Sequence[Endpoint]) -> bool:
        """Make again what is missing of the rules of these networks and of the container's ports; whether anything was
        made. Raises OSError, Unfit."""
        plan = self._plan
        mended = bridge.mend([endpoint.plumbing() for endpoint in endpoints], plan.lock)
        if plan.forwarded:
            mended |= bridge.publish_again(plan.forwarded, plan.id, plan.lock)
        return mended


class KeptRules:
    """Those of one container and of its networks in the host's `firewall`, watched until `close`. `clock` counts
    seconds."""

    def __init__(
        self,
        loop: Loop,
        plan: NetworkPlan,
        *,
        firewall: HostFirewall,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop, self._plan = loop, plan
        self._firewall, self._clock = firewall, clock
        self._endpoints = [endpoint for endpoint in plan.endpoints if endpoint.driver == "bridge"]
        self._removals: Removals | None = None
        self._timer = 0
        self._delay, self._mended = _FIRST_DELAY, 0.0

    def watch(self) -> None:
        """Begin, unless there is nothing to mind, or nothing tells. Idempotent."""
        if self._removals is not None or not self._endpoints:
            return
        self._removals = self._firewall.removals()
        if self._removals is not None:
            self._loop.watch(self._removals.fileno(), select.EPOLLIN, self._removed)

    def join(self, endpoint: Endpoint) -> None:
        """Mind the rules of its network, too."""
        if endpoint.driver == "bridge":
            self._endpoints.append(endpoint)
            self.watch()

    def keep(self, networks: set[str]) -> None:
        """Mind those of these networks (ids) alone."""
        self._endpoints = [endpoint for endpoint in self._endpoints if endpoint.id in networks]

    def _removed(self, events: int) -> None:
        assert self._removals is not None
        tags = firewall.tags([endpoint.id for endpoint in self._endpoints], self._plan.id)
        if self._removals.named([*tags, zones.TELLS]) and not self._timer:
            # Not at once: what was removed may be followed by what is loaded instead.
            self._timer = self._loop.after(self._delay, self.mend)

    def mend(self) -> None:
        """Make again what is missing; later and later, while that fails."""
        self._timer = 0
        try:
            mended = self._firewall.mend(self._endpoints)
        except (OSError, Unfit):  # the firewall is being changed, or iptables was removed
            self._delay = min(self._delay * 2, _LAST_DELAY)
            self._timer = self._loop.after(self._delay, self.mend)
            return
        if mended:
            now = self._clock()
            often = self._mended and now - self._mended < _QUIET
            self._delay = min(self._delay * 2, _LAST_DELAY) if often else _FIRST_DELAY
            self._mended = now

    def close(self) -> None:
        """Idempotent."""
        if self._timer:
            self._loop.cancel(self._timer)
            self._timer = 0
        if self._removals is not None:
            self._loop.forget(self._removals.fileno())
            self._removals.close()
            self._removals = None
        self._endpoints = []
