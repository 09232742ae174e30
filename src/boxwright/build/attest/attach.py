"""Statements about what was built: beside an image's manifest, or as files beside the files of a directory or tar."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from boxwright.build.attest.asked import Attestations
from boxwright.build.attest.provenance import Facts, Material, git_material, http_material, predicate
from boxwright.build.graph import Tree, Vertex, walk
from boxwright.build.plan import Plan
from boxwright.build.solver import Solver
from boxwright.spec import hashes, intoto
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.purl import image_purl
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.build.inputs import Inputs
    from boxwright.build.request import BuildRequest
    from boxwright.layer.view import LayersView
    from boxwright.settings import Settings

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Attester:
    """Says what was asked for of one build. `identity` is the build's, `view` shows a solved tree, `started` is unix
    seconds."""

    wanted: Attestations
    identity: str
    request: BuildRequest
    inputs: Inputs
    settings: Settings
    solver: Solver
    view: Callable[[Vertex, Tree], LayersView]
    epoch: int | None
    started: float

    def beside(
        self, plan: Plan, image: Descriptor, names: Sequence[str], *, artifact: bool = False
    ) -> intoto.Attested:
        """The attestation manifest of one platform's image."""
        desc = Descriptor(image.media_type, image.digest, image.size)
        subjects = [
            intoto.Subject(image_purl(Reference.parse(name), plan.platform), desc.digest) for name in names
        ] or [intoto.Subject("_", desc.digest)]
        statements = [(kind, raw) for _, kind, raw in self._statements(plan, subjects)]
        return intoto.attested(desc, statements, artifact=artifact)

    def files(self, plan: Plan, prefix: str = "") -> list[tuple[str, bytes]]:
        """File names and statements for an output of files, whose subjects are all of them."""
        provenance = self.wanted.provenance
        if not self.wanted.sbom and (provenance is None or provenance.inline_only):
            return []
        tree = self.solver.report(plan.target).tree
        subjects = list(_of_files(self.view(plan.target, tree)))
        return [
            (prefix + name, raw)
            for name, kind, raw in self._statements(plan, subjects)
            if kind == intoto.SPDX or (provenance is not None and not provenance.inline_only)
        ]

    def _statements(self, plan: Plan, subjects: Sequence[intoto.Subject]) -> Iterator[tuple[str, str, bytes]]:
        """The file's name, the predicate's type, the statement."""
        if self.wanted.sbom:
            from boxwright.build.attest.bom import documents

            found = documents(
                plan,
                solver=self.solver,
                request=self.request,
                context=self.inputs.contexts.get(""),
                view=self.view,
            )
            for document in found:
                raw = intoto.statement(intoto.SPDX, subjects, document)
                yield f"{document['name']}.spdx.json", intoto.SPDX, raw
        if self.wanted.provenance is not None:
            kind, said = predicate(self.wanted.provenance, self.facts(plan))
            yield self.wanted.provenance.filename, kind, intoto.statement(kind, subjects, said)

    def facts(self, plan: Plan) -> Facts:
        """What provenance tells of."""
        from boxwright.build.attest.vcs import vcs_of, wanted

        request, environ = self.request, self.settings.environ
        context = request.context if request.stream is None else None
        return Facts(
            identity=self.identity,
            request=request,
            platform=plan.platform,
            order=list(walk(plan.target)),
            selections=self.solver.selections(),
            dockerfile=self.inputs.shown,
            source=self.inputs.dockerfile.data,
            config=config_of(request, self.inputs.commit),
            vcs=vcs_of(context, _own(request)) if context is not None and wanted(environ) else {},
            started=self.epoch if self.epoch is not None else self.started,
            finished=self.epoch if self.epoch is not None else time.time(),
        )


def _own(request: BuildRequest) -> Path | None:
    return request.dockerfile if request.dockerfile_data is None else None


def config_of(request: BuildRequest, commit: str) -> Material | None:
    """The remote context, None for a local one."""
    from boxwright.build.gitref import parse_git

    if not request.remote:
        return None
    repository = parse_git(request.remote)
    if repository is None:
        return http_material(request.remote, "")
    return git_material(repository.url, repository.ref, commit)


def _of_files(view: LayersView) -> Iterator[intoto.Subject]:
    for node in view.walk(""):
        if node.type == "file":
            hashed = hashes.new("sha256")
            with view.open(node) as content:
                while data := content.read(_CHUNK):
                    hashed.update(data)
            yield intoto.Subject(node.path, Digest("sha256", hashed.hexdigest()))
