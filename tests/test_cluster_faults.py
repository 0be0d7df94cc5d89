"""Whatever Ray does, a command ends with a sentence, and the same command mends it."""

import shutil
from pathlib import Path

import pytest
from cluster_faults import ERRORS, Call, ClusterFaults, watching_ray
from tiny_runs import compute_here, configure, run_quietly

from osteo_ray.base.tables import read_table
from osteo_ray.commands.main import run_safely


def compare_in(out: Path) -> None:
    outcome = run_quietly(configure(out))
    assert outcome.failures == []


def find_calls(out: Path) -> list[Call]:
    faults = ClusterFaults()
    with watching_ray(faults):
        compare_in(out)
    return list(faults.seen)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_a_comparison_tells_each_error_of_the_cluster_and_is_mended(
    local_ray: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute_here(monkeypatch)
    out = tmp_path / "run"
    calls = find_calls(tmp_path / "undisturbed")
    assert {call.name for call in calls} >= {"get", "put", "nodes", "_remote", "iter_batches"}

    def command(_: list[str]) -> int:
        compare_in(out)
        return 0

    for number, call in enumerate(calls):
        make_error = ERRORS[number % len(ERRORS)]
        faults = ClusterFaults(target=call, make_error=make_error)
        capsys.readouterr()
        with watching_ray(faults):
            code = run_safely(command, [])
        printed = capsys.readouterr().err
        told = (call, make_error(), code, printed)
        assert "Traceback" not in printed, told
        assert code in (0, 1, 2), told
        assert faults.struck or code == 0, told
        assert code == 0 or len(printed) > 20, told
        if code == 0:  # the run is there, so that later calls would not be made
            shutil.rmtree(out)
    compare_in(out)
    roots = (out, tmp_path / "undisturbed")
    made = [read_table(root / "predictions.parquet") for root in roots]
    assert made[0].equals(made[1])
