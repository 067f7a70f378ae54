"""A training program's own criterion, with the labels mixed as the features were."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from torchmoments.draw import Plan
from torchmoments.targets import Criterion, mixed_loss


class MixedCriterion(nn.Module):
    """Mixes the labels of the plan that an output was made with; made by `Site.criterion`."""

    def __init__(self, criterion: Criterion, plan_of: Callable[[Any], Plan | None]) -> None:
        super().__init__()
        if not callable(criterion) or isinstance(criterion, type):
            got = f"the class {criterion.__name__}" if isinstance(criterion, type) else repr(criterion)
            raise ValueError(
                f"criterion needs a function (output, target) -> loss, such as CrossEntropyLoss(); got {got}."
            )
        if isinstance(criterion, MixedCriterion):
            raise ValueError(
                "this criterion mixes the labels of a site already. With several sites use torchmoments.mixed_loss("
                "criterion, output, target, first.plan_of(output), second.plan_of(output)), in the order of mixing."
            )
        self.criterion = criterion
        self.plan_of = plan_of

    # Named as the losses of PyTorch name them, which may be called by these names.
    def forward(self, input: Any, target: Any, **keywords: Any) -> Tensor:
        """The loss of `criterion`; keywords go to it as they are, so what belongs to samples goes into the target.

        Raises:
            ValueError: the output has no tensor; the target has another batch size than the plan.
            RuntimeError: it cannot be told which forward made the output.
        """
        return mixed_loss(partial(self.criterion, **keywords), input, target, self.plan_of(input))
