"""How a step changes the weights: optimizer, learning rates, clipping, moving average."""

import math
from typing import Any, cast

import torch
from timm.optim._param_groups import param_groups_layer_decay, param_groups_weight_decay
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from osteo_ray.models.classifier import Classifier
from osteo_ray.models.layers import number_layers
from osteo_ray.models.settings import OptimizerSettings, ScheduleSettings, TrainingSettings


class Optimization:
    """Takes the steps of a training.

    Attributes:
        n_steps: Steps that have been taken.
        learning_rate: The highest learning rate of the last step, that of the head.

    Args:
        classifier: Changed in place; on the device that computes.
        settings: How it learns.
        steps_per_epoch: Steps of each epoch.
    """

    def __init__(
        self, classifier: Classifier, settings: TrainingSettings, steps_per_epoch: int
    ) -> None:
        self.classifier = classifier
        self.clip_norm = settings.optimizer.clip_norm
        self.n_steps, self.learning_rate = 0, 0.0
        self._optimizer = _make_optimizer(classifier, settings)
        total = steps_per_epoch * settings.epochs
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: find_factor(step, total, settings.schedule)
        )
        decay = settings.optimizer.ema_decay
        # With a warm-up, as else the average would hardly leave the first weights in a short
        # training.
        self._average = None if decay is None else _Average(classifier, decay, use_warmup=True)

    @property
    def shown(self) -> Classifier:
        """Return what is validated and kept: the classifier, or the average of its weights."""
        average = self._average
        return self.classifier if average is None else cast(Classifier, average.module)

    def take_step(self, loss: torch.Tensor) -> None:
        """Derive a loss and change the weights.

        Args:
            loss: A scalar; with several workers, each passes its own, and PyTorch averages the
                gradients.
        """
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.clip_norm)
        self.learning_rate = max(float(group["lr"]) for group in self._optimizer.param_groups)
        self._optimizer.step()
        self._schedule.step()
        self.n_steps += 1
        if self._average is not None:
            self._average.update(self.classifier, step=self.n_steps)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps depend on, apart from the classifier."""
        average = self._average
        return {
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "n_steps": self.n_steps,
            "average": None if average is None else average.module.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.n_steps = state["n_steps"]
        if self._average is not None:
            self._average.module.load_state_dict(state["average"])


class _Average(ModelEmaV3):
    """timm's moving average, which would move a tensor twice where a network names it twice."""

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        """Move each parameter and buffer once; numbers of batches are copied."""
        kept, learned = ([*one.parameters(), *one.buffers()] for one in (self.module, model))
        moved = [place for place, one in enumerate(kept) if one.is_floating_point()]
        self._foreach_lerp_(
            [kept[place] for place in moved], [learned[place] for place in moved], 1 - decay
        )
        for place in set(range(len(kept))).difference(moved):
            kept[place].copy_(learned[place])


def find_factor(step: int, n_steps: int, settings: ScheduleSettings) -> float:
    """Return the share of the highest learning rate that a step has.

    A warm-up is linear and reaches 1 with its last step. A cosine then falls from 1 and would
    reach 0 with the step after the last.

    Args:
        step: From 0.
        n_steps: Steps of the whole training.
        settings: Course and warm-up.

    Example:
        >>> course = ScheduleSettings(name="cosine", warmup=0.5)
        >>> [round(find_factor(step, 8, course), 2) for step in range(8)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = round(settings.warmup * n_steps)
    if step < rising:
        return (step + 1) / rising
    if settings.name == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, n_steps - rising)))


def _make_optimizer(
    classifier: Classifier, settings: TrainingSettings
) -> torch.optim.Adam | torch.optim.AdamW:
    chosen = settings.optimizer
    kind = torch.optim.AdamW if chosen.name == "adamw" else torch.optim.Adam
    on_gpu = next(classifier.parameters()).device.type == "cuda"
    return kind(
        _group_parameters(classifier, chosen, settings.learning_rate),
        lr=settings.learning_rate,
        eps=chosen.epsilon,
        weight_decay=chosen.weight_decay,
        fused=on_gpu,
    )


def _group_parameters(
    classifier: Classifier, settings: OptimizerSettings, learning_rate: float
) -> list[dict[str, Any]]:
    """Divide the parameters by their learning rate and weight decay."""
    if settings.layer_decay == 1:
        return list(param_groups_weight_decay(classifier, settings.weight_decay))
    groups = list(param_groups_weight_decay(classifier.head, settings.weight_decay))
    if hasattr(classifier.backbone, "group_matcher"):
        backbone = param_groups_layer_decay(
            classifier.backbone,
            weight_decay=settings.weight_decay,
            layer_decay=settings.layer_decay,
        )
    else:
        backbone = _group_by_layer(classifier.backbone, settings)
    # The last layer of the backbone has the scale 1, but the head, if there is one, comes after it.
    last = settings.layer_decay if groups else 1.0
    for group in backbone:
        group["lr"] = learning_rate * group.pop("lr_scale") * last
    return [*groups, *backbone]


def _group_by_layer(network: nn.Module, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Do as timm's `param_groups_layer_decay` for a network that does not name its layers."""
    numbers = number_layers(network)
    last = max(numbers.values(), default=0)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            number, decays = numbers[name], parameter.ndim > 1
            group = {
                "params": [],
                "weight_decay": settings.weight_decay if decays else 0.0,
                "lr_scale": settings.layer_decay ** (last - number),
            }
            groups.setdefault((number, decays), group)["params"].append(parameter)
    return list(groups.values())
