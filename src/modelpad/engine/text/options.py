"""Reads how a text is to be continued from a request's JSON, for every protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from modelpad.engine.text.requests import GenerationRequest
from modelpad.engine.text.sampling import MAX_PENALTY, MAX_TEMPERATURE, SamplingOptions
from modelpad.errors import InvalidInput

Value = TypeVar("Value")

MAX_NEW_TOKENS = 16_384
MAX_WORDS = 10_000
MAX_TEXTS = 16
MAX_LOGPROBS = 20
MAX_STOPS = 16
MAX_STOP_CHARS = 500
MAX_BIASES = 1024
MAX_BIAS = 100.0
MAX_SEED = 1 << 63
WORD_TOKENS = 8  # a text of so many tokens a word has nearly always enough words


def read_options(
    vocabulary: int,
    prompt: tuple[int, ...],
    given: Mapping[str, object],
    defaults: Mapping[str, object] | None = None,
) -> GenerationRequest:
    """What to do with a prompt, by OpenAI's names, for a model with so many tokens.

    Numbers may be strings, as in a query. Raises `InvalidInput` for an unknown or invalid value.
    """
    options = _Options(dict(defaults or {}) | {k: v for k, v in given.items() if v is not None})
    words = options.take_integer("words", 0, 0, MAX_WORDS)
    if words and "max_tokens" not in given:
        options.values["max_tokens"] = min(MAX_NEW_TOKENS, WORD_TOKENS * words + 16)
    n = options.take_integer("n", 1, 1, MAX_TEXTS)
    best_of = options.take_integer("best_of", n, 1, MAX_TEXTS)
    if best_of < n:
        raise _invalid("best_of", f"at least n = {n}", best_of)
    stream = options.take_boolean("stream")
    if stream and best_of > n:
        raise _invalid("best_of", "n, if streamed", best_of)
    max_tokens = options.take_integer("max_tokens", 16, 0, MAX_NEW_TOKENS)
    request = GenerationRequest(
        prompt=prompt,
        max_tokens=max_tokens,
        min_tokens=options.take_integer("min_tokens", 0, 0, max_tokens),
        max_words=words,
        stop=options.take_stops(),
        n=n,
        candidates=best_of,
        logprobs=options.take_logprobs(),
        echo=options.take_boolean("echo"),
        stream=stream,
        ignore_end=options.take_boolean("ignore_eos"),
        sampling=SamplingOptions(
            temperature=options.take_number("temperature", 1.0, 0.0, MAX_TEMPERATURE),
            top_k=max(0, options.take_integer("top_k", 0, -1, 1 << 31)),
            top_p=options.take_number("top_p", 1.0, 0.0, 1.0),
            min_p=options.take_number("min_p", 0.0, 0.0, 1.0),
            repetition_penalty=options.take_number("repetition_penalty", 1.0, 0.01, MAX_PENALTY),
            frequency_penalty=options.take_number("frequency_penalty", 0.0, -2.0, 2.0),
            presence_penalty=options.take_number("presence_penalty", 0.0, -2.0, 2.0),
            logit_bias=options.take_biases(vocabulary),
            seed=options.take_optional(
                "seed", lambda: options.take_integer("seed", 0, -MAX_SEED, MAX_SEED)
            ),
        ),
    )
    options.check_empty()
    return request


class _Options:
    """Takes values by name; what is left at the end is unknown."""

    def __init__(self, values: dict[str, object]) -> None:
        self.values = values
        self._known: list[str] = []

    def take_number(self, name: str, default: float, low: float, high: float) -> float:
        value = self._take(name, default)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise _invalid(name, f"a number from {low:g} to {high:g}", value) from None
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not low <= value <= high
        ):
            raise _invalid(name, f"a number from {low:g} to {high:g}", value)
        return float(value)

    def take_integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self._take(name, default)
        if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _invalid(name, f"a whole number from {low} to {high}", value)
        return value

    def take_boolean(self, name: str) -> bool:
        value = self._take(name, False)
        if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
            value = value.lower() in ("true", "1")
        if not isinstance(value, bool):
            raise _invalid(name, "true or false", value)
        return value

    def take_optional(self, name: str, take: Callable[[], Value]) -> Value | None:
        if self.values.get(name) is None:
            self._take(name, None)
            return None
        return take()

    def take_logprobs(self) -> int | None:
        value = self.values.get("logprobs")
        if isinstance(value, bool):
            self.values["logprobs"] = 1 if value else None
        return self.take_optional(
            "logprobs", lambda: self.take_integer("logprobs", 0, 0, MAX_LOGPROBS)
        )

    def take_stops(self) -> tuple[str, ...]:
        value = self._take("stop", [])
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
            raise _invalid("stop", "a string or a list of strings", value)
        stops = [each for each in stops if each]
        if len(stops) > MAX_STOPS:
            raise _invalid("stop", f"at most {MAX_STOPS} strings", f"{len(stops)}")
        for each in stops:
            if len(each) > MAX_STOP_CHARS:
                raise _invalid(
                    "stop", f"strings of at most {MAX_STOP_CHARS} characters", f"{len(each):,}"
                )
        return tuple(stops)

    def take_biases(self, size: int) -> dict[int, float]:
        value = self._take("logit_bias", {})
        if not isinstance(value, dict) or len(value) > MAX_BIASES:
            raise _invalid("logit_bias", f"an object of at most {MAX_BIASES} tokens", value)
        biases: dict[int, float] = {}
        for token, bias in value.items():
            fits = isinstance(bias, int | float) and not isinstance(bias, bool)
            known = str(token).isdecimal() and len(str(token)) < 10 and int(token) < size
            if not fits or not known or not -MAX_BIAS <= bias <= MAX_BIAS:
                expected = f"tokens below {size} with numbers from -100 to 100"
                raise _invalid("logit_bias", expected, f"{token}: {bias}")
            biases[int(token)] = float(bias)
        return biases

    def check_empty(self) -> None:
        for name in self.values:
            if name not in self._known:
                known = ", ".join(self._known)
                raise InvalidInput(
                    f"Unknown field {name[:40]!r}.",
                    hint=f"Known: {known}.",
                    field=name[:40],
                    expected=known,
                    got=name[:40],
                )

    def _take(self, name: str, default: Any) -> Any:
        self._known.append(name)
        return self.values.get(name, default)


def _invalid(name: str, expected: str, got: object) -> InvalidInput:
    return InvalidInput(
        f"{name} must be {expected}, not {str(got)[:60]!r}.",
        hint=f"Send {name} as {expected}.",
        field=name,
        expected=expected,
        got=str(got)[:60],
    )
