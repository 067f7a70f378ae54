# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A tour of torchmoments in a minute
#
# The moments of two photographs, their exchange, a training with and without, and the report.
# As a notebook: `pip install jupytext notebook`, then `jupytext --to ipynb examples/tour.py`.
#
# ## Moments
#
# The features here are the photographs themselves: each block of 4 x 4 pixels is one position with 48 channels. The
# mean and the standard deviation over the channels of each position are two maps: they show a picture's structure.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_image
from torch import nn

import torchmoments as tm
from torchmoments_lab import compare


def photograph(name):
    pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(pixels[..., 130:557], size=(192, 192), mode="bilinear", antialias=True).clamp(0, 1)


x = F.pixel_unshuffle(torch.cat([photograph("china.jpg"), photograph("flower.jpg")]), 4)
normalized, moments = tm.normalize(x, "pono")
print("features", list(x.shape), "  mean", list(moments.mean.shape), "  std", list(moments.std.shape))
torch.testing.assert_close(tm.denormalize(normalized, moments), x)  # F and its inverse

# %% [markdown]
# ## The exchange
#
# Each photograph keeps its normalized features, and gets the moments of the other one.

# %%
exchanged = tm.exchange(x, partner=torch.tensor([1, 0]))
columns = {
    "photograph": F.pixel_shuffle(x, 4),
    "mean": moments.mean,
    "standard deviation": moments.std,
    "with the other's moments": F.pixel_shuffle(exchanged, 4).clamp(0, 1),
}
figure, axes = plt.subplots(2, len(columns), figsize=(9, 4.8), layout="constrained")
for column, (title, pictures) in zip(axes.T, columns.items(), strict=True):
    column[0].set_title(title, fontsize=10)
    for place, picture in zip(column, pictures, strict=True):
        place.imshow(picture.permute(1, 2, 0).squeeze(), cmap="gray")
        place.axis("off")
plt.show()

# %% [markdown]
# ## A training
#
# Two lines add it to a loop: `attach`, and a criterion that uses both labels.

# %%
torch.manual_seed(0)
digits = load_digits()
images, labels = torch.from_numpy(digits.images).float()[:, None] / 8 - 1, torch.from_numpy(digits.target)
train, test = (images[:200], labels[:200]), (images[500:], labels[500:])


def make_model():
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )


model = make_model()
site = tm.attach(model, tm.MoEx(p=0.5, lam=0.5), at="2", seed=0)  # after the first ReLU
criterion = site.criterion(nn.CrossEntropyLoss())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for _ in range(30):
    for index in torch.randperm(200).split(50):
        loss = criterion(model(train[0][index]), train[1][index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.inference_mode():
    error = (model(test[0]).argmax(1) != test[1]).float().mean()
print(f"error on {len(test[1]):,} test images: {100 * error:.1f}%")

# %% [markdown]
# ## Does it help?
#
# One run says little: `compare` trains with and without, paired by seed, and says what the data show, with intervals.
# `labels` mixes the labels alone, as a control.

# %%
methods = ["none", "labels:lam=0.5", "moex:lam=0.5,at=2"]
summary = compare(make_model, train, test, methods, out="runs/tour", seeds=10, epochs=30, workers=1)
for method, of in summary.errors.items():
    print(f"{method:18} error {of.mean:.2f}%, 95% CI {of.ci95[0]:.2f} to {of.ci95[1]:.2f}")
print(*summary.conclusion, "The report: runs/tour/report.html", sep="\n")
