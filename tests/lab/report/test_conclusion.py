"""The sentences, from summaries written by hand."""

from dataclasses import replace

import pytest

from torchmoments_lab.report.conclusion import headline, notes, sentences
from torchmoments_lab.report.summary import BeyondLabels, Failure, Method, Needed, Paired, Summary, failures
from torchmoments_lab.statistics.values import Difference, Estimate


def difference(mean, half, p, n=20, margin=None):
    """One whose adjusted interval is mean -+ half; that of the difference alone is half as wide."""
    if mean is None or half is None:
        return Difference(mean, None, n)
    low, high = mean - half, mean + half
    outcome = "gain" if high < 0 else "harm" if low > 0 else "not shown"
    if margin is not None and outcome == "not shown" and -margin < low and high < margin:
        outcome = "no difference that matters"
    return Difference(
        mean,
        (mean - half / 2, mean + half / 2),
        n,
        df=n - 1.0,
        p_value=p / 2,
        p_adjusted=p,
        ci95_adjusted=(low, high),
        ci95_these_images=(mean - half / 2, mean + half / 2),
        outcome=outcome,
    )


def entry(mean, half, p, n=20, margin=None, metric="error", **others):
    found = difference(mean, half, p, n, margin)
    return Paired({"error": found, metric: found}, Estimate(1.0, None, n), **others)


def beyond(share, ci95, mean, n=20):
    return BeyondLabels("labels", difference(mean, 0.3, 0.01), Estimate(share, ci95, n))


def method(n=20, metric="error", collapsed=()):
    error = Estimate(5.0 if n else None, None, n)
    return Method({"error": error, metric: error}, 1.0, collapsed)


def summary(**changes):
    return Summary(
        **{
            "reference": "none",
            "methods": {"none": method()},
            "paired": {"labels": entry(-0.5, 0.2, 0.001), "moex": entry(-1.0, 0.25, 0.00001)},
            "beyond_labels": {"moex": beyond(0.5, (0.3, 0.8), -0.5)},
            "missing": {},
            "looks": (),
            "margin": None,
            "settings": {},
            "images": 360,
            "covers_images": True,
            "environments": ({},),
            "failed": (),
        }
        | changes
    )


def test_a_gain_is_told_with_its_interval_and_adjusted_p():
    assert sentences(summary())[1] == (
        "labels lowers the error by 0.50 points compared with none (simultaneous 95% CI 0.30 to 0.70; p = 0.0010, "
        "adjusted for 2 comparisons)."
    )


def test_what_the_headline_says_is_not_said_again():
    said = sentences(summary(paired={"labels": entry(-0.5, 0.6, 0.4), "moex": entry(-1.0, 0.25, 0.00001)}))
    assert sum(sentence.startswith("moex lowers the error by") for sentence in said) == 1
    assert sum(sentence.startswith("labels: no difference from none is shown") for sentence in said) == 1


def test_a_loss_is_told_as_a_loss():
    said = sentences(summary(paired={"moex": entry(0.8, 0.2, 0.01)}, beyond_labels={}))
    assert said[0].startswith("moex raises the error by 0.80 points compared with none (95% CI 0.60 to 1.00; ")


def test_the_adjusted_interval_decides_and_the_largest_gain_left_is_named():
    # That of the difference alone leaves out 0.
    paired = {"moex": entry(-0.5, 0.55, 0.06)}
    assert paired["moex"].metrics["error"].ci95 == pytest.approx((-0.775, -0.225))
    said = sentences(summary(paired=paired, beyond_labels={}))
    assert said[0] == (
        "moex: no difference from none is shown (p = 0.0600); the interval still allows a gain of up to 1.05 points."
    )


def test_a_difference_within_the_margin_is_told_as_one_that_does_not_matter():
    alike = entry(-0.05, 0.2, 0.6, margin=0.3)
    said = sentences(summary(paired={"moex": alike}, beyond_labels={}, margin=0.3))
    assert said[0] == "moex: no difference from none that matters: 95% CI -0.25 to +0.15, within 0.3 points of 0."
    said = headline(summary(paired={"a": alike, "b": alike}, beyond_labels={}, margin=0.3))
    assert said == "No difference from none that matters, of 0.3 points: a and b."


def test_an_interval_without_an_end_yet_is_told():
    endless = Difference(-1.0, (-3.0, 1.0), 3, df=2.0, p_value=0.3, p_adjusted=1.0, outcome="not shown")
    endless = Paired({"error": endless}, Estimate(1.0, None, 3))
    said = sentences(summary(paired={"moex": endless}, beyond_labels={}))
    assert said[0] == "moex: no difference from none is shown; with so few seeds the interval has no end yet."
    said = headline(summary(paired={"a": endless, "b": UNSURE}, beyond_labels={}))
    assert said.endswith("; with so few seeds not all intervals have an end yet.")


@pytest.mark.parametrize(
    ("new", "covered"),
    [
        (None, "other training subsets and initializations, and"),
        ("'fc'", "other training subsets and initializations of 'fc', and"),
        ("none", "other training subsets, and"),
    ],
)
def test_initializations_are_covered_as_far_as_seeds_have_their_own(new, covered):
    said = sentences(summary(settings={} if new is None else {"new_weights": new}))
    assert f"The intervals cover {covered} other images than these 360 test images." in said
    assert ("Every seed starts from the same weights." in said) == (new == "none")


GAIN, LARGER, HARM = entry(-0.5, 0.2, 0.001), entry(-1.0, 0.25, 0.00001), entry(0.8, 0.2, 0.01)
UNSURE, WORSE, TWO_SEEDS = entry(-0.5, 0.6, 0.4), entry(0.5, 0.55, 0.06), entry(-1.0, None, None, n=2)
NO_SPREAD, NO_PAIRS = entry(0.0, None, None), entry(None, None, None, n=0)


@pytest.mark.parametrize(
    ("paired", "said"),
    [
        (
            {"a": LARGER, "b": UNSURE},
            "a lowers the error by 1.00 points compared with none (simultaneous 95% CI 0.75 to 1.25; p < 0.0001, "
            "adjusted for 2 comparisons); no difference is shown for b.",
        ),
        (
            {"a": GAIN, "b": LARGER},
            "a and b lower the error by 0.50 and 1.00 points compared with none (largest p = 0.0010, adjusted for "
            "2 comparisons).",
        ),
        (
            {"a": GAIN, "b": LARGER, "c": GAIN, "d": GAIN, "e": HARM, "f": UNSURE},
            "4 methods lower the error by 0.50 to 1.00 points compared with none (largest p = 0.0010, adjusted "
            "for 6 comparisons); e raises it; no difference is shown for f.",
        ),
        (
            {"a": HARM, "b": HARM, "c": UNSURE},
            "a and b raise the error by 0.80 and 0.80 points compared with none (largest p = 0.0100, adjusted for "
            "3 comparisons); no difference is shown for c.",
        ),
        (
            {"a": UNSURE, "b": WORSE},
            "No difference from none is shown for a or b (smallest p = 0.0600, adjusted for 2 comparisons); the "
            "largest gain that an interval still allows is 1.10 points (a).",
        ),
        (
            {"a": WORSE, "b": WORSE},
            "No difference from none is shown for a or b (smallest p = 0.0600, adjusted for 2 comparisons); the "
            "largest gain that an interval still allows is 0.05 points (a).",
        ),
        (
            dict.fromkeys("abcd", UNSURE),
            "No difference from none is shown for any of 4 methods (smallest p = 0.4000, adjusted for 4 "
            "comparisons); the largest gain that an interval still allows is 1.10 points (a).",
        ),
        (
            {"a": TWO_SEEDS, "b": NO_PAIRS},
            "No difference can be shown: intervals and p need three seeds or more.",
        ),
        (
            {"a": NO_SPREAD, "b": NO_SPREAD},
            "No difference from none can be shown: there is no spread, which gives no interval.",
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


@pytest.mark.parametrize(("n", "with_so_many"), [(1, "1 seed"), (2, "2 seeds")])
def test_too_few_seeds_for_an_interval_are_told_once(n, with_so_many):
    few = entry(-1.0, None, None, n=n)
    alone = sentences(summary(paired={"a": few}, beyond_labels={}))
    assert alone == [f"a: -1.00 points with {with_so_many}; an interval and p need three seeds or more."]
    assert sentences(summary(paired={"a": few, "b": few}, beyond_labels={})) == [
        "No difference can be shown: intervals and p need three seeds or more."
    ]
    beside = sentences(summary(paired={"a": few, "b": GAIN}, beyond_labels={}))
    assert alone[0] in beside
    assert any(sentence.startswith("The intervals cover") for sentence in beside)


def test_without_a_complete_run_nothing_is_concluded():
    none = {"methods": {"none": method(0)}, "paired": {"a": NO_PAIRS}, "beyond_labels": {}, "images": None}
    assert sentences(summary(**none))[0] == "No run is complete, so nothing can be concluded."


def test_another_metric_is_named():
    changes = {
        "methods": {"none": method(metric="balanced-error")},
        "paired": {"a": entry(-1.0, 0.25, 0.00001, metric="balanced-error")},
    }
    said = headline(summary(settings={"metric": "balanced-error"}, **changes))
    assert said.startswith("a lowers the balanced error by 1.00 points compared with none")


def test_the_share_of_the_labels_is_told():
    assert (
        "The labels alone (labels) give 50% (95% CI 30 to 80%) of the gain of moex; moex minus labels is -0.50 "
        "points (95% CI -0.80 to -0.20)."
    ) in sentences(summary())


@pytest.mark.parametrize(("n", "why"), [(20, "the gain may be 0"), (2, "an interval needs three seeds")])
def test_a_share_without_an_interval_is_not_told(n, why):
    said = "\n".join(sentences(summary(beyond_labels={"moex": beyond(-0.1, None, -1.1, n)})))
    assert f"Which share of the gain of moex its labels alone (labels) give cannot be told: {why}" in said
    assert "-10%" not in said


@pytest.mark.parametrize(("moex", "what"), [(entry(-1.0, 1.2, 0.2), "gain"), (entry(1.0, 0.2, 0.001), "difference")])
def test_the_share_is_told_whether_or_not_a_gain_is_shown(moex, what):
    said = "\n".join(sentences(summary(paired={"labels": entry(-0.5, 0.2, 0.001), "moex": moex})))
    assert f"The labels alone (labels) give 50% (95% CI 30 to 80%) of the {what} of moex" in said


def test_without_seeds_in_common_the_share_is_unknown():
    nothing = BeyondLabels("labels", difference(None, None, None, 0), Estimate(None, None, 0))
    said = sentences(summary(beyond_labels={"moex": nothing}))
    assert "labels has no complete runs of the seeds of moex, so the share of the labels is unknown." in said


def test_of_a_difference_of_0_the_share_is_unknown_though_there_are_runs():
    no_gain = BeyondLabels("labels", difference(0.5, 0.3, 0.01), Estimate(None, None, 20))
    said = "\n".join(sentences(summary(beyond_labels={"moex": no_gain})))
    assert "no complete runs" not in said


def test_several_minus_their_labels_have_intervals_that_hold_together():
    both = {"moex": beyond(0.5, (0.3, 0.8), -0.5), "moex:p=1": replace(beyond(0.5, None, -0.5), labels="labels:p=1")}
    paired = {"labels": GAIN, "labels:p=1": GAIN, "moex": LARGER, "moex:p=1": LARGER}
    said = "\n".join(sentences(summary(paired=paired, beyond_labels=both)))
    assert "moex minus labels is -0.50 points (simultaneous 95% CI -0.80 to -0.20)." in said
    assert "moex:p=1 minus labels:p=1 is -0.50 points (simultaneous 95% CI -0.80 to -0.20)." in said


def test_with_one_image_of_a_class_the_intervals_are_for_these_images_alone():
    said = sentences(summary(covers_images=False))
    assert "The intervals cover other training subsets and initializations, on these 360 test images alone." in said
    assert "A class has a single one of the images, so the intervals are for these images alone." in said
    assert not any("these images alone" in sentence for sentence in sentences(summary()))


def test_seeds_that_were_added_without_a_plan_are_told_with_what_that_costs():
    grown = entry(-1.0, 0.25, 0.001, grown=(10, 20), times_as_wide_grown=1.36)
    assert (
        "Seeds were added without a plan (10, 20), so the intervals and p of moex hold however often one looks; the "
        "price is intervals up to 1.4 times as wide as with a single look."
    ) in sentences(summary(paired={"labels": GAIN, "moex": grown}))
    # One look more, of five seeds: no interval has an end yet.
    endless = Paired({"error": Difference(-1.0, None, 5)}, Estimate(1.0, None, 5), grown=(4, 5))
    said = " ".join(sentences(summary(paired={"labels": GAIN, "moex": endless}, beyond_labels={})))
    assert (
        "without a plan (4, 5), so the intervals and p of moex hold however often one looks; with so few seeds" in said
    )


@pytest.mark.parametrize(
    ("paired", "look", "said"),
    [
        (GAIN, 40, "Intervals and p allow for the planned looks at 10, 20, 40 seeds."),
        (
            GAIN,
            10,
            "Intervals and p allow for the planned looks at 10, 20, 40 seeds. It ended at 10: every comparison is "
            "decided.",
        ),
        (
            replace(UNSURE, hopeless=True),
            20,
            "Intervals and p allow for the planned looks at 10, 20, 40 seeds. It ended "
            "at 20: for moex more would hardly decide.",
        ),
        (
            UNSURE,
            20,
            "Intervals and p allow for the planned looks at 10, 20, 40 seeds. moex is not decided yet: rerun the "
            "command.",
        ),
    ],
)
def test_planned_looks_are_told_with_how_they_ended(paired, look, said):
    changes = {"paired": {"moex": replace(paired, look=look)}, "looks": (10, 20, 40)}
    assert said in sentences(summary(**changes))
    assert said in notes(summary(**changes))


def test_seeds_that_collapsed_are_told_with_the_difference_without_the_ends():
    trimmed = entry(-1.0, 0.25, 0.001, trimmed=Estimate(-0.8, (-1.0, -0.6), 20))
    changes = {"methods": {"none": method(), "moex": method(collapsed=(3, 4, 7))}, "paired": {"moex": trimmed}}
    said = sentences(summary(**changes))
    assert "moex collapsed with seeds 3\N{EN DASH}4, 7." in said
    assert (
        "With such seeds an interval of the mean covers less than it says. Without the lowest and the highest fifth of "
        "the seeds the difference from none is: moex -0.80 (95% CI -1.00 to -0.60) points."
    ) in said


SIZE = "0.5 points (a tenth of the error of none)"


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (
            Needed(0.5, 30, 1360),
            "about 10 more seeds or about 1,000 more test images would show a difference of {size}.",
        ),
        (
            Needed(0.5, 30, None),
            "about 10 more seeds would show a difference of {size}.",
        ),
        (
            Needed(0.5, None, 1360),
            "about 1,000 more test images would show a difference of {size}; more seeds alone would not.",
        ),
        (
            Needed(0.5, None, None),
            "to show a difference of {size} takes both more seeds and more test images.",
        ),
        (
            Needed(0.5, 20, 360),
            "a difference of {size} would most likely have been shown.",
        ),
    ],
)
def test_what_would_show_a_difference_is_told_where_none_is_shown(needed, said):
    paired = {"moex": entry(-0.5, 0.6, 0.4, needed=needed)}
    assert f"moex: {said.format(size=SIZE)}" in sentences(summary(paired=paired, beyond_labels={}))
    shown = {"moex": entry(-0.5, 0.2, 0.001, needed=needed)}
    assert f"moex: {said.format(size=SIZE)}" not in sentences(summary(paired=shown, beyond_labels={}))


def test_where_the_size_of_a_difference_comes_from_is_said_once_and_only_if_nobody_named_it():
    open_yet = {name: entry(-0.5, 0.6, 0.4, needed=Needed(0.5, 30, None)) for name in ("a", "b")}
    of_a, of_b = (
        sentence for sentence in sentences(summary(paired=open_yet, beyond_labels={})) if "10 more" in sentence
    )
    assert "0.5 points (a tenth of the error of none)" in of_a
    assert of_b.endswith("0.5 points.")
    assert "a tenth" not in " ".join(sentences(summary(paired=open_yet, beyond_labels={}, margin=0.5)))


def test_the_smallest_p_is_that_of_all_methods_it_is_told_of():
    paired = {"a": entry(-0.2, 0.21, 0.06, margin=0.5), "b": UNSURE}
    said = headline(summary(paired=paired, beyond_labels={}, margin=0.5))
    assert said.startswith(
        "No difference from none is shown for a or b (smallest p = 0.0600, adjusted for 2 comparison"
    )


def test_a_difference_that_is_the_same_with_every_seed_is_not_called_no_difference():
    same = Paired({"error": Difference(1.0, None, 20)}, Estimate(1.0, None, 20))
    said = headline(summary(paired={"moex": same}, beyond_labels={}, covers_images=False))
    assert "the same as none" not in said


def test_after_a_plan_a_new_one_is_what_would_show_more():
    paired = {"moex": entry(-0.5, 0.6, 0.4, needed=Needed(0.5, 30, 1360), look=20)}
    said = sentences(summary(paired=paired, beyond_labels={}, looks=(10, 20)))
    would = f"a new plan of about 30 seeds or about 1,000 more test images would show a difference of {SIZE}."
    assert f"moex: {would}" in said


def test_shares_that_cannot_be_told_are_one_sentence():
    untold = BeyondLabels("labels", difference(0.4, 1.0, 0.6), Estimate(0.5, None, 20))
    paired = {name: entry(-0.5, 1.0, 0.4) for name in ("labels", "moex", "moex:norm=in")}
    said = sentences(summary(paired=paired, beyond_labels={"moex": untold, "moex:norm=in": untold}))
    assert (
        "Which share of a difference its labels alone give cannot be told for moex and moex:norm=in: the differences "
        "may be 0. In points, with simultaneous 95% CIs: moex minus labels +0.40 (-0.60 to +1.40); moex:norm=in minus "
        "labels +0.40 (-0.60 to +1.40)."
    ) in said
    told = summary(paired=paired, beyond_labels={"moex": beyond(0.5, (0.3, 0.8), -0.5), "moex:norm=in": untold})
    assert any(
        sentence.startswith("Which share of the gain of moex:norm=in its labels") for sentence in sentences(told)
    )


@pytest.mark.parametrize("known", [entry(-1.0, 0.25, 0.001), entry(-1.0, 2.0, 0.3)])
def test_a_method_without_an_interval_is_in_the_headline(known):
    paired = {"labels": known, "mixstyle": entry(-1.0, None, None, n=2)}
    assert headline(summary(paired=paired)).endswith("; mixstyle has no interval.")


@pytest.mark.parametrize(("chance", "is_told"), [(5.0, True), (50.0, False), (None, False)])
def test_a_reference_that_may_have_learned_nothing_is_told(chance, is_told):
    told = (
        "none is not shown to be better than always naming the most frequent class, whose error is 5.0%: what is "
        "compared with it may mean nothing."
    )
    methods = {"none": Method({"error": Estimate(4.0, (2.0, 6.0), 20)}, 1.0, ())}
    assert (told in sentences(summary(methods=methods, chance=chance))) == is_told
    assert notes(summary(methods=methods, chance=chance))[:1] == [told] or not is_told


def test_runs_of_several_environments_are_told():
    assert "2 environments" in "\n".join(sentences(summary(environments=({"torch": "1"}, {"torch": "2"}))))


def test_validation_images_are_not_called_test_images():
    paired = {"moex": entry(-0.5, 0.6, 0.4, needed=Needed(0.5, None, 1360))}
    said = "\n".join(sentences(summary(paired=paired, beyond_labels={}, settings={"evaluate": "validation"})))
    assert "and other images than these 360 validation images" in said
    assert "1,000 more validation images" in said
    assert "more validation images would show a difference" in said
    assert "test images" not in said


def test_without_training_subsets_the_intervals_do_not_cover_them():
    settings = {"train_size": 500, "images": "500 + 1297 of 10 classes, 1a2b3c4d"}
    said = sentences(summary(paired={"moex": LARGER}, beyond_labels={}, settings=settings, images=1297))
    assert (
        "The intervals cover other orders of the batches and initializations, and other images than these 1,297 test "
        "images."
    ) in said


@pytest.mark.parametrize("reason", ["the loss became nan", "the loss became nan. Try a smaller learning rate."])
def test_a_failed_run_is_told_in_a_sentence_with_one_full_stop(reason):
    assert str(Failure("moex", 1, reason)) == f"moex seed 1 failed: {reason.removesuffix('.')}."


def test_of_many_failed_runs_each_reason_is_told_once():
    failed = [Failure("none", seed, "the loss became nan.") for seed in range(300)]
    failed += [Failure("moex", 0, "its worker process died"), *(Failure("labels", k, f"reason {k}") for k in range(9))]
    assert failures(failed) == [
        "300 runs failed, all for one reason; the first: none seed 0 failed: the loss became nan.",
        "moex seed 0 failed: its worker process died.",
        "labels seed 0 failed: reason 0.",
        "8 more runs failed; the report has their reasons.",
    ]
    assert failures([]) == []


@pytest.mark.parametrize("others", [{}, {"labels": entry(-0.5, 0.6, 0.4)}])
def test_no_larger_gain_is_allowed_than_there_is_error(others):
    paired = {"moex": entry(-2.0, 90.0, 0.9), **others}
    assert headline(summary(paired=paired, beyond_labels={})).count("all of the error of none") == 1
    assert "92.00" not in " ".join(sentences(summary(paired=paired, beyond_labels={})))
