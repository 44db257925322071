"""What modelpad finds for an example, in the words of the page's module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from modelpad.bundle import Bundle
from modelpad.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from modelpad.engine.text import TextSession

Values = Mapping[str, object]
PREDICT, SCORE = "predict", "score"  # functions of the module


def choose_function(bundle: Bundle) -> str:
    """The function to compare: texts that a model writes are compared by their probabilities, as
    the least difference may lead to another text."""
    sequence = bundle.manifest.sequence
    return SCORE if sequence is not None and sequence.generates else PREDICT


def make_prediction(bundle: Bundle) -> Callable[[Values], object]:
    """A function from an example to what the module returns for it.

    For an input that is rejected it returns an error, whose words may differ.
    """
    from modelpad.engine.opening import open_session

    session = open_session(bundle)

    def predict(values: Values) -> object:
        try:
            if choose_function(bundle) == SCORE:
                return score_text(session, values)  # type: ignore[arg-type]
            return session.answer(values)
        except (InvalidInput, TooLarge) as error:
            return {"$error": error.message}

    return predict


def score_text(session: TextSession, values: Values) -> list[float | None]:
    """The log probability of each token of a text. Raises `InvalidInput`."""
    from modelpad.engine.text import Generation, GenerationRequest
    from modelpad.engine.text.typed_text import read_prompt

    _, given = read_prompt(session, values)
    request = GenerationRequest(given.prompt, max_tokens=0, echo=True, logprobs=0)
    for item in session.run(lambda emit: session.make_writing(request, emit)):
        if isinstance(item, Generation):
            return [each.logprob for each in item.tokens]
    raise AssertionError("a job has emitted nothing")
