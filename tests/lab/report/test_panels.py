"""Confusion matrices and rows of pictures: each number and picture in its place, and nothing on anything."""

import numpy as np
import pytest

from torchmoments_lab.report.drawing import draw
from torchmoments_lab.report.panels import confusions, picture_rows

LONG = "moex:norm=in,lam=0.9,p=0.5,at=layer1/layer2"
PLANTS = [f"a long name of a plant {c}" for c in "abcdefghijkl"]


def matrices(classes, methods, number=0):
    rng = np.random.default_rng(number)
    found = rng.random((methods, classes, classes)) + 5 * np.eye(classes)
    found[:, 0, 1:] = 0
    return {f"{LONG},{k}" if k % 2 else f"m{k}": 100 * m / m.sum(1, keepdims=True) for k, m in enumerate(found)}


def words_in(axes):
    return {tuple(np.floor(text.get_position()).astype(int)): text.get_text() for text in axes.texts}


def test_each_share_is_a_number_in_its_cell_and_what_rounds_to_nothing_is_left_out():
    shares = np.array([[0.0, 99.6, 0.4], [12.5, 87.4, 0.1], [np.nan] * 3])
    (axes,) = confusions({"moex": shares}, ["a", "b", "c"]).axes
    # (column, row); what is right is always there.
    assert words_in(axes) == {(0, 0): "0", (1, 0): "100", (0, 1): "12", (1, 1): "87"}
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


def test_half_a_percent_rounds_to_nothing_too():
    shares = np.array([[99.5, 0.5], [0.51, 99.49]])
    (axes,) = confusions({"none": shares}, ["a", "b"]).axes
    # Half a number is rounded to an even one.
    assert sorted(text.get_text() for text in axes.texts) == ["1", "100", "99"]


def test_what_is_right_is_blue_and_what_is_wrong_orange():
    (axes,) = confusions({"moex": np.array([[90.0, 10.0], [60.0, 40.0]])}, ["a", "b"]).axes
    red, _, blue, _ = axes.collections[0].cmap(axes.collections[0].norm([90.0, -10.0, -60.0, 40.0])).T
    assert (blue > red).tolist() == [True, False, False, True]
    figure = axes.figure
    figure.draw_without_rendering()
    drawn = axes.collections[0].get_facecolors()
    assert (drawn[:, 2] > drawn[:, 0]).tolist() == [True, False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("methods", [1, 3, 7, 12])
@pytest.mark.parametrize(
    "names", [["defective", "functional"], [*"0123456789"], ["a long name of a plant " + c for c in "abcdefghijkl"]]
)
def test_words_stay_inside_the_figure_and_off_each_other(methods, names):
    figure = confusions(matrices(len(names), methods), names)
    figure.draw_without_rendering()
    assert len(figure.axes) == methods
    labels = [label for axes in figure.axes for label in (*axes.get_yticklabels(), *axes.get_xticklabels())]
    boxes = [text.get_window_extent() for text in (*figure.texts, *labels) if text.get_text()]
    for box in boxes:
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.width + 1
        assert box.y0 >= -1
        assert box.y1 <= figure.bbox.height + 1
    panels = [axes.get_window_extent() for axes in figure.axes]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
        assert not any(box.overlaps(panel) for panel in panels)
    for k, panel in enumerate(panels):
        assert not any(panel.overlaps(other) for other in panels[k + 1 :])
    for axes in figure.axes:
        cell = axes.get_window_extent().width / len(names)
        assert all(text.get_window_extent().width < cell for text in axes.texts)


def test_classes_are_named_once_in_each_row_and_column():
    figure = confusions(matrices(10, 5), [*"0123456789"])
    rows = [len(axes.get_yticks()) for axes in figure.axes]
    columns = [len(axes.get_xticks()) for axes in figure.axes]
    assert sorted(zip(rows, columns, strict=True)) == [(0, 0), (0, 10), (0, 10), (10, 0), (10, 10)]


def test_panels_stand_in_the_order_of_their_methods():
    figure = confusions({f"m{k}": np.full((10, 10), 10.0) for k in range(5)}, [*"0123456789"])
    names = {text.get_text(): text.get_position() for text in figure.texts}
    order = sorted(names, key=lambda name: (-round(names[name][1], 3), names[name][0]))
    assert order == [f"m{k}" for k in range(5)]


def test_long_names_of_classes_keep_their_end():
    (axes,) = confusions({"m": np.eye(2)}, ["the same beginning, cat", "the same beginning, dog"]).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["the same \u2026nning, cat", "the same \u2026nning, dog"]


def picture(value, height=4, width=4):
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_stand_in_their_rows_in_their_order():
    figure = picture_rows([("first", [picture(1), picture(2)]), ("second", [picture(3)])])
    found = []
    for image in figure.axes[0].images:
        left, _, bottom, _ = image.get_extent()
        found.append((-bottom, left, int(image.get_array()[0, 0, 0])))
    assert [value for *_, value in sorted(found)] == [1, 2, 3]
    assert [text.get_text() for text in figure.texts] == ["first", "second"]


@pytest.mark.parametrize("shape", [(4, 4), (20, 30), (64, 1)])
def test_pictures_keep_their_shape_and_stay_off_the_words(shape):
    figure = picture_rows([(f"Right more often with {LONG},{LONG},{LONG}", [picture(k, *shape) for k in range(8)])] * 2)
    figure.draw_without_rendering()
    boxes = [shown.get_window_extent() for shown in (*figure.axes[0].images, *figure.texts)]
    for k, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width + 1
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
    assert boxes[0].height / boxes[0].width == pytest.approx(shape[0] / shape[1])


@pytest.mark.drawn
def test_pictures_are_inside_the_drawing_and_the_same_each_time():
    def of(name):
        return draw(name, lambda: picture_rows([("words", [picture(7), picture(200)])]))

    assert of("one") == of("one")
    assert of("one").inline.count("data:image/png;base64,") == 2
