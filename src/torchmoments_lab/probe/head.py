"""The quick probe: a logistic regression on statistics pooled over a grid of 4 x 4."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import torchmoments as tm
from torchmoments_lab.probe.views import view

_GRID = 4


def pooled(x: Tensor, part: str, norm: str, channel_dim: int = 1) -> Tensor:
    """Statistics [B, K] of one part of the features x [B, C, *positions].

    features and normalized are averaged over a grid of 4 x 4 positions (4 for sequences); of the moments, mean and std
    are, where they vary over positions.
    """
    if part == "moments":
        own = tm.moments(x, norm, channel_dim=channel_dim)
        maps = [moment.movedim(channel_dim, 1) for moment in own]
    else:
        maps = [view(x, part, norm, channel_dim).movedim(channel_dim, 1)]
    return torch.cat([_on_grid(m.float()).flatten(1) for m in maps], 1)


def fit_head(known: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities [N, classes] of `asked` [N, K], by a logistic regression on standardized `known` [M, K].

    scikit-learn's, with its own L2 penalty (C = 1). A class without a training image gets probability 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(known, labels)
    scores = np.zeros((len(asked), classes))
    scores[:, head.classes_] = head.predict_proba(asked)
    return scores


def _on_grid(maps: Tensor) -> Tensor:
    size = [min(_GRID, length) for length in maps.shape[2:]]
    if len(size) == 1:
        return F.adaptive_avg_pool1d(maps, size[0])
    return F.adaptive_avg_pool2d(maps, (size[0], size[1]))
