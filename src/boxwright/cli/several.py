"""Commands over several names: what fails is told as it comes, and the others go on."""

from __future__ import annotations

from boxwright.errors import BoxwrightError, Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from boxwright.cli.context import Context


class Failures:
    """Failures of one command. `code` is its exit code: 1 when there was one that is not `forgiven`. `say` prints one,
    where that is not as everywhere."""

    def __init__(
        self,
        ctx: Context,
        forgiven: type[BoxwrightError] | None = None,
        say: Callable[[BoxwrightError], None] | None = None,
    ) -> None:
        self._ctx, self._forgiven, self._say = ctx, forgiven, say
        self._kept: list[BoxwrightError] = []
        self.code = 0

    def tell(self, error: BoxwrightError) -> None:
        """Print one."""
        from boxwright.cli.report import report

        if self._say is not None:
            self._say(error)
        else:
            report(self._ctx, error)
        if self._forgiven is None or not isinstance(error, self._forgiven):
            self.code = 1

    def keep(self, error: BoxwrightError) -> None:
        """Print one at the end, behind what was done or found."""
        self._kept.append(error)

    def end(self) -> int:
        """Print those that were kept; the exit code."""
        for error in self._kept:
            self.tell(error)
        return self.code


def each(
    ctx: Context,
    names: Iterable[str],
    act: Callable[[str], str | None],
    *,
    forgiven: type[BoxwrightError] | None = None,
    failures: Failures | None = None,
) -> int:
    """Do something with every name and print the line that `act` returns: the name itself for None, nothing for ''.
    Returns the exit code; a failure that is `forgiven` is told, too, but counts as none. `failures` are the caller's,
    instead of those of one that forgives so."""
    failures = failures or Failures(ctx, forgiven)
    for name in names:
        try:
            said = act(name)
        except Cancelled:  # the others are not wanted either
            raise
        except BoxwrightError as error:
            failures.tell(error)
            continue
        line = name if said is None else said
        if line:
            ctx.out(line)
    return failures.code
