"""Fast forward passes: run a trained classifier in the form that is fastest on its processor.

On a CPU, that form is an OpenVINO graph with fused layers in 32-bit floats. It is two to three
times as fast as PyTorch (docs/performance.md), and its results are equal within rounding.
Converting a classifier takes seconds, so it is done once and the graph is kept in a file. Networks
so small that the conversion would never pay off are left to PyTorch.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from osteo_ray.base.digests import seal_folder, write_sealed
from osteo_ray.base.errors import InputError
from osteo_ray.base.machine import describe_machine
from osteo_ray.base.storage import Place, local_copy, write_whole
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.graphs import compile_graph
from osteo_ray.models.settings import Precision

Backend = Literal["eager", "openvino"]
Predict = Callable[[torch.Tensor], torch.Tensor]
"""Images, float32 (batch, 1, height, width) in [0, 1] → logits, float32 (batch, n_classes).

Logits and not probabilities: in 32-bit floats, the softmax of a saturated classifier is 1 whatever
it is shown, and there would be nothing to explain. Who needs probabilities takes it in 64 bits.
"""

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_INSTRUCTIONS = {
    "bf16": ("amx_bf16", "avx512_bf16", "bf16"),
    "fp16": ("amx_fp16", "avx512_fp16", "asimdhp"),
}
"""Instructions of which a CPU needs one, under Linux' names."""
_WORTH_FREEZING = 20_000_000  # multiply-adds per image; with fewer, PyTorch is about as fast
_GRAPH = "model.xml"
_TOLERANCE = 5e-4  # largest difference of a logit from PyTorch's, as a share of the largest logit


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse numbers that this processor does not compute with.

    Raises:
        InputError: It lacks the instructions.
    """
    if precision == "fp32":
        return
    if device.type == "cpu":
        instructions = describe_machine()["isa"]
        lacks = not set(_INSTRUCTIONS[precision]) & set(instructions.split())
        where = f"has none of {', '.join(_INSTRUCTIONS[precision])} (it has {instructions})"
    else:
        lacks = precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False)
        where = f"({torch.cuda.get_device_name()}) only emulates it" if lacks else ""
    if lacks:
        raise InputError(
            f"Expected a processor that computes in {precision}, as --lime.precision asks, but "
            f"this {'CPU' if device.type == 'cpu' else 'GPU'} {where}. Use --lime.precision fp32."
        )


def choose_backend(classifier: Classifier, image_size: ImageSize, device: torch.device) -> Backend:
    """Choose what runs a classifier; the choice depends only on the classifier and the device.

    Returns:
        `openvino` for larger networks on a CPU, otherwise `eager`, which is plain PyTorch.
    """
    if device.type != "cpu":
        return "eager"
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        classifier(torch.zeros(1, 1, *image_size.shape))
    return "openvino" if counter.get_total_flops() / 2 >= _WORTH_FREEZING else "eager"


def open_classifier(
    classifier: Classifier,
    image_size: ImageSize,
    frozen: Place,
    device: torch.device,
    n_threads: int,
    precision: Precision = "fp32",
) -> Predict:
    """Return the fastest available function from images to the logits of a classifier.

    Args:
        classifier: The classifier, on the device and in evaluation mode.
        image_size: Height and width of the images.
        frozen: Directory of its frozen form, which is written if it does not exist.
        device: Device of the classifier.
        n_threads: Number of CPU threads.
        precision: In which numbers the backbone computes; the head computes in 32-bit floats, if
            the network ends in one.

    Raises:
        InputError: The processor does not compute with such numbers.
        RuntimeError: The frozen form belongs to another classifier.
    """
    if precision != "fp32":
        check_precision(precision, device)
        return _open_reduced(classifier, device, _TYPES[precision])

    def predict(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = classifier(images)
            return found

    if choose_backend(classifier, image_size, device) == "eager":
        return predict
    with _find_frozen(classifier, image_size, frozen) as folder:
        if not (folder / _GRAPH).exists():
            return predict
        fast = FrozenClassifier(folder, n_threads)
    _check_equal(fast, predict, image_size)
    return fast


def _open_reduced(classifier: Classifier, device: torch.device, kind: torch.dtype) -> Predict:
    # A network without a head makes logits of its features in ways of its own.
    is_whole = isinstance(classifier.head, torch.nn.Identity)
    compute = classifier if is_whole else classifier.embed

    def predict(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            images = images.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, kind):
                computed = compute(images)
            logits: torch.Tensor = classifier.head(computed.float())
            return logits

    return predict


@contextmanager
def _find_frozen(classifier: Classifier, image_size: ImageSize, frozen: Place) -> Iterator[Path]:
    """Provide a local folder with the frozen form, which is created if it does not exist."""
    if isinstance(frozen, Path):
        freeze_classifier(classifier, image_size, frozen)
        yield frozen
        return
    packed = frozen.with_name(f"{frozen.name}.zip")  # as one file, so that two cannot be mixed
    with tempfile.TemporaryDirectory(prefix="osteo-ray-") as name:
        folder = Path(name) / frozen.name
        if packed.is_file():
            with local_copy(packed) as archive:
                shutil.unpack_archive(archive, folder)
        else:
            freeze_classifier(classifier, image_size, folder)
            with write_sealed(packed) as unfinished:
                shutil.make_archive(str(unfinished.with_suffix("")), "zip", folder)
        yield folder


def freeze_classifier(classifier: Classifier, image_size: ImageSize, path: Path) -> None:
    """Write a classifier as an OpenVINO graph, or a note that it cannot be made into one.

    Networks whose course depends on what they are shown cannot be exported, and OpenVINO lacks some
    operations.

    Args:
        classifier: The classifier, on the CPU and in evaluation mode.
        image_size: Height and width of the images.
        path: Directory to write, atomically; an existing one is left as it is.
    """
    if path.exists():
        return
    with write_whole(path) as unfinished:
        unfinished.mkdir()
        _freeze(classifier, image_size, unfinished)
        seal_folder(unfinished)


def _freeze(classifier: Classifier, image_size: ImageSize, folder: Path) -> None:
    # Imported only here: it takes a second, and small networks do not need it.
    import openvino
    from openvino.frontend import FrontEndManager, OpConversionFailure
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    example = torch.zeros(1, 1, *image_size.shape)
    try:
        with torch.no_grad():
            exported = torch.export.export(classifier, (example,))
    except Exception as error:  # of many kinds, by what a user's network does
        (folder / "unsupported.txt").write_text(str(error), encoding="utf-8")
        return
    # `openvino.convert_model` does the same, but reports its use to its makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    logging.disable(logging.WARNING)  # it warns about an operation that PyTorch lacks
    try:
        decoder = TorchFXPythonDecoder.from_exported_program(exported, dynamic_shapes=False)
    finally:
        logging.disable(logging.NOTSET)
    try:
        graph = frontend.convert(frontend.load(decoder))
    except OpConversionFailure as error:
        (folder / "unsupported.txt").write_text(str(error), encoding="utf-8")
    else:
        openvino.save_model(graph, folder / _GRAPH, compress_to_fp16=False)


class FrozenClassifier:
    """A classifier that `freeze_classifier` wrote, on the CPU.

    It takes images one by one: nothing is faster on one core, and the logits of an image
    cannot depend on the other images of its batch.

    Args:
        path: Directory that `freeze_classifier` wrote.
        n_threads: Number of CPU threads.
    """

    def __init__(self, path: Path, n_threads: int) -> None:
        compiled = compile_graph(
            path / _GRAPH,
            INFERENCE_NUM_THREADS=n_threads,
            NUM_STREAMS=1,
            # With pinning, all actors of a machine would compute on its first core.
            ENABLE_CPU_PINNING=False,
        )
        self._request: Any = compiled.create_infer_request()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: float32 (batch, 1, height, width) → logits (batch, n_classes)."""
        singles = images.numpy()[:, None]
        found = [self._request.infer([single])[0].copy() for single in singles]
        return torch.from_numpy(np.concatenate(found))


def _check_equal(predict: Predict, reference: Predict, image_size: ImageSize) -> None:
    """Check one way of running a classifier against another, on a few images of noise.

    Logits are compared: the probabilities of a saturated classifier agree whatever runs it.

    Raises:
        RuntimeError: Logits differ by more than rounding explains.
    """
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((2, 1, *image_size.shape), np.float32))
    expected = reference(images)
    difference = float((predict(images) - expected).abs().max())
    largest = float(expected.abs().max())
    if not difference <= _TOLERANCE * max(1.0, largest):
        raise RuntimeError(
            "Expected the frozen classifier to give the logits of the original, but they differ by "
            f"{difference:.1e}, where the largest is {largest:.1e}."
        )
