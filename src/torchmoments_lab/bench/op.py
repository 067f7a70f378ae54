"""The exchange alone: time, share of the copy bandwidth, and memory, forward and backward.

The least that can be moved is x and y in the forward, and x, g and dx in the backward. The share is how fast that much
would be copied here, divided by the time taken: 1 is the limit. A copy of the same features runs in the same rounds.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor

import torchmoments as tm
from torchmoments_lab.bench.clock import cache_bytes, device_of, interleaved, peak_bytes, quartiles
from torchmoments_lab.bench.config import Op
from torchmoments_lab.bench.rows import Row, machine

Exchange = Callable[[Tensor, Tensor], Tensor]

COPY = "copy"
DIRECTIONS = {"forward": 2, "backward": 3, "both": 5}  # tensors of x's size that have to be read or written


def published(x: Tensor, partner: Tensor, norm: str, eps: float = 1e-5) -> Tensor:
    """The exchange as its authors' code computes it, in the dtype of x: operation by operation.

    Source: github.com/Boyiliee/MoEx, `PONO` and `MS`; `in` in the same way.
    """
    dims = (1,) if norm == "pono" else tuple(range(2, x.ndim))
    mean = x.mean(dim=dims, keepdim=True)
    std = x.var(dim=dims, keepdim=True).add(eps).sqrt()
    return (x - mean) / std * std[partner] + mean[partner]


def measure(config: Op) -> Iterator[list[Row]]:
    """The rows of one case after the other.

    Raises:
        ValueError: the request makes no sense here.
        RuntimeError: a contestant's values or gradients are wrong, so its time would mean nothing.
    """
    config.check()
    device = device_of(config.device)
    for shape, dtype, layout, norm in itertools.product(config.shapes, config.dtypes, config.layouts, config.norms):
        yield _measure_case(config, device, shape, getattr(torch, dtype), layout, norm)


def contestants(names: Sequence[str], norm: str, device: torch.device) -> dict[str, Exchange]:
    """The exchanges to time: those that run on this device and for this norm."""
    found: dict[str, Exchange] = {}
    for name in names:
        if name == "published":
            if norm in ("pono", "in"):
                found[name] = lambda x, partner: published(x, partner, norm)
        elif name == "eager":
            found[name] = lambda x, partner: _eager(x, partner, norm)
        elif name != "triton" or device.type == "cuda":
            found[name] = partial(tm.exchange, norm=norm, backend=cast(Any, name))
    return found


def _eager(x: Tensor, partner: Tensor, norm: str) -> Tensor:
    from torchmoments.ops import closed_form
    from torchmoments.ops.norms import group
    from torchmoments.ops.settings import Settings

    grouped = group(x, norm)
    return grouped.restore(closed_form.exchange(grouped.view, partner, None, 0.0, Settings(grouped.axes, 1e-5)))


def _measure_case(
    config: Op, device: torch.device, shape: str, dtype: torch.dtype, layout: str, norm: str
) -> list[Row]:
    exchanges = contestants(config.contestants, norm, device)
    pool = _Pool(tuple(map(int, shape.split("x"))), dtype, layout, device)
    for name, exchange in exchanges.items():
        _check(name, exchange, pool, norm)
    calls = {name: pool.call(exchange) for name, exchange in exchanges.items()}
    seconds = interleaved({**calls, COPY: pool.copy}, config.repeats, device, config.clock)
    memory = {name: peak_bytes(partial(pool.once, exchange), device) for name, exchange in exchanges.items()}
    size = pool.xs[0].numel() * pool.xs[0].element_size()
    bandwidth = 2 * size / median(taken for (taken,) in seconds.pop(COPY))
    rows: list[Row] = []
    for name, rounds in seconds.items():
        times = {
            "forward": [f for f, _ in rounds],
            "backward": [b for _, b in rounds],
            "both": [f + b for f, b in rounds],
        }
        for direction, values in times.items():
            middle, lower, upper = quartiles(values)
            least = DIRECTIONS[direction] * size
            rows.append(
                {
                    "contestant": name,
                    "norm": norm,
                    "layout": layout,
                    "dtype": str(dtype).removeprefix("torch."),
                    "shape": shape,
                    "direction": direction,
                    "ms": round(1000 * middle, 4),
                    "ms_q1": round(1000 * lower, 4),
                    "ms_q3": round(1000 * upper, 4),
                    "rounds": len(values),
                    "least_bytes": least,
                    "copy_gb_per_s": round(bandwidth / 1e9, 2),
                    "share_of_copy": round(least / middle / bandwidth, 4),
                    "peak_extra_bytes": memory[name] if direction == "both" else None,
                    "features_bytes": size,
                    **machine(device, config.clock),
                }
            )
    return rows


class _Pool:
    """Inputs in turn, together larger than the cache; none is ever zero."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, layout: str, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(0)
        size = torch.Size(shape).numel() * torch.empty((), dtype=dtype).element_size()
        number = max(2, -(-2 * cache_bytes(device) // size))
        memory_format = (
            torch.channels_last if layout == "channels_last" and len(shape) == 4 else torch.contiguous_format
        )

        def random() -> Tensor:
            x = torch.randn(shape, generator=generator, device=device) + 0.5
            return x.to(dtype).to(memory_format=memory_format)

        self.xs = [random().requires_grad_() for _ in range(number)]
        self.gs = [random() for _ in range(number)]
        self.targets = [torch.empty_like(x) for x in self.xs[:2]]
        partners = torch.Generator().manual_seed(0)
        self.partners = [torch.randperm(shape[0], generator=partners).to(device) for _ in range(number)]

    def call(self, exchange: Exchange) -> Callable[[int], Sequence[Callable[[], Any]]]:
        def stages(number: int) -> Sequence[Callable[[], Any]]:
            k = number % len(self.xs)
            made: list[Tensor] = []

            def forward() -> None:
                made.append(exchange(self.xs[k], self.partners[k]))

            return forward, lambda: torch.autograd.grad(made.pop(), self.xs[k], self.gs[k])

        return stages

    def copy(self, number: int) -> Sequence[Callable[[], Any]]:
        x = self.xs[number % len(self.xs)].detach()
        return (lambda: self.targets[number % 2].copy_(x),)

    def once(self, exchange: Exchange) -> Any:
        y = exchange(self.xs[0], self.partners[0])
        return y, torch.autograd.grad(y, self.xs[0], self.gs[0])


def _check(name: str, exchange: Exchange, pool: _Pool, norm: str) -> None:
    x, partner, g = pool.xs[0], pool.partners[0], pool.gs[0]
    y = exchange(x, partner)
    found = (y, *torch.autograd.grad(y, x, g))
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
