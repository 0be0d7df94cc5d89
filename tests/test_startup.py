"""Large packages are imported without the garbage collector, and only modules are kept from it."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from osteo_ray.base import startup
from osteo_ray.base.startup import importing

ABSENT = "a_package_that_is_not_loaded"


class Link:
    """Refers to itself, so that only the collector removes it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(startup.atexit, "register", lambda call: call)
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_rests_during_an_import_and_skips_what_it_made() -> None:
    with importing(ABSENT):
        assert not gc.isenabled()
        made = Link()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000
    found = weakref.ref(made)
    del made
    gc.collect()
    assert found() is not None  # or this did not spare the collector anything


def test_nothing_is_kept_once_the_package_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, ABSENT, sys)
    with importing(ABSENT):
        assert gc.isenabled()
        made = Link()
    assert gc.get_freeze_count() == 0
    found = weakref.ref(made)
    del made
    gc.collect()
    assert found() is None


def test_an_import_that_fails_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(ImportError), importing(ABSENT):
        __import__(ABSENT)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.disable()
    with importing(ABSENT):
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize(
    "lines",
    [
        "with importing('triton'):\n    import triton._C.libtriton",
        "end_quickly()\nimport triton._C.libtriton",
    ],
)
def test_a_process_ends_without_reports_of_leaks(lines: str) -> None:
    pytest.importorskip("triton")
    code = f"from osteo_ray.base.startup import end_quickly, importing\n{lines}\nprint('done')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("done\n", "")
