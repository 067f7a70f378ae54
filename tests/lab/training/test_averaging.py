"""The moving average of weights, against the recursion written out."""

import torch
from torch import nn

from torchmoments_lab.training.averaging import averaged


def test_parameters_and_statistics_follow_with_a_decay_that_grows():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = averaged(module, 0.5)
    expected = None
    for step in range(12):
        with torch.no_grad():
            module[0].weight.normal_()
            module(torch.randn(5, 2))
        average.update_parameters(module)
        now = [module[0].weight.detach().clone(), module[1].running_mean.clone()]
        decay = min(0.5, (1 + step) / (10 + step))
        expected = (
            now if expected is None else [decay * a + (1 - decay) * b for a, b in zip(expected, now, strict=True)]
        )
    torch.testing.assert_close(average.module[0].weight.detach(), expected[0])
    torch.testing.assert_close(average.module[1].running_mean, expected[1])
    assert average.module[1].num_batches_tracked == 12
    # The module itself is left alone.
    assert not module[0].weight.equal(average.module[0].weight)
