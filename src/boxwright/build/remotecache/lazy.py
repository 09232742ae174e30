"""An image whose layers never come here: with ``--push`` alone, layers that are in a registry's cache go from there to
their name in the same registry, copied by the registry itself (a mount), and only config and manifests are sent.

Such an image is in its registry and not in the store, where an image has all of its layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.build.outputs import ImageForm, ImageOutput
from boxwright.spec.compression import layer_type
from boxwright.spec.reference import Reference
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.outputs import Wanted
    from boxwright.build.remotecache.imports import Imports
    from boxwright.layer.store import LayerStore
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import DiffID


def left_there(
    imports: Imports | None, wanted: Wanted, layers: LayerStore, stacks: Sequence[Sequence[DiffID]]
) -> dict[DiffID, Descriptor]:
    """The layers of the results that are not here, if they need not come for any of the outputs; else none."""
    names = {name for one in wanted.images if one.push is not None for name in one.push.names}
    only_pushed = all(isinstance(one, ImageOutput) and _pushes(one) for one in wanted.outputs)
    if imports is None or not names or not only_pushed or set(wanted.names) - names:
        return {}
    domains = {Reference.parse(name).domain for name in names}
    found: dict[DiffID, Descriptor] = {}
    for diff_id in {diff_id for stack in stacks for diff_id in stack}:
        if layers.has(diff_id):
            continue
        desc = imports.descriptor(diff_id)
        if desc is None or {origin.partition("/")[0] for origin in imports.origins(desc)} != domains:
            return {}
        media_type = layer_type(desc.media_type, oci=wanted.images[0].form.oci)
        found[diff_id] = replace(desc, media_type=media_type, annotations={})
    return found


def _pushes(one: ImageOutput) -> bool:
    return one.push is not None and one.type == "image" and _keeps(one.form)


def _keeps(form: ImageForm) -> bool:
    """Whether layers that came compressed stay as they are."""
    return form.plain or (
        not form.force and not form.rewrite and not form.foreign and form.compression != "none"
    )
