"""Which bills of materials a build makes: of its result, and of stages and the context that it was told to list."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.build.attest.asked import CONTEXT, listed, scanned, told
from boxwright.build.attest.sbom.scan import scan
from boxwright.build.attest.sbom.spdx import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.build.context.filetree import FileTree
    from boxwright.build.graph import Tree, Vertex
    from boxwright.build.plan import Plan
    from boxwright.build.request import BuildRequest
    from boxwright.build.solver import Solver
    from boxwright.layer.view import LayersView


def documents(
    plan: Plan,
    *,
    solver: Solver,
    request: BuildRequest,
    context: FileTree | None,
    view: Callable[[Vertex, Tree], LayersView],
) -> Iterator[dict[str, Any]]:
    """SPDX documents, the result's first. `context` is the build context, `view` shows a solved tree."""
    created = solver.report(plan.target).tree.created or (plan.base.created if plan.base else "")

    def of_tree(vertex: Vertex, name: str) -> dict[str, Any]:
        from boxwright.build.ops.viewtree import ViewTree

        seen = view(vertex, solver.report(vertex).tree)
        return document(scan(ViewTree(seen), lambda node: str(seen.layer(node))), name, created)

    yield of_tree(plan.target, "sbom")
    given = request.build_args
    for stage in listed(plan, given):
        yield of_tree(stage.tree, f"sbom-build-{stage.name}")
    if context is not None and any(scanned(told(stage, given, CONTEXT), stage.name) for stage in plan.stages):
        yield document(scan(context), "sbom-build-context", created)
