"""The sentences, from summaries written by hand."""

import pytest

from torchmoments_lab.report.conclusion import headline, sentences
from torchmoments_lab.report.summary import BeyondLabels, Failure, Method, Paired, Summary
from torchmoments_lab.statistics import Difference, Estimate


def difference(mean, half, p_holm, n=20):
    ci95 = None if half is None else (mean - half, mean + half)
    return Difference(mean, ci95, n, p_holm, p_holm)


def entry(mean, half, p_holm, n=20, with_images=None):
    return Paired(difference(mean, half, p_holm, n), Estimate(1.0, None, n), with_images)


def beyond(share, ci95, mean):
    return BeyondLabels("labels", difference(mean, 0.3, None), Estimate(share, ci95, 20))


def method(n=20):
    return Method(Estimate(5.0, None, n), 1.0)


def summary(**changes):
    return Summary(
        **{
            "reference": "none",
            "methods": {"none": method()},
            "paired": {"labels": entry(-0.5, 0.2, 0.001), "moex": entry(-1.0, 0.25, 0.00001)},
            "beyond_labels": {"moex": beyond(0.5, (0.3, 0.8), -0.5)},
            "missing": {},
            "settings": {},
            "images": 360,
            "environments": ({},),
            "failed": (),
        }
        | changes
    )


def test_a_gain_is_told_with_its_interval_and_adjusted_p():
    assert sentences(summary())[1] == (
        "labels lowers the error by 0.50 points compared with none (95% CI 0.30 to 0.70; p = 0.0010, "
        "Holm-adjusted for 2 comparisons)."
    )


def test_what_the_headline_says_is_not_said_again():
    said = sentences(summary(paired={"labels": entry(-0.5, 0.6, 0.4), "moex": entry(-1.0, 0.25, 0.00001)}))
    assert sum(sentence.startswith("moex lowers the error by") for sentence in said) == 1
    assert sum(sentence.startswith("labels: no difference from none is shown") for sentence in said) == 1


def test_a_loss_is_told_as_a_loss():
    said = sentences(summary(paired={"moex": entry(0.8, 0.2, 0.01)}, beyond_labels={}))
    assert said[0].startswith("moex raises the error by 0.80 points compared with none (95% CI 0.60 to 1.00; ")


def test_the_adjusted_p_decides_and_the_largest_gain_left_is_named():
    paired = {"moex": entry(-0.5, 0.45, 0.06)}
    said = sentences(summary(paired=paired, beyond_labels={}))
    assert said[0].startswith(
        "moex: no difference from none is shown (p = 0.0600); the interval still allows a gain of up to 0.95"
    )


def test_a_harm_not_shown_allows_no_gain():
    said = sentences(summary(paired={"moex": entry(0.5, 0.45, 0.06)}, beyond_labels={}))
    assert said[0].endswith("the interval still allows no gain.")


@pytest.mark.parametrize(
    ("new", "covered"),
    [
        (None, "The intervals cover training subsets and initializations, on these 360 test images."),
        ("'fc'", "The intervals cover training subsets and initializations of 'fc', on these 360 test images."),
        ("none", "The intervals cover training subsets, on these 360 test images."),
    ],
)
def test_initializations_are_covered_as_far_as_seeds_have_their_own(new, covered):
    said = sentences(summary(settings={} if new is None else {"new_weights": new}))
    assert covered in said
    assert ("Every seed starts from the same weights." in said) == (new == "none")


GAIN, LARGER, HARM = entry(-0.5, 0.2, 0.001), entry(-1.0, 0.25, 0.00001), entry(0.8, 0.2, 0.01)
UNSURE, WORSE, ONE_SEED = entry(-0.5, 0.6, 0.4), entry(0.5, 0.45, 0.06), entry(-1.0, None, None, n=1)
NO_SPREAD, NO_PAIRS = entry(0.0, None, None), entry(None, None, None, n=0)


@pytest.mark.parametrize(
    ("paired", "said"),
    [
        (
            {"a": LARGER, "b": UNSURE},
            "a lowers the error by 1.00 points compared with none (95% CI 0.75 to 1.25; p < 0.0001, Holm-adjusted for "
            "2 comparisons); no difference is shown for b.",
        ),
        (
            {"a": GAIN, "b": LARGER},
            "a and b lower the error by 0.50 and 1.00 points compared with none (largest p = 0.0010, Holm-adjusted for "
            "2 comparisons).",
        ),
        (
            {"a": GAIN, "b": LARGER, "c": GAIN, "d": GAIN, "e": HARM, "f": UNSURE},
            "4 methods lower the error by 0.50 to 1.00 points compared with none (largest p = 0.0010, Holm-adjusted "
            "for 6 comparisons); e raises it; no difference is shown for f.",
        ),
        (
            {"a": HARM, "b": HARM, "c": UNSURE},
            "a and b raise the error by 0.80 and 0.80 points compared with none (largest p = 0.0100, Holm-adjusted for "
            "3 comparisons); no difference is shown for c.",
        ),
        (
            {"a": UNSURE, "b": WORSE},
            "No difference from none is shown for a or b (smallest p = 0.0600, Holm-adjusted for 2 comparisons); the "
            "largest gain that an interval still allows is 1.10 points (a).",
        ),
        (
            {"a": WORSE, "b": WORSE},
            "No difference from none is shown for a or b (smallest p = 0.0600, Holm-adjusted for 2 comparisons); the "
            "intervals allow no gain.",
        ),
        (
            dict.fromkeys("abcd", UNSURE),
            "No difference from none is shown for any of 4 methods (smallest p = 0.4000, Holm-adjusted for 4 "
            "comparisons); the largest gain that an interval still allows is 1.10 points (a).",
        ),
        (
            {"a": ONE_SEED, "b": NO_PAIRS},
            "No difference can be shown: one seed gives no interval and no p. Use --seeds 2 or more.",
        ),
        (
            {"a": NO_SPREAD, "b": NO_SPREAD},
            "No difference from none can be shown: all seeds differ alike, and no spread gives no interval.",
        ),
        (
            {"a": NO_PAIRS, "b": NO_PAIRS},
            "Nothing to compare: no seed has complete runs of both none and another method.",
        ),
        ({}, "Only none was trained, so there is nothing to compare it with."),
    ],
)
def test_the_headline_is_one_sentence_for_any_number_of_methods(paired, said):
    assert headline(summary(paired=paired)) == said


def test_without_a_complete_run_nothing_is_concluded():
    none = {"methods": {"none": method(0)}, "paired": {"a": NO_PAIRS}, "beyond_labels": {}, "images": None}
    assert sentences(summary(**none))[0] == "No run is complete, so nothing can be concluded."


def test_another_metric_is_named():
    said = headline(summary(settings={"metric": "balanced-error"}, paired={"a": LARGER}))
    assert said.startswith("a lowers the balanced error by 1.00 points compared with none")


def test_the_share_of_the_labels_is_told():
    said = "\n".join(sentences(summary()))
    assert (
        "The labels alone (labels) give 50% (95% CI 30 to 80%) of the gain of moex; moex minus labels is -0.50" in said
    )


def test_a_share_without_an_interval_says_so():
    said = "\n".join(sentences(summary(beyond_labels={"moex": beyond(-0.1, None, -1.1)})))
    assert "(labels) give -10% (no interval) of the gain of moex" in said


@pytest.mark.parametrize("moex", [entry(-1.0, 1.2, 0.2), entry(1.0, 0.2, 0.001)])
def test_a_share_of_no_gain_is_not_told(moex):
    assert "labels alone" not in "\n".join(sentences(summary(paired={"labels": entry(-0.5, 0.2, 0.001), "moex": moex})))


def test_what_the_intervals_cover_is_told():
    paired = {"moex": entry(-1.0, 0.25, 0.001, with_images=(-1.6, -0.4))}
    said = "\n".join(sentences(summary(paired=paired, beyond_labels={})))
    assert "training subsets and initializations, on these 360 test images" in said
    assert "For other test images too, the 95% CI of the difference is: moex -1.60 to -0.40." in said


def test_runs_of_several_environments_are_told():
    assert "2 environments" in "\n".join(sentences(summary(environments=({"torch": "1"}, {"torch": "2"}))))


def test_validation_images_are_not_called_test_images():
    paired = {"moex": entry(-1.0, 0.25, 0.001, with_images=(-1.6, -0.4))}
    said = "\n".join(sentences(summary(paired=paired, beyond_labels={}, settings={"evaluate": "validation"})))
    assert "on these 360 validation images" in said
    assert "For other validation images too" in said
    assert "test images" not in said


def test_without_training_subsets_the_intervals_do_not_cover_them():
    settings = {"train_size": 1437, "images": "1437 + 360 of 10 classes, 1a2b3c4d"}
    said = "\n".join(sentences(summary(paired={"moex": entry(-1.0, 0.25, 0.001)}, beyond_labels={}, settings=settings)))
    assert "cover orders of the batches and initializations, on these 360 test images" in said


@pytest.mark.parametrize("reason", ["the loss became nan", "the loss became nan. Try a smaller learning rate."])
def test_a_failed_run_is_told_in_a_sentence_with_one_full_stop(reason):
    assert str(Failure("moex", 1, reason)) == f"moex seed 1 failed: {reason.removesuffix('.')}."
