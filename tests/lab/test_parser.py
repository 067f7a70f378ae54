"""The help of each command in a narrow terminal, and the requests that tyro makes of settings."""

import re
from itertools import pairwise

import pytest

from torchmoments_lab.parser import parse
from torchmoments_lab.requests import Compare, Inspect, Places, Probe, Report, Sweep, Train

COMMANDS = {kind.__name__.lower(): kind for kind in (Compare, Sweep, Probe, Inspect, Train, Places, Report)}


def help_of(*words):
    page = parse([*words, "--help"], COMMANDS, "All about it.")
    assert isinstance(page, str)
    return page


def paragraph(page, flag):
    """The words beside a flag, line by line."""
    lines = page.splitlines()
    start = next(number for number, line in enumerate(lines) if re.match(rf".\s*{flag} ", line))
    end = next(number for number in range(start + 1, len(lines)) if re.match(r".\s*--|[╰ ] ?[─-]|^\s*$", lines[number]))
    return [line.strip("│ ") for line in lines[start:end]]


@pytest.mark.parametrize("command", [*COMMANDS, None])
@pytest.mark.parametrize("width", [80, 100])
def test_no_line_of_a_help_is_longer_than_the_terminal(monkeypatch, command, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = help_of(*filter(None, [command])).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("flag", ["--data", "--epochs", "--image-size", "--mean", "--metric", "--seeds", "--methods"])
def test_a_docstring_of_several_lines_is_one_paragraph(monkeypatch, flag):
    monkeypatch.setenv("COLUMNS", "80")
    _, *lines, _ = paragraph(help_of("compare"), flag)
    assert len(lines) > 1
    # A line that ends early, ends before a long word.
    assert all(len(line) + len(after.split()[0]) > 52 for line, after in pairwise(lines))


def test_metavars_are_one_word_and_defaults_are_told():
    page = " ".join(help_of("sweep").replace("│", "").split())
    for shown in (
        "--epochs INT ",
        "--data-dir PATH ",
        "--flips {none,horizontal,vertical,both} ",
        "--mean [FLOAT ...]",
    ):
        assert shown in page
    assert "{None}" not in page
    assert "(default: )" not in page
    assert "(default: lam=0.5/0.7/0.9 p=0.25/0.5/1)" in page
    assert "--seeds INT|INT..INT " in " ".join(help_of("compare").split())


def test_words_become_a_request_with_values_of_the_right_types():
    words = "sweep --epochs 3 --lr=0.1 --augment --flips both --mean 0.5 --controls labels --grid p=1 --seeds 2"
    request = parse(words.split(), COMMANDS, "")
    given = {"epochs": 3, "lr": 0.1, "augment": True, "flips": "both", "mean": (0.5,), "controls": ("labels",)}
    assert request == Sweep().with_values(**given, grid=("p=1",), seeds=2)
    assert parse(["compare"], COMMANDS, "") == Compare()
    assert parse(["report", "--metric", "auroc", "runs/a"], COMMANDS, "") == Report(out="runs/a", metric="auroc")


def test_wrong_words_are_refused_before_tyro_draws_a_box(capsys):
    with pytest.raises(ValueError, match="compare has no option --epoch. Nearest: --epochs"):
        parse(["compare", "--epoch", "3"], COMMANDS, "")
    assert capsys.readouterr() == ("", "")
