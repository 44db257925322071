"""`--to kubernetes`: a Deployment that survives nodes, behind a Service, for any cluster."""

from __future__ import annotations

from modelpad.deploy.deployment import GRPC_PORT, HTTP_PORT, REGISTRY, Deployment, Plan
from modelpad.deploy.image import USER, Image, build_context
from modelpad.deploy.yaml import Yaml, write_yaml

REPLICAS, MAX_REPLICAS = 2, 10
TARGET_CPU_PERCENT = 70
DRAIN_S = 5  # until every node has taken the pod out of its routes
SHUTDOWN_S = 10
HELP = """Apply all of it: kubectl apply -k .
The image must be in a registry that the cluster reaches."""


def plan(deployment: Deployment) -> Plan:
    """The image's files, the manifests, and a kustomization of them."""
    image = deployment.reference(REGISTRY)
    files = build_context(deployment, Image(grpc=True))
    manifests = {
        "deployment.yaml": write_deployment(deployment, image),
        "service.yaml": write_service(deployment),
        "autoscaler.yaml": write_autoscaler(deployment),
        "disruption-budget.yaml": write_budget(deployment),
        "network-policy.yaml": write_policy(deployment),
    }
    files |= {name: write_yaml(manifest) for name, manifest in manifests.items()}
    files["kustomization.yaml"] = write_yaml(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(manifests),
        },
        comment=HELP,
    )
    note = f"Replace {REGISTRY} in the commands and deployment.yaml, or give --image."
    return Plan(
        files=files,
        commands=(f"docker build -t {image} . && docker push {image}", "kubectl apply -k ."),
        rollback=f"kubectl rollout undo deployment/{deployment.name}",
        notes=() if deployment.image else (note,),
    )


def label(deployment: Deployment) -> dict[str, Yaml]:
    """The labels that select the pods."""
    return {"app.kubernetes.io/name": deployment.name}


def describe(deployment: Deployment) -> dict[str, Yaml]:
    """The metadata of every object."""
    return {"name": deployment.name, "labels": label(deployment)}


def write_deployment(deployment: Deployment, image: str) -> Yaml:
    """Pods without privileges, spread over nodes, that drain before they stop."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": describe(deployment),
        "spec": {
            "replicas": REPLICAS,
            "revisionHistoryLimit": 5,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": label(deployment)},
            "template": {
                "metadata": {"labels": label(deployment)},
                "spec": write_pod(deployment, image),
            },
        },
    }


def write_pod(deployment: Deployment, image: str) -> Yaml:
    """The pod: one container, a writable /tmp in memory, and no access to the cluster's API."""
    spread: Yaml = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": label(deployment)},
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": DRAIN_S + SHUTDOWN_S + 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
        "containers": [write_container(deployment, image)],
        "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
    }


def write_container(deployment: Deployment, image: str) -> Yaml:
    """The container, with its probes and limits."""
    sizing = deployment.sizing
    memory = f"{sizing.memory_mb}Mi"
    drain = f"import time; time.sleep({DRAIN_S})"
    return {
        "name": "modelpad",
        "image": image,
        "args": ["serve"],
        "env": [{"name": "MODELPAD_SHUTDOWN_TIMEOUT", "value": str(SHUTDOWN_S)}],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        "resources": {
            "requests": {"cpu": "250m", "memory": memory},
            "limits": {"cpu": str(sizing.cpus), "memory": memory},
        },
        "startupProbe": write_probe("/readyz", period_s=1, failures=60),
        "readinessProbe": write_probe("/readyz", period_s=5, failures=2),
        "livenessProbe": write_probe("/healthz", period_s=10, failures=3),
        "lifecycle": {
            "preStop": {"exec": {"command": ["/opt/modelpad/bin/python", "-ISc", drain]}}
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def write_probe(path: str, *, period_s: int, failures: int) -> Yaml:
    """A probe over HTTP."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def write_service(deployment: Deployment) -> Yaml:
    """HTTP on port 80, gRPC on its usual port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": describe(deployment),
        "spec": {
            "selector": label(deployment),
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"},
                {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "appProtocol": "grpc"},
            ],
        },
    }


def write_autoscaler(deployment: Deployment) -> Yaml:
    """More pods when their CPUs are busy; fewer slowly, so that bursts do not flap."""
    target: Yaml = {"type": "Utilization", "averageUtilization": TARGET_CPU_PERCENT}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": describe(deployment),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment.name,
            },
            "minReplicas": REPLICAS,
            "maxReplicas": MAX_REPLICAS,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def write_budget(deployment: Deployment) -> Yaml:
    """At least one pod stays while nodes are drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": describe(deployment),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": label(deployment)}},
    }


def write_policy(deployment: Deployment) -> Yaml:
    """Requests come in on the two ports; nothing goes out."""
    ports: list[Yaml] = [{"protocol": "TCP", "port": port} for port in (HTTP_PORT, GRPC_PORT)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": describe(deployment),
        "spec": {
            "podSelector": {"matchLabels": label(deployment)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": ports}],
            "egress": [],
        },
    }
