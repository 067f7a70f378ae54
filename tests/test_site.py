"""The laws of an attached mixer: what never changes, and what a plan reaches."""

import copy
import dataclasses
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint

import torchmoments as tm
from torchmoments.features import replace_features


class Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Block(1, 8)
        self.layer1 = Block(8, 8)
        self.layer2 = Block(8, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))


class CheckpointedNet(Net):
    """The middle runs again in backward; nested: a checkpoint inside a checkpoint."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        if self.mode == "nested":
            h = checkpoint(
                lambda z: checkpoint(self.layer1, self.layer2(z), use_reentrant=True), stem, use_reentrant=True
            )
        else:
            h = checkpoint(self.layer1, stem, use_reentrant=self.mode == "reentrant")
            h = self.layer2(h)
        return self.fc(h.mean((2, 3)))


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


X = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


def gradients(model: nn.Module) -> list[torch.Tensor]:
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


def test_features_and_labels_use_the_same_partner():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1, lam=0.7), at="stem", seed=0)
    seen = {}
    model.stem.register_forward_hook(lambda m, a, o: seen.update(mixed=o))
    plan = site.draw(8)
    with site.using(plan):
        output = model(X)
    draw = plan.draws["stem"]
    plain = net()
    h = plain.stem(X)
    torch.testing.assert_close(seen["mixed"], tm.exchange(h, draw.partner))
    expected = 0.7 * F.cross_entropy(output, Y) + 0.3 * F.cross_entropy(output, Y[draw.partner])
    torch.testing.assert_close(tm.mixed_loss(F.cross_entropy, output, Y, plan), expected)


@pytest.mark.parametrize("training", [True, False])
def test_output_without_a_plan_is_bit_identical_to_the_plain_model(training):
    plain, model = net().train(training), net().train(training)
    site = tm.attach(model, tm.MoEx(p=0), at=["stem", "layer1"])
    expected = plain(X)
    assert torch.equal(model(X), expected) or training  # BatchNorm's buffers move in train mode
    plain, model = net().train(training), net().train(training)
    site = tm.attach(model, tm.MoEx(p=0), at=["stem", "layer1"])
    with site.mixing(8) as plan:
        assert plan is None
        assert torch.equal(model(X), plain(X))


def test_eval_output_is_bit_identical_to_the_plain_model_whatever_the_plan():
    plain, model = net().eval(), net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    plan = site.draw(8)
    model.eval()
    assert site.draw(8) is None
    with site.using(plan):
        output = model(X)
    assert torch.equal(output, plain(X))
    with pytest.raises(RuntimeError, match="eval mode"):
        tm.mixed_loss(F.cross_entropy, output, Y, plan)


def test_a_frozen_backbone_is_mixed():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    model.stem.eval()
    model.layer1.eval()
    with site.mixing(8):
        mixed = model(X)
    assert not torch.allclose(mixed, model(X))


def test_attaching_changes_no_key_and_no_parameter():
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    site = tm.attach(model, tm.MoEx(), at="layer*")
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    site.detach()
    assert not model.layer1._forward_hooks


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_alone_is_plain_and_a_copy_with_its_site_is_connected(copied):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    with site.mixing(8):
        alone = copied(model)
        assert torch.equal(alone(X), net()(X))
        assert not torch.equal(model(X), net()(X))
    model2, site2 = copied((model, site))
    assert site2.model is model2
    with site2.mixing(8) as plan2, site.mixing(8) as plan:
        assert torch.equal(plan2.draws["stem"].partner, plan.draws["stem"].partner)
        assert torch.equal(model2(X), model(X))


def test_global_random_numbers_are_never_touched():
    state = torch.get_rng_state()
    model = Net()
    torch.set_rng_state(state)
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    with site.mixing(8):
        model(X)
    assert torch.equal(torch.get_rng_state(), state)


def test_state_resumes_the_draws():
    site = tm.attach(net(), tm.MoEx(p=0.5), at="stem", seed=1)
    site.draw(8)
    state = site.state_dict()
    first = [site.draw(8) for _ in range(20)]
    other = tm.attach(net(), tm.MoEx(p=0.5), at="stem", seed=99)
    other.load_state_dict(state)
    for a, b in zip(first, [other.draw(8) for _ in range(20)], strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a.draws["stem"].partner, b.draws["stem"].partner)


def test_the_rank_gives_other_draws(monkeypatch):
    def partners() -> torch.Tensor:
        return tm.attach(net(), tm.MoEx(p=1), at="stem", seed=1).draw(64).draws["stem"].partner

    first = partners()
    assert torch.equal(partners(), first)
    # Without a launcher it is a rank that was left in the environment.
    monkeypatch.setenv("RANK", "1")
    assert torch.equal(partners(), first)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not torch.equal(partners(), first)


def test_the_state_of_one_rank_resumes_every_rank(monkeypatch):
    def partners(site: tm.Site) -> list[list[int]]:
        return [site.draw(64).draws["stem"].partner.tolist() for _ in range(3)]

    def site_of(rank: int, seed: int) -> tm.Site:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        return tm.attach(net(), tm.MoEx(p=1), at="stem", seed=seed)

    states, after = [], []
    for rank in range(3):
        site = site_of(rank, seed=1)
        partners(site)
        states.append(site.state_dict())
        after.append(partners(site))
    assert states[0] == states[1] == states[2]
    assert after[0] != after[1] != after[2] != after[0]
    for rank in range(3):
        site = site_of(rank, seed=99)
        site.load_state_dict(states[0])
        assert partners(site) == after[rank]


def test_the_process_group_may_be_made_after_the_site(monkeypatch):
    site, other = (tm.attach(net(), tm.MoEx(p=1), at="stem", seed=1) for _ in range(2))
    first = site.draw(64).draws["stem"].partner
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert not torch.equal(other.draw(64).draws["stem"].partner, first)


def test_another_p_leaves_the_partners_as_they_are():
    often = tm.attach(net(), tm.MoEx(p=1), at="stem", seed=1)
    seldom = tm.attach(net(), tm.MoEx(p=0.3), at="stem", seed=1)
    for _ in range(50):
        a, b = often.draw(8), seldom.draw(8)
        assert b is None or torch.equal(a.draws["stem"].partner, b.draws["stem"].partner)


def test_label_mixing_happens_at_one_place_a_step():
    site = tm.attach(net(), tm.MoEx(p=1, lam=0.8), at=["stem", "layer1", "layer2"], seed=0)
    chosen = set()
    for _ in range(60):
        plan = site.draw(8)
        active = [name for name, draw in plan.draws.items() if not draw.idle]
        assert len(active) == 1
        assert [weight for _, weight in plan.terms] == pytest.approx([0.8, 0.2])
        chosen.update(active)
    assert chosen == {"stem", "layer1", "layer2"}


def test_label_keeping_mixers_draw_for_each_place():
    site = tm.attach(net(), tm.MoEx(p=0.5, lam=1), at=["stem", "layer1", "layer2"], seed=0)
    counts = [sum(not draw.idle for draw in plan.draws.values()) if (plan := site.draw(8)) else 0 for _ in range(100)]
    assert set(counts) == {0, 1, 2, 3}


@pytest.mark.parametrize("mode", ["reentrant", "non-reentrant", "nested"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_recomputation_sees_the_plan_of_its_own_forward(mode, order):
    """Four forwards, one of them plain, differentiated after their blocks ended, in any order."""

    def losses(model: nn.Module) -> list[torch.Tensor]:
        site = tm.attach(model, tm.MoEx(p=1), at=["layer1", "layer2"], seed=5)
        found = []
        for step in range(4):
            x = (X + step).requires_grad_()
            plan = None if step == 2 else site.draw(8)
            with site.using(plan):
                found.append(tm.mixed_loss(F.cross_entropy, model(x), Y, plan))
        return found

    def all_gradients(model: nn.Module) -> list[list[torch.Tensor]]:
        found = losses(model)
        result = []
        for step in order:
            found[step].backward()
            result.append(gradients(model))
        return result

    torch.manual_seed(0)
    model = CheckpointedNet(mode)
    plain = copy.deepcopy(model)
    plain.forward = lambda x: reference_forward(plain, x, mode)
    for one, other in zip(all_gradients(model), all_gradients(plain), strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def reference_forward(model: Net, x: torch.Tensor, mode: str) -> torch.Tensor:
    h = model.stem(x)
    h = model.layer1(model.layer2(h)) if mode == "nested" else model.layer2(model.layer1(h))
    return model.fc(h.mean((2, 3)))


def test_recomputation_raises_when_its_plan_is_lost(monkeypatch):
    monkeypatch.setattr("torchmoments.blocks.MAX_BLOCKS", 3)
    model = CheckpointedNet("non-reentrant")
    site = tm.attach(model, tm.MoEx(p=1), at="layer1", seed=0)
    with site.mixing(8) as plan:
        loss = tm.mixed_loss(F.cross_entropy, model(X), Y, plan)
    for _ in range(5):
        with site.mixing(8) as other:
            tm.mixed_loss(F.cross_entropy, model(X), Y, other)
    with pytest.raises(RuntimeError, match="plan of this recomputed forward is lost"):
        loss.backward()


def test_plans_nest_and_are_restored():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0, automatic=False)
    first, second = site.draw(8), site.draw(8)
    with site.using(first):
        a = model(X)
        with site.using(second):
            b = model(X)
        with site.using(None):
            plain = model(X)
        c = model(X)
    model2 = net()
    assert torch.equal(a, c)
    assert not torch.equal(a, b)
    assert torch.equal(plain, model2(X))
    assert torch.equal(model(X), plain)


def test_an_exception_in_the_body_is_not_hidden_by_the_exit_check():
    site = tm.attach(net(), tm.MoEx(p=1), at="stem")
    with pytest.raises(KeyError), site.mixing(8):
        raise KeyError("body")
    with pytest.raises(KeyError), site.using(site.draw(8)):
        raise KeyError("body")


def test_a_place_that_did_not_run_is_an_error():
    site = tm.attach(net(), tm.MoEx(p=1), at="stem")
    with pytest.raises(RuntimeError, match=r"'stem'.*did not run.*compiled before attaching"), site.mixing(8):
        pass


@pytest.mark.slow
def test_a_model_that_was_compiled_and_run_before_attaching_is_compiled_again():
    model, twin = net(), net()
    compiled = torch.compile(model, backend="eager")
    compiled(X)
    twin(X)
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    alike = tm.attach(twin, tm.MoEx(p=1), at="stem", seed=0)
    with site.mixing(8), alike.mixing(8):
        torch.testing.assert_close(compiled(X), twin(X))


def test_a_plan_for_another_batch_size_is_an_error():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    with pytest.raises(ValueError, match=r"plan is for 4 samples.*'stem' have 8"), site.mixing(4):
        model(X)


def test_labels_that_were_never_mixed_are_warned_about():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    with site.mixing(8):
        model(X)
    with pytest.warns(UserWarning, match="its labels were not") as warned:
        site.draw(8)
    assert warned[0].filename == __file__
    with site.mixing(8):
        model(X)
    with pytest.warns(UserWarning, match="its labels were not") as warned, site.mixing(8):
        model(X)
    assert warned[0].filename == __file__


def test_labels_of_a_plan_that_no_model_used_are_warned_about():
    site = tm.attach(net(), tm.MoEx(p=1), at="stem")
    for mix in (lambda plan: tm.mixed_loss(F.cross_entropy, torch.randn(8, 4), Y, plan), soft_targets):
        mix(site.draw(8))
        with pytest.warns(UserWarning, match=r"its features were not.*site.using") as warned:
            site.draw(8)
        assert warned[0].filename == __file__


def soft_targets(plan):
    return tm.mixed_targets(Y, plan, num_classes=4)


def test_targets_may_be_mixed_before_the_forward():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            plan = site.draw(8)
            soft = soft_targets(plan)
            with site.using(plan):
                F.cross_entropy(model(X), soft).backward()


def test_accuracy_alone_leaves_the_labels_unmixed():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    with site.mixing(8) as plan:
        tm.mixed_accuracy(model(X), Y, plan)
    del plan
    with pytest.warns(UserWarning, match="its labels were not"):
        site.draw(8)


@pytest.mark.parametrize("labels_first", [True, False])
def test_a_step_that_was_broken_off_is_not_said_to_be_half_mixed(labels_first):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")

    def step():
        with site.mixing(8) as plan:
            if labels_first:
                soft_targets(plan)
            model(X)
            raise MemoryError

    with pytest.raises(MemoryError):
        step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        site.draw(8)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"at": "layer5"}, r"no module 'layer5' in Net.*Nearest: 'layer\d'.*torchmoments.places"),
        ({"at": "block*"}, "nothing would be mixed"),
        ({"at": []}, "got none"),
        ({"at": "stem", "side": "left"}, "side needs"),
        ({"at": "stem", "prefix_tokens": -1}, "prefix_tokens needs"),
    ],
)
def test_wrong_arguments_of_attach_are_told_what_to_write(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        tm.attach(net(), tm.MoEx(), **arguments)


def test_a_compiled_model_is_refused():
    with pytest.raises(ValueError, match="Attach first, then compile"):
        tm.attach(torch.compile(net()), tm.MoEx(), at="_orig_mod.stem")
    model = net()
    model.compile()
    with pytest.raises(ValueError, match="Attach first, then compile"):
        tm.attach(model, tm.MoEx(), at="stem")


def test_a_detached_site_draws_no_more():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    site.detach()
    with pytest.raises(RuntimeError, match="attach the mixer again"):
        site.draw(8)
    assert torch.equal(model(X), net()(X))


def test_detaching_twice_leaves_the_marks_of_another_site():
    model = net()
    first = tm.attach(model, tm.MoEx(p=1), at="stem")
    tm.attach(model, tm.MoEx(p=1), at="stem")
    first.detach()
    first.detach()
    assert "forward" in vars(model.stem)


def test_a_detached_site_keeps_no_mask():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    mask = torch.ones(8, 6, 6, dtype=torch.bool)
    with site.mixing(8, mask=mask), torch.no_grad():
        model(X)
    gone = weakref.ref(mask)
    del mask
    assert gone() is not None
    site.detach()
    assert gone() is None


def test_a_refused_place_leaves_the_others_as_they_were():
    model = net()
    before = {name: (len(module._forward_hooks), set(vars(module))) for name, module in model.named_modules()}
    with pytest.raises(ValueError, match="nowhere"):
        tm.attach(model, tm.MoEx(p=1), at=["stem", "nowhere"])
    model.scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"'scripted' is compiled by torch.jit.*Attach to the model that was given"):
        tm.attach(model, tm.MoEx(p=1), at=["stem", "scripted"])
    del model.scripted
    after = {name: (len(module._forward_hooks), set(vars(module))) for name, module in model.named_modules()}
    assert before == after


class Wrapped(nn.Module):
    def __init__(self, wrap) -> None:
        super().__init__()
        self.inner = Block(1, 4)
        self.wrap = wrap
        self.add_module("body", nn.Module())
        self.body.forward = lambda x: wrap(self.inner(x))

    def forward(self, x: torch.Tensor):
        return self.body(x)


@pytest.mark.parametrize(
    ("wrap", "key", "pick"),
    [
        (lambda h: (h, 1), 0, lambda o: o[0]),
        (lambda h: ("a", h), 1, lambda o: o[1]),
        (lambda h: {"features": h, "other": 2}, "features", lambda o: o["features"]),
        (lambda h: tm.Moments(h, h + 1), "std", lambda o: o.std),
        (lambda h: tm.Moments(h, h + 1), 0, lambda o: o.mean),
        (lambda h: [h, h], 1, lambda o: o[1]),
    ],
)
def test_features_inside_an_output_object_are_mixed_and_the_rest_stays(wrap, key, pick):
    torch.manual_seed(0)
    model = Wrapped(wrap)
    site = tm.attach(model, tm.MoEx(p=1), at="body", output=key, seed=0, automatic=False)
    plain = model(X)
    with site.mixing(8) as plan:
        output = model(X)
    assert type(output) is type(plain)
    torch.testing.assert_close(pick(output), tm.exchange(pick(plain), plan.draws["body"].partner))
    given = wrap(torch.ones(8, 4, 6, 6))
    mixed = replace_features(given, key, "body", lambda features: features + 1)
    assert torch.equal(pick(given), pick(wrap(torch.ones(8, 4, 6, 6))))
    assert not torch.equal(pick(mixed), pick(given))


def test_an_output_without_a_tensor_under_the_key_is_an_error():
    model = Wrapped(lambda h: {"features": h})
    site = tm.attach(model, tm.MoEx(p=1), at="body")
    with pytest.raises(ValueError, match=r"output=\.\.\.\) with one of 'features'"), site.mixing(8):
        model(X)


def test_the_input_side_is_mixed_before_the_module():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="layer1", side="input", seed=0)
    with site.mixing(8) as plan:
        output = model(X)
    plain = net()
    h = tm.exchange(plain.stem(X), plan.draws["layer1"].partner)
    torch.testing.assert_close(output, plain.fc(plain.layer2(plain.layer1(h)).mean((2, 3))))


def test_places_lists_names_and_with_an_input_the_order_shapes_and_calls():
    model = net()
    assert [place.name for place in tm.places(model)][:3] == ["stem", "stem.conv", "stem.norm"]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = tm.places(model, X)
    assert [place.name for place in found][:3] == ["stem.conv", "stem.norm", "stem"]
    assert found[-1] == tm.Place("fc", "Linear", (8, 4), 1)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("batch_size", range(1, 10))
def test_any_batch_size_runs(batch_size):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    with site.mixing(batch_size) as plan:
        output = model(X[:batch_size].repeat(2, 1, 1, 1)[:batch_size])
        loss = tm.mixed_loss(F.cross_entropy, output, Y.repeat(2)[: len(output)], plan)
    assert loss.isfinite()


@pytest.mark.slow
def test_compiled_model_has_at_most_two_train_graphs_and_no_break():
    torch._dynamo.reset()
    warnings.filterwarnings("error", "the labels of a plan")  # the compiled forward ran, it only cannot say so
    counter = CompileCounter()
    model = net()
    site = tm.attach(model, tm.MoEx(p=0.6), at=["stem", "layer1", "layer2"], seed=0)
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    plain = net()
    twin = tm.attach(plain, tm.MoEx(p=0.6), at=["stem", "layer1", "layer2"], seed=0)
    for _ in range(30):
        with site.mixing(8) as plan:
            output = compiled(X)
            tm.mixed_loss(F.cross_entropy, output, Y, plan).backward()
        with twin.mixing(8) as plan:
            expected = plain(X)
            tm.mixed_loss(F.cross_entropy, expected, Y, plan)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
    assert counter.frame_count <= 2


@pytest.mark.slow
def test_a_compiled_training_step_takes_the_plan_as_an_argument():
    torch._dynamo.reset()
    model = net()
    site = tm.attach(model, tm.MoEx(p=0.6), at="stem", seed=0)

    @torch.compile(fullgraph=True, backend="eager")
    def step(x, y, plan):
        with site.using(plan):
            return tm.mixed_loss(F.cross_entropy, model(x), y, plan)

    for _ in range(6):
        plan = site.draw(8)
        loss = step(X, Y, plan)
        with site.using(plan):
            torch.testing.assert_close(loss, tm.mixed_loss(F.cross_entropy, model(X), Y, plan))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["torch.compile", "model.compile"])
def test_a_plain_model_compiled_before_or_between_does_not_take_the_place_of_the_attached_one(how):
    torch._dynamo.reset()
    counter = CompileCounter()

    def compiled(model):
        if how == "torch.compile":
            return torch.compile(model, fullgraph=True, backend=counter)
        model.compile(fullgraph=True, backend=counter)
        return model

    compiled(net())(X)
    model, twin = net(), net()
    site = tm.attach(model, tm.MoEx(p=1), at="layer1", seed=0)
    alike = tm.attach(twin, tm.MoEx(p=1), at="layer1", seed=0)
    model = compiled(model)
    for _ in range(3):
        with site.mixing(8) as plan:
            output = model(X)
            tm.mixed_loss(F.cross_entropy, output, Y, plan)
        with alike.mixing(8) as plan:
            expected = twin(X)
            tm.mixed_loss(F.cross_entropy, expected, Y, plan)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
        other = net()
        torch.testing.assert_close(compiled(copy.deepcopy(other))(X), other(X), rtol=1e-4, atol=1e-4)
    assert counter.frame_count == 2


def test_detaching_leaves_nothing_on_the_model():
    model = net()
    before = set(vars(model.stem))
    first = tm.attach(model, tm.MoEx(p=1), at="stem")
    second = tm.attach(model, tm.MixStyle(p=1), at="stem")
    first.detach()
    assert "forward" in vars(model.stem)
    second.detach()
    assert set(vars(model.stem)) == before
    model.stem.forward = theirs = lambda x: x
    tm.attach(model, tm.MoEx(p=1), at="stem").detach()
    assert model.stem.forward is theirs


def test_sites_without_seeds_draw_apart_at_different_places():
    model = net()
    first, second = tm.attach(model, tm.MoEx(p=1), at="stem"), tm.attach(model, tm.MoEx(p=1), at="layer1")
    assert not torch.equal(first.draw(64).draws["stem"].partner, second.draw(64).draws["layer1"].partner)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mixer": tm.MoEx}, r"mixer needs a mixer.*got the class MoEx. Use attach\(model, MoEx\(p=0.5\)"),
        ({"mixer": "moex"}, "got 'moex'"),
        ({"at": 3}, "at needs the name of a module or several; got 3"),
        ({"prefix_tokens": "1"}, "prefix_tokens needs a number"),
        ({"prefix_tokens": 1, "channel_dim": 1}, r"needs features \[B, tokens, C\]; got channel_dim=1"),
        ({"schedule": 0.1}, "schedule needs a function"),
        ({"schedule": tm.WarmUp}, "schedule needs a function"),
        ({"seed": "a"}, "seed needs a whole number"),
    ],
)
def test_what_can_never_work_is_refused_at_once(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        tm.attach(net(), **{"mixer": tm.MoEx(), "at": "stem"} | arguments)


def test_using_needs_a_plan_and_loading_a_state():
    site = tm.attach(net(), tm.MoEx(p=1), at="stem")
    with pytest.raises(ValueError, match=r"plan of site.draw, or None; got a Draw"):
        site.using(tm.Draw(torch.arange(8)))
    with pytest.raises(ValueError, match="site's state has a whole number 'seed' and a 'counter'"):
        site.load_state_dict({})
    for wrong in ({"seed": None, "counter": 0}, {"seed": 1.7, "counter": 0}, None):
        with pytest.raises(ValueError, match="site's state has a whole number 'seed' and a 'counter'"):
            site.load_state_dict(wrong)
    with pytest.raises(ValueError, match=r"got a tensor \[8, 1, 6, 6\]. Use len\(x\)"):
        site.draw(X)


@pytest.mark.slow
def test_models_of_one_class_may_be_compiled_one_after_the_other():
    torch._dynamo.reset()
    for seed in range(3):
        model = net()
        site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=seed)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        with site.mixing(8) as plan:
            output = compiled(X)
        with site.using(plan):
            torch.testing.assert_close(output, model(X), rtol=1e-4, atol=1e-4)


def test_labels_of_a_plan_that_is_used_again_in_eval_mode_are_not_mixed():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    plan = site.draw(8)
    with site.using(plan):
        tm.mixed_loss(F.cross_entropy, model(X), Y, plan)
    model.eval()
    compiled = torch.compile(model, backend="eager")
    for run in (model, compiled):
        with site.using(plan), pytest.raises(RuntimeError, match="the model ran in eval mode with this plan"):
            tm.mixed_loss(F.cross_entropy, run(X), Y, plan)


@dataclasses.dataclass(frozen=True)
class Frozen:
    maps: torch.Tensor


def test_features_in_a_frozen_dataclass_are_replaced_in_a_copy():
    given = Frozen(torch.ones(2))
    assert replace_features(given, "maps", "stem", lambda x: 2 * x).maps.tolist() == [2, 2]
    assert given.maps.tolist() == [1, 1]


def test_a_site_whose_module_is_gone_can_be_detached():
    model = net()
    site = tm.attach(model, tm.MoEx(), at="layer1")
    del model.layer1
    site.detach()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["model", "place"])
def test_a_deleted_model_is_gone_at_once(part):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    with site.mixing(8) as plan:
        tm.mixed_loss(F.cross_entropy, model(X), Y, plan).backward()
    alive = weakref.ref(model if part == "model" else model.stem)
    gc.collect()
    gc.disable()
    try:
        del model, site, plan
        assert alive() is None
    finally:
        gc.enable()


def test_an_attached_model_cannot_be_scripted_until_it_is_detached():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Flatten())
    first = tm.attach(model, tm.MoEx(p=1), at="0.0")
    second = tm.attach(model, tm.MixStyle(p=1), at="0.0")
    for detach in (first.detach, second.detach):
        with pytest.raises(RuntimeError, match=r"torch.jit.script cannot compile.*Call site.detach\(\) first"):
            torch.jit.script(model)
        detach()
    assert torch.equal(torch.jit.script(model)(X), model(X))


def test_copies_that_data_parallel_makes_are_refused():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem")
    replica = model._replicate_for_data_parallel()  # what nn.DataParallel calls on two GPUs or more
    for mode in (True, False):
        replica.training = mode
        with pytest.raises(RuntimeError, match="nn.DataParallel splits.*DistributedDataParallel, or call site.detach"):
            replica(X)
    site.detach()
    model._replicate_for_data_parallel()


def test_two_plans_may_be_drawn_before_the_first_loss():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            outputs, plans = [], [site.draw(8), site.draw(8)]
            for plan in plans:
                with site.using(plan):
                    outputs.append(model(X))
            for output, plan in zip(outputs, plans, strict=True):
                tm.mixed_loss(F.cross_entropy, output, Y, plan)


def test_one_forgotten_plan_of_two_is_warned_about():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    first, second = site.draw(8), site.draw(8)
    for plan in (first, second):
        with site.using(plan):
            output = model(X)
    tm.mixed_loss(F.cross_entropy, output, Y, second)
    del first, second, plan
    with pytest.warns(UserWarning, match="its labels were not") as warned:
        site.draw(8)
    assert warned[0].filename == __file__


@pytest.mark.parametrize("wrong", [5, [True], np.ones((8, 36))])
def test_a_mask_that_is_no_tensor_is_refused(wrong):
    site = tm.attach(net(), tm.MoEx(p=1), at="stem")
    with pytest.raises(ValueError, match=r"mask needs a tensor \[B, \*positions\], or a dict"):
        site.mixing(8, mask=wrong)


def test_blocks_left_in_another_order_are_an_error_and_leave_nothing_in_use():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0, automatic=False)
    plain = model(X)

    def mixing():
        with site.mixing(8):
            model(X)
            yield

    first, second = mixing(), mixing()
    next(first)
    next(second)
    for block in (first, second):
        with pytest.raises(RuntimeError, match="need to be left in the reverse order"):
            next(block, None)
    assert torch.equal(model(X), plain)
