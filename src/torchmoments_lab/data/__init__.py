"""Data sets by name: what the images are, and which of them are for training and which for the test."""

from torchmoments_lab.config import DATA_SETS, SubjectConfig, nearest
from torchmoments_lab.data.split import Data


def load(config: SubjectConfig) -> Data:
    """The data set that `config.data` names. Heavy packages are imported by the one that needs them.

    Raises:
        ValueError: no such data set, or its files are missing, damaged or inconsistent.
    """
    name = config.data
    if name.startswith("folder:"):
        from torchmoments_lab.data.folder import load_folder

        return load_folder(name.removeprefix("folder:"))
    if ":" in name:
        from torchmoments_lab.data.own import call_make_data

        return call_make_data(name)
    if name not in DATA_SETS:
        known = (*DATA_SETS, "folder:PATH", "your.module:make_data")
        raise ValueError(f"data needs the name of a data set; got {name!r}. {nearest(name, known)}")
    if config.data_dir is not None and name == "digits":
        raise ValueError("data_dir is for data sets in files; digits comes with scikit-learn. Leave --data-dir out.")
    if name == "digits":
        from torchmoments_lab.data.digits import load_digits

        return load_digits()
    if name.startswith("cifar"):
        from torchmoments_lab.data.cifar import load_cifar

        return load_cifar(name, config.data_dir)
    from torchmoments_lab.data.idx import load_idx

    return load_idx(name, config.data_dir)
