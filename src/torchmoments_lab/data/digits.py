"""scikit-learn's digits: 1,797 images of 8 x 8 pixels, 10 classes, 360 of them held out for the test."""

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split

from torchmoments_lab.data.split import Data, Split

# Chosen once: the same test images for every run, whatever its seed.
_TEST_SPLIT_SEED = 0


def load_digits() -> Data:
    pixels, labels = datasets.load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        torch.from_numpy(pixels.astype(np.float32).reshape(-1, 1, 8, 8)),
        torch.from_numpy(labels.astype(np.int64)),
        test_size=0.2,
        stratify=labels,
        random_state=_TEST_SPLIT_SEED,
    )
    names = tuple(str(digit) for digit in range(10))
    return Data(
        Split.in_memory(train_x, train_y),
        Split.in_memory(test_x, test_y),
        names,
        peak=16.0,
        mean=(4.9 / 16,),
        std=(6.0 / 16,),
        flips=False,
    )
