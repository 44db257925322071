"""API keys: where the page keeps them, who else could get them, and what guessing costs."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import modelpad
from modelpad.errors import Overloaded, RateLimited, Unauthorized
from modelpad.server.security.auth import ApiKeyAuth
from modelpad.server.security.rate_limits import RateLimiter

ROW = {"row": [0, 5, 0]}
KEY = "secret-of-ann"
ANN = {"authorization": f"Bearer {KEY}"}
WRONG = {"authorization": "Bearer a-wrong-guess"}


@pytest.fixture
def keyed(serve: Any, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server of two workers that wants keys."""
    monkeypatch.setenv("MODELPAD_API_KEYS", f"ann={KEY}")
    words = (str(bundles / "pick"), "digits", "--workers", "2")
    return serve(*words, store=tmp_path / "store")


def enter_key(page: Any, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Continue").click()


def ask_from(address: str, url: str, headers: dict[str, str], times: int = 1) -> list[Any]:
    """Answers to a client at `address`, over new connections, and so from all workers."""
    answers = []
    for _ in range(times):
        # Certificates, which nothing here has, would take longer to load than the answer.
        transport = httpx.HTTPTransport(verify=False, local_address=address)
        with httpx.Client(transport=transport) as client:
            answers.append(client.post(f"{url}/predict/pick", json=ROW, headers=headers))
    return answers


def count_failures(url: str) -> int:
    """How often a key was wrong, or guessed too often."""
    counted = re.findall(
        r'modelpad_key_failures_total\{reason="(?:wrong|limited)"\} (\d+)',
        httpx.get(f"{url}/metrics").text,
    )
    return sum(map(int, counted))


def test_cookies_are_not_read(keyed: Any) -> None:
    cookies = {"cookie": f"modelpad_key={KEY}; key={KEY}"}
    assert httpx.get(f"{keyed.url}/models", headers=cookies).status_code == 401
    assert httpx.get(f"{keyed.url}/models", headers={"x-api-key": KEY}).status_code == 200


def test_a_missing_key_says_how_to_send_one(keyed: Any) -> None:
    refused = httpx.get(f"{keyed.url}/models")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_guessing_is_limited_for_each_address_in_all_workers(keyed: Any) -> None:
    statuses = [each.status_code for each in ask_from("127.0.0.1", keyed.url, WRONG, 14)]
    assert statuses[:10] == [401] * 10
    assert statuses[-3:] == [429] * 3
    late = ask_from("127.0.0.1", keyed.url, WRONG)[0]
    assert int(late.headers["retry-after"]) >= 1
    assert "key" in late.json()["error"]["message"]
    assert late.headers["www-authenticate"].startswith("Bearer")
    # One who guesses locks nobody out: neither others behind his address, nor other addresses.
    assert ask_from("127.0.0.1", keyed.url, ANN)[0].status_code == 200
    assert ask_from("127.0.0.2", keyed.url, WRONG)[0].status_code == 401
    assert count_failures(keyed.url) == 16


def test_the_python_client_does_not_repeat_a_wrong_key(keyed: Any) -> None:
    ask_from("127.0.0.1", keyed.url, WRONG, 12)
    before = count_failures(keyed.url)
    with (
        modelpad.Client(keyed.url, api_key="a-wrong-guess") as client,
        pytest.raises(Overloaded, match="wrong API key"),
    ):
        client.predict([0, 5, 0], model="pick")
    assert count_failures(keyed.url) == before + 1


def test_missing_keys_cost_little(keyed: Any) -> None:
    statuses = [each.status_code for each in ask_from("127.0.0.3", keyed.url, {}, 30)]
    assert statuses == [401] * 30
    with ThreadPoolExecutor(4) as pool:
        # One more is allowed each second, so a slow machine needs more of them.
        more = pool.map(lambda _: ask_from("127.0.0.3", keyed.url, {}, 25), range(80))
        assert any(each.status_code == 429 for answers in more for each in answers)
        pool.shutdown(cancel_futures=True)


def test_grpc_clients_are_limited_too() -> None:
    from modelpad.server import build_app

    auth = ApiKeyAuth(f"ann={KEY}", failures=RateLimiter(0.1, burst=2))
    access = build_app(auth=auth).backend.access
    for _ in range(2):
        with pytest.raises(Unauthorized):
            access.admit(WRONG, client="10.0.0.9")
    with pytest.raises(RateLimited):
        access.admit(WRONG, client="10.0.0.9")
    access.admit(ANN, client="10.0.0.9")
    with pytest.raises(Unauthorized):
        access.admit(WRONG)


def test_tokens_for_guesses_come_back() -> None:
    rates = RateLimiter(0.1, burst=10)
    assert [rates.acquire("a", 5.0) for _ in range(10)] == [0] * 10
    assert rates.acquire("a", 5.0) == pytest.approx(10)
    assert rates.acquire("a", 15.0) == 0
    assert rates.acquire("a", 15.0, cost=0.1) == pytest.approx(1)
    assert rates.acquire("a", 16.1, cost=0.1) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("unix", "unix", True),
    ],
)
def test_an_ipv6_network_is_one_client(one: str, other: str, same: bool) -> None:
    guard = ApiKeyAuth(f"ann={KEY}", failures=RateLimiter(0.001, burst=1))
    with pytest.raises(Unauthorized):
        guard.admit(WRONG, one)
    with pytest.raises(RateLimited if same else Unauthorized):
        guard.admit(WRONG, other)


def test_any_asgi_server_tells_who_the_client_is() -> None:
    from modelpad.server.budget import ByteBudget, Reservation
    from modelpad.server.http.messages import Request, ServerLimits

    async def receive() -> Any:
        raise AssertionError

    held = Reservation(ByteBudget(1000))

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    for client, told in ((("10.0.0.1", 5), "10.0.0.1"), (None, "")):
        request = Request.from_asgi({**scope, "client": client}, receive, ServerLimits(), held)
        assert request.client == told


@pytest.mark.browser
def test_the_key_stays_in_its_tab(keyed: Any, open_tab: Any, foreign_site: Any) -> None:
    tab = open_tab()
    tab.page.goto(f"{keyed.url}/m/digits")
    enter_key(tab.page, KEY)
    tab.page.wait_for_selector("canvas.pad")
    assert tab.page.context.cookies() == []
    assert tab.page.evaluate("localStorage.length + document.cookie.length") == 0
    assert tab.page.evaluate("Object.values(sessionStorage)") == [KEY]
    tab.page.reload()
    tab.page.wait_for_selector("canvas.pad")
    tab.page.goto(foreign_site.url)
    for headers in foreign_site.received:
        assert "cookie" not in headers
        assert KEY not in str(headers)
    assert tab.page.evaluate("sessionStorage.length") == 0
    other = tab.page.context.new_page()
    other.goto(keyed.url)
    assert other.get_by_label("API key").is_visible()
    assert not [each for each in tab.requests if KEY in each]


@pytest.mark.browser
def test_pictures_are_fetched_with_the_key(keyed: Any, open_tab: Any, wait_for: Any) -> None:
    tab = open_tab()
    tab.page.goto(f"{keyed.url}/m/digits")
    enter_key(tab.page, KEY)
    tab.page.wait_for_selector("canvas.pad")
    pictures = "[...document.querySelectorAll('.samples img, #card img.picture')]"
    shown = f"{pictures}.filter(i => i.src.startsWith('blob:') && i.naturalWidth > 0).length"
    card = httpx.get(f"{keyed.url}/models/digits/files/card.json", headers=ANN).json()
    count = 10 + len(card["pictures"])  # a sample of each digit, and the worst mistakes
    tab.page.locator("#card img.picture").first.wait_for(state="attached")
    tab.page.set_viewport_size({"width": 1280, "height": 20_000})  # fetched once near the window
    wait_for(lambda: tab.page.evaluate(shown) == count)
    tab.page.get_by_role("button", name="Try an example: 3").click()
    tab.page.locator("#label", has_text="3").wait_for()


@pytest.mark.browser
def test_a_wrong_key_is_told_and_another_can_be_typed(keyed: Any, open_tab: Any) -> None:
    tab = open_tab()
    tab.page.goto(f"{keyed.url}/m/digits")
    enter_key(tab.page, "not-the-key")
    alert = tab.page.get_by_role("alert")
    alert.get_by_text("Unknown API key").wait_for()
    assert tab.page.evaluate("sessionStorage.length") == 0
    for _ in range(12):
        with tab.page.expect_response("**/models"):
            enter_key(tab.page, "not-the-key")
    alert.get_by_text("Too many").wait_for()
    enter_key(tab.page, KEY)
    tab.page.wait_for_selector("canvas.pad")
    tab.page.get_by_role("button", name="Forget key").click()
    assert tab.page.evaluate("sessionStorage.length") == 0
    tab.page.get_by_label("API key").wait_for()


@pytest.mark.browser
def test_a_key_that_no_header_can_carry_is_told(keyed: Any, open_tab: Any) -> None:
    tab = open_tab()
    tab.page.goto(keyed.url)
    enter_key(tab.page, "schlüssel-→-ключ")
    tab.page.get_by_role("alert").get_by_text("Unknown API key").wait_for()


@pytest.mark.browser
def test_the_question_can_be_left_and_asked_again(keyed: Any, open_tab: Any) -> None:
    tab = open_tab()
    tab.page.goto(keyed.url)
    tab.page.get_by_label("API key").wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("alert").get_by_text("API key").wait_for()
    tab.page.get_by_role("button", name="Enter a key").click()
    enter_key(tab.page, KEY)
    tab.page.get_by_role("heading", name="Models").wait_for()


@pytest.mark.browser
def test_a_key_that_ends_while_one_draws_is_asked_again_and_the_drawing_stays(
    serve: Any, tmp_path: Path, open_tab: Any, wait_for: Any
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ann={KEY}\n")
    # One worker: each looks at the file within a second of the other.
    words = ("digits", "--workers", "1", "--api-keys", str(keys))
    url = serve(*words, store=tmp_path / "store").url
    tab = open_tab()
    tab.page.goto(url)
    enter_key(tab.page, KEY)
    tab.page.wait_for_selector("canvas.pad")
    keys.write_text("ann=another-secret-of-ann\n")
    wait_for(lambda: httpx.get(f"{url}/models", headers=ANN).status_code in (401, 429))
    tab.page.get_by_role("button", name="Try an example: 7").click()
    enter_key(tab.page, "another-secret-of-ann")
    tab.page.locator("#label", has_text="7").wait_for()


@pytest.mark.browser
def test_the_api_page_asks_for_the_key(keyed: Any, open_tab: Any) -> None:
    tab = open_tab()
    tab.page.goto(f"{keyed.url}/docs")
    enter_key(tab.page, KEY)
    tab.page.get_by_role("heading", name="Open Inference").click()
    tab.page.get_by_text("/v2/models/{model}/infer").first.wait_for()
    tab.page.get_by_role("link", name="Back to the page").click()
    tab.page.get_by_role("heading", level=1).wait_for()
    assert not tab.page.get_by_label("API key").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 390, 1440])
def test_the_question_fits_and_needs_no_mouse(keyed: Any, open_tab: Any, width: int) -> None:
    tab = open_tab(width, 844)
    tab.page.goto(keyed.url)
    tab.page.get_by_label("API key").wait_for()
    assert tab.page.evaluate("document.activeElement.getAttribute('type')") == "password"
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.page.keyboard.type(KEY)
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("heading", name="Models").wait_for()
