"""OpenAI's API: the unchanged `openai` client, and what raw requests get."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("onnx")
pytest.importorskip("tokenizers")

from modelpad.fields.byte_pairs import ByteLevelTokenizer
from modelpad.server import ModelTable, ServedModel, build_app
from modelpad.server.budget import Reservation
from modelpad.server.http.messages import Request
from tests.conftest import Server
from tests.text_graphs import SENTENCES, write_critic, write_writer

PROMPT = "My favorite part was when"
CHAT = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if messages[0].role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with a writer, a critic and a writer that chats."""
    from tests.conftest import start_server, stop_server

    folder = tmp_path_factory.mktemp("bundles")
    write_writer(folder / "writer")
    write_critic(folder / "critic")
    write_writer(folder / "chatty", name="chatty", chat_template=CHAT)
    names = [str(folder / name) for name in ("writer", "critic", "chatty")]
    running = start_server(*names, "--max-queue", "40", store=folder / "store")
    yield running.url
    stop_server(running)


@pytest.fixture
def http(texts: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=texts, timeout=60) as client:
        yield client


def complete(http: httpx.Client, **fields: Any) -> Any:
    record = {"model": "writer", "prompt": PROMPT, "max_tokens": 8, "seed": 3} | fields
    response = http.post("/v1/completions", json=record)
    assert response.status_code == 200, response.text
    return response.json()


def refuse(http: httpx.Client, status: int, path: str = "/v1/completions", **fields: Any) -> Any:
    record = {"model": "writer", "prompt": PROMPT} | fields
    response = http.post(path, json=record)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert {*error} == {"message", "type", "param", "code"}
    return error


def read_events(http: httpx.Client, path: str = "/v1/completions", **fields: Any) -> list[Any]:
    record = {"model": "writer", "max_tokens": 8, "seed": 3, "stream": True} | fields
    if path == "/v1/completions":
        record = {"prompt": PROMPT} | record
    with http.stream("POST", path, json=record) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


# Raw requests.


def test_a_stream_adds_up_to_the_whole(http: httpx.Client) -> None:
    options: dict[str, Any] = {"n": 2, "logprobs": 1, "prompt": [PROMPT, "hello"], "max_tokens": 12}
    whole = complete(http, **options)
    events = read_events(http, **options, stream_options={"include_usage": True})
    *pieces, last = events
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    assert all(each["usage"] is None for each in pieces)
    assert len({each["id"] for each in events}) == 1
    for choice in whole["choices"]:
        mine = [p["choices"][0] for p in pieces if p["choices"][0]["index"] == choice["index"]]
        assert "".join(each["text"] for each in mine) == choice["text"]
        reasons = [each["finish_reason"] for each in mine]
        assert reasons[-1] == choice["finish_reason"]
        assert {*reasons[:-1]} <= {None}
        for key, values in choice["logprobs"].items():
            assert [value for each in mine for value in each["logprobs"][key]] == values


def test_prompts_of_every_form_are_the_same(http: httpx.Client) -> None:
    tokens = http.post("/tokenize", json={"model": "writer", "prompt": PROMPT}).json()["tokens"]
    expected = complete(http)["choices"][0]["text"]
    for prompt in ([PROMPT], tokens, [tokens], [0, *tokens]):
        assert complete(http, prompt=prompt)["choices"][0]["text"] == expected
    two = complete(http, prompt=[tokens, [1]])["choices"]
    assert [each["index"] for each in two] == [0, 1]
    assert two[0]["text"] == expected


def test_echo_scores_the_prompt(http: httpx.Client) -> None:
    choice = complete(http, echo=True, logprobs=1, max_tokens=0)["choices"][0]
    assert choice["text"] == PROMPT
    scores = choice["logprobs"]
    assert "".join(scores["tokens"]) == PROMPT
    assert scores["text_offset"][:2] == [0, len(scores["tokens"][0])]
    for logprob, top, token in zip(
        scores["token_logprobs"], scores["top_logprobs"], scores["tokens"], strict=True
    ):
        assert top[token] == logprob <= max(top.values()) < 0


def test_the_other_options_reach_the_engine(http: httpx.Client) -> None:
    assert (
        complete(http, temperature=0, logit_bias={"5": 100}, max_tokens=3)["choices"][0]["text"]
        == http.post("/detokenize", json={"model": "writer", "tokens": [5, 5, 5]}).json()["prompt"]
    )
    text = complete(http, max_tokens=60)["choices"][0]["text"]
    stop = text[5:8]
    assert (
        complete(http, max_tokens=60, stop=[stop])["choices"][0]["text"] == text[: text.find(stop)]
    )
    assert complete(http, min_p=1.0)["choices"] == complete(http, temperature=0)["choices"]
    assert complete(http, best_of=3, n=1)["usage"]["completion_tokens"] <= 8


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": [PROMPT, 5]}, "prompt"),
        ({"prompt": [999_999]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": "a" * 1_000_000}, "prompt"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"stop": "x" * 10_000}, "stop"),
        ({"stop": ["x"] * 100}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"logit_bias": {"9999": 1}}, "logit_bias"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 1000}}, "logit_bias"),
        ({"logprobs": 50}, "logprobs"),
        ({"seed": "x"}, "seed"),
        ({"suffix": "x"}, "suffix"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"surprise": 1}, "surprise"),
        ({"model": 5}, "model"),
        ({"model": "critic"}, "model"),
        ({"model": None}, "model"),
    ],
)
def test_bad_requests_are_named(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    error = refuse(http, 400, **fields)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 600


def test_broken_unicode_is_refused_and_emoji_are_not(http: httpx.Client) -> None:
    body = b'{"model": "writer", "prompt": "half \\ud83d", "max_tokens": 1}'
    response = http.post("/v1/completions", content=body)
    assert response.status_code == 400
    response = http.post("/v1/completions", content=b'{"model": "writer", "prompt": "\xff"}')
    assert response.status_code == 400
    assert complete(http, prompt="🙂é東", echo=True, max_tokens=0)["choices"][0]["text"] == "🙂é東"
    assert http.post("/v1/completions", json=[1]).status_code == 400
    assert http.post("/v1/completions", content=b"{").json()["error"]["type"]


def test_unknown_models_are_named(http: httpx.Client) -> None:
    error = refuse(http, 404, model="nobody")
    assert error["code"] == "model_not_found"
    assert "chatty, critic, writer" in error["message"]
    refuse(http, 404, model="writer@7")
    assert complete(http, model="writer@1")["model"] == "writer"


def test_the_list_of_models_serves_every_protocol(http: httpx.Client) -> None:
    listed = http.get("/v1/models").json()
    assert [each["id"] for each in listed["data"]] == listed["models"]
    assert listed["object"] == "list"
    one = http.get("/v1/models/writer").json()
    assert (one["id"], one["object"]) == ("writer", "model")
    assert one["model_version_status"][0]["state"] == "AVAILABLE"


def test_tokens_and_texts(http: httpx.Client) -> None:
    asked = {"model": "writer", "prompt": "a <|endoftext|>é", "return_token_strs": True}
    found = http.post("/tokenize", json=asked).json()
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert 0 in found["tokens"]
    again = http.post("/detokenize", json={"model": "writer", "tokens": found["tokens"]}).json()
    assert again == {"prompt": asked["prompt"]}
    info = http.get("/tokenizer_info", params={"model": "writer"}).json()
    assert info["eos_token"] == "<|endoftext|>"
    for path, wrong in (
        ("/tokenize", {"prompt": 5}),
        ("/tokenize", {"surprise": 5}),
        ("/detokenize", {"tokens": ["x"], "prompt": None}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "prompt": None}),
    ):
        record = {k: v for k, v in ({"prompt": None} | wrong).items() if v is not None}
        response = http.post(path, json={"model": "writer"} | record)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_chat_uses_the_models_template(http: httpx.Client) -> None:
    pytest.importorskip("jinja2")
    messages = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    asked = {"model": "chatty", "messages": messages, "max_tokens": 6, "seed": 3}
    response = http.post("/v1/chat/completions", json=asked | {"logprobs": True, "top_logprobs": 2})
    choice = response.json()["choices"][0]
    plain = complete(http, prompt="user: hello\nassistant:", model="chatty", max_tokens=6)
    assert choice["message"] == {
        "role": "assistant",
        "content": plain["choices"][0]["text"],
        "refusal": None,
    }
    assert len(choice["logprobs"]["content"]) == 6
    events = read_events(http, "/v1/chat/completions", **asked)
    deltas = [each["choices"][0]["delta"] for each in events]
    assert deltas[0]["role"] == "assistant"
    assert "".join(each["content"] for each in deltas) == choice["message"]["content"]
    for wrong in ([], [{"role": "king", "content": "x"}], [{"role": "tool", "content": "x"}], "x"):
        response = http.post("/v1/chat/completions", json=asked | {"messages": wrong})
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == "messages"


def test_a_template_is_confined() -> None:
    pytest.importorskip("jinja2")
    from jinja2.exceptions import SecurityError

    from modelpad.server.protocols.openai.chat import compile_template

    for attack in (
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
    ):
        with pytest.raises((SecurityError, Exception)) as error:
            compile_template(attack).render(messages=["x"])
        assert "unsafe" in str(error.value) or "undefined" in str(error.value)


def test_overload_and_clients_that_leave(http: httpx.Client, texts: str) -> None:
    async def work() -> list[int]:
        async with httpx.AsyncClient(base_url=texts, timeout=60) as client:
            record = {"model": "writer", "prompt": PROMPT, "max_tokens": 10_000}
            record |= {"n": 16, "ignore_eos": True}

            async def ask() -> int:
                response = await client.post("/v1/completions", json=record)
                assert response.headers["retry-after"] == "1"
                assert response.json()["error"]["type"] == "rate_limit_error"
                return response.status_code

            asked = [asyncio.create_task(ask()) for _ in range(4)]
            ended = asyncio.as_completed(asked)
            statuses = [await next(ended), await next(ended)]
            for each in asked:
                each.cancel()  # the other two are being answered
            assert sum(not each.done() for each in asked) == 2
            await asyncio.wait(asked)
            return statuses

    assert asyncio.run(work()) == [429, 429]
    end = time.monotonic() + 20
    while 'modelpad_queue_length{model="writer"} 0' not in http.get("/metrics").text:
        assert time.monotonic() < end, "texts of clients that left are still being written"
        time.sleep(0.05)
    complete(http)


def test_more_texts_than_may_ever_wait_are_too_many(http: httpx.Client) -> None:
    for stream in (False, True):
        error = refuse(http, 400, prompt=[PROMPT] * 41, stream=stream)
        assert "41 texts" in error["message"]
    asked = {"instances": [SENTENCES[0]] * 41}  # one after the other
    found = http.post("/v1/models/critic:predict", json=asked).json()["predictions"]
    assert len(found) == 41


def test_long_texts_are_encoded_off_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2")
    threads: list[str] = []
    encode = ByteLevelTokenizer.encode

    def note(self: ByteLevelTokenizer, text: str, **how: bool) -> list[int]:
        threads.append(threading.current_thread().name)
        return encode(self, text, **how)

    monkeypatch.setattr(ByteLevelTokenizer, "encode", note)
    monkeypatch.setattr("modelpad.engine.text.batcher.LONG_CHARS", 2000)
    opened = [
        write_writer(tmp_path / "writer", chat_template=CHAT),
        write_critic(tmp_path / "critic"),
    ]
    app = build_app(ModelTable(ServedModel.load(each.manifest.name, 1, each) for each in opened))
    threads.clear()
    text = "word " * 500

    async def ask(path: str, record: Any) -> int:
        body = json.dumps(record).encode()

        async def read() -> tuple[bytes, bool]:
            return body, False

        with Reservation(app.backend.budget) as held:
            held.grow(len(body))
            request = Request("POST", path, b"", {}, read, app.backend.limits, held)
            return (await app.respond(request)).status

    async def act() -> None:
        writer = {"model": "writer", "max_tokens": 1}
        for path, record in (
            ("/v1/completions", writer | {"prompt": text}),
            ("/v1/chat/completions", writer | {"messages": [{"role": "user", "content": text}]}),
            ("/v1/embeddings", {"model": "critic", "input": text}),
            ("/tokenize", {"model": "writer", "prompt": text}),
            ("/v2/models/writer/generate", {"text_input": text, "max_tokens": 1}),
            ("/predict/critic", {"text": text}),
        ):
            assert await ask(path, record) == 200, path
            assert threads, path
            assert "MainThread" not in threads, path
            threads.clear()

    asyncio.run(act())
    assert app.host.models is not None
    app.host.models.close()


def test_what_is_tokenized_has_the_fields_limit(http: httpx.Client) -> None:
    for prompt in ("word " * 5000, " " * 25_000):
        for path in ("/tokenize", "/v1/completions"):
            assert "at most 20,000" in refuse(http, 400, path, prompt=prompt)["message"]
    for prompt, count in (("", 0), (" " * 9, 9)):
        record = {"model": "writer", "prompt": prompt}
        assert 0 <= http.post("/tokenize", json=record).json()["count"] <= count


def test_tokens_are_counted(http: httpx.Client) -> None:
    def read() -> dict[str, float]:
        lines = http.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("modelpad_tokens_total")]
        counts = {line.partition("kind=")[2][1:5]: 0.0 for line in found}
        for line in found:
            if 'model="writer"' in line:
                counts[line.partition("kind=")[2][1:5]] += float(line.rpartition(" ")[2])
        return counts

    before = read()
    usage = complete(http, prompt="something never asked before", ignore_eos=True)["usage"]
    after = read()
    assert after["writ"] - before["writ"] == usage["completion_tokens"] == 8
    assert after["read"] - before["read"] == usage["prompt_tokens"] + 1 + 7
    complete(http, prompt="something never asked before", ignore_eos=True)
    assert read()["reme"] > before.get("reme", 0)
    assert "modelpad_first_token_seconds_count" in http.get("/metrics").text


# The typed API, and Triton's.


def test_the_typed_api_continues_texts_and_classifies(http: httpx.Client) -> None:
    query = {"prompt": PROMPT, "words": "3", "seed": "5"}
    answer = http.get("/predict/writer", params=query).json()
    text = answer["outputs"]["text"]
    assert text.startswith(PROMPT)
    assert len(text[len(PROMPT) :].split()) <= 4
    posted = http.post("/predict/writer", json={"prompt": PROMPT, "words": 3, "seed": 5})
    assert posted.json() == answer
    plain = http.post(
        "/predict/writer?words=3&seed=5", content=PROMPT, headers={"content-type": "text/plain"}
    )
    assert plain.json() == answer
    review = http.get("/predict/critic", params={"text": SENTENCES[1]}).json()
    assert {*review["scores"]} == {"negative", "positive"}
    assert review["tokens_read"] > 10
    for path, status in (
        ("/predict/writer", 422),
        ("/predict/writer?prompt=", 422),
        ("/predict/writer?prompt=x&temperature=-1", 422),
        ("/predict/writer?prompt=x&surprise=1", 422),
        ("/predict/critic?words=5", 422),
        ("/predict/critic?text=x&words=5", 422),
        ("/predict/nobody?text=x", 404),
    ):
        response = http.get(path)
        assert response.status_code == status, response.text
        assert response.json()["error"]["hint"]


def test_triton_streams_texts(http: httpx.Client) -> None:
    asked = {"text_input": PROMPT, "temperature": 0, "max_tokens": 6}
    path = "/v2/models/writer/generate"
    whole = http.post(path, json=asked | {"exclude_input_in_output": True}).json()
    assert http.post(path, json=asked).json()["text_output"] == PROMPT + whole["text_output"]
    nested = {"text_input": PROMPT, "sampling_parameters": '{"temperature": 0, "max_tokens": 6}'}
    assert http.post(path, json=nested).json()["text_output"] == PROMPT + whole["text_output"]
    with http.stream("POST", f"{path}_stream", json=asked) as response:
        lines = [line for line in response.iter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert "".join(each["text_output"] for each in events) == whole["text_output"]
    assert len(events) > 1
    for wrong in ({"text_input": ""}, {"sampling_parameters": "{"}, asked | {"n": 2}, [1]):
        assert http.post(path, json=wrong).status_code == 400


def test_the_tensor_protocols_take_strings(http: httpx.Client) -> None:
    asked = {"instances": [SENTENCES[0], SENTENCES[1]]}
    found = http.post("/v1/models/critic:predict", json=asked).json()["predictions"]
    scores = http.post("/predict/critic", json={"text": SENTENCES[1]}).json()["scores"]
    assert found[1] == pytest.approx([*scores.values()], abs=1e-5)
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [SENTENCES[1]]}
    output = http.post("/v2/models/critic/infer", json={"inputs": [tensor]}).json()["outputs"][0]
    assert output["data"] == pytest.approx(found[1])
    described = http.get("/v2/models/writer").json()
    assert [each["datatype"] for each in described["inputs"]] == ["BYTES"]
    assert http.get("/v2/models/writer/config").status_code == 200


# Clients.


@pytest.fixture
def client(texts: str) -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{texts}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_client_completes_and_streams(client: Any) -> None:
    asked = {"model": "writer", "prompt": PROMPT, "max_tokens": 12, "seed": 9, "logprobs": 2}
    whole = client.completions.create(**asked)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 12
    assert len(whole.choices[0].logprobs.tokens) > 0
    options = {"include_usage": True}
    events = [*client.completions.create(**asked, stream=True, stream_options=options)]
    text = "".join(choice.text for event in events for choice in event.choices)
    assert text == whole.choices[0].text
    assert events[-1].usage == whole.usage
    extra = client.completions.create(
        model="writer", prompt=PROMPT, max_tokens=5, temperature=0, extra_body={"min_tokens": 2}
    )
    assert extra.model == "writer"


def test_the_client_lists_models(client: Any) -> None:
    assert [each.id for each in client.models.list()] == ["writer", "critic", "chatty"]
    assert client.models.retrieve("writer").owned_by == "modelpad"


def test_the_client_raises_its_own_errors(client: Any) -> None:
    import openai

    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model="writer", prompt="x", temperature=-1)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.completions.create(model="nobody", prompt="x")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")
    with pytest.raises(openai.BadRequestError, match="chat template"):
        client.chat.completions.create(model="writer", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="embeddings"):
        client.embeddings.create(model="writer", input="x")
    for field, wrong in (
        ("input", []),
        ("input", ["x", 5]),
        ("input", [[]]),
        ("input", [4_000]),
        ("input", ["x"] * 2_049),
        ("encoding_format", "int8"),
        ("dimensions", 3),
        ("surprise", True),
    ):
        asked: dict[str, Any] = {"model": "critic", "input": "x", field: wrong}
        with pytest.raises(openai.BadRequestError) as bad:
            client.post("/embeddings", body=asked, cast_to=object)
        assert bad.value.param == field


def test_the_client_embeds_texts(client: Any, http: httpx.Client) -> None:
    texts = [*SENTENCES, SENTENCES[0] * 40]
    found = client.embeddings.create(model="critic", input=texts)  # as base64
    numbers = client.embeddings.create(model="critic", input=texts, encoding_format="float")
    assert [each.index for each in found.data] == [*range(len(texts))]
    for one, other in zip(found.data, numbers.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
        assert sum(value * value for value in one.embedding) == pytest.approx(1, abs=1e-5)
    assert found.data[0].embedding != pytest.approx(found.data[1].embedding, abs=1e-3)
    asked = {"model": "critic", "prompt": SENTENCES[0]}
    tokens = http.post("/tokenize", json=asked).json()["tokens"]
    dimensions = len(found.data[0].embedding)
    alone = client.embeddings.create(model="critic", input=tokens, dimensions=dimensions)
    assert alone.data[0].embedding == pytest.approx(found.data[0].embedding, abs=1e-5)
    assert alone.usage.prompt_tokens == alone.usage.total_tokens == len(tokens)


def test_the_client_chats(client: Any) -> None:
    pytest.importorskip("jinja2")
    asked = {"model": "chatty", "messages": [{"role": "user", "content": "hi"}], "seed": 1}
    whole = client.chat.completions.create(**asked, max_completion_tokens=7)
    events = client.chat.completions.create(**asked, max_completion_tokens=7, stream=True)
    text = "".join(event.choices[0].delta.content or "" for event in events)
    assert text == whole.choices[0].message.content


def test_the_asynchronous_client_streams_many_at_once(texts: str) -> None:
    openai = pytest.importorskip("openai")

    async def work() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{texts}/v1", api_key="none") as client:

            async def ask(seed: int) -> str:
                stream = await client.completions.create(
                    model="writer", prompt=PROMPT, max_tokens=20, seed=seed % 4, stream=True
                )
                return "".join([event.choices[0].text async for event in stream])

            return await asyncio.gather(*(ask(seed) for seed in range(24)))

    found = asyncio.run(work())
    assert found[:4] * 6 == found
    assert len({*found}) == 4


def test_keys_are_checked(
    tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., Server]
) -> None:
    openai = pytest.importorskip("openai")
    folder = tmp_path_factory.mktemp("guarded")
    write_writer(folder / "writer")
    file = folder / "keys"
    file.write_text("ada=secret-of-ada-0123456789\n")
    running = serve(str(folder / "writer"), "--api-keys", str(file), store=folder / "store")
    for key, error in (("secret-of-ada-0123456789", None), ("wrong", openai.AuthenticationError)):
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0) as client:
            if error is None:
                assert client.completions.create(model="writer", prompt="x", max_tokens=1).choices
            else:
                with pytest.raises(error) as wrong:
                    client.completions.create(model="writer", prompt="x", max_tokens=1)
                assert wrong.value.code == "invalid_api_key"


def test_langchain_writes(texts: str) -> None:
    langchain = pytest.importorskip("langchain_openai")
    model = langchain.OpenAI(base_url=f"{texts}/v1", api_key="none", model="writer", max_tokens=6)
    assert model.invoke(PROMPT)
    assert "".join(model.stream(PROMPT))
    assert len(model.generate([PROMPT, "hello"]).generations) == 2
