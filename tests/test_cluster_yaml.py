"""cluster.yaml, and its variant, hold against Ray's own schema, offline, and their promises."""

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
AWS, LOCAL = ROOT / "cluster.yaml", ROOT / "cluster-local.yaml"
POLICIES = ROOT / "jobs" / "aws"
SYNC = "uv sync --python 3.11.18 --no-dev --no-editable"


@pytest.fixture(params=[AWS, LOCAL], ids=["aws", "local"])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return a configuration with the launcher's defaults filled in, as `ray up` sees it."""
    return _prepare(request.param)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def _prepare(path: Path) -> dict[str, Any]:
    prepared: dict[str, Any] = prepare_config(_read(path))
    return prepared


def _start_commands(cluster: dict[str, Any]) -> list[str]:
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    return starts


def test_cluster_is_valid_by_rays_schema(cluster: dict[str, Any]) -> None:
    validate_config(cluster)


# What is installed


def _read_pins() -> dict[str, str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    pins = [Requirement(line) for line in settings["constraint-dependencies"]]
    for pin in pins:
        assert [one.operator for one in pin.specifier] == ["=="], pin
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def _list_needed(*names: str) -> set[str]:
    """Return every package that these need here, as they are installed, by name."""
    found: set[str] = set()
    waiting = [(name, frozenset[str]()) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": one}) for one in ("", *extras)):
                waiting.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    return found


def test_every_package_of_a_node_is_pinned_to_what_is_tested() -> None:
    pins = _read_pins()
    needed = _list_needed("osteo-ray", "boto3") - {"osteo-ray"}
    assert len(needed) > 80
    assert {name: pins.get(name) for name in needed} == {
        name: importlib.metadata.version(name) for name in needed
    }
    assert pins["ray"] == ray.__version__


def test_every_node_installs_by_the_pins_of_the_project(cluster: dict[str, Any]) -> None:
    """uv reads pins from the project in whose folder it runs; elsewhere it resolves anew."""
    commands = [*cluster["setup_commands"], *cluster["head_setup_commands"]]
    installing = [one for one in commands if re.search(r"\buv (pip|sync|add)\b|\bpip install", one)]
    assert installing
    for command in installing:
        assert command.startswith("cd ~/osteo-ray && "), command
    assert sum(SYNC in one for one in cluster["setup_commands"]) == 1
    assert "~/osteo-ray/pyproject.toml" in cluster["file_mounts"]
    assert not any("uv.lock" in target for target in cluster["file_mounts"])
    # The launcher puts the commands for all nodes before those of a kind: a worker runs what the
    # head runs, in the same folder, so neither can get what the other has not.
    everywhere = cluster["setup_commands"]
    assert cluster["worker_setup_commands"] == everywhere
    assert cluster["head_setup_commands"][: len(everywhere)] == everywhere
    assert all("boto3" in one for one in cluster["head_setup_commands"][len(everywhere) :])


def test_image_is_built_by_the_same_pins() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (version,) = {
        match
        for path in (AWS, LOCAL)
        for match in re.findall(r"astral\.sh/uv/([\d.]+)/", path.read_text(encoding="utf-8"))
    }
    assert f"uv=={version}" in dockerfile
    assert "uv sync --no-dev --no-editable" in dockerfile
    assert "FROM python:3.11.18-" in dockerfile


# Tokens and ports


def test_cluster_wants_a_token_on_every_node(cluster: dict[str, Any]) -> None:
    for command in _start_commands(cluster):
        assert "RAY_AUTH_MODE=token ray start" in command
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_cluster_keeps_the_dashboard_private(cluster: dict[str, Any]) -> None:
    assert "--dashboard-host=127.0.0.1" in _start_commands(cluster)[0]
    assert "0.0.0.0" not in yaml.safe_dump(cluster)


@pytest.mark.parametrize("path", [AWS, LOCAL, *sorted(POLICIES.glob("*.json"))])
def test_cluster_holds_no_long_secret(path: Path) -> None:
    assert not re.search(r"[0-9a-f]{32}|AKIA[0-9A-Z]{16}", path.read_text(encoding="utf-8"))


def test_variant_installs_and_starts_the_same() -> None:
    aws, local = _read(AWS), _read(LOCAL)
    for key in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        assert local[key] == aws[key]
    assert local["file_mounts"] == aws["file_mounts"]
    assert _prepare(LOCAL)["provider"]["type"] == "local"


# Kinds of nodes


def _list_workers(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    types = cluster["available_node_types"]
    return {name: each for name, each in types.items() if name != cluster["head_node_type"]}


def test_workers_are_spot_with_a_way_out_and_none_waits_idle() -> None:
    cluster = _prepare(AWS)
    workers = _list_workers(cluster)
    for worker in workers.values():
        assert worker["min_workers"] == 0
        assert 0 < worker["max_workers"] <= cluster["max_workers"]
        assert worker["resources"]["GPU"] >= 1
    spot, on_demand = workers["gpu-spot"], workers["gpu-on-demand"]
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    # The same machine, so what one kind runs, the other does as well; spot first.
    assert spot["node_config"] == on_demand["node_config"]
    assert spot["resources"] == on_demand["resources"]
    assert spot["priority"] > on_demand["priority"]
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]
    assert 0 < cluster["idle_timeout_minutes"] <= 15


def test_mounted_files_exist(cluster: dict[str, Any]) -> None:
    for source in cluster["file_mounts"].values():
        assert source.startswith("~") or (ROOT / source).exists()


# AWS


def _read_policy(name: str) -> list[dict[str, Any]]:
    policy = json.loads((POLICIES / name).read_text(encoding="utf-8"))
    assert policy["Version"] == "2012-10-17"
    statements: list[dict[str, Any]] = policy["Statement"]
    assert all(one["Effect"] == "Allow" for one in statements)
    return statements


def _list_actions(statements: list[dict[str, Any]]) -> set[str]:
    return {
        action
        for one in statements
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }


def test_workers_reach_their_bucket_and_nothing_else() -> None:
    statements = _read_policy("storage.json")
    for one in statements:
        assert one["Resource"].startswith("arn:aws:s3:::BUCKET")
    actions = _list_actions(statements)
    assert {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"} <= actions
    assert all(action.startswith("s3:") and "*" not in action for action in actions)


def test_head_starts_and_ends_workers_of_this_cluster_only() -> None:
    cluster, statements = _prepare(AWS), _read_policy("autoscaler.json")
    assert not any("*" in action for action in _list_actions(statements))
    [ending] = [one for one in statements if "ec2:TerminateInstances" in one["Action"]]
    tag = {"ec2:ResourceTag/ray-cluster-name": cluster["cluster_name"]}
    assert ending["Condition"] == {"StringEquals": tag}
    [handing] = [one for one in statements if one["Action"] == "iam:PassRole"]
    profiles = {
        each["node_config"]["IamInstanceProfile"]["Name"]
        for each in _list_workers(cluster).values()
    }
    assert profiles == {handing["Resource"].rpartition("/")[2]}


def test_launcher_gets_as_far_as_starting_instances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray up`'s own preparation, and what it asks EC2 for, against a stand-in for AWS."""
    import boto3
    from moto import mock_aws
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    monkeypatch.setenv("HOME", str(tmp_path))  # where the launcher writes the key for SSH
    (tmp_path / ".ssh").mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    raw = _read(AWS)
    region = raw["provider"]["region"]
    with mock_aws():
        ec2 = boto3.client("ec2", region)
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        iam = boto3.client("iam", region)
        trust = (POLICIES / "assume-role.json").read_text()
        for profile, policies in {
            "osteo-ray-head": ["storage.json", "autoscaler.json"],
            "osteo-ray-worker": ["storage.json"],
        }.items():
            iam.create_role(RoleName=profile, AssumeRolePolicyDocument=trust)
            for policy in policies:
                iam.put_role_policy(
                    RoleName=profile,
                    PolicyName=policy.removesuffix(".json"),
                    PolicyDocument=(POLICIES / policy).read_text().replace("BUCKET", "knees"),
                )
            iam.create_instance_profile(InstanceProfileName=profile)
            iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=profile)
        for each in raw["available_node_types"].values():
            each["node_config"]["ImageId"] = image
        config = bootstrap_aws(prepare_config(raw))
        # The launcher made no role of its own, which might do anything to EC2 and S3.
        assert {role["RoleName"] for role in iam.list_roles()["Roles"]} == {
            "osteo-ray-head",
            "osteo-ray-worker",
        }
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for name, each in config["available_node_types"].items():
            tags = {"ray-node-type": "worker", "ray-user-node-type": name}
            provider.create_node(each["node_config"], tags, 1)
        started = [
            one
            for reservation in ec2.describe_instances()["Reservations"]
            for one in reservation["Instances"]
        ]
    found = {
        {tag["Key"]: tag["Value"] for tag in one["Tags"]}["ray-user-node-type"]: one
        for one in started
    }
    assert found.keys() == raw["available_node_types"].keys()
    for name, one in found.items():
        profile = "osteo-ray-head" if name == "head" else "osteo-ray-worker"
        assert one["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")
        assert (one.get("InstanceLifecycle") == "spot") is (name == "gpu-spot")
        assert {tag["Key"]: tag["Value"] for tag in one["Tags"]}["ray-cluster-name"] == "osteo-ray"
