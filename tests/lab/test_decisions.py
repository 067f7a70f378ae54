"""What a command says of what its request leaves open."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from torchmoments_lab.requests import Compare
from torchmoments_lab.resolve import Objects, resolve

# They train.
pytestmark = pytest.mark.slow

PICTURES = [
    (Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 20), np.uint8)), number % 2)
    for number in range(12)
]


def said_of(make_model, **settings):
    """The sentences, and the settings that are recorded."""
    request = Compare().with_values(image_size=32, epochs=1, **settings)
    said = []
    resolved = resolve(
        request, request.judging, ["none"], notice=said.append, objects=Objects(make_model, PICTURES, PICTURES)
    )
    return said, resolved.experiment.shared


def trained(std):
    """A network of timm whose body is the same for each seed, and whose classifier is drawn with this deviation."""

    def make_model(num_classes):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = timm.create_model("resnet10t", num_classes=num_classes)
        nn.init.normal_(network.fc.weight, std=std)
        return network

    return make_model


def test_a_classifier_that_starts_too_large_is_told_of_two_classes_too():
    said, _ = said_of(trained(std=0.4))
    assert any("The first loss is about " in sentence and "where 0.7 is that of no" in sentence for sentence in said)
    assert not any("The first loss" in sentence for sentence in said_of(trained(std=0.01))[0])


def test_a_trained_network_of_a_function_gets_pictures_as_it_was_trained_with():
    said, settings = said_of(trained(std=0.01))
    mean, std = "0.485/0.456/0.406", "0.229/0.224/0.225"
    assert said[-1] == f"The network gets pictures as 3 x 32 x 32, minus {mean}, divided by {std}; not augmented."
    config = timm.create_model("resnet10t").pretrained_cfg
    assert (settings["mean"], settings["std"]) == (list(config["mean"]), list(config["std"]))

    def other(num_classes):
        network = trained(std=0.01)(num_classes)
        network.pretrained_cfg = {**network.pretrained_cfg, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
        return network

    said, settings = said_of(other, augment=True)
    assert said[-1] == "The network gets pictures as 3 x 32 x 32, minus 0.5, divided by 0.25; augmented."
    said, settings = said_of(other, mean=(0.1,), std=(0.2,))
    assert said[-1] == "The network gets pictures as 3 x 32 x 32, minus 0.1, divided by 0.2; not augmented."


def test_a_body_that_is_not_trained_is_not_frozen():
    with pytest.raises(ValueError, match="freeze_body needs trained weights; the network starts from scratch"):
        said_of(lambda num_classes: timm.create_model("resnet10t", num_classes=num_classes), freeze_body=True)
    assert "fine-tuning: adamw, head_lr 0.001." in " ".join(said_of(trained(std=0.01), freeze_body=True)[0])
