"""The command line: exit codes, one sentence for a wrong request, and nothing left behind."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from torchmoments_lab.process import accept_any_terminal

Image = pytest.importorskip("PIL.Image")

TINY = ["compare", "--train-size", "50", "--epochs", "1", "--width", "4", "--seeds", "1", "--workers", "1"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--data", "digit"], "Nearest: 'digits'"),
        (["--methods", "none", "meox"], "Nearest: 'moex'"),
        (["--methods", "none", "moex:lamb=0.9"], "Nearest: 'lam'"),
        (["--methods", "none", "moex:lam=1.5"], "lam needs a number from 0 to 1; got 1.5"),
        (["--methods", "none", "moex:lam=nan"], "lam needs a number from 0 to 1; got nan"),
        (["--methods", "none", "moex:p=-1"], "p needs a number from 0 to 1; got -1"),
        (["--methods", "none", "moex:p=nan"], "p needs a number from 0 to 1; got nan"),
        (["--methods", "none", "moex:at=layer5"], "layer5"),
        (["--methods", "none", "labels:at=layer5"], "layer5"),
        (["--methods", "none", "none"], "the same"),
        (["--methods"], "at least one method"),
        (["--train-size", "0"], "train_size needs at least 1"),
        (["--train-size", "9"], "train_size needs 10"),
        (["--train-size", "501"], "to 500 images; got 501"),
        (["--epochs", "0"], "epochs needs at least 1"),
        (["--seeds", "0"], "seeds needs at least 1"),
        (["--seeds", "40..10"], "a range from 3 or more upwards; got '40..10'"),
        (["--seeds", "2..4"], "a range from 3 or more upwards; got '2..4'"),
        (["--seeds", "many"], "a range from 3 or more upwards; got 'many'"),
        (["--seeds", "10..40", "--looks", "5", "40"], "rising numbers from 10 to 40; got 5 40. Write --looks 10 20 40"),
        (["--seeds", "10..40", "--looks", "10", "80"], "rising numbers from 10 to 40; got 10 80"),
        (["--looks", "10"], "looks needs a range of seeds; got --seeds 1."),
        (["--stop-at", "0"], "stop_at needs points above 0, up to 100; got 0.0"),
        (["--stop-at", "-0.3"], "stop_at needs points above 0, up to 100; got -0.3"),
        (["--seeds", "-3"], "seeds needs at least 1"),
        (["--workers", "0"], "workers needs at least 1"),
        (["--batch-size", "1"], "batch_size needs at least 2"),
        (["--width", "0"], "width needs at least 1"),
        (["--lr", "0"], "lr needs a finite number above 0"),
        (["--lr", "nan"], "lr needs a finite number above 0"),
        (["--lr", "inf"], "lr needs a finite number above 0"),
        (["--weight-decay", "-1"], "weight_decay needs a finite number"),
        (["--image-size", "3"], "image_size needs at least 4"),
        (["--loader-workers", "-1"], "loader_workers needs at least 0"),
        (["--data-dir", "."], "data_dir is for data sets in files"),
        (["--data", "mnist", "--data-dir", "/nowhere"], "got '/nowhere', which does not exist"),
        (["--data", "cifar10", "--data-dir", "/nowhere"], "got '/nowhere/cifar-10-batches-py/data_batch_1'"),
        (["--data", "folder:/nowhere"], "got '/nowhere', which does not exist"),
        (["--data", "no_such:make_data"], "needs a module that can be imported"),
        (["--model", "smal"], "Nearest: 'small'"),
        (["--model", "no_such:make_model"], "needs a module that can be imported"),
        (["--model", "torchvision.models:list_models"], "to give a torch.nn.Module; got list"),
        (["--pretrained"], "pretrained needs a network of timm, torchvision or pytorchcv; got 'small'"),
        (["--weights", "/nowhere.pt"], "weights needs a file; got '/nowhere.pt'"),
        (["--device", "cuda:7"], "device needs one that this machine has; got 'cuda:7'"),
        (["--device", "gpu"], "device needs auto, cpu, cuda, cuda:1 or mps; got 'gpu'"),
        (["--device", "meta"], "device needs auto, cpu, cuda, cuda:1 or mps; got 'meta'"),
        (["--device", "cpu", "--precision", "16-mixed"], "precision 16-mixed needs a GPU"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(refused, flags, sentence):
    assert sentence in refused(*TINY, *flags)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--method", "meox"], "Nearest: 'moex'"),
        (["--devices", "0"], "devices needs at least 1"),
        (["--threads", "0"], "threads needs at least 1"),
        (["--seed", "-1"], "seed needs at least 0"),
        (["--data", "folder:"], "data needs a folder of images; got none. Write folder:PATH."),
        (["--method", "moex:at=steam"], "All names: `torchmoments places`."),
        (["--batch-size", "3", "--devices", "2"], "batch_size needs 2 images for each of 2 devices; got 3"),
    ],
)
def test_a_wrong_request_to_train_is_one_sentence_and_writes_nothing(refused, flags, sentence):
    assert sentence in refused("train", *flags)


def test_a_place_that_is_not_there_is_looked_up_by_a_command(refused):
    assert "Nearest: 'stem'. All names: `torchmoments places`." in refused("probe", "--at", "steam")


@pytest.mark.slow
def test_train_says_what_came_of_it(tmp_path, call):
    flags = ["--train-size", "40", "--epochs", "1", "--width", "4", "--out", str(tmp_path / "out")]
    code, said, complaint = call("train", *flags)
    assert code == 0
    assert "Features are mixed after 'stem' of small" in complaint
    assert "moex seed 0: small, 5,142 parameters, 40 training images, 1 epoch of 1 step; on cpu." in " ".join(
        complaint.split()
    )
    assert said.startswith("error ")
    _, said, complaint = call("train", *flags[:-1], str(tmp_path / "labels"), "--method", "labels")
    assert "Features are mixed" not in complaint
    assert "% after 1 epoch, " in said
    _, said, _ = call("train", *flags[:-1], str(tmp_path / "nats"), "--metric", "log-loss")
    assert said.startswith("log loss ")
    assert "%" not in said
    code, said, complaint = call("train", *flags[:-1], str(tmp_path / "hot"), "--lr", "1e30", "--epochs", "30")
    assert code == 1
    assert complaint.splitlines()[-1].startswith("moex seed 0 failed: the loss needs to stay finite")


def test_places_lists_names_in_order_with_shapes_and_the_default(call):
    code, said, _ = call("places", "--model", "torchvision/resnet18", "--image-size", "64", "--depth", "1")
    assert code == 0
    table = said[said.index("\n", said.index("name ")) :].splitlines()[2:11]
    names = [line.split()[1 if line.startswith("*") else 0] for line in table]
    assert names == ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"]
    (default,) = [line.split() for line in said.splitlines() if line.startswith("*")]
    assert default == ["*", "maxpool", "B", "x", "64", "x", "16", "x", "16", "MaxPool2d", "1"]
    assert "The images are 3 x 64 x 64." in " ".join(said.split())


def test_places_without_a_default_says_what_to_write(call):
    code, said, _ = call(
        "places", "--model", "tests.lab.models.test_padding:Masked", "--data", "tests.lab.models.test_padding:make_data"
    )
    assert code == 0
    assert "Write one in the method, as in moex:at=conv; all are listed above." in " ".join(said.split())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--epochs", "many"], "epochs needs a whole number; got 'many'"),
        (["--epoch", "3"], "Nearest: --epochs"),
        (["--lr"], "lr needs a value"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_writes_nothing(refused, flags, sentence):
    assert sentence in refused(*TINY, *flags)


def test_help_is_printed_and_the_exit_code_is_0(call):
    for words in (["--help"], ["places", "-h"]):
        code, said, complaint = call(*words)
        assert (code, complaint) == (0, "")
        assert said.startswith("usage: torchmoments")


def test_an_out_that_is_a_file_is_refused(tmp_path, call):
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below"):
        code, _, complaint = call(*TINY, "--out", str(tmp_path / out))
        assert code == 2
        assert "out needs a folder" in complaint
    assert (tmp_path / "file").read_text() == "mine"


def test_an_out_that_cannot_be_written_is_refused(call):
    code, _, complaint = call(*TINY, "--out", "/proc/torchmoments")
    assert code == 2
    assert "out needs a folder that can be written" in complaint


def test_a_folder_with_other_files_is_refused(tmp_path, call):
    (tmp_path / "thesis.txt").write_text("mine")
    code, _, complaint = call(*TINY, "--out", str(tmp_path))
    assert code == 2
    assert "which holds other files" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_a_comparison_prints_its_table_and_conclusion_without_control_codes(tmp_path, call):
    out = tmp_path / "out"
    code, said, complaint = call(*TINY, "--methods", "none", "moex:p=1,at=stem+layer1", "--out", str(out))
    assert code == 0
    assert "\x1b" not in said + complaint
    assert said.startswith("± is the 95% CI.")
    assert complaint.splitlines()[-1].startswith("2 of 2  moex:p=1,at=stem+layer1 seed 0  error ")
    assert "minus none" in said
    assert "with 1 seed; an interval and p need three seeds or more." in " ".join(said.split())
    assert list(json.loads((out / "summary.json").read_text())["methods"]) == ["none", "moex:p=1,at=stem+layer1"]


def test_failed_runs_are_named_and_the_exit_code_is_1(tmp_path, call):
    flags = ["--epochs", "30", "--lr", "1e30", "--methods", "none", "moex", "--out", str(tmp_path / "out")]
    code, said, complaint = call(*TINY, *flags)
    assert code == 1
    first = "2 runs failed, all for one reason; the first: none seed 0 failed: the loss needs to stay finite"
    assert first in " ".join(said.split())
    assert "moex seed 0  failed: the loss needs to stay finite" in complaint
    assert "Traceback" not in said + complaint


def test_ctrl_c_before_the_first_run_is_130(tmp_path, call, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchmoments_lab.requests.Compare.check", interrupt)
    code, _, complaint = call(*TINY, "--out", str(tmp_path / "out"))
    assert (code, complaint) == (130, "Stopped before the first run.\n")


def test_ctrl_c_before_a_run_is_complete_says_how_to_go_on_once_the_folder_is_begun(tmp_path, call, monkeypatch):
    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    def end_at_once(code, sentence):
        raise SystemExit(f"{code} {sentence}")

    out = tmp_path / "out"
    monkeypatch.setattr("torchmoments_lab.comparison.train_missing", interrupt)
    monkeypatch.setattr("torchmoments_lab.cli._end_at_once", end_at_once)
    _, _, complaint = call(*TINY, "--out", str(out))
    assert f"130 Stopped. 0 complete runs are kept in {out}; rerun the command to resume." in complaint


def test_a_cluster_that_is_gone_is_a_sentence_that_says_what_is_kept(tmp_path, call, monkeypatch):
    def end(*arguments, **more):
        raise ConnectionError("the Ray cluster is gone: its process on this machine has ended")

    out = tmp_path / "out"
    monkeypatch.setattr("torchmoments_lab.comparison.train_missing", end)
    code, _, complaint = call(*TINY, "--out", str(out))
    assert code == 1
    gone = "the Ray cluster is gone: its process on this machine has ended."
    assert complaint.splitlines()[-1] == f"{gone} 0 complete runs are kept in {out}; rerun the command to resume."


@pytest.mark.parametrize("missing", ["tyro", "rich", "joblib", "sklearn", "matplotlib", "jinja2"])
def test_without_the_lab_the_command_says_how_to_install_it(tmp_path, call, monkeypatch, missing):
    for name in list(sys.modules):
        if name.startswith("torchmoments_lab") or name.partition(".")[0] == missing:
            monkeypatch.delitem(sys.modules, name)

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == missing:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    code, _, complaint = call(*TINY, "--out", str(tmp_path / "out"))
    assert code == 2
    assert complaint == "The command line needs the lab. Install it with: pip install 'torchmoments[lab]'\n"


MODELS = """
from torch import nn
class Two(nn.Linear):
    def forward(self, x, y):
        return super().forward(x.flatten(1) + y)
def two(num_classes):
    return Two(64, num_classes)
def lazy(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))
"""


@pytest.mark.parametrize("name", ["two", "lazy"])
@pytest.mark.parametrize("command", ["compare", "sweep", "probe", "train", "inspect", "places"])
def test_a_model_that_cannot_run_on_images_alone_is_refused_by_every_command(
    tmp_path, call, monkeypatch, command, name
):
    (tmp_path / "models_of_mine.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {path for path in tmp_path.iterdir() if path.name != "__pycache__"}
    code, said, complaint = call(command, "--model", f"models_of_mine:{name}")
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert {"two": "needs a forward(images)", "lazy": "have their shapes; '1.weight'"}[name] in complaint
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.slow
def test_help_does_not_import_torch():
    program = (
        "import sys; from torchmoments_lab.cli import main\n"
        "try: main(['compare', '--help'])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0
    assert "--train-size" in done.stdout
    assert done.stderr == "False\n"


def command(folder, *words, **environment):
    """A process of its own, whose streams and paths are bytes."""
    done = subprocess.run(
        [sys.executable, "-m", "torchmoments_lab", *words],
        capture_output=True,
        cwd=folder,
        env=os.environ | environment,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are UTF-8")
@pytest.mark.parametrize(
    "words",
    [
        [*TINY, "--workers", "2"],
        ["train", *TINY[1:7]],
        ["inspect", "--train", *TINY[5:7]],
    ],
)
@pytest.mark.thorough
def test_folders_need_no_utf8_names(tmp_path, words):
    rows = np.random.default_rng(0).integers(0, 255, (30, 12, 12, 3), dtype=np.uint8)
    for number, row in enumerate(rows):
        folder = tmp_path / "pictures\udcfe" / f"{number % 2}\udcfd"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row).save(folder / f"{number}\udcfc.png")
    flags = ["--train-size", "20", "--epochs", "1", "--data", "folder:pictures\udcfe", "--out", "out\udcff"]
    code, said, _ = command(tmp_path, *words, *flags, PYTHONIOENCODING="utf-8")
    assert code == 0
    assert b"out\xff" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        pytest.param({"COLUMNS": "0"}, marks=pytest.mark.thorough),
    ],
)
def test_any_terminal_and_environment_will_do(tmp_path, environment):
    code, said, complaint = command(tmp_path, *TINY, "--methods", "none", "moex", "--seeds", "3", **environment)
    assert code == 0
    assert complaint.splitlines()[-1].startswith(b"6 of 6  moex seed 2  error ")
    assert b"minus none" in said
    assert said.count(b" +- " if "PYTHONIOENCODING" in environment else " ± ".encode()) >= 2
    code, said, complaint = command(tmp_path, "compare", "--help", **environment)
    assert (code, complaint) == (0, b"")
    assert b"--train-size" in said


def test_a_width_in_which_nothing_can_be_shown_is_ignored(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    for columns, kept in (("7", False), ("100", True), ("many", True)):
        monkeypatch.setenv("COLUMNS", columns)
        accept_any_terminal()
        assert ("COLUMNS" in os.environ) == kept
