"""A Lightning callback that attaches a mixer to an unmodified LightningModule: `Trainer(callbacks=[Moments(...)])`."""

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from torchmoments.attaching import attach
from torchmoments.criterion import MixedCriterion
from torchmoments.draw import Plan
from torchmoments.mixers.mixer import Mixer
from torchmoments.modules import find_modules
from torchmoments.site import Site
from torchmoments.targets import mixed_loss

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer

    _CALLBACKS: tuple[type[Callback], ...]

# Both packages define the same classes separately, and the Trainer may come from either.
_PACKAGES = [name for name in ("lightning", "pytorch_lightning") if importlib.util.find_spec(name) is not None]
if not _PACKAGES:
    raise ImportError("torchmoments.lightning needs Lightning. Install it with: pip install 'torchmoments[lightning]'")
_CALLBACKS = tuple(
    importlib.import_module("lightning.pytorch" if name == "lightning" else name).Callback for name in _PACKAGES
)


class Moments(*_CALLBACKS):  # type: ignore[misc]
    """Attaches a mixer for the duration of `trainer.fit`. Random number state is saved in Lightning's checkpoints.

    Args:
        mixer: the method, such as MoEx().
        at: the name of a module inside the LightningModule, several names, or a glob, as for `attach`.
        criterion: the name of the module inside the LightningModule that is called with (output, target). Needed only
            for mixers that mix labels.
        model: the name of the module inside the LightningModule whose training forwards each draw a plan; "" is the
            LightningModule itself. None: the outermost module that contains all places and has a forward, or the
            LightningModule if there is none.
        options: options of `attach`, such as side, calls, seed or schedule, which follows the trainer's progress.

    Attributes:
        site: the site during `trainer.fit`; None before and after.

    `trainer.fit` raises:
        ValueError: there is no module `at`, `model` or `criterion`, or another Moments already mixes the labels.
        RuntimeError: the first training_step did not call the model.
    """

    def __init__(
        self,
        mixer: Mixer,
        at: str | Sequence[str],
        criterion: str = "criterion",
        *,
        model: str | None = None,
        **options: Any,
    ) -> None:
        if "automatic" in options:
            raise ValueError("Moments draws at each training forward; use attach(..., automatic=False) without it.")
        if not isinstance(criterion, str):
            raise ValueError(
                f"criterion needs the name of a module inside the LightningModule; got a {type(criterion).__name__}. "
                'Use Moments(..., criterion="criterion").'
            )
        inspect.signature(attach).bind(None, mixer, at, **options)  # raises if an option is unknown
        self.mixer = mixer
        self.at = at
        self.criterion = criterion
        self.model = model
        self.options = options
        self.site: Site | None = None
        self._handles: list[Any] = []
        self._mixed: nn.Module | None = None
        self._state: dict[str, int] = {}
        self._called = ""
        self._draws_before: int | None = None

    @property
    def state_key(self) -> str:
        key: str = self._generate_state_key(at=self.at)
        return key

    def state_dict(self) -> dict[str, int]:
        return self._state if self.site is None else self.site.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._state = state_dict
        if self.site is not None:
            self.site.load_state_dict(state_dict)

    # Not in `setup`, after which LightningModules may still create layers.
    def on_fit_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        places = list(find_modules(pl_module, self.at))
        name = _outermost(pl_module, places) if self.model is None else self.model
        self._called = name
        inside = name and f"{name}."
        root = pl_module.get_submodule(next(iter(find_modules(pl_module, name)))) if name else pl_module
        outside = [place for place in places if not place.startswith(inside)]
        if outside:
            raise ValueError(
                f"places need to be inside model={name!r}; {outside[0]!r} is not. Leave model= out, or name a module "
                "that contains all places."
            )
        self.site = attach(root, self.mixer, [place.removeprefix(inside) for place in places], **self.options)
        # Without a common seed, processes start from different ones, and a checkpoint contains only one.
        self.site.load_state_dict(self._state or trainer.strategy.broadcast(self.site.state_dict()))
        if self.mixer.mixes_labels:
            self._mix_labels(_criterion_of(pl_module, self.criterion, self.mixer), trainer)
        wrapper = trainer.strategy.model
        if root is pl_module and wrapper is not None and wrapper is not pl_module:
            self._handles += _Redirection(self.site).hooks(wrapper, pl_module)
        self._draws_before = self.site.state_dict()["counter"]

    def on_train_batch_start(
        self, trainer: "Trainer", pl_module: "LightningModule", batch: Any, batch_idx: int
    ) -> None:
        progress = _progress_of(trainer, batch_idx)
        if self.site is not None and progress is not None:
            self.site.progress = progress

    def on_train_batch_end(
        self, trainer: "Trainer", pl_module: "LightningModule", outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._check_drawn()
        self._draws_before = None

    # Lightning's types do not declare `trainer.callbacks`.
    def _mix_labels(self, criterion: nn.Module, trainer: Any) -> None:
        others = [callback for callback in trainer.callbacks if isinstance(callback, Moments)]
        if isinstance(criterion, MixedCriterion) or any(other._mixed is criterion for other in others):
            raise ValueError(
                "this criterion already mixes the labels of a site. Use one Moments that mixes labels; others can keep "
                "them with lam=1."
            )
        self._mixed = criterion
        # A hook, so that the criterion's name and state_dict keys do not change.
        self._handles.append(criterion.register_forward_hook(_LabelHook(self._plan_of), with_kwargs=True))

    def _plan_of(self, output: Any) -> Plan | None:
        assert self.site is not None
        try:
            return self.site.plan_of(output)
        except RuntimeError:
            self._check_drawn()
            raise

    def _check_drawn(self) -> None:
        """Raise RuntimeError if the first step drew no plan: nothing would be mixed in the whole run."""
        if self.site is not None and self.site.state_dict()["counter"] == self._draws_before:
            called = f"self.{self._called}" if self._called else "self"
            raise RuntimeError(
                f"training_step needs to call {called}(x), in train mode and with gradients; the first one did not, so "
                "nothing was mixed. Name the module that it calls: Moments(..., model=name)."
            )

    def teardown(self, trainer: "Trainer", pl_module: "LightningModule", stage: str) -> None:
        self._detach()

    def on_exception(self, trainer: "Trainer", pl_module: "LightningModule", exception: BaseException) -> None:
        self._detach()

    def _detach(self) -> None:
        if self.site is not None:
            self._state = self.site.state_dict()
            self.site.detach()
            self.site = None
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._mixed = None


def _outermost(pl_module: nn.Module, places: list[str]) -> str:
    """Return the name of the outermost module that contains all places and has a forward; "" if there is none."""
    path = places[0].split(".")[:-1]
    for depth in range(1, len(path) + 1):
        name = ".".join(path[:depth])
        has_forward = type(pl_module.get_submodule(name)).forward is not nn.Module.forward
        if has_forward and all(place.startswith(f"{name}.") for place in places):
            return name
    return ""


def _criterion_of(pl_module: nn.Module, name: str, mixer: Mixer) -> nn.Module:
    modules: dict[str, nn.Module] = dict(pl_module.named_modules(remove_duplicate=False))
    if name in modules:
        return modules[name]
    found = getattr(pl_module, name, None)
    got = f"has no {name!r}" if found is None else f"has a {type(found).__name__} there"
    raise ValueError(
        f"{type(mixer).__name__} mixes labels, so the loss needs to be computed by a module self.{name}; "
        f"{type(pl_module).__name__} {got}. Use Moments(..., criterion=name) for one of another name, or write:\n"
        f"    self.{name} = nn.CrossEntropyLoss()  # in __init__\n"
        f"    output = self(x)  # in training_step\n"
        f"    loss = self.{name}(output, y)"
    )


def _progress_of(trainer: "Trainer", batch_idx: int) -> float | None:
    """Return the completed fraction of the run, by epochs or steps, whichever ends it first; None if unlimited."""
    parts = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        parts.append((trainer.current_epoch + batch_idx / trainer.num_training_batches) / trainer.max_epochs)
    if trainer.max_steps > 0:
        parts.append(trainer.global_step / trainer.max_steps)
    return min(1.0, max(parts)) if parts else None


class _LabelHook:
    """Mixes the labels when a criterion is called. A copy of the criterion does not mix."""

    def __init__(self, plan_of: Callable[[Any], Plan | None] | None) -> None:
        self.plan_of = plan_of

    def __reduce__(self) -> tuple[Any, ...]:
        return (_LabelHook, (None,))

    def __call__(self, criterion: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], loss: Any) -> Any:
        if self.plan_of is None:
            return None
        if len(arguments) < 2:
            raise ValueError(
                f"a criterion needs the output and the target as its first two arguments; got {len(arguments)} and the "
                f"keywords {list(keywords)}. Use self.criterion(output, target)."
            )
        output, target, *others = arguments
        plan = self.plan_of(output)
        if plan is None:
            return None

        def loss_of(output: Any, labels: Any) -> Tensor:
            # The loss of the own labels has already been computed.
            result: Tensor = loss if labels is target else criterion.forward(output, labels, *others, **keywords)
            return result

        return mixed_loss(loss_of, output, target, plan)


class _Redirection:
    """Turns off mixing for the forward of a LightningModule through which a wrapper such as DDP calls training_step.

    That call takes a batch and is not a forward of the model, which happens inside it.
    """

    def __init__(self, site: Site) -> None:
        self.plain = site.using(None)

    def hooks(self, wrapper: nn.Module, pl_module: nn.Module) -> list[Any]:
        # The LightningModule's hook runs after the site's, which finds the block.
        return [wrapper.register_forward_pre_hook(self.begin), pl_module.register_forward_pre_hook(self.end)]

    def begin(self, module: nn.Module, arguments: Any) -> None:
        self.plain.__enter__()

    def end(self, module: nn.Module, arguments: Any) -> None:
        if self.plain.before:
            self.plain.__exit__(None, None, None)
