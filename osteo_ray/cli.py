"""The `osteo-ray` command: a thin face on the functions that do the work."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from osteo_ray.config import (
    METRIC_NAMES,
    AuditConfig,
    CompareConfig,
    Config,
    ExplainConfig,
    LimeSettings,
    PhantomSettings,
    PlanConfig,
    ProtocolsConfig,
    VarianceConfig,
    build,
    locate_data,
    read_yaml,
)
from osteo_ray.errors import IncompleteError, InputError, suggest
from osteo_ray.noise import Capture, capture_noise

if TYPE_CHECKING:
    from osteo_ray.compare.sweeps import Failure

DONE, FAILED, BAD_INPUT, FINDINGS = 0, 1, 2, 3

os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")  # a link to pydantic helps no user


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    0 done, 1 something failed, 2 bad input, 3 an audit or a printed table has findings.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    errors = Console(stderr=True)
    try:
        return _dispatch(arguments, errors)
    except InputError as error:
        return _end(errors, f"Error: {error}", BAD_INPUT)
    except IncompleteError as error:
        return _end(errors, f"Failed: {error}", FAILED)
    except SystemExit as ended:  # from the parser, which has said why
        return ended.code if isinstance(ended.code, int) else BAD_INPUT


def _end(console: Console, message: str, code: int) -> int:
    console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return code


def _dispatch(arguments: list[str], errors: Console) -> int:
    commands = {
        "compare": (_compare, "Train, explain, mask, retrain, compare, and give a verdict."),
        "protocols": (_protocols, "Compare by a clean and by the paper's protocol; subtract."),
        "variance": (_variance, "Say which source of chance makes how much of the variance."),
        "plan": (_plan, "Say what a comparison could find out, and what it would cost."),
        "audit": (_audit, "Find copies, conflicts and shortcuts in a set of images."),
        "explain": (_explain, "Explain each image of a set with one trained classifier."),
        "bench": (_bench, "Measure speed and quality beside rivals and the truth."),
        "validate": (_validate, "Measure the error rates of the product's own statistics."),
        "report": (_report, "Write the report of a run again from its tables."),
        "export": (_export, "Write the images as an arm saw them, as a data set for others."),
        "check-table": (_check_table, "Say which printed figures contradict each other."),
        "phantom": (_phantom, "Write a set of synthetic knees, with the truth about them."),
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        console = Console()
        console.print("usage: osteo-ray COMMAND [OPTIONS]\n", highlight=False)
        for name, (_, meaning) in commands.items():
            console.print(f"  {name:<12} {meaning}", highlight=False)
        console.print("\nosteo-ray COMMAND --help tells the options of each.", highlight=False)
        return DONE if arguments else BAD_INPUT
    if arguments[0] not in commands:
        raise InputError(
            f"Expected a command among {', '.join(commands)}, but got `{arguments[0]}`."
            + suggest(arguments[0], commands)
        )
    return commands[arguments[0]][0](arguments[1:], errors)


def parse_compare(arguments: Sequence[str]) -> CompareConfig:
    """Build the configuration of `compare`: see `parse_config`."""
    return parse_config(CompareConfig, arguments, "osteo-ray compare", _COMPARE_HELP)


def parse_config(
    kind: type[Config], arguments: Sequence[str], command: str, description: str
) -> Config:
    """Build a configuration from flags laid over a YAML file over the defaults.

    Raises:
        InputError: A value, a key or the file is not usable.
        SystemExit: With code 2 where the parser has printed what is wrong with the flags.
    """
    _refuse_repeats(arguments)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    first.add_argument("--data")
    known, rest = first.parse_known_args(list(arguments))
    settings = read_yaml(Path(known.config)) if known.config else {}
    if known.data is not None:  # known first, since it decides which defaults there are
        settings["data"] = known.data
        rest += ["--data", known.data]
    return tyro.cli(
        kind, prog=command, description=description, default=build(kind, settings), args=rest
    )


_COMPARE_HELP = """\
Fine-tune, explain with LIME, mask, retrain, compare; then say whether the gain is real.

Without options: synthetic knees and small networks, a few minutes. With --data FOLDER (a subfolder
per class): the paper's networks and recipe. --config FILE.yaml sets any option below by its name
(groups nest: `lime: {samples: 500}`); flags win over the file. Rerunning a command resumes it.
"""


_AUDIT_HELP = """\
Find copies, label conflicts, blank images, shortcuts; say what may not be trusted.

osteo-ray audit DATA writes audit.json, audit.html (pairs side by side) and tables to --out.
--measure-leak also trains --models with and without copies across the split, --seeds times each,
and tells how far accuracies published on such a set may be off; only then do the settings of models
and training matter. Exit code 0: clean; 3: findings.
"""


_EXPLAIN_HELP = """\
Explain each image of a set with one trained classifier, by LIME or Grad-CAM; nothing is trained.

osteo-ray explain DATA --checkpoint FILE reads the images of DATA (a folder of images will do, with
or without a subfolder per class) at the size that the classifier was trained on, and writes a mask
of each to masks/ in --out. FILE is the model.safetensors of a training of osteo-ray compare.
Rerunning a command resumes it. Exit code 0 also where single images could not be explained: they
are counted, and their rows say why.
"""


def _refuse_repeats(arguments: Sequence[str]) -> None:
    flags = Counter(word.split("=")[0] for word in arguments if word.startswith("--"))
    for flag, count in flags.items():
        if count > 1:
            raise InputError(
                f"Expected {flag} once, but got it {count} times. Give all its values after one "
                f"{flag}."
            )


def _compare(arguments: list[str], errors: Console) -> int:
    config = parse_compare(arguments)
    with capture_noise() as captured:
        try:
            return run_compare(config, captured)
        except KeyboardInterrupt:
            captured.err.print(
                "\nInterrupted. What finished is kept; the same command goes on from there.",
                style="yellow",
            )
            return BAD_INPUT


def run_compare(config: CompareConfig, captured: Capture) -> int:
    """Run a comparison, show its progress and its result; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.compare.prepare import locate_run
    from osteo_ray.compare.stages import compare
    from osteo_ray.progress import JobProgress
    from osteo_ray.report.terminal import show_comparison

    run = locate_run(config)
    captured.err.print(f"Run directory: {run.root}", highlight=False, soft_wrap=True)
    try:
        outcome = compare(config, JobProgress(captured.err))
    finally:
        if run.config.exists():
            captured.keep_log(run.logs)
    show_comparison(captured.out, outcome.comparison)
    captured.out.print(f"Report: {run.report}", highlight=False, soft_wrap=True)
    return _tell_failures(outcome.failures, captured, run.logs / "driver.log")


def _tell_failures(
    failures: "Sequence[Failure]", captured: Capture, details: Path | None = None
) -> int:
    """Name the trials that are missing; return the exit code."""
    if not failures:
        return DONE
    for failure in failures:
        captured.err.print(
            f"Failed: {failure.trial}: {failure.reason}", style="red", markup=False, soft_wrap=True
        )
    where = "" if details is None else f" Details: {details}"
    captured.err.print(
        f"{len(failures)} trainings are missing; the same command tries them again.{where}",
        soft_wrap=True,
    )
    return FAILED


_PROTOCOLS_HELP = """\
Run the same comparison twice, and say how much of a gain the protocol alone makes.

clean: grouped splits, masks from a model that saw the training images only. paper: random splits,
masks for all images from a model that was trained on another split. Takes the options of compare;
both runs lie in --out, each with its report. Rerunning a command resumes it.
"""


def _protocols(arguments: list[str], errors: Console) -> int:
    words = _name_data(arguments)
    config = parse_config(ProtocolsConfig, words, "osteo-ray protocols", _PROTOCOLS_HELP)
    with capture_noise() as captured:
        from osteo_ray.compare.protocols import compare_protocols
        from osteo_ray.progress import JobProgress
        from osteo_ray.report.terminal import show_protocols

        root, gains, outcomes = compare_protocols(config, JobProgress(captured.err))
        captured.keep_log(root / "logs")
        show_protocols(captured.out, gains)
        for outcome in outcomes:
            captured.out.print(f"Report: {outcome.run.report}", highlight=False, soft_wrap=True)
        return _tell_failures([f for outcome in outcomes for f in outcome.failures], captured)


_VARIANCE_HELP = """\
Say how much of the variance of a result each source of chance makes: the split, the initialisation,
the order of the images, augmentation, the samples of LIME.

A base is trained and explained, then for each source --repeats reruns that change it alone. Takes
the options of compare; --seeds is not used. Rerunning a command resumes it.
"""


def _variance(arguments: list[str], errors: Console) -> int:
    words = _name_data(arguments)
    config = parse_config(VarianceConfig, words, "osteo-ray variance", _VARIANCE_HELP)
    with capture_noise() as captured:
        from osteo_ray.compare.variance_runs import measure_variance
        from osteo_ray.progress import JobProgress
        from osteo_ray.report.terminal import show_variance

        run, budget, failures = measure_variance(config, JobProgress(captured.err))
        captured.keep_log(run.logs)
        show_variance(captured.out, budget)
        written = run.root / "variance.json"
        captured.out.print(f"Written: {written}", highlight=False, soft_wrap=True)
        return _tell_failures(failures, captured)


_PLAN_HELP = """\
Say, before anything is computed, what a comparison could find out and what it would cost.

osteo-ray plan DATA takes the options of osteo-ray compare. It lists the images without reading
them, and prints the primary endpoint and contrast, the power for the smallest effect of interest
(--statistics.margin), the smallest difference that could be found, now and with any number of
seeds, the looks (--statistics.looks), trainings, hours, and a hash of the plan. The spread over
seeds comes from an earlier run (--pilot RUN) or from --statistics.disagreement.
"""


def parse_plan(arguments: Sequence[str]) -> PlanConfig:
    """Build the configuration of `plan`, whose first word may be the data."""
    return parse_config(PlanConfig, _name_data(arguments), "osteo-ray plan", _PLAN_HELP)


def _plan(arguments: list[str], errors: Console) -> int:
    config = parse_plan(arguments)
    # Imported here: SciPy and Ray take seconds to import, and `--help` does without them.
    from osteo_ray.compare.plan import make_plan, measure_hours
    from osteo_ray.report.plan_terminal import show_plan

    with capture_noise() as captured:
        plan = make_plan(config)
        hours = None
        if config.measure:
            captured.err.print("Measuring the speed of this cluster …", highlight=False)
            hours = measure_hours(config, plan.work)
        show_plan(captured.out, plan, hours)
    return DONE


def parse_audit(arguments: Sequence[str]) -> AuditConfig:
    """Build the configuration of `audit`, whose first word may be the data."""
    return parse_config(AuditConfig, _name_data(arguments), "osteo-ray audit", _AUDIT_HELP)


def _name_data(arguments: Sequence[str]) -> list[str]:
    words = list(arguments)
    return ["--data", *words] if words and not words[0].startswith("-") else words


def _audit(arguments: list[str], errors: Console) -> int:
    config = parse_audit(arguments)
    with capture_noise() as captured:
        try:
            return run_audit(config, captured)
        except KeyboardInterrupt:
            captured.err.print("\nInterrupted. Finished trainings are kept.", style="yellow")
            return BAD_INPUT


def run_audit(config: AuditConfig, captured: Capture) -> int:
    """Run an audit, show its progress and its findings; return the exit code."""
    from osteo_ray.compare.audits import audit
    from osteo_ray.progress import JobProgress
    from osteo_ray.report.terminal import show_audit

    outcome = audit(config, JobProgress(captured.err))
    show_audit(captured.out, outcome.audit)
    captured.out.print(f"Report: {outcome.out / 'audit.html'}", highlight=False, soft_wrap=True)
    if outcome.failures:
        captured.keep_log(outcome.out / "logs")
        captured.err.print(
            f"{len(outcome.failures)} trainings are missing, the first: "
            f"{outcome.failures[0].trial}: {outcome.failures[0].reason}. The same command tries "
            "them again.",
            style="red",
            markup=False,
            soft_wrap=True,
        )
        return FAILED
    return FINDINGS if outcome.audit["findings"] else DONE


def parse_explain(arguments: Sequence[str]) -> ExplainConfig:
    """Build the configuration of `explain`, whose first word may be the data."""
    return parse_config(ExplainConfig, _name_data(arguments), "osteo-ray explain", _EXPLAIN_HELP)


def _explain(arguments: list[str], errors: Console) -> int:
    config = parse_explain(arguments)
    with capture_noise() as captured:
        try:
            return run_explain(config, captured)
        except KeyboardInterrupt:
            captured.err.print(
                "\nInterrupted. Finished explanations are kept; the same command goes on.",
                style="yellow",
            )
            return BAD_INPUT


def run_explain(config: ExplainConfig, captured: Capture) -> int:
    """Explain a set of images, show progress and what it came to; return the exit code."""
    from osteo_ray.explain.explain_set import explain_set
    from osteo_ray.progress import JobProgress
    from osteo_ray.report.terminal import show_explanations

    run, summary = explain_set(config, JobProgress(captured.err))
    captured.keep_log(run.logs)
    show_explanations(captured.out, summary)
    captured.out.print(f"Masks: {run.masks}", highlight=False, soft_wrap=True)
    return DONE


def _report(arguments: list[str], errors: Console) -> int:
    def report(run: Annotated[str, tyro.conf.Positional]) -> None:
        """Write the report of a run again from its tables.

        Args:
            run: The run directory.
        """
        from osteo_ray.report.page import write_report
        from osteo_ray.runs import Run

        found = Run(Path(run).expanduser().resolve())
        if not found.comparison.exists():
            raise InputError(
                f"Expected a finished run, but {found.root} holds no comparison.json. Run "
                "osteo-ray compare with that --out first."
            )
        Console().print(f"Report: {write_report(found)}", highlight=False, soft_wrap=True)

    tyro.cli(report, prog="osteo-ray report", args=arguments)
    return DONE


def _export(arguments: list[str], errors: Console) -> int:
    def export(
        run: Annotated[str, tyro.conf.Positional],
        arm: str = "lime",
        form: Annotated[Literal["folder", "npz", "parquet"], tyro.conf.arg(name="as")] = "folder",
        out: str | None = None,
        models: tuple[str, ...] = (),
        seeds: tuple[int, ...] = (),
    ) -> None:
        """Write the images as an arm saw them, with masks, splits and a datasheet.

        Args:
            run: The run directory.
            arm: Which arm of the run.
            form: PNG files, NumPy arrays or a Parquet file.
            out: By default exports/ARM-FORM in the run directory.
            models: By default all of the run.
            seeds: By default all of the run.
        """
        from osteo_ray.report.export import export_run
        from osteo_ray.runs import Run

        found = Run(Path(run).expanduser().resolve())
        place = None if out is None else Path(out)
        for data_set in export_run(found, arm, form, out=place, models=models, seeds=seeds):
            said = "Written" if data_set.is_new else "There already, left as it is"
            Console().print(f"{said}: {data_set.path}", highlight=False, soft_wrap=True)

    tyro.cli(export, prog="osteo-ray export", args=arguments)
    return DONE


_CHECK_TABLE_HELP = """\
Say, row by row, which confusion matrices a printed table of results allows.

osteo-ray check-table FILE.csv takes the columns model, data_set, one or more of accuracy,
precision, recall, specificity, f1 (as printed: the decimals say how exact a figure claims to be),
n_positive and n_negative (or n_test alone), and, where a matrix is given, tp, fp, fn, tn. It lists
the matrices that fit, names cells that contradict each other or the matrix, and bounds the p of
McNemar's exact test between the rows of a model. Exit code 0: all rows are consistent; 3: findings.
"""


def _check_table(arguments: list[str], errors: Console) -> int:
    def check_table(
        file: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.csv")] = None,
        paper: bool = False,
    ) -> Path | None:
        """Check a printed table.

        Args:
            file: CSV file; docs/check-table.md has an example.
            paper: Check the table of the paper that this program repeats.
        """
        if (file is None) != paper:
            got = "both" if paper else "neither"
            raise InputError(f"Expected either a CSV file or --paper, but got {got}.")
        return None if file is None else Path(file).expanduser()

    path = tyro.cli(
        check_table, prog="osteo-ray check-table", description=_CHECK_TABLE_HELP, args=arguments
    )
    # Imported here: SciPy takes a second to import, and `--help` does without it.
    from osteo_ray.compare import table_check
    from osteo_ray.compare.printed_csv import PrintedTable, read_table
    from osteo_ray.compare.published import list_printed_rows
    from osteo_ray.report.table_terminal import show_table_check

    table = PrintedTable(list_printed_rows(), ()) if path is None else read_table(path)
    found = table_check.check_table(table.rows)
    show_table_check(Console(), found, ignored=table.ignored)
    return DONE if found.is_consistent else FINDINGS


def _phantom(arguments: list[str], errors: Console) -> int:
    def phantom(
        out: Annotated[str, tyro.conf.Positional],
        settings: Annotated[PhantomSettings, tyro.conf.arg(name="")] = PhantomSettings(),
    ) -> None:
        """Write a set of synthetic knees: images, regions of disease, and what copies what.

        Args:
            out: A new or empty folder.
            settings: Of the set.
        """
        from osteo_ray.data.phantom_set import write_phantoms
        from osteo_ray.runs import write_whole

        path = Path(out).expanduser().resolve()
        if path.exists():
            if not path.is_dir() or any(path.iterdir()):
                raise InputError(f"Expected a new or empty folder, but {path} is in use.")
            path.rmdir()
        with write_whole(path) as unfinished:
            write_phantoms(unfinished, **settings.model_dump())
        Console().print(f"Images: {path / 'images'}", highlight=False, soft_wrap=True)

    tyro.cli(phantom, prog="osteo-ray phantom", args=arguments)
    return DONE


def _validate(arguments: list[str], errors: Console) -> int:
    def tables(experiments: int = 2000, seed: int = 0) -> int:
        """Simulate experiments whose truth is known; count how often tests and intervals are right.

        Trains nothing; some minutes. Exit code 1 where a bar is missed.

        Args:
            experiments: Per setting.
            seed: Of all random numbers.
        """
        from osteo_ray.validate.show import list_missed, show_rates
        from osteo_ray.validate.tables import SETTINGS, validate_tables

        if experiments < 1 or seed < 0:
            raise InputError(
                "Expected at least one experiment and a seed of at least 0, but got "
                f"{experiments} and {seed}."
            )
        with capture_noise() as captured, connect():
            captured.err.print(f"{len(SETTINGS)} settings of {experiments} experiments each")
            findings = validate_tables(
                experiments,
                seed,
                on_finding=lambda done: captured.err.print(f"done: {done.setting.name}"),
            )
            show_rates(captured.out, findings)
        missed = list_missed(findings)
        for line in missed:
            captured.err.print(f"Missed: {line}", style="red", markup=False, soft_wrap=True)
        return FAILED if missed else DONE

    from osteo_ray.cluster import connect

    code: int = tyro.extras.subcommand_cli_from_dict(
        {"tables": tables},
        prog="osteo-ray validate",
        description="Measure how often the product's own statistics are right.",
        args=arguments,
    )
    return code


def _bench(arguments: list[str], errors: Console) -> int:
    def ingest(
        data: Annotated[str, tyro.conf.Positional], images: int = 20_000, image_size: int = 224
    ) -> None:
        """Read class folders with osteo_ray, torchvision and Ray Data, as fast as each can.

        Args:
            data: A folder with a subfolder per class.
            images: How many to read; files are read again until there are so many.
            image_size: Side, in pixels.
        """
        from osteo_ray.bench.ingest import bench_ingest
        from osteo_ray.bench.tables import show_reading

        with capture_noise() as captured, connect():
            folder = Path(data).expanduser().resolve()
            show_reading(captured.out, bench_ingest(folder, n_images=images, image_size=image_size))

    def copies(sizes: tuple[int, ...] = (1000, 10_000), size_px: int = 96) -> None:
        """Look for the planted copies in sets of phantoms: time, memory, precision, recall.

        Args:
            sizes: Images of each set.
            size_px: Side of the images, in pixels.
        """
        from osteo_ray.bench.copies import bench_copies
        from osteo_ray.bench.tables import show_findings

        with capture_noise() as captured, connect():
            for found in bench_copies(list(sizes), size_px=size_px):
                show_findings(captured.out, found)

    def lime(
        data: Annotated[str, tyro.conf.Positional],
        checkpoint: str,
        images: int = 8,
        samples: int = 1000,
    ) -> None:
        """Explain images with the `lime` package and with osteo_ray: time, overlap, memory.

        Args:
            data: Where the images are.
            checkpoint: File of the classifier: a model.safetensors that a training left.
            images: How many to explain.
            samples: Perturbed images per explanation; in adaptive mode, at most.
        """
        from osteo_ray.bench.lime import bench_lime
        from osteo_ray.bench.tables import show_masks

        with capture_noise() as captured, connect():
            file = Path(checkpoint).expanduser().resolve()
            settings = LimeSettings(samples=samples)
            timings = bench_lime(locate_data(data), file, n_images=images, settings=settings)
            show_masks(captured.out, timings)

    def exactness(
        data: Annotated[str, tyro.conf.Positional],
        checkpoint: str,
        images: int = 50,
        samples: int = 200,
    ) -> None:
        """Explain images with the `lime` package, and again from the rows that it drew.

        Args:
            data: Where the images are.
            checkpoint: File of the classifier: a model.safetensors that a training left.
            images: How many to explain.
            samples: Perturbed images per explanation.
        """
        from osteo_ray.bench.exactness import compare_with_package
        from osteo_ray.bench.tables import show_exactness

        with capture_noise() as captured, connect():
            file = Path(checkpoint).expanduser().resolve()
            found = compare_with_package(
                locate_data(data), file, n_images=images, n_samples=samples
            )
            show_exactness(captured.out, found)

    def statistics(
        seeds: int = 50,
        models: int = 2,
        arms: int = 12,
        test: int = 10_000,
        metric: str = "accuracy",
    ) -> None:
        """Time the statistics of a large comparison, part by part, on a made-up table.

        Args:
            seeds: Trainings per model and arm.
            models: Networks.
            arms: At least three.
            test: Test images per seed; ten times as many in all.
            metric: The primary endpoint.
        """
        from osteo_ray.bench.statistics import bench_statistics
        from osteo_ray.bench.tables import show_parts

        if seeds < 2 or models < 1 or arms < 3 or test < 10:
            raise InputError(
                "Expected at least 2 seeds, 1 model, 3 arms and 10 test images, but got "
                f"{seeds}, {models}, {arms} and {test}."
            )
        if metric not in METRIC_NAMES:
            raise InputError(
                f"Expected a metric among {', '.join(METRIC_NAMES)}, but got `{metric}`."
                + suggest(metric, METRIC_NAMES)
            )
        parts = bench_statistics(
            n_seeds=seeds, n_models=models, n_arms=arms, n_test=test, metric=metric
        )
        show_parts(Console(), parts)

    from osteo_ray.cluster import connect

    tyro.extras.subcommand_cli_from_dict(
        {
            "ingest": ingest,
            "copies": copies,
            "lime": lime,
            "exactness": exactness,
            "statistics": statistics,
        },
        prog="osteo-ray bench",
        description="Measure what the product does beside what else could be done.",
        args=arguments,
    )
    return DONE


if __name__ == "__main__":
    sys.exit(main())
