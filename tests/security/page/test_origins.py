"""Which pages may ask a browser to run or change something, and under which host names."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.server.security.origins import choose_policy

ROW = {"row": [0, 5, 0]}
EVIL = "https://evil.example"


@dataclass(frozen=True)
class Plain:
    """A server on loopback without keys."""

    url: str


@pytest.fixture
def plain(protocols: str) -> Plain:
    return Plain(f"http://{protocols}")


def ask(url: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{url}/predict/pick", json=ROW, headers=named)


def ask_health(url: str, host: str | None) -> int:
    """The status of a health probe, as programs send it that write their own heads."""
    place = httpx.URL(url)
    line = "" if host is None else f"host: {host}\r\n"
    version = "1.0" if host is None else "1.1"
    with socket.create_connection((place.host, place.port), timeout=10) as client:
        client.sendall(f"GET /healthz HTTP/{version}\r\n{line}connection: close\r\n\r\n".encode())
        return int(client.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost:1", "sec_fetch_site": "same-site"},
        {"origin": EVIL, "sec_fetch_site": "cross-site"},
        {"origin": "null", "sec_fetch_site": "same-origin"},
        {"origin": "not an origin"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "anything"},
    ],
)
def test_other_sites_cannot_ask(plain: Plain, headers: dict[str, str]) -> None:
    refused = ask(plain.url, **headers)
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert "another site" in error["message"]
    assert "--cors-origin" in error["hint"]


def test_the_page_and_programs_can_ask(plain: Plain) -> None:
    assert ask(plain.url).status_code == 200
    assert ask(plain.url, origin=plain.url).status_code == 200
    assert ask(plain.url, origin=plain.url, sec_fetch_site="same-origin").status_code == 200
    assert ask(plain.url, sec_fetch_site="none").status_code == 200
    # Behind a proxy that changes Host, the browser still says where the page is from.
    behind = {"origin": "https://models.example", "sec_fetch_site": "same-origin"}
    assert ask(plain.url, **behind).status_code == 200


def test_reading_is_left_to_the_browser(plain: Plain) -> None:
    answer = httpx.get(f"{plain.url}/models", headers={"origin": EVIL})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/predict",
        "/predict/pick",
        "/v1/models/pick:predict",
        "/v2/models/pick/infer",
        "/v2/models/pick/generate",
        "/v2/repository/index",
        "/v2/repository/models/pick/load",
        "/v2/repository/models/pick/unload",
        "/invocations",
    ],
)
def test_every_post_of_every_protocol_is_refused(plain: Plain, path: str) -> None:
    refused = httpx.post(f"{plain.url}{path}", json=ROW, headers={"origin": EVIL})
    assert refused.status_code == 403


def test_listed_origins_still_ask(serve: Any, bundles: Path, tmp_path: Path) -> None:
    mine = "https://mine.example"
    store = tmp_path / "store"
    url = serve(str(bundles / "pick"), "--cors-origin", mine, store=store).url
    assert ask(url, origin=mine, sec_fetch_site="cross-site").json()["label"] == "b"
    assert ask(url, origin=EVIL).status_code == 403
    assert httpx.options(f"{url}/predict/pick", headers={"origin": mine}).status_code == 204


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("app.localhost:8080", 200),
        ("127.0.0.1", 200),
        ("127.9.8.7:8080", 200),
        ("[::1]:8080", 200),
        ("localhost.", 200),
        ("rebound.example", 421),
        ("localhost.evil.example", 421),
        ("evillocalhost", 421),
        ("127.0.0.1.evil.example:8080", 421),
        ("localhost:80@evil.example", 421),
        ("0.0.0.0", 421),
        ("10.0.0.5", 421),
        ("[::2]", 421),
        ("::1", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_loopback_answers_only_to_its_own_names(plain: Plain, host: str, status: int) -> None:
    answer = httpx.get(f"{plain.url}/models", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert "--allowed-host" in answer.json()["error"]["hint"]


def test_probes_work(plain: Plain) -> None:
    place = httpx.URL(plain.url)
    assert ask_health(plain.url, None) == 200
    assert ask_health(plain.url, f"127.0.0.1:{place.port}") == 200
    assert httpx.get(f"{plain.url}/readyz").status_code == 200


def test_more_hosts_are_named(
    serve: Any, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPAD_ALLOWED_HOSTS", "one.example, *.two.example")
    words = ("--allowed-host", "three.example")
    url = serve(str(bundles / "pick"), *words, store=tmp_path / "store").url

    def get(host: str) -> int:
        return httpx.get(f"{url}/models", headers={"host": host}).status_code

    known = ("one.example", "a.two.example:81", "three.example", "Three.Example", "localhost")
    assert [get(host) for host in known] == [200] * len(known)
    assert [get(host) for host in ("two.example", "x.three.example")] == [421, 421]


def test_keys_make_every_host_safe(
    serve: Any, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPAD_API_KEYS", "ann=secret-of-ann")
    url = serve(str(bundles / "pick"), store=tmp_path / "store").url
    headers = {"host": "models.example", "authorization": "Bearer secret-of-ann"}
    assert httpx.get(f"{url}/models", headers=headers).status_code == 200


def test_ipv6_hosts_are_compared_without_brackets() -> None:
    policy = choose_policy("10.0.0.1", ["[FD00::1]", "Name.example."], has_keys=False)
    assert policy is not None
    assert policy.accepts("[fd00::1]:80")
    assert policy.accepts("name.example:80")
    assert choose_policy("::ffff:127.0.0.1", [], has_keys=False) is not None
    assert choose_policy("::", [], has_keys=False) is None


def test_other_addresses_answer_to_any_host_unless_told(
    serve: Any, bundles: Path, tmp_path: Path
) -> None:
    words = (str(bundles / "pick"), "--host", "0.0.0.0")
    url = serve(*words, store=tmp_path / "a").url
    assert httpx.get(f"{url}/models", headers={"host": "any.example"}).status_code == 200
    url = serve(*words, "--allowed-host", "my.example", store=tmp_path / "b").url
    statuses = {
        host: httpx.get(f"{url}/models", headers={"host": host}).status_code
        for host in ("my.example", "any.example", "10.1.2.3:8080", "[fd00::1]:80")
    }
    # An address cannot be rebound; it is what health probes and scrapers of a cluster send.
    assert list(statuses.values()) == [200, 421, 200, 200]


@pytest.mark.parametrize("host", ["https://a.example", "a.example:80", "a b", "*.", "a*b"])
def test_a_host_that_makes_no_sense_is_wrong_usage(run_modelpad: Any, host: str) -> None:
    done = run_modelpad("serve", "digits", "--port", "0", "--allowed-host", host)
    assert done.returncode == 2
    assert "--allowed-host" in done.stderr


@pytest.mark.browser
def test_a_form_of_another_port_unloads_nothing(
    serve: Any, stored_digits: Path, open_tab: Any, foreign_site: Any, monkeypatch: Any
) -> None:
    """Another port of this host is the same site to a browser, so that its cookies went along."""
    monkeypatch.setenv("MODELPAD_API_KEYS", "root=secret-of-root")
    options = ("--admin", "root", "--workers", "1")
    url = serve(*options, store=stored_digits).url
    tab = open_tab()
    tab.page.goto(url)
    tab.page.get_by_label("API key").fill("secret-of-root")
    tab.page.get_by_role("button", name="Continue").click()
    tab.page.wait_for_selector("canvas.pad")
    target = f"{url}/v2/repository/models/digits/unload"
    foreign_site.pages["/"] = (
        f"<form method=post action='{target}' enctype='text/plain'><input name='{{}}'></form>"
        "<script>document.forms[0].submit()</script>"
    )
    with tab.page.expect_response(target) as answer:
        tab.page.goto(foreign_site.url)
    assert answer.value.status == 403
    assert "cookie" not in answer.value.request.all_headers()
    ready = httpx.get(
        f"{url}/v2/models/digits/ready", headers={"authorization": "Bearer secret-of-root"}
    )
    assert ready.status_code == 200


@pytest.mark.browser
def test_scripts_of_another_port_get_nothing_run(
    plain: Plain, open_tab: Any, foreign_site: Any
) -> None:
    foreign_site.pages["/"] = "hello"
    tab = open_tab()
    tab.page.goto(foreign_site.url)
    target = f"{plain.url}/predict/pick"
    with tab.page.expect_response(target) as answer:
        tab.page.evaluate(
            "url => fetch(url, {method: 'POST', mode: 'no-cors', body: '{\"row\": [0, 5, 0]}'})"
            ".then(() => 1)",
            target,
        )
    assert answer.value.status == 403


@pytest.mark.browser
def test_a_listed_page_asks_from_a_browser(
    serve: Any, bundles: Path, tmp_path: Path, open_tab: Any, foreign_site: Any
) -> None:
    words = ("--cors-origin", foreign_site.url)
    url = serve(str(bundles / "pick"), *words, store=tmp_path / "store").url
    tab = open_tab()
    tab.page.goto(foreign_site.url)
    label = tab.page.evaluate(
        "url => fetch(url, {method: 'POST', headers: {'content-type': 'application/json'},"
        " body: '{\"row\": [0, 5, 0]}'}).then(r => r.json()).then(b => b.label)",
        f"{url}/predict/pick",
    )
    assert label == "b"


@pytest.mark.browser
def test_a_rebound_name_reads_nothing(plain: Plain, open_tab: Any) -> None:
    port = httpx.URL(plain.url).port
    tab = open_tab()
    answer = tab.page.goto(f"http://rebound.example:{port}/")
    assert answer.status == 421
    read = tab.page.evaluate("fetch('/models').then(r => r.status)")
    assert read == 421
