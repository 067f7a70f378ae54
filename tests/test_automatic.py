"""A site that draws by itself: the training program stays as it is, and its gradients are those of a step by hand."""

import contextlib
import copy
import gc
import importlib
import pickle
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint

import torchmoments as tm

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 4


class Net(nn.Module):
    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU())
        self.fc = nn.Linear(8, 4)
        self.mode = mode

    def features(self, x: Tensor) -> Tensor:
        return self.body(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        if self.mode is None:
            h = self.features(x)
        else:
            h = checkpoint(self.features, x, use_reentrant=self.mode == "reentrant")
        return self.fc(h.mean((2, 3)))


def net(mode: str | None = None) -> Net:
    torch.manual_seed(0)
    return Net(mode)


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def by_hand(seed: int = 0, step: int = 0, **options: object) -> list[Tensor]:
    """Gradients of a step without any of the package's hooks: the features are exchanged in the forward itself."""
    model, mixer = net(), tm.MoEx(**{"p": 1, **options})
    draws = tm.attach(net(), mixer, at="stem", seed=seed)
    draws.load_state_dict({"seed": seed, "counter": step})
    plan = draws.draw(8)
    h = model.stem(X)
    partner = torch.arange(8)
    if plan is not None:
        partner = plan.draws["stem"].partner
        h = tm.exchange(h, partner)
    output = model.fc(model.body(h).mean((2, 3)))
    lam = mixer.lam if plan is not None else 1.0
    loss = lam * F.cross_entropy(output, Y) + (1 - lam) * F.cross_entropy(output, Y[partner])
    return gradients(model, loss)


def close(ours: list[Tensor], expected: list[Tensor]) -> None:
    for mine, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", [None, "reentrant", "non-reentrant"])
def test_two_lines_have_the_gradient_of_the_step_by_hand(mode):
    model = net(mode)
    site = tm.attach(model, tm.MoEx(p=0.5), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    x = X.clone().requires_grad_(mode == "reentrant")
    mixed = 0
    for step in range(8):
        loss = criterion(model(x), Y)
        mixed += site.plan is not None
        model.zero_grad()
        loss.backward()
        close([p.grad for p in model.parameters()], by_hand(step=step, p=0.5))
    assert 0 < mixed < 8


def test_methods_that_keep_labels_need_one_line():
    model = net()
    tm.attach(model, tm.MoEx(p=1, lam=1.0), at="stem", seed=0)
    gc.collect()
    close(gradients(model, F.cross_entropy(model(X), Y)), by_hand(lam=1.0))


def plain(model: nn.Module, x: Tensor = X) -> bool:
    reference = net().train(model.training)
    reference.load_state_dict(model.state_dict())
    return torch.equal(model(x), reference(x))


def test_eval_no_grad_copies_and_plain_blocks_stay_plain():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    assert not plain(model)
    with torch.no_grad():
        assert plain(model)
    with torch.inference_mode():
        assert plain(model)
    with site.using(None):
        assert plain(model)
    assert plain(model.eval())
    model.train()
    assert plain(copy.deepcopy(model))
    assert plain(pickle.loads(pickle.dumps(model)))
    assert plain(tm.attach(net(), tm.MoEx(p=1), at="stem", automatic=False).model)
    site.detach()
    assert plain(model)


def test_a_copy_with_its_site_draws_as_the_original_goes_on():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    model(X)
    other, _, other_criterion = copy.deepcopy((model, site, criterion))
    ours, theirs = model(X), other(X)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(criterion(ours, Y), other_criterion(theirs, Y))
    with pytest.raises(RuntimeError, match="no training forward of the attached model made this output"):
        criterion(theirs, Y)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["model", "site"])
def test_what_is_deleted_is_gone_at_once(part):
    gc.collect()
    gc.disable()
    try:
        model = net()
        site = tm.attach(model, tm.MoEx(p=1), at="stem")
        loss = site.criterion(nn.CrossEntropyLoss())(model(X), Y)
        loss.backward()
        gone = weakref.ref(model.stem if part == "model" else site)
        del model, site, loss
        assert gone() is None
    finally:
        gc.enable()


def test_an_explicit_block_wins_and_draws_nothing_more():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    plan = site.draw(8)
    state = site.state_dict()
    with site.using(plan):
        output = model(X)
    assert site.state_dict() == state
    assert site.plan is plan
    assert site.plan_of(output) is plan
    close(gradients(model, criterion(output, Y)), by_hand())


def test_forwards_before_a_loss_keep_their_own_labels():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    outputs = [model(X) for _ in range(3)]
    for step, output in reversed(list(enumerate(outputs))):
        close(gradients(model, criterion(output, Y)), by_hand(step=step))


def test_what_is_computed_of_several_forwards_is_refused():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    with pytest.raises(RuntimeError, match=r"several forwards.*a loss for each forward, or one plan for all"):
        criterion(model(X) + model(X), Y)
    with site.mixing(8):
        both = model(X) + model(X)
    criterion(both, Y)


def test_two_models_have_labels_of_their_own():
    first, second = net(), net()
    sites = [tm.attach(model, tm.MoEx(p=1), at="stem", seed=seed) for seed, model in enumerate((first, second))]
    criteria = [site.criterion(nn.CrossEntropyLoss()) for site in sites]
    outputs = first(X), second(X)
    close(gradients(first, criteria[0](outputs[0], Y)), by_hand(0))
    close(gradients(second, criteria[1](outputs[1], Y)), by_hand(1))
    with pytest.raises(RuntimeError, match="no training forward of the attached model made this output"):
        criteria[0](outputs[1], Y)


@dataclass
class Output:
    logits: Tensor
    name: str = "x"


@dataclass(slots=True)
class Slotted:
    logits: Tensor


def cyclic(output: dict) -> dict:
    output["self"] = output
    return output


@pytest.mark.parametrize(
    ("wrap", "logits"),
    [
        (lambda y: (y, None), lambda output: output[0]),
        (lambda y: {"logits": y}, lambda output: output["logits"]),
        (Output, lambda output: output.logits),
        (lambda y: y.double() * 1.0, lambda output: output),
        (lambda y: y.relu_(), lambda output: output),
        (lambda y: y[:, :3].relu_(), lambda output: F.pad(output, (0, 1))),
        (Slotted, lambda output: output.logits),
        (lambda y: Output(Output(y)), lambda output: output.logits.logits),
        (lambda y: cyclic({"logits": y}), lambda output: output["logits"]),
    ],
    ids=["tuple", "dict", "object", "computed", "in place", "view in place", "slots", "nested", "cyclic"],
)
def test_the_plan_is_found_by_what_holds_the_output(wrap, logits):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    output = wrap(model(X))
    loss = site.criterion(lambda output, target: F.cross_entropy(logits(output), target))(output, Y)
    plan = site.plan
    expected = tm.mixed_loss(F.cross_entropy, logits(output), Y, plan)
    assert torch.equal(loss, expected)
    assert not torch.equal(loss, F.cross_entropy(logits(output), Y))
    assert torch.equal(site.accuracy(logits(output), Y), tm.mixed_accuracy(logits(output), Y, plan))


def test_an_output_that_only_passes_through_keeps_the_plan_of_its_forward():
    class Passing(Net):
        def forward(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
            return super().forward(x), before

    model = Passing()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    first, _ = model(X)
    plan = site.plan
    for _ in range(3):
        _, passed = model(X, first)
    assert site.plan_of(first) is site.plan_of(passed) is plan
    assert len(first.grad_fn.metadata["torchmoments"]) == 1


def test_a_view_that_is_written_to_is_recomputed_with_its_plan():
    class Viewed(Net):
        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(super().forward, x, use_reentrant=False).view(8, 2, 2)

    model, reference = Viewed(), Net()
    reference.load_state_dict(model.state_dict())
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    output = model(X).relu_()
    assert site.plan_of(output) is site.plan
    with tm.attach(reference, tm.MoEx(p=1), at="stem", automatic=False).using(site.plan):
        expected = reference(X).view(8, 2, 2).relu()
    close(gradients(model, output.square().sum()), gradients(reference, expected.square().sum()))


def test_the_criterion_is_itself_in_eval_and_takes_keywords():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(F.cross_entropy)
    smooth = criterion(input=model(X), target=Y, label_smoothing=0.1)
    model.eval()
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            output = model(X)
            assert torch.equal(criterion(output, Y), F.cross_entropy(output, Y))
            assert torch.equal(criterion(output.detach(), Y), F.cross_entropy(output, Y))
    assert smooth.isfinite()


@pytest.mark.parametrize(
    ("output", "error", "sentence"),
    [
        (
            lambda model: model(X).detach(),
            RuntimeError,
            r"has no gradient.*Pass what the model returned, or call it in",
        ),
        (lambda model: net()(X), RuntimeError, r"no training forward.*with site.mixing\(len\(x\)\)"),
        (lambda model: nn.Linear(4, 4)(model.requires_grad_(False)(X)), RuntimeError, r"without trained parameters"),
        (lambda model: "text", ValueError, r"needs a tensor.*got a str. Pass what the model returned"),
    ],
)
def test_an_output_that_does_not_tell_its_plan_is_refused(output, error, sentence):
    model = net()
    criterion = tm.attach(model, tm.MoEx(p=1), at="stem").criterion(nn.CrossEntropyLoss())
    with pytest.raises(error, match=sentence):
        criterion(output(model), Y)


def test_a_model_that_is_compiled_is_refused_whatever_the_name():
    with pytest.raises(ValueError, match=r"this model is one. Attach first, then compile"):
        tm.attach(torch.compile(net()), tm.MoEx(p=1), at="stem")


def test_a_criterion_is_a_function_and_wrapped_once():
    site = tm.attach(net(), tm.MoEx(p=1), at="stem")
    for wrong in (nn.CrossEntropyLoss, 3):
        with pytest.raises(ValueError, match=r"criterion needs a function \(output, target\) -> loss"):
            site.criterion(wrong)
    with pytest.raises(ValueError, match=r"already mixes the labels of a site.*first.plan_of\(output\)"):
        site.criterion(site.criterion(nn.CrossEntropyLoss()))


def test_a_wrapped_criterion_mixes_labels_once():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    criterion = site.criterion(nn.CrossEntropyLoss())
    with site.mixing(8) as plan:
        output = model(X)
    with pytest.raises(ValueError, match=r"that of site.criterion, which already mixes the labels. Use criterion\("):
        tm.mixed_loss(criterion, output, Y, plan)
    criterion(output, Y)


def test_after_detaching_the_criterion_is_plain_and_earlier_outputs_keep_their_labels():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    mixed = model(X)
    site.detach()
    output = model(X)
    assert torch.equal(criterion(output, Y), F.cross_entropy(output, Y))
    close(gradients(model, criterion(mixed, Y)), by_hand())


def test_the_same_place_twice_is_warned_about():
    model = net()
    first = tm.attach(model, tm.MoEx(p=1), at="stem")
    with pytest.warns(UserWarning, match=r"'stem' already has the mixer of another site.*detach\(\)") as warned:
        second = tm.attach(model, tm.MoEx(p=1), at="stem")
    assert warned[0].filename == __file__
    first.detach()
    second.detach()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tm.attach(model, tm.MoEx(p=1), at="stem")


def test_two_sites_of_a_model_give_their_labels_in_the_order_of_mixing():
    model = net()
    first = tm.attach(model, tm.MoEx(p=1, lam=0.8), at="stem", seed=0)
    second = tm.attach(model, tm.MoEx(p=1, lam=0.7), at="body", seed=1)
    output = model(X)
    plans = first.plan_of(output), second.plan_of(output)
    assert plans == (first.plan, second.plan)
    p, q = plans[0].draws["stem"].partner, plans[1].draws["body"].partner
    soft = F.one_hot(Y, 4).float()
    soft = 0.8 * soft + 0.2 * soft[p]
    soft = 0.7 * soft + 0.3 * soft[q]
    torch.testing.assert_close(tm.mixed_loss(F.cross_entropy, output, Y, *plans), F.cross_entropy(output, soft))


def test_forgotten_labels_are_warned_about_at_the_line_of_the_forward():
    model = net()
    tm.attach(model, tm.MoEx(p=1), at="stem")
    for _ in range(2):
        output = model(X)
        F.cross_entropy(output, Y).backward()
    with pytest.warns(UserWarning, match=r"its labels were not. Use `criterion = site.criterion") as warned:
        model(X)
    assert {warning.filename for warning in warned} == {__file__}


def test_a_right_step_warns_of_nothing():
    model = net()
    site = tm.attach(model, tm.MoEx(p=0.5), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(12):
            criterion(model(X), Y).backward()
            with torch.no_grad():
                model.eval()(X)
                model.train()(X)


def interrupting(error: BaseException) -> Callable[..., None]:
    def interrupt(*_: object) -> None:
        raise error

    return interrupt


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=["Ctrl-C", "error"])
def test_a_forward_that_was_broken_off_leaves_nothing_in_use(error):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    handle = model.fc.register_forward_pre_hook(interrupting(error))
    with pytest.raises(type(error)):
        model(X)
    handle.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.no_grad():
            assert plain(model)
        loss = site.criterion(nn.CrossEntropyLoss())(model(X), Y)
    close(gradients(model, loss), by_hand(step=1))
    model.fc.register_forward_pre_hook(interrupting(error))
    with pytest.raises(type(error)):
        model(X)
    model.fc._forward_pre_hooks.clear()
    assert plain(model.eval())


@pytest.mark.parametrize("automatic", [True, False])
def test_after_ctrl_c_blocks_and_parts_of_the_model_are_as_before(automatic):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1, lam=1.0), at="stem", seed=0, automatic=automatic)
    handle = model.fc.register_forward_pre_hook(interrupting(KeyboardInterrupt()))

    def broken_off() -> None:
        with pytest.raises(KeyboardInterrupt), contextlib.nullcontext() if automatic else site.mixing(8):
            model(X)

    reference = net()
    broken_off()
    with torch.no_grad():
        torch.testing.assert_close(model.stem(X), reference.stem(X))
    broken_off()
    if automatic:
        with pytest.raises(RuntimeError, match="'stem' ran in training without a call of the model"):
            model.stem(X)
        broken_off()
    handle.remove()
    with site.using(None):
        assert model.stem(X).shape == (8, 8, 4, 4)
        assert plain(model)
    with site.mixing(8):
        assert not plain(model)


def test_a_place_that_does_not_run_is_an_error():
    model = net()
    model.unused = nn.ReLU()
    tm.attach(model, tm.MoEx(p=1), at="unused")
    with pytest.raises(RuntimeError, match="'unused', which did not run"):
        model(X)
    assert model.eval()(X).shape == (8, 4)


def test_a_place_that_runs_without_its_model_is_refused_where_it_would_train():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1, lam=1.0), at="stem")
    for reach in (model.features, model.forward, model.stem):
        with pytest.raises(
            RuntimeError, match=r"'stem' ran in training without a call of the model.*Attach to the module"
        ):
            reach(X)
        with site.using(None):
            reach(X)
        with site.mixing(8):
            reach(X)
        with torch.no_grad():
            reach(X)
        copy.deepcopy(model).features(X)
    model.eval().features(X)


def test_a_model_that_calls_itself_is_refused():
    class Recursive(Net):
        def forward(self, x: Tensor, depth: int = 1) -> Tensor:
            return super().forward(x) if depth == 0 else self(x, depth - 1)

    model = Recursive()
    tm.attach(model, tm.MoEx(p=1), at="stem")
    with pytest.raises(RuntimeError, match=r"calls itself. Use attach\(..., automatic=False\)"):
        model(X)


def test_a_model_without_tensors_is_refused():
    class Made(Net):
        def forward(self, size: int) -> Tensor:
            return super().forward(torch.randn(size, 3, 6, 6))

    model = Made()
    tm.attach(model, tm.MoEx(p=1), at="stem")
    with pytest.raises(RuntimeError, match=r"first tensor that the model takes; it takes none"):
        model(8)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("side", ["output", "input"])
def test_a_number_of_samples_that_the_first_tensor_does_not_have_is_refused(number, side):
    class Listed(Net):
        def forward(self, images: list[Tensor]) -> Tensor:
            return super().forward(torch.stack(images).expand(-1, 3, -1, -1))

    model = Listed()
    tm.attach(model, tm.MoEx(p=1), at="stem", side=side)
    sentence = (
        rf"for {number} samples, which was read from the first tensor.*'stem' have 8.*with site.mixing\(batch_size\)"
    )
    with pytest.raises(ValueError, match=sentence):
        model(list(torch.randn(8, number, 6, 6)))


def test_a_reentrant_checkpoint_around_the_model_is_refused_and_the_other_is_right():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    with pytest.raises(RuntimeError, match=r"inside a reentrant checkpoint.*use_reentrant=False"):
        checkpoint(model, X.clone().requires_grad_(), use_reentrant=True)
    loss = criterion(checkpoint(model, X, use_reentrant=False), Y)
    model(X)
    loss.backward()
    close([parameter.grad for parameter in model.parameters()], by_hand())


def test_accumulation_adds_the_gradients_of_steps_by_hand():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    for _ in range(2):
        criterion(model(X), Y).backward()
    expected = [a + b for a, b in zip(by_hand(step=0), by_hand(step=1), strict=True)]
    close([parameter.grad for parameter in model.parameters()], expected)


def test_functional_call_draws_too():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    weights = {name: tensor.detach().clone().requires_grad_() for name, tensor in model.named_parameters()}
    loss = site.criterion(nn.CrossEntropyLoss())(torch.func.functional_call(model, weights, (X,)), Y)
    close(list(torch.autograd.grad(loss, list(weights.values()))), by_hand())


def test_transforms_of_torch_func_draw_once_for_all_that_they_batch():
    model = net()
    model.stem[1] = nn.Identity()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    weights = dict(model.named_parameters())

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return criterion(torch.func.functional_call(model, weights, (x,)), y)

    found = torch.func.grad(loss)(weights, X, Y)
    together = torch.func.vmap(torch.func.grad(loss), (0, None, None))({k: v[None] for k, v in weights.items()}, X, Y)
    for step, each in enumerate((found, {name: gradient[0] for name, gradient in together.items()})):
        site.load_state_dict({"seed": 0, "counter": step})
        close([each[name] for name in weights], gradients(model, criterion(model(X), Y)))
    of_samples = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(weights, X[:, None], Y[:, None])
    with site.using(None):
        close([of_samples[name].mean(0) for name in weights], gradients(model, F.cross_entropy(model(X), Y)))


def test_positions_that_may_be_taken_for_samples_are_refused():
    class Sequences(nn.Module):
        def __init__(self, batch_first: bool) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(x)

    model = Sequences(batch_first=False)
    tm.attach(model, tm.MixStyle(p=1), at="block")
    with pytest.raises(ValueError, match=r"batch_first=False, so the 5 may be positions. Use batch_first=True; or"):
        model(torch.randn(5, 4, 8))
    model = Sequences(batch_first=True)
    tm.attach(model, tm.MixStyle(p=1), at="block")
    model(torch.randn(5, 4, 8))


def test_a_mask_is_found_by_name_or_function():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 8)
            self.fc = nn.Linear(8, 4)

        def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.fc((self.embed(ids) * attention_mask[..., None]).sum(1))

    ids = torch.randint(20, (8, 5))
    mask = (torch.arange(5) < torch.tensor([5, 4, 3, 5, 2, 5, 3, 4])[:, None]).long()
    for option, call in (
        ("attention_mask", lambda model: model(ids, attention_mask=mask)),
        ("attention_mask", lambda model: model(ids, mask)),
        (lambda ids, mask: mask, lambda model: model(ids, mask)),
    ):
        model = Masked()
        site = tm.attach(model, tm.MoEx(p=1, norm="in"), at="embed", channel_dim=-1, mask=option, seed=0)
        seen = []
        model.embed.register_forward_hook(lambda module, arguments, output, seen=seen: seen.append(output))
        output = call(model)
        assert output.requires_grad
        plan, plainly = site.plan, model.embed.weight[ids]
        view = plainly.movedim(-1, 1)
        expected = tm.exchange(view, plan.draws["embed"].partner, norm="in", mask=mask).movedim(1, -1)
        torch.testing.assert_close(seen[0], expected)
    with pytest.raises(ValueError, match=r"argument of the model; it takes self, ids, attention_mask. Use"):
        tm.attach(Masked(), tm.MoEx(p=1), at="embed", mask="padding").model(ids, mask)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"automatic": 1}, "automatic needs True or False; got 1"),
        ({"mask": torch.ones(8, 5)}, r"mask needs the name of an argument.*using\(plan, mask=...\)"),
        ({"mask": "m", "automatic": False}, "mask needs automatic=True; got automatic=False"),
    ],
)
def test_wrong_options_of_the_automatic_form_are_told(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        tm.attach(net(), tm.MoEx(), at="stem", **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_compiled_model_has_three_graphs_at_most_and_the_same_gradients(fullgraph):
    if fullgraph and torch.__version__ < "2.11":
        pytest.skip("needs `with site.mixing(len(x))` there")
    torch.compiler.reset()
    counter = CompileCounter()
    model = net()
    site = tm.attach(model, tm.MoEx(p=0.5), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())
    compiled = torch.compile(model, backend=counter, fullgraph=fullgraph)
    for step in range(8):
        close(gradients(model, criterion(compiled(X), Y)), by_hand(step=step, p=0.5))
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(compiled(X), model(X))
    assert counter.frame_count <= 3
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.thorough
def test_what_another_process_reads_is_compiled_as_what_was_attached_there(tmp_path, monkeypatch):
    if torch.__version__ < "2.11":
        pytest.skip("needs `with site.mixing(len(x))` there")
    (tmp_path / "network_of_another_file.py").write_text(
        "from torch import nn\n"
        "class Network(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.stem = nn.Conv2d(3, 8, 3)\n"
        "    def forward(self, x):\n"
        "        return self.stem(x).relu().mean((2, 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    attached = importlib.import_module("network_of_another_file").Network()
    torch.save((attached, tm.attach(attached, tm.MoEx(p=1, lam=1.0), at="stem")), tmp_path / "both.pt")
    program = """
import torch
model, site = torch.load("both.pt", weights_only=False)
output = torch.compile(model, backend="eager", fullgraph=True)(torch.randn(8, 3, 6, 6))
assert site.plan_of(output) is site.plan is not None
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_compiled_training_step_finds_its_labels():
    torch.compiler.reset()
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    criterion = site.criterion(nn.CrossEntropyLoss())

    @torch.compile(backend="aot_eager")
    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return criterion(model(x), y)

    for step in range(2):
        close(gradients(model, loss_of(X, Y)), by_hand(step=step))
    torch.compiler.reset()


@pytest.mark.slow
def test_a_compiled_step_is_for_any_batch_size():
    torch.compiler.reset()
    counter = CompileCounter()
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", automatic=False)

    @torch.compile(backend=counter, fullgraph=True)
    def loss_of(x: Tensor, y: Tensor, plan: tm.Plan) -> Tensor:
        with site.using(plan):
            return tm.mixed_loss(F.cross_entropy, model(x), y, plan)

    for number in range(3, 12):
        x, y = torch.randn(number, 3, 6, 6), torch.arange(number) % 4
        loss_of(x, y, site.draw(number)).backward()
    assert counter.frame_count <= 3
    torch.compiler.reset()


def test_compiled_blocks_inside_a_checkpoint_are_refused():
    torch.compiler.reset()
    model = net("reentrant")
    tm.attach(model, tm.MoEx(p=1), at="stem")
    model.stem.compile(backend="aot_eager")
    with pytest.raises(Exception, match=r"runs in an activation checkpoint that is not compiled.*attach to another"):
        model(X.clone().requires_grad_())
    torch.compiler.reset()


@pytest.mark.slow
def test_export_and_tracing_in_train_mode_record_the_plain_model():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, (X,), check_trace=False)
    torch.testing.assert_close(traced(X), net()(X))
    assert [node.target for node in torch.fx.symbolic_trace(model).graph.nodes] == [
        node.target for node in torch.fx.symbolic_trace(net()).graph.nodes
    ]
    if torch.__version__ >= "2.11":
        for strict in (True, False):
            recorded = torch.export.export(copy.deepcopy((model, site))[0], (X,), strict=strict).module()
            torch.testing.assert_close(recorded(X), net()(X))
    model.eval()
    with torch.no_grad():
        exported = torch.export.export(model, (X,)).module()
    torch.testing.assert_close(exported(X), model(X))
