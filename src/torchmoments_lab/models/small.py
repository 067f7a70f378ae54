"""The lab's network: a small residual network whose places have the usual names."""

import torch.nn.functional as F
from torch import Tensor, nn


class SmallResNet(nn.Module):
    """Three residual blocks: stem, layer1, layer2, layer3, then the mean over positions and fc.

    Args:
        channels: of the images.
        classes: of the output.
        width: channels of stem and layer1; layer2 has twice as many at half the resolution, layer3 again.

    Images [B, channels, H, W] give logits [B, classes].
    """

    def __init__(self, channels: int, classes: int, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.layer1 = Block(width, width, stride=1)
        self.layer2 = Block(width, 2 * width, stride=2)
        self.layer3 = Block(2 * width, 4 * width, stride=2)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (1 x 1 convolution where the shape changes)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = (
            nn.Identity()
            if channels == width and stride == 1
            else nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))
