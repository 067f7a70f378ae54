"""A fine-tuning as one writes it by hand, beside the reference of the study of solar cells.

    python results/handwritten.py 200 0 12      training images, first seed, last seed and one

The pictures of each seed are those of the study, and so is the number of epochs; all else is what PyTorch and
torchvision give: AdamW with a cosine, their augmentation, a new nn.Linear. Prints the error of each seed.
"""

import sys
from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from torchmoments_lab.data.folder import load_folder

DATA = Path(__file__).resolve().parent.parent / "runs" / "data"
SIZE, BATCH, STEPS = 64, 50, 300
NORMALIZE = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TRAIN = transforms.Compose(
    [
        transforms.RandomResizedCrop(SIZE, (0.35, 1)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomVerticalFlip(),
        transforms.ToTensor(),
        NORMALIZE,
    ]
)
TEST = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.ToTensor(), NORMALIZE])


def loader(split, index, transform, shuffle):
    """Batches of (pictures, classes)."""
    paths = [split.images.images.paths[split.images.places[int(place)]] for place in index]
    pictures = [
        (Image.open(path).convert("RGB"), int(split.labels[int(i)])) for path, i in zip(paths, index, strict=True)
    ]

    def together(items):
        return torch.stack([transform(picture) for picture, _ in items]), torch.tensor([label for _, label in items])

    return DataLoader(pictures, BATCH, shuffle=shuffle, collate_fn=together)


def error(data, train_size: int, seed: int) -> float:
    torch.manual_seed(seed)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(load_file(DATA / "lite0.safetensors"))
    model.classifier = nn.Linear(model.num_features, len(data.classes))
    train = loader(data.train, data.subset(train_size, seed), TRAIN, shuffle=True)
    test = loader(data.test, range(len(data.test)), TEST, shuffle=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    epochs = -(-STEPS // len(train))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, epochs * len(train), pct_start=0.1)
    criterion = nn.CrossEntropyLoss()
    model.train()
    for _ in range(epochs):
        for x, y in train:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        wrong = sum((model(x).argmax(1) != y).sum().item() for x, y in test)
    return 100 * wrong / len(data.test)


if __name__ == "__main__":
    train_size, first, end = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    cells = load_folder(str(DATA / "elpv"))
    for seed in range(first, end):
        print(train_size, seed, f"{error(cells, train_size, seed):.2f}", flush=True)
