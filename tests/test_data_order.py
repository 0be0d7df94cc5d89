"""The folders of `osteo_ray.data` use each other in one direction, as its docstring says."""

from test_imports import Import, list_imports

import osteo_ray.data

ABOVE = {
    "attribute_shortcuts": {"attributes", "shortcuts", "splits", "copies"},
    "attributes": {"sources", "laterality"},
    "shortcuts": {"splits", "copies", "decoding", "appearance"},
    "splits": {"copies"},
    "copies": {"decoding"},
    "sources": {"decoding", "laterality"},
    "fresh_masks": {"masks", "pixels"},
    "packed_masks": {"masks"},
    "regions": {"sources", "decoding", "masks", "laterality"},
    "laterality": set(),
    "masks": {"imputation"},
    "imputation": set(),
    "appearance": set(),
    "decoding": set(),
    "phantoms": set(),
}
"""What each part may use, beside those below all."""
BELOW_ALL = {"settings", "image_size", "pixels", "slices"}


def name_part(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[:2] == ["osteo_ray", "data"] and len(parts) > 2 else None


def list_crossings() -> list[Import]:
    ends = [(name_part(found.source), name_part(found.target), found) for found in list_imports()]
    return [found for one, other, found in ends if one and other and one != other]


def test_folders_use_only_what_lies_below_them() -> None:
    crossings = list_crossings()
    assert len(crossings) > 10, "the reader of imports sees nothing"
    wrong = [
        f"{found.source} → {found.target}"
        for found in crossings
        if name_part(found.target) not in ABOVE.get(str(name_part(found.source)), set()) | BELOW_ALL
    ]
    assert wrong == []


def test_docstring_states_the_order() -> None:
    told = osteo_ray.data.__doc__ or ""
    assert "splits → copies → decoding" in told
    assert "sources → decoding" in told
    assert all(f"`{name}`" in told for name in ABOVE.keys() | BELOW_ALL)


def test_every_folder_says_what_it_holds() -> None:
    modules = {found.source for found in list_imports() if name_part(found.source)}
    folders = {module.rpartition(".")[0] for module in modules} - {"osteo_ray.data"}
    assert len(folders) == 6
    for folder in folders:
        told = __import__(folder, fromlist=["_"]).__doc__ or ""
        names = {m.rpartition(".")[2] for m in modules if m.rpartition(".")[0] == folder}
        assert all(f"`{name}" in told for name in names), (folder, names)
