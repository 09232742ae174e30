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
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from boxwright.build.attest.asked import Attestations
    from boxwright.build.attest.attach import Attester
    from boxwright.build.bases import PushedImage, Registries
    from boxwright.build.graph import Tree, Vertex
    from boxwright.build.ops.context import StepContext
    from boxwright.build.outputs import Wanted
    from boxwright.build.progress import Emit
    from boxwright.build.pushing import PushSteps
    from boxwright.build.remotecache.caches import Caches
    from boxwright.build.request import BuildRequest
    from boxwright.build.solver import Solver
    from boxwright.image.services import Services
    from boxwright.image.steps import StepCache
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import DiffID

CREATED = "org.opencontainers.image.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """What a build that is solved wants out of it, and with what. `hold` and `hold_content` keep layers and blobs for
    as long as the build goes on; `step` is the world as a vertex's operation sees it."""

    services: Services
    registries: Registries
    request: BuildRequest
    wanted: Wanted
    wants_index: bool
    attestations: Attestations
    attester: Callable[[], Attester]
    cache: StepCache
    caches: Caches | None
    emit: Emit
    stamp: Callable[[float], str]
    hold: Callable[[Iterable[DiffID]], None]
    hold_content: Callable[..., None]
    step: Callable[[Vertex], StepContext]


class Exporting:
    """Writes what a build wants out of its solved plans, one a platform."""

    def __init__(self, wish: ExportWish, plans: Sequence[Plan], solver: Solver) -> None:
        self._wish, self._emit = wish, wish.emit
        self._images = wish.services.images_store
        self._wanted = wish.wanted
        caches = wish.caches
        same = not wish.request.squash and not any(one.form.rewrite for one in wish.wanted.images)
        carried = caches.carried(solver, plans, wish.cache, same_layers=same) if caches is not None else {}
        self._left = self._left_there([solver.report(plan.target).tree for plan in plans])
        self._exporter = Exporter(
            self._images,
            wish.cache,
            hold=wish.hold_content,
            stamp=wish.stamp,
            squash=wish.request.squash,
            history=not wish.request.omit_history,
            caches=OfCaches(carried=carried, elsewhere=self._left),
        )
        self._solved = [self._as_solved(plan, solver) for plan in plans]
        self._made: dict[ImageForm, Exported] = {}

    def _left_there(self, trees: Sequence[Tree]) -> Mapping[DiffID, Descriptor]:
        """Layers that need not come here, since they only go from a cache in a registry to an image there."""
        wish = self._wish
        if wish.caches is None or wish.request.linked:
            return {}
        if wish.attestations.sbom or wish.request.squash:  # which are made of files
            return {}
        from boxwright.build.remotecache.lazy import left_there

        stacks = [tree.layers for tree in trees]
        return left_there(wish.caches.imports, wish.wanted, layers=wish.services.layers, stacks=stacks)

    def _as_solved(self, plan: Plan, solver: Solver) -> Solved:
        tree = solver.report(plan.target).tree

        def tree_of(vertex: Vertex) -> Tree:
            return solver.report(vertex).tree

        def ensure() -> None:
            self._wish.hold(tree.layers)
            if not self._left:
                self._wish.step(plan.target).ensure(tree)

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
        if self._wish.wants_index or attached:
            exported = self._exporter.index(made, form, attached)
            self._done(step, f"exporting manifest list {exported.target}")
        self._made[form] = exported
        return exported

    def _attached(self, made: Sequence[Exported], form: ImageForm, step: str) -> list[Descriptor]:
        """What is said of each platform's image, as their index lists it."""
        wanted = self._wish.attestations
        if not form.inline_attestations or not form.oci:  # Docker's media types have no word for them
            wanted = wanted.without_inline_only()
        if not wanted:
            return []
        attester = replace(self._wish.attester(), wanted=wanted)
        found = []
        for solved, image in zip(self._solved, made):
            attested = attester.beside(
                solved.plan, image.desc, self._wanted.names, artifact=form.artifact_attestations
            )
            for desc, raw in (*attested.blobs, (attested.manifest.descriptor, attested.manifest.raw)):
                self._wish.hold_content("blob", desc.digest)
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
        result = _result(output, exported, output.names or names)
        return replace(result, stored=exported.target) if output.store and not self._left else result

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
                view = self._wish.step(solved.plan.target).view(solved.tree)
                tree = ResultTree(solved.plan.platform, stack.enter_context(view))
                said = self._said(solved.plan, output.attestation_prefix)
                if output.split is False and len(self._solved) > 1:
                    said = [(_of_platform(name, tree.directory), raw) for name, raw in said]
                trees.append(replace(tree, said=said))
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
        return self._wish.attester().files(plan, prefix) if self._wish.attestations else ()

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
                    elsewhere=self._wish.caches.imports if self._wish.caches and self._left else None,
                )
                progress = PushSteps(self._emit, step, compressing=image.compress)
                desc = self._push(image, progress)
                progress.finish()
                self._done(step, f"pushing manifest for {name}@{desc.digest}")
        desc = replace(desc, annotations=exported.desc.annotations, platform=exported.desc.platform)
        return replace(result, target=str(desc.digest), descriptor=desc.to_json(), pushed=True)

    def _push(self, image: PushedImage, progress: PushSteps) -> Descriptor:
        try:
            return self._wish.registries.push(image, progress)
        except (NotFound, Corrupt):
            if self._left:  # a layer that the cache named is not in the registry any more
                raise LayersLost(sorted(self._left)) from None
            raise


def _of_platform(name: str, platform: str) -> str:
    """The name of what attests one of several platforms in one directory: ``provenance.linux_arm64.json``."""
    base, dot, extension = name.rpartition(".")
    return f"{base}.{platform}.{extension}" if dot else f"{name}.{platform}"


def _result(output: ImageOutput, exported: Exported, names: Sequence[str]) -> OutputResult:
    return OutputResult(
        type=output.type,
        dest=output.dest,
        names=tuple(names),
        image_id=exported.image_id,
        target=exported.target,
        descriptor=exported.desc.to_json(),
    )
