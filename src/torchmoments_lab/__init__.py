"""Train with and without a method, paired by seed, and say with confidence intervals whether it helps.

Needs the extra `torchmoments[lab]`. `compare` below is the command `torchmoments compare` for objects of Python, and
`predict` the command `torchmoments predict`. Nothing is imported until they are called.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

__all__ = ["compare", "predict"]

if TYPE_CHECKING:
    from torchmoments_lab.inference.predict import Predictions
    from torchmoments_lab.report.summary import Summary


def compare(
    make_model: Callable[..., Any],
    train: Any,
    test: Any,
    methods: Sequence[str] = ("none", "labels", "moex"),
    *,
    out: str | Path,
    seeds: int | str = 20,
    **settings: Any,
) -> "Summary":
    """Train your model on your data with each method, and report whether one helps.

    Args:
        make_model: returns a new torch.nn.Module, images [B, C, H, W] to logits [B, classes]; called for each run, with
            num_classes if it has such an argument. Initial weights come from the global random numbers of torch,
            NumPy and Python, which follow the seed.
        train: the training set, of which each run draws its images: a torch Dataset of (image, label) or of dicts with
            one of each, or two arrays (images, labels). Floating point images, [C, H, W] each, are taken as they are,
            normalized. PIL images and whole numbers are pictures: resized, and normalized by ImageNet's constants.
            Labels are whole numbers from 0; those that items give count. All is read once before anything starts.
        test: the test images, in the same form.
        methods: method specs as on the command line; the first is what the others are compared with.
        out: folder for the runs and the report. Complete runs in it are kept.
        seeds: runs of each method, or a range such as "10..40", which ends as soon as all is decided.
        settings: the other settings of `torchmoments compare`: epochs, batch_size, lr, metric, stop_at, workers, ...

    Returns:
        The contents of `out`/summary.json as attributes, such as summary.differences["moex"].mean, .ci95_adjusted,
        .p_adjusted, .outcome, .n; summary.errors["none"].mean; summary.conclusion. Runs that failed are in
        summary.failed.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.

    What was decided that the request does not say goes to the logger "torchmoments_lab". SIGTERM raises SystemExit.
    """
    from torchmoments_lab.comparison import compare_objects

    return compare_objects(make_model, train, test, methods=methods, out=out, seeds=seeds, **settings)


def predict(
    weights: str | Path | Sequence[str | Path],
    images: Any,
    *,
    device: str = "auto",
    batch_size: int = 100,
    make_model: Callable[..., Any] | None = None,
) -> "Predictions":
    """Name the classes of images, with the probability of each, by the trained weights of a run.

    Images are prepared by the code that prepared the test images, as the file of weights says.

    Args:
        weights: weights.safetensors of a run that keeps it, `keep_weights=True`; of several, such as those of several
            seeds, the probabilities are averaged.
        images: a folder of pictures, a picture, or a list of such files; a list of PIL images; or arrays [N, ...]. If
            the network was trained on tensors, tensors like those.
        device: auto, cpu, cuda, cuda:1, mps.
        batch_size: images at a time.
        make_model: what `compare` was given, if the weights are from it.

    Returns:
        .probabilities [N, K] float32, .predicted, the most likely class of each image, .files, .classes, .as_csv().

    Raises:
        ValueError: the file does not say what its network is, weights or images do not fit, or an image cannot be read.
    """
    from torchmoments_lab.inference.predict import predict as predict_images

    return predict_images(weights, images, device=device, batch_size=batch_size, make_model=make_model)
