"""Where a run takes place, and in which arithmetic. Lightning Fabric does it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from torchmoments_lab.process import import_fabric
from torchmoments_lab.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def check_device(training: TrainingSettings, devices: int = 1) -> torch.device:
    """The device that `training.device` means here, the first of several.

    Raises:
        ValueError: this machine has none, or it cannot do the precision.
    """
    name = training.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device needs auto, cpu, cuda, cuda:1 or mps; got {training.device!r}.") from None
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device.type not in found:
        raise ValueError(f"device needs auto, cpu, cuda, cuda:1 or mps; got {training.device!r}.")
    if (device.index or 0) >= found[device.type]:
        raise ValueError(
            f"device needs one that this machine has; got {training.device!r}, and there are {found[device.type]} of "
            f"{device.type}. Write --device auto."
        )
    if training.precision == "16-mixed" and device.type == "cpu":
        raise ValueError("precision 16-mixed needs a GPU; got cpu. Write --precision bf16-mixed.")
    if device.type == "cuda" and devices > found["cuda"]:
        raise ValueError(f"devices needs as many GPUs as this machine has, {found['cuda']}; got {devices}.")
    return device


def all_devices(training: TrainingSettings) -> list[str]:
    """The devices that runs may be spread over: all GPUs, unless the settings name one."""
    device = check_device(training)
    if device == torch.device("cuda"):
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [str(device)]


def make_fabric(training: TrainingSettings, devices: int = 1) -> "Fabric":
    """Fabric for one device; for several of the same kind with DDP, which share each batch."""
    # A second or two, which a process that only checks a request has no use for.
    import_fabric()
    from lightning_fabric import Fabric

    device = check_device(training, devices)
    where: int | list[int] = devices
    if device.type == "cuda" and device.index is not None and devices == 1:
        where = [device.index]
    strategy = "ddp" if devices > 1 else "auto"
    return Fabric(accelerator=device.type, devices=where, strategy=strategy, precision=training.precision)


@contextmanager
def own_random_numbers(device: torch.device, threads: int) -> Iterator[None]:
    """A number of threads, and random numbers that are torch's own again afterwards."""
    before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(before)
