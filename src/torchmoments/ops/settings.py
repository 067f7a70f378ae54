"""The options of an exchange."""

from typing import Literal, NamedTuple, get_args

Gradient = Literal["both", "own", "donor", "none"]
Moment = Literal["both", "mean", "std"]
Backend = Literal["auto", "reference", "compiled", "triton"]

GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)
MOMENTS: tuple[Moment, ...] = get_args(Moment)
BACKENDS: tuple[Backend, ...] = get_args(Backend)


class Settings(NamedTuple):
    """The settings of one exchange, the same for all backends.

    Attributes:
        axes: the axes that one moment reduces, of the view returned by `norms.group`.
        eps: added to the variance.
        grad: the moments through which the gradient flows.
        positive_only: compute moments over positive values only.
        moment: which moments are exchanged.
    """

    axes: tuple[int, ...]
    eps: float
    grad: Gradient = "both"
    positive_only: bool = False
    moment: Moment = "both"
