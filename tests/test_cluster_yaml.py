"""cluster.yaml, and its variant, hold against Ray's own schema, offline, and their promises."""

import re
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
AWS, LOCAL = ROOT / "cluster.yaml", ROOT / "cluster-local.yaml"


@pytest.fixture(params=[AWS, LOCAL], ids=["aws", "local"])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return a configuration with the launcher's defaults filled in, as `ray up` sees it."""
    return _prepare(request.param)


def _prepare(path: Path) -> dict[str, Any]:
    prepared: dict[str, Any] = prepare_config(yaml.safe_load(path.read_text(encoding="utf-8")))
    return prepared


def _start_commands(cluster: dict[str, Any]) -> list[str]:
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    return starts


def test_cluster_is_valid_by_rays_schema(cluster: dict[str, Any]) -> None:
    validate_config(cluster)


def test_cluster_pins_the_installed_ray(cluster: dict[str, Any]) -> None:
    pins = re.findall(r"\bray(?:\[[\w,]+\])?==([\w.]+)", " ".join(cluster["setup_commands"]))
    assert pins == [ray.__version__]


def test_cluster_wants_a_token_on_every_node(cluster: dict[str, Any]) -> None:
    for command in _start_commands(cluster):
        assert "RAY_AUTH_MODE=token ray start" in command
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_cluster_keeps_the_dashboard_private(cluster: dict[str, Any]) -> None:
    assert "--dashboard-host=127.0.0.1" in _start_commands(cluster)[0]
    assert "0.0.0.0" not in yaml.safe_dump(cluster)


@pytest.mark.parametrize("path", [AWS, LOCAL])
def test_cluster_holds_no_long_secret(path: Path) -> None:
    assert not re.search(r"[0-9a-f]{32}|AKIA[0-9A-Z]{16}", path.read_text(encoding="utf-8"))


def test_variant_installs_and_starts_the_same() -> None:
    aws, local = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (AWS, LOCAL))
    for key in ("head_start_ray_commands", "worker_start_ray_commands", "file_mounts"):
        assert local[key] == aws[key]
    assert local["setup_commands"][:-1] == aws["setup_commands"][:-1]  # all but the shell's profile
    assert _prepare(LOCAL)["provider"]["type"] == "local"


def test_workers_are_spot_and_none_waits_idle() -> None:
    cluster = _prepare(AWS)
    types = cluster["available_node_types"]
    workers = {name: each for name, each in types.items() if name != cluster["head_node_type"]}
    assert workers
    for worker in workers.values():
        assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
        assert worker["min_workers"] == 0
        assert 0 < worker["max_workers"] <= cluster["max_workers"]
        assert worker["resources"]["GPU"] >= 1
    head = types[cluster["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]


def test_mounted_files_exist(cluster: dict[str, Any]) -> None:
    for source in cluster["file_mounts"].values():
        assert source.startswith("~") or (ROOT / source).exists()
