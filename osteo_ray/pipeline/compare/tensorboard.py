"""Write the curves of trainings as TensorBoard reads them."""

import pandas as pd

from osteo_ray.base.digests import seal_folder
from osteo_ray.base.storage import write_whole
from osteo_ray.base.tables import read_table
from osteo_ray.experiment.trials import Experiment, Trial

FILE = "events.out.tfevents.osteo_ray"
"""The only file of a training; TensorBoard knows it by its second part."""

_TAGS = {
    "training_loss": "loss/training",
    "validation_loss": "loss/validation",
    "validation_auc": "validation/auc",
    "predicted_classes": "validation/predicted_classes",
    "learning_rate": "learning_rate",
}


def write_events(experiment: Experiment) -> None:
    """Write an event file per training, to MODEL/seed-N/ARM-KEY below `Run.tensorboard`.

    Trainings that have theirs are left alone. The curves of the run must be there.
    """
    table = read_table(experiment.run.curves).to_pandas()
    for (model, seed, arm), epochs in table.groupby(["model", "seed", "arm"]):
        trial = Trial(str(model), int(seed), str(arm))
        name = f"{trial.arm}-{experiment.key_of(trial)}"
        place = experiment.run.tensorboard / trial.model / f"seed-{trial.seed}" / name
        if not (place / FILE).is_file():
            with write_whole(place, last=FILE) as unfinished:
                _write_training(str(unfinished), epochs)
                (written,) = unfinished.iterdir()
                written.rename(unfinished / FILE)
                seal_folder(unfinished)


def _write_training(folder: str, epochs: pd.DataFrame) -> None:
    # Imported here: it imports PyTorch, which takes seconds, and few runs ask for it.
    from tensorboardX import SummaryWriter

    with SummaryWriter(folder) as writer:
        for row in epochs.to_dict("records"):
            for name, tag in _TAGS.items():
                if pd.notna(row[name]):
                    writer.add_scalar(tag, row[name], row["number"] + 1)
