"""Open a set of explanations: read the images of a new one, or resume an old one."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.digests import is_damaged, write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import read_record
from osteo_ray.base.mappings import hash_settings, list_differences
from osteo_ray.base.paths import name_source
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, digest_file, reach
from osteo_ray.base.tables import READ_IMAGES, write_json
from osteo_ray.cluster.connection import describe_environment
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.models.checkpoint import Checkpoint, describe_checkpoint
from osteo_ray.pipeline.ingest.intake import take_in
from osteo_ray.pipeline.output import fill_output, locate_output, write_images


@dataclass(frozen=True)
class Subject:
    """The classifier that is to be explained.

    Attributes:
        path: Path of its checkpoint.
        checkpoint: What the file says about itself.
        digest: SHA-256 of the file.
    """

    path: Place
    checkpoint: Checkpoint
    digest: str


def find_subject(file: str | None) -> Subject:
    """Describe the classifier that is to be explained.

    Args:
        file: What the user gave as `--checkpoint`.

    Raises:
        InputError: There is no checkpoint, or not one that can be explained.
    """
    if file is None:
        raise InputError(
            "Expected --checkpoint FILE, the classifier to explain, but got none. `osteo-ray "
            "compare` writes one per training: RUN/trials/MODEL/seed-N/ARM-KEY/model.safetensors."
        )
    path = reach(file, "--checkpoint")
    if is_damaged(path):
        raise InputError(
            f"Expected a checkpoint as it was written, but {path} does not match its digest. Run "
            "the comparison that trained it again, which makes it anew, or restore it from a copy."
        )
    return Subject(path, describe_checkpoint(path), digest_file(path))


def locate_set(
    config: ExplainConfig, subject: Subject, say: Callable[[str], None] = lambda text: None
) -> Run:
    """Return the directory of a set of explanations, whether or not it exists yet.

    Args:
        config: What to explain, and how.
        subject: The classifier.
        say: Told if the records of the set had to be restored.

    Raises:
        InputError: `--out` cannot be written to, holds something else than explanations, or holds
            those of other settings or of another checkpoint.
    """

    def compare_with(run: Run) -> list[str] | None:
        digest = _read_digest(run)
        if digest is None:
            return None
        found = _describe(build(ExplainConfig, read_yaml(run.config)))
        wanted = _describe(config)
        # A setting that only one of two methods has needs no mention beside the method itself.
        shared = found.keys() & wanted.keys()
        differences = list_differences(_pick(found, shared), _pick(wanted, shared))
        if digest != subject.digest:
            differences.append(
                f"the content of the checkpoint (there SHA-256 {digest[:12]}…, here "
                f"{subject.digest[:12]}…)"
            )
        return differences

    key = hash_settings({**config.identity(), "checkpoint": subject.digest})
    return locate_output(
        config.out,
        f"explanations/{name_source(config.data)}-{key}",
        what="explanations of the same checkpoint",
        list_differences=compare_with,
        say=say,
    )


def _describe(config: ExplainConfig) -> dict[str, Any]:
    """Return the identity, in which the precision has the same place whatever it is."""
    settings = config.identity()
    settings.get("lime", {}).pop("precision", None)
    return {**settings, "lime.precision": config.lime.precision}


def _pick(settings: dict[str, Any], keys: Set[str]) -> dict[str, Any]:
    return {key: settings[key] for key in keys}


def _read_digest(run: Run) -> str | None:
    """Return the digest of the checkpoint that was explained; None if there are no explanations."""
    if not run.environment.is_file():
        return None
    try:
        stored = read_record(run.environment, {"checkpoint": {"digest": str}})
    except DamagedError:
        return None
    return str(stored["checkpoint"]["digest"])


def create_set(
    run: Run,
    config: ExplainConfig,
    subject: Subject,
    source: Source | PhantomSettings,
    layout: Layout,
) -> None:
    """Read the images into a new directory.

    Args:
        run: Where.
        config: Configuration of the explanations.
        subject: The classifier; images are resized to the size that it was trained on.
        source: The images, or the settings of phantoms to draw.
        layout: How the work is laid out on the cluster, for the record.

    Raises:
        InputError: The images cannot be used.
    """
    with fill_output(run, config):
        with take_in(
            run,
            source,
            image_size=subject.checkpoint.image_size,
            bits=subject.checkpoint.bits,
            max_reject_share=config.max_reject_share,
            labels_needed=False,
        ) as (ingest, fingerprint):
            write_images(run, ingest.images, READ_IMAGES, ingest.rejects)
        environment = {
            **describe_environment(layout),
            "source_fingerprint": fingerprint,
            "checkpoint": {**subject.checkpoint.describe(), "digest": subject.digest},
            "plan_hash": hash_settings(config.identity()),
        }
        write_json(run.environment, environment, write_record)
