"""The bodies of OpenAI's API, as JSON Schema."""

from __future__ import annotations

from modelpad.server.json_schema import TEXT, WHOLE, Schema, make_list, make_object

NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
TOKENS = make_list({"type": "integer", "minimum": 0})
PROMPT: Schema = {
    "description": "a text, its tokens, or a list of texts or of lists of tokens",
    "oneOf": [TEXT, make_list(TEXT), TOKENS, make_list(TOKENS)],
}
LOGPROBS: Schema = {"type": ["object", "null"]}
REASON: Schema = {"enum": ["stop", "length", None]}
SAMPLING: dict[str, Schema] = {
    "max_tokens": {"type": "integer", "minimum": 0},
    "min_tokens": {"type": "integer", "minimum": 0},
    "words": {"type": "integer", "description": "end after so many words"},
    "temperature": {"type": "number", "minimum": 0},
    "top_k": {"type": "integer", "description": "keep the k likeliest tokens; 0 or -1: all"},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "min_p": {"type": "number", "minimum": 0, "maximum": 1},
    "repetition_penalty": NUMBER,
    "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "logit_bias": {"type": "object", "additionalProperties": NUMBER},
    "seed": WHOLE,
    "stop": {"oneOf": [TEXT, make_list(TEXT)]},
    "n": {"type": "integer", "minimum": 1},
    "best_of": {"type": "integer", "minimum": 1},
    "ignore_eos": BOOLEAN,
    "stream": BOOLEAN,
    "stream_options": make_object(include_usage=BOOLEAN),
}
USAGE: Schema = {
    "oneOf": [
        make_object({"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE}),
        {"type": "null"},
    ]
}
HEAD: dict[str, Schema] = {"id": TEXT, "object": TEXT, "created": WHOLE, "model": TEXT}
CHOICE = make_object({"index": WHOLE, "text": TEXT, "logprobs": LOGPROBS, "finish_reason": REASON})
MESSAGE = make_object({"role": TEXT, "content": {"type": ["string", "array"]}})
CHAT_CHOICE = make_object({"index": WHOLE, "finish_reason": REASON}, message=MESSAGE)
EMBEDDING = make_object(
    {
        "object": {"const": "embedding"},
        "index": WHOLE,
        "embedding": {"oneOf": [make_list(NUMBER), TEXT]},
    }
)
ERROR = make_object(
    {
        "error": make_object(
            {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            }
        )
    }
)

COMPONENTS: dict[str, Schema] = {
    "OpenAIError": ERROR,
    "CompletionRequest": make_object(
        {"prompt": PROMPT},
        model=TEXT,
        echo=BOOLEAN,
        logprobs={"type": ["integer", "null"], "minimum": 0},
        **SAMPLING,
    ),
    "Completion": make_object(HEAD | {"choices": make_list(CHOICE), "usage": USAGE}),
    "ChatRequest": make_object(
        {"messages": make_list(MESSAGE)},
        model=TEXT,
        max_completion_tokens=WHOLE,
        logprobs=BOOLEAN,
        top_logprobs=WHOLE,
        **SAMPLING,
    ),
    "Chat": make_object(HEAD | {"choices": make_list(CHAT_CHOICE), "usage": USAGE}),
    "EmbeddingRequest": make_object(
        {"input": PROMPT},
        model=TEXT,
        encoding_format={"enum": ["float", "base64"]},
        dimensions=WHOLE,
    ),
    "Embeddings": make_object(
        {
            "object": {"const": "list"},
            "data": make_list(EMBEDDING),
            "model": TEXT,
            "usage": make_object({"prompt_tokens": WHOLE, "total_tokens": WHOLE}),
        }
    ),
    "ModelList": make_object(
        {
            "object": {"const": "list"},
            "data": make_list(
                make_object({"id": TEXT, "object": TEXT, "created": WHOLE, "owned_by": TEXT})
            ),
            "models": make_list(TEXT),
        }
    ),
    "TokenizeRequest": make_object(
        {"prompt": TEXT}, model=TEXT, add_special_tokens=BOOLEAN, return_token_strs=BOOLEAN
    ),
    "Tokens": make_object(
        {"tokens": TOKENS, "count": WHOLE, "max_model_len": {"type": ["integer", "null"]}},
        token_strs=make_list(TEXT),
    ),
    "DetokenizeRequest": make_object({"tokens": TOKENS}, model=TEXT),
    "Detokenized": make_object({"prompt": TEXT}),
    "TokenizerInfo": make_object(
        {
            "model": TEXT,
            "vocab_size": WHOLE,
            "bos_token": {"type": ["string", "null"]},
            "eos_token": {"type": ["string", "null"]},
        }
    ),
}
