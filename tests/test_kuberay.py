"""The manifests of jobs/kuberay hold against schemas, offline, and against what they promise."""

import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from kuberay_schema import SCHEMAS
from ray.autoscaler._private.constants import AUTOSCALER_METRIC_PORT
from ray.dashboard.consts import DASHBOARD_METRIC_PORT
from ray_heads import BIN, Head

from osteo_ray.commands.submittable import SUBMITTABLE, check_submittable

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "jobs" / "kuberay"
KUBERNETES = "1.37"
CRDS = os.environ.get("KUBERAY_CRDS")  # a folder of KubeRay's own, where there is one


def _load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
RESOURCES = [
    pytest.param(each, id=f"{name}-{each['kind']}") for name in FILES for each in _load(name)
]


def _find(content: Any, key: str) -> Iterator[Any]:
    if isinstance(content, dict):
        for name, value in content.items():
            if name == key:
                yield value
            yield from _find(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from _find(value, key)


def _pod_templates(resource: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for key in ("template", "submitterPodTemplate") for each in _find(resource, key)]


PODS = [
    pytest.param(pod, id=f"{name}-{number}")
    for name in FILES
    for number, pod in enumerate(pod for each in _load(name) for pod in _pod_templates(each))
]


def _validate(resource: dict[str, Any]) -> None:
    """Check a resource, and the pods within it, field by field."""
    if resource["kind"] not in SCHEMAS:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        return
    jsonschema.validate(resource, SCHEMAS[resource["kind"]])
    for pod in _pod_templates(resource):
        template = {"apiVersion": "v1", "kind": "PodTemplate", "template": pod}
        kubernetes_validate.validate(template, KUBERNETES, strict=True)


def test_all_that_is_promised_is_there() -> None:
    kinds = {(name, each["kind"]) for name in FILES for each in _load(name)}
    assert kinds == {
        ("cronjob.yaml", "CronJob"),
        ("raycluster.yaml", "RayCluster"),
        ("raycronjob.yaml", "RayCronJob"),
        ("rayjob.yaml", "RayJob"),
        ("shared.yaml", "NetworkPolicy"),
        ("shared.yaml", "PersistentVolumeClaim"),
    }
    assert len(PODS) == 5


@pytest.mark.parametrize("resource", RESOURCES)
def test_resource_is_valid(resource: dict[str, Any]) -> None:
    _validate(resource)


def _validate_by_crd(resource: dict[str, Any], folder: Path) -> None:
    """Check a resource by a CRD as KubeRay publishes it."""
    file = folder / f"ray.io_{resource['kind'].lower()}s.yaml"
    crd = yaml.safe_load(file.read_text(encoding="utf-8"))
    [version] = [each for each in crd["spec"]["versions"] if each["name"] == "v1"]
    jsonschema.validate(resource, version["schema"]["openAPIV3Schema"])


@pytest.mark.skipif(not CRDS, reason="KUBERAY_CRDS names no folder of KubeRay's CRDs")
@pytest.mark.parametrize("resource", [each for each in RESOURCES if "ray.io" in str(each.values)])
def test_resource_is_valid_by_kuberays_own_crd(resource: dict[str, Any]) -> None:
    _validate_by_crd(resource, Path(str(CRDS)))


def test_a_crd_is_read_as_kuberay_publishes_it(tmp_path: Path) -> None:
    versions = [
        {"name": "v1alpha1", "schema": {"openAPIV3Schema": {"not": {}}}},
        {"name": "v1", "schema": {"openAPIV3Schema": SCHEMAS["RayCluster"]}},
    ]
    crd = {"kind": "CustomResourceDefinition", "spec": {"versions": versions}}
    (tmp_path / "ray.io_rayclusters.yaml").write_text(yaml.safe_dump(crd), encoding="utf-8")
    [resource] = _load("raycluster.yaml")
    _validate_by_crd(resource, tmp_path)
    with pytest.raises(jsonschema.ValidationError, match="tokens"):
        _validate_by_crd(_break("spec.authOptions.mode", "tokens"), tmp_path)


def _break(path: str, value: Any) -> dict[str, Any]:
    [resource] = _load("raycluster.yaml")
    *parents, last = path.split(".")
    at: Any = resource
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[last] = value
    return dict(resource)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.authOptions.mode", "tokens"),
        ("spec.authOption", {"mode": "token"}),
        ("spec.headGroupSpec.template.spec.hostNetworks", True),
        ("spec.headGroupSpec.template.spec.containers.0.image", 7),
        ("spec.workerGroupSpecs.0.maxReplicas", "4"),
        ("spec.workerGroupSpecs.0.template.spec.containers.0.resources.limit", {}),
    ],
)
def test_a_mistake_would_be_found(path: str, value: Any) -> None:
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        _validate(_break(path, value))


@pytest.mark.parametrize("pod", PODS)
def test_pods_have_no_privileges_and_bounded_resources(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] >= 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not list(_find(pod, "hostPort"))
    assert not list(_find(pod, "hostPath"))
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_images_are_of_one_pinned_version() -> None:
    images = {image for name in FILES for each in _load(name) for image in _find(each, "image")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tag = f"{project['version']}-ray{ray.__version__}"
    assert images == {f"registry.example.org/osteo-ray:{tag}"}
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"osteo-ray:{tag} ." in docker
    assert all(":" in image for image in re.findall(r"^FROM (\S+)", docker, re.M))
    assert re.search(r"^USER 1000$", docker, re.M)


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_clusters_want_a_token_and_scale_gpu_workers(name: str) -> None:
    [resource] = _load(name)
    spec = resource["spec"].get("rayClusterSpec", resource["spec"])
    name = "osteo-ray-token"
    assert spec["authOptions"] == {"mode": "token", "secretName": name}
    assert spec["rayVersion"] == ray.__version__
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    [workers] = spec["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] < workers["maxReplicas"]
    [container] = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    [policy] = [each for each in _load("shared.yaml") if each["kind"] == "NetworkPolicy"]
    guarded = policy["spec"]["podSelector"]["matchLabels"]
    for pod in (spec["headGroupSpec"]["template"], workers["template"]):
        assert pod["metadata"]["labels"] == guarded
        [volume] = pod["spec"]["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": "osteo-ray-shared"}


def test_rayjob_and_raycluster_describe_one_cluster() -> None:
    [cluster], [job] = _load("raycluster.yaml"), _load("rayjob.yaml")
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]


def test_secrets_are_named_and_not_held() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert not re.search(r"[0-9a-f]{32}|AKIA[0-9A-Z]{16}", text)
        assert not any(each["kind"] == "Secret" for each in _load(name))
    [cron] = _load("cronjob.yaml")
    [variables] = _find(cron, "env")
    assert {each["name"]: "value" in each for each in variables} == {
        "RAY_AUTH_MODE": True,
        "RAY_AUTH_TOKEN": False,
    }


def _list_commands() -> list[list[str]]:
    commands = []
    for name in FILES:
        for resource in _load(name):
            for text in _find(resource, "entrypoint"):
                words = shlex.split(text)
                assert words[:3] == ["osteo-ray", "submit", "--address"]
                assert words[3] == "http://127.0.0.1:8265"  # it runs on the head
                commands.append(words[4:])
            for container in (each for pod in _find(resource, "containers") for each in pod):
                if "command" in container:
                    words = [*container["command"], *container["args"]]
                    assert words[:3] == ["osteo-ray", "submit", "--address"]
                    assert words[3] == "http://osteo-ray-head-svc:8265"
                    commands.append(words[4:])
    return commands


def test_commands_parse() -> None:
    commands = _list_commands()
    assert sorted(words[0] for words in commands) == ["compare", "reproduce", "reproduce"]
    for name, *flags in commands:
        if name in SUBMITTABLE:
            assert check_submittable(name, flags).startswith("/shared/")


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycronjob.yaml", "cronjob.yaml"])
def test_only_submit_tries_again(name: str) -> None:
    """KubeRay and Kubernetes would try again bad input, findings and drift as well."""
    [resource] = _load(name)
    assert set(_find(resource, "backoffLimit")) == {0}
    assert all(0 < seconds <= 259200 for seconds in _find(resource, "activeDeadlineSeconds"))
    assert list(_find(resource, "activeDeadlineSeconds"))


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycronjob.yaml"])
def test_no_pod_stands_between_a_ray_job_and_its_submitter(name: str) -> None:
    [resource] = _load(name)
    assert list(_find(resource, "submissionMode")) == ["HTTPMode"]
    assert not list(_find(resource, "submitterPodTemplate"))


@pytest.mark.faults
def test_rayjob_ends_as_the_command_and_bad_input_runs_once(head: Head, tmp_path: Path) -> None:
    """The entrypoint of rayjob.yaml, as KubeRay's operator submits it over HTTP."""
    [resource] = _load("rayjob.yaml")
    entrypoint = resource["spec"]["entrypoint"].replace("http://127.0.0.1:8265", head.url)
    entrypoint = entrypoint.replace("/shared", str(tmp_path))  # a folder without images
    command = [str(BIN / "ray"), "job", "submit", "--address", head.url, "--"]
    ended = subprocess.run(
        [*command, *shlex.split(entrypoint)],
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    said = " ".join((ended.stdout + ended.stderr).split())
    assert "failed with exit code 2" in said, said  # what the outer job ended with
    assert f"{tmp_path}/knees" in said
    assert "-retry-" not in said


def test_prometheus_may_read_metrics_and_nothing_else() -> None:
    [policy] = [each for each in _load("shared.yaml") if each["kind"] == "NetworkPolicy"]
    found: dict[str, set[int]] = {}
    for rule in policy["spec"]["ingress"]:
        for peer in rule["from"]:
            name = peer["podSelector"]["matchLabels"].get("app.kubernetes.io/name", "own")
            found.setdefault(name, set()).update(one["port"] for one in rule.get("ports", []))
    assert found["prometheus"] == {8080, AUTOSCALER_METRIC_PORT, DASHBOARD_METRIC_PORT}
    assert found["kuberay-operator"] == {8265}


def test_schedules_reach_the_cluster_that_stays() -> None:
    [cluster], [cron], [ray_cron] = (
        _load(name) for name in ("raycluster.yaml", "cronjob.yaml", "raycronjob.yaml")
    )
    selector = ray_cron["spec"]["jobTemplate"]["clusterSelector"]
    assert selector == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert ray_cron["spec"]["schedule"] == cron["spec"]["schedule"] == "0 3 * * 1"
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert list(_find(cron, "restartPolicy")) == ["Never"]
