"""What a grid means, and what it refuses."""

import re

import pytest

from torchmoments_lab.requests import Sweep
from torchmoments_lab.sweep.grid import Axis, cells, distinct, parse_grid, with_settings


def test_an_axis_is_a_name_and_its_values():
    assert parse_grid(["lam=0.5/0.9", "train-size=100/200", "method=moex/labels"]) == [
        Axis("lam", ("0.5", "0.9"), "option"),
        Axis("train_size", ("100", "200"), "setting"),
        Axis("method", ("moex", "labels"), "method"),
    ]


def test_options_join_the_word_and_settings_do_not():
    found = cells(parse_grid(["lam=0.5/0.9", "width=4/8"]), "moex:p=1")
    assert [(cell.spec, cell.settings) for cell in found] == [
        ("moex:p=1,lam=0.5", {"width": "4"}),
        ("moex:p=1,lam=0.5", {"width": "8"}),
        ("moex:p=1,lam=0.9", {"width": "4"}),
        ("moex:p=1,lam=0.9", {"width": "8"}),
    ]
    assert found[1].values == {"lam": "0.5", "width": "8"}


def test_a_plus_is_a_list_inside_a_value():
    assert [cell.spec for cell in cells(parse_grid(["at=stem/stem+layer1"]), "moex")] == [
        "moex:at=stem",
        "moex:at=stem+layer1",
    ]


@pytest.mark.parametrize(
    ("method", "word"),
    [
        ("cutmix:p=1+moex", "cutmix:p=1+moex:lam=0.5"),
        ("cutmix+moex:p=1", "cutmix+moex:p=1,lam=0.5"),
        ("cutmix+moex", "cutmix+moex:lam=0.5"),
    ],
)
def test_an_option_of_a_combination_is_that_of_its_last_part(method, word):
    assert [cell.spec for cell in cells(parse_grid(["lam=0.5"]), method)] == [word]


def test_methods_are_an_axis_too():
    assert [cell.spec for cell in cells(parse_grid(["method=labels/moex", "p=1"]), "ignored")] == [
        "labels:p=1",
        "moex:p=1",
    ]


def test_settings_are_read_as_their_kind():
    changed = with_settings(Sweep(), {"train_size": "100", "lr": "0.5", "data": "mnist"})
    assert (changed.training.train_size, changed.training.lr, changed.data.data) == (100, 0.5, "mnist")


def test_the_first_word_stands_for_all_that_mean_the_same_training():
    assert distinct(["none", "moex", "moex:lam=0.9", "moex:lam=0.5"]) == {
        "none": "none",
        "moex": "moex",
        "moex:lam=0.9": "moex",
        "moex:lam=0.5": "moex:lam=0.5",
    }


@pytest.mark.parametrize("text", ["lam", "lam=", "=0.5", "lam=0.5//0.9", "lam=0.5/0.5"])
def test_what_is_no_axis_is_refused(text):
    with pytest.raises(ValueError, match="grid needs"):
        parse_grid([text])


def test_commas_between_values_are_refused_and_the_right_words_are_given():
    with pytest.raises(ValueError, match=re.escape("Write --grid lam=0.5/0.9.")):
        parse_grid(["lam=0.5,0.9"])


def test_an_axis_given_twice_is_refused():
    with pytest.raises(ValueError, match="'lam' twice"):
        parse_grid(["lam=0.5", "lam=0.9"])


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(ValueError, match="Nearest: 'lam'"):
        cells(parse_grid(["lamb=0.5"]), "moex")


def test_an_option_that_the_word_sets_already_is_refused():
    with pytest.raises(ValueError, match="each option once"):
        cells(parse_grid(["lam=0.5/0.9"]), "moex:lam=0.7")


@pytest.mark.parametrize("text", ["seeds=1/2", "metric=error/auroc", "evaluate=test", "out=a/b", "data-dir=a/b"])
def test_a_setting_that_all_trainings_share_is_no_axis(text):
    flag, _, value = text.partition("=")
    with pytest.raises(ValueError, match="which all trainings share") as refused:
        parse_grid([text])
    assert str(refused.value).endswith(f"Write --{flag} {value.partition('/')[0]} beside --grid.")


@pytest.mark.parametrize(("name", "value"), [("width", "wide"), ("width", "4.5"), ("lr", "-1"), ("train_size", "0")])
def test_a_value_that_a_setting_cannot_have_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} needs"):
        with_settings(Sweep(), {name: value})
