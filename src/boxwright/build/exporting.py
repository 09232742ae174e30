"""The last phase of a build: every output of it, images first, then files, then pushes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from boxwright.build.export import Exported, Exporter, OfCaches, Solved
from boxwright.build.outputs import FilesOutput, ImageForm, ImageOutput
from boxwright.build.plan import Plan
from boxwright.build.progress import BuildWarning, StepStatus, showing
from boxwright.build.request import OutputResult
from boxwright.build.solver import LayersLost
from boxwright.errors import Corrupt, NotFound
from boxwright.spec.reference import Reference
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.bases import PushedImage
    from boxwright.build.builder import Building
    from boxwright.build.graph import Tree, Vertex
    from boxwright.build.pushing import PushSteps
    from boxwright.build.solver import Solver
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import DiffID

CREATED = "org.opencontainers.image.created"


class Exporting:
    """Writes what a build wants out of its solved plans, one a platform."""

    def __init__(self, building: Building, plans: Sequence[Plan], solver: Solver) -> None:
        self._building, self._emit = building, building.emit
        self._images = building.services.images_store
        self._wanted = building.wanted
        caches = building.caches
        same = not building.request.squash and not any(one.form.rewrite for one in building.wanted.images)
        carried = (
            caches.carried(solver, plans, building.cache, same_layers=same) if caches is not None else {}
        )
        self._left = self._left_there([solver.report(plan.target).tree for plan in plans])
        self._exporter = Exporter(
            self._images,
            building.cache,
            hold=building.hold_content,
            stamp=building.stamp,
            squash=building.request.squash,
            history=not building.request.omit_history,
            caches=OfCaches(carried=carried, elsewhere=self._left),
        )
        self._solved = [self._as_solved(plan, solver) for plan in plans]
        self._made: dict[ImageForm, Exported] = {}

    def _left_there(self, trees: Sequence[Tree]) -> Mapping[DiffID, Descriptor]:
        """Layers that need not come here, since they only go from a cache in a registry to an image there."""
        if self._building.caches is None:
            return {}
        from boxwright.build.remotecache.lazy import left_there

        return left_there(self._building, [tree.layers for tree in trees])

    def _as_solved(self, plan: Plan, solver: Solver) -> Solved:
        tree = solver.report(plan.target).tree

        def tree_of(vertex: Vertex) -> Tree:
            return solver.report(vertex).tree

        def ensure() -> None:
            self._building.hold(tree.layers)
            if not self._left:
                self._building.step(plan.target).ensure(tree)

        return Solved(plan=plan, tree=tree, tree_of=tree_of, ensure=ensure)

    def run(self) -> tuple[OutputResult, ...]:
        """All outputs; a result for each that is an image. Raises what making, writing and pushing raise."""
        results: dict[int, OutputResult] = {}
        outputs = list(enumerate(self._wanted.outputs))
        for number, output in outputs:
            if isinstance(output, ImageOutput) and output.type == "image":
                results[number] = self._stored(number, output)
        for number, output in outputs:
            if isinstance(output, FilesOutput):
                self._files(number, output)
            elif output.type != "image":
                results[number] = self._archive(number, output)
        for number, output in outputs:
            if isinstance(output, ImageOutput) and output.push is not None:
                results[number] = self._pushed(output, results[number])
        return tuple(results[number] for number in sorted(results))

    @contextmanager
    def _step(self, step: str, name: str) -> Iterator[str]:
        """A step of the display."""
        with showing(self._emit, step, name):
            yield step

    def _done(self, step: str, what: str) -> None:
        self._emit(StepStatus(step, what, done=True))

    # --- images ------------------------------------------------------------------------------------

    def _make(self, form: ImageForm, step: str) -> Exported:
        """The image in this form; outputs that want the same get the same one."""
        known = self._made.get(form)
        if known is not None:
            return known
        if form.rewrite and form.epoch is None:
            self._emit(
                BuildWarning(
                    rule="", message="rewrite-timestamp is specified, but no source-date-epoch was found"
                )
            )
        self._emit(StepStatus(step, "exporting layers"))
        made = [self._exporter.image(solved, form) for solved in self._solved]
        self._done(step, "exporting layers")
        for one in made:
            self._done(step, f"exporting manifest {one.target}")
        attached = self._attached(made, form, step)
        exported = made[0]
        if self._building.wants_index or attached:
            exported = self._exporter.index(made, form, attached)
            self._done(step, f"exporting manifest list {exported.target}")
        self._made[form] = exported
        return exported

    def _attached(self, made: Sequence[Exported], form: ImageForm, step: str) -> list[Descriptor]:
        """What is said of each platform's image, as their index lists it."""
        wanted = self._building.attestations
        if not form.inline_attestations or not form.oci:  # Docker's media types have no word for them
            wanted = wanted.without_inline_only()
        if not wanted:
            return []
        attester = replace(self._building.attester(), wanted=wanted)
        found = []
        for solved, image in zip(self._solved, made):
            attested = attester.beside(
                solved.plan, image.desc, self._wanted.names, artifact=form.artifact_attestations
            )
            for desc, raw in (*attested.blobs, (attested.manifest.descriptor, attested.manifest.raw)):
                self._building.hold_content("blob", desc.digest)
                self._images.store.put(raw, desc.media_type)
            self._done(step, f"exporting attestation manifest {attested.manifest.descriptor.digest}")
            found.append(attested.entry)
        return found

    def _stored(self, number: int, output: ImageOutput) -> OutputResult:
        with self._step(f"exporting {number}", "exporting to image") as step:
            exported = self._make(output.form, step)
            names = self._names(number, output, exported)
            if output.store and self._left:
                self._done(step, f"leaving {len(self._left)} layers in the registry, and the image")
            elif output.store:
                self._done(step, f"writing image {exported.image_id}")
                plans = [solved.plan for solved in self._solved]
                self._exporter.register(exported, names, plans[0].parent if len(plans) == 1 else "")
                for name in names:
                    self._done(step, f"naming to {name}")
        return _result(output, exported, output.names or names)

    def _names(self, number: int, output: ImageOutput, exported: Exported) -> list[str]:
        """What the image is called in the store: its own names, of the first one also those of the build."""
        stored = [n for n, o in enumerate(self._wanted.outputs) if isinstance(o, ImageOutput) and o.store]
        names = list(output.names)
        if stored and number == stored[0]:
            taken = {name for o in self._wanted.images if o.store for name in o.names}
            names += [name for name in self._wanted.names if name not in taken]
        digest = exported.desc.digest
        if output.canonical:
            names += [str(Reference.parse(name).with_digest(digest)) for name in output.names]
        if output.dangling:
            names.append(str(Reference.parse(output.dangling).with_digest(digest)))
        return list(dict.fromkeys(names))

    def _archive(self, number: int, output: ImageOutput) -> OutputResult:
        from boxwright.build.written import reaching, write_image
        from boxwright.content.lease import Lease

        with self._step(f"exporting {number}", f"exporting to {output.type} image format") as step:
            exported = self._make(output.form, step)
            notes = {CREATED: exported.created, **exported.desc.annotations}
            shown = replace(exported, desc=replace(exported.desc, annotations=notes))
            with Lease(self._images.db, "build output") as lease, reaching(output.dest):
                write_image(images=self._images, lease=lease, output=output, desc=shown.desc)
            self._done(step, "sending tarball" if output.tar else "copying layout")
        return _result(output, shown, output.names)

    # --- files -------------------------------------------------------------------------------------

    def _files(self, number: int, output: FilesOutput) -> None:
        from boxwright.build.written import ResultTree, reaching, write_files

        name = "exporting to client directory" if output.type == "local" else "exporting to client tarball"
        with self._step(f"exporting {number}", name) as step, ExitStack() as stack:
            trees = []
            for solved in self._solved:
                view = self._building.step(solved.plan.target).view(solved.tree)
                said = self._said(solved.plan, output.attestation_prefix)
                trees.append(ResultTree(solved.plan.platform, stack.enter_context(view), said))
            with reaching(output.dest):
                left_out = write_files(output, trees)
            self._done(step, "copying files" if output.type == "local" else "sending tarball")
        if left_out:
            count = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
            message = (
                f"/{left_out[0]}{count} not written to {output.dest}: devices and sockets have no place there "
                f"(type=tar has devices)"
            )
            self._emit(BuildWarning(rule="", message=message))

    def _said(self, plan: Plan, prefix: str) -> Sequence[tuple[str, bytes]]:
        """The files that attest the others: names and content."""
        return self._building.attester().files(plan, prefix) if self._building.attestations else ()

    # --- registries --------------------------------------------------------------------------------

    def _pushed(self, output: ImageOutput, result: OutputResult) -> OutputResult:
        """Push every name; the image as its registry has it, whose layers are compressed."""
        from boxwright.build.bases import PushedImage
        from boxwright.build.pushing import PushSteps

        assert output.push is not None
        exported = self._made[output.form]
        desc = exported.desc
        for name in output.push.names:
            with self._step(f"pushing {name}", f"pushing {name}") as step:
                image = PushedImage(
                    target=exported.desc,
                    name=name,
                    compress=output.form.plain,
                    by_digest=output.push.by_digest,
                    insecure=output.push.insecure,
                    elsewhere=self._building.caches.imports if self._building.caches and self._left else None,
                )
                progress = PushSteps(self._emit, step, compressing=image.compress)
                desc = self._push(image, progress)
                progress.finish()
                self._done(step, f"pushing manifest for {name}@{desc.digest}")
        desc = replace(desc, annotations=exported.desc.annotations, platform=exported.desc.platform)
        return replace(result, target=str(desc.digest), descriptor=desc.to_json(), pushed=True)

    def _push(self, image: PushedImage, progress: PushSteps) -> Descriptor:
        try:
            return self._building.registries.push(image, progress)
        except (NotFound, Corrupt):
            if self._left:  # a layer that the cache named is not in the registry any more
                raise LayersLost(sorted(self._left)) from None
            raise


def _result(output: ImageOutput, exported: Exported, names: Sequence[str]) -> OutputResult:
    return OutputResult(
        type=output.type,
        dest=output.dest,
        names=tuple(names),
        image_id=exported.image_id,
        target=exported.target,
        descriptor=exported.desc.to_json(),
    )
