"""Labels of mixed samples: the loss, soft targets, and accuracy.

A plan (or a single draw) has terms [(permutation or None, weight)]; the label of sample b is the weighted sum of
target[permutation[b]]. Plans that are None are ignored; several plans apply in the order of mixing.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchmoments.draw import Draw, Plan, Term, compose
from torchmoments.ranks import Index, take

Criterion = Callable[[Any, Any], Tensor]
IGNORE_INDEX = -100  # of `torch.nn.functional.cross_entropy`


def mixed_loss(criterion: Criterion, output: Any, target: Any, *plans: Plan | Draw | None) -> Tensor:
    """Compute the sum over the terms of weight * criterion(output, target[permutation]).

    Args:
        criterion: any callable (output, target) that returns a tensor: a scalar, or one loss per sample, [B, ...].
        output: the output of the model.
        target: a tensor [B, ...] (class indices, probabilities, multi-label, regression, dense), or a tuple, list or
            dict of such tensors.
        plans: the plans of the step; None is ignored.

    Returns:
        The loss, in the shape that criterion returns. If no plan mixes labels, exactly criterion(output, target).

    Raises:
        ValueError: the batch sizes of the target and the plans differ, or the label weight varies from sample to sample
            and the criterion reduces.
        RuntimeError: the model ran in eval mode with this plan, so features were not mixed.
    """
    if hasattr(criterion, "plan_of"):
        raise ValueError(
            "mixed_loss needs the criterion itself; got that of site.criterion, which already mixes the labels. Use "
            "criterion(output, target), or mixed_loss with the criterion that was passed to site.criterion."
        )
    terms = _terms(plans)
    _check_batch_size(target, terms)
    total: Tensor | None = None
    for permutation, weight in terms:
        loss = criterion(output, _permuted(target, permutation))
        if not isinstance(loss, Tensor):
            raise ValueError(
                f"the criterion needs to return a tensor; it returned a {type(loss).__name__}. "
                "Use mixed_loss for each part, or a function that adds them up."
            )
        if len(terms) > 1:
            loss = _weighted(loss, weight)
        total = loss if total is None else total + loss
    assert total is not None
    return total


def mixed_targets(
    target: Tensor, *plans: Plan | Draw | None, num_classes: int | None = None, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Compute the sum over the terms of weight * target[permutation], for losses that need probabilities.

    Args:
        target: floating point [B, ...] (probabilities, multi-label, regression), or class indices [B] or
            [B, *positions], which need num_classes.
        plans: the plans of the step; None is ignored.
        num_classes: number of classes K, for class indices.
        ignore_index: a class index that means no class, as in `cross_entropy`: its probabilities are all 0.

    Returns:
        For a floating point target, its shape and dtype; for class indices, [B, K, *positions] in the default dtype.

    Raises:
        ValueError: class indices without num_classes; num_classes with a floating point target; class indices that are
            not from 0 to num_classes - 1 (checked on the CPU only); a batch size other than the plan's.
    """
    if target.is_floating_point():
        if num_classes is not None:
            raise ValueError(
                f"num_classes belongs to class indices; got it with a {target.dtype} target. Leave it out."
            )
        soft = target
    elif target.dtype == torch.bool and num_classes is None:
        soft = target.to(torch.get_default_dtype())
    elif num_classes is None:
        raise ValueError(
            f"class indices need num_classes to become probabilities; got a {target.dtype} target without it. "
            "Use mixed_targets(target, plan, num_classes=K), or target.float() for multi-label targets."
        )
    else:
        soft = _one_hot(target.long(), num_classes, ignore_index)
    terms = _terms(plans)
    if len(terms) == 1:
        return soft
    _check_batch_size(soft, terms)
    total = torch.zeros_like(soft)
    for permutation, weight in terms:
        total = total + _weighted(_permuted(soft, permutation), weight)
    return total.to(soft.dtype)


def mixed_accuracy(
    output: Tensor, target: Tensor, *plans: Plan | Draw | None, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Compute the sum over the terms of weight * mean(argmax(output) == target[permutation]).

    Args:
        output: scores [B, K] or [B, K, *positions].
        target: class indices [B] or [B, *positions], or probabilities in output's shape, of which the largest counts.
        plans: the plans of the step; None is ignored.
        ignore_index: a class index that is excluded from the mean, as in `cross_entropy`.

    Returns:
        A scalar from 0 to 1, without waiting for the device; NaN if everything is excluded, like the loss.

    Raises:
        ValueError: the shapes of output and target do not match.
    """
    predicted = output.argmax(1)
    classes = target.argmax(1) if target.shape == output.shape and target.is_floating_point() else target
    if classes.shape != predicted.shape or classes.is_floating_point():
        raise ValueError(
            f"accuracy needs class indices of shape {list(predicted.shape)} or probabilities of shape "
            f"{list(output.shape)}; got {target.dtype} {list(target.shape)}."
        )
    terms = _terms(plans, only_look=True)
    _check_batch_size(classes, terms)
    total: Tensor | None = None
    for permutation, weight in terms:
        of_term = _permuted(classes, permutation)
        counted = (of_term != ignore_index).float()
        hits = (predicted == of_term).float()
        # Each term has its own mean, like its loss; hits never have the ignored index.
        share = hits if len(terms) == 1 else _weighted(hits, weight)
        accuracy = share.sum() / counted.sum()
        total = accuracy if total is None else total + accuracy
    assert total is not None
    return total


def _one_hot(classes: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    counted = classes != ignore_index
    # Reading the values would wait for a GPU, where one_hot itself fails.
    if classes.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = classes[counted & ((classes < 0) | (classes >= num_classes))]
        if len(wrong):
            raise ValueError(
                f"class indices need to be from 0 to {num_classes - 1}, or ignore_index={ignore_index}; got "
                f"{int(wrong[0])}. Use the num_classes of the model."
            )
    one_hot = F.one_hot(torch.where(counted, classes, 0), num_classes).movedim(-1, 1)
    return (one_hot * counted.unsqueeze(1)).to(torch.get_default_dtype())


def _terms(plans: tuple[Plan | Draw | None, ...], only_look: bool = False) -> list[Term]:
    """Compose the label terms of all plans; with `only_look`, this does not count as mixing the labels."""
    terms: list[Term] = [(None, 1.0)]
    given = [plan for plan in plans if plan is not None]
    for plan in given:
        if not isinstance(plan, (Plan, Draw)):
            raise ValueError(f"plans need to come from site.draw, or be draws; got a {type(plan).__name__}.")
        # Not checked for a single plan: compiled code would be specialized to its batch size.
        if len(given) > 1 and plan.batch_size != given[0].batch_size:
            raise ValueError(
                f"the plans of one step need the same batch size; got {given[0].batch_size} and {plan.batch_size}. "
                "Draw each with site.draw(len(x))."
            )
        if isinstance(plan, Plan):
            _check_not_in_eval_mode(plan)
        terms = compose(terms, plan.labels if only_look and isinstance(plan, Plan) else plan.terms)
    return terms


def _check_not_in_eval_mode(plan: Plan) -> None:
    if (
        not torch.compiler.is_compiling()
        and plan.mixes_labels
        and plan.use.ran_in_eval
        and not plan.use.features_were_mixed
    ):
        raise RuntimeError(
            "labels can be mixed only if features were; the model ran in eval mode with this plan, so they were not. "
            "Draw in the mode in which the model runs: site.draw returns None in eval mode."
        )


def _permuted(target: Any, permutation: Index | None) -> Any:
    if permutation is None:
        return target
    if isinstance(target, Mapping):
        changed = {key: _permuted(part, permutation) for key, part in target.items()}
        return changed if type(target) is dict else _with_parts(target, changed)
    if isinstance(target, (tuple, list)):
        parts = [_permuted(part, permutation) for part in target]
        return type(target)(*parts) if hasattr(target, "_fields") else type(target)(parts)
    return take(target, permutation)


def _with_parts(target: Any, parts: dict[Any, Any]) -> Any:
    """Copy a mapping, such as an OrderedDict, with other values."""
    changed = copy.copy(target)
    changed.update(parts)
    return changed


def _check_batch_size(target: Any, terms: list[Term]) -> None:
    permutations = [permutation for permutation, _ in terms if permutation is not None]
    if not permutations:
        return
    batch_size = permutations[0].shape[0]
    parts = target.values() if isinstance(target, Mapping) else target if isinstance(target, (tuple, list)) else None
    if parts is not None:
        for part in parts:
            _check_batch_size(part, terms)
    elif not isinstance(target, Tensor) or target.ndim == 0 or target.shape[0] != batch_size:
        what = list(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise ValueError(
            f"a target needs {batch_size} samples along its first axis, as the plan has; got {what}. "
            "Use site.draw(len(x)), and tuples or dicts of tensors for targets of several parts."
        )


def _weighted(loss: Tensor, weight: float | Tensor) -> Tensor:
    if not isinstance(weight, Tensor) or weight.ndim == 0:
        return weight * loss
    if loss.ndim == 0 or loss.shape[0] != weight.shape[0]:
        raise ValueError(
            f"the label weight varies from sample to sample, so the criterion needs to return one loss per sample, "
            f"shape [{weight.shape[0]}, ...]; got {list(loss.shape)}. Use reduction='none' and average "
            "mixed_loss."
        )
    return weight.to(loss.dtype).reshape(-1, *[1] * (loss.ndim - 1)) * loss
