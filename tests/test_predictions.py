"""The table of predictions as numbers: order, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest

from osteo_ray.compare.predictions import Key, encode_predictions

CLASSES = ["normal", "worn"]


def _table() -> pa.Table:
    return pa.table(
        {
            "model": ["b", "a", "a", "a"],
            "seed": [0, 10, 10, 2],
            "arm": ["lime", "lime", "lime", "original"],
            "split": ["test"] * 4,
            "image_id": ["x", "z", "x", "y"],
            "label": ["worn", "normal", "worn", "worn"],
            "p_normal": [0.1, 0.2, 0.3, 0.4],
            "p_worn": [0.9, 0.8, 0.7, 0.6],
        }
    )


def _change(name: str, values: list[object]) -> pa.Table:
    table = _table()
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_groups_are_sorted_by_key_and_image() -> None:
    coded = encode_predictions(_table(), CLASSES, "worn")
    assert coded.classes == ("normal", "worn")
    assert coded.positive == 1
    assert list(coded.groups) == [
        Key("a", 2, "original", "test"),
        Key("a", 10, "lime", "test"),
        Key("b", 0, "lime", "test"),
    ]
    group = coded.groups[Key("a", 10, "lime", "test")]
    assert group.labels.tolist() == [1, 0]
    assert group.probabilities.tolist() == [[0.3, 0.7], [0.2, 0.8]]
    assert group.predicted.tolist() == [1, 1]
    (other,) = coded.groups[Key("b", 0, "lime", "test")].images
    assert group.images[0] == other  # both are image x


def test_chunks_with_dictionaries_of_their_own_agree() -> None:
    chunks = [_table().slice(start, 1) for start in (3, 0, 2, 1)]
    for name in ("model", "image_id", "label"):
        chunks = [
            part.set_column(part.column_names.index(name), name, part[name].dictionary_encode())
            for part in chunks
        ]
    found = encode_predictions(pa.concat_tables(chunks), CLASSES, "worn")
    expected = encode_predictions(_table(), CLASSES, "worn")
    assert list(found.groups) == list(expected.groups)
    for key, group in expected.groups.items():
        for name in ("images", "labels", "probabilities"):
            np.testing.assert_array_equal(getattr(found.groups[key], name), getattr(group, name))


def test_no_rows_give_no_groups() -> None:
    assert encode_predictions(_table().slice(0, 0), CLASSES, "worn").groups == {}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (_table().drop_columns("p_worn"), r"\['p_worn'\] are missing"),
        (_change("p_worn", [0.1, float("nan"), 0.2, 0.3]), r"\['p_worn'\] have gaps"),
        (_change("label", ["worn", None, "worn", "worn"]), r"\['label'\] have gaps"),
        (_change("label", ["worn", "torn", "worn", "worn"]), r"but got \['torn'\]"),
        (_change("p_worn", [0.1, 1.5, 0.2, 0.3]), r"\[0.2, 1.5\] in row 1"),
        (
            _change("image_id", ["x", "z", "z", "y"]),
            r"second one for .*'seed': 10.*'image_id': 'z'",
        ),
    ],
)
def test_refuses_bad_tables(table: pa.Table, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_predictions(table, CLASSES, "worn")


def test_refuses_classes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="two or more distinct classes"):
        encode_predictions(_table(), ["worn"], "worn")
    with pytest.raises(ValueError, match="but got `torn`"):
        encode_predictions(_table(), CLASSES, "torn")
