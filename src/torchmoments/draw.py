"""The random decisions of one step, as values: `Draw` for one place, `Plan` for all places of a model.

They are drawn outside the model, so that features and labels use the same partner, a recomputation does not draw
again, and a compiler sees tensors instead of random number state. B is the batch size throughout.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from torch import Tensor

from torchmoments.ranks import GlobalIndex, Index, Shares, changed_index, own_index, take

Term = tuple[Index | None, float | Tensor]
OneDraw = TypeVar("OneDraw", bound="Draw")


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """The random decisions of one step at one place. A method that needs more adds fields in a subclass.

    It also describes, for the labels, how you mixed inputs yourself: `Draw(permutation, label_weight=0.7)`.

    Args:
        partner: [B] int64, the sample whose moments each sample gets; with partner="global" on several ranks a
            `GlobalIndex`, whose `of(values)` is what `values[partner]` is otherwise.
        mixed: [B] bool, which samples are mixed; the others pass bit for bit. If None, all are mixed.
        moment_weight: weight of a sample's own moments, a float or [B]: 0 is a full exchange, 1 changes nothing.
        label_weight: weight of a sample's own label, a float, or [B] if it varies; 1 keeps the labels.
        label_partner: [B] int64, the sample whose label each sample gets in addition to its own; None: its partner's.

    Attributes:
        idle: True for an `idle_copy`, which mixes no sample; known without reading `mixed`.
    """

    partner: Index
    mixed: Tensor | None = None
    moment_weight: float | Tensor = 0.0
    label_weight: float | Tensor = 1.0
    label_partner: Index | None = None

    def __post_init__(self) -> None:
        # Compiled code only derives draws from ones that were checked.
        if not torch.compiler.is_compiling():
            _check_draw(self)

    # Not a field: torch 2.6 recompiles for every value of a field of a frozen dataclass, and places are idle in turn.
    idle: ClassVar[bool] = False

    @property
    def batch_size(self) -> int:
        return self.partner.shape[0]

    @property
    def terms(self) -> list[Term]:
        """The label terms of this draw: [(permutation, weight)], where None as permutation is the own label; with
        partner="global" on several ranks, permutation.of(target) is what target[permutation] is otherwise."""
        if self.idle or (not isinstance(self.label_weight, Tensor) and self.label_weight == 1):
            return [(None, 1.0)]
        permutation = self.partner if self.label_partner is None else self.label_partner
        if self.mixed is not None:
            permutation = _own_unless(self.mixed, permutation)
        return [(None, self.label_weight), (permutation, 1 - self.label_weight)]

    def extended(self, kind: type[OneDraw], **more: Tensor) -> OneDraw:
        """Return this draw as a subclass with more fields."""
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, **more)

    def to(self, device: torch.device | str) -> Self:
        """Copy the draw to another device, without waiting for the copy."""
        return self._with_tensors(lambda tensor: move(tensor, torch.device(device)))

    def idle_copy(self) -> Self:
        """Return a draw of the same structure that mixes no sample and shares no tensor with this one."""
        no_sample = torch.zeros(self.batch_size, dtype=torch.bool, device=self.partner.device)
        copied = dataclasses.replace(self._with_tensors(torch.clone), mixed=no_sample)
        object.__setattr__(copied, "idle", True)
        return copied

    def of_rank(self, shares: Shares) -> Self:
        """Return one rank's part of a draw for the batch of all ranks. Fields of a subclass stay as they are."""
        values = {name: getattr(self, name) for name in ("mixed", "moment_weight", "label_weight")}
        own: dict[str, Any] = {name: shares.own(value) for name, value in values.items() if isinstance(value, Tensor)}
        for name in ("partner", "label_partner"):
            index = getattr(self, name)
            own[name] = None if index is None else GlobalIndex(shares.own(index), shares)
        return dataclasses.replace(self, **own)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Self:
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changed = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        indices = {
            name: changed_index(index, change) for name, index in values.items() if isinstance(index, GlobalIndex)
        }
        copied = dataclasses.replace(self, **cast(dict[str, Any], changed | indices))
        object.__setattr__(copied, "idle", self.idle)
        return copied


class Use:
    """What a plan was used for, to check that features and labels were mixed together.

    Attributes:
        features_were_mixed: whether features were mixed in the last block, as far as is known.
        ran_in_eval: whether the model ran in eval mode in the last block.
        labels_were_mixed: whether `terms` was read.
    """

    def __init__(self) -> None:
        self.features_were_mixed = False
        self.ran_in_eval = False
        self.labels_were_mixed = False


class Plan:
    """The draws of one step for all places of a site.

    Attributes:
        draws: {place: Draw}. A place that mixes no sample in this step has an idle draw.
        batch_size: number of samples.
        terms: the label terms, [(permutation, weight)], where None as permutation is the own label; the weights sum to
            1. Reading them counts as mixing the labels.
        labels: the same terms; reading them does not count as mixing.
    """

    def __init__(self, draws: Mapping[str, Draw], terms: Sequence[Term], batch_size: int) -> None:
        self.draws = dict(draws)
        self.batch_size = batch_size
        self.labels = tuple(terms)
        self.use = Use()

    @property
    def terms(self) -> list[Term]:
        self.use.labels_were_mixed = True
        return list(self.labels)

    @property
    def mixes_labels(self) -> bool:
        return len(self.labels) > 1

    def __repr__(self) -> str:
        active = [name for name, draw in self.draws.items() if not draw.idle]
        return f"Plan(batch_size={self.batch_size}, mixed at {', '.join(active)})"


def _own_unless(mixed: Tensor, index: Index) -> Index:
    """Return the index, and the own one of samples that are not mixed."""
    own = own_index(index)
    return changed_index(index, lambda others: torch.where(mixed, others, own))


def compose(terms: Sequence[Term], more: Sequence[Term]) -> list[Term]:
    """Return the label terms after a second mixing: labels q become the sum over `more` of weight * q[permutation].

    Terms with the same permutation are added up: the same permutation twice gives three labels, not four. On a GPU,
    only the same tensor counts as the same permutation, because comparing values would wait for the device.

    Raises:
        ValueError: both mix labels, and one of them those of other ranks.
    """
    if len(terms) > 1 and len(more) > 1 and any(isinstance(index, GlobalIndex) for index, _ in (*terms, *more)):
        raise ValueError(
            'labels of other ranks, as of partner="global", cannot be mixed a second time by indices. Mix those of the '
            "other plan first, into probabilities, on every rank: mixed_targets(target, plan, num_classes=K)."
        )
    composed: list[Term] = []
    for permutation, weight in more:
        for first, first_weight in terms:
            if permutation is None or first is None:
                both = first if permutation is None else permutation
            else:
                both = cast(Tensor, first)[cast(Tensor, permutation)]
            product = weight * _along(first_weight, permutation)
            for place, (known, known_weight) in enumerate(composed):
                if _is_same(known, both):
                    composed[place] = (known, known_weight + product)
                    break
            else:
                composed.append((both, product))
    return composed


def _along(weight: float | Tensor, permutation: Index | None) -> float | Tensor:
    """Permute the weights of samples along with their labels."""
    varies = isinstance(weight, Tensor) and weight.ndim > 0
    return take(cast(Tensor, weight), permutation) if varies and permutation is not None else weight


def _is_same(one: Index | None, other: Index | None) -> bool:
    if one is other or not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return one is other
    readable = one.device.type == other.device.type == "cpu" and not torch.compiler.is_compiling()
    return readable and torch.equal(one, other)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device without waiting, from pinned memory: a copy from pageable memory would wait."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def child_generators(generator: torch.Generator | None, number: int) -> list[torch.Generator]:
    """Make independent generators for one draw; each draw consumes the same amount of `generator`."""
    seeds = torch.randint(2**62, (number,), generator=generator, device="cpu").tolist()
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def check_batch_size(batch_size: Any) -> None:
    if type(batch_size) is not int or batch_size < 0:
        got = f"a tensor {list(batch_size.shape)}" if isinstance(batch_size, Tensor) else repr(batch_size)
        raise ValueError(f"batch_size needs a whole number of samples; got {got}. Use len(x).")


def _check_draw(draw: Draw) -> None:
    _check_indices("partner", draw.partner, None)
    if draw.label_partner is not None:
        _check_indices("label_partner", draw.label_partner, draw.batch_size)
    for name in ("moment_weight", "label_weight"):
        weight = getattr(draw, name)
        if not isinstance(weight, Tensor) and not 0 <= weight <= 1:
            raise ValueError(f"{name} needs a number from 0 to 1, or a tensor [B]; got {weight!r}.")


def _check_indices(name: str, given: Any, batch_size: int | None) -> None:
    given = given.index if isinstance(given, GlobalIndex) else given
    fits = isinstance(given, Tensor) and given.dtype == torch.int64 and given.ndim == 1
    if not fits or batch_size not in (None, len(given)):
        got = f"{given.dtype} {list(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(
            f"{name} needs one int64 index for each sample, shape [{'B' if batch_size is None else batch_size}]; got "
            f"{got}. Use torch.randperm(B)."
        )
