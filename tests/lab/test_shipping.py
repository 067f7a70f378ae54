"""Jobs that travel: nothing of the machine that they come from is needed where they are done."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments_lab.comparison import runs_of
from torchmoments_lab.data.encoded import EncodedImages
from torchmoments_lab.data.folder import ImageFiles
from torchmoments_lab.requests import Compare
from torchmoments_lab.resolve import resolve
from torchmoments_lab.shipping import shipped

NETS = """
from torch import nn
from widths import WIDTH

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3)
        self.fc = nn.Linear(WIDTH, num_classes)

    def forward(self, x):
        return self.fc(self.stem(x).mean((2, 3)))

def make(num_classes=2):
    return Net(num_classes)
"""
DATA = """
from torch.utils.data import Dataset
from torchvision.transforms import functional
from PIL import Image
from pathlib import Path

class Pictures(Dataset):
    def __init__(self, folder):
        self.paths = sorted(Path(folder).glob("*/*.png"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        return functional.to_tensor(Image.open(path).convert("RGB")), int(path.parent.name == "b")

def make():
    return Pictures(FOLDER), Pictures(FOLDER)
"""
# Elsewhere: another folder, and the first one is gone.
THERE = """
import pickle, sys
from pathlib import Path
pickled, *buffers = pickle.loads(Path(sys.argv[1]).read_bytes())
for number, job in enumerate(pickle.loads(pickled, buffers=buffers)):
    home = Path(sys.argv[2]) / str(number)
    home.mkdir()
    assert job.within(home).train() is None, job.within(home).summary()
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A folder of a user's, the current one: two modules, pictures, and weights."""
    folder = tmp_path / "user"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(6):
            picture = draw.integers(256, size=(8 + number, 9, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / "pictures" / name / f"{number}.png")
    (folder / "widths.py").write_text("WIDTH = 5")
    (folder / "nets.py").write_text(NETS)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in ("widths", "nets", "own_data"):
        sys.modules.pop(name, None)


def figures(folder):
    return [(folder / name).read_bytes() for name in ("config.json", "metrics.csv", "predictions.npy")]


def jobs_of(request):
    experiment = resolve(request, request.judging, request.methods, notice=lambda sentence: None).experiment
    return runs_of(request, experiment, 1)


def done_elsewhere(jobs, tmp_path, user):
    """Train them in another process, whose machine has none of the user's files; the folders of the runs."""
    shipment = shipped(jobs)
    buffers = [bytes(buffer) for buffer in shipment.buffers]
    (tmp_path / "shipment").write_bytes(pickle.dumps([shipment.pickled, *buffers]))
    shutil.rmtree(user)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = [sys.executable, "-c", THERE, tmp_path / "shipment", elsewhere]
    subprocess.run(arguments, cwd=elsewhere, check=True, timeout=120)
    return [elsewhere / str(number) / "run" for number in range(len(jobs))]


REQUEST = Compare().with_values(methods=("none", "moex:at=stem"), epochs=2, batch_size=4, image_size=8, device="cpu")


@pytest.mark.slow
def test_pictures_weights_and_a_users_network_travel(tmp_path, user):
    import nets

    torch.save(nets.make().state_dict(), user / "weights.pt")
    request = REQUEST.with_values(
        data=f"folder:{user / 'pictures'}", model="nets:make", weights=user / "weights.pt", out=tmp_path / "out"
    )
    jobs = jobs_of(request)
    assert [job.train() for job in jobs] == [None, None]
    folders = done_elsewhere(jobs, tmp_path, user)
    assert [figures(folder) for folder in folders] == [figures(job.folder) for job in jobs]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_users_data_set_travels_by_its_function(tmp_path, user):
    # What the function reads has to be there: it is not copied.
    kept = tmp_path / "shared"
    shutil.copytree(user / "pictures", kept)
    for path in kept.glob("*/*.png"):
        Image.open(path).resize((8, 8)).save(path)
    (user / "own_data.py").write_text(f"FOLDER = {str(kept)!r}\n{DATA}")
    request = REQUEST.with_values(data="own_data:make", model="nets:make", image_size=None, out=tmp_path / "out")
    jobs = jobs_of(request)
    assert [job.train() for job in jobs] == [None, None]
    folders = done_elsewhere(jobs, tmp_path, user)
    assert [figures(folder) for folder in folders] == [figures(job.folder) for job in jobs]


def test_pictures_as_bytes_are_those_of_their_files(user):
    paths = sorted((user / "pictures").glob("*/*.png"))
    files, encoded = ImageFiles(paths), EncodedImages.read(paths)
    assert len(encoded) == len(files) == 12
    for number in range(12):
        assert np.array_equal(np.asarray(encoded[number]), np.asarray(files[number]))


def test_what_cannot_be_pickled_is_said(user, tmp_path):
    import nets

    nets.make.lock = (number for number in ())
    request = REQUEST.with_values(data=f"folder:{user / 'pictures'}", model="nets:make", out=tmp_path / "out")
    with pytest.raises(ValueError, match="data and models need to be picklable for a cluster; got .*generator"):
        shipped(jobs_of(request))
