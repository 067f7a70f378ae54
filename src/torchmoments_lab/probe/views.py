"""The features at a place of a network, and one part of them alone. B is the batch size.

    features     x
    normalized   F(x) = (x - mean) / std: all moments are 0 and 1
    moments      F^-1(s; mean, std) = s * std + mean, with one s for all images in place of the normalized features

All three have the shape of x, so that the same rest of the network can be trained on each. s is +1 and -1 in turn along
the axis of the moment, normalized: for pono one half of the channels is mean + std and the other half mean - std.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.models.network import logits


@dataclass(frozen=True)
class View:
    """One part of features: "features", "normalized" or "moments" of a norm.

    Args:
        channel_dim: the axis of the channels.
    """

    part: str
    norm: str | tuple[int, ...] = "pono"
    channel_dim: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """The part of x, with the shape and dtype of x.

        Raises:
            ValueError: the norm cannot be taken of these features.
        """
        if self.part == "features":
            return x
        normalized, own = tm.normalize(x, self.norm, channel_dim=self.channel_dim)
        if self.part == "normalized":
            return normalized
        return tm.denormalize(pattern(x[:1], self.norm, self.channel_dim), own)


def pattern(x: Tensor, norm: str | tuple[int, ...], channel_dim: int = 1) -> Tensor:
    """s, shaped like x: +1 and -1 in turn along the first axis of a moment that has two values or more, normalized."""
    channels = channel_dim % x.ndim
    for axis in (channels, *(axis for axis in range(1, x.ndim) if axis != channels)):
        signs = 1.0 - 2.0 * (torch.arange(x.shape[axis], device=x.device) % 2)
        shape = [-1 if number == axis else 1 for number in range(x.ndim)]
        alternating = signs.to(x.dtype).view(shape).expand(x.shape)
        normalized, own = tm.normalize(alternating, norm, channel_dim=channel_dim)
        # Along an axis that no moment averages over, every moment is of one sign.
        if own.std.min() > 0.1:
            return normalized
    raise AssertionError("every moment is over two values or more, so they vary along an axis")


class Source:
    """A network up to a place, in eval mode: `source(images)` are the features there, without gradient."""

    def __init__(self, model: nn.Module, place: str) -> None:
        self.model = model.eval()
        self.place = place

    def __call__(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.with_gradient(x)

    def with_gradient(self, x: Tensor) -> Tensor:
        """Images as the network gets them give features [B, C, *positions].

        Raises:
            ValueError: the place returns no tensor, or does not run.
        """
        handle = self.model.get_submodule(self.place).register_forward_hook(_stop)
        try:
            self.model(x)
        except _Reached as reached:
            if not isinstance(reached.output, Tensor) or reached.output.ndim < 3:
                raise ValueError(
                    f"a probe needs a place that gives features [B, C, *positions]; got {_kind(reached.output)} at "
                    f"{self.place!r}. `torchmoments places` lists names and shapes."
                ) from None
            return reached.output
        finally:
            handle.remove()
        raise ValueError(f"a probe needs a place that runs; {self.place!r} did not. See `torchmoments places`.")


class FromPlace(nn.Module):
    """A network that gets `given(images)` at a place, instead of its own features."""

    def __init__(self, model: nn.Module, place: str, given: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.given = given
        model.get_submodule(place).register_forward_hook(lambda module, arguments, output: self._features)
        self._features: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self._features = self.given(x)
        output: Tensor = self.model(x)
        self._features = None
        return output


def check_all_goes_through(model: nn.Module, place: str, x: Tensor) -> None:
    """Raise ValueError if the output depends on the images by another way than through the place.

    Args:
        x: two images or more, not all alike.
    """
    features = Source(model, place)(x)
    same = features[:1].expand_as(features)
    with torch.no_grad():
        output = FromPlace(model, place, lambda images: same).eval()(x)
    output = logits(output)
    if not torch.allclose(output, output[:1].expand_as(output), atol=1e-5):
        raise ValueError(
            f"a probe needs a place that everything goes through; past {place!r} the image reaches the output by "
            "another way (a residual branch, for example). Take the module around it: `torchmoments places`."
        )


class _Reached(BaseException):
    """Ends the forward at the place. No user's `except Exception` holds it up."""

    def __init__(self, output: object) -> None:
        self.output = output


def _stop(module: nn.Module, arguments: object, output: object) -> None:
    raise _Reached(output)


def _kind(output: object) -> str:
    return f"a tensor {list(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
