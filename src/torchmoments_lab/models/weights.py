"""Weights in files, loaded without unpickling anything but tensors."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments_lab.files import write_bytes
from torchmoments_lab.models.head import head_of
from torchmoments_lab.typed import one_line

# Where training scripts put the weights inside a checkpoint.
_INSIDE = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
# What wrappers put before the names.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_SHOWN = 3
# Bytes; of safetensors itself.
_LONGEST_HEADER = 100_000_000


def load_file(module: nn.Module, path: Path, classes: int) -> tuple[str, ...]:
    """Load a .safetensors or torch file into the module; the classifier may be for other classes, and stays new.

    Returns:
        The layers that stay new.

    Raises:
        ValueError: the file cannot be read, holds no weights, or they do not fit.
    """
    return load_state(module, read_file(path), str(path), classes)


def load_state(module: nn.Module, given: Mapping[str, Tensor], source: str, classes: int) -> tuple[str, ...]:
    """Load weights by name, as `load_file` does."""
    own = module.state_dict()
    state = _without_prefix(given, own)
    differing = [name for name in own if name in state and own[name].shape != state[name].shape]
    head = head_of(module, classes)
    new = [name for name in differing if name.rpartition(".")[0] in head]
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    # Weights of a body alone, as self-supervised training saves them, leave the head out.
    new += [name for name in missing if name.rpartition(".")[0] in head]
    wrong = {
        "missing": [name for name in missing if name not in new],
        "not in the model": [name for name in state if name not in own and not _is_side_output(name)],
        "of another shape": [
            f"{name} {list(state[name].shape)} for {list(own[name].shape)}" for name in differing if name not in new
        ],
        "of another kind": [
            f"{name} ({why})"
            for name in own
            if name in state and name not in new and (why := _unfit(state[name], own[name])) is not None
        ],
    }
    if any(wrong.values()):
        problems = "; ".join(f"{len(names)} {what}: {_first(names)}" for what, names in wrong.items() if names)
        raise ValueError(f"weights need to fit {type(module).__name__}; of '{source}' are {problems}.")
    module.load_state_dict({name: state[name] for name in own if name in state and name not in new}, strict=False)
    return tuple(layer for layer in head if any(name.rpartition(".")[0] == layer for name in new))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file; safetensors itself opens no path that is not UTF-8."""
    from safetensors.torch import load

    return load(path.read_bytes())


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write what `read_safetensors` and `read_metadata` read; safetensors itself writes files for their owner alone."""
    from safetensors.torch import save

    # Copies: tensors that share memory are refused.
    write_bytes(path, save({name: t.clone().contiguous() for name, t in tensors.items()}, dict(metadata)))


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors; {} if it has none, or is another file.

    It begins with the length of a header as 8 bytes, the lowest first, then the header as JSON.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= _LONGEST_HEADER else b""
    try:
        metadata = json.loads(header).get("__metadata__")
    except (ValueError, AttributeError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def read_file(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors or torch file, by name.

    Raises:
        ValueError: the file cannot be read, or holds no weights.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = read_safetensors(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"weights need a file of tensors; '{path}' holds other objects too, or is damaged, and is not unpickled. "
            "Save it again: torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__} {one_line(error, 200)}".strip()
        raise ValueError(f"weights need a file that can be read; got '{path}' ({reason}).") from error
    for inside in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(inside), Mapping):
            content = content[inside]
            break
    items = content.items() if isinstance(content, Mapping) else ()
    if not items or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in items):
        raise ValueError(f"weights need names and tensors; got {type(content).__name__} of something else in '{path}'.")
    return dict(items)


def _without_prefix(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = dict(given)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state) and not any(name.startswith(prefix) for name in own):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _unfit(given: Tensor, own: Tensor) -> str | None:
    """Why a tensor cannot take the place of one of the network's, but for its shape: a copy would be something else."""
    if given.is_meta:
        return "without data"
    if given.is_quantized:
        return "quantized"
    if given.layout != torch.strided:
        return str(given.layout).removeprefix("torch.")
    if own.is_floating_point() and not given.is_floating_point():
        return str(given.dtype).removeprefix("torch.")
    return "not finite" if given.is_floating_point() and not given.isfinite().all() else None


def _is_side_output(name: str) -> bool:
    """torchvision's Inception networks have side classifiers, which are for training on ImageNet."""
    return name.lower().startswith(("aux1.", "aux2.", "auxlogits."))


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
