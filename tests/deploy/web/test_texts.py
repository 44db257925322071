"""Exported models of texts in real Chromium: tokens, texts and scores as modelpad's; the page."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from modelpad.bundle import open_bundle
from modelpad.deploy.web.check import compare, serve_folder
from modelpad.deploy.web.examples import generate_texts, make_examples
from modelpad.deploy.web.export import PageExport, plan_page
from modelpad.deploy.web.runtime import Runtime
from modelpad.deploy.web.site import write_model
from modelpad.deploy.web.texts import write_pattern
from modelpad.engine.text import TextSession
from modelpad.engine.text.text_stream import TextStream
from modelpad.fields.byte_pairs import load_tokenizer
from modelpad.store import ResolvedBundle
from modelpad.zoo import zoo_bundles
from tests.conftest import RUN_AXE

pytest.importorskip("onnx")
pytest.importorskip("tokenizers")

from tests.text_graphs import train_tokenizer, write_critic, write_writer

pytestmark = pytest.mark.browser
# As GPT-4 divides texts.
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ENCODE = """async ([body, pattern, texts]) => {
  const { makeTokenizer } = await import(new URL("web/byte-pairs.js", document.baseURI));
  const tokenizer = makeTokenizer(JSON.parse(body), pattern);
  return texts.map((text) => tokenizer.encode(text).join(" "));
}"""
STREAM = """async ([texts, stops]) => {
  const { textStream } = await import(new URL("web/text-stream.js", document.baseURI));
  return texts.map((pieces) => {
    const stream = textStream(stops);
    return [...pieces.map((piece) => stream.add(Uint8Array.from(piece))), stream.finish()];
  });
}"""
OPEN = """async (folder) => {
  const { load } = await import(new URL("modelpad.js", document.baseURI));
  globalThis.model = await load(folder);
  await model.ready;
}"""
WRITE = """async ([prompt, settings]) => {
  const texts = [];
  for await (const { index, text } of model.write(prompt, settings)) texts[index] = (texts[index] ?? "") + text;
  return texts;
}"""  # noqa: E501
REFUSED = "model.predict({}).then(() => null, ({{ message, hint }}) => [message, hint])"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResolvedBundle]:
    folder = tmp_path_factory.mktemp("models")
    bundles = {name: open_bundle(zoo_bundles()[name]) for name in ("writer", "reviews")}
    bundles["critic"] = write_critic(folder / "critic")
    bundles["small"] = write_writer(folder / "small", name="small")
    return {name: ResolvedBundle(name, 1, bundle) for name, bundle in bundles.items()}


@pytest.fixture(scope="module")
def root(
    runtime: Runtime,
    models: dict[str, ResolvedBundle],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The pages of the writer and the reviews, and other models beside them."""
    root = tmp_path_factory.mktemp("pages")
    for name, found in models.items():
        if name in zoo_bundles():
            plan_page(found, root / name, runtime, one_file=False).write()
        else:
            PageExport(write_model(found), root / name).write()
    return root


@pytest.fixture(scope="module")
def page(browser: Browser, root: Path) -> Iterator[Page]:
    """The writer's page, which has loaded nothing but its own files and said nothing."""
    page = browser.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    with serve_folder(root) as url:
        page.on("request", lambda request: problems.append(request.url))
        page.goto(f"{url}writer/")
        page.wait_for_selector("textarea")
        yield page
        assert [each for each in problems if not each.startswith(url)] == []
    page.close()


def change_tokenizer(body: bytes) -> bytes:
    """With GPT-4's pattern, a token that is not special, and words that are one token."""
    record = json.loads(body)
    split = {"type": "Split", "pattern": {"Regex": CL100K}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    record["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, level]}
    record["added_tokens"].append({"content": "not", "id": 600, "special": False})
    record["model"]["ignore_merges"] = True
    return json.dumps(record).encode()


def check_tokens(page: Page, body: bytes, texts: list[str]) -> None:
    ours = load_tokenizer(body)
    found = page.evaluate(ENCODE, [body.decode(), write_pattern(ours), texts])
    for text, tokens in zip(texts, found, strict=True):
        assert tokens == " ".join(map(str, ours.encode(text))), text


@pytest.mark.parametrize("kind", ["zoo", "changed"])
def test_texts_have_the_tokens_of_modelpad(page: Page, kind: str) -> None:
    body = (zoo_bundles()["writer"] / "tokenizer.json").read_bytes()
    if kind == "changed":
        body = change_tokenizer(train_tokenizer(600))
    check_tokens(page, body, [*generate_texts(200, seed=1), "\U0001f642" * 500, "x" * 20_000])


@pytest.mark.slow
def test_reviews_have_the_tokens_of_modelpad(page: Page, data_root: Path) -> None:
    file = data_root / "imdb" / "test.jsonl.gz"
    if not file.is_file():
        pytest.skip("MODELPAD_DATA has no imdb/")
    with gzip.open(file, "rt") as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(1000), lines, strict=False)]
    check_tokens(page, (zoo_bundles()["writer"] / "tokenizer.json").read_bytes(), texts)


@pytest.mark.parametrize("stops", [[], ["ab", "\u20ac\u20ac"]])
def test_bytes_become_text_as_by_modelpad(page: Page, stops: list[str]) -> None:
    chosen = random.Random(3)
    parts = [
        b"ab",
        b"a",
        "\u20ac".encode(),
        "\U0001f642".encode(),
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xe2\x82",
    ]
    texts = []
    for _ in range(300):
        body = b"".join(chosen.choices(parts, k=12))
        cuts = sorted(chosen.choices(range(len(body)), k=6))
        texts.append(
            [[*body[start:end]] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
        )
    expected = []
    for pieces in texts:
        stream = TextStream(stops)
        expected.append([*(stream.add(bytes(piece)) for piece in pieces), stream.finish()])
    assert page.evaluate(STREAM, [texts, stops]) == expected


# Rounding to 8 bits makes the least difference a larger one.
@pytest.mark.parametrize(
    ("name", "largest"), [("critic", 1e-5), ("small", 1e-4), ("reviews", 0.02), ("writer", 0.05)]
)
def test_scores_are_those_of_modelpad(
    page: Page, models: dict[str, ResolvedBundle], name: str, largest: float
) -> None:
    model = models[name]
    agreement = compare(model, page, make_examples(model.bundle)[:10], f"../{name}/")
    assert agreement.compared == 10
    assert agreement.largest < largest


def test_the_likeliest_text_is_that_of_modelpad(page: Page, models: Any) -> None:
    """Its beginning: later, two tokens may be nearly as likely, and rounding chooses."""
    session = TextSession(models["writer"].bundle)
    page.evaluate(OPEN, "./")
    for sample in session.bundle.manifest.samples:
        values = {**session.bundle.sample_values(sample.inputs), "temperature": 0, "max_tokens": 12}
        assert page.evaluate("(values) => model.predict(values)", values) == session.answer(values)


@pytest.mark.slow
@pytest.mark.parametrize("offsets", [True, False])
def test_a_cache_grows_as_in_modelpad(
    page: Page, root: Path, tmp_path: Path, offsets: bool
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.engine.tiny_gpt2 import write_gpt2

    bundle, _ = write_gpt2(tmp_path / "gpt2", offsets=offsets)
    found = ResolvedBundle("gpt2", 1, bundle)
    folder = f"gpt2-{offsets}"
    PageExport(write_model(found), root / folder).write()
    examples = make_examples(bundle)  # the last is longer than the context
    assert compare(found, page, examples[:10], f"../{folder}/").largest < 1e-4
    page.evaluate(OPEN, f"../{folder}/")
    values = {"prompt": "I loved the", "temperature": 0, "max_tokens": 24}
    assert page.evaluate("(values) => model.predict(values)", values) == TextSession(bundle).answer(
        values
    )
    assert len({*page.evaluate(WRITE, ["I loved", {"max_tokens": 20, "n": 3, "seed": 1}])}) == 3


def test_settings_are_kept(page: Page) -> None:
    page.evaluate(OPEN, "../small/")

    def write(**settings: object) -> list[str]:
        texts: list[str] = page.evaluate(WRITE, ["I loved", {"max_tokens": 40, **settings}])
        return texts

    assert write(seed=1, n=3) == write(seed=1, n=3) != write(seed=2, n=3)
    assert len({*write(seed=1, n=3)}) == 3
    [likeliest] = write(temperature=0)
    assert write(top_k=1) == write(top_p=0) == write(min_p=1) == [likeliest]
    [drawn] = write(seed=1)
    stop = drawn[10:14]
    assert write(seed=1, stop=stop) == [drawn[: drawn.index(stop)]]
    assert write(max_tokens=0) == [""]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty"),
        ("\x1c\x85 \u2028", "is empty"),
        ("half \ud83d", "surrogate"),
        (7, "is not text"),
        ({"text": "fine"}, "is missing"),
        ({"prompt": "fine", "length": 3}, "Unknown setting 'length'"),
        ({"prompt": "fine", "temperature": -1}, "temperature must be a number from 0 to 100"),
        ({"prompt": "fine", "stop": ["a", 3]}, "stop must be"),
        ("x" * 20_001, "more than 20000 characters"),
    ],
)
def test_invalid_inputs_are_rejected(page: Page, value: object, problem: str) -> None:
    page.evaluate(OPEN, "../small/")
    # As JSON, which has a form for half of a surrogate pair.
    message, hint = page.evaluate(REFUSED.format(json.dumps(value)))
    assert problem in message
    assert hint


CONTROLLED = """async () => {
  await navigator.serviceWorker.ready;
  while (!navigator.serviceWorker.controller) await new Promise((done) => setTimeout(done, 20));
}"""


@contextmanager
def visit(browser: Browser, url: str, scheme: Literal["light", "dark"]) -> Iterator[Page]:
    """A page on a phone, without a network once it is loaded."""
    context = browser.new_context(
        viewport={"width": 360, "height": 640}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(url)
    page.evaluate(CONTROLLED)
    context.set_offline(True)
    page.reload()
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


@pytest.mark.slow
def test_a_text_is_written_until_it_is_stopped(browser: Browser, root: Path, axe: str) -> None:
    with serve_folder(root) as url, visit(browser, f"{url}writer/", "dark") as page:
        page.get_by_label("Prompt").fill("The film begins")
        page.get_by_label("Length").fill("400")
        page.get_by_role("button", name="Write", exact=True).click()
        expect(page.locator(".written")).to_have_text(re.compile("The film begins.+"))
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".took")).to_contain_text("Stopped after")
        page.get_by_label("Length").fill("20")
        page.get_by_role("button", name="Write 5 side by side").click()
        expect(page.locator(".took")).to_contain_text("100 tokens in")
        page.get_by_label("Colour by surprise").check()
        page.evaluate(axe)
        assert page.evaluate(RUN_AXE) == []


@pytest.mark.slow
def test_a_review_is_judged_with_the_words_that_matter(
    browser: Browser, root: Path, axe: str
) -> None:
    with serve_folder(root) as url, visit(browser, f"{url}reviews/", "light") as page:
        page.get_by_label("text").fill("A wonderful, moving film with a terrible ending")
        expect(page.locator("#label")).to_have_text("positive")
        expect(page.get_by_label("Confidence by class")).to_contain_text("negative")
        page.get_by_role("button", name="Which words matter?").click()
        expect(page.locator("mark.for").first).to_contain_text("more likely positive")
        expect(page.locator("mark.against").first).to_contain_text("terrible")
        page.evaluate(axe)
        assert page.evaluate(RUN_AXE) == []
