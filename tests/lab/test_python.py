"""`torchmoments_lab.compare`, with the user's own objects."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from torchmoments_lab import compare
from torchmoments_lab import resolve as door
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.metrics import METRICS
from torchmoments_lab.report import report

# They train.
pytestmark = [pytest.mark.slow, pytest.mark.drawn]

FAST = {"epochs": 2, "batch_size": 8, "seeds": 2, "workers": 1}


def tensors(number, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    return torch.randn(number, 2, 8, 8, generator=generator) + labels.view(-1, 1, 1, 1), labels


def make_model(num_classes):
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, num_classes))


def test_it_gives_the_summary_of_runs_in_folders(tmp_path):
    methods = ["none", "moex:at=2"]
    summary = compare(make_model, tensors(30, 0), TensorDataset(*tensors(12, 1)), methods, out=tmp_path / "out", **FAST)
    assert summary.errors["moex:at=2"].n == 2
    assert summary.settings["model"] == "objects:make_model"
    predictions = np.load(tmp_path / "out" / "runs" / "none" / "seed0" / "predictions.npy")
    assert predictions["target"].tolist() == tensors(12, 1)[1].tolist()
    assert predictions["scores"].shape == (12, 3)


class Items(Dataset):
    def __init__(self, number, seed):
        self.images, self.targets = tensors(number, seed)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.images[index] + torch.rand(1), self.targets[index]


def test_workers_get_functions_that_have_no_name_and_read_images_ahead(tmp_path):
    width = 4
    model = lambda: nn.Sequential(nn.Conv2d(2, width, 3), nn.Flatten(), nn.Linear(36 * width, 3))  # noqa: E731
    settings = {"methods": ["none"], **FAST, "epochs": 1}
    for workers in (1, 2):
        processes = {"workers": workers, "loader_workers": workers - 1}
        summary = compare(model, Items(30, 0), Items(12, 1), out=tmp_path / str(workers), **settings | processes)
        assert summary.errors["none"].n == 2
    for path in (tmp_path / "1").glob("runs/*/*/predictions.npy"):
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()


def test_what_cannot_be_sent_to_workers_is_refused(tmp_path):
    lock = threading.Lock()

    def locked(num_classes):
        with lock:
            return make_model(num_classes)

    with pytest.raises(ValueError, match="need to be picklable for several workers; got .*lock.*Use workers=1"):
        compare(locked, tensors(30, 0), tensors(12, 1), ["none"], out=tmp_path / "out", **FAST | {"workers": 2})


def test_datasets_are_read_once_before_the_runs_however_many_these_are(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(door, "from_objects", lambda *given: asked.append(given) or from_objects(*given))
    settings = FAST | {"epochs": 1, "seeds": 3}
    compare(make_model, tensors(30, 0), Items(12, 1), ["none"], out=tmp_path / "out", **settings)
    assert len(asked) == 1


def test_labels_alone_need_no_place(tmp_path):
    summary = compare(make_model, tensors(30, 0), tensors(12, 1), ["none", "labels"], out=tmp_path / "out", **FAST)
    assert summary.errors["labels"].n == 2


def test_other_data_under_the_same_names_is_refused(tmp_path):
    first = {"test": tensors(12, 1), "methods": ["none"], "out": tmp_path / "out", **FAST}
    compare(make_model, tensors(30, 0), **first)
    images, labels = tensors(30, 0)
    with pytest.raises(ValueError, match=r"holds runs with images 30 \+ 12 of 3 classes, \w+ \(got 30 \+ 12"):
        compare(make_model, (images, labels.flip(0)), **first)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"make_model": nn.Linear(2, 2)}, None),
        ({"make_model": 3}, "make_model needs a function that gives a new model for each run; got int"),
        ({"epoch": 3}, "compare has no setting 'epoch'. Nearest: 'epochs'"),
        ({"width": 3}, "compare has no setting 'width'"),
        ({"dry_run": True}, "compare has no setting 'dry_run' here: it returns a summary"),
        ({"schedule": "linear"}, "schedule needs one of cosine, step, constant; got 'linear'"),
        ({"metric": "accuracy"}, "metric needs one of error, balanced-error, auroc"),
        ({"methods": ["meox"]}, "Nearest: 'moex'"),
        ({"methods": ["moex"]}, "not found in Sequential. Write one in the method, as in moex:at=0;"),
        ({"train": 3}, "train needs a torch Dataset"),
        ({"metric": "auroc", "test": (torch.zeros(4, 2, 8, 8), torch.ones(4).long())}, "got 4, all of class '1'"),
        ({"seeds": 3.0}, "seeds needs a whole number; got 3.0, of type float"),
        ({"epochs": True}, "epochs needs a whole number; got True, of type bool"),
        ({"augment": "False"}, "augment needs True or False; got 'False', of type str"),
        ({"methods": "moex"}, "methods needs a list or tuple of strings; got 'moex', of type str"),
    ],
)
def test_a_wrong_request_writes_nothing(tmp_path, change, sentence):
    asked = {"make_model": make_model, "train": tensors(30, 0), "test": tensors(12, 1), "out": tmp_path / "out"}
    with pytest.raises(ValueError, match=sentence):
        compare(**asked | {"methods": ["none"]} | change)
    assert list(tmp_path.iterdir()) == []


def test_test_images_of_one_class_have_no_metric_of_one_class_against_the_rest(tmp_path):
    x, y = tensors(12, 1)
    summary = compare(make_model, tensors(30, 0), (x, y * 0), ["none"], out=tmp_path / "out", **FAST)
    assert set(METRICS) - set(summary.methods["none"].metrics) == {"auroc", "average-precision"}
    with pytest.raises(ValueError, match="metric auroc needs images of two classes; those of .* are of one"):
        report.write(tmp_path / "out", metric="auroc")
    with pytest.raises(ValueError, match="metric auroc needs test images of two classes"):
        compare(make_model, tensors(30, 0), (x, y * 0), ["none"], out=tmp_path / "auroc", metric="auroc", **FAST)


@pytest.mark.parametrize("metric", ["balanced-error", "auroc"])
def test_each_metric_is_reported_in_the_same_keys(tmp_path, metric):
    summary = compare(
        make_model, tensors(30, 0), tensors(12, 1), ["none", "moex:at=2"], out=tmp_path / "out", metric=metric, **FAST
    )
    compared = summary.differences["moex:at=2"]
    assert compared.n == 2
    assert compared.mean == pytest.approx(summary.errors["moex:at=2"].mean - summary.errors["none"].mean)
    assert compared == summary.paired["moex:at=2"].metrics[metric]
    assert list(summary.methods["none"].metrics) == list(METRICS)
    rows = [np.load(tmp_path / f"out/runs/none/seed{seed}/predictions.npy") for seed in (0, 1)]
    wrong = [100 * np.mean(of["target"] != of["predicted"]) for of in rows]
    assert summary.methods["none"].metrics["error"].mean == pytest.approx(np.mean(wrong))
    assert summary.covers_images


def test_another_network_or_other_images_under_the_same_names_are_refused(tmp_path):
    first = {"test": tensors(12, 1), "methods": ["none"], "out": tmp_path / "out", **FAST}
    compare(lambda: make_model(3), tensors(30, 0), **first)
    deeper = lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 3))  # noqa: E731
    with pytest.raises(ValueError, match=r"holds runs with network \w{8} \(got \w{8}\)"):
        compare(deeper, tensors(30, 0), **first)
    images, labels = tensors(30, 0)
    with pytest.raises(ValueError, match=r"holds runs with images .* \(got "):
        compare(lambda: make_model(3), (images * 2, labels), **first)
    assert compare(lambda: make_model(3), (images, labels), **first).errors["none"].n == 2


def test_weights_that_are_the_same_for_every_seed_are_noticed_recorded_and_told(tmp_path, caplog):
    def seeded(num_classes):
        torch.manual_seed(0)
        return make_model(num_classes)

    request = {"methods": ["none", "labels"], "out": tmp_path / "out", **FAST, "seeds": 3}
    summary = compare(seeded, tensors(30, 0), tensors(12, 1), **request)
    assert "No initial weights are new for each seed." in caplog.messages
    assert summary.settings["new_weights"] == "none"
    assert "Every seed starts from the same weights." in summary.conclusion
    assert not any("initializations" in sentence for sentence in summary.conclusion)
    with pytest.raises(ValueError, match=r"new_weights none \(got not set\)"):
        compare(make_model, tensors(30, 0), tensors(12, 1), **request)


def test_a_network_that_is_used_again_is_refused(tmp_path):
    net = make_model(3)
    with pytest.raises(ValueError, match="a new network at each call; got the same parameters twice"):
        compare(lambda: net, tensors(30, 0), tensors(12, 1), ["none"], out=tmp_path / "out", **FAST)
    assert list(tmp_path.iterdir()) == []
