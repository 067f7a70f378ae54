"""What tests share. Without a GPU, Triton's kernels run under its interpreter: said before Triton is imported."""

import gc
import os

# Read when PyTorch is imported: tests run in several processes, which would fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="run the tests marked thorough, too")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """The tests of a cluster first: they wait more than others, and one process would be left with them at the end."""
    items.sort(key=lambda item: item.path.name != "test_cluster.py")
    if not config.option.thorough:
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish():
    """The garbage collector took a quarter of the time: it leaves out what was imported, and comes less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 100)


@pytest.fixture
def call(capsys):
    """Runs the command line; gives (exit code, stdout, stderr)."""

    def called(*words):
        from torchmoments_lab.cli import main

        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        return code, told.out, told.err

    return called


@pytest.fixture
def refused(call, tmp_path):
    """Runs a wrong request; gives its complaint, after checks that it is one sentence and that nothing was written."""

    def complaint_of(command, *flags):
        code, said, complaint = call(command, "--out", str(tmp_path / "out"), *flags)
        assert code == 2
        assert complaint.count("\n") == 1
        assert said == ""
        assert list(tmp_path.iterdir()) == []
        return complaint

    return complaint_of
