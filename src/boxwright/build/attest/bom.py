"""Which bills of materials a build makes: of its result, and of stages and the context that it was told to list."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.build.attest.asked import scanned
from boxwright.build.attest.sbom.scan import scan
from boxwright.build.attest.sbom.spdx import document
from boxwright.build.graph import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.attest.attach import Attester
    from boxwright.build.graph import Tree, Vertex
    from boxwright.build.plan import Plan

_STAGE, _CONTEXT = "BUILDKIT_SBOM_SCAN_STAGE", "BUILDKIT_SBOM_SCAN_CONTEXT"


def documents(attester: Attester, plan: Plan) -> Iterator[dict[str, Any]]:
    """SPDX documents, the result's first."""
    created = attester.solver.report(plan.target).tree.created or (plan.base.created if plan.base else "")
    yield _of_tree(attester=attester, vertex=plan.target, name="sbom", created=created)
    given = attester.request.build_args
    context = False
    needed = {vertex.id for vertex in walk(plan.target)}
    for stage in plan.stages:
        said = {name: stage.args.get(name) or given.get(name) or "" for name in (_STAGE, _CONTEXT)}
        context = context or scanned(said[_CONTEXT], stage.name)
        if stage.tree is not plan.target and stage.tree.id in needed and scanned(said[_STAGE], stage.name):
            yield _of_tree(
                attester=attester, vertex=stage.tree, name=f"sbom-build-{stage.name}", created=created
            )
    found = attester.inputs.contexts.get("")
    if context and found is not None:
        yield document(scan(found), "sbom-build-context", created)


def _of_tree(attester: Attester, vertex: Vertex, name: str, created: str) -> dict[str, Any]:
    from boxwright.build.ops.viewtree import ViewTree

    tree: Tree = attester.solver.report(vertex).tree
    view = attester.view(vertex, tree)
    return document(scan(ViewTree(view), lambda node: str(view.layer(node))), name, created)
