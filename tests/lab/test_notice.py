"""What each command says of the data before it trains, and that other data under the same name are refused."""

import json

import numpy as np
import pytest
from PIL import Image

# They train.
pytestmark = pytest.mark.slow

FAST = ["--width", "4", "--image-size", "8"]
TRAINING = ["--epochs", "1", "--batch-size", "8"]
COMMANDS = {
    "compare": ["--methods", "none", "--seeds", "1", "--workers", "1", *TRAINING],
    "train": ["--method", "none", *TRAINING],
    "sweep": ["--grid", "lam=0.5/0.9", "lr=0.1/0.01", "--seeds", "1", "--workers", "1", *TRAINING],
    "probe": ["--norms", "pono", "--seeds", "1", "--workers", "1", "--quick", *TRAINING],
    "inspect": ["--image", "flower"],
    "places": [],
}


@pytest.fixture
def pictures(tmp_path):
    """Pictures of 12 bits in files of 16, and a file that is none."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(15):
            values = random.integers(0, 4096, (9, 10)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / "pictures" / name / f"{index:02}.png")
    (tmp_path / "pictures" / "cat" / "notes.txt").write_text("mine")
    return tmp_path / "pictures"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_once_what_the_data_are(tmp_path, call, pictures, command):
    out = [] if command == "places" else ["--out", str(tmp_path / "out")]
    code, said, complaint = call(command, "--data", f"folder:{pictures}", *FAST, *COMMANDS[command], *out)
    assert code == 0
    # Standard output is for the result alone.
    assert "2 classes" not in said
    said = " ".join(complaint.split())
    held_out = "24 training and 6 test images." if command != "sweep" else "19 training and 5 validation images."
    counts = "cat 15, dog 15" if command != "sweep" else "cat 12, dog 12"
    assert said.count(f"2 classes: {counts}; 16-bit grey, ") == 1
    assert said.count(f" from black to white; 10 x 9; {held_out}") == 1
    assert said.count("Left out of the folder: .txt 1.") == 1
    assert said.count("Features are mixed after 'stem' of small") == (command == "sweep")


def compared(call, out, pictures, seeds):
    flags = [*FAST, *COMMANDS["compare"], "--seeds", str(seeds), "--workers", "2", "--out", str(out)]
    return call("compare", "--data", f"folder:{pictures}", *flags)


def test_more_seeds_on_other_pixels_or_swapped_labels_are_refused(tmp_path, call, pictures):
    out = tmp_path / "out"
    assert compared(call, out, pictures, 1)[0] == 0
    assert compared(call, out, pictures, 2)[0] == 0
    (pictures / "cat").rename(pictures / "elsewhere")
    (pictures / "dog").rename(pictures / "cat")
    (pictures / "elsewhere").rename(pictures / "dog")
    (pictures / "dog" / "notes.txt").rename(pictures / "cat" / "notes.txt")
    code, _, complaint = compared(call, out, pictures, 3)
    assert code == 2
    assert "holds runs with images 24 + 6 of 2 classes, " in complaint
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        noise = np.random.default_rng(99 + number).integers(0, 4096, (9, 10))
        Image.fromarray(noise.astype(np.uint16)).save(path)
    assert compared(call, out, pictures, 3)[0] == 2
    assert len(list(out.glob("runs/none/seed*"))) == 2


def test_the_report_says_what_the_data_are_and_that_test_images_are_trained_on(tmp_path, call, pictures):
    for index in range(15):
        (pictures / "cat" / f"{index:02}-again.png").write_bytes((pictures / "cat" / f"{index:02}.png").read_bytes())
    out = tmp_path / "out"
    assert compared(call, out, pictures, 1)[0] == 0
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["classes"] == "cat 30, dog 15"
    assert settings["pixels"].startswith("16-bit grey, ")
    report = (out / "report.md").read_text()
    assert "classes: cat 30, dog 15" in report
    assert f"Test images that are also training images, pixel for pixel: {settings['copies']}. Errors on new" in report
    assert "Test images that are also training images" in (out / "report.html").read_text()


@pytest.mark.drawn
def test_names_with_control_characters_are_shown_and_not_obeyed(tmp_path, call, pictures):
    folder = pictures.rename(tmp_path / "pic\x1b[31mtures")
    (folder / "cat").rename(folder / "ca\x1b]0;t\x07")
    out = tmp_path / "o\x1b[5mut"
    flags = [*FAST, *COMMANDS["compare"], "--out", str(out)]
    code, said, complaint = call("compare", "--data", f"folder:{folder}", *flags)
    assert code == 0
    written = [path.read_text() for pattern in ("*.md", "*.html", "*.svg", "*.csv") for path in out.glob(pattern)]
    assert len(written) >= 5
    assert not [text for text in (said, complaint, *written) if {"\x1b", "\x07"} & set(text)]
    assert "o\\x1b[5mut" in said
    _, _, complaint = call("compare", "--data", f"folder:{folder}/none", *flags)
    assert "pic\\x1b[31mtures/none" in complaint
