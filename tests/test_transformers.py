"""The Trainer of Hugging Face transformers and accelerate: each program ends with the weights of a loop by hand."""

import functools
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchmoments as tm

transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

from torchmoments.transformers import SiteCallback, cross_entropy  # noqa: E402

ROOT = Path(__file__).parent.parent
CLASSES = 4
LEARNING_RATE = 0.05
NARROW = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(autouse=True)
def apart():
    """A Trainer hands options to accelerate by the environment, which keeps them for the next."""
    transformers.utils.logging.set_verbosity_error()
    before = dict(os.environ)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    os.environ.clear()
    os.environ.update(before)


def vit() -> nn.Module:
    config = transformers.ViTConfig(**NARROW, **STILL, image_size=16, patch_size=4, num_labels=CLASSES)
    return transformers.ViTForImageClassification(config)


def resnet() -> nn.Module:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes, num_labels=CLASSES))


def bert() -> nn.Module:
    sizes = {"vocab_size": 30, "max_position_embeddings": 16}
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(**NARROW, **STILL, **sizes, num_labels=CLASSES)
    )


def spectrogram_transformer() -> nn.Module:
    sizes = {"patch_size": 4, "frequency_stride": 4, "time_stride": 4, "max_length": 24, "num_mel_bins": 8}
    return transformers.ASTForAudioClassification(
        transformers.ASTConfig(**NARROW, **STILL, **sizes, num_labels=CLASSES)
    )


def wav2vec2() -> nn.Module:
    still = dict.fromkeys(("hidden", "activation", "attention", "feat_proj", "final"), 0.0)
    config = transformers.Wav2Vec2Config(
        **NARROW,
        **{f"{name}_dropout": p for name, p in still.items()},
        conv_dim=(8, 8),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        layerdrop=0.0,
        apply_spec_augment=False,
        num_labels=CLASSES,
    )
    return transformers.Wav2Vec2ForSequenceClassification(config)


def exchanged(h: Tensor, partner: Tensor, axis: int, mask: Tensor | None, prefix: int) -> Tensor:
    """MoEx's formula, written out; h [B, C, H, W] or [B, T, C]."""
    kept, x = h[:, :prefix], h[:, prefix:].float()
    counts = torch.ones_like(x) if mask is None else mask[..., None].expand_as(x).float()
    n = counts.sum(axis, keepdim=True)
    mean = (x * counts).sum(axis, keepdim=True) / n
    variance = ((x - mean).square() * counts).sum(axis, keepdim=True) / (n - 1)
    std = (variance + 1e-5).sqrt()
    new = (x - mean) / std * std[partner] + mean[partner]
    return torch.cat([kept, torch.where(counts > 0, new, x).to(h.dtype)], 1)


@dataclass(frozen=True)
class Program:
    """A model, its data, and where and how it is mixed."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    at: str
    input: str = "pixel_values"
    norm: str = "pono"
    axis: int = 1  # of one moment
    prefix: int = 0
    attach: dict[str, Any] = field(default_factory=dict)

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make()

    @property
    def mixer(self) -> tm.MoEx:
        return tm.MoEx(p=0.75, norm=self.norm)

    def data(self, size: int = 36) -> list[dict[str, Any]]:
        generator = torch.Generator().manual_seed(0)
        if self.input != "input_ids":
            inputs = torch.randn(size, *self.shape, generator=generator)
            return [{self.input: x, "labels": i % CLASSES} for i, x in enumerate(inputs)]
        ids = torch.randint(1, 30, (size, *self.shape), generator=generator)
        lengths = torch.randint(3, self.shape[0] + 1, (size, 1), generator=generator)
        masks = (torch.arange(self.shape[0]) < lengths).long()
        return [
            {"input_ids": x, "attention_mask": mask, "labels": i % CLASSES}
            for i, (x, mask) in enumerate(zip(ids, masks, strict=True))
        ]


VIT = Program(vit, (3, 16, 16), "vit.embeddings", axis=-1, prefix=1)
RESNET = Program(resnet, (3, 32, 32), "resnet.embedder")
TEXT = {"input": "input_ids", "norm": "in", "attach": {"mask": "attention_mask"}}
BERT = Program(bert, (9,), "bert.embeddings", **TEXT)
SOUND = {"input": "input_values"}
AST = "audio_spectrogram_transformer.embeddings"
PROGRAMS = {
    "vit": VIT,
    "vit layer": Program(vit, (3, 16, 16), "vit.layers.0", axis=-1, prefix=1),
    "resnet": RESNET,
    "bert": BERT,
    "bert layer": Program(bert, (9,), "bert.encoder.layer.0", **TEXT),
    "ast": Program(spectrogram_transformer, (24, 8), AST, **SOUND, axis=-1, prefix=2, attach={"prefix_tokens": 2}),
    "wav2vec2": Program(wav2vec2, (400,), "wav2vec2.feature_extractor", **SOUND),
}
OPTIONS = {
    "plain": {},
    "accumulation": {"gradient_accumulation_steps": 2},
    "bf16": {"bf16": True},
    "checkpointing": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
    "reentrant": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
    "compile": {"torch_compile": True, "torch_compile_backend": "aot_eager"},
    "smoothing": {},
}


ARGUMENTS = {
    "per_device_train_batch_size": 4,
    "max_steps": 6,
    "learning_rate": LEARNING_RATE,
    "optim": "sgd",
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "use_cpu": True,
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
}


def arguments(folder: Path, **options: Any) -> Any:
    return transformers.TrainingArguments(str(folder), **{**ARGUMENTS, **options})


class Batches(list[dict[str, Tensor]]):
    """A collator that keeps the batches in the order in which the Trainer takes them."""

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = transformers.default_data_collator(items)
        self.append({name: tensor.clone() for name, tensor in batch.items()})
        return batch


Pairs = list[tuple[dict[str, Tensor], tm.Plan | None]]


def with_plans(program: Program, batches: list[dict[str, Tensor]]) -> Pairs:
    site = tm.attach(program.model(), program.mixer, at=program.at, seed=0)
    return [(batch, site.draw(len(batch["labels"]))) for batch in batches]


def steps_of(pairs: Pairs, accumulate: int, epoch: int = 9) -> list[Pairs]:
    """What each step accumulates; the last one of an epoch of so many batches may have fewer."""
    epochs = [pairs[start : start + epoch] for start in range(0, len(pairs), epoch)]
    return [part[start : start + accumulate] for part in epochs for start in range(0, len(part), accumulate)]


def by_hand(program: Program, steps: list[Pairs], *, smoothing: float = 0.0, bf16: bool = False) -> nn.Module:
    """Plain SGD without the package's hooks: features are exchanged by the formula, the losses of both labels added."""
    model, lam = program.model().train(), program.mixer.lam
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    for step in steps:
        for batch, plan in step:
            y, inputs = batch["labels"], {name: x for name, x in batch.items() if name != "labels"}
            mix = functools.partial(mixed_by_hand, program, plan, inputs.get("attention_mask"))
            handle = model.get_submodule(program.at).register_forward_hook(mix)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(**inputs).logits.float()
            handle.remove()
            criterion = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="sum")
            loss = criterion(logits, y)
            if plan is not None:
                loss = lam * loss + (1 - lam) * criterion(logits, y[plan.draws[program.at].partner])
            (loss / (len(y) * len(step))).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def mixed_by_hand(program: Program, plan: Any, mask: Tensor | None, module: nn.Module, _: Any, h: Tensor) -> Any:
    if plan is None:
        return None
    return exchanged(h, plan.draws[program.at].partner, program.axis, mask, program.prefix)


def difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


CASES = [
    *[(name, "plain") for name in PROGRAMS],
    *[("bert", "accumulation"), ("bert", "smoothing"), ("resnet", "bf16"), ("vit", "bf16")],
    *[("vit layer", "checkpointing"), ("bert layer", "reentrant")],
    *[pytest.param(name, "compile", marks=pytest.mark.thorough) for name in ("vit", "bert layer")],
]


@pytest.mark.slow
@pytest.mark.parametrize(("program", "option"), CASES)
@pytest.mark.filterwarnings("ignore:.*is deprecated", "ignore:.*functools.lru_cache")
def test_the_trainer_ends_with_the_weights_of_a_loop_by_hand(program, option, tmp_path):
    if program.endswith(" layer") and transformers.__version__.startswith("4."):
        pytest.skip("transformers 4 names layers otherwise, and its BERT layer returns a tuple")
    program, smoothing = PROGRAMS[program], 0.1 if option == "smoothing" else 0.0
    args = arguments(tmp_path, **OPTIONS[option])
    model, batches = program.model(), Batches()
    site = tm.attach(model, program.mixer, at=program.at, seed=0, **program.attach)
    loss = site.criterion(functools.partial(cross_entropy, label_smoothing=smoothing))
    trainer = transformers.Trainer(
        model, args, train_dataset=program.data(), data_collator=batches, compute_loss_func=loss
    )
    trainer.train()
    accumulate = args.gradient_accumulation_steps
    batches = batches[: site.state_dict()["counter"]]  # the Trainer may take some ahead
    assert len(batches) == {1: 6, 2: 11}[accumulate]
    steps = steps_of(with_plans(program, batches), accumulate)
    assert difference(model, by_hand(program, steps, smoothing=smoothing, bf16=option == "bf16")) < 1e-6
    assert difference(model, program.model()) > 0.01


def trained(folder: Path, *, seed: int = 0, resume: Path | None = None, restore: bool = False) -> tuple[Any, Any]:
    model = RESNET.model()
    site = tm.attach(model, RESNET.mixer, at=RESNET.at, seed=seed)
    args = arguments(
        folder,
        gradient_accumulation_steps=2,
        save_strategy="steps",
        save_steps=3,
        restore_callback_states_from_checkpoint=restore,
    )
    loss = site.criterion(cross_entropy)
    trainer = transformers.Trainer(
        model, args, train_dataset=RESNET.data(), compute_loss_func=loss, callbacks=[SiteCallback(site)]
    )
    trainer.train(resume_from_checkpoint=resume and str(resume))
    return model, site.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("restore", [False, True], ids=["", "with the callbacks' states"])
def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_stopped(restore, tmp_path):
    model, state = trained(tmp_path / "whole")
    resumed, resumed_state = trained(
        tmp_path / "rest", seed=99, resume=tmp_path / "whole/checkpoint-3", restore=restore
    )
    assert difference(model, resumed) == 0
    assert state == resumed_state == {"seed": 0, "counter": 11}


def test_another_number_of_sites_is_told_when_resuming(tmp_path):
    site = tm.attach(VIT.model(), VIT.mixer, at=VIT.at)
    state = transformers.TrainerState()
    SiteCallback(site).on_step_end(None, state, None)
    with pytest.raises(ValueError, match=r"has the state of 1 sites; got 2"):
        SiteCallback(site, site).on_train_begin(None, state, None)


def test_schedules_follow_the_progress_of_the_trainer(tmp_path):
    model, plans = RESNET.model(), []
    site = tm.attach(model, tm.MoEx(p=1), at=RESNET.at, schedule=tm.OffAtEnd(0.5))

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            plans.append(site.plan)

    loss = site.criterion(cross_entropy)
    callbacks = [SiteCallback(site), Watch()]
    transformers.Trainer(
        model, arguments(tmp_path), train_dataset=RESNET.data(), compute_loss_func=loss, callbacks=callbacks
    ).train()
    assert [plan is not None for plan in plans] == [True] * 3 + [False] * 3


def test_a_model_that_computes_its_own_loss_is_warned_of_at_the_line_of_the_program(tmp_path):
    model = VIT.model()
    tm.attach(model, tm.MoEx(p=1), at=VIT.at)
    trainer = transformers.Trainer(model, arguments(tmp_path, max_steps=2), train_dataset=VIT.data())
    with pytest.warns(UserWarning, match=r"its labels were not.*given labels computes its own loss") as warned:
        trainer.train()
    assert {warning.filename for warning in warned} == {__file__}


def test_the_trainer_evaluates_the_plain_model(tmp_path):
    model, data = VIT.model(), VIT.data(8)
    site = tm.attach(model, tm.MoEx(p=1), at=VIT.at)
    args = arguments(tmp_path, per_device_eval_batch_size=8)
    trainer = transformers.Trainer(model, args, eval_dataset=data, compute_loss_func=site.criterion(cross_entropy))
    found = trainer.evaluate()["eval_loss"]
    batch = transformers.default_data_collator(data)
    assert found == pytest.approx(float(VIT.model().eval()(**batch).loss.detach()), rel=1e-6)


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 5)], ids=["[B, K]", "[B, T, K]"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_trainer(shape, smoothing):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(logits[..., 0].numel()).reshape(shape[:-1]) % 5
    labels[0] = -100
    expected = transformers.trainer_pt_utils.LabelSmoother(smoothing)({"logits": logits}, labels)
    loss = functools.partial(cross_entropy, label_smoothing=smoothing)
    torch.testing.assert_close(loss({"logits": logits}, labels), expected)
    torch.testing.assert_close(loss((logits,), labels), expected)
    torch.testing.assert_close(loss((logits,), labels, 24), expected * (labels >= 0).sum() / 24)


BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "transformers.md").read_text(), re.DOTALL | re.MULTILINE)


def surroundings(folder: Path) -> dict[str, Any]:
    model = RESNET.model()
    images = torch.randn(16, *RESNET.shape)
    dataset = torch.utils.data.TensorDataset(images, torch.arange(16) % CLASSES)
    return {
        "model": model,
        "text_model": BERT.model(),
        "data": RESNET.data(8),
        "texts": BERT.data(8),
        "args": arguments(folder, max_steps=2),
        "optimizer": torch.optim.SGD(model.parameters(), LEARNING_RATE),
        "loader": torch.utils.data.DataLoader(dataset, 4),
        "folder": str(folder / "state"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_page_runs_as_pasted_without_a_warning(number, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        exec(BLOCKS[number], surroundings(tmp_path))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_accelerate_trains_as_a_loop_by_hand_and_resumes_a_site(precision, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    names = surroundings(tmp_path)
    exec(BLOCKS[2].replace("p=0.5", "p=0.75"), names)
    batches = [{"pixel_values": x, "labels": y} for x, y in names["loader"]]
    expected = by_hand(RESNET, steps_of(with_plans(RESNET, batches), 2), bf16=precision == "bf16")
    model = names["accelerator"].unwrap_model(names["model"])
    assert difference(model, RESNET.model()) > 0.005
    assert difference(model, expected) < 1e-6
    assert names["site"].state_dict() == {"seed": 0, "counter": 4}
    names["site"].draw(4)
    names["accelerator"].load_state(names["folder"])
    assert names["site"].state_dict() == {"seed": 0, "counter": 4}


def train_on_two_processes(folder: Path) -> None:
    model, batches = BERT.model(), Batches()
    site = tm.attach(model, BERT.mixer, at=BERT.at, seed=0, **BERT.attach)
    args = arguments(folder, max_steps=3, gradient_accumulation_steps=2)
    loss = site.criterion(cross_entropy)
    transformers.Trainer(model, args, train_dataset=BERT.data(), data_collator=batches, compute_loss_func=loss).train()
    rank = torch.distributed.get_rank()
    torch.save({"weights": model.state_dict(), "batches": batches[:6]}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.thorough
def test_two_processes_end_with_the_weights_of_a_loop_by_hand(tmp_path, monkeypatch):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launch, __file__, str(tmp_path)], check=True, capture_output=True, timeout=120)
    ranks = []
    for rank in (0, 1):
        saved = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        ranks.append(with_plans(BERT, saved["batches"]))
    steps = [[*ranks[0][start : start + 2], *ranks[1][start : start + 2]] for start in (0, 2, 4)]
    model = BERT.model()
    model.load_state_dict(saved["weights"])
    assert difference(model, by_hand(BERT, steps)) < 1e-6
    first = [[plan and plan.draws[BERT.at].partner.tolist() for _, plan in pairs] for pairs in ranks]
    assert first[0] != first[1]


if __name__ == "__main__":
    train_on_two_processes(Path(sys.argv[1]))
