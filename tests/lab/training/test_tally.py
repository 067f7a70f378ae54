import pytest
import torch

from torchmoments_lab.training import tally
from torchmoments_lab.training.tally import NotFiniteError, Tally


def test_sums_are_over_all_images_however_often_they_are_read(monkeypatch):
    for every in (1, 3, 100):
        monkeypatch.setattr(tally, "_READ_EVERY", every)
        counted = Tally()
        for images in (50, 50, 50, 7):
            counted.add(torch.tensor(images / 4), torch.tensor(0.5), images, images == 7)
        counted.read()
        counted.read()
        assert (counted.steps, counted.mixed) == (4, 1)
        assert counted.loss == (3 * 50 * 50 + 7 * 7) / 4
        assert counted.accuracy == 157 / 2


@pytest.mark.parametrize("first_bad", [1, 99, 100, 101, 250])
def test_the_first_loss_that_is_not_finite_is_named(first_bad):
    def count():
        counted = Tally()
        for step in range(1, 301):
            counted.add(torch.tensor(float("nan") if step >= first_bad else 1.0), torch.tensor(0.0), 2, False)
        counted.read()

    with pytest.raises(NotFiniteError) as raised:
        count()
    assert raised.value.step == first_bad


def test_losses_are_read_together(monkeypatch):
    reads = []
    monkeypatch.setattr(Tally, "read", lambda self: reads.append(len(self._images)))
    counted = Tally()
    for _ in range(100):
        counted.add(torch.tensor(1.0), torch.tensor(0.0), 2, False)
    assert reads == [100]
