"""Which bills of materials a build makes: of its result, and of stages and the context that it was told to list."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.build.attest.asked import CONTEXT, listed, scanned, told
from boxwright.build.attest.sbom.scan import scan
from boxwright.build.attest.sbom.spdx import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.attest.attach import Attester
    from boxwright.build.graph import Tree, Vertex
    from boxwright.build.plan import Plan


def documents(attester: Attester, plan: Plan) -> Iterator[dict[str, Any]]:
    """SPDX documents, the result's first."""
    created = attester.solver.report(plan.target).tree.created or (plan.base.created if plan.base else "")
    yield _of_tree(attester=attester, vertex=plan.target, name="sbom", created=created)
    given = attester.request.build_args
    for stage in listed(plan, given):
        yield _of_tree(attester=attester, vertex=stage.tree, name=f"sbom-build-{stage.name}", created=created)
    found = attester.inputs.contexts.get("")
    if found is not None and any(scanned(told(stage, given, CONTEXT), stage.name) for stage in plan.stages):
        yield document(scan(found), "sbom-build-context", created)


def _of_tree(attester: Attester, vertex: Vertex, name: str, created: str) -> dict[str, Any]:
    from boxwright.build.ops.viewtree import ViewTree

    tree: Tree = attester.solver.report(vertex).tree
    view = attester.view(vertex, tree)
    return document(scan(ViewTree(view), lambda node: str(view.layer(node))), name, created)
