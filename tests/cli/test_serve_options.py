"""Arguments and environment become `ServeOptions`."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.cli.main import build_parser
from modelpad.cli.serve_options import read_options
from modelpad.errors import UsageError
from modelpad.server.options import (
    MB,
    FeedbackOptions,
    LimitOptions,
    ModelOptions,
    NetworkOptions,
    SecurityOptions,
    ServeOptions,
    StudioOptions,
    WorkerOptions,
)

HOME = {"MODELPAD_STORE": "/store", "MODELPAD_CACHE": "/cache"}


def read(*arguments: str, **variables: str) -> ServeOptions:
    args = build_parser(["serve"]).parse_args(["serve", *arguments])
    return read_options(args, HOME | variables)


def test_defaults_are_those_of_the_options() -> None:
    assert read() == ServeOptions(ModelOptions(Path("/store"), Path("/cache")))


def test_every_group_is_read() -> None:
    options = read(
        *("digits", "cats@2", "--store", "/other", "--keep-versions", "3", "--poll-interval", "0"),
        *("--device", "auto", "--memory-limit", "2000"),
        *("--host", "::1", "--port", "9000", "--grpc-port", "8081"),
        *("--tls-cert", "cert.pem", "--tls-key", "key.pem"),
        *("--api-keys", "keys.txt", "--admin", "ann", "--rate-limit", "2.5"),
        *("--allowed-host", "a.example", "--cors-origin", "https://b.example"),
        *("--max-body-mb", "16", "--max-inflight-mb", "64", "--timeout", "5"),
        *("--max-queue", "10", "--max-batch-size", "4"),
        *("--workers", "2", "--max-worker-memory-mb", "512", "--shutdown-timeout", "1"),
        *("--log-requests", "--otlp-endpoint", "http://127.0.0.1:4318"),
    )
    assert options == ServeOptions(
        ModelOptions(
            Path("/other"), Path("/cache"), ("digits", "cats@2"), 3, 0.0, "auto", 2000 * MB
        ),
        NetworkOptions("::1", 9000, 8081, Path("cert.pem"), Path("key.pem")),
        SecurityOptions(
            "", Path("keys.txt"), ("ann",), 2.5, ("a.example",), ("https://b.example",)
        ),
        LimitOptions(16 * MB, 64 * MB, 5.0, 10, 4),
        WorkerOptions(2, 512 * MB, 1.0),
        log_requests=True,
        otlp_endpoint="http://127.0.0.1:4318",
    )


def test_the_environment_adds_what_is_not_given() -> None:
    options = read(
        "--allowed-host",
        "a.example",
        PORT="9000",
        AIP_PREDICT_ROUTE="/predict-me",
        AIP_HEALTH_ROUTE="/health",
        MODELPAD_API_KEYS="ann=12345678",
        MODELPAD_ALLOWED_HOSTS="b.example, *.c.example",
        MODELPAD_OTLP_ENDPOINT="http://collector:4318",
    )
    assert options.network == NetworkOptions(
        port=9000, predict_route="/predict-me", health_route="/health"
    )
    assert options.security.api_keys == "ann=12345678"
    assert options.security.allowed_hosts == ("a.example", "b.example", "*.c.example")
    assert options.otlp_endpoint == "http://collector:4318"


def test_arguments_come_before_the_environment() -> None:
    assert read("--port", "1234", PORT="9000").network.port == 1234
    assert read(PORT="9000", AIP_HTTP_PORT="9001").network.port == 9001


def test_no_memory_limit_differs_from_the_default() -> None:
    assert read("--max-worker-memory-mb", "0").workers.max_memory_bytes == 0
    assert read().workers.max_memory_bytes is None


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("--cors-origin https://a.example/path", "--cors-origin"),
        ("--allowed-host https://a.example", "--allowed-host"),
        ("--admin ann", "--api-keys"),
        ("--tls-cert cert.pem", "--tls-key"),
        ("--otlp-endpoint collector:4318", "--otlp-endpoint"),
        ("--max-worker-memory-mb 255", "--max-worker-memory-mb"),
    ],
)
def test_values_that_make_no_sense_name_the_option(arguments: str, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*arguments.split())
    assert option in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_an_admin_may_have_a_key_from_the_environment() -> None:
    assert read("--admin", "ann", MODELPAD_API_KEYS="ann=12345678").security.admins == ("ann",)


def test_feedback_goes_to_a_folder_or_a_file() -> None:
    limits = ("--feedback-max-items", "5", "--feedback-max-mb", "0.5")
    given = read("--feedback", "kept", *limits).feedback
    assert given == FeedbackOptions(Path("kept/feedback.sqlite"), 5, MB // 2)
    assert read(MODELPAD_FEEDBACK="sqlite:kept.db").feedback.path == Path("kept.db")
    with pytest.raises(UsageError, match="postgres"):
        read("--feedback", "postgres://host/db")


def test_the_studio_is_off_unless_it_is_asked_for() -> None:
    assert read("--jobs", "/jobs").studio == StudioOptions()
    options = read("--studio", "--jobs", "/jobs", "--job-cores", "2", "--job-memory-mb", "512")
    assert options.studio == StudioOptions(Path("/jobs"), 2, 512 * MB)
    assert read("--studio", MODELPAD_JOBS="/elsewhere").studio.folder == Path("/elsewhere")


def test_the_studio_is_not_for_strangers() -> None:
    with pytest.raises(UsageError, match=r"lets everyone who reaches 0\.0\.0\.0"):
        read("--studio", "--host", "0.0.0.0")
    assert read("--studio", "--host", "0.0.0.0", "--api-keys", "keys").studio.folder
    keys = read("--studio", "--host", "::", MODELPAD_API_KEYS="ann=annsecret")
    assert keys.studio.folder
