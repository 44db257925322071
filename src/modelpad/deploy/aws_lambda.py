"""`--to lambda`: AWS Lambda from the image, behind a function URL.

AWS's web adapter, an extension of the container, turns invocations into HTTP requests.
"""

from __future__ import annotations

from modelpad.deploy.deployment import HTTP_PORT, Deployment, Plan, refuse_memory
from modelpad.deploy.image import Image, build_context
from modelpad.deploy.yaml import Yaml, write_yaml

ADAPTER = (
    "COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1"
    " /lambda-adapter /opt/extensions/lambda-adapter"
)
MEMORY_MB, MOST_MB = 1769, 10_240  # what gives one whole CPU, and what a function can have
HELP = """sam build && sam deploy --guided"""


def plan(deployment: Deployment) -> Plan:
    """The image's files with the adapter, and a template for AWS SAM.

    Raises `Unsupported` for models that need more memory than a function can have.
    """
    if deployment.sizing.memory_mb > MOST_MB:
        raise refuse_memory("A function of Lambda", MOST_MB, deployment.sizing.memory_mb)
    variables = {
        "MODELPAD_WORKERS": "1",
        "AWS_LWA_PORT": str(HTTP_PORT),
        "AWS_LWA_READINESS_CHECK_PATH": "/readyz",
    }
    files = build_context(deployment, Image(variables=variables, adapter=ADAPTER)) | {
        "template.yaml": write_yaml(write_template(deployment), comment=HELP)
    }
    return Plan(
        files=files,
        commands=("sam build", "sam deploy --guided"),
        rollback="deploy the folder of the previous versions again.",
        notes=("Requests and responses may have at most 6 MB.",),
    )


def write_template(deployment: Deployment) -> Yaml:
    """One function with a URL; AWS signs its callers unless AuthType is NONE."""
    memory_mb = max(MEMORY_MB, deployment.sizing.memory_mb)
    function: Yaml = {
        "Type": "AWS::Serverless::Function",
        "Metadata": {
            "Dockerfile": "Dockerfile",
            "DockerContext": ".",
            "DockerTag": deployment.tag,
        },
        "Properties": {
            "PackageType": "Image",
            "MemorySize": memory_mb,
            "Timeout": 30,
            "FunctionUrlConfig": {"AuthType": "AWS_IAM"},
        },
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Description": deployment.title,
        "Resources": {"Model": function},
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["ModelUrl", "FunctionUrl"]}}},
    }
