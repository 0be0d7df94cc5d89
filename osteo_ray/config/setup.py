"""Settings shared by the commands that read images or train on them."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from osteo_ray.base.errors import suggest
from osteo_ray.base.networks import FORMS, is_network_name, read_reference
from osteo_ray.base.paths import PHANTOM, locate_data, locate_file
from osteo_ray.base.settings import Settings
from osteo_ray.base.trust import refuse_secrets
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.network_files import name_file, separate_files
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.laterality import Laterality
from osteo_ray.data.pixels import Bits
from osteo_ray.data.settings import ConflictPolicy, PhantomSettings
from osteo_ray.data.sources.columns import ROLES, read_choices_of_columns
from osteo_ray.data.sources.options import NO_PATTERN, SourceOptions, check_pattern
from osteo_ray.models.settings import TrainingSettings

DATA_HELP = (
    "Folder with one subfolder per class, manifest (.csv, .tsv, .jsonl, .parquet, .xlsx), archive "
    "(.npz, .zip, .tar) or data list (.json), as a path or URI; or `phantom` for synthetic images."
)


class SourceConfig(Settings):
    """Settings of every command that reads images."""

    data: str = Field(PHANTOM, description=DATA_HELP)
    columns: tuple[str, ...] = Field(
        (),
        description=f"Which column of a table holds what, as ROLE=COLUMN with {', '.join(ROLES)} "
        "for ROLE; an empty COLUMN leaves the usual one unread.",
    )
    root: str | None = Field(
        None,
        description="Folder that the paths of a table are relative to, a path or URI; by default, "
        "the one that the table lies in.",
    )
    out: str | None = Field(
        None,
        description="Directory for the results, a path or URI (s3://…); by default, it is named "
        "after the data.",
    )

    @field_validator("data")
    @classmethod
    def _locate_data(cls, data: str) -> str:
        return refuse_secrets(locate_data(data))

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        read_choices_of_columns(columns)
        return columns

    @field_validator("root")
    @classmethod
    def _locate_root(cls, root: str | None) -> str | None:
        return root and refuse_secrets(locate_data(root))

    @field_validator("out")
    @classmethod
    def _check_out(cls, out: str | None) -> str | None:
        return out and refuse_secrets(out)

    @property
    def source_options(self) -> SourceOptions:
        """Return what the user says about how the images are to be read."""
        return SourceOptions.of(self.columns, self.root)


class SetupConfig(SourceConfig):
    """Settings of every command that reads images and trains on them."""

    patient_pattern: str | None = Field(
        None,
        description="Regular expression that finds the patient in the path of an image within "
        f"--data: what its groups match, or all that it matches; `{NO_PATTERN}` if paths name no "
        "patients. By default, the usual forms are tried, and what they find is said.",
    )
    laterality: Laterality = Field(
        "whole",
        description="What to do with films of both knees: take each as one image, or cut it at the "
        "gap into two images of one patient, each with its side.",
    )
    conflicts: ConflictPolicy | None = Field(
        None,
        description="What to do with copies that carry different labels: drop them, give all the "
        "majority's label, or keep them; by default drop, but keep with --split random.",
    )
    models: tuple[str, ...] = Field(
        ("efficientnet_b0", "mobilenetv3_large_100"),
        min_length=1,
        description=f"Networks, each {FORMS} (docs/networks.md).",
    )
    networks: tuple[str, ...] = Field(
        (),
        description="Python files of models that are named FILE.py:FUNCTION; by default, where "
        "--models says they are.",
    )
    weights: tuple[str, ...] = Field(
        (), description="NAME=FILE per model, or none; by default, from the hub."
    )
    split_ratio: tuple[int, int, int] = Field(
        (7, 2, 1), description="Ratio of training, validation and test images."
    )
    seeds: int = Field(10, ge=1, description="Number of repeats, each with its own split.")
    first_seed: int = Field(0, ge=0, description="Number of the first seed.")
    image_size: ImageSize = Field(
        ImageSize.square(224),
        description="Size in pixels that images are stretched to, whatever their aspect ratio: one "
        "number for squares, or HEIGHTxWIDTH (320x256 is 320 px high and 256 px wide).",
    )
    bits: Bits = Field(
        8,
        description="Bits of a gray value, from reading on: 16 keeps more than 256 levels of "
        "images that have them, and takes twice the memory.",
    )
    training: TrainingSettings = TrainingSettings()
    resources: ResourceSettings = ResourceSettings()
    phantom: PhantomSettings = PhantomSettings()

    @model_validator(mode="before")
    @classmethod
    def _separate_files(cls, settings: Any) -> Any:
        """Keep folders out of the names of models, which are the same wherever the files lie."""
        if not isinstance(settings, Mapping) or "models" not in settings:
            return settings
        models, files = separate_files(settings["models"], settings.get("networks", ()))
        return {**settings, "models": models, "networks": files}

    @field_validator("patient_pattern")
    @classmethod
    def _check_patient_pattern(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else check_pattern(pattern)

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for name in models:  # timm would load from elsewhere for `hf-hub:…` or `local-dir:…`
            if not is_network_name(name):
                raise ValueError(f"Expected models to be {FORMS}, but got `{name}`.")
        return without_repeats(models, "models")

    @field_validator("split_ratio")
    @classmethod
    def _check_ratio(cls, ratio: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(ratio) < 1:
            raise ValueError(f"Expected three whole numbers of at least 1, but got {ratio}.")
        return ratio

    @field_validator("weights", mode="before")
    @classmethod
    def _read_weights(cls, weights: Any) -> Any:
        if isinstance(weights, str):
            return (weights,)
        if isinstance(weights, Mapping):  # the natural form in YAML
            for name, file in weights.items():
                if not isinstance(file, str):
                    found = "nothing" if file is None else f"`{file}`"
                    raise ValueError(
                        f"Expected the path of a file for `{name}`, but got {found}. Give one, or "
                        "leave the model out to take its weights from the hub."
                    )
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
            name = name.rpartition("/")[2] if ".py:" in name else name
            if entry != "none" and not (name and file):
                raise ValueError(f"Expected NAME=FILE or `none`, but got `{entry}`.")
            absolute.append(f"{name}={locate_file(file)}" if file else entry)
        return tuple(absolute)

    @model_validator(mode="after")
    def _check_weights_names(self) -> "SetupConfig":
        for entry in self.weights:
            name = entry.partition("=")[0]
            if entry != "none" and name not in self.models:
                raise ValueError(
                    f"Expected weights for the models {', '.join(self.models)}, but got weights "
                    f"for `{name}`.{suggest(name, self.models)}"
                )
        return self

    @property
    def source_options(self) -> SourceOptions:
        """Return what the user says about how the images are to be read."""
        return SourceOptions.of(self.columns, self.root, self.patient_pattern, self.laterality)

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """Return the numbers of the seeds, one per repeat."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def conflict_policy(self) -> ConflictPolicy:
        """Return what is done with copies that carry different labels."""
        return self.conflicts or "drop"

    def weights_of(self, model: str) -> str | None:
        """Return the weights file of a model, `none` for random weights, or None for the hub's."""
        if self.weights == ("none",):
            return "none"
        return dict(entry.split("=", 1) for entry in self.weights).get(model)

    @property
    def network_files(self) -> dict[str, str]:
        """Return the Python file of each model that has one, by the name of the model."""
        files = {name_file(file): file for file in self.networks}
        references = {model: read_reference(model) for model in self.models}
        return {model: files[found.file] for model, found in references.items() if found}

    @property
    def first_weights(self) -> dict[str, str | None]:
        """Return what `weights_of` says of each model."""
        return {model: self.weights_of(model) for model in self.models}


def without_repeats(values: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return values unchanged if none of them is repeated.

    Args:
        values: The values.
        name: What they are, for the message.

    Raises:
        ValueError: A value is repeated.
    """
    if len(set(values)) < len(values):
        raise ValueError(f"Expected distinct {name}, but got {', '.join(values)}.")
    return values
