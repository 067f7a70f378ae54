"""Data sets by name: what the images are, and which of them are for training and which for the test."""

from torchmoments_lab.data.split import Data
from torchmoments_lab.settings import DATA_SETS, FOLDERS, DataSettings
from torchmoments_lab.typed import nearest


def load(settings: DataSettings) -> Data:
    """The data set that `settings.data` names. Heavy packages are imported by the one that needs them.

    Raises:
        ValueError: no such data set, or its files are missing, damaged or inconsistent.
    """
    name = settings.data
    if name.startswith(FOLDERS):
        from torchmoments_lab.data.folder import load_folder

        kind, _, path = name.partition(":")
        test = None if settings.test_data is None else settings.test_data.removeprefix("folder:")
        return load_folder(path, test, has_domains=kind == "domains")
    if ":" in name:
        from torchmoments_lab.data.dataset import make
        from torchmoments_lab.data.own import from_objects

        return from_objects(*make(name), function=name)
    if name not in DATA_SETS:
        known = (*DATA_SETS, "folder:PATH", "domains:PATH", "your.module:make_data")
        raise ValueError(f"data needs the name of a data set; got {name!r}. {nearest(name, known)}")
    if settings.data_dir is not None and name == "digits":
        raise ValueError("data_dir is for data sets in files; digits comes with scikit-learn. Leave --data-dir out.")
    from torchmoments_lab.data.standard import load_digits, load_files

    return load_digits() if name == "digits" else load_files(name, settings.data_dir)
