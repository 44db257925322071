"""`modelpad.Client`: predictions from a server, with typed values and retries."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict

from modelpad.client.values import Model, decode_prediction, encode_inputs, knows_outputs
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
from modelpad.foreign_json import Json, text_at
from modelpad.prediction import Prediction
from modelpad.python_values import split_items

if TYPE_CHECKING:
    import httpx

RETRIED = (429, 503)
FIRST_WAIT_S, MAX_WAIT_S = 0.1, 10.0
CONCURRENCY = 8
LOOKAHEAD = 4  # started requests per concurrent one, so that a slow one does not delay others
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


def read_error(status: int, record: Json) -> ModelpadError:
    """The exception for an error response."""
    error = record.get("error", {}) if isinstance(record, dict) else {}
    error = error if isinstance(error, dict) else {"message": str(error)}
    message = str(error.get("message") or f"The server returned {status}.")
    details = {key: value for key, value in error.items() if key not in ("message", "hint")}
    return ERRORS.get(status, ModelFailed)(message, hint=str(error.get("hint", "")), **details)


def _load_httpx() -> ModuleType:
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("httpx", extra="client") from error
    return httpx


class _Settings(TypedDict):
    """Arguments of `httpx.Client` and `httpx.AsyncClient`."""

    headers: dict[str, str]
    timeout: float


class _Content(TypedDict, total=False):
    """Arguments of a request with httpx."""

    content: bytes
    headers: dict[str, str]


class _Session:
    """What both clients share: the server's address, the retry policy and the known models."""

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
        self._models: dict[str, Model] = {}
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._settings: _Settings = {"headers": headers, "timeout": timeout_s}

    def _keep_models(self, record: dict[str, Json]) -> list[Model]:
        models = record.get("models")
        if not isinstance(models, list):
            raise _unexpected()
        self._models = {text_at(m, "name"): m for m in models if isinstance(m, dict)}
        return list(self._models.values())

    def _knows(self, name: str | None) -> bool:
        return name in self._models if name else bool(self._models)

    def _pick(self, name: str | None) -> Model:
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

    def _retry_delay(self, attempt: int, outcome: httpx.Response | Exception) -> float | None:
        """The seconds until the next attempt; None if the response is final.

        `outcome` is a response or an exception of httpx. Raises `DeadlineExceeded` on a time-out,
        and `NotReady` if the last attempt did not reach the server.
        """
        last = attempt >= self._retries
        if isinstance(outcome, self._httpx.TimeoutException):
            raise DeadlineExceeded(
                f"{self._url} did not respond within {self._timeout_s:g} s.",
                hint="Allow more time: timeout_s=60",
                timeout_s=self._timeout_s,
            ) from outcome
        if isinstance(outcome, Exception):
            if last:
                raise NotReady(
                    f"{self._url} cannot be reached: {outcome}.", hint="Is it running?"
                ) from outcome
            return _wait_s(attempt, None)
        # A wrong API key does not become valid: the server sends this header, also with 429.
        wants_key = "www-authenticate" in outcome.headers
        if outcome.status_code in RETRIED and not wants_key and not last:
            return _wait_s(attempt, outcome.headers.get("retry-after"))
        return None


def _wait_s(attempt: int, retry_after: str | None) -> float:
    """The server's Retry-After, else exponential backoff with jitter."""
    if retry_after and retry_after.isdecimal():
        return min(MAX_WAIT_S, float(retry_after))
    wait: float = min(MAX_WAIT_S, FIRST_WAIT_S * 2**attempt)
    return wait * random.uniform(0.5, 1.0)


class Client(_Session):
    """A client of a server. It reuses connections, and retries on 429 and 503 with backoff.

        with modelpad.Client("http://127.0.0.1:8080") as client:
            client.predict("seven.png").label

    It is thread-safe.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 4,
    ) -> None:
        """Raises `MissingExtra` without the `client` extra."""
        super().__init__(url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._http: httpx.Client = self._httpx.Client(**self._settings)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def models(self) -> list[Model]:
        """The server's models, with their names, versions, fields and cards."""
        return self._keep_models(self._send("GET", "/models"))

    def predict(
        self, value: object = None, *, model: str | None = None, **inputs: object
    ) -> Prediction:
        """One prediction. `value` is the only input, or a dictionary; `inputs` are given by name.

        An image is a path, bytes, a Pillow image or a uint8 array. A tensor is an array or
        nested lists. Text is a string. A missing number is None or NaN. A row of a data frame names
        the inputs.

        Raises:
            InvalidInput, TooLarge, ModelNotFound, Unauthorized: the server rejects the request.
            Overloaded, NotReady, DeadlineExceeded: the server is busy, even after all retries.
            ModelFailed: the prediction failed.
        """
        found = self._find(model)
        body = encode_inputs(found, value, inputs)
        record = self._send("POST", f"/predict/{text_at(found, 'name')}", body)
        if not knows_outputs(found, record):  # the server has loaded another version
            self.models()
            found = self._pick(text_at(found, "name"))
        return decode_prediction(found, record)

    def predict_many(
        self, values: Iterable[object], *, model: str | None = None, concurrency: int = CONCURRENCY
    ) -> Iterator[Prediction]:
        """Predictions in the order of `values`, which are dictionaries for several inputs.

        Values are consumed lazily, so there may be any number of them. A `csv.DictReader` will do,
        and a data frame whose columns are the inputs.
        """
        from concurrent.futures import Future, ThreadPoolExecutor

        name = text_at(self._find(model), "name")
        waiting: deque[Future[Prediction]] = deque()
        with ThreadPoolExecutor(concurrency) as threads:
            try:
                for value in split_items(values):
                    waiting.append(threads.submit(self.predict, value, model=name))
                    if len(waiting) >= LOOKAHEAD * concurrency:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

    def _find(self, name: str | None) -> Model:
        if not self._knows(name):
            self.models()
        return self._pick(name)

    def _send(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> dict[str, Json]:
        attempt, content = 0, _write(body)
        while True:
            outcome: httpx.Response | Exception
            try:
                outcome = self._http.request(method, self._url + path, **content)
            except self._httpx.TransportError as error:
                outcome = error
            wait_s = self._retry_delay(attempt, outcome)
            if wait_s is None and not isinstance(outcome, Exception):
                return _read(outcome)
            time.sleep(wait_s or 0.0)
            attempt += 1


class AsyncClient(_Session):
    """`Client` for asyncio: the same methods, awaited."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 4,
    ) -> None:
        """Raises `MissingExtra` without the `client` extra."""
        super().__init__(url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._http: httpx.AsyncClient = self._httpx.AsyncClient(**self._settings)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def models(self) -> list[Model]:
        """The server's models, with their names, versions, fields and cards."""
        return self._keep_models(await self._send("GET", "/models"))

    async def predict(
        self, value: object = None, *, model: str | None = None, **inputs: object
    ) -> Prediction:
        """One prediction. See `Client.predict`."""
        found = await self._find(model)
        body = encode_inputs(found, value, inputs)
        record = await self._send("POST", f"/predict/{text_at(found, 'name')}", body)
        if not knows_outputs(found, record):
            await self.models()
            found = self._pick(text_at(found, "name"))
        return decode_prediction(found, record)

    async def predict_many(
        self, values: Iterable[object], *, model: str | None = None, concurrency: int = CONCURRENCY
    ) -> AsyncIterator[Prediction]:
        """Predictions in the order of `values`. See `Client.predict_many`."""
        found = await self._find(model)
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        gate = asyncio.Semaphore(concurrency)

        async def one(value: object) -> Prediction:
            async with gate:
                return await self.predict(value, model=text_at(found, "name"))

        waiting: deque[asyncio.Task[Prediction]] = deque()
        try:
            for value in split_items(values):
                waiting.append(asyncio.create_task(one(value)))
                if len(waiting) >= LOOKAHEAD * concurrency:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    async def _find(self, name: str | None) -> Model:
        if not self._knows(name):
            await self.models()
        return self._pick(name)

    async def _send(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> dict[str, Json]:
        attempt, content = 0, _write(body)
        while True:
            outcome: httpx.Response | Exception
            try:
                outcome = await self._http.request(method, self._url + path, **content)
            except self._httpx.TransportError as error:
                outcome = error
            wait_s = self._retry_delay(attempt, outcome)
            if wait_s is None and not isinstance(outcome, Exception):
                return _read(outcome)
            await asyncio.sleep(wait_s or 0.0)
            attempt += 1


def _write(body: dict[str, object] | None) -> _Content:
    if body is None:
        return {}
    try:
        content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"The input cannot be sent as JSON: {error}.", hint="Send finite numbers, or text."
        ) from error
    return {"content": content, "headers": {"content-type": "application/json"}}


def _read(response: httpx.Response) -> dict[str, Json]:
    try:
        record: Json = response.json()
    except ValueError:
        record = None
    if response.status_code != 200:
        raise read_error(response.status_code, record)
    if not isinstance(record, dict):
        raise _unexpected()
    return record


def _unexpected() -> ModelFailed:
    return ModelFailed("The response is not from a modelpad server.", hint="Check the URL.")
