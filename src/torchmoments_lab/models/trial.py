"""A network and the methods tried on a few images, before anything is trained: what is wrong, in one sentence."""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.inputs import InputMixing
from torchmoments_lab.methods import Method
from torchmoments_lab.models.attach import attach, check_effect
from torchmoments_lab.models.built import Built, Input
from torchmoments_lab.models.head import head_of
from torchmoments_lab.models.initial import Initial, digest, initial_of
from torchmoments_lab.models.network import Network, logits
from torchmoments_lab.models.padding import described, padding
from torchmoments_lab.models.place import default_place
from torchmoments_lab.process import exits_are_errors
from torchmoments_lab.settings import Setting
from torchmoments_lab.typed import one_line


@dataclass(frozen=True)
class Trial:
    """A network that was built, described and run for the checks.

    Args:
        images: a few training images as the network gets them.
        place: the default place of a method; None if it is not found.
        initial: what seeds share of it before training; None for one of a library that starts from scratch.
        classes: number of its outputs.
        head: names of the layers that are its classifier; () if none is found.
        first_loss: about the loss before training, of labels that the network knows nothing of.
        padding: what it is, "left out of moments: ..."; None if there is none, nor seems to be.
        facts: what the settings do not say of the network. network: digest of a user's own. new_weights: see `Initial`,
            left out if all layers have others for each seed. padding: as above.
    """

    built: Built
    images: Tensor
    place: str | None
    initial: Initial | None
    classes: int
    head: tuple[str, ...]
    first_loss: float
    padding: str | None
    facts: Mapping[str, Setting]


def try_network(network: Network, methods: Sequence[Method], images_for: Callable[[Input], Tensor]) -> Trial:
    """Build the network, and run it on a few images, mixed at each place of each method.

    Raises:
        ValueError: it cannot be built or does not fit the data, or a method does not fit it.
    """
    name = network.settings.model
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        built = network.initial(seed=0)
        # Before it runs: its buffers may change then.
        initial = initial_of(network, built.module)
        facts: dict[str, Setting] = {"network": digest(built.module)} if network.is_users else {}
        if initial is not None and initial.same:
            facts["new_weights"] = str(initial)
        images = images_for(built.input)
        scores = check_runs(built.module, images, network.classes, name).float()
        try:
            with exits_are_errors():
                about_padding = described(built.module, padding(built.module, images))
                if about_padding is not None:
                    facts["padding"] = about_padding
                place = _default_place(built.module, images)
                for method in methods:
                    check_method(built.module, method, images, place, about_padding)
        except ValueError:
            raise
        except Exception as error:
            raise _does_not_run(name, images, error) from error
    first_loss = float((scores.logsumexp(1) - scores.mean(1)).mean())
    head = head_of(built.module, network.classes)
    return Trial(built, images, place, initial, network.classes, head, first_loss, about_padding, facts)


def check_runs(network: nn.Module, x: Tensor, classes: int, name: str) -> Tensor:
    """Run the network in both modes; returns its scores [B, classes] in train mode.

    Args:
        x: images as it gets them, four or more.
        name: what a message calls it.

    Raises:
        ValueError: it does not take images alone, raises anything, or does not return a score for each class.
    """
    for is_training in (False, True):
        output = output_of(network.train(is_training), x, name)
        if not isinstance(logits(output), Tensor):
            raise ValueError(
                f"model {name!r} needs to give logits as a tensor, or an object with `logits`; got "
                f"{type(output).__name__}{' in train mode' if is_training else ''}."
            )
        shape = list(logits(output).shape)
        if shape != [len(x), classes]:
            raise ValueError(
                f"model {name!r} needs an output for each of the {classes} classes of the data, [{len(x)}, {classes}]; "
                f"got {shape}. Let make_model take num_classes."
            )
        if not logits(output).isfinite().all():
            weights = [part for part, tensor in network.state_dict().items() if not tensor.isfinite().all()]
            why = f"nor is its {weights[0]}" if weights else "though its weights are"
            raise ValueError(
                f"model {name!r} needs to give finite numbers; those of the first images are not, {why}. Repair it."
            )
    return logits(output)


def output_of(network: nn.Module, x: Tensor, name: str) -> Any:
    """What the network returns for the images, in the mode that it is in; raises ValueError as `check_runs`."""
    _check_signature(network, x, name)
    try:
        with exits_are_errors():
            return network(x)
    except Exception as error:
        raise _does_not_run(name, x, error) from error


def _default_place(network: nn.Module, x: Tensor) -> str | None:
    try:
        return default_place(network, x)
    except ValueError:
        return None


def check_method(
    network: nn.Module, method: Method, x: Tensor, default: str | None, about_padding: str | None = None
) -> None:
    """Mix at each place of a method, one after the other.

    Args:
        about_padding: see `Trial.padding`; a message has to say it.

    Raises:
        ValueError: the method does not fit the network or the images.
    """
    if isinstance(method.inputs, InputMixing) and method.inputs.kind == "cutmix" and x.ndim != 4:
        raise ValueError(
            f"method {method.spec!r} needs images [C, H, W], to cut boxes from; those of the data are "
            f"{list(x.shape[1:])}. Write mixup."
        )
    if method.mixer is None:
        return
    # Two groups, for partners of the same or of another one.
    groups = [index % 2 for index in range(len(x))]
    try:
        site = attach(network, method.always(), x, seed=0, default=default)
        assert site is not None
        # Few images may all draw themselves.
        plans = filter(None, (site.draw(len(x), groups=groups) for _ in range(20)))
        draws = [draw for plan in plans for draw in plan.draws.values() if not draw.idle]
        mask = padding(network, x, site.places) if method.changes_features else None
        # One by one, because a step may mix at one place only.
        for place in site.places if draws else ():
            with warnings.catch_warnings(), site.using(tm.Plan({place: draws[0]}, [(None, 1.0)], len(x)), mask=mask):
                # Places that the spec names are checked below, others warn in the run.
                warnings.simplefilter("ignore", tm.NoEffectWarning)
                network(x)
        site.detach()
        check_effect(network, method, site, draws, x)
    except (ValueError, RuntimeError) as error:
        said = "" if about_padding is None else f" Padding is {about_padding}."
        raise ValueError(f"method {method.spec!r}: {error}{said}") from error


def _does_not_run(name: str, x: Tensor, error: Exception) -> ValueError:
    return ValueError(
        f"model {name!r} needs to run on images {list(x.shape[1:])}; it raised {type(error).__name__}: "
        f"{one_line(error)}. Choose another --image-size or --model."
    )


def _check_signature(network: nn.Module, x: Tensor, name: str) -> None:
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(x)
    except TypeError as error:
        raise ValueError(
            f"model {name!r} needs a forward(images) without other inputs; got forward{signature} ({error}). "
            "Wrap the network in a module that gives it the others."
        ) from error
