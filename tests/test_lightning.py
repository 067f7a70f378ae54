"""Programs of Lightning arrive at the weights of a loop whose features are exchanged by hand, in the forward itself."""

import copy
import os
import re
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

import torchmoments as tm

L = pytest.importorskip("lightning")
pl = pytest.importorskip("pytorch_lightning")

from lightning.pytorch import callbacks as of_lightning  # noqa: E402

from torchmoments.lightning import Moments  # noqa: E402

X = torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 4
EPOCHS, STEPS = 2, 6
ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "lightning.md").read_text()
TRAINER_BLOCK, FABRIC_BLOCK = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU())
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def optimizer_of(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)


class Steps:
    """What the programs share, for the LightningModule of either package."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return self.criterion(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self)


class Wraps(Steps):
    """Has a network, which its forward calls."""

    def __init__(self) -> None:
        super().__init__()
        self.model = net()
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class CallsChild(Wraps):
    """Calls its network from training_step, past its own forward."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return self.criterion(self.model(x), y)


class CallsParts(Wraps):
    """Calls the parts of its network."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return self.criterion(self.model.fc(self.model.body(self.model.stem(x)).mean((2, 3))), y)


class IsTheNetwork(Steps):
    """Has the layers itself."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss()
        for name, part in net().named_children():
            setattr(self, name, part)

    forward = Net.forward


class MadeLate(Steps):
    """Makes its network once the data are known."""

    def configure_model(self) -> None:
        if not hasattr(self, "model"):
            self.model = net()
            self.losses = nn.ModuleDict({"main": nn.CrossEntropyLoss()})

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return self.losses["main"](self.model(x), y)


class Functional(Wraps):
    """Computes the loss by a function."""

    def __init__(self) -> None:
        super().__init__()
        del self.criterion

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return F.cross_entropy(self(x), y)


def lit(program: type = Wraps, package: object = L) -> nn.Module:
    return type(program.__name__, (program, package.LightningModule), {})()


def moex(**options: object) -> tm.MoEx:
    return tm.MoEx(**{"p": 0.5, **options})


def moments(mixer: tm.Mixer | None = None, at: str = "model.stem", **options: object) -> Moments:
    return Moments(mixer or moex(), at, **{"seed": 0, **options})


def trainer(*callbacks: object, package: object = L, **options: object) -> object:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return package.Trainer(
        **{"max_epochs": EPOCHS, "accelerator": "cpu", "devices": 1, "callbacks": list(callbacks), **quiet, **options}
    )


def loader() -> DataLoader:
    return DataLoader(TensorDataset(X, Y), 8)


@pytest.fixture(autouse=True)
def _quiet(recwarn: object) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning|pytorch_lightning|torch")
        yield


def by_hand(
    mixer: tm.MoEx | None = None,
    ranks: int = 1,
    batch_size: int = 8,
    accumulate: int = 1,
    dtype: torch.dtype | None = None,
    output_dtype: torch.dtype | None = None,
    seed: int = 0,
) -> list[Tensor]:
    """Weights after the epochs, without any of the package's hooks."""
    model, mixer = net(), mixer or moex()
    optimizer = optimizer_of(model)
    draws = tm.attach(Net(), mixer, at="stem", seed=seed)
    steps_an_epoch = len(X) // ranks // batch_size
    mixed = 0
    for step in range(EPOCHS * steps_an_epoch):
        start = step % steps_an_epoch * batch_size
        for rank in range(ranks):
            x, y = (part[rank::ranks][start : start + batch_size] for part in (X, Y))
            draws.load_state_dict({"seed": seed, "counter": step})
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("WORLD_SIZE", "2")
                patch.setenv("RANK", str(rank))
                plan = draws.draw(batch_size)
            mixed += plan is not None
            partner = torch.arange(batch_size) if plan is None else plan.draws["stem"].partner
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                h = model.stem(x)
                h = h if plan is None else tm.exchange(h, partner)
                output = model.fc(model.body(h).mean((2, 3))).to(output_dtype)
                lam = 1.0 if plan is None else mixer.lam
                loss = lam * F.cross_entropy(output, y) + (1 - lam) * F.cross_entropy(output, y[partner])
            (loss / accumulate / ranks).backward()
        if (step + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    assert 0 < mixed < EPOCHS * steps_an_epoch * ranks
    return list(model.parameters())


def difference(module: nn.Module, expected: list[Tensor]) -> float:
    pairs = zip(module.parameters(), expected, strict=True)
    return max(float((mine - other).detach().abs().max()) for mine, other in pairs)


def close(module: nn.Module, expected: list[Tensor], tolerance: float = 1e-6) -> None:
    found = difference(module, expected)
    print(f"max difference {found:.1e}")
    assert found < tolerance
    assert difference(net(), expected) > 1e-3


@pytest.mark.parametrize("package", [L, pl], ids=["lightning", "pytorch_lightning"])
@pytest.mark.parametrize(
    ("program", "options"),
    [
        (Wraps, {}),
        (CallsChild, {}),
        (Wraps, {"model": ""}),
        (CallsParts, {"at": "model.stem.2", "model": "model.stem"}),
        (IsTheNetwork, {"at": "stem"}),
        (IsTheNetwork, {"at": "stem.2"}),
        (MadeLate, {"criterion": "losses.main"}),
    ],
)
def test_fit_arrives_at_the_weights_of_the_loop_by_hand(program, options, package):
    if options.get("at") in ("stem.2", "model.stem.2"):
        options = {**options, "channel_dim": 1}
    module = lit(program, package)
    trainer(moments(**options), package=package).fit(module, loader())
    # Places of other names draw alike: the seed is given.
    close(module, by_hand())


@pytest.mark.parametrize("package", [L, pl], ids=["lightning", "pytorch_lightning"])
def test_it_is_a_callback_of_either_package(package):
    assert isinstance(moments(), package.pytorch.Callback if package is L else package.Callback)


def test_accumulation_adds_batches_that_were_mixed_each_by_itself():
    module = lit()
    trainer(moments(), accumulate_grad_batches=3).fit(module, loader())
    close(module, by_hand(accumulate=3))


def test_bf16_mixed_is_autocast_by_hand():
    module = lit()
    trainer(moments(), precision="bf16-mixed").fit(module, loader())
    close(module, by_hand(dtype=torch.bfloat16))


@pytest.mark.slow
def test_a_compiled_module_arrives_there_too():
    torch.compiler.reset()
    module = lit()
    trainer(moments()).fit(torch.compile(module, backend="aot_eager"), loader())
    close(module, by_hand())
    torch.compiler.reset()


def test_a_mixer_that_keeps_labels_needs_no_criterion():
    module = lit(Functional)
    trainer(moments(moex(lam=1.0))).fit(module, loader())
    close(module, by_hand(moex(lam=1.0)))


def test_resumed_is_uninterrupted_bit_for_bit(tmp_path):
    def callbacks(seed: int) -> list[Moments]:
        return [moments(seed=seed), moments(tm.MixStyle(p=0.5), at="model.body", seed=seed)]

    whole, first, resumed = lit(), lit(), lit()
    trainer(*callbacks(0)).fit(whole, loader())
    half = trainer(*callbacks(0), max_epochs=1)
    half.fit(first, loader())
    half.save_checkpoint(tmp_path / "half.ckpt")
    # The seed of the checkpoint counts.
    trainer(*callbacks(7)).fit(resumed, loader(), ckpt_path=tmp_path / "half.ckpt")
    assert difference(resumed, list(whole.parameters())) == 0
    assert difference(resumed, list(first.parameters())) > 1e-3


def test_a_second_fit_goes_on_with_the_random_numbers():
    callback = moments()
    for _ in range(2):
        trainer(callback).fit(lit(), loader())
    assert callback.state_dict() == {"seed": 0, "counter": 2 * STEPS}


class SeedsApart(Wraps):
    """Its processes start from different random numbers, as without seed_everything."""

    def setup(self, stage: str) -> None:
        torch.manual_seed(torch.distributed.get_rank())


class EverySecond(Sampler[int]):
    """Of two processes; Lightning's own sampler shuffles."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(torch.distributed.get_rank(), len(X), 2))

    def __len__(self) -> int:
        return len(X) // 2


@pytest.mark.slow
def test_two_processes_are_two_ranks_by_hand_and_resume_from_one_checkpoint(tmp_path):
    # In a process of its own: Lightning forks it, and a fork of one whose threads have run may wait for them for ever.
    code = f"""
from tests.test_lightning import *
for program, options in [(Wraps, {{}}), (IsTheNetwork, {{"at": "stem"}}), (SeedsApart, {{"seed": None}})]:
    compare_two_processes(program, options, Path({str(tmp_path)!r}) / program.__name__)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def compare_two_processes(program: type, options: dict[str, object], tmp_path: Path) -> None:
    # Without a seed, that of rank 0 counts.
    expected = by_hand(ranks=2, batch_size=4, seed=0 if "seed" not in options else zlib.crc32(b"stem"))
    whole, first, resumed = (lit(program) for _ in range(3))

    def fit(module: nn.Module, *callbacks: object, ckpt_path: Path | None = None, **others: object) -> None:
        parallel = {"devices": 2, "strategy": "ddp_fork", "use_distributed_sampler": False, **others}
        batches = DataLoader(TensorDataset(X, Y), 4, sampler=EverySecond())
        trainer(moments(**options), *callbacks, **parallel).fit(module, batches, ckpt_path=ckpt_path)

    fit(whole)
    close(whole, expected)
    keep = of_lightning.ModelCheckpoint(tmp_path, "half", save_on_train_epoch_end=True)
    fit(first, keep, max_epochs=1, enable_checkpointing=True)
    fit(resumed, ckpt_path=tmp_path / "half.ckpt")
    assert difference(resumed, list(whole.parameters())) == 0


class Validates(Wraps):
    """Compares what it validates with the plain network of the same weights."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        plain = Net().eval()
        plain.load_state_dict(self.model.state_dict())
        output = self(x)
        assert torch.equal(output, plain(x))
        assert torch.equal(self.criterion(output, y), F.cross_entropy(plain(x), y))
        self.log("checked", 1.0)


def test_validation_is_plain_before_and_in_the_middle_of_an_epoch():
    module, callback = lit(Validates), moments()
    # New in Lightning 2.6; it validates the average of the weights.
    averages = [of_lightning.EMAWeightAveraging(decay=0.5)] if hasattr(of_lightning, "EMAWeightAveraging") else []
    run = trainer(callback, *averages, val_check_interval=1, num_sanity_val_steps=2)
    run.fit(module, loader(), loader())
    assert run.callback_metrics["checked"] == 1
    assert callback.state_dict()["counter"] == STEPS


class DuringTraining(L.Callback):
    def __init__(self, check: Callable[[nn.Module], None]) -> None:
        self.check = check
        self.checked = False

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.check(pl_module)
        self.checked = True


@pytest.mark.parametrize(("program", "at"), [(Wraps, "model.stem"), (IsTheNetwork, "stem")])
def test_copies_are_plain_and_keys_stay(program, at):
    keys = list(lit(program).state_dict())

    def check(module: nn.Module) -> None:
        assert list(module.state_dict()) == keys
        other = copy.deepcopy(module)
        plain = lit(program)
        plain.load_state_dict(module.state_dict())
        assert torch.equal(other(X), plain(X))
        assert torch.equal(other.training_step([X, Y], 0), plain.training_step([X, Y], 0))

    module, checking = lit(program), DuringTraining(check)
    trainer(moments(moex(p=1), at=at), checking).fit(module, loader())
    assert checking.checked


def hooks_of(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def interrupt(module: nn.Module) -> None:
    raise KeyboardInterrupt


def fail(module: nn.Module) -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("check", "error"), [(lambda module: None, None), (interrupt, SystemExit), (fail, MemoryError)]
)
def test_nothing_stays_attached_after_a_run(check, error):
    module, callback = lit(), moments()
    run = trainer(callback, DuringTraining(check))
    if error is None:
        run.fit(module, loader())
    else:
        with pytest.raises(error):
            run.fit(module, loader())
    assert callback.site is None
    assert hooks_of(module) == 0


@pytest.mark.parametrize("limit", [{"max_epochs": EPOCHS}, {"max_steps": STEPS, "max_epochs": -1}])
def test_a_schedule_goes_by_the_progress_of_the_trainer(limit):
    seen = []

    def schedule(mixer: tm.Mixer, progress: float) -> tm.Mixer:
        seen.append(progress)
        return mixer

    trainer(moments(schedule=schedule), **limit).fit(lit(), loader())
    assert seen == pytest.approx([step / STEPS for step in range(STEPS)])


class FunctionAttribute(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.criterion = F.cross_entropy


class Keywords(Wraps):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return self.criterion(input=self(x), target=y)


class Frozen(Wraps):
    def on_train_batch_start(self, batch: list[Tensor], batch_idx: int) -> None:
        self.model.eval()


@pytest.mark.parametrize(
    ("program", "callbacks", "sentence"),
    [
        (
            Functional,
            lambda: [moments()],
            r"module self.criterion; Functional has no 'criterion'.*\n    self.criterion =",
        ),
        (FunctionAttribute, lambda: [moments()], r"FunctionAttribute has a function there"),
        (Wraps, lambda: [moments(criterion="loss")], r"Wraps has no 'loss'. Use Moments\(..., criterion=name\)"),
        (Keywords, lambda: [moments(moex(p=1))], r"first two arguments; got 0.*self.criterion\(output, target\)"),
        (Wraps, lambda: [moments(at="stem")], "no module 'stem' in Wraps.*Nearest: 'model.stem'"),
        (Wraps, lambda: [moments(model="modle")], "no module 'modle' in Wraps.*Nearest: 'model'"),
        (Wraps, lambda: [moments(model="model.body")], r"inside model='model.body'; 'model.stem' is not"),
        (Wraps, lambda: [moments(criterion=None)], r"criterion needs the name of a module.*got a NoneType"),
        (CallsParts, lambda: [moments()], r"'stem' ran in training without a call of the model"),
        (CallsParts, lambda: [moments(moex(lam=1.0))], r"'stem' ran in training without a call of the model"),
        (CallsChild, lambda: [moments(model="")], r"'model.stem' ran in training without a call of the model"),
        (Frozen, lambda: [moments()], r"call self.model\(x\), in train mode and with.*Moments\(..., model=name\)"),
        (Wraps, lambda: [moments(), moments(at="model.body")], "this criterion already mixes the labels of a site"),
    ],
)
def test_a_program_that_would_not_be_mixed_is_refused_at_its_start(program, callbacks, sentence):
    module = lit(program)
    with pytest.raises((ValueError, RuntimeError), match=r"(?s)" + sentence):
        trainer(*callbacks()).fit(module, loader())
    assert hooks_of(module) == 0


class Forgets(Wraps):
    """Has a criterion, and does not use it."""

    training_step = Functional.training_step


def test_labels_that_are_not_mixed_are_warned_about_at_the_line_of_the_program():
    with pytest.warns(UserWarning, match="its labels were not") as warned:
        trainer(moments(moex(p=1))).fit(lit(Forgets), loader())
    assert {warning.filename for warning in warned if "its labels were not" in str(warning.message)} == {__file__}


def test_options_are_those_of_attach():
    with pytest.raises(TypeError, match="unexpected keyword argument 'sides'"):
        moments(sides="input")
    with pytest.raises(ValueError, match="draws at each training forward"):
        moments(automatic=False)


@pytest.mark.slow
def test_a_missing_package_is_named_with_its_extra():
    code = (
        "import sys; sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None; import torchmoments.lightning"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert told.splitlines()[-1].startswith("ImportError: torchmoments.lightning needs Lightning")
    assert told.splitlines()[-1].endswith("pip install 'torchmoments[lightning]'")


def test_the_two_lines_of_the_document_run_as_pasted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = lit()
    module.model.maxpool = module.model.stem
    names = {"L": L, "tm": tm, "module": module, "loader": loader()}
    exec(compile(TRAINER_BLOCK, "lightning.md", "exec"), names)
    assert names["moments"].state_dict()["counter"] == STEPS


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_fabric_arrives_at_the_weights_of_the_loop_by_hand_and_goes_on_from_its_checkpoint(
    precision, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    loop = re.search(r"^for .*?(?=^fabric)", FABRIC_BLOCK, re.DOTALL | re.MULTILINE)[0]
    code = FABRIC_BLOCK.replace("bf16-mixed", precision).replace('"maxpool"', '"stem"')
    dtype = torch.bfloat16 if precision == "bf16-mixed" else None
    model = net()
    names = {"torch": torch, "nn": nn, "tm": tm, "model": model, "optimizer": optimizer_of(model), "loader": loader()}
    exec(compile(code, "lightning.md", "exec"), names)
    exec(compile(loop, "lightning.md", "exec"), names)
    close(model, by_hand(dtype=dtype, output_dtype=torch.float32))
    resumed = net()
    names.update(model=resumed, optimizer=optimizer_of(resumed), loader=[])
    exec(compile(code.replace("fabric.save", "0 and fabric.save"), "lightning.md", "exec"), names)
    names["loader"] = loader()
    exec(compile(loop, "lightning.md", "exec"), names)
    assert difference(resumed, list(model.parameters())) == 0
