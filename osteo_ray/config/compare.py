"""Settings of comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, field_validator, model_validator

from osteo_ray.arms.arm import ORIGINAL, Preset
from osteo_ray.arms.registry import ARMS, list_presets
from osteo_ray.base.errors import suggest
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.paths import PHANTOM, locate_data
from osteo_ray.base.trust import refuse_secrets
from osteo_ray.config.setup import SetupConfig, without_repeats
from osteo_ray.config.tuning import TUNING_SEED, TuningSettings
from osteo_ray.data.settings import Background, ConflictPolicy, SplitKind, UnexplainedRule
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.statistics.settings import StatisticsSettings


class Seeds(NamedTuple):
    """The seeds of one repeat: one for each source of randomness."""

    split: int
    initialisation: int
    order: int
    augmentation: int
    lime: int


PLANNED = ("arms", "models", "weights", "seeds", "first_seed", "statistics")
"""Settings of a comparison that may change when its run is resumed; the change is reported."""


_ELSEWHERE = {
    *("out", "resources", "mlflow", "tensorboard", "grid", "regions", "test_data", "networks")
}
"""Settings that are no part of what a run is: where things lie, and what may be added to it."""


class CompareConfig(SetupConfig):
    """Fine-tune, explain, mask, retrain, compare; then judge whether the gain is real."""

    arms: tuple[str, ...] = Field(
        ("controls",),
        min_length=1,
        description=f"Arms to compare: names, or a preset ({', '.join(get_args(Preset))}).",
    )
    regions: str | None = Field(
        None,
        description="Where the disease shows in each image: a folder of PNG masks that are named "
        "like the images, or a COCO file (.json), as a path or URI; phantoms bring their own.",
    )
    protocol: Literal["clean", "paper"] = Field(
        "clean",
        description="clean: one split by groups, and masks from a model trained on its training "
        "images only; paper: a random split, and masks from a model trained on another split.",
    )
    split: SplitKind = Field(
        "grouped",
        description="grouped keeps copies and images of one patient together; random ignores them "
        "and leaks, as the paper's split may; given is the source's own split, refused if it "
        "leaks; site leaves one site out: seed N is tested on site N mod the number of sites.",
    )
    site_level: int | None = Field(
        None,
        ge=1,
        description="Level of the folder, in the path of an image within --data, that names its "
        "site, from 1 at the top; by default, the site is what the source says, or DICOM's "
        "InstitutionName.",
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="Cross-validate: seed N is tested on fold N mod FOLDS; by default, each seed "
        "has a random split of its own.",
    )
    max_reject_share: float = Field(
        0.1, ge=0, le=1, description="Largest share of unreadable images with which a run starts."
    )
    positive_class: str | None = Field(
        None,
        description="Class that counts as positive; by default, the one of two whose name is not "
        "that of health (normal, negative, control, no finding …).",
    )
    second_start: Literal["backbone", "first"] = Field(
        "backbone",
        description="Weights from which the other arms start: backbone, as the first model does, "
        "or first, the weights with which the first model ended.",
    )
    background: Background = Field(
        "black", description="What fills the part of an image that a mask removes."
    )
    unexplained: UnexplainedRule | None = Field(
        None,
        description="How masked arms show an image that could not be explained: borrowed, with the "
        "mask of another image, drawn at random; or whole, which may give its class away. By "
        "default borrowed; a run that exists keeps its rule.",
    )
    crossfit_folds: int = Field(
        3,
        ge=2,
        description="Parts of the training images for out-of-fold masks: each part is explained by "
        "a model trained without it.",
    )
    guidance_weight: float = Field(
        1.0,
        gt=0,
        description="Weight of the penalty of guided arms, beside the cross-entropy.",
    )
    grid: bool = Field(
        True,
        description="Also show each trained classifier what the other arms show of the test "
        "images, which takes predictions only.",
    )
    test_data: str | None = Field(
        None,
        description="An external cohort of the same classes, any source that --data may be: it is "
        "never trained on, and every trained classifier is tested on it as well.",
    )
    mlflow: str | None = Field(
        None,
        description="Also log the result to MLflow: a tracking URI, or `local` for a SQLite file, "
        "mlflow.db, beside the run directory.",
    )
    tensorboard: bool = Field(
        False,
        description="Also write the curves of all trainings for TensorBoard, to tensorboard/ in "
        "the run directory.",
    )
    tuning: TuningSettings = TuningSettings()
    lime: LimeSettings = LimeSettings()
    statistics: StatisticsSettings = StatisticsSettings()

    @model_validator(mode="before")
    @classmethod
    def _open_presets(cls, settings: Any) -> Any:
        """Replace presets by names, and choose the split of the paper's protocol."""
        if not isinstance(settings, Mapping):
            return settings
        arms = settings.get("arms", cls.model_fields["arms"].default)
        if not isinstance(arms, str | Sequence):
            return settings
        paper = settings.get("protocol") == "paper"
        presets: Mapping[Any, tuple[str, ...]] = list_presets()
        opened: list[Any] = []
        by_preset: set[str] = set()
        for arm in (arms,) if isinstance(arms, str) else arms:
            if isinstance(arm, str) and arm in presets:
                fit = [name for name in presets[arm] if not (paper and ARMS[name].is_clean_only)]
                opened += [name for name in fit if name not in opened]  # presets share some
                by_preset.update(fit)
            elif not (isinstance(arm, str) and arm in by_preset):
                opened.append(arm)
        return {**({"split": "random"} if paper else {}), **settings, "arms": tuple(opened)}

    @field_validator("arms")
    @classmethod
    def _check_arms(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        for arm in arms:
            if arm not in ARMS:
                presets = get_args(Preset)
                raise ValueError(
                    f"Expected arms among {', '.join(ARMS)}, or a preset ({', '.join(presets)}), "
                    f"but got `{arm}`." + suggest(arm, (*ARMS, *presets))
                )
        if ORIGINAL not in arms:
            raise ValueError(
                f"Expected `{ORIGINAL}` among the arms, since the others are compared with it, but "
                f"got {', '.join(arms)}."
            )
        return without_repeats(arms, "arms")

    @field_validator("regions")
    @classmethod
    def _locate_regions(cls, regions: str | None) -> str | None:
        return regions and refuse_secrets(locate_data(regions))

    @model_validator(mode="after")
    def _check_regions(self) -> "CompareConfig":
        if self.regions and self.data == PHANTOM:
            raise ValueError(
                f"Expected no --regions with --data {PHANTOM}, since phantoms bring their regions "
                f"along, but got {self.regions}. Leave --regions out."
            )
        return self

    @field_validator("test_data")
    @classmethod
    def _locate_test_data(cls, test_data: str | None) -> str | None:
        if test_data == PHANTOM:
            raise ValueError(
                f"Expected test_data to be images that exist, but got `{PHANTOM}`. Draw them by "
                "`osteo-ray phantom DIR --seed 1` first, and give DIR/images."
            )
        return test_data and refuse_secrets(locate_data(test_data))

    @model_validator(mode="after")
    def _check_test_data(self) -> "CompareConfig":
        if self.test_data is not None and self.test_data == self.data:
            raise ValueError(
                f"Expected test_data to be other images than data, but both are {self.data}. An "
                "external cohort comes from elsewhere."
            )
        return self

    @model_validator(mode="after")
    def _check_protocol(self) -> "CompareConfig":
        if self.protocol == "paper" and (self.split != "random" or self.folds):
            raise ValueError(
                "Expected --protocol paper with --split random and without --folds, since it "
                f"splits at random twice, but got --split {self.split} and folds {self.folds}."
            )
        unfit = [arm for arm in self.arms if ARMS[arm].is_clean_only]
        if self.protocol == "paper" and unfit:
            raise ValueError(
                f"Expected no {', '.join(unfit)} with --protocol paper, but got it. Its masks come "
                "from models that were not trained on the images they explain, whereas the paper's "
                "come from a model trained on most of them. Leave it out."
            )
        return self

    @model_validator(mode="after")
    def _check_folds(self) -> "CompareConfig":
        if self.folds is None:
            return self
        if self.split in ("given", "site"):
            raise ValueError(
                f"Expected either --folds or --split {self.split}, but got both. Drop one."
            )
        if self.seeds % self.folds or self.first_seed % self.folds:
            raise ValueError(
                "Expected seeds and first_seed to be multiples of folds, so that each image is "
                f"tested equally often, but got {self.seeds} seeds, first_seed {self.first_seed} "
                f"and {self.folds} folds."
            )
        return self

    @model_validator(mode="after")
    def _check_tuning(self) -> "CompareConfig":
        if not self.tuning.trials:
            return self
        if self.resources.workers > 1:
            raise ValueError(
                f"Expected --tuning.trials with --workers 1, since candidates are trained on one "
                f"worker each, but got --workers {self.resources.workers}. Search with one worker "
                "and the batch size of all of them (--training.per-worker-batch-size), and give "
                "what was chosen."
            )
        if self.first_seed + self.seeds > TUNING_SEED:
            raise ValueError(
                f"Expected seeds below {TUNING_SEED}, on which settings are searched, but got "
                f"{self.seeds} from {self.first_seed} on."
            )
        return self

    @model_validator(mode="after")
    def _check_looks(self) -> "CompareConfig":
        looks = self.statistics.looks
        if looks and looks[-1] >= self.seeds:
            raise ValueError(
                f"Expected all looks to come before the last of {self.seeds} seeds, but got one "
                f"after {looks[-1]} seeds."
            )
        if self.folds is not None and any(look % self.folds for look in looks):
            raise ValueError(
                f"Expected looks after multiples of {self.folds} seeds, the number of folds, so "
                "that each image is tested equally often, but got looks after "
                f"{', '.join(map(str, looks))}."
            )
        return self

    @property
    def conflict_policy(self) -> ConflictPolicy:
        """Return what is done with copies that carry different labels."""
        return self.conflicts or ("keep" if self.split == "random" else "drop")

    @property
    def unexplained_rule(self) -> UnexplainedRule:
        """Return how masked arms show an image that could not be explained."""
        return self.unexplained or "borrowed"

    def seeds_of(self, number: int) -> Seeds:
        """Return the seeds of one repeat, which varies all sources of randomness at once."""
        return Seeds(*(number,) * len(Seeds._fields))

    def identity(self) -> dict[str, Any]:
        """Return the settings that a run cannot change, as they define its trainings."""
        settings = self.model_dump(
            mode="json",
            exclude={*_ELSEWHERE, *PLANNED},
        )
        settings["training"] = self.training.describe()
        settings["lime"] = self.lime.describe_masks()
        settings["workers"] = self.resources.workers  # the global batch size depends on it
        settings["unexplained"] = self.unexplained_rule
        if self.unexplained_rule == "whole":  # as it was before there was a choice
            del settings["unexplained"]
        if not self.tuning.trials:
            del settings["tuning"]
        else:
            del settings["tuning"]["max_hours"]  # it changes no result
        for name in ("columns", "root", "patient_pattern"):
            if not settings[name]:  # as it was before there was a choice
                del settings[name]
        if self.bits == 8:  # as it was before there was a choice
            del settings["bits"]
        if self.laterality == "whole":  # the same
            del settings["laterality"]
        if self.site_level is None:  # as it was before sites were left out
            del settings["site_level"]
        if self.guidance_weight == 1.0:  # as it was before there was guidance
            del settings["guidance_weight"]
        if self.data != PHANTOM:
            del settings["phantom"]
        else:
            for name in ("clutter", "bilateral"):
                if not settings["phantom"][name]:  # as it was before there was a choice
                    del settings["phantom"][name]
        return settings

    def plan_hash(self) -> str:
        """Return a hash of everything declared before a run: its identity and its plan."""
        planned = self.model_dump(mode="json", include=set(PLANNED))
        if not self.statistics.ordinal:  # as it was before there were grades
            del planned["statistics"]["ordinal"]
        return hash_settings({**CompareConfig.identity(self), **planned})
