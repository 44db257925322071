"""Cross-site requests and DNS rebinding, decided from headers alone."""

from __future__ import annotations

import pytest

from modelpad.errors import ForeignOrigin, UnknownHost
from modelpad.server.security.origins import (
    HostPolicy,
    check_host,
    check_origin,
    choose_policy,
    is_host_pattern,
    is_loopback,
    is_same_host,
    split_host,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("LocalHost:8080", ("localhost", "8080")),
        ("example.org.", ("example.org", "")),
        ("[::1]:80", ("::1", "80")),
        ("127.0.0.1:", ("127.0.0.1", "")),
        ("", None),
        ("a b", None),
        ("user@host", None),
        ("host/path", None),
        ("host:port", None),
        ("::1", None),
    ],
)
def test_a_host_header_is_split(header: str, expected: tuple[str, str] | None) -> None:
    assert split_host(header) == expected


@pytest.mark.parametrize(
    "host", ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "10.0.0.1", "::", ""],
)
def test_no_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("policy", "accepted", "rejected"),
    [
        (HostPolicy(), ["localhost:1", "127.0.0.1", "[::1]:1"], ["a.example", "10.0.0.1", ""]),
        (HostPolicy(addresses=True), ["10.0.0.1:1", "[2001:db8::1]"], ["a.example"]),
        (HostPolicy(frozenset({"a.example"})), ["A.example.:1"], ["b.a.example", "example"]),
        (
            HostPolicy(frozenset({"*.a.example"})),
            ["b.a.example", "c.b.a.example"],
            ["a.example", "ba.example", "b.a.example.evil.example"],
        ),
        (HostPolicy(frozenset({"*"})), ["any.example", "10.0.0.1"], ["a b", "a" * 301]),
    ],
)
def test_hosts(policy: HostPolicy, accepted: list[str], rejected: list[str]) -> None:
    assert [host for host in accepted if not policy.accepts(host)] == []
    assert [host for host in rejected if policy.accepts(host)] == []


def test_only_a_server_on_loopback_without_keys_needs_a_policy() -> None:
    assert choose_policy("127.0.0.1", [], has_keys=False) == HostPolicy()
    assert choose_policy("127.0.0.1", [], has_keys=True) is None
    assert choose_policy("0.0.0.0", [], has_keys=False) is None
    assert choose_policy("0.0.0.0", ["A.example."], has_keys=True) == HostPolicy(
        frozenset({"a.example"}), addresses=True
    )


def test_an_unknown_host_is_rejected_and_named() -> None:
    with pytest.raises(UnknownHost, match=r"'evil\.example'"):
        check_host(HostPolicy(), {"host": "evil.example"})
    check_host(HostPolicy(), {"host": "localhost"})
    check_host(HostPolicy(), {})
    check_host(None, {"host": "evil.example"})


OURS = "http://localhost:8080"


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"origin": OURS}, False),
        ({"origin": "https://localhost:8080"}, False),
        ({"origin": "http://localhost:9090"}, True),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://listed.example", "sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"origin": OURS, "sec-fetch-site": "cross-site"}, True),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, False),
    ],
)
def test_a_page_of_another_site_may_only_read(headers: dict[str, str], foreign: bool) -> None:
    sent = {"host": "localhost:8080", **headers}
    for method in ("GET", "HEAD", "OPTIONS"):
        check_origin(method, sent, {"https://listed.example"})
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        if foreign:
            with pytest.raises(ForeignOrigin):
                check_origin(method, sent, {"https://listed.example"})
        else:
            check_origin(method, sent, {"https://listed.example"})


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://a.example", "a.example:80", True),
        ("https://a.example", "a.example:443", True),
        ("http://a.example:80", "A.example", True),
        ("https://a.example", "a.example:80", False),
        ("http://a.example", "b.example", False),
        ("http://[::1]:1", "[::1]:1", True),
        ("a.example", "a.example", False),
        ("http://a.example", "", False),
    ],
)
def test_an_origin_and_a_host_are_compared_with_their_ports(
    origin: str, host: str, same: bool
) -> None:
    assert is_same_host(origin, host) is same


@pytest.mark.parametrize("text", ["a.example", "*.a.example", "*", "10.0.0.1", "[::1]", "::1"])
def test_what_can_be_allowed(text: str) -> None:
    assert is_host_pattern(text)


@pytest.mark.parametrize("text", ["", "a.*.example", "http://a.example", "a.example:80", "a b"])
def test_what_cannot_be_allowed(text: str) -> None:
    assert not is_host_pattern(text)
