"""Open the experiment of a finished run again, to use what it trained."""

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.dataset import Dataset, read_dataset
from osteo_ray.experiment.trials import Experiment, describe_experiment


def describe_stored(run: Run, config: CompareConfig) -> tuple[Dataset, Experiment]:
    """Describe the images and the trials of a run.

    Raises:
        InputError: A file of first weights cannot be read, or a table holds a hostile name.
    """
    dataset = read_dataset(run, config)
    try:
        return dataset, describe_experiment(run, config, dataset)
    except OSError as error:
        raise InputError(
            f"Expected the first weights that {run.config} names, because they tell which "
            f"trainings and masks belong to the run, but {error.filename}: {error.strerror}. Put "
            "the file back."
        ) from None
