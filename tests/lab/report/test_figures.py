"""The figures show the numbers they are given, and nothing lies on anything."""

import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.report.curve_figure import Curves, curves
from torchmoments_lab.report.figures import NARROW, WIDE, draw, wrapped
from torchmoments_lab.report.seed_figure import Row, differences
from torchmoments_lab.statistics import pointwise

LONG = "moex:norm=in,lam=0.9,p=0.5,at=layer1/layer2"


def row(word, values):
    return Row(word, dict(enumerate(values)), float(np.mean(values)), (min(values), max(values)))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_seed_is_a_dot_at_its_difference_and_covers_no_other(width):
    rng = np.random.default_rng(0)
    values = [*rng.normal(-1, 1, 30), 0.0, 0.0, 0.0]
    figure = differences([row("moex", values)], "label", width)
    (axes,) = figure.axes
    (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert sorted(dots.get_xdata()) == pytest.approx(sorted(values))
    places = axes.transData.transform(np.column_stack([dots.get_xdata(), dots.get_ydata()])) * 72 / figure.dpi
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 100 * np.eye(len(places))
    assert apart.min() > 0.99 * dots.get_markersize()


def test_the_interval_and_the_mean_are_drawn_where_they_are():
    figure = differences([Row("moex", {0: -1.0, 1: 0.2}, -0.4, (-1.5, 0.7))], "label", WIDE)
    bar, diamond = figure.axes[0].lines[1:3]
    assert list(bar.get_xdata()) == [-1.5, 0.7]
    assert (diamond.get_marker(), list(diamond.get_xdata())) == ("D", [-0.4])


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("methods", [1, 2, 11])
def test_words_stay_inside_the_figure_and_off_each_other(width, methods):
    rows = [row(f"{LONG},{k}", [-1.0, 0.5, 30.0]) for k in range(methods)]
    figure = differences(rows, "error minus that of none, percentage points", width)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize(("methods", "panels"), [(0, 2), (1, 2), (3, 6), (11, 22)])
def test_each_method_has_its_curves_beside_the_reference(width, methods, panels):
    rng = np.random.default_rng(0)

    def of(word):
        return Curves(word, {"loss": rng.random((4, 7)) + 1, "accuracy": 50 + rng.random((4, 7))})

    reference, others = of("none"), [of(f"method{k}") for k in range(methods)]
    figure = curves(others, reference, {"loss": "training loss", "accuracy": "training accuracy, %"}, width)
    assert len(figure.axes) == panels
    for k, method in enumerate(others):
        grey, blue = figure.axes[2 * k].lines
        assert list(grey.get_ydata()) == pytest.approx(reference.columns["loss"].mean(axis=0))
        assert list(blue.get_ydata()) == pytest.approx(method.columns["loss"].mean(axis=0))


def test_a_band_is_the_t_interval_at_each_epoch():
    values = np.random.default_rng(0).normal(size=(5, 3))
    mean, half = pointwise(values)
    for epoch in range(3):
        of_epoch = values[:, epoch]
        low, high = stats.t.interval(0.95, 4, loc=of_epoch.mean(), scale=stats.sem(of_epoch))
        assert (mean[epoch] - half[epoch], mean[epoch] + half[epoch]) == pytest.approx((low, high))
    assert pointwise(values[:1])[1] is None


def test_the_same_figure_gives_the_same_bytes_and_ids_of_its_own():
    def of(name):
        return draw(name, lambda width: differences([row("$x^2$ <b>#0072b2</b>", [-1.0, 0.5])], "label", width))

    one, again, other = of("one"), of("one"), of("other")
    assert one == again
    assert "one-wide-" in one.wide
    assert "other-narrow-" in other.narrow
    assert "$x^2$ &lt;b&gt;#0072b2&lt;/b&gt;" in one.wide


@pytest.mark.parametrize("letters", [8, 12, 20, 60])
def test_a_long_word_is_broken_without_losing_a_letter(letters):
    lines = wrapped(LONG, letters)
    assert "".join(lines) == LONG
    assert max(map(len, lines)) <= letters
