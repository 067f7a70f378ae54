import numpy as np
import pytest

from torchmoments_lab.report.runs import Comparison, Event, Plan, RunRecord
from torchmoments_lab.report.summarize import is_control, summarize


@pytest.mark.parametrize(
    ("method", "labels", "belong"),
    [
        ("moex", "labels", True),
        ("moex:p=0.2,at=stem", "labels:p=0.2,at=stem", True),
        ("cutmix+moex:p=0.25", "cutmix+labels:p=0.25", True),
        ("moex:norm=in,p=0.2", "labels:p=0.2", True),
        ("moex:norm=in,p=0.2", "labels:norm=in,p=0.2", True),
        ("moex:p=0.2,at=stem", "labels:p=0.2", True),
        ("moex:p=0.2,lam=0.5", "labels:lam=0.5,p=0.2", True),
        ("moex", "labels:p=0.5", False),
        ("cutmix+moex", "labels", False),
        ("moex", "cutmix+labels", False),
        ("mixstyle", "labels", False),
        ("moex", "none", False),
    ],
)
def test_the_control_of_a_method_has_its_options_and_its_mixing_of_images(method, labels, belong):
    assert is_control(labels, method) == belong


def test_no_interval_of_a_comparison_is_beyond_what_can_be():
    def of(method, *seeds):
        rows = np.zeros(2, [("target", np.int64), ("predicted", np.int64)])
        return {
            seed: RunRecord(method, seed, 1.0, {}, {}, rows, {"error": np.array(scores, float)}, {})
            for seed, scores in enumerate(seeds)
        }

    runs = {
        "none": of("none", (0, 100), (100, 100), (100, 0)),
        "labels": of("labels", (0, 0), (100, 0), (0, 0)),
        "moex": of("moex", (100, 0), (0, 0), (0, 0)),
    }
    history = (Event(tuple(runs), 3, None, ()),)
    summary = summarize(Comparison("comparison", {}, history, runs, (), Plan()))
    found = [summary.beyond_labels["moex"].difference, *summary.differences.values()]
    ends = [end for of_one in found for end in (*of_one.ci95, *of_one.ci95_adjusted)]
    assert min(ends) == -100
    assert max(ends) == 100
    assert all(0 <= end <= 100 for error in summary.errors.values() for end in error.ci95)
