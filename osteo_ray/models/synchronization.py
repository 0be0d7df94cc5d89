"""What several workers that train one classifier share: batches, gradients, buffers and sums."""

import copy
from typing import Any, cast

import torch
import torch.distributed
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Let batch normalization use the images of all workers, in place.

    On GPUs, that is PyTorch's own SyncBatchNorm. PyTorch has none for CPUs.
    """
    if device.type == "cuda":
        convert_sync_batchnorm(network)
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SharedBatchNorm):
                setattr(module, name, SharedBatchNorm(child))


class SharedBatchNorm(_BatchNorm):
    """Batch normalization over the images of all workers, on any device.

    The state has the keys of the module that it replaces, and evaluation is the same. Mean and
    variance are summed one after the other, so that nothing cancels.

    Args:
        replaced: The module; timm's with an activation behind it are understood, too.
    """

    def __init__(self, replaced: _BatchNorm) -> None:
        super().__init__(
            replaced.num_features,
            replaced.eps,
            replaced.momentum,
            replaced.affine,
            replaced.track_running_stats,
        )
        self.weight, self.bias = replaced.weight, replaced.bias
        self._buffers.update(replaced._buffers)
        self.train(replaced.training)
        for name in ("drop", "act"):  # of timm's BatchNormAct2d
            if hasattr(replaced, name):
                setattr(self, name, getattr(replaced, name))

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"Expected a batch of features, but got {input.ndim} dimensions.")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalize features: float, (batch, channels, …)."""
        found = self._normalize(input) if self.training else super().forward(input)
        for name in ("drop", "act"):
            if hasattr(self, name):
                found = getattr(self, name)(found)
        return found

    def _normalize(self, input: torch.Tensor) -> torch.Tensor:
        self._check_input_dim(input)
        axes = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        features = input.float()
        count = features.new_tensor([features.numel() / features.shape[1]])
        sums = _sum_over_ranks(torch.cat([features.sum(axes), count]))
        mean, count = sums[:-1] / sums[-1], sums[-1].detach()
        centred = features - mean.view(shape)
        variance = _sum_over_ranks((centred**2).sum(axes)) / count
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        found = centred * scale.view(shape)
        if self.affine:
            found = found + self.bias.view(shape)
        return found.to(input.dtype)

    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        tracked = (self.num_batches_tracked, self.running_mean, self.running_var)
        n_batches, running_mean, running_variance = cast(tuple[torch.Tensor, ...], tracked)
        with torch.no_grad():
            n_batches.add_(1)
            # Without a momentum, the statistics are the mean of all batches.
            momentum = 1 / float(n_batches) if self.momentum is None else self.momentum
            running_mean.lerp_(mean, momentum)
            running_variance.lerp_(variance, momentum)


class _Sum(torch.autograd.Function):
    """The sum over all ranks, whose gradient is the sum of the gradients of all ranks."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


def _sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, _Sum.apply(values))


def share_gradients(network: nn.Module, images: torch.Tensor) -> DistributedDataParallel:
    """Wrap a network so that its gradients become the means over all workers.

    PyTorch waits for a gradient of every parameter, unless it is told to look which get none. Some
    networks have such parameters: parts of timm's own heads, of which only the backbone is used.

    Args:
        network: The one that each worker trains; left as it is.
        images: float32, (batch, 1, height, width); a batch on which it is tried.
    """
    unused = torch.tensor(float(_has_unused(network, images)), device=images.device)
    torch.distributed.all_reduce(unused)
    return DistributedDataParallel(network, find_unused_parameters=bool(unused))


def _has_unused(network: nn.Module, images: torch.Tensor) -> bool:
    """Tell whether a network in training leaves out parameters that are to learn."""
    tried = copy.deepcopy(network).train()  # what is counted and gathered stays in the copy
    with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
        tried(images).sum().backward()
    return any(one.requires_grad and one.grad is None for one in tried.parameters())


def share_buffers(network: nn.Module) -> None:
    """Give all workers the buffers of rank 0, such as running means."""
    for buffer in network.buffers():
        torch.distributed.broadcast(buffer, 0)


def sum_over_workers(total: torch.Tensor, n_workers: int) -> torch.Tensor:
    """Return the sum of a tensor over all workers."""
    if n_workers > 1:
        torch.distributed.all_reduce(total)
    return total
