"""Names, tags and what cannot be deployed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.bundle import Bundle
from modelpad.bundle.manifest import NAME, NativeModel
from modelpad.deploy.deployment import Deployment, Sizing, check_models, choose_name
from modelpad.deploy.sizing import measure_sizing
from modelpad.errors import Unsupported, UsageError
from modelpad.store import ResolvedBundle


def resolve(digits: Bundle, *names: str) -> tuple[ResolvedBundle, ...]:
    return tuple(ResolvedBundle(name, number, digits) for number, name in enumerate(names, 1))


def test_the_image_has_the_versions_of_its_models_as_its_tag(digits: Bundle) -> None:
    deployment = Deployment("demo", resolve(digits, "a", "b"), Sizing(1, 512, 1))
    assert deployment.reference() == "demo:1.2"
    assert deployment.reference("ghcr.io/me") == "ghcr.io/me/demo:1.2"
    assert replace(deployment, image="x/y:z").reference("ghcr.io/me") == "x/y:z"


def test_the_name_is_made_of_the_models(digits: Bundle) -> None:
    assert choose_name(resolve(digits, "digits")) == "digits"
    assert choose_name(resolve(digits, "My_Digits", "b.c")) == "my-digits-b-c"
    assert choose_name(resolve(digits, "a", "b", "c")) == "models"
    assert choose_name(resolve(digits, "a"), "mine") == "mine"


@given(st.from_regex(NAME, fullmatch=True))
def test_every_model_gives_a_dns_label(name: str) -> None:
    models = (ResolvedBundle(name, 1, None),)  # type: ignore[arg-type]
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", choose_name(models))


@pytest.mark.parametrize("name", ["Mine", "1a", "a_b", "a-", "a" * 41])
def test_a_name_that_no_platform_accepts_is_rejected(digits: Bundle, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        choose_name(resolve(digits, "a"), name)


def test_a_model_is_deployed_once(digits: Bundle) -> None:
    with pytest.raises(UsageError, match="more than once: a"):
        check_models(resolve(digits, "a", "a"))


def test_a_native_model_needs_a_framework_that_the_image_lacks(digits: Bundle) -> None:
    native = NativeModel("xgboost", "xgboost", "model.ubj")
    bundle = replace(digits, manifest=replace(digits.manifest, native=native))
    with pytest.raises(Unsupported, match="xgboost"):
        check_models((ResolvedBundle("a", 1, bundle),))


def test_an_instance_holds_two_batches_and_its_models(digits: Bundle) -> None:
    measured = measure_sizing(resolve(digits, "a"))
    assert measured.concurrency == min(80, 2 * measured.batches["a"])
    assert measured.memory_mb == 512
    assert measure_sizing(resolve(digits, "a"), measure=False).concurrency == 2
    large = replace(digits.manifest.files["model.onnx"], bytes=400 * 1024 * 1024)
    manifest = replace(digits.manifest, files={**digits.manifest.files, "model.onnx": large})
    model = ResolvedBundle("a", 1, replace(digits, manifest=manifest))
    assert measure_sizing((model,), measure=False).memory_mb == 2048
