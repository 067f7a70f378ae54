"""Who is whose partner: the words that mixers know, and any function.

A policy takes (batch_size, groups, generator) and gives partners [B] int64. A sample that must not be mixed gets
NOBODY. Groups are the domain or class of each sample, as int64 ids [B] in which equal means the same; None where none
were given.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import cast

import torch
from torch import Tensor

Policy = Callable[[int, Tensor | None, torch.Generator], Tensor]
Partner = str | Policy
Groups = Tensor | Sequence[Hashable]

NOBODY = -1


def pair(partner: Partner, batch_size: int, groups: Groups | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Partners [B] int64, and who has one [B] bool; those without are given themselves.

    Raises:
        ValueError: groups are missing or of another length, or a function gives what are no partners.
    """
    ids = None if groups is None else _ids(groups, batch_size)
    policy = POLICIES[partner] if isinstance(partner, str) else partner
    if ids is None and partner in NEED_GROUPS:
        raise ValueError(
            f"partner={partner!r} needs the group of each sample, its domain or class; got none. "
            "Use site.mixing(len(x), groups=labels), or mixer.draw(batch_size, groups=labels)."
        )
    chosen = policy(batch_size, ids, generator)
    if not isinstance(partner, str):
        _check(chosen, batch_size, partner)
        chosen = chosen.cpu()
    has_one = chosen != NOBODY
    return torch.where(has_one, chosen, torch.arange(batch_size, device="cpu")), has_one


def check_partner(partner: Partner) -> None:
    """Raise ValueError unless it is a known word or a function."""
    if not callable(partner) and partner not in POLICIES:
        raise ValueError(f"partner needs one of {', '.join(POLICIES)}, or a function; got {partner!r}.")


def third(partner: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each sample one that is neither itself nor its partner, [B] int64, all with the same chance; and whether
    there is one, [B] bool: not in a batch of two."""
    others = ~torch.eye(len(partner), dtype=torch.bool, device="cpu")
    others[torch.arange(len(partner), device="cpu"), partner] = False
    chosen = _any_of(others, generator)
    return chosen.clamp(min=0), chosen != NOBODY


def random_permutation(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """A uniform permutation; some samples may be their own partner."""
    return torch.randperm(batch_size, generator=generator, device="cpu")


def random_derangement(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """A uniform permutation without a fixed point, by rejection (e = 2.7 tries on average)."""
    own = torch.arange(batch_size, device="cpu")
    if batch_size < 2:
        return torch.full((batch_size,), NOBODY, device="cpu")
    while True:
        permutation = random_permutation(batch_size, groups, generator)
        if not bool((permutation == own).any()):
            return permutation


def other_half(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """For a batch whose halves are two domains: the halves change places, each in random order, as MixStyle does.

    In an odd batch the first half is one larger, and a sample that meets itself has no partner.
    """
    turned = torch.arange(batch_size - 1, -1, -1, device="cpu")
    halves = [half[torch.randperm(len(half), generator=generator, device="cpu")] for half in turned.chunk(2)]
    chosen = torch.cat(halves)
    return torch.where(chosen == turned.flip(0), NOBODY, chosen)


def from_other_group(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """For each sample, any one of another group, all with the same chance."""
    assert groups is not None
    return _any_of(groups[:, None] != groups, generator)


def from_same_group(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """For each sample, any other one of its group, all with the same chance."""
    assert groups is not None
    return _any_of((groups[:, None] == groups) & ~torch.eye(batch_size, dtype=torch.bool, device="cpu"), generator)


POLICIES: dict[str, Policy] = {
    "random": random_permutation,
    "derangement": random_derangement,
    "crossdomain": other_half,
    "other-group": from_other_group,
    "same-group": from_same_group,
}
NEED_GROUPS = ("other-group", "same-group")


def _any_of(allowed: Tensor, generator: torch.Generator) -> Tensor:
    """One allowed column for each row of [B, B]; NOBODY where there is none."""
    scores = torch.rand(allowed.shape, generator=generator, dtype=torch.float64, device="cpu")
    chosen = torch.where(allowed, scores, -1.0).argmax(1)
    return torch.where(allowed.any(1), chosen, NOBODY)


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
    # Tensors are equal only to themselves.
    labels = [label.item() if isinstance(label, Tensor) else label for label in groups]
    known = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return torch.tensor([known[label] for label in labels], dtype=torch.int64, device="cpu")


def _check(chosen: object, batch_size: int, policy: Policy) -> None:
    name = name_of(policy)
    if not isinstance(chosen, Tensor) or chosen.dtype != torch.int64 or chosen.shape != (batch_size,):
        got = f"{chosen.dtype} {list(chosen.shape)}" if isinstance(chosen, Tensor) else type(chosen).__name__
        raise ValueError(f"partner={name} needs to give int64 indices, shape [{batch_size}]; got {got}.")
    if batch_size and not (int(chosen.min()) >= NOBODY and int(chosen.max()) < batch_size):
        raise ValueError(
            f"partner={name} needs to give indices from 0 to {batch_size - 1}, or {NOBODY} for nobody; "
            f"got {int(chosen.min())} to {int(chosen.max())}."
        )


def name_of(policy: object) -> str:
    """The name of a function, of an instance its repr."""
    return str(getattr(policy, "__qualname__", repr(policy)))
