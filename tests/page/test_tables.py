"""Models of tables on the page, in real Chromium: named columns, CSV in and out, the card."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server, start_server, stop_server
from tests.table_bundles import write_tables

pytestmark = pytest.mark.browser

HEADER = "income (k),age,city\n"
CARD = """# Intended use

Loans of *small* amounts, see [the paper](https://example.org/a) and [this](javascript:alert(1)).
**Not** for `mortgages` or snake_case_names. <img src="/x" onerror="window.pwned=1">
<!-- hidden -->

- one
- two

| group | error |
| --- | --- |
| young | 3 % |

> quoted

![a chart](https://elsewhere.example/x.png)

```
code <script>window.pwned=1</script>
```
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the tables' models."""
    folder = tmp_path_factory.mktemp("tables")
    names = [str(path) for path in write_tables(folder)]
    server = start_server(*names, "--workers", "1", store=tmp_path_factory.mktemp("store"))
    yield server
    stop_server(server)


@pytest.fixture
def page(browser: Browser, tables: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(8000)
    page = context.new_page()
    problems: list[str] = []
    page.on(
        "console",
        lambda message: None if " 422 " in message.text else problems.append(message.text),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{tables.url}/m/loan")
    page.wait_for_selector(".cells")
    yield page
    context.close()
    assert problems == []


def test_each_column_is_a_labelled_input(page: Page) -> None:
    income = page.get_by_label("income (k) CHF")
    assert income.get_attribute("type") == "number"
    assert (income.get_attribute("min"), income.get_attribute("max")) == ("0", "1000")
    assert page.get_by_label("age years").get_attribute("step") == "1"
    assert page.get_by_label("city").locator("option").all_inner_texts() == [
        *("Choose …", "Bern", "Basel", "Zürich")
    ]


def test_the_first_example_is_predicted_from_the_start(page: Page) -> None:
    expect(page.get_by_label("income (k) CHF")).to_have_value("80.5")
    expect(page.locator("#label")).to_have_text("accept")
    page.locator(".samples button").nth(1).click()
    expect(page.locator("#label")).to_have_text("reject")
    expect(page.locator(".samples button").nth(2)).to_have_text("64, –, Basel")


def test_typing_predicts_again_and_gaps_wait(page: Page) -> None:
    expect(page.locator("#label")).to_have_text("accept")
    income = page.get_by_label("income (k) CHF")
    income.fill("10")
    expect(page.locator("#label")).to_have_text("reject")
    page.get_by_label("age years").fill("")  # it may be missing
    income.fill("90")
    expect(page.locator("#label")).to_have_text("accept")
    income.fill("")
    expect(page.locator("#answer")).to_contain_text("waiting")
    income.fill("5000")
    expect(page.locator(".problem").first).to_contain_text("1000")
    assert income.get_attribute("aria-invalid") == "true"
    described = income.get_attribute("aria-describedby")
    expect(page.locator(f"#{described}")).to_contain_text("1000")


def test_the_whole_row_is_filled_in_by_keyboard(page: Page) -> None:
    page.get_by_label("income (k) CHF").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("12")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("44")
    page.keyboard.press("Tab")
    page.keyboard.type("Zür")
    expect(page.get_by_label("city")).to_have_value("2")
    expect(page.locator("#label")).to_have_text("reject")


def test_unseen_categories_are_typed(page: Page) -> None:
    page.get_by_role("link", name="price").click()
    grade = page.get_by_label("grade")
    expect(grade).to_have_value("2")
    assert page.locator("datalist option").count() == 3
    grade.fill("7")
    expect(page.locator("#score")).to_have_text("70")


def give(page: Page, body: str | bytes, name: str = "rows.csv") -> None:
    content = body.encode() if isinstance(body, str) else body
    page.set_input_files(
        "#csv input[type=file]", {"name": name, "mimeType": "text/csv", "buffer": content}
    )


def test_a_csv_comes_back_with_predictions(page: Page, tmp_path: Path) -> None:
    give(page, HEADER + '80,30,Bern\n20,,"Zürich"\n80,30,Genf\n')
    panel = page.locator("#csv")
    expect(panel.get_by_role("status")).to_contain_text("rows.csv: 3 rows, 1 row with an error")
    cells = panel.locator("tbody tr").first.locator("td").all_inner_texts()
    assert cells == ["80", "30", "Bern", "accept", "1.0", ""]
    expect(panel.locator("tbody tr").last).to_contain_text("Choices: Bern, Basel, Zürich.")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download predictions").click()
    assert download.value.suggested_filename == "rows-predictions.csv"
    rows = [*csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8")))]
    assert [row["label"] for row in rows] == ["accept", "reject", ""]
    assert rows[1]["city"] == "Zürich"


def test_a_large_csv_is_sent_in_pieces(page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda each: requests.append(each.url) if "predict" in each.url else None)
    quoted = '60,30,"Bern"\r\n'
    rows = 22_000
    give(page, "\ufeff" + HEADER + quoted * rows)
    panel = page.locator("#csv")
    expect(panel.get_by_role("status")).to_contain_text(
        "22,000 rows. The first 10 are shown.", timeout=60_000
    )
    assert len(requests) == 2
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download predictions").click()
    lines = Path(download.value.path()).read_text("utf-8").splitlines()
    assert len(lines) == rows + 1
    assert {line.split(",")[3] for line in lines[1:]} == {"accept"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("age,town\n1,Bern\n", "Unknown columns: 'town'. Missing columns: 'income (k)', 'city'."),
        ("income (k);age;city\n1;2;Bern\n", "separated by semicolons"),
        ("", "The CSV is empty."),
        (b"income (k),age,city\n1,20,Z\xfcrich\n", "not valid UTF-8"),
        (HEADER + '1,20,"Bern\n', "1 row with an error"),
    ],
    ids=["columns", "semicolons", "empty", "latin-1", "open quote"],
)
def test_a_wrong_csv_is_explained(page: Page, body: str | bytes, words: str) -> None:
    give(page, body)
    expect(page.locator("#csv")).to_contain_text(words)


def test_a_dropped_csv_is_predicted(page: Page) -> None:
    page.evaluate(
        """body => {
          const data = new DataTransfer();
          data.items.add(new File([body], "dropped.csv", { type: "text/csv" }));
          const drop = new DragEvent("drop", { dataTransfer: data, cancelable: true });
          document.querySelector("#csv .drop").dispatchEvent(drop);
        }""",
        HEADER + "80,30,Bern",
    )
    expect(page.locator("#csv tbody tr")).to_contain_text("accept")


def test_the_template_has_the_examples(page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download a template").click()
    text = Path(download.value.path()).read_text("utf-8")
    assert text == "income (k),age,city\n80.5,30,Bern\n20,45,Zürich\n64,,Basel\n"


def test_the_snippets_hold_real_values(page: Page) -> None:
    expect(page.locator("#snippet")).to_contain_text('"income (k)":80.5')
    page.get_by_role("tab", name="CSV").click()
    expect(page.locator("#snippet")).to_contain_text("--data-binary @rows.csv")


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen(browser: Browser, tables: Server, width: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{tables.url}/m/loan")
    give(page, HEADER + "80,30,Bern\n80,30,Genf\n")
    expect(page.locator("#csv tbody tr")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, a, input, select, textarea')].filter((e) => "
        "!(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length"
    )
    assert nameless == 0
    context.close()


def test_the_card_is_words_and_never_runs(page: Page, tables: Server) -> None:
    models = httpx.get(f"{tables.url}/models").json()
    models["models"][0] |= {"card": {"text": CARD}, "author": "Ada <b>", "licence": "MIT"}
    page.route("**/models", lambda route: route.fulfill(json=models))
    page.reload()
    card = page.locator("#card")
    expect(page.locator(".byline")).to_have_text("By Ada <b> · Licence: MIT")
    expect(card.get_by_role("heading", level=3)).to_have_text("Intended use")
    assert card.locator("a").evaluate_all("all => all.map(a => a.href)") == [
        "https://example.org/a"
    ]
    expect(card.locator("em")).to_have_text("small")
    expect(card.locator("strong")).to_have_text("Not")
    expect(card.locator("p code")).to_have_text("mortgages")
    expect(card).to_contain_text("snake_case_names")
    expect(card).to_contain_text('<img src="/x"')
    expect(card).not_to_contain_text("hidden")
    expect(card.locator("blockquote")).to_have_text("quoted")
    expect(card.locator("li")).to_have_text(["one", "two"])
    expect(card.locator("td")).to_have_text(["young", "3 %"])
    expect(card.locator("pre")).to_contain_text("<script>")
    assert card.locator("img, script").count() == 0
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize(
    "text",
    ["[" * 250_000, "# " + " " * 250_000 + "x", "<!--" * 60_000, "*a " * 80_000, "`" * 250_000],
)
def test_no_card_blocks_the_page(page: Page, tables: Server, text: str) -> None:
    models = httpx.get(f"{tables.url}/models").json()
    models["models"][0]["card"] = {"text": text}
    page.route("**/models", lambda route: route.fulfill(json=models))
    page.reload()
    page.wait_for_selector("#card .markdown", timeout=20_000, state="attached")
