"""A span for each request, sent to an OpenTelemetry collector over OTLP, if one is configured.

Names follow OpenTelemetry's conventions for HTTP and RPC servers; our own begin with `modelpad.`.
The client's W3C `traceparent` is the parent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from modelpad import __version__
from modelpad.engine import CALLER, BatchRecord
from modelpad.errors import MissingExtra

if TYPE_CHECKING:
    from modelpad.server.http.messages import Request, Response
    from modelpad.server.models import ServedModel

PATH = "/v1/traces"
SEND_EVERY_S = 1.0
GIVE_UP_S = 3.0
GONE = "client gone"
MAX_BATCHES = 16  # of one request: a stream of lines may run in thousands


class Traces:
    """Creates spans and exports them in batches on a background thread."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is the collector's address, `http://127.0.0.1:4318`.

        Raises `MissingExtra` without the `otel` extra.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise MissingExtra("opentelemetry-sdk", extra="otel") from error
        url = endpoint.rstrip("/")
        url = url if url.endswith(PATH) else url + PATH
        resource = Resource.create({"service.name": "modelpad", "service.version": __version__})
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over these.
        resource = resource.merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(url, timeout=GIVE_UP_S), schedule_delay_millis=1000 * SEND_EVERY_S
            )
        )
        self._tracer = self._provider.get_tracer("modelpad", __version__)
        self._read_parent = TraceContextTextMapPropagator().extract

    def begin(self, headers: Mapping[str, str]) -> Trace:
        """The span of a request with these headers; later spans of this task are its children."""
        return Trace(self._tracer, self._read_parent(headers))

    def note_batch(self, record: BatchRecord) -> None:
        """What a batch cost, for each request that was in it."""
        for caller, queue_s in zip(record.callers, record.queue_s, strict=True):
            if isinstance(caller, Trace):
                caller.note_batch(record, queue_s)

    async def stop(self) -> None:
        """Flushes the remaining spans."""
        await asyncio.to_thread(self._provider.shutdown)


class Trace:
    """One request's span, until its response is sent."""

    def __init__(self, tracer: Any, parent: Any) -> None:
        from opentelemetry.trace import SpanKind

        self._tracer = tracer
        self._span = tracer.start_span("request", context=parent, kind=SpanKind.SERVER)
        self._batches = 0
        self._over = False
        CALLER.set(self)  # until the task ends, which is the request's own

    @property
    def id(self) -> str:
        """The trace's id in hexadecimal."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def note_model(self, model: ServedModel) -> None:
        """The model that predicts."""
        self._span.set_attribute("modelpad.model", model.name)
        self._span.set_attribute("modelpad.version", model.version)

    def note_route(self, request: Request, endpoint: str) -> None:
        """The request's method and route."""
        self._span.update_name(f"{request.method} {endpoint}")
        self._span.set_attribute("http.route", endpoint)

    def note_batch(self, record: BatchRecord, queue_s: float) -> None:
        """Spans for the phases of a batch that has just ended, back to back."""
        self._batches += 1
        if self._over or self._batches > MAX_BATCHES:
            return
        phases = {
            "queue": queue_s,
            "prepare": record.prepare_s,
            "inference": record.inference_s,
            "encode": record.encode_s,
        }
        begin = time.time_ns() - int(sum(phases.values()) * 1e9)
        for name, seconds in phases.items():
            span = self._tracer.start_span(name, context=self._as_parent(), start_time=begin)
            if name == "inference":
                span.set_attribute("modelpad.batch_items", record.items)
            begin += int(seconds * 1e9)
            span.end(begin)

    def end_http(self, request: Request, response: Response, request_id: str) -> Response:
        """Ends with the response; a streamed one ends when its last part is sent."""
        self._span.set_attributes(
            {
                "http.request.method": request.method,
                "url.path": request.path,
                "http.response.status_code": response.status,
                "modelpad.request_id": request_id,
            }
        )
        if response.parts is None:
            self.end(response.status if response.status >= 500 else None)
            return response
        return replace(response, parts=self._follow(response.parts))

    def end_call(self, service: str, method: str, code: str) -> None:
        """Ends a gRPC call."""
        self._span.update_name(f"{service}/{method}")
        self._span.set_attributes(
            {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "modelpad.grpc_status": code,
            }
        )
        self.end(code if code in ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED") else None)

    def end(self, failure: object = None) -> None:
        """Ends the span, as failed if `failure` is given."""
        from opentelemetry.trace import StatusCode

        if failure is not None:
            self._span.set_attribute("error.type", str(failure))
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        self._over = True

    def end_gone(self) -> None:
        """Ends without a response: the client has disconnected."""
        self.end(GONE)

    def _as_parent(self) -> Any:
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self._span)

    async def _follow(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        failure: object = GONE
        try:
            async for part in parts:
                yield part
            failure = None
        finally:
            self.end(failure)
