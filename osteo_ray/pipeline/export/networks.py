"""Export trained classifiers for other tools: as ONNX, or as safetensors for timm.

Each form is held to the classifier that it was made from before it is kept: on the same images, the
logits must be equal within rounding.
"""

import importlib.util
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import is_timm_name, name_repeat
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, locate, write_whole
from osteo_ray.base.tables import write_json
from osteo_ray.base.trust import require_consent
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.soundness import refuse_damage
from osteo_ray.experiment.trials import WEIGHTS, Experiment, Trial
from osteo_ray.pipeline.export.checks import check_known, check_out
from osteo_ray.pipeline.stored_run import describe_stored

if TYPE_CHECKING:
    from osteo_ray.models.classifier import Classifier

NetworkForm = Literal["onnx", "safetensors"]
RECORD = "model.json"
NOTICE = "For research. Not a medical device, and not for clinical use."
_TOLERANCE = 5e-4  # largest difference of a logit, as a share of the largest
_N_TRIED = 3  # images of noise on which forms are compared
_LOADER = Path(__file__).with_name("load.py.txt")


def export_networks(
    run: Run,
    arm: str,
    form: NetworkForm,
    *,
    out: Place | None = None,
    models: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (),
    run_code: bool = False,
) -> list[Place]:
    """Export the classifiers of an arm, for each model and seed to OUT/MODEL/seed-N/.

    Args:
        run: A run whose weights are still there.
        arm: An arm of the run.
        form: `onnx`: images in, logits out, one file; `safetensors`: a backbone for timm, a head,
            and a file that loads both.
        out: Where to write; by default `exports/ARM-FORM` in the run directory.
        models: Models to export; all models of the run if empty.
        seeds: Seeds to export; all seeds of the run if empty.
        run_code: Run the code that the run brings along, if a network is one of the user's.

    Returns:
        The folders, each written just now.

    Raises:
        InputError: The run lacks what is asked for, or `out` cannot be used.
    """
    if not run.config.is_file() or not run.images.is_file():
        raise InputError(f"Expected a finished run, but {run.root} holds none.")
    read = (run.config, run.images, run.splits, run.trials)
    refuse_damage(run, [place.name for place in read])
    config = build_config(read_yaml(run.config))
    check_known("--arm", [arm], config.arms)
    check_known("--models", models, config.models)
    check_known("--seeds", seeds, config.seed_numbers)
    _check_form(form, models or config.models)
    out = locate(str(out)) if out else run.root / "exports" / f"{arm}-{form}"
    check_out(out, config)
    _, experiment = describe_stored(run, config)
    trials = [
        Trial(model, seed, arm)
        for model in dict.fromkeys(models or config.models)
        for seed in dict.fromkeys(seeds or config.seed_numbers)
    ]
    missing = [one for one in trials if not (experiment.path_of(one) / WEIGHTS).is_file()]
    if missing:
        raise InputError(
            f"Expected the weights of {len(trials)} classifiers, but {len(missing)} are missing; "
            f"the first is {experiment.path_of(missing[0]) / WEIGHTS}. Run `osteo-ray compare` "
            "with the settings of the run to train them again."
        )
    for trial in trials:
        if experiment.weights[trial.model].code is not None:
            require_consent(run_code, f"of `{trial.model}` in {run.networks}")
    return [_export(trial, experiment, config, form, out) for trial in trials]


def _check_form(form: NetworkForm, models: tuple[str, ...]) -> None:
    if form == "onnx" and importlib.util.find_spec("onnx") is None:
        raise InputError(
            "Expected the package onnx, with which PyTorch writes ONNX files, but it is not "
            "installed. Install it, for instance by `pip install onnx`, or use --as safetensors."
        )
    others = [model for model in models if not is_timm_name(model)]
    if form == "safetensors" and others:
        raise InputError(
            f"Expected networks of timm with --as safetensors, as timm is to load them, but got "
            f"{', '.join(others)}. Leave them out by --models, or use --as onnx."
        )


def _export(
    trial: Trial, experiment: Experiment, config: CompareConfig, form: NetworkForm, out: Place
) -> Place:
    # Imported here: PyTorch takes seconds to import, and bad input needs none of it.
    from osteo_ray.pipeline.compare.one_trial import load_trained

    classifier = load_trained(trial, experiment).float()
    size = config.image_size
    record = {
        "network": trial.model,
        "trained_on": trial.arm,
        "seed": trial.seed,
        "training": experiment.key_of(trial),
        "classes": list(experiment.classes),
        "image_size": size.plain,
        "input": f"float32, (n, 1, {size.height}, {size.width}), gray, 0 = black, 1 = white",
        "output": "float32, (n, classes), logits",
        "mean": classifier.mean.flatten().tolist(),
        "std": classifier.std.flatten().tolist(),
        "notice": NOTICE,
    }
    place = out / name_repeat(trial.model, trial.seed)
    with tempfile.TemporaryDirectory(prefix="osteo-ray-") as scratch:
        folder = Path(scratch)
        if form == "onnx":
            _write_onnx(classifier, folder / "model.onnx", size)
            _check_onnx(classifier, folder / "model.onnx", size)
        else:
            record["head"] = _write_safetensors(classifier, folder)
        for file in sorted(folder.iterdir()):
            with write_whole(place / file.name) as unfinished:
                unfinished.write_bytes(file.read_bytes())
    if form == "safetensors":
        with write_whole(place / "load.py") as unfinished:
            unfinished.write_text(_LOADER.read_text(encoding="utf-8"), encoding="utf-8")
    write_json(place / RECORD, record)
    return place


def _write_onnx(classifier: "Classifier", file: Path, size: ImageSize) -> None:
    import torch

    example = torch.zeros(1, 1, *size.shape)
    plain = classifier.to(memory_format=torch.contiguous_format).eval()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of tracing: what is traced is checked afterwards
            torch.onnx.export(
                plain,
                (example,),
                str(file),
                input_names=["images"],
                output_names=["logits"],
                dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
                dynamo=False,
            )
    except Exception as error:  # of many kinds, by what a network does
        raise InputError(
            f"Expected a network that can be written as ONNX, but PyTorch cannot write this one: "
            f"{str(error).splitlines()[0]} Use another --as."
        ) from None
    finally:
        logging.disable(logging.NOTSET)


def _check_onnx(classifier: "Classifier", file: Path, size: ImageSize) -> None:
    """Read the file with OpenVINO, and compare its logits with those of PyTorch.

    Raises:
        InputError: They differ.
    """
    import torch

    from osteo_ray.models.graphs import compile_graph

    rng = np.random.default_rng(0)
    images = rng.random((_N_TRIED, 1, *size.shape), np.float32)
    with torch.inference_mode():
        expected = classifier(torch.from_numpy(images)).numpy()
    found = compile_graph(file)([images])[0]
    difference = float(np.abs(found - expected).max())
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise InputError(
            f"Expected the ONNX file to give the logits of the classifier, but they differ by "
            f"{difference:.1e}. This network cannot be written as ONNX; use another --as."
        )


def _write_safetensors(classifier: "Classifier", folder: Path) -> list[list[int]]:
    """Write the backbone under timm's names, and the head; return the widths of its layers."""
    import torch
    from safetensors.torch import save_file

    parts: dict[str, dict[str, Any]] = {"backbone": {}, "head": {}}
    for name, tensor in classifier.state_dict().items():
        part, _, rest = name.partition(".")
        if part in parts:
            # A copy, since safetensors takes no tensor under two names.
            parts[part][rest] = tensor.clone(memory_format=torch.contiguous_format)
    for part, tensors in parts.items():
        save_file(tensors, folder / f"{part}.safetensors")
    layers = [one for one in classifier.head.modules() if isinstance(one, torch.nn.Linear)]
    return [[one.in_features, one.out_features] for one in layers]
