"""`osteo-ray submit`: what it sends, how it follows and retries a job, and jobs on a real head."""

import asyncio
import contextlib
import http.server
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray_heads import BIN, Head, Proxy, start_head

import osteo_ray.pipeline.submit.submission as submission
from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.commands.main import main
from osteo_ray.pipeline.submit.head import NoAgentError, UnknownJobError, UnreachableError
from osteo_ray.pipeline.submit.outcome import JobOutcome
from osteo_ray.pipeline.submit.packing import pack_config, pack_package
from osteo_ray.pipeline.submit.submission import Submission, run_submission

SMALLEST = (
    *("--models", "test_byobnet", "--arms", "original", "--seeds", "2"),
    *("--epochs", "1", "--phantom.n-images", "40", "--resources.cpus-per-worker", "2"),
)


class TestPacking:
    def test_package_and_its_metadata_are_all_that_is_sent(self, tmp_path: Path) -> None:
        pack_package(tmp_path)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["osteo_ray", f"osteo_ray-{_version()}.dist-info"]
        assert (tmp_path / "osteo_ray" / "report" / "template.html").is_file()
        assert not list(tmp_path.rglob("__pycache__"))
        assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 5_000_000

    def test_packed_code_is_what_runs_and_names_itself(self, tmp_path: Path) -> None:
        pack_package(tmp_path)
        code = (
            "import importlib.metadata, osteo_ray.commands.entrypoint\n"
            "print(osteo_ray.commands.entrypoint.__file__, importlib.metadata.version('osteo-ray'))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [
            str(tmp_path / "osteo_ray" / "commands" / "entrypoint.py"),
            _version(),
        ]

    def test_configuration_file_travels(self, tmp_path: Path) -> None:
        file = tmp_path / "knees.yaml"
        file.write_text("seeds: 3\n")
        folder = tmp_path / "folder"
        folder.mkdir()
        flags = ["/shared/knees", "--config", str(file), "--out", "/shared/run"]
        assert pack_config(flags, folder) == [
            *("/shared/knees", "--out", "/shared/run", "--config", "config.yaml"),
        ]
        assert (folder / "config.yaml").read_text() == "seeds: 3\n"
        named = f"--config=file://{file}"
        assert pack_config([named], folder) == ["--config", "config.yaml"]
        assert pack_config(["--seeds", "2"], folder) == ["--seeds", "2"]
        with pytest.raises(InputError, match="Expected a readable configuration file"):
            pack_config([f"--config={tmp_path / 'nowhere.yaml'}"], folder)


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("osteo-ray")


class FakeHead:
    """A head whose jobs end as they are told to, with a log that breaks off as it is told to.

    Args:
        ends: State of the job at each question, or an error; the last one stays.
        log: The whole log.
        breaks: Length of the log at which each connection breaks; the ones after them hold.
    """

    address = "http://head"

    def __init__(self, ends: list[Any], log: str = "", breaks: tuple[int, ...] = ()) -> None:
        self.ends, self.log, self.breaks = ends, log, list(breaks)
        self.refusals: list[BaseException | None] = []  # one per job that comes
        self.submitted: list[tuple[str, str]] = []

    def submit(self, job: str, entrypoint: str, folder: Path) -> None:
        assert (folder / "osteo_ray").is_dir()
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal
        self.submitted.append((job, entrypoint))

    def read_details(self, job: str) -> SimpleNamespace:
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end

    async def tail(self, job: str) -> AsyncIterator[str]:
        length = self.breaks.pop(0) if self.breaks else None
        for start in range(0, len(self.log[:length]), 7):
            yield self.log[:length][start : start + 7]
        if length is not None:
            raise UnreachableError("broken")


def state(status: str, code: int | None = None, message: str = "") -> SimpleNamespace:
    """Return what a cluster says of a job."""
    from ray.job_submission import JobStatus

    return SimpleNamespace(status=JobStatus(status), driver_exit_code=code, message=message)


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "ray" not in request.keywords:
        monkeypatch.setattr(submission, "_POLL_S", 0.01)


class TestFollowing:
    def follow(self, head: FakeHead, lost_after_s: float = 0.2) -> tuple[JobOutcome, str]:
        written: list[str] = []
        outcome = asyncio.run(submission.follow_job(head, "job", written.append, lost_after_s))  # type: ignore[arg-type]
        return outcome, "".join(written)

    def test_log_over_broken_connections_is_whole_and_comes_once(self) -> None:
        log = "".join(f"line {number}\n" for number in range(50))
        running = [state("RUNNING")] * 8
        head = FakeHead([*running, state("SUCCEEDED", 0)], log, breaks=(100, 30, 250))
        assert self.follow(head) == (JobOutcome("succeeded", 0), log)
        assert head.breaks == []

    def test_end_of_the_log_is_not_the_end_of_the_job(self) -> None:
        head = FakeHead([*[state("RUNNING")] * 5, state("FAILED", 1, "why")], "log\n")
        assert self.follow(head) == (JobOutcome("failed", 1, "why"), "log\n")

    def test_job_that_was_stopped(self) -> None:
        assert self.follow(FakeHead([state("STOPPED")]))[0].status == "stopped"

    def test_head_that_is_away_for_a_while(self) -> None:
        away = [UnreachableError("timeout")] * 3
        head = FakeHead([state("RUNNING"), *away, state("RUNNING"), state("SUCCEEDED", 0)])
        assert self.follow(head, lost_after_s=60)[0].status == "succeeded"

    def test_head_that_stays_away_is_given_up(self) -> None:
        before = time.monotonic()
        outcome, _ = self.follow(FakeHead([state("RUNNING"), UnreachableError("refused")]))
        assert 0.2 < time.monotonic() - before < 10
        assert outcome.status == "unreachable"
        assert "refused" in outcome.message

    def test_head_that_forgot_the_job(self) -> None:
        assert self.follow(FakeHead([state("RUNNING"), UnknownJobError()]))[0].status == "gone"


class TestAttempts:
    def run(
        self, ends: list[Any], retries: int = 2, refusals: Sequence[Exception | None] = ()
    ) -> tuple[JobOutcome, list[str], str]:
        head = FakeHead(ends)
        head.refusals = list(refusals)
        told: list[str] = []
        wanted = Submission("compare", ("--out", "/a b/run"), "knees", retries, 0.1)
        outcome = run_submission(head, wanted, lambda _: None, told.append)  # type: ignore[arg-type]
        entrypoints = {entrypoint for _, entrypoint in head.submitted}
        assert entrypoints == {"python -m osteo_ray.commands.entrypoint compare --out '/a b/run'"}
        return outcome, [job for job, _ in head.submitted], "\n".join(told)

    @pytest.mark.parametrize("code", [1, -9, 137, None])
    def test_failed_and_killed_jobs_are_tried_again(self, code: int | None) -> None:
        outcome, jobs, told = self.run([state("FAILED", code), state("SUCCEEDED", 0)])
        assert jobs == ["knees", "knees-retry-1"]
        assert outcome.exit_code == 0
        assert "Job knees failed" in told

    def test_tries_are_bounded(self) -> None:
        outcome, jobs, _ = self.run([state("FAILED", 1)])
        assert jobs == ["knees", "knees-retry-1", "knees-retry-2"]
        assert outcome.exit_code == 1
        assert self.run([state("FAILED", 1)], retries=0)[1] == ["knees"]

    @pytest.mark.parametrize("code", [2, 3, 4, 127])
    def test_results_and_bad_input_are_not(self, code: int) -> None:
        outcome, jobs, _ = self.run([state("FAILED", code)])
        assert jobs == ["knees"]
        assert outcome.exit_code == code
        assert outcome.has_result == (code in (3, 4))

    def test_jobs_that_someone_stopped_are_not(self) -> None:
        outcome, jobs, told = self.run([state("STOPPED")])
        assert (outcome.exit_code, jobs) == (1, ["knees"])
        assert "Job knees was stopped." in told

    def test_jobs_that_may_still_run_are_not(self) -> None:
        outcome, jobs, _ = self.run([UnreachableError("cut")])
        assert (outcome.exit_code, jobs) == (1, ["knees"])

    def test_jobs_that_a_restarted_head_forgot_are(self) -> None:
        outcome, jobs, _ = self.run([UnknownJobError(), state("SUCCEEDED", 0)])
        assert (outcome.exit_code, jobs) == (0, ["knees", "knees-retry-1"])

    def test_head_that_comes_up_again_is_waited_for(self) -> None:
        ends = [UnknownJobError(), state("SUCCEEDED", 0)]
        starting = [None, *[NoAgentError("no agent")] * 3]
        outcome, jobs, _ = self.run(ends, refusals=starting)
        assert (outcome.exit_code, jobs) == (0, ["knees", "knees-retry-1"])

    @pytest.mark.parametrize("error", [NoAgentError("no agent"), IncompleteError("no answer")])
    def test_job_that_could_not_be_submitted_again_is_told(self, error: Exception) -> None:
        outcome, jobs, told = self.run([UnknownJobError()], refusals=[None, *[error] * 99])
        assert (outcome.exit_code, jobs) == (1, ["knees"])
        assert told.endswith(f"Job knees-retry-1 was not submitted: {error}")

    def test_interrupted_before_a_job_was_followed(self) -> None:
        head, told = FakeHead([]), list[str]()
        head.refusals = [KeyboardInterrupt()]
        wanted = Submission("compare", ("--out", "/run"), "knees", 0, 0.1)
        with pytest.raises(KeyboardInterrupt):
            run_submission(head, wanted, lambda _: None, told.append)  # type: ignore[arg-type]
        assert "`ray job list --address http://head` shows whether it runs" in told[0]


class TestFlags:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["comapre"], "Did you mean `compare`?"),
            ([], "COMMAND"),
            (["--retries", "-1", "compare"], "whole number from 0, but got `-1`"),
            (["--lost-after", "nan", "compare"], "seconds, more than 0"),
            (["--id", "a b", "compare"], "Expected an --id of letters"),
            (["./x"], "Expected a command that can run as a job"),
            (["--retry", "1", "compare"], "--retry"),
            (["compare"], "Expected an absolute --out"),
            (["compare", "--out", "run"], "got `run`"),
            (["compare", "--out", "/run", "--data", "knees"], "but got knees, which is in"),
            (["compare", "--out", "/run", "--arms", "original", "lmie"], "got `lmie`"),
            (["compare", "--out", "/run", "--config", "nowhere.yaml"], "nowhere.yaml"),
        ],
    )
    def test_bad_ones_need_no_cluster(
        self,
        words: list[str],
        expected: str,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
        assert main(["submit", *words]) == 2
        printed = " ".join("".join(capfd.readouterr()).replace("│", " ").split())
        assert expected in printed

    def test_data_in_the_users_own_folder_is_fine_if_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
        words = ["compare", "--data", str(tmp_path / "knees"), "--out", str(tmp_path / "run")]
        assert main(["submit", *words]) == 1
        assert "No Ray cluster answers at http://127.0.0.1:1" in capfd.readouterr().err


@contextlib.contextmanager
def serve(answer: Callable[[str], tuple[int, str]]) -> Iterator[str]:
    """Answer as a dashboard does; yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, text = answer(f"{self.command} {self.path}")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = do_POST = _answer

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestHeadsThatRefuse:
    @pytest.fixture(autouse=True)
    def _own_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # restored at the end
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    def connect(self, address: str) -> Any:
        from osteo_ray.pipeline.submit.head import Head as Connection

        return Connection(address)

    def test_another_version_of_ray(self) -> None:
        version = json.dumps({"ray_version": "2.44.1"})
        with (
            serve(lambda _: (200, version)) as url,
            pytest.raises(InputError, match=r"runs 2\.44\.1"),
        ):
            self.connect(url)

    @pytest.mark.parametrize("answer", [(404, "not here"), (200, "{}"), (200, "[]")])
    def test_something_that_is_no_dashboard(self, answer: tuple[int, str]) -> None:
        with (
            serve(lambda _: answer) as url,
            pytest.raises(InputError, match="Expected the dashboard of a Ray cluster"),
        ):
            self.connect(url)

    @pytest.mark.parametrize(
        ("said", "error", "expected"),
        [
            ("No available agent to submit job, please try again", IncompleteError, "no agent"),
            ("Job with submission_id j already exists.", InputError, "already has a job j"),
            ("Traceback\nOSError: No space left", IncompleteError, "No space left"),
        ],
    )
    def test_no_agent_taken_ids_and_the_rest(
        self, said: str, error: type[Exception], expected: str, tmp_path: Path
    ) -> None:
        import ray

        version = json.dumps({"ray_version": ray.__version__})

        def answer(request: str) -> tuple[int, str]:
            return (500, said) if request == "POST /api/jobs/" else (200, version)

        (tmp_path / "a").write_text("b")
        with serve(answer) as url, pytest.raises(error, match=expected):
            self.connect(url).submit("j", "true", tmp_path)

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("ray://head:10001", "Expected the URL of a dashboard"),
            ("http://", "Expected the URL of a dashboard, .* but got http://"),
            ("head:port", "Expected the URL of a dashboard, .* but got http://head:port"),
            ("http://[::1", "Expected the URL of a dashboard"),
            ("http://me:secret@head:8265", "without a password"),  # pragma: allowlist secret
            ("me:secret@head:8265", "without a password"),  # pragma: allowlist secret
            ("ftp://me:secret@head", "without a password"),  # pragma: allowlist secret
        ],
    )
    def test_bad_addresses(self, address: str, expected: str) -> None:
        with pytest.raises(InputError, match=expected) as refused:
            self.connect(address)
        assert "secret" not in str(refused.value)


def submit(head: Head, *words: str, **settings: Any) -> "subprocess.Popen[str]":
    """Start `osteo-ray submit` in a folder that is not the repository."""
    environment = settings.pop("environment", head.environment)
    return subprocess.Popen(
        [sys.executable, "-m", "osteo_ray.commands.main", "submit", "--address", head.url, *words],
        env={**environment, "PYTHONPATH": settings.pop("package", _find_package())},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _find_package() -> str:
    import osteo_ray

    return str(Path(osteo_ray.__file__).parents[1])


def wait_for_driver(head: Head, run: Path, other_than: int = 0) -> int:
    """Return the process id of the driver of a job once it is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for pid in head.find_drivers(run):
            if pid != other_than:
                return pid
        time.sleep(0.2)
    pytest.fail("The driver did not start.")


@pytest.mark.ray
class TestOnARealHead:
    @pytest.mark.long
    @pytest.mark.timeout(600)  # two drivers, one after the other
    def test_driver_killed_and_connection_cut_and_all_is_well(
        self, head: Head, tmp_path: Path
    ) -> None:
        # An altered package, as from a wheel elsewhere: what runs on the cluster must be this one.
        pack_package(tmp_path / "site")
        with (tmp_path / "site" / "osteo_ray" / "commands" / "entrypoint.py").open("r+") as job:
            text = job.read().replace(
                "def run_entrypoint(", 'print("packed here")\n\n\ndef run_entrypoint('
            )
            job.seek(0)
            job.write(text)
        run = tmp_path / "run"
        words = ("--id", "killed", "compare", "--out", str(run), *SMALLEST)
        with Proxy(head.url) as proxy:
            through = replace(head, url=proxy.url)
            process = submit(through, *words, package=str(tmp_path / "site"))
            first = wait_for_driver(head, run)
            os.kill(first, signal.SIGKILL)
            wait_for_driver(head, run, other_than=first)
            time.sleep(5)  # for some of its log
            assert proxy.cut() > 0
            out, err = process.communicate(timeout=500)
        assert process.returncode == 0, out + err
        assert "Job killed failed: its driver was killed by signal 9" in err
        assert "Job killed-retry-1 is done." in err
        assert err.splitlines()[-1] == f"Report: {run / 'report.html'}"
        assert (run / "report.html").is_file()
        assert "packed here" in out
        for secret in head.secrets:
            assert secret not in out + err
            for file in (path for path in run.rglob("*") if path.is_file()):
                assert secret.encode() not in file.read_bytes(), file
        for job in ("killed", "killed-retry-1"):
            assert out.count(f"Running entrypoint for job {job}: ") == 1
        assert out.count(f"Report: {run / 'report.html'}") == 1

    @pytest.mark.long
    def test_codes_of_the_driver_come_back(self, head: Head, tmp_path: Path) -> None:
        audit = submit(head, "audit", "--out", str(tmp_path / "audit"), "--phantom.n-images", "40")
        missing = submit(head, "compare", "--out", str(tmp_path / "run"), "--data", "/nowhere")
        out, err = audit.communicate(timeout=280)
        assert audit.returncode == 3, out + err
        assert err.splitlines()[-1] == f"Report: {tmp_path / 'audit' / 'audit.html'}"
        out, err = missing.communicate(timeout=280)
        assert missing.returncode == 2, out + err
        assert "does not exist" in out
        assert "retry" not in err

    @pytest.mark.long
    def test_stopped_is_a_failure_and_interrupted_leaves_the_job_running(
        self, head: Head, tmp_path: Path
    ) -> None:
        runs = {job: tmp_path / job for job in ("halt", "left")}
        process = {
            job: submit(head, "--id", job, "compare", "--out", str(run), *SMALLEST)
            for job, run in runs.items()
        }
        driver = {job: wait_for_driver(head, run) for job, run in runs.items()}
        process["left"].send_signal(signal.SIGINT)
        out, err = process["left"].communicate(timeout=60)
        assert process["left"].returncode == 2, out + err
        assert f"`ray job stop left` ends it (both with --address {head.url})" in err
        assert driver["left"] in head.find_drivers(runs["left"])
        for job in ("halt", "left"):
            stop = [str(BIN / "ray"), "job", "stop", job, "--address", head.url, "--no-wait"]
            subprocess.run(stop, env=head.environment, check=True, capture_output=True, timeout=60)
        out, err = process["halt"].communicate(timeout=200)
        assert process["halt"].returncode == 1, out + err
        assert "Job halt was stopped." in err
        assert "halt-retry" not in err

    def test_tokens_missing_and_wrong(self, head: Head, tmp_path: Path) -> None:
        token = secrets.token_hex(32)
        (tmp_path / "token").write_text(token)
        wrong = head.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
        absent = head.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "nowhere")}
        off = head.environment | {"RAY_AUTH_MODE": "disabled"}
        told = (
            (wrong, f"refuses the token from {tmp_path / 'token'}"),
            (absent, f"Expected the cluster's token in {tmp_path / 'nowhere'}"),
            (off, "requires a token. Set RAY_AUTH_MODE=token"),
        )
        words = ("compare", "--out", str(tmp_path / "run"))
        processes = [submit(head, *words, environment=environment) for environment, _ in told]
        for process, (_, expected) in zip(processes, told, strict=True):
            out, err = process.communicate(timeout=90)
            assert process.returncode == 2, out + err
            assert expected in err
            assert token not in out + err
            assert "Traceback" not in err

    @pytest.mark.long
    def test_head_killed_while_following_is_a_failure_in_bounded_time(self, tmp_path: Path) -> None:
        with start_head() as mortal:
            run = tmp_path / "run"
            words = ("--lost-after", "5", "compare", "--out", str(run), *SMALLEST)
            process = submit(mortal, *words)
            wait_for_driver(mortal, run)
            mortal.kill()
            before = time.monotonic()
            out, err = process.communicate(timeout=200)
            assert process.returncode == 1, out + err
            assert time.monotonic() - before < 60
            assert "has not answered for" in err
            assert "retry" not in err
