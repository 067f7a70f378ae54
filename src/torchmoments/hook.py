"""What runs at an attached place, and at the model as a whole."""

from typing import Any

from torch import Tensor, nn

from torchmoments.active import ActivePlan, Calls, RecordOfThread
from torchmoments.blocks import Orders
from torchmoments.features import Layout, replace_features
from torchmoments.mixers.mixer import Mixer
from torchmoments.torch_internals import is_replica, leave_to_python


class PlaceHook:
    """Mixes the features at one place. A copy of the model alone has hooks whose plan never comes: it stays plain."""

    def __init__(
        self,
        place: str,
        mixer: Mixer,
        layout: Layout,
        output: int | str | None,
        calls: Calls | None,
        active: ActivePlan,
    ) -> None:
        self.place = place
        self.mixer = mixer
        self.layout = layout
        self.output = output
        self.calls = calls
        self.active = active
        self.here = RecordOfThread(active, place)

    def on_output(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        orders = self._orders()
        if orders is None:
            return None
        return replace_features(output, self.output, self.place, lambda x: self._mix(x, orders))

    def on_input(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        orders = self._orders()
        if orders is None:
            return None
        if isinstance(self.output, str):
            changed = replace_features(keywords, self.output, self.place, lambda x: self._mix(x, orders))
            return arguments, changed
        key = 0 if self.output is None else self.output
        return replace_features(arguments, key, self.place, lambda x: self._mix(x, orders)), keywords

    def _orders(self) -> Orders | None:
        orders = self.active.orders(self.here.record, self.calls)
        return orders if self.mixer.changes_features else None

    def _mix(self, x: Tensor, orders: Orders) -> Tensor:
        draw, mask = orders
        if x.shape[0] != draw.batch_size:
            raise ValueError(
                f"the plan is for {draw.batch_size} samples; the features at {self.place!r} have {x.shape[0]}, shape "
                f"{list(x.shape)}. Use site.draw(len(x)) with the batch that goes through the model, and a place whose "
                "features have the batch first."
            )
        if draw.partner.device != x.device:
            draw = draw.to(x.device)
        if mask is not None:
            mask = mask.to(x.device)
        mixed = self.layout.apply(lambda view, mask: self.mixer(view, draw, mask), x, mask)
        self.active.mixed_outside_of_forward(mixed)
        return mixed


class ModelHook:
    """Says when a forward of the model begins and ends."""

    def __init__(self, active: ActivePlan) -> None:
        self.active = active
        leave_to_python(ModelHook.before)
        leave_to_python(ModelHook.after)

    def before(self, module: nn.Module, arguments: Any) -> None:
        if is_replica(module):
            raise RuntimeError(
                "nn.DataParallel copies the model in parts that do not fit what is attached. Use "
                "DistributedDataParallel, or call site.detach() first."
            )
        self.active.begin_forward()

    def after(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self.active.end_forward(output)
