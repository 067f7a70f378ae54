"""Wrapping a criterion so that labels are mixed the same way as features."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from torchmoments.draw import Plan
from torchmoments.targets import Criterion, mixed_loss


class MixedCriterion(nn.Module):
    """Mixes labels according to the plan that an output was made with; returned by `Site.criterion`."""

    def __init__(self, criterion: Criterion, plan_of: Callable[[Any], Plan | None]) -> None:
        super().__init__()
        if not callable(criterion) or isinstance(criterion, type):
            got = f"the class {criterion.__name__}" if isinstance(criterion, type) else repr(criterion)
            raise ValueError(
                f"criterion needs a function (output, target) -> loss, such as CrossEntropyLoss(); got {got}."
            )
        if isinstance(criterion, MixedCriterion):
            raise ValueError(
                "this criterion already mixes the labels of a site. With several sites use torchmoments.mixed_loss("
                "criterion, output, target, first.plan_of(output), second.plan_of(output)), in the order of mixing."
            )
        self.criterion = criterion
        self.plan_of = plan_of

    # Same argument names as the losses of PyTorch, which may be called with keywords.
    def forward(self, input: Any, target: Any, **keywords: Any) -> Tensor:
        """Compute the loss. Keywords are passed to `criterion` unchanged, so per-sample values belong in the target.

        Raises:
            ValueError: the output contains no tensor; the batch sizes of the target and the plan differ.
            RuntimeError: the forward that made the output cannot be identified.
        """
        return mixed_loss(partial(self.criterion, **keywords), input, target, self.plan_of(input))
