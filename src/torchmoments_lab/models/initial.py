"""What seeds share of a network before training: its modules, and the weights that are not new for each of them.

A user's function may set a seed of its own, load weights, or copy one network: then an interval over seeds covers fewer
initializations than it seems to, or none.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchmoments_lab.models.network import Network
from torchmoments_lab.settings import Setting

_FEW = 3


def facts_of_network(network: Network, first: nn.Module) -> dict[str, Setting]:
    """What the settings do not say of the network; nothing for one of a library without weights from elsewhere.

    Args:
        first: the network of seed 0, before it has run.

    Returns:
        network: digest of the modules and shapes of a user's own network; another one under the same name has another.
        new_weights: which layers have other initial weights for each seed: none, 'fc', all but 'conv1', 5 of 9 layers;
            left out if all have.

    Raises:
        ValueError: two calls of a user's function give the same parameters, or other weights for the same seed.
    """
    if not network.is_users and not network.settings.fine_tunes:
        return {}
    facts: dict[str, Setting] = {}
    if network.is_users:
        _check_repeated(network.settings.model, first, network.initial(seed=0).module)
        facts["network"] = _digest(first)
    new = new_weights(first, network.initial(seed=1).module)
    return facts if new is None else facts | {"new_weights": new}


def new_weights(first: nn.Module, other: nn.Module) -> str | None:
    """Which layers differ between the same network of two seeds; None if all do that are random in the first place.

    A layer whose weights are constants, such as a normalization, is neither.
    """
    others = dict(other.named_parameters())
    differing = [name for name, weight in first.named_parameters() if not _equal(weight, others.get(name))]
    fixed = [name for name, weight in first.named_parameters() if name not in differing and not _is_constant(weight)]
    new = _layers(differing)
    same = [layer for layer in _layers(fixed) if layer not in new]
    if not new:
        return "none"
    if not same:
        return None
    if len(new) <= _FEW:
        return ", ".join(map(repr, new))
    if len(same) <= _FEW:
        return f"all but {', '.join(map(repr, same))}"
    return f"{len(new)} of {len(new) + len(same)} layers"


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


def _digest(module: nn.Module) -> str:
    parts = [f"{name} {type(part).__qualname__}" for name, part in module.named_modules()]
    parts += [f"{name} {list(tensor.shape)}" for name, tensor in module.state_dict().items()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
