"""The suite itself: tests that share a cluster run on one worker."""

import pytest


def test_workers_take_the_tests_by_groups(request: pytest.FixtureRequest) -> None:
    if not hasattr(request.config, "workerinput"):
        pytest.skip("There is only one process.")
    # Otherwise each worker starts every cluster and makes every finished run anew.
    assert request.node.nodeid.endswith("@test_suite")
