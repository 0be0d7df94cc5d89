"""Regions as they are given: PNG masks, COCO files, a column of a manifest; and what is refused."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image

from osteo_ray.base.errors import InputError
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.data.regions.coco import CocoImage, parse_coco
from osteo_ray.data.regions.given import read_named_regions, read_regions
from osteo_ray.data.regions.names import match_names
from osteo_ray.data.regions.png import decode_mask
from osteo_ray.data.regions.region import shrink_region
from osteo_ray.data.sources.kinds import open_source

INSIDE = np.zeros((10, 12), bool)
INSIDE[2:7, 3:8] = True
INSIDE[8, 9] = True


def encode(image: Image.Image, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


# PNG


def draw_modes() -> dict[str, Image.Image]:
    """The same region in every mode, with the smallest value that counts."""
    values = INSIDE.astype(np.uint8)
    palette = Image.fromarray(values, "P")
    palette.putpalette([0, 0, 0, 0, 0, 0])  # black on black: the number counts, not the color
    color = np.zeros((10, 12, 4), np.uint8)
    color[..., 2], color[..., 3] = values, 255
    hidden = np.full((10, 12, 4), 255, np.uint8)
    hidden[..., 3] = values
    return {
        "1": Image.fromarray(INSIDE),
        "L": Image.fromarray(values),
        "I;16": Image.fromarray(values.astype(np.uint16)),
        "P": palette,
        "LA": Image.fromarray(color[..., 2:], "LA"),
        "RGB": Image.fromarray(color[..., :3]),
        "RGBA": Image.fromarray(color),
        "transparent": Image.fromarray(hidden),
    }


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "LA", "RGB", "RGBA", "transparent"])
def test_png_of_every_mode(mode: str) -> None:
    np.testing.assert_array_equal(decode_mask(encode(draw_modes()[mode])), INSIDE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a PNG file"),
        (encode(Image.fromarray(INSIDE.astype(np.uint8)), "JPEG"), "not a PNG file"),
        (encode(Image.fromarray(INSIDE))[:60], "truncated|damaged"),
        (encode(Image.fromarray(INSIDE[:5])), "too small: 12 × 5 px"),
    ],
)
def test_what_is_no_mask(content: bytes, words: str) -> None:
    with pytest.raises(UnreadableImageError, match=words):
        decode_mask(content)


# COCO


def test_polygon_by_hand() -> None:
    drawn = CocoImage(12, 10, ([[3, 2, 8, 2, 8, 7, 3, 7]], [[9, 8, 10, 8, 10, 9, 9, 9]])).draw()
    np.testing.assert_array_equal(drawn, INSIDE)
    parts = CocoImage(12, 10, ([[3, 2, 8, 2, 8, 7, 3, 7], [9, 8, 10, 8, 10, 9, 9, 9]],)).draw()
    np.testing.assert_array_equal(parts, INSIDE)


def test_pixel_is_inside_a_polygon_if_its_centre_is() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:30, :40] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], 1)
    for _ in range(20):
        corners = rng.uniform(-5, 45, (5, 2))
        expected = Outline(corners).contains_points(centres).reshape(30, 40)
        if Outline(corners).to_polygons() and not _crosses_itself(corners):
            drawn = CocoImage(40, 30, ([corners.ravel().tolist()],)).draw()
            np.testing.assert_array_equal(drawn, expected)


def _crosses_itself(corners: np.ndarray) -> bool:
    """Whether the angles of the corners around their middle are out of order."""
    offsets = corners - corners.mean(0)
    turns = np.diff(np.unwrap(np.arctan2(offsets[:, 1], offsets[:, 0])))
    return bool((turns > 0).any() and (turns < 0).any())


def count_runs(inside: np.ndarray) -> list[int]:
    flat = inside.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs


def pack_runs(runs: list[int]) -> str:
    """COCO's compression, written after the C code of its authors."""
    text = ""
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            code, value = value & 31, value >> 5
            more = value != -1 if code & 16 else value != 0
            text += chr((code | 32 if more else code) + 48)
    return text


def test_run_lengths_by_hand() -> None:
    inside = np.zeros((8, 9), bool)
    inside[0:2, 0], inside[7, 1], inside[0, 2] = True, True, True
    counts = [0, 2, 13, 2, 55]
    assert count_runs(inside) == counts
    drawn = CocoImage(9, 8, ({"size": [8, 9], "counts": counts},)).draw()
    np.testing.assert_array_equal(drawn, inside)


def test_compressed_run_lengths_are_those_of_coco() -> None:
    # Written by pycocotools 2.0.
    inside = np.zeros((40, 50), bool)
    inside[3:30, 5:40], inside[10:12, 8:11], inside[39, 49] = True, False, True
    counts = r"[6k0=0000\OE;;EE;;EE;;9" + "0" * 56 + r"\<VO"
    assert pack_runs(count_runs(inside)) == counts
    drawn = CocoImage(50, 40, ({"size": [40, 50], "counts": counts},)).draw()
    np.testing.assert_array_equal(drawn, inside)
    rng = np.random.default_rng(1)
    for share in (0.01, 0.3, 0.9):
        noise = rng.random((33, 21)) < share
        mark = {"size": [33, 21], "counts": pack_runs(count_runs(noise))}
        np.testing.assert_array_equal(CocoImage(21, 33, (mark,)).draw(), noise)


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (None, "neither polygons nor run lengths"),
        (["3, 2"], "not a list of numbers"),
        ([[1, 2, 3, 4]], "x and y of three corners"),
        ([[1, 2, 3, 4, 5, 6, 7]], "x and y of three corners"),
        ([[1, 2, 3, 4, 5, float("nan")]], "x and y of three corners"),
        ({"counts": [120]}, "`size` is not that of the image"),
        ({"size": [12, 10], "counts": [120]}, "`size` is not that of the image"),
        ({"size": [10, 12]}, "lack `counts`"),
        ({"size": [10, 12], "counts": [100]}, "do not add up"),
        ({"size": [10, 12], "counts": [130, -10]}, "do not add up"),
        ({"size": [10, 12], "counts": []}, "do not add up"),
        ({"size": [10, 12], "counts": ["a"]}, "do not add up"),
        ({"size": [10, 12], "counts": [10**30]}, "do not add up"),
        ({"size": [10, 12], "counts": " "}, "a character that they cannot"),
    ],
)
def test_marks_that_cannot_be_drawn(mark: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CocoImage(12, 10, (mark,)).draw()


def list_twice(**changes: Any) -> str:
    """A COCO file with two entries of one image, each of which has a mark of its own."""
    first = {"id": 4, "file_name": "1.png", "width": 12, "height": 10}
    marks = {4: [3, 2, 8, 2, 8, 7, 3, 7], 5: [9, 8, 10, 8, 10, 9, 9, 9]}
    annotations = [{"image_id": at, "segmentation": [mark]} for at, mark in marks.items()]
    images = [first, {**first, "id": 5, **changes}]
    return json.dumps({"images": images, "annotations": annotations})


def test_entries_of_one_image_are_joined() -> None:
    found = parse_coco(list_twice().encode())
    np.testing.assert_array_equal(found["1.png"].draw(), INSIDE)
    found = parse_coco(list_twice(id=4).encode())  # the same entry twice loses nothing, either
    np.testing.assert_array_equal(found["1.png"].draw(), INSIDE & (np.arange(12) < 8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "not in COCO's form"),
        ('{"images": []}', "'annotations' is missing"),
        ('{"images": [{"id": 1}], "annotations": []}', "'file_name' is missing"),
        ('{"images": 3, "annotations": []}', "not in COCO's form"),
        (list_twice(height=9), r"1\.png is listed with 12 × 10 px and with 12 × 9 px"),
        (list_twice(file_name="2.png", id=4), r"1\.png and 2\.png have the same `id`, 4"),
    ],
)
def test_what_is_no_coco_file(content: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_coco(content.encode())


# The size of the run


def test_region_is_resized_as_pixels_are() -> None:
    rng = np.random.default_rng(3)
    inside = np.kron(rng.random((9, 7)) < 0.4, np.ones((13, 11), bool))
    region = shrink_region(inside, ImageSize.square(32))
    assert (region.width, region.height) == (77, 117)
    found = unpack_mask(region.packed, ImageSize.square(32))
    np.testing.assert_array_equal(
        found, resize_image(np.uint8(255) * inside, ImageSize.square(32)) >= 128
    )
    assert found.mean() == pytest.approx(inside.mean(), abs=0.02)


def test_half_of_a_pixel_is_inside() -> None:
    left = np.zeros((32, 32), bool)
    left[:, :10] = True
    found = unpack_mask(shrink_region(left, ImageSize.square(16)).packed, ImageSize.square(16))
    np.testing.assert_array_equal(found, left[::2, ::2])


@pytest.mark.parametrize(("n_px", "words"), [(0, "is empty"), (1, "smaller than a pixel once it")])
def test_region_that_cannot_be_seen(n_px: int, words: str) -> None:
    inside = np.zeros((64, 64), bool)
    inside[5, :n_px] = True
    with pytest.raises(ValueError, match=words):
        shrink_region(inside, ImageSize.square(16))


# Names


@pytest.mark.parametrize(
    ("paths", "names", "expected"),
    [
        (["a/1.jpg", "b/1.jpg"], ["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"]),
        (["a/1.jpg", "b/2.jpg"], ["1.png", "2.png"], ["1.png", "2.png"]),
        (["a/1.jpg", "b/1.jpg"], ["1.png"], [None, None]),  # it may be of either
        (["a/1.jpg"], ["a/1.jpg", "b/1.jpg"], ["a/1.jpg"]),
        (["a/1.jpg"], ["a/1.png", "1.png"], ["a/1.png"]),
        (["1.2.3", "1.2.4"], ["1.2.3.png", "1.2.4.png"], ["1.2.3.png", "1.2.4.png"]),
        (["train_images/0000001"], ["train_images/0000001.png"], ["train_images/0000001.png"]),
        (["a/1.jpg"], ["a/1.x.png", "a/2.png", ""], [None]),
        (["a/é.jpg"], ["a/e\u0301.png"], ["a/e\u0301.png"]),
        (["a/e\u0301.jpg", "a/1.jpg"], ["é.png", "1.png"], ["é.png", "1.png"]),
        (["Normal/Knee1.JPG"], ["normal/knee1.png"], ["normal/knee1.png"]),
        (["a/1.jpg", "a/1.png"], ["a/1.png"], [None, "a/1.png"]),  # the other's own
        (["a/1.jpg", "a/1.tif"], ["a/1.png"], [None, None]),
        (["a/1.jpg", "a/1.tif"], ["a/1.jpg.png", "1.tif.png"], ["a/1.jpg.png", "1.tif.png"]),
        (["a/K1.jpg", "a/k1.jpg"], ["a/k1.png"], [None, "a/k1.png"]),  # the other's own
        (["a/K1.jpg", "a/k1.jpg"], ["a/k1.png", "a/K1.PNG"], ["a/K1.PNG", "a/k1.png"]),
        (["a/Ä1.jpg"], ["a/ä1.png", "a/a\u03081.png"], [None]),  # it may be either
        (["a/Ä1.jpg", "a/ä1.jpg"], ["a/a\u03081.png"], [None, None]),  # it may be of either
        (["a/Ä1.jpg", "b/ä1.jpg"], ["a\u03081.png"], [None, None]),
    ],
)
def test_names_are_matched(paths: list[str], names: list[str], expected: list[str | None]) -> None:
    found = match_names(paths, names)
    assert [found.get(path) for path in paths] == expected


# Whole sets

PATHS = ["normal/0.png", "normal/1.png", "worn/2.png", "worn/3.png"]


def draw_region(number: int) -> np.ndarray:
    inside = np.zeros((64, 48), bool)
    inside[8 * number : 8 * number + 20, 4:30] = True
    return inside


def save(path: Path, inside: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(255) * inside).save(path)


def write_masks(folder: Path) -> str:
    for number, path in enumerate(PATHS):
        save(folder / path, draw_region(number))
    return str(folder)


def write_coco(file: Path, change: Callable[[dict[str, Any]], object] = bool) -> str:
    content: dict[str, Any] = {
        "images": [
            {"id": 7 + n, "file_name": f"{n}.jpg", "width": 48, "height": 64}
            for n in range(len(PATHS))
        ],
        "annotations": [
            {
                "image_id": 7 + n,
                "category_id": n,
                "segmentation": [[4, 8 * n, 30, 8 * n, 30, 8 * n + 20, 4, 8 * n + 20]],
            }
            for n in range(len(PATHS))
        ],
    }
    change(content)
    file.write_text(json.dumps(content))
    return str(file)


def test_folder_and_coco_file_give_the_same(tmp_path: Path) -> None:
    found = [
        read_regions(write_masks(tmp_path / "masks"), PATHS, ImageSize.square(32)),
        read_regions(write_coco(tmp_path / "masks.json"), PATHS, ImageSize.square(32)),
    ]
    for one in found:
        assert list(one.regions) == PATHS
        for number, region in enumerate(one.regions.values()):
            assert region == shrink_region(draw_region(number), ImageSize.square(32))


def test_regions_at_a_uri(s3_server: str, s3_keys: None) -> None:
    from urllib.parse import quote

    import pyarrow.fs

    options = f"?endpoint_override={quote(s3_server, safe='')}&scheme=http"
    storage, folder = pyarrow.fs.FileSystem.from_uri(
        f"s3://regions/masks{options}&allow_bucket_creation=true"
    )
    storage.create_dir("regions")
    with storage.open_output_stream(f"{folder}/1.png") as file:
        file.write(encode(Image.fromarray(np.uint8(255) * draw_region(1))))
    found = read_regions(f"s3://regions/masks{options}", PATHS[1:2], ImageSize.square(32))
    assert found.regions[PATHS[1]] == shrink_region(draw_region(1), ImageSize.square(32))


def test_missing_regions_are_told_before_any_mask_is_decoded(tmp_path: Path) -> None:
    folder = Path(write_masks(tmp_path / "masks"))
    (folder / PATHS[1]).unlink()
    (folder / PATHS[0]).write_bytes(b"no picture")
    with pytest.raises(InputError) as error:
        read_regions(str(folder), PATHS, ImageSize.square(32))
    assert str(error.value) == (
        f"Expected a region for every image in {folder}, but 1 of 4 images have none: "
        "normal/1.png. Name each mask as its image, with its folder where file names repeat; or "
        "leave these images out of --data. Whether an image has a region might give its class away."
    )


def test_a_few_of_many_are_named(tmp_path: Path) -> None:
    paths = [*PATHS, *(f"worn/{number}.png" for number in range(10, 15))]
    with pytest.raises(InputError, match=r"5 of 9 .*: worn/10\.png, worn/11\.png, worn/12\.png, "
                       r"and 2 more\."):  # fmt: skip
        read_regions(write_masks(tmp_path / "masks"), paths, ImageSize.square(32))


def test_unusable_masks_are_told(tmp_path: Path) -> None:
    folder = Path(write_masks(tmp_path / "masks"))
    save(folder / PATHS[0], np.zeros((64, 48), bool))
    (folder / PATHS[2]).write_bytes(b"no picture")
    with pytest.raises(InputError) as error:
        read_regions(str(folder), PATHS, ImageSize.square(32))
    assert str(error.value) == (
        f"Expected every region in {folder} to hold some pixels, but 2 of 4 cannot be used: that "
        "of normal/0.png is empty; that of worn/2.png cannot be read (not a PNG file). Correct "
        "them, or leave these images out of --data; a larger --image-size helps those that are too "
        "small."
    )


def test_places_without_regions(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "one.png", draw_region(0))
    for name, words in (
        ("nowhere", "does not exist. Check its spelling."),
        ("empty", "holds no PNG file. Put a mask for each image into it."),
        ("one.png", "is neither. Check its spelling."),
    ):
        with pytest.raises(InputError, match=r"Expected --regions to be a folder of PNG") as error:
            read_regions(str(tmp_path / name), PATHS, ImageSize.square(32))
        assert str(error.value).endswith(words)
        assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda coco: coco.pop("images"), "Expected --regions to be a COCO file, but reading"),
        (lambda coco: coco["annotations"].pop(1), r"1 of 4 images have none: normal/1\.png\. Mark"),
        (lambda coco: coco["images"][2].update(file_name="x"), r"have none: worn/2\.png"),
        (lambda coco: coco["annotations"][0].update(segmentation=3), r"cannot be used: that of "
         r"normal/0\.png cannot be read \(a mark is neither"),
        (lambda coco: coco["annotations"][0].update(segmentation=[]), r"normal/0\.png is empty"),
        (lambda coco: coco["images"][0].update(width=10**9), r"cannot be read \(too large"),
    ],
)  # fmt: skip
def test_coco_files_that_lack_something(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_regions(write_coco(tmp_path / "coco.json", change), PATHS, ImageSize.square(32))


def test_region_of_another_size_than_its_image(tmp_path: Path) -> None:
    given = read_regions(write_masks(tmp_path / "masks"), PATHS, ImageSize.square(32))
    given.check_sizes(dict.fromkeys(PATHS, (48, 64)))
    given.check_sizes({PATHS[0]: (48, 64)})  # images that could not be read need none
    with pytest.raises(InputError) as error:
        given.check_sizes({**dict.fromkeys(PATHS, (48, 64)), PATHS[3]: (64, 48)})
    assert str(error.value) == (
        f"Expected the regions in {tmp_path / 'masks'} to have the sizes of their images, but 1 of "
        "4 do not: worn/3.png has 64 × 48 px and its region 48 × 64 px. Draw them on the images as "
        "they are in --data, without resizing or cropping."
    )


# A column of a manifest


def write_manifest(folder: Path, column: str, cells: list[str]) -> str:
    write_masks(folder / "masks")
    rows = zip(PATHS, cells, strict=True)
    lines = [f"{path},{path.partition('/')[0]},{cell}" for path, cell in rows]
    (folder / "m.csv").write_text("\n".join([f"path,label,{column}", *lines]) + "\n")
    return str(folder / "m.csv")


@pytest.mark.parametrize("parquet", [False, True])
def test_column_of_a_manifest_names_masks(tmp_path: Path, parquet: bool) -> None:
    uri = write_manifest(tmp_path, "Region", [f"masks/{path}" for path in PATHS])
    if parquet:
        import pandas as pd

        pd.read_csv(uri).to_parquet(tmp_path / "m.parquet")
        uri = str(tmp_path / "m.parquet")
    source = open_source(uri)
    assert dict(source.regions) == {path: f"masks/{path}" for path in PATHS}
    found = read_named_regions(uri, source.reader, source.regions, PATHS, ImageSize.square(32))
    assert found.regions[PATHS[2]] == shrink_region(draw_region(2), ImageSize.square(32))
    # What a run knows its source by does not depend on the column.
    plain = open_source(write_manifest(tmp_path, "note", [""] * 4))
    assert plain.fingerprint == source.fingerprint
    assert plain.regions == {}


def test_column_of_other_words_is_none_of_masks(tmp_path: Path) -> None:
    assert open_source(write_manifest(tmp_path, "region", ["left", "right", "", ""])).regions == {}


def test_column_with_gaps_or_wrong_paths(tmp_path: Path) -> None:
    cells = [f"masks/{PATHS[0]}", "", "nowhere.png", "../secret.png"]
    source = open_source(write_manifest(tmp_path, "region", cells))
    with pytest.raises(InputError, match=r"none: normal/1\.png\. Fill in the column region"):
        read_named_regions("m.csv", source.reader, source.regions, PATHS, ImageSize.square(32))
    named = [PATHS[0], *PATHS[2:]]
    (tmp_path.parent / "secret.png").write_bytes(encode(Image.fromarray(INSIDE)))
    with pytest.raises(InputError, match="2 of 3 cannot be used") as error:
        read_named_regions("m.csv", source.reader, source.regions, named, ImageSize.square(32))
    assert re.search(r"worn/2\.png cannot be read \(No such file", str(error.value))
    assert re.search(r"worn/3\.png cannot be read \(lies outside the source", str(error.value))
