"""Tables in a narrow terminal: what is there stays whole, and what does not fit is left out."""

import io

import pytest
from rich.console import Console

from torchmoments_lab.report.page import Command, Table
from torchmoments_lab.report.terminal import Fitted, sentences
from torchmoments_lab.report.wording import MINUS, folded, pieces

SPECS = ["none", "moex:p=0.25,norm=in,lam=0.5,at=layer1+layer2", "cutmix+moex:p=0.25,norm=in,at=layer1+layer2"]
DIFFERENCE = f"{MINUS}10.23 ± 12.82"
HEADINGS = ["method", "balanced error %", f"minus {SPECS[2]}", "p", "n", "~s/run"]
TABLE = Table(
    "caption",
    HEADINGS,
    [[spec, "88.46 ± 16.71", DIFFERENCE, "0.8889", "20", "1234.5"] for spec in SPECS],
    spare=("~s/run", "n", "p"),
)


def shown(table, width):
    file = io.StringIO()
    Console(file=file, width=width).print(Fitted(table))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rule = next(number for number, line in enumerate(lines) if line.startswith("─"))
    return lines[:rule], [line for line in lines[rule + 1 :] if line.strip()]


def column(lines, start, end):
    return "".join(line[start:end].strip() for line in lines)


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_a_spec_is_folded_between_its_options_and_numbers_stay_whole(width):
    head, body = shown(TABLE, width)
    start = body[0].index("88.46")
    assert column(body, 0, start) == "".join(SPECS)
    words = [line[:start].strip() for line in body]
    allowed = {spec[:end] for spec in SPECS for end in range(len(spec)) if spec[end - 1] in ",:+"} | set(SPECS)
    done = ""
    for word in words:
        done += word
        assert done in allowed
        done = "" if done in SPECS else done
    assert sum("88.46 ± 16.71" in line and DIFFERENCE in line for line in body) == len(SPECS)
    assert column(head, 0, start).startswith("method")


@pytest.mark.parametrize(("width", "spare"), [(100, 3), (66, 3), (65, 2), (57, 2), (56, 1), (52, 1), (51, 0)])
def test_where_there_is_no_room_the_columns_that_matter_least_are_left_out(width, spare):
    head, body = shown(TABLE, width)
    kept = [name for name, cell in [("p", "0.8889"), ("n", " 20"), ("~s/run", "1234.5")] if cell in body[0]]
    assert kept == ["p", "n", "~s/run"][:spare]
    assert ("~s/run" in "".join(head)) == (spare == 3)


def test_headings_are_folded_between_words():
    head, _ = shown(TABLE, 80)
    found = [word for line in head for word in line.split()]
    assert {"method", "balanced", "error", "%", "minus", "~s/run"} <= set(found)
    assert all(any(word in heading for heading in HEADINGS) for word in found)


def test_where_there_is_room_nothing_is_folded():
    head, body = shown(TABLE, 200)
    assert (len(head), len(body)) == (1, len(SPECS))
    assert all(heading in head[0] for heading in HEADINGS)


@pytest.mark.parametrize("width", [1, 20, 30])
def test_any_width_will_do(width):
    shown(TABLE, width)
    shown(Table("", ["", "name"], [], names=2), width)


def test_the_command_of_a_sentence_stands_on_a_line_of_its_own():
    said = ["It is -0.20 points.", "Evaluate it once on the test images: torchmoments compare --mean -1 --out runs/a"]
    assert sentences(said) == [
        f"It is {MINUS}0.20 points.",
        "Evaluate it once on the test images:",
        Command("torchmoments compare --mean -1 --out runs/a"),
    ]


@pytest.mark.parametrize("letters", [1, 4, 12, 20])
@pytest.mark.parametrize("words", [SPECS[1], "minus none, points", "features.denseblock1.denselayer10.conv1", ""])
def test_folded_words_lose_no_letter(words, letters):
    lines = folded(words, letters)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    assert max(map(len, lines)) <= letters


def test_words_are_folded_inside_an_option_only_if_it_is_too_long():
    assert folded("moex:norm=in,lam=0.5", 12) == ["moex:", "norm=in,", "lam=0.5"]
    assert folded("moex:same_partner=True", 12) == ["moex:same_", "partner=True"]
    assert folded("alpha=0.25", 8) == ["alpha=0.", "25"]
    assert folded("nothing (chance)", 10) == ["nothing", "(chance)"]
    assert pieces("moex:lam=0.5,at=a.b") == ["moex:", "lam=0.5,", "at=a.b"]
    assert pieces("moex:at=stages.3.blocks.0") == ["moex:", "at=", "stages.3.", "blocks.0"]
