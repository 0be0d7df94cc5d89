"""Films of both knees: how they are recognised, cut, named, labelled, and kept in one group."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from corpus import make_dicom, write_image
from PIL import Image

from osteo_ray.base.errors import InputError
from osteo_ray.commands import predict as command
from osteo_ray.config.build import build_config
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.identity import digest_pixels
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.laterality import cut_film, find_gap, read_half
from osteo_ray.data.phantoms.knee import Bytes, render_knee
from osteo_ray.data.regions.given import read_named_regions, read_regions
from osteo_ray.data.regions.names import match_films
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import FileReader
from osteo_ray.pipeline.compare.given_regions import check_given, read_given
from osteo_ray.pipeline.ingest.auditing import audit_images
from osteo_ray.pipeline.ingest.films import View, read_views
from osteo_ray.pipeline.ingest.findings import describe_audit
from osteo_ray.pipeline.ingest.reading import ingest_images
from osteo_ray.pipeline.predict.new_images import read_new_images

N = 12
SPLIT = SourceOptions(laterality="split")


def draw_knee(number: int, size: int = 160, nuisance: float = 0.0) -> Bytes:
    rng = np.random.default_rng(number)
    sick = number % 2 == 0
    return render_knee(rng, osteoporotic=sick, size_px=size, nuisance=nuisance).image


def glue_film(number: int, size: int = 160) -> Bytes:
    """Return two knees of one leg length each, side by side, as a film of both shows them."""
    return np.hstack([draw_knee(number, size), draw_knee(number + 1000, size)[:, ::-1]])


def add_gradient(image: np.ndarray) -> np.ndarray:
    ramp = np.linspace(0.6, 1.0, image.shape[1])
    return (image * ramp).astype(np.uint8)


def add_letterbox(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((image.shape[0] // 10,) * 2, (0, 0)))


def add_noise(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def shift(image: np.ndarray) -> np.ndarray:
    """Cut the film unevenly, so that its gap lies beside the middle."""
    return image[:, : int(0.9 * image.shape[1])]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda image: image,
    "inverted": lambda image: 255 - image,
    "darker": lambda image: image // 3,
    "a gradient": add_gradient,
    "a letterbox": add_letterbox,
    "noise": add_noise,
    "off centre": shift,
    "narrowed": lambda image: cv2.resize(image, (200, 160)),
    "small": lambda image: cv2.resize(image, (64, 32), interpolation=cv2.INTER_AREA),
}


# Recognising


@pytest.mark.parametrize("change", CHANGES)
def test_films_of_both_knees_are_found_and_single_knees_are_not(change: str) -> None:
    found = [find_gap(CHANGES[change](glue_film(number))) for number in range(N)]
    single = [find_gap(CHANGES[change](draw_knee(number))) for number in range(N)]
    told = [gap for gap in found if gap is not None]
    assert len(told) >= N - 1  # in one of them the skin of both touches
    middle = 0.5 / 0.9 if change == "off centre" else 0.5
    assert np.abs(np.array(told) - middle).max() < 0.04
    assert single == [None] * N


def test_markers_stripes_and_frames_are_no_second_knee() -> None:
    for number in range(2 * N):
        image = draw_knee(number, nuisance=0.8)
        image[:, -12:] = 255
        image[20:50, 5:17] = 255
        assert find_gap(image) is None
        assert find_gap(255 - image) is None


def test_wide_single_knees_are_no_films() -> None:
    for number in range(N):
        assert find_gap(np.pad(draw_knee(number), ((0, 0), (100, 100)), mode="edge")) is None


@pytest.mark.parametrize("value", [0, 90, 255])
def test_blank_images_are_no_films(value: int) -> None:
    assert find_gap(np.full((100, 200), value, np.uint8)) is None


def test_a_square_image_needs_a_more_marked_gap() -> None:
    squares = [cv2.resize(glue_film(number), (160, 160)) for number in range(N)]
    assert sum(find_gap(square) is not None for square in squares) >= N // 2
    faint = glue_film(3)
    faint[:, 140:180] = np.maximum(faint[:, 140:180], np.uint8(1.1 * np.median(faint)))
    square = cv2.resize(faint, (160, 160))
    assert find_gap(square) is None
    assert find_gap(square, ratio=2.0) is not None


def test_halves_add_up_and_each_has_a_column() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 6)
    for gap, widths in ((0.5, (3, 3)), (0.4, (2, 4)), (0.0, (1, 5)), (1.0, (5, 1))):
        halves = cut_film(image, gap)
        assert tuple(half.shape[1] for half in halves.values()) == widths
        np.testing.assert_array_equal(np.hstack([halves["left"], halves["right"]]), image)


# Reading one row


@dataclass(frozen=True)
class OneReader:
    """Gives one content, whatever is asked for, and notes what was."""

    content: bytes | np.ndarray
    asked: list[str] = field(default_factory=list)

    def read(self, path: str, position: int) -> bytes | np.ndarray:
        self.asked.append(path)
        return self.content


def look(
    content: Any, path: str = "a.png", side: str = "", laterality: Any = "split"
) -> list[View]:
    return read_views(OneReader(content), path, -1, side, laterality)


def tell(views: list[View]) -> list[tuple[str, str | None, int]]:
    return [(view.path, view.decoded.side, view.decoded.pixels.shape[1]) for view in views]


def test_a_film_gives_two_images_of_one_person() -> None:
    film = glue_film(1)
    left, right = look(film)
    assert (left.path, right.path) == ("a.png#left", "a.png#right")
    assert (left.decoded.side, right.decoded.side) == ("R", "L")  # the patient faces the viewer
    assert left.film == right.film == "a.png"
    assert left.person == right.person != ""
    whole = np.hstack([left.decoded.pixels, right.decoded.pixels])
    np.testing.assert_array_equal(whole, film)
    assert {find_gap(view.square) for view in (left, right)} == {None}
    assert look(glue_film(2))[0].person != left.person


def test_a_new_film_is_cut_where_the_run_did(tmp_path: Path) -> None:
    film = tmp_path / "a.png"
    film.write_bytes(write_image(Image.fromarray(glue_film(1)), "PNG"))
    size = ImageSize.square(32)
    (whole,) = read_new_images(film, size, 8, "whole")
    assert whole.path == str(film)
    halves = read_new_images(film, size, 8, "split")
    views = look(glue_film(1))
    assert [read_half(one.path) for one in halves] == [(str(film), "left"), (str(film), "right")]
    assert [one.digest for one in halves] == [digest_pixels(view.decoded.pixels) for view in views]
    assert len({one.image_id for one in (whole, *halves)}) == 3
    for half, view in zip(halves, views, strict=True):
        np.testing.assert_array_equal(half.pixels, resize_image(view.decoded.pixels, size))
    (refused,) = read_new_images(tmp_path / "gone.png", size, 8, "split")
    assert "No such file" in refused.error
    written: list[Any] = []
    for number, one in enumerate(halves):
        command.write_mask(tmp_path, written, number, one.path, np.zeros((4, 4)))
    assert [file.name for file in written] == ["00001-a-left.png", "00002-a-right.png"]


def test_whole_films_are_only_marked() -> None:
    (view,) = look(glue_film(1), laterality="whole")
    assert (view.path, view.film, view.person) == ("a.png", "a.png", "")
    assert view.decoded.side is None
    (view,) = look(draw_knee(1))
    assert (view.path, view.film, view.person) == ("a.png", "", "")


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        *((text, "a.png#left") for text in ("R", "Right", "right knee", "RK", "1: Right", "(R)")),
        *((text, "a.png#right") for text in ("left", "left-knee", "Left_Knee", "L.", "lk", "LT")),
    ],
)
def test_a_row_with_a_side_is_that_half(side: str, expected: str) -> None:
    (view,) = look(glue_film(1), side=side)
    assert view.path == expected


def test_a_side_that_is_none_names_no_half() -> None:
    assert len(look(glue_film(1), side="both")) == 2


@pytest.mark.parametrize(
    ("orientation", "sides"),
    [(["L", "F"], ["R", "L"]), (["R", "F"], ["L", "R"]), (None, ["R", "L"]), ([""], ["R", "L"])],
)
def test_dicom_says_which_knee_is_on_which_side(orientation: Any, sides: list[str]) -> None:
    elements = {} if orientation is None else {"PatientOrientation": orientation}
    views = look(make_dicom(glue_film(1), **elements))
    assert [view.decoded.side for view in views] == sides
    assert {view.decoded.patient_id for view in views} == {"P-17"}


def test_header_of_one_side_makes_no_film() -> None:
    content = make_dicom(glue_film(1), ImageLaterality="L")
    assert tell(look(content)) == [("a.png", "L", 320)]


def test_half_of_what_is_no_film_is_refused() -> None:
    reader = OneReader(draw_knee(1))
    with pytest.raises(UnreadableImageError, match="a row for each side, but shows no gap"):
        read_views(reader, "a.png#left", -1, "R", "split")
    assert reader.asked == ["a.png"]


def test_a_file_that_is_called_like_a_half_is_read_as_it_is() -> None:
    reader = OneReader(draw_knee(1))
    (view,) = read_views(reader, "a.png#left", -1, "", "whole")
    assert reader.asked == [view.path] == ["a.png#left"]


# Listing


def write_manifest(folder: Path, rows: str) -> Path:
    (folder / "m.csv").write_text("path,label,side\n" + rows)
    return folder / "m.csv"


def test_a_row_for_each_side_is_a_half_with_a_label_of_its_own(tmp_path: Path) -> None:
    rows = "1.png,worn,R\n1.png,normal,left\n2.png,normal,L\n"
    source = open_source(str(write_manifest(tmp_path, rows)), SPLIT)
    found = source.items[["path", "label", "side"]].to_numpy().tolist()
    assert found == [
        ["1.png#left", "worn", "R"],
        ["1.png#right", "normal", "left"],
        ["2.png", "normal", "L"],
    ]
    assert source.refused.empty
    whole = open_source(str(write_manifest(tmp_path, rows + "3.png,worn,\n")))
    assert set(whole.refused["reason"]) == {"listed with several labels: normal, worn"}


def test_one_side_listed_twice_is_still_refused(tmp_path: Path) -> None:
    rows = "1.png,worn,R\n1.png,worn,R\n2.png,normal,L\n3.png,worn,R\n3.png,normal,L\n"
    source = open_source(str(write_manifest(tmp_path, rows)), SPLIT)
    assert source.refused.to_numpy().tolist() == [["1.png", "listed twice"]]
    assert any("Both halves have the label of their film" in note for note in source.notes)


@pytest.mark.parametrize(
    ("right", "left"),
    [("R.", "L."), ("right-knee", "left_knee"), ("RK", "LK"), ("1: Right", "2: Left")],
)
def test_sides_in_any_form_name_halves(tmp_path: Path, right: str, left: str) -> None:
    rows = f"1.png,worn,{right}\n1.png,normal,{left}\n"
    source = open_source(str(write_manifest(tmp_path, rows)), SPLIT)
    found = source.items[["path", "label"]].to_numpy().tolist()
    assert found == [["1.png#left", "worn"], ["1.png#right", "normal"]]
    assert source.refused.empty


@pytest.mark.parametrize("side", ["2", "links", "AP", "U"])
@pytest.mark.parametrize("kind", ["manifest", "images inside"])
def test_sides_that_are_not_understood_are_refused(tmp_path: Path, side: str, kind: str) -> None:
    path = write_manifest(tmp_path, f"1.png,worn,R\n2.png,normal,{side}\n")
    if kind != "manifest":
        table = pd.read_csv(path, dtype=str).assign(image=[{"bytes": b"x"}] * 2)
        path = tmp_path / "m.parquet"
        table.drop(columns="path").to_parquet(path)
    with pytest.raises(InputError, match=f"column side of .* found `{side}`.*--columns side="):
        open_source(str(path), SPLIT)
    assert len(open_source(str(path)).items) == 2  # whole films have no use for it


@pytest.mark.parametrize("side", ["both", "B", "Bilateral", "L/R", "left & right", "n/a", "-", ""])
def test_sides_that_name_no_half_leave_both(tmp_path: Path, side: str) -> None:
    path = write_manifest(tmp_path, f"1.png,worn,{side}\n2.png,normal,L\n")
    source = open_source(str(path), SPLIT)
    assert source.items["side"].tolist() == ["", "L"]  # the halves have sides of their own


# Regions


def make_regions(folder: Path) -> tuple[np.ndarray, dict[str, tuple[int, int]]]:
    inside = np.zeros((40, 100), bool)
    inside[5:20, 10:30] = inside[10:30, 60:90] = True
    folder.mkdir()
    (folder / "1.png").write_bytes(write_image(Image.fromarray(np.uint8(inside) * 255), "PNG"))
    return inside, {"a/1.png#left": (45, 40), "a/1.png#right": (55, 40)}


def test_regions_are_cut_where_their_films_were(tmp_path: Path) -> None:
    inside, sizes = make_regions(tmp_path / "masks")
    given = read_regions(str(tmp_path / "masks"), ["a/1.png"], ImageSize.square(64))
    halves = given.cut_halves(sizes)
    halves.check_sizes(sizes)
    for path, part in (("a/1.png#left", inside[:, :45]), ("a/1.png#right", inside[:, 45:])):
        image = Image.fromarray(np.uint8(part) * 255).resize((64, 64), Image.Resampling.BILINEAR)
        packed = np.packbits(np.asarray(image) >= 128).tobytes()
        assert halves.regions[path].packed == packed
    alone = given.cut_halves({"a/1.png#right": (55, 40)})  # the other half may have been refused
    assert alone.regions["a/1.png#right"] == halves.regions["a/1.png#right"]


def test_regions_of_halves_may_be_drawn_for_them(tmp_path: Path) -> None:
    mask = np.full((40, 45), 255, np.uint8)
    (tmp_path / "l.png").write_bytes(write_image(Image.fromarray(mask), "PNG"))
    named = {"1.png#left": "l.png"}
    given = read_named_regions(
        "m.csv", FileReader(str(tmp_path)), named, ["1.png#left"], ImageSize.square(64)
    )
    assert given.cut_halves({"1.png#left": (45, 40)}).regions["1.png#left"].width == 45


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"a/1.png#left": (45, 40), "a/1.png#right": (56, 40)}, "100 × 40 px, unlike its film"),
        ({"a/1.png#left": (45, 41), "a/1.png#right": (55, 41)}, "100 × 40 px, unlike its film"),
        ({"a/1.png#left": (10, 40), "a/1.png#right": (90, 40)}, "that of a/1.png#left is empty"),
    ],
)
def test_regions_that_do_not_fit_halves_are_refused(
    tmp_path: Path, sizes: dict[str, tuple[int, int]], expected: str
) -> None:
    make_regions(tmp_path / "masks")
    given = read_regions(str(tmp_path / "masks"), ["a/1.png"], ImageSize.square(64))
    with pytest.raises(InputError, match=expected):
        given.cut_halves(sizes)


@pytest.mark.parametrize("halves", [("left", "right"), ("right",)])
def test_mask_of_a_half_says_by_its_name_which_half(tmp_path: Path, halves: tuple[str]) -> None:
    sizes = {f"1.png#{half}": (50, 40) for half in halves}
    write_mask(tmp_path / "1.png", (50, 40))
    given = read_regions(str(tmp_path), ["1.png"], ImageSize.square(64), cut=True)
    with pytest.raises(InputError, match="50 × 40 px, unlike its film"):
        given.cut_halves(sizes)
    (tmp_path / "1.png").rename(tmp_path / "1#right.png")
    write_mask(tmp_path / "1#left.png", (50, 40))
    given = read_regions(str(tmp_path), ["1.png"], ImageSize.square(64), cut=True)
    given.cut_halves(sizes).check_sizes(sizes)


def write_mask(path: Path, size: tuple[int, int]) -> None:
    mask = np.zeros(size[::-1], np.uint8)
    mask[10:60, 10:-10] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_image(Image.fromarray(mask), "PNG"))


@pytest.mark.parametrize("form", ["normal/{}.png#{}.png", "{}#{}.png", "NORMAL/{}#{}.png"])
def test_masks_that_are_named_like_halves_do_for_their_film(
    films: Path, tmp_path: Path, form: str
) -> None:
    source, masks = open_source(str(films), SPLIT), tmp_path / "masks"
    settings = {"data": str(films), "regions": str(masks), "laterality": "split"}
    config = build_config({**settings, "image_size": 64})
    for path in source.items["path"]:
        if path != "normal/film a.png":
            write_mask(masks / path, (320 if "film" in path else 160, 160))
    write_mask(masks / form.format("film a", "left"), (150, 160))
    with pytest.raises(InputError, match=r"1 of 8 images have none: normal/film a\.png"):
        check_given(config, source)
    write_mask(masks / form.format("film a", "right"), (170, 160))
    check_given(config, source)
    given = read_given(config, source)
    assert given is not None
    sizes = {
        **{"normal/film a.png#left": (150, 160), "normal/film a.png#right": (170, 160)},
        **{"normal/film c.png#left": (155, 160), "normal/film c.png#right": (165, 160)},
        "normal/knee a.png": (160, 160),
    }
    cut = given.cut_halves(sizes)
    cut.check_sizes(sizes)
    whole = {"normal/film a.png": (320, 160)}  # its pixels showed no gap
    with pytest.raises(InputError, match=r"1 of 1 images have none: normal/film a\.png\. Draw one"):
        given.cut_halves(whole)


def test_one_half_that_is_used_needs_one_mask() -> None:
    found = match_films(["a/1.png#left", "a/2.png"], ["1.png#left", "2#left", "2#right"])
    assert found == {
        "a/1.png": {"a/1.png#left": "1.png#left"},
        "a/2.png": {"a/2.png#left": "2#left", "a/2.png#right": "2#right"},
    }
    assert match_films(["1.png"], ["1.png", "1#left", "1#right"]) == {"1.png": {"1.png": "1.png"}}
    assert match_films(["1.png"], ["1#left.png", "2#right.png"]) == {"1.png": {}}


# A whole source


@pytest.fixture
def films(tmp_path: Path) -> Path:
    root = tmp_path / "knees"
    for label in ("normal", "worn"):
        (root / label).mkdir(parents=True)
    for number in range(4):
        for kind, image in (("film", glue_film(number)), ("knee", draw_knee(50 + number))):
            path = root / ("normal", "worn")[number % 2] / f"{kind} {'abcd'[number]}.png"
            path.write_bytes(write_image(Image.fromarray(image), "PNG"))
    return root


def read(films: Path, scratch: Path, options: SourceOptions) -> tuple[Source, dict[str, Any], Any]:
    source = open_source(str(films), options)
    ingest = ingest_images(
        source, scratch, pixels=scratch / "pixels", image_size=ImageSize.square(32)
    )
    audit = audit_images(ingest, "drop")
    return source, describe_audit(audit), audit.images.set_index("path")


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_source_of_films(films: Path, tmp_path: Path) -> None:
    _, found, images = read(films, tmp_path / "whole", SourceOptions())
    assert found["films_of_both_knees"] == sorted(p for p in images.index if "film" in p)
    assert found["films_cut"] == found["n_patients"] == 0
    (said,) = (one for one in found["findings"] if "both knees" in one)
    assert "4 images look like a film of both knees" in said
    assert "4 of 4 are wider than high; `--laterality split` cuts" in said

    _, found, images = read(films, tmp_path / "split", SPLIT)
    assert found["films_of_both_knees"] == []
    assert (found["films_cut"], found["n_images"], found["n_patients"]) == (4, 12, 4)
    (said,) = (one for one in found["findings"] if "both knees" in one)
    assert "4 films of both knees were cut, and both halves have the label of their film" in said
    for path, row in images.iterrows():
        film, half = read_half(str(path))
        assert row["label"] == film.partition("/")[0]
        assert row["side"] == {None: "", "left": "R", "right": "L"}[half]
        if half:
            other = images.loc[f"{film}#{'right' if half == 'left' else 'left'}"]
            assert (row["patient"], row["group"]) == (other["patient"], other["group"])
            assert row["width"] + other["width"] == 320
    assert images["group"].nunique() == 8
    assert images["image_id"].nunique() == 12


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_films_with_a_row_for_each_side(films: Path, tmp_path: Path) -> None:
    rows = "".join(
        f"knees/{'normal' if n % 2 == 0 else 'worn'}/film {'abcd'[n]}.png,{label},{side}\n"
        for n in range(4)
        for label, side in (("worn", "R"), ("normal", "L"))
    )
    manifest = write_manifest(tmp_path, rows)
    _, found, images = read(manifest, tmp_path / "scratch", SPLIT)
    assert found["findings"] == []
    assert (found["films_cut"], found["n_images"], found["n_rejects"]) == (4, 8, 0)
    assert images["label"].tolist() == ["worn", "normal"] * 4
    assert images["side"].tolist() == ["R", "L"] * 4
    assert images["group"].nunique() == 4


def test_laterality_is_part_of_what_a_run_is() -> None:
    split = build_config({"laterality": "split"})
    assert split.source_options.laterality == "split"
    assert split.identity()["laterality"] == "split"
    assert "laterality" not in build_config({}).identity()
    assert decode(make_dicom(draw_knee(0), PatientOrientation="L")).left_edge is None
    assert json.dumps(split.model_dump(mode="json"))
