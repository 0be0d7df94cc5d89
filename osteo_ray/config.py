"""Every setting of a job, validated once, from presets, YAML and flags.

A configuration is built in layers: the paper's recipe, then the demo preset if the data are
phantoms, then a YAML file, then flags. The command line is generated from these classes, so that
each option is written once, here.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, get_args
from urllib.parse import unquote

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from tyro.conf import arg

from osteo_ray.errors import InputError, suggest
from osteo_ray.trust import refuse_secrets

if TYPE_CHECKING:
    from osteo_ray.storage import Place

PHANTOM = "phantom"
ARM_NAMES = (
    *("original", "original_retrained", "lime", "lime_crossfit", "lime_true_label"),
    *("random_mask", "other_image_mask", "silhouette", "centre_mask", "mean_mask", "complement"),
    *("gradcam", "untrained_lime", "permuted_labels"),
)
ARM_PRESETS = {
    "paper": ("original", "lime"),
    "controls": (
        *("original", "original_retrained", "lime", "lime_crossfit"),
        *("random_mask", "silhouette"),
    ),
    "full": ARM_NAMES,
}
CLEAN = frozenset({"lime_crossfit"})
"""Arms that the paper's protocol cannot have."""
Metric = Literal[
    "accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "auc",
    "balanced_accuracy",
    "mcc",
    "pr_auc",
    "brier",
    "calibration_error",
]
ConflictPolicy = Literal["drop", "majority", "keep"]
ExplainMethod = Literal["lime", "gradcam"]
Background = Literal["black", "mean", "blur"]
METRIC_NAMES: tuple[Metric, ...] = get_args(Metric)
LOWER_IS_BETTER: frozenset[str] = frozenset({"brier", "calibration_error"})
"""Metrics that are errors: a negative difference is a gain. Of all others more is better."""
Spending = Literal["obrien_fleming", "pocock"]
Superpixels = Literal["quickshift", "slic", "felzenszwalb", "grid"]
CopyKind = Literal["exact", "reencoded", "resized", "brightness", "cropped", "mirrored", "rotated"]
COPY_KINDS: tuple[CopyKind, ...] = get_args(CopyKind)
USUAL_COPY_KINDS: tuple[CopyKind, ...] = ("exact", "reencoded", "resized")
"""What collections mostly hold."""


DATA_HELP = (
    "Folder with a subfolder per class; manifest (.csv, .parquet), archive (.npz) or data list "
    "(.json), as a path or URI; or `phantom`."
)


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PhantomSettings(Settings):
    """Synthetic knees, used where --data is phantom."""

    n_images: int = Field(160, ge=4, description="Images, copies included.")
    size_px: int = Field(96, ge=32, description="Width and height in pixels.")
    positive_share: float = Field(0.5, gt=0, lt=1, description="Share with osteoporosis.")
    duplicate_share: float = Field(0.2, ge=0, le=0.5, description="Share that copies another.")
    copy_kinds: tuple[CopyKind, ...] = Field(
        USUAL_COPY_KINDS, min_length=1, description="Ways in which copies are made, evenly."
    )
    conflict_share: float = Field(
        0.0, ge=0, le=1, description="Share of the copies that stand in the other class."
    )
    difficulty: float = Field(
        0.3, ge=0, le=1, description="0: seen by eye; 1: the classes do not differ."
    )
    nuisance: float = Field(
        0.5, ge=0, le=1, description="Strength of markers, letterboxes, exposure and noise."
    )
    seed: int = Field(0, ge=0, description="Which set of phantoms.")


class AugmentationSettings(Settings):
    """Random changes of each training image; the defaults are the paper's."""

    rotation_deg: float = Field(20.0, ge=0, le=180, description="Largest rotation, degrees.")
    shift: float = Field(0.2, ge=0, le=1, description="Largest shift, share of the size.")
    shear: float = Field(0.2, ge=0, le=1, description="Largest shear factor.")
    zoom: float = Field(0.2, ge=0, lt=1, description="Largest zoom, share of the size.")
    flip: bool = Field(True, description="Flip half of the images left to right.")


NO_AUGMENTATION = AugmentationSettings(rotation_deg=0, shift=0, shear=0, zoom=0, flip=False)


class TrainingSettings(Settings):
    """One training run; the same for every arm."""

    epochs: Annotated[int, arg(aliases=["--epochs"])] = Field(
        30, ge=1, description="Passes over the training images."
    )
    per_worker_batch_size: int = Field(32, ge=1, description="Images per step and worker.")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's, constant.")
    augmentation: AugmentationSettings = AugmentationSettings()


class LimeSettings(Settings):
    """LIME masks; the defaults are those of the `lime` package, but for the mode."""

    mode: Literal["adaptive", "exact"] = Field(
        "adaptive",
        description="adaptive samples an image until its mask is stable; exact draws all samples, "
        "as the lime package does.",
    )
    samples: Annotated[int, arg(aliases=["--lime-samples"])] = Field(
        1000, ge=2, description="Perturbed images per explanation; in adaptive mode, at most."
    )
    stability: float = Field(
        0.92,
        gt=0,
        le=1,
        description="Expected overlap with another mask of the same image from which it is stable.",
    )
    top_k: int = Field(5, ge=1, description="Positive superpixels that a mask keeps.")
    batch_size: int = Field(16, ge=1, description="Perturbed images per forward pass.")
    fill: Literal["mean", "blur", "black"] = Field(
        "mean", description="What stands in for a superpixel that is switched off."
    )
    superpixels: Superpixels = Field(
        "quickshift", description="How an image is divided into superpixels."
    )
    n_superpixels: int = Field(
        50, ge=2, description="Superpixels, about; quickshift finds their number itself."
    )
    kernel_size: float = Field(4.0, gt=0, description="Quickshift's kernel width, pixels.")
    max_dist: float = Field(200.0, gt=0, description="Quickshift's cut-off.")
    ratio: float = Field(0.2, ge=0, le=1, description="Quickshift's weight of colour.")
    kernel_width: float = Field(0.25, gt=0, description="Width of the distance kernel.")
    alpha: float = Field(1.0, ge=0, description="Ridge penalty of the local model.")


class StatisticsSettings(Settings):
    """The plan of the analysis, fixed before the run."""

    metric: Metric = Field("accuracy", description="Primary endpoint.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Error rate after Holm's correction.")
    margin: float = Field(
        0.03, gt=0, lt=1, description="Differences inside ± margin count as equivalent."
    )
    prevalence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the positive class at which predictive values are given; by default "
        "that of the test images.",
    )

    power: float = Field(
        0.8, gt=0.5, lt=1, description="Wanted probability to find a true difference of the margin."
    )
    looks: tuple[int, ...] = Field(
        (), description="Numbers of seeds after which the primary contrast is looked at."
    )
    spending: Spending = Field(
        "obrien_fleming", description="How looks spend the error rate (Lan and DeMets)."
    )
    disagreement: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Assumed share of test images that two arms classify differently; only the "
        "plan needs it, where no earlier run tells.",
    )

    @field_validator("looks")
    @classmethod
    def _check_looks(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if (looks and looks[0] < 2) or any(a >= b for a, b in itertools.pairwise(looks)):
            raise ValueError(f"Expected increasing looks of at least 2 seeds, but got {looks}.")
        return looks


class SlotSettings(Settings):
    """What each worker gets. Nothing here changes what is measured."""

    gpus_per_worker: float | None = Field(
        None, ge=0, description="GPUs per worker; by default 1 if the cluster has GPUs, else 0."
    )
    cpus_per_worker: int = Field(1, ge=1, description="CPUs, and threads, per worker.")
    wait_for_nodes: float | None = Field(
        None,
        ge=0,
        description="Seconds to wait for nodes where the cluster has too few; by default 900 if an "
        "autoscaler may add enough, else 0.",
    )
    stall_timeout: float = Field(
        1800,
        gt=0,
        description="Seconds in which a stage must compute something, if only one batch.",
    )

    @field_validator("gpus_per_worker", "gpus_per_explainer", check_fields=False)
    @classmethod
    def _check_gpus(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"Expected whole GPUs, or less than one, but got {gpus:g}.")
        return gpus


class ResourceSettings(SlotSettings):
    """Where the work runs. Nothing here changes what is measured, except the number of workers."""

    workers: Annotated[int, arg(aliases=["--workers"])] = Field(
        1, ge=1, description="Devices per training; more than one trains data-parallel."
    )
    gpus_per_explainer: float | None = Field(
        None, ge=0, le=1, description="GPUs per explaining actor; by default as per worker."
    )
    max_retries: int = Field(3, ge=0, description="Restarts of a training whose process died.")


class SourceConfig(Settings):
    """What every command that reads images needs to know."""

    data: str = Field(PHANTOM, description=DATA_HELP)
    out: str | None = Field(
        None,
        description="Directory of the results, a path or URI (s3://…); by default named after the "
        "data.",
    )

    @field_validator("data")
    @classmethod
    def _locate_data(cls, data: str) -> str:
        return refuse_secrets(locate_data(data))

    @field_validator("out")
    @classmethod
    def _check_out(cls, out: str | None) -> str | None:
        return out and refuse_secrets(out)


class SetupConfig(SourceConfig):
    """What every command that reads images and trains on them needs to know."""

    conflicts: ConflictPolicy | None = Field(
        None,
        description="Copies with several labels: drop them, take the majority's label, or keep "
        "them; by default drop, and keep with --split random.",
    )
    models: tuple[str, ...] = Field(
        ("efficientnet_b0", "mobilenetv3_large_100"), min_length=1, description="timm names."
    )
    weights: tuple[str, ...] = Field(
        (), description="NAME=FILE.safetensors per model, or none; by default from the hub."
    )
    split_ratio: tuple[int, int, int] = Field(
        (7, 2, 1), description="Parts for training, validation, test."
    )
    seeds: int = Field(10, ge=1, description="Repeats, each with its own split.")
    first_seed: int = Field(0, ge=0, description="Number of the first seed.")
    image_size: int = Field(224, ge=32, description="Side to which images are resized, pixels.")
    training: TrainingSettings = TrainingSettings()
    resources: ResourceSettings = ResourceSettings()
    phantom: PhantomSettings = PhantomSettings()

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for name in models:  # they name folders; timm takes some with `:` from elsewhere
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise ValueError(f"Expected timm names of models, but got `{name}`.")
        return _without_repeats(models, "models")

    @field_validator("split_ratio")
    @classmethod
    def _check_ratio(cls, ratio: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(ratio) < 1:
            raise ValueError(f"Expected three whole parts of at least 1, but got {ratio}.")
        return ratio

    @field_validator("weights", mode="before")
    @classmethod
    def _read_weights(cls, weights: Any) -> Any:
        if isinstance(weights, str):
            return (weights,)
        if isinstance(weights, Mapping):  # the natural form in YAML
            return tuple(f"{name}={file}" for name, file in weights.items())
        return weights

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: tuple[str, ...]) -> tuple[str, ...]:
        if "none" in weights and len(weights) > 1:
            raise ValueError("Expected `none` alone or NAME=FILE pairs, but got both.")
        absolute = []
        for entry in weights:
            name, _, file = entry.partition("=")
            if entry != "none" and not (name and file):
                raise ValueError(f"Expected NAME=FILE.safetensors or `none`, but got `{entry}`.")
            absolute.append(f"{name}={_locate_file(file)}" if file else entry)
        return tuple(absolute)

    @model_validator(mode="after")
    def _check_weights_names(self) -> "SetupConfig":
        for entry in self.weights:
            name = entry.partition("=")[0]
            if entry != "none" and name not in self.models:
                raise ValueError(
                    f"Expected weights for the models {', '.join(self.models)}, but got some for "
                    f"`{name}`.{suggest(name, self.models)}"
                )
        return self

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """Return the seeds of the repeats."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def conflict_policy(self) -> ConflictPolicy:
        """Return what becomes of copies that carry several labels."""
        return self.conflicts or "drop"

    def weights_of(self, model: str) -> str | None:
        """Return the weights file of a model, `none`, or None where the hub is asked."""
        if self.weights == ("none",):
            return "none"
        return dict(entry.split("=", 1) for entry in self.weights).get(model)


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
        return _without_repeats(arms, "arms")

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
        return pilot and _locate_file(pilot)

    def to_compare(self) -> CompareConfig:
        """Return the configuration of the comparison that is planned."""
        return CompareConfig(**self.model_dump(exclude={"pilot", "measure"}))


class AuditConfig(SetupConfig):
    """Find copies, conflicts, blank images and shortcuts; say what the copies are worth."""

    seeds: int = Field(5, ge=2, description="With --measure-leak: repeats.")
    measure_leak: bool = Field(
        False, description="Train with and without copies across the split, and compare."
    )

    def to_compare(self, split: Literal["grouped", "random"]) -> CompareConfig:
        """Return the configuration of the trainings that measure what copies are worth."""
        shared = self.model_dump(exclude={"measure_leak"})
        shared["conflicts"] = self.conflict_policy  # alike on both sides
        return CompareConfig(**shared, arms=("original",), split=split)


class ExplainConfig(SourceConfig):
    """Explain each image of a set with one trained classifier."""

    data: str = Field(
        PHANTOM,
        description="Folder of images, with or without a subfolder per class; or whatever else "
        "`osteo-ray compare` takes.",
    )
    checkpoint: str | None = Field(
        None, description="File of the classifier: a model.safetensors that a training left."
    )
    method: ExplainMethod = Field(
        "lime",
        description="lime keeps the superpixels that speak most for the predicted class, gradcam "
        "the pixels of a Grad-CAM heat map.",
    )
    area: float = Field(
        0.2, gt=0, lt=1, description="With --method gradcam: share of an image that is kept."
    )
    seed: int = Field(0, ge=0, description="Of the samples that LIME draws.")
    max_reject_share: float = Field(
        0.1, ge=0, le=1, description="Share of unreadable images above which nothing is explained."
    )
    lime: LimeSettings = LimeSettings()
    resources: SlotSettings = SlotSettings()
    phantom: PhantomSettings = PhantomSettings()

    @field_validator("checkpoint")
    @classmethod
    def _locate_checkpoint(cls, checkpoint: str | None) -> str | None:
        return checkpoint and _locate_file(checkpoint)

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the masks, beside the content of the checkpoint."""
        by_method = {"lime": {"seed", "lime"}, "gradcam": {"area"}}[self.method]
        by_data = {"phantom"} if self.data == PHANTOM else set()
        wanted = {"data", "method", "max_reject_share"} | by_method | by_data
        return self.model_dump(mode="json", include=wanted)


Config = TypeVar("Config", bound=Settings)

DEMO: dict[str, Any] = {
    "models": ("test_byobnet", "test_efficientnet"),
    "weights": ("none",),
    "arms": ("original", "original_retrained", "lime", "random_mask", "silhouette"),
    "seeds": 5,
    "image_size": 64,
    "training": {
        "epochs": 8,
        "per_worker_batch_size": 16,
        "learning_rate": 3e-3,
        "augmentation": {"rotation_deg": 10.0, "shift": 0.05, "shear": 0.05, "zoom": 0.1},
    },
    "lime": {"samples": 64, "batch_size": 64, "kernel_size": 1.5},
    "phantom": {"difficulty": 0.2},
}
"""What differs from the defaults where the data are phantoms: small enough for two CPU cores."""


def locate_data(data: str) -> str:
    """Make the path of a source absolute; leave URIs and `phantom` as they are."""
    if data.startswith("file://"):
        return unquote(data.removeprefix("file://").removeprefix("localhost"))
    return data if data == PHANTOM or "://" in data else _make_absolute(data)


def name_source(data: str) -> str:
    """Return a short name of a source, fit for a folder."""
    return Path(data.partition("?")[0]).stem or "data"


def _locate_file(file: str) -> str:
    return refuse_secrets(file) if "://" in file else _make_absolute(file)


def _make_absolute(path: str) -> str:
    """Workers have working directories of their own, so no relative path may reach them."""
    return os.path.realpath(os.path.expanduser(path))  # unlike pathlib's, it bears link loops


def _without_repeats(values: tuple[str, ...], name: str) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"Expected distinct {name}, but got {', '.join(values)}.")
    return values


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` laid on top, group by group.

    Example:
        >>> merge_settings({"lime": {"samples": 9, "top_k": 5}}, {"lime": {"samples": 2}})
        {'lime': {'samples': 2, 'top_k': 5}}
    """
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge_settings(merged[key], value) if nested else value
    return merged


def list_differences(
    found: dict[str, Any],
    wanted: dict[str, Any],
    at: str = "",
    words: tuple[str, str] = ("there", "here"),
) -> list[str]:
    """Say in which settings a run that is there differs from what is wanted, in words.

    Example:
        >>> list_differences({"lime": {"samples": 9}, "seeds": 2}, {"lime": {"samples": 5}})
        ['lime.samples (there 9, here 5)', 'seeds (there 2, here None)']
    """
    differences = []
    for key in sorted(found.keys() | wanted.keys()):
        ours, theirs = wanted.get(key), found.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            differences += list_differences(theirs, ours, f"{at}{key}.", words)
        elif ours != theirs:
            differences.append(f"{at}{key} ({words[0]} {theirs}, {words[1]} {ours})")
    return differences


def read_yaml(path: "Path | Place") -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        InputError: The file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Expected a readable configuration file, but {path}: {error.strerror}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"Expected YAML in {path}, but found: {error}") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise InputError(
            f"Expected `key: value` lines in {path}, but found a {type(settings).__name__}."
        )
    return settings


def build_config(settings: Mapping[str, Any]) -> CompareConfig:
    """Validate the settings of a comparison: see `build`."""
    return build(CompareConfig, settings)


_ARMS = CompareConfig.model_fields["arms"]


def build(kind: type[Config], settings: Mapping[str, Any]) -> Config:
    """Validate settings laid over the defaults, or over the demo preset where data is phantom.

    Raises:
        InputError: A key is unknown (the nearest is suggested) or a value is out of its range.
    """
    if settings.get("data", PHANTOM) == PHANTOM:
        demo = {key: value for key, value in DEMO.items() if key in kind.model_fields}
        if kind.model_fields.get("arms", _ARMS).default != _ARMS.default:
            demo.pop("arms", None)  # it has a choice of its own
        settings = merge_settings(demo, settings)
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise InputError(describe_validation_error(error, kind)) from None


def describe_validation_error(error: ValidationError, kind: type[Settings] = CompareConfig) -> str:
    """Return one line per problem: where, what was expected, what was found, nearest name."""
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(kind, problem["loc"][:-1])
            name = str(problem["loc"][-1])
            lines.append(f"Unknown configuration key `{place}`.{suggest(name, known)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            found = "" if "got" in message else f", but got {problem['input']!r}"
            lines.append(f"{place}: {message}{found}")
    return "\n".join(lines)


def _known_keys(kind: type[Settings], loc: tuple[int | str, ...]) -> list[str]:
    model: Any = kind
    for part in loc:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)


def hash_settings(settings: Any) -> str:
    """Return a short content hash of anything that JSON can hold, independent of key order.

    Example:
        >>> hash_settings({"a": 1, "b": 2}) == hash_settings({"b": 2, "a": 1})
        True
    """
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
