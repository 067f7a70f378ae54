"""Support for the Hugging Face Trainer: a loss for `compute_loss_func`, and a callback for exact resuming.

    site = torchmoments.attach(model, MoEx(), at="resnet.embedder")
    trainer = Trainer(model, args, compute_loss_func=site.criterion(cross_entropy), callbacks=[SiteCallback(site)], ...)

Attach before creating the Trainer, which wraps and compiles the model.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchmoments.site import Site

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as error:
    if error.name != "transformers":
        raise
    raise ImportError(
        "torchmoments.transformers needs transformers. Install it with: pip install 'torchmoments[transformers]'"
    ) from None


def cross_entropy(
    outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, *, label_smoothing: float = 0.0
) -> Tensor:
    """Compute the cross entropy of logits [B, K] or [B, T, K], averaged over all batches that one step accumulates.

    With a custom loss, the Trainer does not divide by the number of accumulated batches, and ignores
    `label_smoothing_factor`: use `partial(cross_entropy, label_smoothing=0.1)`.

    Args:
        outputs: the output of the model without labels: an object with `logits`, or a tuple that begins with them.
        labels: class indices [B] or [B, T]; -100 is ignored.
        num_items_in_batch: number of labels in all those batches, passed by the Trainer; None: those of this batch.
        label_smoothing: as in `torch.nn.functional.cross_entropy`.
    """
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
    logits, labels = logits.flatten(0, -2).float(), labels.flatten()
    if num_items_in_batch is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum") / num_items_in_batch


class SiteCallback(TrainerCallback):
    """Saves the random number state of sites in the Trainer's checkpoints, restores it, and sets `site.progress`.

    The state is stored in TrainerState. The Trainer's own mechanism would create a new callback from JSON, without the
    sites.
    """

    def __init__(self, *sites: Site) -> None:
        self.sites = sites

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        saved = state.stateful_callbacks.get("torchmoments")
        if saved is None:
            return
        if len(saved) != len(self.sites):
            raise ValueError(
                f"the checkpoint has the state of {len(saved)} sites; got {len(self.sites)}. Use SiteCallback with the "
                "sites of the run that is resumed, in their order."
            )
        for site, site_state in zip(self.sites, saved, strict=True):
            site.load_state_dict(site_state)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for site in self.sites:
            site.progress = state.global_step / state.max_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The Trainer writes the checkpoint of this step after this call.
        state.stateful_callbacks["torchmoments"] = [site.state_dict() for site in self.sites]
