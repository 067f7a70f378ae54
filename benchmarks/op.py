"""Time the exchange alone, forward and backward: time, share of the copy bandwidth, and memory.

At least x and y are moved in the forward, and x, g and dx in the backward. The share is the time in which that much
would be copied here, divided by the time taken: 1 is the limit. A copy of the same features runs in the same rounds.
Every result is added to the CSV as a row.
"""

import itertools
import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

import timing
import torch
from torch import Tensor

import torchmoments as tm

Exchange = Callable[[Tensor, Tensor], Tensor]

LAYOUTS = ["contiguous", "channels_last"]
CONTESTANTS = ["published", "reference", "eager", "compiled", "triton"]
DIRECTIONS = {"forward": 2, "backward": 3, "both": 5}  # tensors of x's size that have to be read or written


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__, "bench/op.csv")
    add = partial(parser.add_argument, nargs="+")
    add("--shapes", type=_shape, default=["64x64x56x56", "128x16x28x28"], help="of the features: BxCxHxW")
    add("--norms", default=["pono", "in"], help="as in torchmoments.exchange")
    add("--layouts", choices=LAYOUTS, default=LAYOUTS, help="of the features in memory")
    add("--dtypes", choices=["float32", "float16", "bfloat16"], default=["float32"], help="of the features")
    explained = """published: the formula as the methods' authors wrote it, in eager PyTorch; reference: our definition;
        eager: its backward in closed form; compiled: under torch.compile; triton: on a GPU only"""
    add("--contestants", choices=CONTESTANTS, default=CONTESTANTS, help=explained)
    chosen = timing.parse(parser, arguments, "contestant,norm,")
    timing.record(chosen.out, measure(chosen))


def _shape(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){2,}", text):
        raise ArgumentTypeError(f"needs sizes such as 64x64x56x56; got {text!r}")
    return text


def published(x: Tensor, partner: Tensor, norm: str, eps: float = 1e-5) -> Tensor:
    """The exchange as its authors' code computes it, in the dtype of x: operation by operation.

    Source: github.com/Boyiliee/MoEx, `PONO` and `MS`; `in` in the same way.
    """
    dims = (1,) if norm == "pono" else tuple(range(2, x.ndim))
    mean = x.mean(dim=dims, keepdim=True)
    std = x.var(dim=dims, keepdim=True).add(eps).sqrt()
    return (x - mean) / std * std[partner] + mean[partner]


def _eager(x: Tensor, partner: Tensor, norm: str) -> Tensor:
    from torchmoments.ops import closed_form
    from torchmoments.ops.norms import group
    from torchmoments.ops.settings import Settings

    grouped = group(x, norm)
    return grouped.restore(closed_form.exchange(grouped.view, partner, None, 0.0, Settings(grouped.axes, 1e-5)))


def exchanges(names: Sequence[str], norm: str, device: torch.device) -> dict[str, Exchange]:
    """The contestants that run on this device and for this norm."""
    by_hand = {"published": partial(published, norm=norm), "eager": partial(_eager, norm=norm)}
    left_out = {"published"} if norm not in ("pono", "in") else set()
    left_out |= {"triton"} if device.type != "cuda" else set()
    calls = {name: by_hand.get(name, partial(tm.exchange, norm=norm, backend=name)) for name in names}
    return {name: call for name, call in calls.items() if name not in left_out}


def measure(chosen: Namespace) -> Iterator[list[timing.Row]]:
    """The rows of one case after the other.

    Raises:
        RuntimeError: a contestant's values or gradients are wrong, so its time would mean nothing.
    """
    for shape, dtype, layout, norm in itertools.product(chosen.shapes, chosen.dtypes, chosen.layouts, chosen.norms):
        case: timing.Row = {"norm": norm, "layout": layout, "dtype": dtype, "shape": shape}
        inputs = Inputs(tuple(map(int, shape.split("x"))), getattr(torch, dtype), layout, chosen.device)
        yield _measure_case(chosen, case, inputs, exchanges(chosen.contestants, norm, chosen.device))


def _measure_case(
    chosen: Namespace, case: timing.Row, inputs: "Inputs", contestants: dict[str, Exchange]
) -> list[timing.Row]:
    for name, exchange in contestants.items():
        check(name, exchange, inputs, case["norm"])
    calls = {name: partial(inputs.stages, exchange) for name, exchange in contestants.items()}
    seconds = timing.interleaved({**calls, "copy": inputs.copy}, chosen.repeats, chosen.device, chosen.clock)
    size = inputs.xs[0].nbytes
    bandwidth = 2 * size / median(taken for (taken,) in seconds.pop("copy"))
    machine = timing.machine(chosen.device, chosen.clock)
    rows: list[timing.Row] = []
    for name, rounds in seconds.items():
        memory = timing.peak_bytes(partial(inputs.once, contestants[name]), chosen.device)
        forward, backward = zip(*rounds, strict=True)
        times = {"forward": forward, "backward": backward, "both": [sum(stages) for stages in rounds]}
        for direction, values in times.items():
            least = DIRECTIONS[direction] * size
            rows.append(
                {
                    "contestant": name,
                    **case,
                    "direction": direction,
                    **timing.with_quartiles("ms", [1000 * value for value in values], 4),
                    "rounds": len(values),
                    "least_bytes": least,
                    "copy_gb_per_s": round(bandwidth / 1e9, 2),
                    "share_of_copy": round(least / median(values) / bandwidth, 4),
                    "peak_extra_bytes": memory if direction == "both" else None,
                    "features_bytes": size,
                    **machine,
                }
            )
    return rows


class Inputs:
    """Features, gradients and partners in turn, together larger than the cache; none is ever zero."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, layout: str, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(0)
        partners = torch.Generator().manual_seed(0)
        last = layout == "channels_last" and len(shape) == 4

        def random() -> Tensor:
            x = torch.randn(shape, generator=generator, device=device) + 0.5
            return x.to(dtype).to(memory_format=torch.channels_last if last else torch.contiguous_format)

        number = max(2, -(-2 * timing.cache_bytes(device) // random().nbytes))
        self.xs = [random().requires_grad_() for _ in range(number)]
        self.gs = [random() for _ in range(number)]
        self.partners = [torch.randperm(shape[0], generator=partners).to(device) for _ in range(number)]
        self.copies = [torch.empty_like(x) for x in self.xs[:2]]

    def stages(self, exchange: Exchange, number: int) -> Sequence[Callable[[], Any]]:
        """The forward and the backward of one exchange."""
        k = number % len(self.xs)
        made: list[Tensor] = []
        return (
            lambda: made.append(exchange(self.xs[k], self.partners[k])),
            lambda: torch.autograd.grad(made.pop(), self.xs[k], self.gs[k]),
        )

    def copy(self, number: int) -> Sequence[Callable[[], Any]]:
        x = self.xs[number % len(self.xs)].detach()
        return (lambda: self.copies[number % 2].copy_(x),)

    def once(self, exchange: Exchange) -> tuple[Tensor, Tensor]:
        """Value and gradient."""
        y = exchange(self.xs[0], self.partners[0])
        return y, *torch.autograd.grad(y, self.xs[0], self.gs[0])


def check(name: str, exchange: Exchange, inputs: Inputs, norm: Any) -> None:
    """Compare value and gradient with the definition in float64."""
    found = inputs.once(exchange)
    x, partner, g = inputs.xs[0], inputs.partners[0], inputs.gs[0]
    exact = x.detach().double().requires_grad_()
    right_y = tm.exchange(exact, partner, norm, backend="reference")
    right = (right_y, *torch.autograd.grad(right_y, exact, g.double()))
    # The published formula has its statistics in the dtype of x.
    tolerance = 1e-3 if x.dtype == torch.float32 else (0.1 if name == "published" else 0.05)
    for what, mine, expected in zip(("value", "gradient"), found, right, strict=True):
        error = float((mine.detach().double() - expected.detach()).abs().max() / expected.detach().abs().max())
        if not error < tolerance:
            raise RuntimeError(
                f"{name} is wrong for norm={norm!r}, {x.dtype}, {list(x.shape)}: {what} off by {error:.2g}."
            )


if __name__ == "__main__":
    main()
