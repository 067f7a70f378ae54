"""Padding in a user's network: what it says of real positions reaches the mixing."""

import pytest
import torch
from torch import nn

from torchmoments_lab import compare
from torchmoments_lab.models.padding import described, padding

FAST = {"epochs": 1, "batch_size": 8, "seeds": 1, "workers": 1}


def sequences(number, seed):
    """[N, 2, 9] of three to nine positions; channel 0 is above 0 at the real ones."""
    generator = torch.Generator().manual_seed(seed)
    x, lengths = torch.randn(number, 2, 9, generator=generator), torch.randint(3, 10, (number,), generator=generator)
    real = torch.arange(9) < lengths[:, None]
    x[:, 0] = torch.where(real, 1.0, -1.0)
    return x, torch.arange(number) % 3


def make_data():
    return sequences(24, 0), sequences(9, 1)


class PaddingIsZero(nn.Module):
    """What comes after the place: mixing that does not know of padding puts moments into it."""

    def forward(self, h, mask):
        assert (h * ~mask).abs().max() == 0
        return (h * mask).sum(2)


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3, padding=1)
        self.stem = nn.Identity()
        self.pool = PaddingIsZero()
        self.fc = nn.Linear(4, 3)

    def padding_mask(self, x):
        return x[:, 0] > 0

    def forward(self, x):
        mask = self.padding_mask(x)[:, None]
        return self.fc(self.pool(self.stem(self.conv(x) * mask), mask))


class Silent(Masked):
    """Does not say where its padding is."""

    padding_mask = None

    def forward(self, x):
        mask = (x[:, 0] > 0)[:, None]
        return self.fc(self.pool(self.stem(self.conv(x) * mask), mask))


METHOD = "moex:norm=in,at=stem,p=1,channel_dim=1"


def run(model, out):
    return compare(model, sequences(24, 0), sequences(9, 1), ["none", METHOD], out=out, **FAST)


def test_moments_leave_padding_out(tmp_path):
    assert run(Masked, tmp_path / "out").errors[METHOD].n == 1


def test_without_a_mask_the_exchange_is_over_all_positions(tmp_path):
    """So the test above can fail."""
    with pytest.raises(ValueError, match="AssertionError|needs to run"):
        run(Silent, tmp_path / "out")


def test_a_mask_of_another_kind_or_shape_is_refused(tmp_path):
    class Words(Masked):
        def padding_mask(self, x):
            return "x"

    class Short(Masked):
        def padding_mask(self, x):
            return x[:, 0, 1:] > 0

    class Flat(Masked):
        def padding_mask(self, x):
            return {"stem": x[:, 0, 0] > 0}

    class Elsewhere(Masked):
        def padding_mask(self, x):
            return {"stam": x[:, 0] > 0, "fc": None}

    x = sequences(2, 0)[0]
    for network, what in [(Words(), "a str"), (Flat(), r"one \[2\]")]:
        with pytest.raises(ValueError, match=rf"padding_mask\(x\) .* needs to give a tensor .*; got {what}\."):
            padding(network, x)
    with pytest.raises(ValueError, match="a mask for each place, 'stem'; got 'stam', 'fc'"):
        padding(Elsewhere(), x, ["stem"])
    for model in (Words, Short):
        with pytest.raises(ValueError, match="mask"):
            run(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_real_position_is_refused(tmp_path):
    class Opposite(Masked):
        def padding_mask(self, x):
            return torch.zeros_like(x[:, 0], dtype=torch.bool)

    for mask in (torch.zeros(2, 9) > 0, {"a": torch.ones(2, 9) > 0, "b": torch.zeros(2, 9)}):
        with pytest.raises(ValueError, match="True for real positions; of the first inputs none is"):
            described(Masked(), mask)
    with pytest.raises(ValueError, match="needs to give True or 1 .*; got numbers from -1 to 0"):
        described(Masked(), torch.arange(18).reshape(2, 9) % 2 - 1)
    with pytest.raises(ValueError, match="True for real positions"):
        run(Opposite, tmp_path / "out")


def test_it_is_said_what_is_left_out(tmp_path):
    mask = torch.arange(10) < torch.tensor([4, 8])[:, None]
    said = "of the first inputs {} of the positions are real"
    assert described(Masked(), mask) == f"left out of moments: {said.format('60%')}"
    assert said.format("60% and 40%") in described(Masked(), {"a": mask, "b": None, "c": mask[:1].long()})
    assert described(Masked(), mask & mask[1:]).endswith("60% of the positions are real")
    assert described(Masked(), mask & ~mask[:1]).endswith("20% of the positions are real; 1 input without any")
    assert described(Masked(), {"a": None}) is None


def test_it_is_a_setting_of_the_runs(tmp_path):
    """So a folder is not gone on with by a network whose mask is another."""

    class Half(Masked):
        def padding_mask(self, x):
            return super().padding_mask(x) & (torch.arange(9) < 5)

    summary = run(Masked, tmp_path / "out")
    assert summary.settings["padding"].startswith("left out of moments: of the first inputs ")
    with pytest.raises(ValueError, match=r"padding \.\.\.of the first inputs \d+% .* \(got \.\.\.of the first inputs"):
        compare(Half, sequences(24, 0), sequences(9, 1), ["none", METHOD], out=tmp_path / "out", **FAST | {"seeds": 2})


def test_what_may_be_meant_to_be_the_method_is_named():
    class Misspelt(Silent):
        def paddding_masks(self, x):
            return x[:, 0] > 0

    class Short(Silent):
        def pad_mask(self, x):
            return x[:, 0] > 0

    class Tensors(Silent):
        padding_mask = torch.ones(2, 9)

    class Other(Silent):
        padding_masks = None

        def pad(self, x):
            return x

    within = nn.Sequential(Masked())
    for network, name in [
        (Misspelt(), "a method paddding_masks"),
        (Short(), "a method pad_mask"),
        (Tensors(), "a padding_mask that is no method"),
        (within, "0.padding_mask"),
    ]:
        assert described(network, None) == (
            f"not left out of moments: the network has {name}, but is asked for a method padding_mask(x)"
        )
    assert described(Silent(), None) is described(Other(), None) is None


def test_one_network_serves_methods_at_places_of_different_length(tmp_path):
    class Strided(Masked):
        def __init__(self):
            super().__init__()
            self.late = nn.Identity()

        def padding_mask(self, x):
            real = super().padding_mask(x)
            return {"stem": real, "late": real[:, ::2]}

        def forward(self, x):
            mask = Masked.padding_mask(self, x)[:, None]
            h = self.stem(self.conv(x) * mask)[:, :, ::2]
            return self.fc(self.pool(self.late(h), mask[:, :, ::2]))

    # Labels are mixed at the first place, whose padding nobody asks for.
    methods = [
        "none",
        "labels",
        *(f"moex:norm=in,at={place},p=1,channel_dim=1" for place in ("stem", "late", "stem+late")),
    ]
    summary = compare(Strided, sequences(24, 0), sequences(9, 1), methods, out=tmp_path / "out", **FAST)
    assert all(error.n == 1 for error in summary.errors.values())


def test_a_method_that_fails_is_named_with_what_it_raised():
    class Fails(Masked):
        def padding_mask(self, x):
            raise KeyError("lengths")

    with pytest.raises(
        ValueError, match=r"padding_mask\(x\) .* on inputs \[2, 2, 9\]; it raised KeyError: 'lengths'\."
    ):
        padding(Fails(), sequences(2, 0)[0])


def test_what_has_no_effect_is_said_with_what_is_left_out(tmp_path):
    class Opposite(Masked):
        def padding_mask(self, x):
            return x[:, 0] < 0

        def forward(self, x):
            mask = Masked.padding_mask(self, x)[:, None]
            return self.fc(self.pool(self.stem(self.conv(x) * mask) * mask, mask))

    with pytest.raises(ValueError, match=r"changes nothing after 'stem'.* of the first inputs \d+% of the positions"):
        run(Opposite, tmp_path / "out")


def test_a_network_without_the_method_has_no_padding():
    assert padding(nn.Conv1d(2, 4, 3), torch.zeros(2, 2, 9)) is None
