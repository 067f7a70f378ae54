"""The quick probe: a logistic regression on statistics pooled over a grid of 4 x 4."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import torchmoments as tm
from torchmoments_lab.probe.views import View

_GRID = 4


def pooled(x: Tensor, view: View) -> Tensor:
    """Statistics [B, K] of a view of the features x [B, C, *positions].

    features and normalized are averaged over a grid of 4 x 4 positions (4 for sequences); of the moments, mean and std
    are, if they vary over positions.
    """
    maps = tm.moments(x, view.norm, channel_dim=view.channel_dim) if view.part == "moments" else [view(x)]
    return torch.cat([_on_grid(m.movedim(view.channel_dim, 1).float()).flatten(1) for m in maps], 1)


def fit_head(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities [N, classes] of `x_test` [N, K], by a logistic regression on standardized `x_train` [M, K].

    scikit-learn's, with its own L2 penalty (C = 1). A class without a training image gets probability 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x_train, y_train)
    scores = np.zeros((len(x_test), classes))
    scores[:, head.classes_] = head.predict_proba(x_test)
    return scores


def _on_grid(maps: Tensor) -> Tensor:
    size = [min(_GRID, length) for length in maps.shape[2:]]
    if len(size) == 1:
        return F.adaptive_avg_pool1d(maps, size[0])
    return F.adaptive_avg_pool2d(maps, (size[0], size[1]))
