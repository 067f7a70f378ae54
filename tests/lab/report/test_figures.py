"""The figures show the numbers they are given, and nothing lies on anything."""

import itertools

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.text import Text
from scipy import stats

from torchmoments_lab.report.bars import Bar, Bars, bars
from torchmoments_lab.report.curves import curves
from torchmoments_lab.report.drawing import SIZE, draw
from torchmoments_lab.report.figures import Dots, heat_map, lines, seed_dots
from torchmoments_lab.report.wording import folded
from torchmoments_lab.statistics.crossed import pointwise
from torchmoments_lab.statistics.values import Estimate

LONG = "moex:norm=in,lam=0.9,p=0.5,at=layer1/layer2"


def row(word, values):
    mean = Estimate(float(np.mean(values)), (min(values), max(values)), len(values))
    return Dots(word, dict(enumerate(values)), mean)


def test_every_seed_is_a_dot_at_its_difference_and_covers_no_other():
    rng = np.random.default_rng(0)
    values = [*rng.normal(-1, 1, 30), 0.0, 0.0, 0.0]
    figure = seed_dots([row("moex", values)], "label")
    (axes,) = figure.axes
    (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert sorted(dots.get_xdata()) == pytest.approx(sorted(values))
    places = axes.transData.transform(np.column_stack([dots.get_xdata(), dots.get_ydata()])) * 72 / figure.dpi
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 100 * np.eye(len(places))
    assert apart.min() > 0.99 * dots.get_markersize()


def test_the_interval_and_the_mean_are_drawn_where_they_are():
    figure = seed_dots([Dots("moex", {0: -1.0, 1: 0.2}, Estimate(-0.4, (-1.5, 0.7), 2))], "label")
    bar, diamond = figure.axes[0].lines[1:3]
    assert list(bar.get_xdata()) == [-1.5, 0.7]
    assert (diamond.get_marker(), list(diamond.get_xdata())) == ("D", [-0.4])


@pytest.mark.parametrize("methods", [1, 2, 11])
def test_words_stay_inside_the_figure_and_off_each_other(methods):
    rows = [row(f"{LONG},{k}", [-1.0, 0.5, 30.0]) for k in range(methods)]
    figure = seed_dots(rows, "error minus that of none, percentage points")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])


@pytest.mark.parametrize(("methods", "panels"), [(0, 2), (1, 2), (3, 6), (11, 22)])
def test_each_method_has_its_curves_beside_the_reference(methods, panels):
    rng = np.random.default_rng(0)

    def of():
        return {"loss": rng.random((4, 7)) + 1, "accuracy": 50 + rng.random((4, 7))}

    drawn = {"none": of(), **{f"method{k}": of() for k in range(methods)}}
    figure = curves(drawn, "none", {"loss": "training loss", "accuracy": "training accuracy, %"})
    assert len(figure.axes) == panels
    for k in range(methods):
        grey, blue = figure.axes[2 * k].lines
        assert list(grey.get_ydata()) == pytest.approx(drawn["none"]["loss"].mean(axis=0))
        assert list(blue.get_ydata()) == pytest.approx(drawn[f"method{k}"]["loss"].mean(axis=0))


def test_a_band_is_the_t_interval_at_each_epoch():
    values = np.random.default_rng(0).normal(size=(5, 3))
    mean, half = pointwise(values)
    for epoch in range(3):
        of_epoch = values[:, epoch]
        low, high = stats.t.interval(0.95, 4, loc=of_epoch.mean(), scale=stats.sem(of_epoch))
        assert (mean[epoch] - half[epoch], mean[epoch] + half[epoch]) == pytest.approx((low, high))
    assert pointwise(values[:2])[1] is None


@pytest.mark.drawn
def test_the_same_figure_gives_the_same_bytes_and_ids_of_its_own():
    def of(name):
        return draw(name, lambda: seed_dots([row("$x^2$ <b>#0072b2</b>", [-1.0, 0.5])], "label"))

    one, again, other = of("one"), of("one"), of("other")
    assert one == again
    assert ' id="one-' in one.inline
    assert ' id="other-' in other.inline
    assert "$x^2$ &lt;b&gt;#0072b2&lt;/b&gt;" in one.inline


def some(*means):
    return [Estimate(mean, None if mean is None else (mean - 1, mean + 2), 3) for mean in means]


def test_lines_go_through_their_means_and_bars_are_their_intervals():
    figure = lines({"moex": some(-1.0, 0.5, 2.0)}, ["50", "100", "800"], "train size", "points")
    _, *intervals, line = figure.axes[0].lines
    assert list(line.get_xdata()) == [50, 100, 800]
    assert list(line.get_ydata()) == [-1.0, 0.5, 2.0]
    assert [list(interval.get_ydata()) for interval in intervals] == [[-2, 1], [-0.5, 2.5], [1, 4]]
    assert figure.axes[0].get_xscale() == "log"


def test_a_heat_map_has_each_number_in_its_cell_and_the_best_in_bold():
    figure = heat_map({"a": some(-1.0, 0.5), "b": some(None, 2.0)}, ["x", "y"], "down", "across", "title", 0)
    words = {text.get_position(): text for text in figure.axes[0].texts}
    assert {place: text.get_text() for place, text in words.items() if "±" not in text.get_text()} == {
        (0.5, 0.37): "\u22121.00", (1.5, 0.37): "+0.50", (1.5, 1.37): "+2.00",
    }  # fmt: skip
    assert [text.get_text() for text in words.values() if text.get_weight() == "bold"] == ["\u22121.00"]
    assert figure.axes[0].yaxis_inverted()


def test_bars_stand_in_the_order_of_their_rows_with_words_and_numbers_beside_them():
    rows = [Bar(["a", "1"], one) for one in some(-1.0, None, 2.0)]
    (axes,) = bars([Bars(rows, "points", ["name", "value"])]).axes
    assert [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"] == [[7.5], [37.5]]
    assert [text.get_text() for text in axes.texts] == [
        "name", "value", "\u22121.00", "a", "1", "a", "1", "+2.00", "a", "1",
    ]  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [(13, 90), (28, 61), (47, 52), (0.2, 0.9), (2.5, 3.5), (1, 100)])
def test_a_logarithmic_axis_has_numbers_whatever_its_range(low, high):
    rows = [Bar(["a"], Estimate(mean, (0.95 * mean, 1.05 * mean), 3)) for mean in (low, high)]
    (axes,) = bars([Bars(rows, "error, %", log=True)]).axes
    ticks = [float(label.get_text()) for label in axes.get_xticklabels()]
    assert len(ticks) >= 3
    assert ticks == pytest.approx(list(axes.get_xticks()))
    assert 0.9 * low < ticks[0] < ticks[-1] < 1.15 * high


def test_long_words_beside_bars_and_rows_stay_off_what_is_drawn():
    words = [["0.25", "pono", LONG], ["0.5", "gpono-d16", "moex"], [f"cutmix+{LONG}"]]
    rows = [Bar(word, one) for word, one in zip(words, some(-1.0, 1.0, 2.0), strict=True)]
    label = "effects and interactions, points, averaged over the other axes"
    with rc_context({"font.size": SIZE}):
        effects = Bars([Bar([f"method: moex → {LONG}"], *some(1.0))], label)
        check(bars([Bars(rows, label, ["lam", "norm", "method"]), effects]))
        check(heat_map({LONG: some(-1.0, 0.5), "moex": some(1.0, 2.0)}, ["x", LONG], "down", "across", "title", 0))


def check(figure):
    """All words are inside the figure, and those on the left off the axes and off each other."""
    figure.draw_without_rendering()
    boxes = {text: text.get_window_extent() for text in figure.findobj(Text) if text.get_text()}
    assert min(box.x0 for box in boxes.values()) >= -1
    assert max(box.x1 for box in boxes.values()) <= figure.bbox.x1 + 1
    for axes in figure.axes:
        beside = [boxes[text] for text in axes.texts if boxes[text].x0 < axes.bbox.x0]
        beside += [boxes[text] for text in axes.get_yticklabels()]
        assert beside
        assert max(box.x1 for box in beside) <= axes.bbox.x0
        assert not any(a.overlaps(b) for a, b in itertools.combinations(beside, 2))


@pytest.mark.parametrize("letters", [8, 12, 20, 60])
def test_a_long_word_is_broken_without_losing_a_letter(letters):
    lines = folded(LONG, letters)
    assert "".join(lines) == LONG
    assert max(map(len, lines)) <= letters
