"""The examples run, and show what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_autoencoder_reconstructs_better_with_its_moments(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    picture = tmp_path / "autoencoder.png"
    printed = subprocess.run(
        [sys.executable, "examples/autoencoder.py", "--out", picture, "--epochs", "3"],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    without, with_moments = (float(error) for error in re.findall(r"error (\S+) on 360 test images", printed))
    assert with_moments < without
    assert picture.read_bytes().startswith(b"\x89PNG")
