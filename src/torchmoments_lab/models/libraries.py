"""Networks of timm, torchvision and pytorchcv. They get images of three channels; grey ones are repeated."""

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from torchmoments_lab.models.built import Built, Input
from torchmoments_lab.models.head import head_of
from torchmoments_lab.models.weights import load_file, load_state
from torchmoments_lab.settings import ModelSettings
from torchmoments_lab.typed import nearest, one_line


def build_timm(name: str, classes: int, settings: ModelSettings) -> Built:
    import timm

    if not timm.is_model(name):
        raise ValueError(f"model needs a network of timm; got {name!r}. {nearest(name, timm.list_models())}")
    fixed = bool(timm.get_pretrained_cfg(name).fixed_input_size)
    # Only networks of a fixed size take the argument.
    size = {"img_size": settings.image_size} if fixed and settings.image_size is not None else {}
    module = _made(
        settings,
        lambda: timm.create_model(name, pretrained=settings.pretrained, num_classes=classes, in_chans=3, **size),
    )
    # With the weights of as many classes, the classifier is theirs.
    is_new = settings.pretrained and module.pretrained_cfg["num_classes"] != classes
    wants = timm.data.resolve_model_data_config(module)
    wanted = Input(
        channels=3,
        size=wants["input_size"][-1],
        mean=tuple(wants["mean"]) if settings.fine_tunes else None,
        std=tuple(wants["std"]) if settings.fine_tunes else None,
        bicubic=wants["interpolation"] == "bicubic",
        fixed_size=fixed,
    )
    return Built(module, wanted, head_of(module, classes) if is_new else ())


def build_torchvision(name: str, classes: int, settings: ModelSettings) -> Built:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"model needs a classifier of torchvision; got {name!r}. {nearest(name, known)}")
    fixed = "vit" in name or "maxvit" in name
    keywords: dict[str, Any] = {"num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        # Without weights these initialize for minutes, and have outputs besides the logits.
        keywords |= {"aux_logits": False, "init_weights": False}
    if fixed and settings.image_size is not None and "vit_" in name and "max" not in name:
        keywords["image_size"] = settings.image_size
    module = _made(settings, lambda: models.get_model(name, weights=None, **keywords))
    best = models.get_model_weights(name).DEFAULT
    with contextlib.suppress(AttributeError, TypeError):
        wants = best.transforms()
    new_head: tuple[str, ...] = ()
    if settings.pretrained:
        state = _made(settings, lambda: best.get_state_dict(progress=False, check_hash=True, weights_only=True))
        new_head = load_state(module, state, f"torchvision/{name}", classes)
    wanted = Input(
        channels=3,
        size=wants.crop_size[0],
        mean=tuple(wants.mean) if settings.fine_tunes else None,
        std=tuple(wants.std) if settings.fine_tunes else None,
        bicubic=wants.interpolation.value == "bicubic",
        fixed_size=fixed,
    )
    return Built(module, wanted, new_head)


def build_pytorchcv(name: str, classes: int, settings: ModelSettings) -> Built:
    from pytorchcv import model_provider

    known = list(model_provider._models)
    full = _complete(name, known, classes)
    if full is None:
        raise ValueError(f"model needs a network of pytorchcv; got {name!r}. {nearest(name, known)}")
    of_cifar = "cifar" in full
    # These refuse any number of classes but CIFAR's.
    first_classes = 10 if of_cifar and classes != 100 else classes
    # It prints when it downloads.
    with contextlib.redirect_stdout(io.StringIO()):
        module = _made(settings, lambda: model_provider.get_model(full, num_classes=first_classes))
        if first_classes != classes:
            module.output = nn.Linear(module.output.in_features, classes)
        new_head: tuple[str, ...] = ()
        if settings.pretrained:
            from pytorchcv.models.common.model_store import get_model_file

            # Its own loading would unpickle whatever the file holds.
            path = _made(settings, lambda: get_model_file(full))
            new_head = load_file(module, Path(path), classes)
    size = getattr(module, "in_size", None)
    wanted = Input(
        channels=3,
        size=size[0] if size else None,
        mean=(0.485, 0.456, 0.406) if settings.fine_tunes else None,
        std=(0.229, 0.224, 0.225) if settings.fine_tunes else None,
        # Its last pooling has a fixed window.
        fixed_size=of_cifar,
    )
    return Built(module, wanted, new_head)


def _complete(name: str, known: list[str], classes: int) -> str | None:
    """The full name: CIFAR's networks may be named without the data set, `resnet110`, or the variant, `resnext29`."""
    if name in known:
        return name
    of_data = "_cifar100" if classes == 100 else "_cifar10"
    return next((full for full in known if full.startswith(f"{name}_") and full.endswith(of_data)), None)


def _made(settings: ModelSettings, make: Callable[[], Any]) -> Any:
    """What a library makes; whatever it raises in one sentence, for a download above all."""
    # Warnings of retries would stand around the one sentence.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return make()
    except Exception as error:
        reason = one_line(error)
        if settings.pretrained:
            raise ValueError(
                f"pretrained weights of {settings.model!r} could not be loaded ({type(error).__name__}: {reason}). "
                "Get them in another way, and write --weights with their file."
            ) from error
        raise ValueError(f"model {settings.model!r} could not be made ({type(error).__name__}: {reason}).") from error
    finally:
        logging.disable(before)
