"""``--filter key=value`` as Docker reads it: several values of a key are alternatives, keys must all hold.

``label`` is the exception: all of its values must hold.
"""

from __future__ import annotations

from boxwright.image.filters import FilterInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class FilterMalformed(FilterInvalid):
    """A filter without ``=``: docker/cli finds that while it parses the flags."""

    exit_code = 125


def parse_filters(texts: Iterable[str], allowed: Iterable[str] = ()) -> dict[str, list[str]]:
    """Read the values of ``--filter``. `allowed` empty means every key. Raises FilterInvalid."""
    known = sorted(allowed)
    found: dict[str, list[str]] = {}
    for text in texts:
        if not text:
            continue
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if not equals:
            raise FilterMalformed(
                f'invalid argument "{text}" for "--filter" flag: bad format of filter (expected name=value)'
            )
        if known and key not in known:
            from boxwright.spec.suggest import closest

            near = closest(key, known)
            raise FilterInvalid(
                f"invalid filter '{key}'",
                hint=f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}",
            )
        found.setdefault(key, []).append(value.strip())
    return found
