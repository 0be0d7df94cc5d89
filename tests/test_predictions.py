"""The table of predictions as numbers: order, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.statistics.predictions import Group, Key, choose_classes, encode_predictions

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
    assert [coded.image_ids[number] for number in group.images] == ["x", "z"]


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


def test_rows_of_one_training_need_not_lie_together() -> None:
    rng = np.random.default_rng(0)
    numbers = np.repeat(np.arange(30), 20)
    worn = rng.uniform(size=600)
    table = pa.table(
        {
            "model": np.array(["a", "b"])[numbers % 2],
            "seed": numbers // 2,
            "arm": ["lime"] * 600,
            "split": ["test"] * 600,
            "image_id": [f"i{number % 20:02d}" for number in range(600)],
            "label": np.array(CLASSES)[np.arange(600) % 2],
            "p_normal": 1 - worn,
            "p_worn": worn,
        }
    )
    coded = encode_predictions(table.take(rng.permutation(600)), CLASSES, "worn")
    assert list(coded.groups) == sorted(coded.groups)
    assert len(coded.groups) == 30
    for key, group in coded.groups.items():
        start = 20 * (2 * key.seed + (key.model == "b"))
        assert [coded.image_ids[image] for image in group.images] == sorted(coded.image_ids)
        assert group.labels.tolist() == [0, 1] * 10
        np.testing.assert_array_equal(group.probabilities[:, 1], worn[start : start + 20])


def test_some_groups_can_be_left_out() -> None:
    coded = encode_predictions(_table(), CLASSES, "worn")
    some = coded.select(lambda key: key.arm == "lime")
    assert [key.arm for key in some.groups] == ["lime", "lime"]
    assert some.image_ids == coded.image_ids
    assert all(some.groups[key] is coded.groups[key] for key in some.groups)


def test_groups_share_images_only_with_the_same_labels() -> None:
    images, labels, fair = np.arange(3), np.array([0, 1, 0]), np.full((3, 2), 0.5)
    one = Group(images, labels, fair)
    assert one.shares_images(Group(images.copy(), labels.copy(), 1 - fair))
    assert not one.shares_images(Group(images + 1, labels, fair))
    assert not one.shares_images(Group(images, 1 - labels, fair))
    assert not one.shares_images(Group(images[:2], labels[:2], fair[:2]))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("on_tie", [0, 1])
def test_the_most_probable_class_is_chosen(n_classes: int, on_tie: int) -> None:
    shares = np.random.default_rng(0).integers(0, 3, (200, n_classes)) / 2
    found = choose_classes(shares, on_tie)
    assert found.dtype == np.int64
    best = [[k for k in range(n_classes) if row[k] == max(row)] for row in shares.tolist()]
    assert found.tolist() == [on_tie if on_tie in some else some[0] for some in best]


def test_the_names_of_classes_do_not_decide_on_ties() -> None:
    coin = {"p_{0}": [0.5, 0.5, 0.9, 0.2], "p_{1}": [0.5, 0.5, 0.1, 0.8]}
    for classes in (("fracture", "normal"), ("normal", "worn")):
        positive = next(name for name in classes if name != "normal")
        negative_first = ("normal", positive)
        columns = {name.format(*negative_first): values for name, values in coin.items()}
        keys = {"model": "m", "seed": 0, "arm": "original", "split": "test"}
        table = pa.table(
            {name: [value] * 4 for name, value in keys.items()}
            | {"image_id": list("abcd"), "label": ["normal", positive] * 2, **columns}
        )
        (group,) = encode_predictions(table, classes, positive).groups.values()
        called = [classes[index] for index in group.predicted]
        assert called == [positive, positive, "normal", positive]


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
    ],
)
def test_refuses_bad_tables(table: pa.Table, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_predictions(table, CLASSES, "worn")


def test_refuses_an_image_twice() -> None:
    twice = r"second one for .*'seed': 10.*'image_id': 'z'.*Do not mix the tables of two runs"
    with pytest.raises(InputError, match=twice):
        encode_predictions(_change("image_id", ["x", "z", "z", "y"]), CLASSES, "worn")


def test_refuses_classes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="two or more distinct classes"):
        encode_predictions(_table(), ["worn"], "worn")
    with pytest.raises(ValueError, match="but got `torn`"):
        encode_predictions(_table(), CLASSES, "torn")
