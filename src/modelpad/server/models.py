"""One loaded version of a model: its bundle, its batcher, and its description for the API."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from modelpad.bundle.description import describe_bundle, is_public
from modelpad.engine import (
    LARGE_GRAPH_BYTES,
    Batcher,
    BatchLimits,
    Engine,
    GraphCache,
    MemoryBudget,
    ModelSession,
    QueueLimits,
    Session,
    SessionSettings,
    TensorInfo,
    TypedAccess,
    find_best_batch,
)
from modelpad.engine.calibration import (
    UNMEASURED,
    choose_chunk_size,
    find_inline_batch,
    find_sample,
)
from modelpad.errors import NotFound
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from modelpad.bundle import Bundle
    from modelpad.engine.text import TextBatcher
    from modelpad.signing import Verifier

log = logging.getLogger("modelpad.server")

MEASURE_AFTER_S = 1.0
PATIENCE = 3  # how often measuring gives way to requests


class LoadOptions(msgspec.Struct, frozen=True):
    """How models are loaded.

    `batch` is the batch size; 0 measures the best one once the server is idle. `threads` is how
    many batches may run at once, or on how many threads one batch of a native model runs. With
    `memory`, graphs are loaded on first use and evicted when memory runs short. `inline` allows
    short batches on the event loop's thread; a supervisor must be there to replace a worker whose
    graph hangs. With `signed`, only bundles whose signature it accepts are loaded. With `packed`,
    large graphs are mapped from there.
    """

    limits: QueueLimits = msgspec.field(default_factory=QueueLimits)
    batch: int = 0
    device: str = "cpu"
    threads: int = 1
    memory: MemoryBudget | None = None
    inline: bool = False
    signed: Verifier | None = None
    packed: GraphCache | None = None


class ServedModel(msgspec.Struct, frozen=True, dict=True):
    """One version of one model: loaded and warm or, under a memory limit, loaded on first use."""

    name: str
    version: int
    bundle: Bundle
    batcher: Engine
    card: Json = None  # read at load time: its folder may be removed while it is served
    signature_name: str = ""  # of the signature whose tensors these are; "" for the main one

    @classmethod
    def load(
        cls, name: str, version: int, bundle: Bundle, options: LoadOptions | None = None
    ) -> ServedModel:
        """Opens the bundle and predicts its first sample; under a memory limit, does neither yet.

        Raises `BundleInvalid`, `SignatureInvalid`, `ModelFailed`.
        """
        options = options or LoadOptions()
        if options.signed is not None:
            options.signed.check(bundle, name, version)
        card = bundle.read_card()
        if bundle.manifest.sequence is not None:
            return cls(name, version, bundle, load_text(bundle, options), card)
        batches_at_once, settings = choose_settings(bundle, options)
        session = Session(bundle, settings, options.memory)
        if options.memory is None:
            session.warm_up()  # before the batcher starts threads that a failure would leak
        unmeasured = None if options.memory is None else UNMEASURED
        batches = BatchLimits(options.batch) if options.batch else unmeasured
        batcher = Batcher(session, threads=batches_at_once, limits=options.limits, batches=batches)
        if options.memory is None and not options.batch:
            batcher.run_later(MEASURE_AFTER_S, lambda: measure_batch(batcher, options.inline))
        return cls(name, version, bundle, batcher, card)

    @cached_property
    def inputs(self) -> list[TensorInfo]:
        """The graph's inputs. Opens the graph on first use; raises as opening does."""
        return self._session.describe_tensors()[0]

    @cached_property
    def outputs(self) -> list[TensorInfo]:
        """The graph's outputs; otherwise as `inputs`."""
        return self._session.describe_tensors()[1]

    @cached_property
    def own_outputs(self) -> list[str]:
        """The outputs of the model itself, without those that only add to a label.

        A client gets those by naming them.
        """
        hidden = self.bundle.manifest.signature.companion_tensors
        return [info.name for info in self.outputs if info.name not in hidden]

    @cached_property
    def default_outputs(self) -> list[str]:
        """The outputs that a client gets without naming any.

        For a scikit-learn estimator that is `predict` alone, as in KServe and MLServer, whose
        clients such models have; `predict_proba` has to be named.
        """
        names = self.own_outputs
        framework = self.bundle.manifest.source.get("framework")
        return ["predict"] if framework == "scikit-learn" and "predict" in names else names

    @property
    def typed(self) -> TypedAccess:
        """The fields of the signature, and how they map to the graph's tensors."""
        return self._session.typed

    @property
    def signature_names(self) -> tuple[str, ...]:
        """The names of all signatures, the main one first."""
        return self.batcher.session.signature_names

    @property
    def signatures(self) -> Mapping[str, ServedModel]:
        """All signatures by name, the main one first."""
        return {name: self.select(name) for name in self.signature_names}

    @property
    def text(self) -> TextBatcher | None:
        """The engine of a language model; None for other models."""
        if self.bundle.manifest.sequence is None:
            return None
        from modelpad.engine.text import TextBatcher

        assert isinstance(self.batcher, TextBatcher)
        return self.batcher

    def select(self, signature_name: str) -> ServedModel:
        """The same model with the tensors of another signature; itself for "".

        Raises `InvalidInput` if there is no such signature.
        """
        if not signature_name:
            return self
        self.batcher.session.find_signature(signature_name)
        return replace(self, signature_name=signature_name)

    @property
    def _session(self) -> ModelSession:
        return self.batcher.session.find_signature(self.signature_name)

    @property
    def platform(self) -> str:
        """What runs the model, as the Open Inference Protocol names it."""
        return "onnxruntime_onnx" if self.bundle.manifest.native is None else "modelpad_native"

    @property
    def backend(self) -> str:
        """What runs the model, as Triton names it: `onnxruntime`, or the model's framework."""
        native = self.bundle.manifest.native
        return "onnxruntime" if native is None else native.framework

    def find_classes(self, tensor: str, count: int) -> tuple[str, ...]:
        """The names of the `count` classes that an output tensor scores; empty if unknown."""
        signature = self._session.signature
        for field, binding in zip(signature.outputs, signature.output_bindings, strict=True):
            classes: tuple[str, ...] = getattr(field, "classes", ())
            if binding.tensor == tensor and len(classes) == count:
                return classes
        return ()

    def describe(self) -> dict[str, object]:
        """What the page shows: fields, samples and card."""
        url = f"/models/{quote(self.name)}/files/"
        return describe_bundle(self.bundle, self.name, self.version, self.card, url)

    def read_file(self, path: str) -> bytes:
        """A sample or report file of the bundle. Raises `NotFound` for any other path."""
        if not is_public(self.bundle, path):
            raise NotFound(
                f"The model {self.name!r} has no public file {path!r}.",
                hint="GET /models lists samples and report figures.",
            )
        try:
            return self.bundle.path(path).read_bytes()
        except OSError as error:
            raise NotFound(
                f"The file {path} of {self.name!r} cannot be read: {error.strerror}.",
                hint="The model is still served, from memory.",
            ) from error


def load_text(bundle: Bundle, options: LoadOptions) -> Engine:
    """The engine of a language model. Raises `BundleInvalid`, `ModelFailed`."""
    from modelpad.engine.text import TextBatcher, TextSession  # not for other models' cold start

    settings = SessionSettings(
        threads=options.threads, device=options.device, packed=options.packed
    )
    return TextBatcher(TextSession(bundle, settings, options.memory), options.limits)


def choose_settings(bundle: Bundle, options: LoadOptions) -> tuple[int, SessionSettings]:
    """How many batches run at once, and how each one runs.

    Batches of a small graph run on one thread each. A large one has enough to compute in each
    operator for all threads: a request alone then takes a fraction of the time, and many take about
    the same. Two batches at once would get in each other's way. The memory that a batch frees is
    kept for the next. A native model's process runs one batch at a time, too.
    """
    large = bundle.graph_bytes > LARGE_GRAPH_BYTES and options.device == "cpu"
    alone = large or bundle.manifest.native is not None
    settings = SessionSettings(
        threads=options.threads if alone else 1,
        arena=large,
        device=options.device,
        packed=options.packed,
    )
    return 1 if alone else options.threads, settings


def measure_batch(batcher: Batcher, inline: bool = False, patience: int = PATIENCE) -> None:
    """Measures the best batch size with the bundle's first sample, or with zeros.

    Postponed while requests are queued, `patience` times at most. With `inline`, short batches run
    on the event loop from then on, but only for graphs whose cost does not depend on input values:
    a graph that loops forever would block every model.
    """
    session = batcher.session
    if batcher.waiting and patience:
        batcher.run_later(MEASURE_AFTER_S, lambda: measure_batch(batcher, inline, patience - 1))
        return
    sample = find_sample(session)
    if sample is None:
        return
    limits, costs = find_best_batch(session, sample)
    short = find_inline_batch(costs) if inline else None
    if short is not None and not (session.can_split and session.is_bounded()):
        short = None
    best = short or limits
    batcher.batches = replace(best, chunk_size=choose_chunk_size(costs, best.max_batch_size))
    batcher.inline = short is not None
    where = "on the loop" if short else "by threads"
    log.info("%s: batches of %d %s; %s", session.title, best.max_batch_size, where, costs)
