"""Whatever is in a file, it is either read in full or refused with a reason."""

import numpy as np
import pytest
from corpus import CorpusFile, make_compressed_dicoms, make_corpus, make_dicom, make_still_images
from hypothesis import given, settings
from hypothesis import strategies as st

from osteo_ray.data.decoding.arrays import convert_array
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.images import decode_image
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError

CORPUS = make_corpus(np.random.default_rng(0))
STILL = make_still_images(np.random.default_rng(1))
DICOMS = make_compressed_dicoms(np.random.default_rng(2))
# Damaged ones of the others may end the helper process, and each new one takes a second.
IN_PROCESS = ("jpeg-baseline", "jpeg-2000", "rle")


def _try(content: bytes) -> Decoded | None:
    """Read a content, or check that the reason against it is fit for a table."""
    try:
        found = decode(content)
    except UnreadableImageError as error:
        reason = str(error)
    else:
        assert found.pixels.dtype == np.uint8
        assert found.pixels.ndim == 2
        return found
    assert reason
    assert reason.isprintable()  # and so of one line
    assert len(reason) < 150
    return None


def test_corpus_is_as_large_as_it_should_be() -> None:
    assert len(CORPUS) >= 220
    assert sum(file.good for file in CORPUS) >= 60
    assert len({file.content for file in CORPUS if file.good}) == sum(f.good for f in CORPUS)
    assert all(len(file.name.encode()) <= 255 and "/" not in file.name for file in CORPUS)
    assert all(file.content for file in CORPUS if not file.name.startswith("empty"))


def test_corpus_is_the_same_for_the_same_seed() -> None:
    assert make_corpus(np.random.default_rng(0)) == CORPUS


@pytest.mark.parametrize("why", sorted({file.why for file in CORPUS}))
def test_good_files_are_read_and_bad_ones_refused(why: str) -> None:
    files: list[CorpusFile] = [file for file in CORPUS if file.why == why]
    found = {file.name: _try(file.content) for file in files}
    sizes = {name: None if image is None else image.pixels.shape for name, image in found.items()}
    assert sizes == {file.name: file.size for file in files}
    flat = [name for name, image in found.items() if image and image.pixels.std() < 3]
    assert not flat  # all pictures of the corpus have some contrast


@pytest.mark.parametrize("name", STILL)
def test_images_cut_anywhere_are_whole_or_refused(name: str) -> None:
    content = STILL[name]
    whole = decode_image(content).pixels
    for length in range(0, len(content), max(1, len(content) // 25)):
        found = _try(content[:length])
        assert found is None or np.array_equal(found.pixels, whole), length


@pytest.mark.parametrize("name", [*STILL, *IN_PROCESS, "plain"])
def test_flipped_bytes(name: str) -> None:
    content = {**STILL, **DICOMS, "plain": make_dicom(np.eye(40, dtype=np.uint8))}[name]
    rng = np.random.default_rng(len(content))
    for _ in range(15):
        damaged = bytearray(content)
        # Headers matter most: half of the flips are near the start.
        for place in (*rng.integers(0, len(content), 2), *rng.integers(0, 300, 2)):
            damaged[int(place)] ^= 1 << int(rng.integers(8))
        _try(bytes(damaged))


@settings(max_examples=150)
@given(st.binary(max_size=600), st.sampled_from(["", "head", "DICM", "PNG"]))
def test_any_bytes(content: bytes, start: str) -> None:
    starts = {
        "": b"",
        "head": b"\xff\xd8\xff\xe0",
        "DICM": bytes(128) + b"DICM",
        "PNG": b"\x89PNG\r\n\x1a\n",
    }
    _try(starts[start] + content)


@settings(max_examples=150)
@given(
    st.sampled_from(["u1", "u2", "i4", "i8", "u8", "f2", "f4", "f8", "g", "?", "c16", "O", "U4"]),
    st.lists(st.integers(0, 30), max_size=4),
    st.sampled_from([0, 1, -1, 1e300, np.nan, np.inf]),
)
def test_any_array(dtype: str, shape: list[int], value: float) -> None:
    with np.errstate(all="ignore"):
        array = np.zeros(shape, dtype)
        if array.size and np.dtype(dtype).kind in "fc":
            array.flat[-1] = value
    try:
        found = convert_array(array)
    except UnreadableImageError as error:
        reason = str(error)
    else:
        reason = "none"
        assert found.pixels.shape == tuple(shape[:2])
        assert found.pixels.dtype == np.uint8
    assert reason.isprintable()
