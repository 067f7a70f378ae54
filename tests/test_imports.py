"""Which file may import which, and that the library alone loads nothing optional."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "torchmoments"
LAB = SOURCE.with_name("torchmoments_lab")

# From the ground up: a file may import what stands on an earlier floor, or on its own.
FLOORS = [
    {"torch_internals", "warn", "ranks"},
    {"ops"},
    {"partners", "streams"},
    {"draw"},
    {"targets", "mixers", "layers", "outputs"},
    {"blocks", "channels", "criterion", "effect", "marks", "modules", "schedules", "tokens"},
    {"planner", "thread_state"},
    {"active"},
    {"features", "using"},
    {"hook"},
    {"site"},
    {"attaching"},
    {"lightning", "transformers"},
]
LAB_FLOORS = [
    {"lengths"},
    {"typed"},
    {"differing", "settings", "files", "lock", "machine", "process", "statistics", "random_numbers", "durations"},
    {"spec", "requests", "function", "inputs", "metrics"},
    {"command", "flags", "recipes", "methods"},
    {"parser"},
    {"data", "models"},
    {"experiment"},
    {"training", "report", "metadata"},
    {"jobs"},
    {"gallery", "runs", "worker", "pool", "shipping", "node", "cluster", "executors", "decisions", "resolve", "places"},
    {"forecast", "display"},
    {"comparison", "single", "inference"},
    {"sweep", "probe"},
    {"inspect"},
    {"cli"},
]
OPTIONAL = [
    "timm",
    "torchvision",
    "pytorchcv",
    "PIL",
    "lightning",
    "lightning_fabric",
    "pytorch_lightning",
    "sklearn",
    "scipy",
    "matplotlib",
    "rich",
    "tyro",
    "joblib",
    "pandas",
    "transformers",
    "accelerate",
]


def imports(path: Path, package: str) -> set[str]:
    """The parts of a package that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        found |= {name.removeprefix(f"{package}.").split(".")[0] for name in modules if name.startswith(f"{package}.")}
    return found


def upwards(folder: Path, package: str, floors: list[set[str]]) -> list[str]:
    """Every import of what stands above the file that imports it."""
    floor_of = {name: number for number, names in enumerate(floors) for name in names}
    found = []
    for path in folder.rglob("*.py"):
        part = path.relative_to(folder).parts[0].removesuffix(".py")
        if part not in ("__init__", "__main__"):
            assert part in floor_of, f"{part} stands on no floor"
            above = {name for name in imports(path, package) if floor_of.get(name, -1) > floor_of[part]}
            found += [f"{path.name} imports {name}" for name in above]
    return found


def test_imports_point_downwards():
    assert not upwards(SOURCE, "torchmoments", FLOORS)
    assert not upwards(LAB, "torchmoments_lab", LAB_FLOORS)


def test_import_check_fails_when_the_floors_are_upside_down():
    assert "schedule.py imports settings" in upwards(LAB, "torchmoments_lab", LAB_FLOORS[::-1])


def names_of_the_library(path: Path) -> set[str]:
    """What a file imports from the library by the path of one of its modules, or from the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torchmoments":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.partition(".")[0] == "torchmoments"}
    return found


def test_the_lab_imports_public_names_of_the_library_only():
    used = {name: path for path in LAB.rglob("*.py") for name in names_of_the_library(path)}
    assert set(used) == {"torchmoments"}


def test_the_check_for_public_names_sees_a_module_of_the_library(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("import torchmoments as tm\nfrom torchmoments.ops import norms\nimport torchmoments_lab.cli\n")
    assert names_of_the_library(path) == {"torchmoments", "torchmoments.ops.norms"}


STEP = """
import torch
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))
site = tm.attach(model, tm.MoEx(p=1.0), at="0", seed=0)
with site.mixing(2) as plan:
    output = model(torch.randn(2, 3, 4, 4)).mean((2, 3))
tm.mixed_loss(torch.nn.functional.cross_entropy, output, torch.tensor([0, 1]), plan).backward()
"""


def modules_loaded_by(*parts: str) -> list[set[str]]:
    """The modules that are loaded after each part of a program."""
    report = "import sys; print(' '.join(sys.modules))"
    program = "\n".join(f"{part}\n{report}" for part in parts)
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in printed.stdout.splitlines()]


@pytest.fixture(scope="module")
def loaded():
    """The modules after an import of the library, of its public names, after a step, and after an optional package."""
    parts = {"import": "import torchmoments as tm", "names": "from torchmoments import *; MoEx, attach, mixed_loss"}
    parts |= {"step": STEP, "optional": "import rich"}
    return dict(zip(parts, modules_loaded_by(*parts.values()), strict=True))


@pytest.mark.slow
def test_the_library_loads_nothing_optional(loaded):
    for after in ("import", "names", "step"):
        assert not loaded[after] & set(OPTIONAL)


@pytest.mark.slow
def test_import_check_fails_when_an_optional_package_is_loaded(loaded):
    assert "rich" in loaded["optional"] & set(OPTIONAL)


def test_importing_the_command_line_does_not_load_torch():
    assert "torch" not in modules_loaded_by("import torchmoments_lab.cli, torchmoments_lab.requests")[0]


@pytest.mark.slow
def test_a_step_does_not_load_the_compiler_of_torch(loaded):
    assert "torch.nn" in loaded["step"]
    assert "torch._dynamo" not in loaded["step"]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["transformers"])
def test_a_package_that_is_missing_is_named_with_its_extra(package):
    code = f"import sys; sys.modules[{package!r}] = None; import torchmoments.{package}"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    sentence = f"needs {package}. Install it with: pip install 'torchmoments[{package}]'"
    assert told.splitlines()[-1] == f"ImportError: torchmoments.{package} {sentence}"


def test_every_public_name_is_there():
    import torchmoments as tm

    assert tm.__all__ == sorted(tm.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in tm.__all__:
        assert getattr(tm, name).__doc__


@pytest.mark.slow
@pytest.mark.thorough
def test_checking_a_request_does_not_load_the_compiler_of_torch():
    check = """
from torchmoments_lab.comparison import compare
from torchmoments_lab.requests import Compare
from torchmoments_lab.resolve import resolve
asked = Compare()
resolve(asked, asked.judging, ["none", "moex", "mixup"], notice=str)
"""
    (loaded,) = modules_loaded_by(check)
    assert "sklearn" in loaded
    assert "torch._dynamo" not in loaded


@pytest.mark.thorough
@pytest.mark.slow
def test_training_does_not_load_what_fabric_needs_for_its_version_alone():
    first, then = modules_loaded_by("from torchmoments_lab.process import import_fabric; import_fabric()", AFTER_FABRIC)
    assert "lightning_fabric" in first
    assert not first & {"torchmetrics", "torchvision", "transformers"}
    assert "torchmetrics" in then


# What Fabric has found out about it is right, and it can be imported.
AFTER_FABRIC = """
from lightning_fabric.utilities.imports import _TORCHMETRICS_GREATER_EQUAL_1_0_0
import torchmetrics
assert _TORCHMETRICS_GREATER_EQUAL_1_0_0 and torchmetrics.MeanMetric
"""
