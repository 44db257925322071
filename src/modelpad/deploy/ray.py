"""`--to ray`: an application of Ray Serve, for a cluster that exists already.

The models travel in an archive that the cluster fetches from a bucket (its `working_dir`), together
with modelpad, which Ray installs for this application alone.
"""

from __future__ import annotations

from modelpad.deploy.deployment import Deployment, Plan
from modelpad.deploy.image import find_extras, list_models, list_packages
from modelpad.deploy.wheel import NAME
from modelpad.deploy.yaml import Yaml, write_yaml

BUCKET = "s3://BUCKET"
HTTP_PORT = 8000  # of Ray Serve
HEAD = "http://HEAD:8265"  # where Ray's dashboard takes applications
REPLICAS, MAX_REPLICAS, IDLE_S = 1, 8, 60
PACKAGE_DIR = "${RAY_RUNTIME_ENV_CREATE_WORKING_DIR}"  # where Ray unpacks the archive
APP = '''\
"""What config.yaml deploys: the models beside this file, each replica with all of them.

Settings are the variables of `modelpad serve`, such as MODELPAD_TIMEOUT: see config.yaml.
"""

from modelpad.cli.serve_on_cluster import build_application

app = build_application()
'''
COMMENT = """{title} on Ray Serve. A replica is added when each works on more than
{requests} requests at once: {why}.
Deploy: serve deploy config.yaml --address {head}"""


def plan(deployment: Deployment) -> Plan:
    """config.yaml, what it names, and a Makefile that packs it."""
    archive = f"{deployment.name}-{deployment.tag}.zip"
    extras = find_extras(deployment, grpc=False)
    batches = ", ".join(f"{name} {size}" for name, size in deployment.sizing.batches.items())
    comment = COMMENT.format(
        title=deployment.title,
        requests=deployment.sizing.concurrency,
        why=f"two of the best batches measured ({batches})",
        head=HEAD,
    )
    config = write_config(deployment, archive, name_package(extras))
    return Plan(
        files={
            "config.yaml": write_yaml(config, comment=comment),
            "app.py": APP.encode("utf-8"),
            "Makefile": write_makefile(archive).encode("utf-8"),
            **list_packages(extras),
            **list_models(deployment),
        },
        commands=(
            f"make package && aws s3 cp build/{archive} {BUCKET}/{archive}",
            f"serve deploy config.yaml --address {HEAD}",
        ),
        rollback="serve deploy the config.yaml of the previous versions; their archive is still in"
        " the bucket, as each has its versions in its name.",
        notes=(
            "Replace BUCKET and HEAD. A bucket of Google works, too: gs://",
            f"Try it on this machine first, with modelpad[ray]: make run, then port {HTTP_PORT}.",
        ),
    )


def name_package(extras: frozenset[str]) -> str:
    """modelpad's wheel for pip; what it needs comes in versions that suit the cluster's Python.

    Ray's own environment has some of it already, and Ray depends on those versions.
    """
    chosen = f"[{','.join(sorted(extras))}]" if extras else ""
    return f"{PACKAGE_DIR}/{NAME}{chosen}"


def write_config(deployment: Deployment, archive: str, package: str) -> Yaml:
    """The configuration of Ray Serve; its class is `ray.serve.schema.ServeDeploySchema`."""
    sizing = deployment.sizing
    replica: Yaml = {
        "name": "modelpad",
        "autoscaling_config": {
            "min_replicas": REPLICAS,
            "max_replicas": MAX_REPLICAS,
            "target_ongoing_requests": sizing.concurrency,
            "upscale_delay_s": 2,
            "downscale_delay_s": IDLE_S,
        },
        "ray_actor_options": {
            "num_cpus": sizing.cpus,
            "memory": sizing.memory_mb * 1024 * 1024,
        },
    }
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": HTTP_PORT},
        "applications": [
            {
                "name": deployment.name,
                "route_prefix": "/",
                "import_path": "app:app",
                "runtime_env": {
                    "working_dir": f"{BUCKET}/{archive}",
                    "pip": [package],
                    "env_vars": {
                        "MODELPAD_HOST": "0.0.0.0",
                        "MODELPAD_STORE": "models",
                        "MODELPAD_CACHE": "/tmp/modelpad",
                        "MODELPAD_POLL_INTERVAL": "0",
                    },
                },
                "deployments": [replica],
            }
        ],
    }


def write_makefile(archive: str) -> str:
    """The Makefile. Ray wants one folder at the top of an archive."""
    folder = archive.removesuffix(".zip")
    return f"""\
# make package   pack what the cluster fetches
# make run       serve on a Ray cluster of this machine, until Ctrl-C
.PHONY: package run
package:
\trm -rf build/{folder} && mkdir -p build/{folder}
\tcp -r app.py requirements.txt models *.whl build/{folder}/
\tpython3 -m zipfile -c build/{archive} build/{folder}
\trm -r build/{folder}

run:
\tMODELPAD_HOST=0.0.0.0 MODELPAD_STORE=models MODELPAD_POLL_INTERVAL=0 \\
\t  serve run --working-dir . app:app
"""
