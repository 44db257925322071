"""API keys, rates and TLS on a real server."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.errors import Unauthorized, UsageError
from modelpad.server.security.auth import ApiKeyAuth, hash_key, read_keys

ROW = {"row": [0, 5, 0]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys_come_and_go_without_a_restart(
    serve: Any, bundles: Path, tmp_path: Path, wait_for: Any
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# people\nann = secret-of-ann\nbob=sha256:{hash_key('secret-of-bob')}\n")
    running = serve(str(bundles / "pick"), "--api-keys", str(keys), store=tmp_path / "store")
    url = f"{running.url}/predict/pick"
    refused = httpx.post(url, json=ROW)
    assert refused.status_code == 401
    assert "Bearer" in refused.json()["error"]["hint"]
    assert httpx.post(url, json=ROW, headers=bearer("wrong-one-here")).status_code == 401
    for key in ("secret-of-ann", "secret-of-bob"):
        assert httpx.post(url, json=ROW, headers=bearer(key)).json()["label"] == "b"
    assert httpx.post(url, json=ROW, headers={"x-api-key": "secret-of-ann"}).status_code == 200
    assert httpx.get(f"{running.url}/models").status_code == 401
    assert httpx.get(f"{running.url}/v2/models/pick").json()["error"].startswith("An API key")
    for path in ("/", "/healthz", "/readyz", "/static/app.js", "/v2/health/ready"):
        assert httpx.get(f"{running.url}{path}").status_code == 200
    text = httpx.get(f"{running.url}/metrics").text
    assert 'modelpad_key_requests_total{key="ann"} 2' in text
    assert "secret" not in text
    keys.write_text("carl=secret-of-carl\n")
    carl = bearer("secret-of-carl")
    wait_for(lambda: httpx.post(url, json=ROW, headers=carl).status_code == 200)
    # Each worker reads the file again by itself. 429 if it took many attempts above.
    ann = bearer("secret-of-ann")
    wait_for(lambda: httpx.post(url, json=ROW, headers=ann).status_code in (401, 429))


@pytest.mark.parametrize("body", [b"ann=secret-of-ann\nbob", b"ann=\xff\xfe-secret", None])
def test_keys_that_cannot_be_read_again_stay_and_that_is_told(
    body: bytes | None, tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr("modelpad.server.security.auth.LOOK_S", 0.0)
    keys = tmp_path / "keys"
    keys.write_text("ann=secret-of-ann")
    guard = ApiKeyAuth(path=keys)
    if body is None:
        keys.unlink()
    else:
        keys.write_bytes(body)
    assert guard.admit(bearer("secret-of-ann")) == "ann"
    assert "the keys stay as they were" in caplog.text
    keys.write_text("eve=secret-of-eve")
    assert guard.admit(bearer("secret-of-eve")) == "eve"
    with pytest.raises(Unauthorized):
        guard.admit(bearer("secret-of-ann"))


def test_a_rate_is_kept(serve: Any, bundles: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MODELPAD_API_KEYS", "ann=secret-of-ann,bob=secret-of-bob")
    running = serve(str(bundles / "pick"), "--rate-limit", "5", store=tmp_path / "store")
    url = f"{running.url}/predict/pick"
    with httpx.Client(headers=bearer("secret-of-ann")) as client:
        answers = [client.post(url, json=ROW) for _ in range(12)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:5] == [200] * 5
    late = answers[statuses.index(429)]
    assert int(late.headers["retry-after"]) >= 1
    assert httpx.post(url, json=ROW, headers=bearer("secret-of-bob")).status_code == 200


def test_https(serve: Any, bundles: Path, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    files = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    running = serve(str(bundles / "pick"), *files, store=tmp_path / "store")
    assert running.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificate[0]))
    answer = httpx.post(f"{running.url}/predict/pick", json=ROW, verify=context)
    assert answer.json()["label"] == "b"


def test_a_certificate_that_is_not_there_is_named(run_modelpad: Any, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("x")
    words = ("--tls-cert", "missing.pem", "--tls-key", "key.pem", "--port", "0", "--workers", "1")
    done = run_modelpad("serve", "digits", *words)
    assert done.returncode == 2
    assert "missing.pem" in done.stderr


def test_grpc_over_tls(
    serve: Any, bundles: Path, tmp_path: Path, certificate: tuple[Path, Path], free_port: int
) -> None:
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    port = free_port
    files = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    options = (*files, "--grpc-port", str(port))
    serve(str(bundles / "pick"), *options, store=tmp_path / "store")
    address = f"127.0.0.1:{port}"
    with grpc.InferenceServerClient(
        address, ssl=True, root_certificates=str(certificate[0])
    ) as client:
        assert client.is_model_ready("pick")
    with grpc.InferenceServerClient(address) as plain, pytest.raises(InferenceServerException):
        plain.is_model_ready("pick", client_timeout=3)


def test_a_wrong_certificate_or_key_file_is_told(run_modelpad: Any, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    (tmp_path / "no.text").write_bytes(b"ann=\xff\xfe")
    for words in (
        ("--tls-cert", "no.pem", "--tls-key", "no.pem"),
        ("--tls-cert", "no.pem"),
        ("--api-keys", "nowhere"),
        ("--api-keys", "no.pem"),
        ("--api-keys", "no.text"),
    ):
        done = run_modelpad("serve", "digits", "--port", "0", *words)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["ann", "ann=short", "a b=long-enough-key", "=long-enough-key"])
def test_keys_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        read_keys(text)


def test_many_keys_in_one_text() -> None:
    names = read_keys("ann=secret-of-ann,bob=secret-of-bob\n\n# note\neve=secret-of-eve # hers")
    assert sorted(names.values()) == ["ann", "bob", "eve"]
    assert names[hash_key("secret-of-eve")] == "eve"
