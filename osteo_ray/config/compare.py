"""Settings of comparisons, and of what is planned and asked about them."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from osteo_ray.arms.arm import ARM_NAMES, ARM_PRESETS, CLEAN
from osteo_ray.base.errors import suggest
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.paths import PHANTOM, locate_file
from osteo_ray.config.setup import SetupConfig, without_repeats
from osteo_ray.data.settings import Background, ConflictPolicy
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.statistics.settings import StatisticsSettings


class Seeds(NamedTuple):
    """Where the random numbers of one repeat come from, source by source."""

    split: int
    initialisation: int
    order: int
    augmentation: int
    lime: int


PLANNED = ("arms", "models", "weights", "seeds", "first_seed", "statistics")
"""Settings of a comparison that may change while its run goes on; the change is reported."""


class CompareConfig(SetupConfig):
    """Fine-tune, explain, mask, retrain, compare; then say whether the gain is real."""

    arms: tuple[str, ...] = Field(
        ("controls",),
        min_length=1,
        description="What is compared: names, or a preset (paper, controls, full).",
    )
    protocol: Literal["clean", "paper"] = Field(
        "clean",
        description="clean splits once, by groups, and masks come from a model that saw the "
        "training images only; paper splits at random, and masks come from a model that was "
        "trained on another split.",
    )
    split: Literal["grouped", "random", "given"] = Field(
        "grouped",
        description="grouped keeps copies and patients together; random leaks, as the paper's may; "
        "given is the source's own, refused if it leaks.",
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="Cross-validate: seed N tests fold N mod FOLDS; by default single splits.",
    )
    max_reject_share: float = Field(
        0.1, ge=0, le=1, description="Share of unreadable images above which nothing is run."
    )
    positive_class: str | None = Field(
        None, description="Class that counts as positive; by default the last in sorted order."
    )
    second_start: Literal["backbone", "first"] = Field(
        "backbone",
        description="From which weights the other arms are trained: those of the backbone, as the "
        "first model, or those that the first model ended with.",
    )
    background: Background = Field(
        "black", description="What stands where a mask keeps nothing of an image."
    )
    crossfit_folds: int = Field(
        3, ge=2, description="Parts of the training images that lime_crossfit explains in turn."
    )
    mlflow: str | None = Field(
        None,
        description="Also hand the result to MLflow: `local` for a SQLite file, mlflow.db, beside "
        "the run directory, or a tracking URI.",
    )
    lime: LimeSettings = LimeSettings()
    statistics: StatisticsSettings = StatisticsSettings()

    @model_validator(mode="before")
    @classmethod
    def _open_presets(cls, settings: Any) -> Any:
        """Put names in the place of presets, and the split that the paper's protocol has."""
        if not isinstance(settings, Mapping):
            return settings
        arms = settings.get("arms", cls.model_fields["arms"].default)
        paper = settings.get("protocol") == "paper"
        opened = []
        for arm in (arms,) if isinstance(arms, str) else arms:
            names = ARM_PRESETS.get(arm, (arm,)) if isinstance(arm, str) else (arm,)
            opened += [name for name in names if not (paper and len(names) > 1 and name in CLEAN)]
        return {**({"split": "random"} if paper else {}), **settings, "arms": tuple(opened)}

    @field_validator("arms")
    @classmethod
    def _check_arms(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        for arm in arms:
            if arm not in ARM_NAMES:
                known = (*ARM_NAMES, *ARM_PRESETS)
                raise ValueError(
                    f"Expected arms among {', '.join(ARM_NAMES)}, or a preset "
                    f"({', '.join(ARM_PRESETS)}), but got `{arm}`." + suggest(arm, known)
                )
        if "original" not in arms:
            raise ValueError("Expected `original` among the arms: the others are held against it.")
        return without_repeats(arms, "arms")

    @model_validator(mode="after")
    def _check_protocol(self) -> "CompareConfig":
        if self.protocol == "paper" and (self.split != "random" or self.folds):
            raise ValueError(
                "Expected --protocol paper with --split random and without --folds, as it splits "
                f"at random twice, but got --split {self.split} and folds {self.folds}."
            )
        if self.protocol == "paper" and CLEAN & set(self.arms):
            raise ValueError(
                "Expected no lime_crossfit with --protocol paper: its masks come from models that "
                "saw none of the images, those of the paper from one that saw most. Leave it out."
            )
        return self

    @model_validator(mode="after")
    def _check_folds(self) -> "CompareConfig":
        if self.folds is None:
            return self
        if self.split == "given":
            raise ValueError("Expected either --folds or --split given, but got both.")
        if self.seeds % self.folds or self.first_seed % self.folds:
            raise ValueError(
                f"Expected seeds and first_seed to be multiples of folds, so that each image is "
                f"tested equally often, but got {self.seeds} seeds from {self.first_seed} on and "
                f"{self.folds} folds."
            )
        return self

    @model_validator(mode="after")
    def _check_looks(self) -> "CompareConfig":
        looks = self.statistics.looks
        if looks and looks[-1] >= self.seeds:
            raise ValueError(
                f"Expected looks before the last of {self.seeds} seeds, but got one after "
                f"{looks[-1]}."
            )
        if self.folds is not None and any(look % self.folds for look in looks):
            raise ValueError(
                f"Expected looks at multiples of {self.folds} folds, so that each image is tested "
                f"equally often, but got {', '.join(map(str, looks))}."
            )
        return self

    @property
    def conflict_policy(self) -> ConflictPolicy:
        """Return what becomes of copies that carry several labels."""
        return self.conflicts or ("keep" if self.split == "random" else "drop")

    def seeds_of(self, number: int) -> Seeds:
        """Return the seeds of one repeat: it varies everything at once."""
        return Seeds(*(number,) * len(Seeds._fields))

    def identity(self) -> dict[str, Any]:
        """Return the settings that a run cannot change: they tell what its trainings mean."""
        settings = self.model_dump(mode="json", exclude={"out", "resources", "mlflow", *PLANNED})
        settings["workers"] = self.resources.workers  # the global batch size depends on it
        if self.data != PHANTOM:
            del settings["phantom"]
        return settings

    def plan_hash(self) -> str:
        """Return a hash of all that is stated before a run: its identity, and what is planned."""
        planned = self.model_dump(mode="json", include=set(PLANNED))
        return hash_settings({**CompareConfig.identity(self), **planned})


SOURCES = Seeds._fields
"""Where the results of a training may vary from."""


class VarianceConfig(CompareConfig):
    """Say how much of the variance of a result each source of chance makes.

    Seed number 0 is the base; each of the others changes one source and leaves the rest.
    """

    arms: tuple[str, ...] = Field(("original", "lime"), min_length=1, description="What is run.")
    repeats: int = Field(4, ge=2, description="Reruns per source of chance, beside the base.")
    mlflow: None = Field(None, description="Of no use here: nothing is compared.")

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """Return the base, then the reruns, source by source."""
        return tuple(range(1 + len(SOURCES) * self.repeats))

    def source_of(self, number: int) -> str | None:
        """Return the source that a rerun changes; None for the base."""
        return SOURCES[(number - 1) // self.repeats] if number else None

    def seeds_of(self, number: int) -> Seeds:
        """Return the seeds of a rerun: those of the base but for one source."""
        base = Seeds(*(self.first_seed,) * len(SOURCES))
        source = self.source_of(number)
        if source is None:
            return base
        return base._replace(**{source: self.first_seed + 1 + (number - 1) % self.repeats})

    def identity(self) -> dict[str, Any]:
        """Return the settings that a run cannot change."""
        fixed = {"repeats": self.repeats, "first_seed": self.first_seed}
        return {**super().identity(), **fixed}


class ProtocolsConfig(CompareConfig):
    """Run a comparison by a clean protocol and by the paper's; say what the protocol makes."""

    arms: tuple[str, ...] = Field(
        ("original", "lime"), min_length=1, description="What is compared under both protocols."
    )

    def to_compare(self, protocol: Literal["clean", "paper"], out: str) -> CompareConfig:
        """Return the configuration of one of the two comparisons."""
        shared = self.model_dump(exclude={"protocol", "split", "conflicts", "out"})
        # The same images under both, or the difference would not be the protocol's.
        conflicts = self.conflicts or "drop"
        split = "random" if protocol == "paper" else "grouped"
        return CompareConfig(**shared, protocol=protocol, split=split, conflicts=conflicts, out=out)


class PlanConfig(CompareConfig):
    """Say what a comparison could find out, and what it would cost."""

    pilot: str | None = Field(
        None, description="An earlier run, whose spread over seeds is expected of this one too."
    )
    measure: bool = Field(
        True, description="Measure for some seconds how fast this cluster is, to tell the hours."
    )

    @field_validator("pilot")
    @classmethod
    def _locate_pilot(cls, pilot: str | None) -> str | None:
        return pilot and locate_file(pilot)

    def to_compare(self) -> CompareConfig:
        """Return the configuration of the comparison that is planned."""
        return CompareConfig(**self.model_dump(exclude={"pilot", "measure"}))
