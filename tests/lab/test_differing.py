"""Two records compared, as a command says it when a folder holds runs with other settings."""

import pytest

from torchmoments_lab.differing import differing


@pytest.mark.parametrize(
    ("held", "came", "said"),
    [
        ({"lr": 0.1, "seed": 0}, {"seed": 0, "lr": 0.1}, ""),
        ({"lr": 0.1, "seed": 0}, {"lr": 0.2, "seed": 1}, "lr 0.1 (got 0.2); seed 0 (got 1)"),
        ({"head_lr": None}, {"head_lr": 0.1}, "head_lr None (got 0.1)"),
        # An older version wrote one, a newer one the other.
        ({}, {"ema": 0.9}, "ema not recorded (got 0.9)"),
        ({"ema": 0.9}, {}, "ema 0.9 (got not set)"),
        ({}, {"ema": None}, ""),
        ({"mean": [0.5, 0.5]}, {"mean": [0.5, 0.4]}, "mean [0.5, 0.5] (got [0.5, 0.4])"),
    ],
)
def test_each_setting_that_differs_is_said_with_both_values(held, came, said):
    assert differing(held, came) == said


def test_of_long_values_is_said_where_they_differ():
    names = [f"class {number}" for number in range(200)]
    other = [*names[:57], "cat", *names[58:]]
    assert differing({"classes": names}, {"classes": other}) == "classes[57] class 57 (got cat)"
    assert differing({"classes": names}, {"classes": names[:-1]}) == "classes of 200 values (got of 199 values)"
    assert differing({"classes": names}, {"classes": None}).endswith(" (got None)")
    path = "layer/" * 50
    said = differing({"at": f"{path}one{path}"}, {"at": f"{path}two{path}"})
    assert "/one" in said
    assert "/two" in said
    assert len(said) < 200


def test_of_many_settings_the_last_ones_are_only_named():
    held, came = ({f"setting_{number}": value for number in range(20)} for value in (1, 2))
    *pairs, last = differing(held, came).split("; ")
    assert pairs == [f"setting_{number} 1 (got 2)" for number in range(8)]
    assert last == f"12 others: {', '.join(f'setting_{number}' for number in range(8, 20))}"
