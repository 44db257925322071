"""The bodies of the tensor protocols and of operations, as JSON Schema."""

from __future__ import annotations

from modelpad.server.json_schema import TEXT, WHOLE, Schema, make_list, make_object
from modelpad.server.protocols.openai.schemas import COMPONENTS as OPENAI
from modelpad.server.protocols.openinference.datatypes import BFLOAT16, DATATYPES

PROBLEM = make_object(
    {
        "error": make_object(
            {
                "message": {"type": "string", "description": "what is wrong"},
                "hint": {"type": "string", "description": "what to do"},
            },
            field=TEXT,
            expected=TEXT,
            got={},
        )
    }
)
WORDS = make_object({"error": {"type": "string", "description": "what is wrong, and what to do"}})

ELEMENTS = make_list({"type": ["array", "number", "string", "boolean"]})
PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
DATATYPE: Schema = {"type": "string", "enum": list(DATATYPES.values())}
KNOWN_DATATYPE: Schema = {"type": "string", "enum": [*DATATYPES.values(), BFLOAT16]}
SHAPE = make_list({"type": "integer", "minimum": 0})
TENSOR_METADATA = make_object({"name": TEXT, "datatype": KNOWN_DATATYPE, "shape": make_list(WHOLE)})
TENSOR = make_object(
    {"name": TEXT, "shape": SHAPE, "datatype": DATATYPE}, data=ELEMENTS, parameters=PARAMETERS
)
REQUESTED_OUTPUT = make_object({"name": TEXT}, parameters=PARAMETERS)
INFER_REQUEST = make_object(
    {"inputs": make_list(TENSOR)},
    id=TEXT,
    parameters=PARAMETERS,
    outputs=make_list(REQUESTED_OUTPUT),
)
INFER_RESPONSE = make_object(
    {"model_name": TEXT, "model_version": TEXT, "outputs": make_list(TENSOR)}, id=TEXT
)
GENERATE_REQUEST = make_object(id=TEXT, parameters=PARAMETERS)
GENERATE_RESPONSE = make_object({"model_name": TEXT, "model_version": TEXT}, id=TEXT)
SERVER_METADATA = make_object({"name": TEXT, "version": TEXT, "extensions": make_list(TEXT)})
MODEL_METADATA = make_object(
    {
        "name": TEXT,
        "versions": make_list(TEXT),
        "platform": TEXT,
        "inputs": make_list(TENSOR_METADATA),
        "outputs": make_list(TENSOR_METADATA),
    }
)
CONFIGURED = make_list(
    make_object({"name": TEXT, "data_type": TEXT, "dims": make_list(WHOLE)}, format=TEXT)
)
CONFIG = make_object(
    {
        "name": TEXT,
        "platform": TEXT,
        "backend": TEXT,
        "max_batch_size": WHOLE,
        "input": CONFIGURED,
        "output": CONFIGURED,
    },
    version_policy={"type": "object"},
    dynamic_batching={"type": "object"},
    model_transaction_policy={"type": "object"},
)
DURATION = make_object({"count": WHOLE, "ns": WHOLE})
PHASES = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)
STATS = make_object(
    {
        "model_stats": make_list(
            make_object(
                {
                    "name": TEXT,
                    "version": TEXT,
                    "last_inference": WHOLE,
                    "inference_count": WHOLE,
                    "execution_count": WHOLE,
                    "inference_stats": make_object(dict.fromkeys(PHASES, DURATION)),
                    "batch_stats": make_list({}),
                }
            )
        )
    }
)

PREDICT_REQUEST: Schema = {
    "type": "object",
    "properties": {
        "instances": {"type": "array", "minItems": 1, "description": "an item a row"},
        "inputs": {"description": "columns by the inputs' names, or the one input's column"},
        "signature_name": {"type": "string", "enum": ["", "serving_default", "predict"]},
    },
    "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
}
PREDICT_RESPONSE: Schema = {
    "oneOf": [make_object({"predictions": make_list({})}), make_object({"outputs": {}})]
}
EXAMPLES = make_object(
    {"examples": make_list({"type": "object"}, minItems=1)}, context={"type": "object"}
)
CLASSES = make_object({"results": make_list(make_list(make_list({"type": ["string", "number"]})))})
NUMBERS = make_object({"results": make_list({"type": "number"})})
VERSION_STATE = make_object(
    {
        "version": TEXT,
        "state": TEXT,
        "status": make_object({"error_code": TEXT, "error_message": TEXT}),
    }
)
VERSIONS = make_object(
    {
        "name": TEXT,
        "ready": {"type": "boolean"},
        "model_version_status": make_list(VERSION_STATE),
    }
)
METADATA = make_object(
    {
        "model_spec": make_object({"name": TEXT, "signature_name": TEXT, "version": TEXT}),
        "metadata": make_object({"signature_def": {"type": "object"}}),
    }
)

MAX_NOTE_CHARS = 500
MAX_VERSION = 10**9 - 1
FEEDBACK_REQUEST = make_object(
    {
        "inputs": {"description": "as for /predict: values by name, or the only input's value"},
        "prediction": {"type": "string", "description": "the label that was predicted"},
        "correct": {"description": "true, or the right label"},
    },
    version={"type": "integer", "minimum": 1, "maximum": MAX_VERSION},
    note={"type": "string", "maxLength": MAX_NOTE_CHARS},
)
FEEDBACK_STORED = make_object(
    {"id": TEXT, "token": TEXT, "model": TEXT, "label": TEXT, "replaced": {"type": "boolean"}}
)

COMPONENTS = {
    "Error": PROBLEM,
    "ErrorText": WORDS,
    "InferRequest": INFER_REQUEST,
    "InferResponse": INFER_RESPONSE,
    "GenerateRequest": GENERATE_REQUEST,
    "GenerateResponse": GENERATE_RESPONSE,
    "IndexRequest": make_object(repository_name=TEXT, ready={"type": "boolean"}),
    "Index": make_list(make_object({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT})),
    "Server": SERVER_METADATA,
    "Model": MODEL_METADATA,
    "Config": CONFIG,
    "Stats": STATS,
    "PredictRequest": PREDICT_REQUEST,
    "PredictResponse": PREDICT_RESPONSE,
    "Examples": EXAMPLES,
    "Classes": CLASSES,
    "Numbers": NUMBERS,
    "Versions": VERSIONS,
    "Metadata": METADATA,
    "FeedbackRequest": FEEDBACK_REQUEST,
    "FeedbackStored": FEEDBACK_STORED,
    **OPENAI,
}
