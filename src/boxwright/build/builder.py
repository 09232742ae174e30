"""One build from request to result: read, parse, plan, solve, export (docs/architecture.md, "Where data goes")."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

from boxwright.build import epoch
from boxwright.build.annotations import parse_annotations
from boxwright.build.attest.asked import attestations
from boxwright.build.bases import EngineBases, Registries
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.execution import OpExecution
from boxwright.build.fields import RequestInvalid
from boxwright.build.granted import (
    ENTITLEMENTS,
    asked_twice,
    entitlements,
    form_of,
    limits_of,
    new_ref,
    sandbox_of,
)
from boxwright.build.graph import Vertex
from boxwright.build.inputs import Inputs, LocatedDockerfileError, open_inputs
from boxwright.build.ops.context import StepContext
from boxwright.build.outputs import Surroundings, Wanted, pushes, wanted_outputs
from boxwright.build.plan import Plan, Planner
from boxwright.build.planning import PlanOptions
from boxwright.build.progress import (
    BuildWarning,
    Emit,
    StepDone,
    StepLog,
    StepStarted,
    StepStatus,
    ignore,
)
from boxwright.build.request import FLAGS, BuildFailed, BuildRequest, BuildResult, OutputResult, StepResult
from boxwright.build.said import Said
from boxwright.build.scope import EPOCH
from boxwright.build.shared import Shared
from boxwright.build.solver import LayersLost, Solver
from boxwright.build.step_locks import StepLocks
from boxwright.errors import BoxwrightError, Cancelled
from boxwright.image.steps import StepCache
from boxwright.spec.digest import DiffID
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.times import epoch_seconds
from boxwright.spec.urls import redacted_source
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from boxwright.build.attest.attach import Attester
    from boxwright.build.calls import Answer
    from boxwright.build.questions import Questions
    from boxwright.build.recording import Recording
    from boxwright.build.remotecache.caches import Caches
    from boxwright.content.lease import Lease
    from boxwright.image.services import Services
    from boxwright.spec.descriptor import Descriptor

    _T = TypeVar("_T")


def build(
    services: Services, registries: Registries, request: BuildRequest, emit: Emit = ignore
) -> BuildResult:
    """Build an image. Raises BuildFailed (with the cause), Cancelled, RequestInvalid, ReferenceInvalid."""
    return Building(services=services, registries=registries, request=request, emit=emit).run()


class Building:
    """One build; the solver's host."""

    def __init__(self, services: Services, registries: Registries, request: BuildRequest, emit: Emit) -> None:
        self.services = services
        self.request = request
        self.cancel = threading.Event()
        self._method = _method(request)
        self._began = time.monotonic()
        self._out = emit
        self._logs: dict[str, Said] = {}
        self._lease: Lease | None = None
        self._lease_lock = threading.Lock()
        self._shared = Shared()
        self._step_locks = StepLocks(services.root)
        self.cache = StepCache(services.db)
        self._bases = EngineBases(
            images=services.images_store, registries=registries, emit=self.emit, pull=request.pull
        )
        wanted = request.platforms or (str(services.images_store.default_platform),)
        self._platforms = [Platform.parse(text) for text in wanted]
        for name in FLAGS:
            request.flag(name)  # refused before anything is done
        self._said = epoch.said(services.settings, request)
        self._epoch = epoch_seconds(self._said or "")
        self._arguments = epoch.with_epoch(request.build_args, self._said, self._epoch)
        self.ref = new_ref()
        self._started = time.time()
        self.attestations = attestations(
            request.attests,
            {k: v for k, v in request.build_args.items() if v is not None},
            by_default=request.default_attestations and pushes(request.outputs),
        )
        self.wanted = self._wanted()
        self._limits = limits_of(request)
        self.registries = registries
        self._warnings: list[BuildWarning] = []
        self._inputs: Inputs
        self._entitlements = entitlements(request)
        self._sandbox = sandbox_of(services, request)
        self._solver: Solver | None = None
        self._plans: list[Plan] = []
        self._recording: Recording | None = None
        self.caches = self._caches_of(request)
        self._written: list[Descriptor] = []  # manifests of caches
        self._context_shown = False
        self._planned_at: SourceRange | None = None  # where planning failed
        self._filename, self._source = "Dockerfile", b""

    def _wanted(self) -> Wanted:
        """What the outputs come to. Raises RequestInvalid, ReferenceInvalid."""
        request = self.request
        return wanted_outputs(
            request.outputs,
            Surroundings(
                names=tuple(_normal(tag) for tag in request.tags),
                platforms=tuple(map(str, self._platforms)),
                attested=bool(self.attestations),
                attested_everywhere=bool(self.attestations.without_inline_only()),
                annotations=parse_annotations(request.annotations),
                form=form_of(request, self._epoch),
                allowed=frozenset(request.allow),
            ),
        )

    # --- the phases ----------------------------------------------------------------------------

    def run(self) -> BuildResult:
        """All of it, and its record in the history. A question about the Dockerfile is no build, and leaves none."""
        if self._method:
            return self._run()
        from boxwright.build.recording import Recording
        from boxwright.build.remembered import asked, came_out, name_of
        from boxwright.image.builds import BuildRecord, BuildRecords

        details = asked(self.request, self.services.settings)
        record = BuildRecord(id=self.ref, started=self._started, name=name_of(self.request), details=details)
        self._recording = Recording(BuildRecords(self.services.root, self.services.db), record, self._out)
        failure: BaseException | None = None
        try:
            result = self._run()
            details = {**details, "outputs": came_out(result.outputs)}
            return result
        except BaseException as error:
            failure = error
            raise
        finally:
            recording, self._recording = self._recording, None
            recording.finish({**details, "materials": self._materials()}, failure)

    def _materials(self) -> list[Mapping[str, Any]]:
        from boxwright.build.remembered import used

        if self._solver is None:
            return []
        return used(self.request, self._plans, solver=self._solver, commit=self._inputs.commit)

    def _run(self) -> BuildResult:
        try:
            with open_inputs(
                services=self.services,
                request=self.request,
                emit=self.emit,
                hold=lambda key: self.hold_content("workspace", key),
            ) as self._inputs:
                self._filename = self._inputs.shown
                self._source = redacted_source(self._inputs.dockerfile.data)
                self._sandbox = replace(self._sandbox, ssh=self._inputs.ssh)
                self._bases.named = self._inputs.named
                return self._built()
        except (Cancelled, RequestInvalid):
            raise
        except KeyboardInterrupt:
            raise Cancelled("the build was interrupted") from None
        except BuildFailed:
            raise
        except BoxwrightError as error:
            if isinstance(error, LocatedDockerfileError):
                self._filename, self._source = error.filename, redacted_source(error.source)
                if self._method == "check":
                    from boxwright.build.calls import unreadable

                    return self._result(unreadable(error.filename, error.source, error))
            raise self._located(error) from error
        finally:
            self._shared.close()
            if self._lease is not None:
                self._lease.release()

    def _caches_of(self, request: BuildRequest) -> Caches | None:
        if not request.cache_from and not request.cache_to and not request.inline_cache:
            return None
        from boxwright.build.remotecache.caches import Caches

        return Caches.of(request, self.services, self.registries, emit=self.emit, lease=self._leased)

    def _built(self) -> BuildResult:
        if self._method:
            return self._answered()
        self._settle_epoch()
        plans = self._plans = [self._plan(platform) for platform in self._platforms]
        if self.caches is not None:
            self.caches.load(self._platforms)
        while True:
            try:
                solver, outputs = self._solved(plans)
                break
            except LayersLost as lost:
                assert self.caches is not None
                self.caches.forget(lost)
                self.cancel = threading.Event()
        targets = [plan.target for plan in plans]
        reports = [r for r in solver.reports(targets) if not r.vertex.hidden]
        steps = tuple(
            StepResult(
                name=r.vertex.name, cached=r.cached, seconds=r.seconds, bytes=r.tree.bytes, reason=r.reason
            )
            for r in reports
        )
        duration = time.monotonic() - self._began
        warnings = tuple(self._warnings)
        last = outputs[-1] if outputs else OutputResult()
        return BuildResult(
            image_id=last.image_id,
            target=last.target,
            names=self.wanted.names if outputs else (),
            steps=steps,
            duration=duration,
            warnings=warnings,
            descriptor=last.descriptor,
            outputs=outputs,
            caches=tuple(desc.to_json() for desc in self._written),
            provenance=self._provenance(plans),
            ref=self.ref,
        )

    def _settle_epoch(self) -> None:
        """Find the time where the request does not say it as a number. Raises as `EpochSource.time_of`."""
        text = self._said
        if self._epoch is not None or text == "":
            return
        if text is None and EPOCH.encode() not in self._inputs.dockerfile.data:
            return
        planners = [self._planner(platform) for platform in self._platforms]
        text = text or epoch.of_dockerfile(planners)
        self._epoch = epoch_seconds(text)
        if text and self._epoch is None:
            self.hold(())
            source = epoch.EpochSource(
                planner=planners[0],
                build_args=self.request.build_args,
                inputs=self._inputs,
                emit=self.emit,
                step=self.step,
            )
            self._epoch = source.time_of(text)
        self._arguments = epoch.with_epoch(self.request.build_args, self._said, self._epoch)
        self.wanted = self._wanted()

    def _solved(self, plans: Sequence[Plan]) -> tuple[Solver, tuple[OutputResult, ...]]:
        """Run what has to run, and bring the result to where it is wanted. Raises LayersLost, see `_fetch`."""
        from boxwright.build.exporting import Exporting, ExportWish

        caches, explain = self.caches, None
        if self.request.explain:
            from boxwright.build.why import Why

            explain = Why(self.cache)
        solver = self._solver = Solver(
            self.cache,
            self,
            self.emit,
            jobs=self.request.jobs,
            explain=explain,
            elsewhere=caches.imports if caches is not None else None,
        )
        if caches is not None and caches.imports is not None:
            caches.imports.selections = solver.selections
        targets = [plan.target for plan in plans]
        solver.solve([*targets, *self.attestations.read(plans, self.request.build_args)])
        wish = ExportWish(
            services=self.services,
            registries=self.registries,
            request=self.request,
            wanted=self.wanted,
            wants_index=self.wants_index,
            attestations=self.attestations,
            attester=self.attester,
            cache=self.cache,
            caches=caches,
            emit=self.emit,
            stamp=self.stamp,
            hold=self.hold,
            hold_content=self.hold_content,
            step=self.step,
        )
        outputs = Exporting(wish, plans, solver).run()
        if caches is not None:
            solver.keep_found(targets)
            self._written = caches.write(solver, targets, self.cache)
        return solver, outputs

    @property
    def wants_index(self) -> bool:
        """Whether the image is an index: of several platforms, or of one where BUILDKIT_MULTI_PLATFORM says so."""
        return len(self._platforms) > 1 or self.request.flag("BUILDKIT_MULTI_PLATFORM")

    def _answered(self) -> BuildResult:
        """What was asked of the Dockerfile, instead of an image."""
        if self._method == "check":
            answer, found = self._questions.checked(lambda: self._planner(self._platforms[0]))
            self._warnings = [BuildWarning.of(one, self._filename, self._source) for one in found]
        elif self._method == "outline":
            planner, _ = self._planned(Planner.plan)
            answer = self._questions.outlined(planner)
        else:
            answer = self._questions.listed()
        return self._result(answer)

    def _result(self, answer: Answer) -> BuildResult:
        return BuildResult(
            image_id="",
            target="",
            names=(),
            steps=(),
            duration=time.monotonic() - self._began,
            warnings=tuple(self._warnings),
            answer=answer,
        )

    @property
    def _questions(self) -> Questions:
        from boxwright.build.questions import Questions

        return Questions(
            method=self._method, request=self.request, inputs=self._inputs, platform=self._platforms[0]
        )

    def _planned(self, work: Callable[[Planner], _T]) -> tuple[Planner, _T]:
        """Plan for the first platform, and tell what planning and the checks found, whatever comes of it. Raises
        DockerfileError where the file wants that to end the build."""
        planner: Planner | None = None
        done = False
        try:
            planner = self._planner(self._platforms[0])
            made = work(planner)
            done = True
        finally:
            self._planned_at = planner.where if planner is not None else None
            found = self._questions.findings(planner)
            for warning in found.warnings:
                self.emit(BuildWarning.of(warning, self._filename, self._source))
            if done and found.error is not None:
                raise found.error
        return planner, made

    def _plan(self, platform: Platform) -> Plan:
        """Plan for one platform; what is found in the Dockerfile is told with the first."""
        if platform is self._platforms[0]:
            planner, plan = self._planned(Planner.plan)
            for message in (*asked_twice(self._platforms), *planner.filters_for_nothing()):
                self.emit(BuildWarning(rule="", message=message))
            return plan
        planner = self._planner(platform)
        try:
            return planner.plan()
        finally:
            self._planned_at = planner.where

    def _planner(self, platform: Platform) -> Planner:
        request = self.request
        options = PlanOptions(
            target=request.target,
            build_args=self._arguments,
            labels=request.labels,
            platform=platform,
            show_platform=self.wants_index,
            network=request.network,
            hostname=request.build_args.get("BUILDKIT_SANDBOX_HOSTNAME", "buildkitsandbox"),
            hosts=request.add_hosts,
            ulimits=request.ulimits,
            shm_size=request.shm_size,
            limits=self._limits,
            no_cache=request.no_cache,
            no_cache_stages=frozenset(s.lower() for s in request.no_cache_filter),
            epoch=self._epoch,
            contexts=self._inputs.named,
            entitlements=self._entitlements if not self._method else ENTITLEMENTS,
            inherit_labels=request.inherit_labels,
            unset_env=request.unset_env,
            unset_labels=request.unset_labels,
            project=self._inputs.project,
            keep_times=self._inputs.keep_times,
        )
        return Planner(self._inputs.dockerfile, options, self._bases)

    def _provenance(self, plans: Sequence[Plan]) -> dict[str, Mapping[str, object]]:
        """The provenance that the request asks for, by platform."""
        if not self.request.tell_provenance:
            return {}
        from boxwright.build.attest.asked import Provenance
        from boxwright.build.attest.provenance import predicate

        wanted, attester = Provenance(mode=self.request.tell_provenance), self.attester()
        return {str(plan.platform): predicate(wanted, attester.facts(plan))[1] for plan in plans}

    def attester(self) -> Attester:
        """What makes the attestations of the result."""
        from boxwright.build.attest.attach import Attester

        assert self._solver is not None
        return Attester(
            wanted=self.attestations,
            identity=self.ref,
            request=self.request,
            inputs=self._inputs,
            settings=self.services.settings,
            solver=self._solver,
            view=lambda vertex, tree: self.step(vertex).view(tree),
            epoch=self._epoch,
            started=self._started,
        )

    # --- the solver's host ---------------------------------------------------------------------

    def emit(self, event: object) -> None:
        """Pass an event on; keep the end of each step's output, for the error message if it fails."""
        if isinstance(event, StepLog):
            self._logs.setdefault(event.step, Said()).add(event)
        elif isinstance(event, BuildWarning):
            self._warnings.append(event)
        recording = self._recording
        if recording is not None:
            recording.add(event)  # type: ignore[arg-type]
        self._out(event)  # type: ignore[arg-type]

    def execution(self, vertex: Vertex) -> OpExecution:
        return OpExecution(vertex.op, self.step(vertex))

    def step(self, vertex: Vertex) -> StepContext:
        """What this vertex's operation is given while it runs."""
        return StepContext(
            vertex=vertex,
            services=self.services,
            lease=self._lease,
            emit=self.emit,
            cancel=self.cancel,
            sandbox=self._sandbox,
            contexts=self._inputs.contexts,
            fetch=self._fetch,
            shared=self._shared,
            context_read=self._context_read,
        )

    def _context_read(self, count: int) -> None:
        """Show the context as a step of its own, once, as BuildKit does: users look for it."""
        with self._lease_lock:
            first, self._context_shown = not self._context_shown, True
        if first:
            step = "internal context"
            self.emit(StepStarted(step, "[internal] load build context"))
            self.emit(StepStatus(step=step, id="transferring context", current=count, total=count, done=True))
            self.emit(StepDone(step, 0.0))

    def _fetch(self, missing: Sequence[DiffID], ctx: StepContext) -> None:
        """Bring layers: those that a cache names from there, the others from their base. Raises LayersLost where a
        record promised layers that cannot be had."""

        def told(what: str, current: int, total: int) -> None:
            ctx.status(what, current, total, done=current >= total)

        self.hold(missing)
        if self.caches is None:
            self._bases.fetch(missing, told)
        else:
            self.caches.fetch(missing, told, self._bases)

    def hold(self, layers: Iterable[DiffID]) -> None:
        kept = tuple(layers)
        self.hold_content("layer", *kept)
        self._shared.views.held(kept)

    def hold_content(self, kind: str, *refs: object) -> None:
        """Keep blobs or layers for as long as the build goes on."""
        self._leased().hold(kind, *refs)

    def _leased(self) -> Lease:
        with self._lease_lock:
            if self._lease is None:
                from boxwright.content.lease import Lease

                self._lease = Lease(self.services.db, "build")
            return self._lease

    def exclusive(self, key: str) -> AbstractContextManager[bool]:
        return self._step_locks.exclusive(key, self.cancel)

    def stamp(self, seconds: float) -> str:
        from boxwright.spec.times import rfc3339

        return rfc3339(self._epoch if self._epoch is not None else seconds)

    def leave_thread(self) -> None:
        self.services.db.leave()

    # --- failures ------------------------------------------------------------------------------

    def _located(self, error: BoxwrightError) -> BuildFailed:
        failed = self._solver.failed if self._solver is not None else None
        ranges = (
            error.ranges
            if isinstance(error, DockerfileError)
            else (self._planned_at,)
            if self._planned_at
            else ()
        )
        step, said = "", Said()
        if failed is not None:
            step = failed.name
            said = self._logs.get(failed.id, said)
            if not ranges and failed.location is not None:
                ranges = (failed.location,)
        return BuildFailed(
            error,
            step=step,
            log=said.text,
            filename=self._filename,
            source=self._source,
            ranges=ranges,
            tail=said.tail(),
        )


def _method(request: BuildRequest) -> str:
    if not request.call:
        return ""
    from boxwright.build.calls import method_of

    return method_of(request.call)


def _normal(tag: str) -> str:
    reference = Reference.parse(tag)
    if reference.digest:
        raise RequestInvalid(f"invalid tag {tag!r}: a name to set cannot have a digest")
    return str(reference.with_default_tag())
