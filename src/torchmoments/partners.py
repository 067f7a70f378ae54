"""How partners are chosen: named policies, and any function.

A policy is called with (batch_size, groups, generator) and returns partners [B] int64; a sample that must not be mixed
gets NO_PARTNER. Groups are the domain or class of each sample, as int64 ids [B] (equal ids, same group), or None.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import cast

import torch
from torch import Tensor

from torchmoments.ranks import GLOBAL

Policy = Callable[[int, Tensor | None, torch.Generator], Tensor]
Partner = str | Policy
Groups = Tensor | Sequence[Hashable]

NO_PARTNER = -1


def assign_partners(
    partner: Partner, batch_size: int, groups: Groups | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return partners [B] int64, and which samples have one, [B] bool; those without get their own index.

    Raises:
        ValueError: groups are missing or have another length, or a function returns invalid partners.
    """
    ids = None if groups is None else _ids(groups, batch_size)
    policy = POLICIES[partner] if isinstance(partner, str) else partner
    if ids is None and partner in NEEDS_GROUPS:
        raise ValueError(
            f"partner={partner!r} needs the group of each sample, its domain or class; got none. "
            "Use site.mixing(len(x), groups=labels), or mixer.draw(batch_size, groups=labels)."
        )
    chosen = policy(batch_size, ids, generator)
    if not isinstance(partner, str):
        _check(chosen, batch_size, partner)
        chosen = chosen.cpu()
    has_one = chosen != NO_PARTNER
    return torch.where(has_one, chosen, torch.arange(batch_size, device="cpu")), has_one


def check_partner(partner: Partner) -> None:
    """Raise ValueError unless `partner` is the name of a policy or a function."""
    if not callable(partner) and partner not in POLICIES:
        raise ValueError(f"partner needs one of {', '.join(POLICIES)}, or a function; got {partner!r}.")


def third_samples(partner: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each sample, choose uniformly one that is neither itself nor its partner, [B] int64; and whether there is
    one, [B] bool, which is not the case in a batch of two."""
    others = ~torch.eye(len(partner), dtype=torch.bool, device="cpu")
    others[torch.arange(len(partner), device="cpu"), partner] = False
    chosen = _choose_any(others, generator)
    return chosen.clamp(min=0), chosen != NO_PARTNER


def random_permutation(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """Draw a uniform permutation; some samples may be their own partner."""
    return torch.randperm(batch_size, generator=generator, device="cpu")


def random_derangement(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """Draw a uniform permutation without fixed points, by rejection (e = 2.7 tries on average)."""
    own = torch.arange(batch_size, device="cpu")
    if batch_size < 2:
        return torch.full((batch_size,), NO_PARTNER, device="cpu")
    while True:
        permutation = random_permutation(batch_size, groups, generator)
        if not bool((permutation == own).any()):
            return permutation


def swap_halves(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """Swap the halves of a batch, each in random order, as MixStyle does if the halves are two domains.

    In an odd batch the first half has one more sample, and self-pairs have no partner.
    """
    turned = torch.arange(batch_size - 1, -1, -1, device="cpu")
    halves = [half[torch.randperm(len(half), generator=generator, device="cpu")] for half in turned.chunk(2)]
    chosen = torch.cat(halves)
    return torch.where(chosen == turned.flip(0), NO_PARTNER, chosen)


def from_other_group(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """For each sample, choose uniformly one from another group."""
    assert groups is not None
    return _choose_any(groups[:, None] != groups, generator)


def from_same_group(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """For each sample, choose uniformly another one from its group."""
    assert groups is not None
    return _choose_any((groups[:, None] == groups) & ~torch.eye(batch_size, dtype=torch.bool, device="cpu"), generator)


POLICIES: dict[str, Policy] = {
    "random": random_permutation,
    "derangement": random_derangement,
    "crossdomain": swap_halves,
    "other-group": from_other_group,
    "same-group": from_same_group,
    # Of the batch over all ranks, see `Mixer.draw`.
    GLOBAL: random_permutation,
}
NEEDS_GROUPS = ("other-group", "same-group")


def _choose_any(allowed: Tensor, generator: torch.Generator) -> Tensor:
    """Choose one allowed column for each row of [B, B]; NO_PARTNER if none is allowed."""
    scores = torch.rand(allowed.shape, generator=generator, dtype=torch.float64, device="cpu")
    chosen = torch.where(allowed, scores, -1.0).argmax(1)
    return torch.where(allowed.any(1), chosen, NO_PARTNER)


def _ids(groups: Groups, batch_size: int) -> Tensor:
    if isinstance(groups, Tensor):
        if groups.shape != (batch_size,):
            raise ValueError(
                f"groups need one label for each of the {batch_size} samples; got shape {list(groups.shape)}. "
                "Use class or domain indices, [B]."
            )
        _, ids = torch.unique(groups.cpu(), return_inverse=True)
        return cast(Tensor, ids)
    if isinstance(groups, str) or len(groups) != batch_size:
        got = f"the one word {groups!r}" if isinstance(groups, str) else len(groups)
        raise ValueError(
            f"groups need one label for each of the {batch_size} samples; got {got}. "
            "Use the labels of the batch that goes through the model."
        )
    # Tensors compare by identity, so take their values.
    labels = [label.item() if isinstance(label, Tensor) else label for label in groups]
    known = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return torch.tensor([known[label] for label in labels], dtype=torch.int64, device="cpu")


def _check(chosen: object, batch_size: int, policy: Policy) -> None:
    name = policy_name(policy)
    if not isinstance(chosen, Tensor) or chosen.dtype != torch.int64 or chosen.shape != (batch_size,):
        got = f"{chosen.dtype} {list(chosen.shape)}" if isinstance(chosen, Tensor) else type(chosen).__name__
        raise ValueError(f"partner={name} needs to return int64 indices, shape [{batch_size}]; got {got}.")
    if batch_size and not (int(chosen.min()) >= NO_PARTNER and int(chosen.max()) < batch_size):
        raise ValueError(
            f"partner={name} needs to return indices from 0 to {batch_size - 1}, or {NO_PARTNER} for no partner; "
            f"got {int(chosen.min())} to {int(chosen.max())}."
        )


def policy_name(policy: object) -> str:
    """Return the name of a function, or the repr of another object."""
    return str(getattr(policy, "__qualname__", repr(policy)))
