"""The sentences, from summaries written by hand."""

import pytest

from torchmoments.lab.conclusion import sentences


def entry(mean, half, p_holm, **more):
    ci95 = None if half is None else [mean - half, mean + half]
    return {"difference_mean": mean, "difference_ci95": ci95, "p_value": p_holm, "p_holm": p_holm, "n": 20, **more}


def summary(**changes):
    return {
        "reference": "none",
        "paired": {"labels": entry(-0.5, 0.2, 0.001), "moex": entry(-1.0, 0.25, 0.00001)},
        "beyond_labels": {"moex": {"labels": "labels", **entry(-0.5, 0.3, None)}},
        "test_images": 360,
        "environments": [{}],
        "failed": [],
    } | changes


def test_a_gain_is_told_with_its_interval_and_adjusted_p():
    assert sentences(summary())[0] == (
        "labels lowers the error of none by 0.50 points (95% CI 0.30 to 0.70; p = 0.0010, "
        "Holm-adjusted for 2 comparisons)."
    )


def test_a_loss_is_told_as_a_loss():
    said = sentences(summary(paired={"moex": entry(0.8, 0.2, 0.01)}, beyond_labels={}))
    assert said[0].startswith("moex raises the error of none by 0.80 points (95% CI 0.60 to 1.00; p = 0.0100)")


def test_the_adjusted_p_decides_and_the_largest_gain_left_is_named():
    paired = {"moex": entry(-0.5, 0.45, 0.06)}
    said = sentences(summary(paired=paired, beyond_labels={}))
    assert said[0].startswith(
        "moex: no difference to none shown (p = 0.0600); the interval still allows a gain of up to 0.95"
    )


def test_a_harm_not_shown_allows_no_gain():
    said = sentences(summary(paired={"moex": entry(0.5, 0.45, 0.06)}, beyond_labels={}))
    assert said[0].endswith("the interval still allows no gain.")


def test_the_share_of_the_labels_is_told():
    assert "The labels alone (labels) give 50% of the gain of moex; moex minus labels is -0.50 points" in "\n".join(
        sentences(summary())
    )


@pytest.mark.parametrize("moex", [entry(-1.0, 1.2, 0.2), entry(1.0, 0.2, 0.001)])
def test_a_share_of_no_gain_is_not_told(moex):
    assert "labels alone" not in "\n".join(sentences(summary(paired={"labels": entry(-0.5, 0.2, 0.001), "moex": moex})))


def test_what_the_intervals_cover_is_told():
    paired = {"moex": entry(-1.0, 0.25, 0.001, difference_ci95_with_images=[-1.6, -0.4])}
    said = "\n".join(sentences(summary(paired=paired, beyond_labels={})))
    assert "training subsets and initializations, on these 360 test images" in said
    assert "For other test images too, the 95% CI of the difference is: moex -1.60 to -0.40." in said


def test_runs_of_several_environments_are_told():
    assert "2 environments" in "\n".join(sentences(summary(environments=[{"torch": "1"}, {"torch": "2"}])))
