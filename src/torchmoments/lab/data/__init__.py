"""Data sets by name: what the images are, and which of them are for training and which for the test.

Images are [N, C, H, W] pixels in memory, or a Dataset whose items are one image each; labels are [N] int64.
"""

from torchmoments.lab.config import TrainConfig, nearest
from torchmoments.lab.data.split import Data


def load(config: TrainConfig) -> Data:
    """The data set that `config.data` names. Heavy packages are imported by the one that needs them.

    Raises:
        ValueError: no such data set, or its files are missing, damaged or inconsistent.
    """
    name = config.data
    if name == "digits":
        from torchmoments.lab.data.digits import load_digits

        return load_digits()
    if name in ("mnist", "fashion-mnist"):
        from torchmoments.lab.data.idx import load_idx

        return load_idx(name, config.data_dir)
    known = ("digits", "mnist", "fashion-mnist")
    raise ValueError(f"data needs the name of a data set; got {name!r}. {nearest(name, known)}")
