"""`modelpad.Client`: ask a server from Python, with typed values and patience."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from modelpad.client.values import Answer, decode_answer, encode_inputs, knows_outputs
from modelpad.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    MissingExtra,
    ModelFailed,
    ModelNotFound,
    ModelpadError,
    NotReady,
    Overloaded,
    TooLarge,
    Unauthorized,
    UnknownHost,
)

AGAIN = (429, 503)
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0
AT_ONCE = 8
AHEAD = 4  # times as many are begun, so that a slow one holds up no other
ERRORS: dict[int, type[ModelpadError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: ModelNotFound,
    413: TooLarge,
    421: UnknownHost,
    422: InvalidInput,
    429: Overloaded,
    503: NotReady,
    504: DeadlineExceeded,
}


def read_error(status: int, record: Any) -> ModelpadError:
    """The error that a server told, as the one that it raised."""
    told = record.get("error", {}) if isinstance(record, dict) else {}
    told = told if isinstance(told, dict) else {"message": str(told)}
    message = told.get("message") or f"The server answered {status}."
    details = {key: value for key, value in told.items() if key not in ("message", "hint")}
    return ERRORS.get(status, ModelFailed)(message, hint=told.get("hint", ""), **details)


def _load_httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("httpx", extra="client") from error
    return httpx


class _Asker:
    """What both clients share: where they ask, with which key and patience; the models once known.

    They name their class of httpx, as httpx is an extra that may be missing.
    """

    _http_class: ClassVar[str]

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 4,
    ) -> None:
        """Raises `MissingExtra` without the `client` extra."""
        self._httpx = _load_httpx()
        self._url, self._timeout_s, self._retries = url.rstrip("/"), timeout_s, retries
        self._models: dict[str, Mapping[str, Any]] = {}
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = getattr(self._httpx, self._http_class)(headers=headers, timeout=timeout_s)

    def _keep_models(self, record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        if "models" not in record:
            raise _not_ours()
        self._models = {model["name"]: model for model in record["models"]}
        return list(self._models.values())

    def _knows(self, name: str | None) -> bool:
        return name in self._models if name else bool(self._models)

    def _pick(self, name: str | None) -> Mapping[str, Any]:
        """The model of that name, or the only one. Raises `ModelNotFound`."""
        if name is None and len(self._models) == 1:
            return next(iter(self._models.values()))
        if name in self._models:
            return self._models[name]
        known = ", ".join(self._models)
        raise ModelNotFound(
            f"The server has no model {name!r}." if name else "The server has several models.",
            hint=f"It has: {known}.",
            known=sorted(self._models),
        )

    def _judge(self, attempt: int, outcome: Any) -> float | None:
        """How long to wait before the next try; None when `outcome`, an answer, is to be read.

        `outcome` may also be what httpx raised in place of an answer. Raises `DeadlineExceeded`
        when the server took too long, `NotReady` when it was not reached by the last try either.
        """
        last = attempt >= self._retries
        if isinstance(outcome, self._httpx.TimeoutException):
            raise DeadlineExceeded(
                f"No answer from {self._url} within {self._timeout_s:g} s.",
                hint="Give more time: timeout_s=60",
                timeout_s=self._timeout_s,
            ) from outcome
        if isinstance(outcome, Exception):
            if last:
                raise NotReady(
                    f"{self._url} cannot be reached: {outcome}.", hint="Is it running?"
                ) from outcome
            return _wait_s(attempt, None)
        # Waiting does not make a wrong key valid: the server says so with this header, also in 429.
        wants_key = "www-authenticate" in outcome.headers
        if outcome.status_code in AGAIN and not wants_key and not last:
            return _wait_s(attempt, outcome.headers.get("retry-after"))
        return None


def _wait_s(attempt: int, retry_after: str | None) -> float:
    """How long before the next try: as the server says, else twice as long each time."""
    if retry_after and retry_after.isdecimal():
        return min(LONGEST_WAIT_S, float(retry_after))
    wait: float = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
    return wait * random.uniform(0.5, 1.0)


class Client(_Asker):
    """Asks a server. Connections are kept; 429 and 503 are tried again, with growing patience.

        with modelpad.Client("http://127.0.0.1:8080") as client:
            client.predict(Path("seven.png")).label

    Safe to use from several threads.
    """

    _http_class = "Client"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def models(self) -> list[Mapping[str, Any]]:
        """What the server has: names, versions, fields, cards."""
        return self._keep_models(self._ask("GET", "/models"))

    def predict(self, value: Any = None, *, model: str | None = None, **inputs: Any) -> Answer:
        """One answer. `value` is for a model of one input; several go by their names.

        A picture is a `Path`, bytes, a Pillow image or a uint8 array; a tensor an array or lists; a
        text a string.

        Raises:
            InvalidInput, TooLarge, ModelNotFound, Unauthorized: the server does not take it.
            Overloaded, NotReady, DeadlineExceeded: it had no time, also after all tries.
            ModelFailed: it failed.
        """
        found = self._find(model)
        body = encode_inputs(found, value, inputs)
        record = self._ask("POST", f"/predict/{found['name']}", body)
        if not knows_outputs(found, record):  # another version has taken over
            self.models()
            found = self._pick(found["name"])
        return decode_answer(found, record)

    def predict_many(
        self, values: Iterable[Any], *, model: str | None = None, at_once: int = AT_ONCE
    ) -> Iterator[Answer]:
        """Answers in the order of `values` (dictionaries by input name for several inputs).

        Values are taken as they are needed, so there may be any number of them.
        """
        from concurrent.futures import Future, ThreadPoolExecutor

        found = self._find(model)
        waiting: deque[Future[Answer]] = deque()
        with ThreadPoolExecutor(at_once) as threads:
            try:
                for value in values:
                    waiting.append(threads.submit(self._predict_one, found["name"], value))
                    if len(waiting) >= AHEAD * at_once:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

    def _predict_one(self, name: str, value: Any) -> Answer:
        if isinstance(value, dict):
            return self.predict(model=name, **value)
        return self.predict(value, model=name)

    def _find(self, name: str | None) -> Mapping[str, Any]:
        if not self._knows(name):
            self.models()
        return self._pick(name)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        attempt, sent = 0, _write(body)
        while True:
            try:
                outcome = self._http.request(method, self._url + path, **sent)
            except self._httpx.TransportError as error:
                outcome = error
            wait_s = self._judge(attempt, outcome)
            if wait_s is None:
                return _read(outcome)
            time.sleep(wait_s)
            attempt += 1


class AsyncClient(_Asker):
    """`Client` for asyncio: the same calls, awaited."""

    _http_class = "AsyncClient"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def models(self) -> list[Mapping[str, Any]]:
        """What the server has: names, versions, fields, cards."""
        return self._keep_models(await self._ask("GET", "/models"))

    async def predict(
        self, value: Any = None, *, model: str | None = None, **inputs: Any
    ) -> Answer:
        """One answer; see `Client.predict`."""
        found = await self._find(model)
        body = encode_inputs(found, value, inputs)
        record = await self._ask("POST", f"/predict/{found['name']}", body)
        if not knows_outputs(found, record):
            await self.models()
            found = self._pick(found["name"])
        return decode_answer(found, record)

    async def predict_many(
        self, values: Iterable[Any], *, model: str | None = None, at_once: int = AT_ONCE
    ) -> AsyncIterator[Answer]:
        """Answers in the order of `values`; see `Client.predict_many`."""
        found = await self._find(model)
        if at_once < 1:
            raise ValueError("at_once must be at least 1")
        gate = asyncio.Semaphore(at_once)

        async def one(value: Any) -> Answer:
            async with gate:
                named = value if isinstance(value, dict) else {}
                alone = None if isinstance(value, dict) else value
                return await self.predict(alone, model=found["name"], **named)

        waiting: deque[asyncio.Task[Answer]] = deque()
        try:
            for value in values:
                waiting.append(asyncio.create_task(one(value)))
                if len(waiting) >= AHEAD * at_once:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    async def _find(self, name: str | None) -> Mapping[str, Any]:
        if not self._knows(name):
            await self.models()
        return self._pick(name)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        attempt, sent = 0, _write(body)
        while True:
            try:
                outcome = await self._http.request(method, self._url + path, **sent)
            except self._httpx.TransportError as error:
                outcome = error
            wait_s = self._judge(attempt, outcome)
            if wait_s is None:
                return _read(outcome)
            await asyncio.sleep(wait_s)
            attempt += 1


def _write(body: Any) -> dict[str, Any]:
    if body is None:
        return {}
    try:
        content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"The input cannot be sent as JSON: {error}.", hint="Send finite numbers, or text."
        ) from error
    return {"content": content, "headers": {"content-type": "application/json"}}


def _read(answer: Any) -> Any:
    try:
        record = answer.json()
    except ValueError:
        record = None
    if answer.status_code != 200:
        raise read_error(answer.status_code, record)
    if not isinstance(record, dict):
        raise _not_ours()
    return record


def _not_ours() -> ModelFailed:
    return ModelFailed("The answer is not one of modelpad's.", hint="Check the URL.")
