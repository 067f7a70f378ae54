"""What an exchange is, besides the features and who is whose partner."""

from typing import Literal, NamedTuple, get_args

Gradient = Literal["both", "own", "donor", "none"]
Moment = Literal["both", "mean", "std"]
Backend = Literal["auto", "reference", "compiled", "triton"]

GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)
MOMENTS: tuple[Moment, ...] = get_args(Moment)
BACKENDS: tuple[Backend, ...] = get_args(Backend)


class Settings(NamedTuple):
    """The settings of one exchange, all backends alike.

    Attributes:
        axes: what one moment reduces, axes of the view that `norms.group` makes.
        eps: added to the variance.
        grad: through whose moments the gradient flows.
        positive_only: moments of the values over zero only.
        moment: which of the two is exchanged.
    """

    axes: tuple[int, ...]
    eps: float
    grad: Gradient = "both"
    positive_only: bool = False
    moment: Moment = "both"
