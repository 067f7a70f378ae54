"""What seeds share of a network before training: its modules, and the weights that are not new for each of them.

A user's function may set a seed of its own, load weights, or copy one network: then an interval over seeds covers fewer
initializations than it seems to, or none.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchmoments_lab.models.network import Network

_FEW = 3


@dataclass(frozen=True)
class Initial:
    """Layers with other initial weights for each seed, and those that have the same.

    A layer whose weights are constants, such as a normalization, is neither.

    Args:
        share: of the weights in these layers that are new.
    """

    new: tuple[str, ...]
    same: tuple[str, ...]
    share: float

    @property
    def fine_tunes(self) -> bool:
        """Whether it looks like a trained body with a new classifier."""
        return 0 < self.share < 0.5

    def __str__(self) -> str:
        """The new layers: none, 'fc', all but 'conv1', 5 of 9 layers."""
        if not self.new:
            return "none"
        if len(self.new) <= _FEW:
            return ", ".join(map(repr, self.new))
        if len(self.same) <= _FEW:
            return f"all but {', '.join(map(repr, self.same))}"
        return f"{len(self.new)} of {len(self.new) + len(self.same)} layers"


def initial_of(network: Network, first: nn.Module) -> Initial | None:
    """What seeds share of a network before training; None for one of a library without weights from elsewhere.

    Args:
        first: the network of seed 0, before it has run.

    Raises:
        ValueError: two calls of a user's function give the same parameters, or other weights for the same seed.
    """
    if not network.is_users and not network.settings.fine_tunes:
        return None
    if network.is_users:
        _check_repeated(network.settings.model, first, network.initial(seed=0).module)
    return compared(first, network.initial(seed=1).module)


def compared(first: nn.Module, other: nn.Module) -> Initial:
    """The same network of two seeds."""
    others = dict(other.named_parameters())
    sizes = {name: weight.numel() for name, weight in first.named_parameters()}
    differing = [name for name, weight in first.named_parameters() if not _equal(weight, others.get(name))]
    fixed = [name for name, weight in first.named_parameters() if name not in differing and not _is_constant(weight)]
    new = _layers(differing)
    same = [layer for layer in _layers(fixed) if layer not in new]
    of_new, of_all = sum(map(sizes.__getitem__, differing)), sum(map(sizes.__getitem__, [*differing, *fixed]))
    return Initial(tuple(new), tuple(same), of_new / max(1, of_all))


def _layers(parameters: Sequence[str]) -> list[str]:
    """The modules that have them, each once; a parameter of the network itself stands for itself."""
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in parameters))


def _check_repeated(name: str, first: nn.Module, again: nn.Module) -> None:
    if {id(p) for p in first.parameters()} & {id(p) for p in again.parameters()}:
        raise ValueError(
            f"model {name!r} needs to be a new network at each call; got the same parameters twice, so a run would go "
            "on where another ended. Make it inside the function, or return copy.deepcopy(net)."
        )
    one, two = first.state_dict(), again.state_dict()
    differing = [key for key in one if not _equal(one[key], two.get(key))]
    if differing:
        raise ValueError(
            f"model {name!r} needs the same initial weights for the same seed; two calls gave others, '{differing[0]}' "
            "among them, so the methods of a seed would not start alike. Draw them from the global random numbers of "
            "torch, NumPy or Python."
        )


def _is_constant(weight: Tensor) -> bool:
    return bool((weight.flatten()[1:] == weight.flatten()[:1]).all())


def _equal(a: Tensor, b: Tensor | None) -> bool:
    if b is None or a.shape != b.shape:
        return False
    return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) if a.is_floating_point() else torch.equal(a, b)


def digest(module: nn.Module) -> str:
    """Of the modules and shapes: another network of a user under the same name has another."""
    parts = [f"{name} {type(part).__qualname__}" for name, part in module.named_modules()]
    parts += [f"{name} {list(tensor.shape)}" for name, tensor in module.state_dict().items()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
