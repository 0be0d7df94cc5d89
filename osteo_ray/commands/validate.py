"""`osteo-ray validate`: error rates of the statistics and of the verdict."""

import tyro

from osteo_ray.commands.parsing import DONE, FAILED
from osteo_ray.errors import InputError
from osteo_ray.noise import capture_noise


def validate_command(arguments: list[str]) -> int:
    """Run `osteo-ray validate` with these words; return the exit code."""

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
