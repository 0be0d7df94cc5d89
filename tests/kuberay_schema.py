"""What KubeRay 1.6 takes of RayCluster, RayJob and RayCronJob, as far as `jobs/kuberay` goes.

Written from its API reference (docs.ray.io, "KubeRay CRD API reference", v1.6.2), in our words: the
CRDs themselves are 0.8 MB each. Stricter than they are, as a server drops unknown fields silently:
any field that is not named here is an error. `POD` marks a pod template, which Kubernetes' own
schema is for. Not covered: the rules that KubeRay states in CEL or checks in its operator.
"""

from typing import Any

POD: dict[str, Any] = {"type": "object", "required": ["spec"]}
_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_FLAG = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_QUANTITIES = {
    "type": "object",
    "additionalProperties": {"type": ["integer", "string"], "pattern": r"^[0-9.]+([KMGTPE]i?|m)?$"},
}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


_AUTOSCALER = _object(
    idleTimeoutSeconds=_COUNT,
    image=_TEXT,
    imagePullPolicy=_one_of("Always", "IfNotPresent", "Never"),
    resources=_object(requests=_QUANTITIES, limits=_QUANTITIES),
    securityContext=_object(
        allowPrivilegeEscalation=_FLAG,
        capabilities=_object(drop={"type": "array", "items": _TEXT}),
        readOnlyRootFilesystem=_FLAG,
        runAsNonRoot=_FLAG,
        runAsUser=_COUNT,
    ),
    upscalingMode=_one_of("Default", "Aggressive", "Conservative"),
    version=_one_of("v1", "v2"),
)
_HEAD = _object(
    ("template",),
    rayStartParams=_TEXTS,
    serviceType=_one_of("ClusterIP", "NodePort", "LoadBalancer"),
    enableIngress=_FLAG,
    template=POD,
)
_WORKERS = _object(
    ("groupName", "template", "minReplicas", "maxReplicas"),
    groupName=_TEXT,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    numOfHosts=_COUNT,
    idleTimeoutSeconds=_COUNT,
    suspend=_FLAG,
    rayStartParams=_TEXTS,
    template=POD,
)
CLUSTER = _object(
    ("headGroupSpec",),
    rayVersion=_TEXT,
    authOptions=_object(mode=_one_of("disabled", "token"), secretName=_TEXT),
    enableInTreeAutoscaling=_FLAG,
    autoscalerOptions=_AUTOSCALER,
    headServiceAnnotations=_TEXTS,
    suspend=_FLAG,
    managedBy=_one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    headGroupSpec=_HEAD,
    workerGroupSpecs={"type": "array", "items": _WORKERS},
)
JOB = _object(
    activeDeadlineSeconds={**_COUNT, "minimum": 1},
    backoffLimit=_COUNT,
    clusterSelector=_TEXTS,
    entrypoint=_TEXT,
    entrypointNumCpus={"type": "number", "minimum": 0},
    entrypointNumGpus={"type": "number", "minimum": 0},
    entrypointResources=_TEXT,
    jobId=_TEXT,
    metadata=_TEXTS,
    preRunningDeadlineSeconds={**_COUNT, "minimum": 1},
    rayClusterSpec=CLUSTER,
    runtimeEnvYAML=_TEXT,
    shutdownAfterJobFinishes=_FLAG,
    submissionMode=_one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    submitterConfig=_object(backoffLimit=_COUNT),
    submitterPodTemplate=POD,
    suspend=_FLAG,
    ttlSecondsAfterFinished=_COUNT,
)
CRON_JOB = _object(
    ("schedule", "jobTemplate"),
    schedule=_TEXT,
    timeZone={"type": "string", "minLength": 1},
    suspend=_FLAG,
    jobTemplate=JOB,
)


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=_object(name=_TEXT, generateName=_TEXT, labels=_TEXTS),
        spec=spec,
    )


SCHEMAS = {
    kind: _resource(kind, spec)
    for kind, spec in (("RayCluster", CLUSTER), ("RayJob", JOB), ("RayCronJob", CRON_JOB))
}
