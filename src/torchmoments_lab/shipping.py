"""Jobs for a machine that has neither the files of this one nor its user's modules.

They are pickled, with these in place of what they refer to:

    pictures in files                    the bytes of the files
    weights in files                     the tensors
    a user's function by its name        the function
    modules below the current folder     by value: their functions and classes are pickled with what they use
"""

import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle

from torchmoments_lab.data.dataset import DatasetImages, made_again
from torchmoments_lab.data.encoded import EncodedImages
from torchmoments_lab.data.folder import ImageFiles
from torchmoments_lab.function import find_function
from torchmoments_lab.jobs import Job
from torchmoments_lab.models.network import Network
from torchmoments_lab.models.weights import read_file

_OURS = ("torchmoments", "torchmoments_lab")


class Shipment(NamedTuple):
    """Pickled jobs, and the large buffers in them, which processes of one machine may share."""

    pickled: bytes
    buffers: list[Any]

    def jobs(self) -> list[Job]:
        jobs: list[Job] = pickle.loads(self.pickled, buffers=self.buffers)
        return jobs


def shipped(jobs: Sequence[Job]) -> Shipment:
    """The jobs with all that they need.

    Raises:
        ValueError: they cannot be pickled.
    """
    file = BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    with _by_value():
        try:
            _Pickler(file, buffers).dump([job.with_files_read() for job in jobs])
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"data and models need to be picklable for a cluster; got {error}.") from error
    return Shipment(file.getvalue(), buffers)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: BytesIO, buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=self._is_in_the_pickle)
        self._buffers = buffers
        self._shared: list[pickle.PickleBuffer] = []

    def _is_in_the_pickle(self, buffer: pickle.PickleBuffer) -> bool:
        """Others may be written to by a user's code: those of shared memory cannot."""
        is_shared = any(buffer is one for one in self._shared)
        if is_shared:
            self._buffers.append(buffer)
        return not is_shared

    def reducer_override(self, value: Any) -> Any:
        if type(value) is ImageFiles:
            encoded = EncodedImages.read(value.paths)
            self._shared.append(pickle.PickleBuffer(encoded.content))
            return EncodedImages, (self._shared[-1], encoded.ends)
        if type(value) is DatasetImages and value.origin is not None:
            function = find_function("data", value.origin[0])
            return made_again, (function, value.keys, value.origin, value.labels)
        if type(value) is Network:
            return Network, tuple(vars(_with_all(value)).values())
        return super().reducer_override(value)


def _with_all(network: Network) -> Network:
    """The network without names of functions and files."""
    settings = network.settings
    if network.is_users and network.make_model is None:
        network = replace(network, make_model=find_function("model", settings.model))
    if settings.weights is not None and network.weights is None:
        network = replace(network, weights=read_file(settings.weights))
    return network


@contextmanager
def _by_value() -> Iterator[None]:
    """In the block, what a user's own modules define is pickled by value."""
    modules = [module for module in list(sys.modules.values()) if _is_users(module)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _is_users(module: ModuleType) -> bool:
    """Whether it is a file below the current folder that is not installed."""
    file = getattr(module, "__file__", None)
    if not file or module.__name__.partition(".")[0] in (*_OURS, "__main__"):
        return False
    path = Path(file).absolute()
    is_installed = any(part.endswith("-packages") for part in path.parts)
    is_python = any(path.is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix))
    return path.is_relative_to(Path.cwd()) and not is_installed and not is_python
