"""The card of an exported data set: README.md, which `datasets` obeys, and how to load the set."""

from typing import Any

import numpy as np
import yaml

from osteo_ray.pipeline.export.forms import CONTENT, Content, Form

_HOW = {
    "folder": """\
```python
import datasets, torchvision
from monai.data import load_decathlon_datalist

datasets.load_dataset("FOLDER", split="train")  # one of SPLITS
torchvision.datasets.ImageFolder("FOLDER/train")
load_decathlon_datalist(
    "FOLDER/dataset.json", is_segmentation=False, data_list_key="training"
)
```

FOLDER is this folder. `manifest.csv` lists all images, with patients, masks and sources. Characters
of class names that folders may not have are written as `%` and their code, so readers of folders
may number classes in another order than `dataset.json`, whose `labels` names them.
""",
    "npz": """\
```python
import numpy as np

with np.load("data.npz") as arrays:
    images, labels = arrays["train_images"], arrays["train_labels"]  # (n, h, w) DTYPE, (n, 1)
```

The arrays are named as those of MedMNIST, so code for it reads them. Label k means `classes[k]`.
""",
    "parquet": """\
```python
import datasets

datasets.load_dataset("FOLDER", split="train")  # one of SPLITS
```

FOLDER is this folder. `label` is a ClassLabel; `image` and `mask` are images.
""",
}


_DEEP = """
The PNG files have 16 bits. Read them as numbers of 0 to 65,535, as
`numpy.array(PIL.Image.open(file))` does: what converts images to RGB of 8 bits, such as
`ImageFolder` by default, shows nearly all of them white.
"""


def write_card(content: Content, form: Form) -> str:
    """Return the text of README.md.

    Its head says which files are which part of the split, so that no reader has to guess this from
    their names, as a class may be called like a part.
    """
    splits = content.list_splits()
    pattern = {"folder": "{}/*/*.png", "parquet": CONTENT["parquet"].replace("train", "{}")}
    head = ""
    if form in pattern:
        files = [{"split": split, "path": pattern[form].format(split)} for split in splits]
        choices: dict[str, Any] = {"config_name": "default", "data_files": files}
        if form == "folder":
            choices["drop_labels"] = False
        card = {"task_categories": ["image-classification"], "configs": [choices]}
        head = f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n\n"
    how = _HOW[form].replace("SPLITS", ", ".join(splits)).replace("DTYPE", content.dtype.name)
    if form != "npz" and content.dtype == np.uint16:
        how += _DEEP
    classes = "".join(f"{number}. `{name}`\n" for number, name in enumerate(content.classes))
    return (
        f"{head}# Images as an arm of osteo_ray showed them\n\nWhat they are, and what they may "
        "leak, is said in [DATASHEET.md](DATASHEET.md); what determined them in "
        f"`provenance.json`.\n\n{how}\nClasses, by number:\n\n{classes}"
    )
