"""The fields of gRPC's messages that the services read and set.

The classes are made at run time (`protobuf.load_message`), so type checkers know them by these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item", covariant=True)


class Message(Protocol):
    """Any message."""

    def SerializeToString(self) -> bytes:
        """Its bytes."""

    def ByteSize(self) -> int:
        """The number of its bytes."""


class Repeated(Protocol[Item]):
    """A repeated field of messages."""

    def __iter__(self) -> Iterator[Item]: ...

    def add(self, **fields: object) -> Item:
        """Appends a message with these fields."""


class HealthCheckRequest(Protocol):
    """`grpc.health.v1.HealthCheckRequest`."""

    service: str


class ModelRequest(Protocol):
    """`inference.ModelReadyRequest`, and those for metadata, configuration and statistics."""

    name: str
    version: str


class IndexRequest(Protocol):
    """`inference.RepositoryIndexRequest`."""

    ready: bool


class OverrideRequest(Protocol):
    """`inference.RepositoryModelLoadRequest` and `inference.RepositoryModelUnloadRequest`."""

    model_name: str
    parameters: Mapping[str, object]


class Parameter(Protocol):
    """`inference.InferParameter`."""

    int64_param: int

    def WhichOneof(self, group: str) -> str | None:
        """The field that is set."""


class InputTensor(Protocol):
    """`inference.ModelInferRequest.InferInputTensor`."""

    name: str
    datatype: str
    shape: Sequence[int]
    parameters: Mapping[str, Parameter]
    contents: object  # has a field for each type of element

    def HasField(self, name: str) -> bool:
        """Whether an optional field is set."""


class WantedOutput(Protocol):
    """`inference.ModelInferRequest.InferRequestedOutputTensor`."""

    name: str
    parameters: Mapping[str, Parameter]


class InferRequest(Protocol):
    """`inference.ModelInferRequest`."""

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Parameter]
    inputs: Sequence[InputTensor]
    outputs: Sequence[WantedOutput]
    raw_input_contents: Sequence[bytes]


class VersionNumber(Protocol):
    """`google.protobuf.Int64Value`."""

    value: int


class ModelSpec(Message, Protocol):
    """`tensorflow.serving.ModelSpec`."""

    name: str
    signature_name: str
    version: VersionNumber
    version_label: str

    def WhichOneof(self, name: str) -> str | None:
        """Which of a group of fields is set."""


class Dimension(Protocol):
    """`tensorflow.TensorShapeProto.Dim`."""

    size: int


class TensorShape(Protocol):
    """`tensorflow.TensorShapeProto`."""

    dim: Repeated[Dimension]
    unknown_rank: bool


class TensorProto(Message, Protocol):
    """`tensorflow.TensorProto`; it also has a field for each type of element."""

    dtype: int
    tensor_shape: TensorShape
    tensor_content: bytes


class PredictRequest(Protocol):
    """`tensorflow.serving.PredictRequest`."""

    model_spec: ModelSpec
    inputs: Mapping[str, TensorProto]
    output_filter: Sequence[str]


class MetadataRequest(Protocol):
    """`tensorflow.serving.GetModelMetadataRequest`."""

    model_spec: ModelSpec
    metadata_field: Sequence[str]


class StatusRequest(Protocol):
    """`tensorflow.serving.GetModelStatusRequest`."""

    model_spec: ModelSpec


class SignatureTensor(Protocol):
    """`tensorflow.TensorInfo`."""

    name: str
    dtype: int
    tensor_shape: TensorShape


class SignatureDef(Protocol):
    """`tensorflow.SignatureDef`."""

    method_name: str
    inputs: Mapping[str, SignatureTensor]
    outputs: Mapping[str, SignatureTensor]


class SignatureDefMap(Message, Protocol):
    """`tensorflow.serving.SignatureDefMap`."""

    signature_def: Mapping[str, SignatureDef]


class PackedMessage(Protocol):
    """`google.protobuf.Any`."""

    type_url: str
    value: bytes


class MetadataResponse(Message, Protocol):
    """`tensorflow.serving.GetModelMetadataResponse`."""

    metadata: Mapping[str, PackedMessage]


class StatusResponse(Message, Protocol):
    """`tensorflow.serving.GetModelStatusResponse`."""

    model_version_status: Repeated[Message]
