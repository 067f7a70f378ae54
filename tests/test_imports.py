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
    {"torch_internals", "warn"},
    {"ops"},
    {"partners", "streams"},
    {"draw"},
    {"targets", "mixers", "layers", "outputs"},
    {"blocks", "channels", "criterion", "effect", "marks", "modules", "schedules", "tokens"},
    {"planner", "present"},
    {"active"},
    {"features", "using"},
    {"hook"},
    {"site"},
    {"attaching"},
    {"lightning", "transformers"},
]
LAB_FLOORS = [
    {"settings"},
    {"config", "files", "inputs", "lock", "machine", "process", "statistics"},
    {"function", "command", "recipes", "methods", "metrics"},
    {"data", "models"},
    {"training", "report", "bench"},
    {"runs", "worker", "pool", "prepare", "places"},
    {"comparison", "single"},
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
    assert "schedule.py imports config" in upwards(LAB, "torchmoments_lab", LAB_FLOORS[::-1])


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


def loaded_by(code: str) -> set[str]:
    return {name.split(".")[0] for name in modules_loaded_by(code)}


def modules_loaded_by(code: str) -> set[str]:
    report = "import sys; print(' '.join(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(printed.stdout.split())


def test_the_library_loads_nothing_optional():
    assert not loaded_by("import torchmoments as tm; tm.attach") & set(OPTIONAL)


def test_importing_the_command_line_does_not_load_torch():
    assert "torch" not in loaded_by("import torchmoments_lab.cli, torchmoments_lab.config")


def test_a_step_does_not_load_the_compiler_of_torch():
    step = """
import torch, torchmoments as tm
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))
site = tm.attach(model, tm.MoEx(p=1.0), at="0", seed=0)
with site.mixing(2) as plan:
    output = model(torch.randn(2, 3, 4, 4)).mean((2, 3))
tm.mixed_loss(torch.nn.functional.cross_entropy, output, torch.tensor([0, 1]), plan).backward()
"""
    loaded = modules_loaded_by(step)
    assert "torch.nn" in loaded
    assert "torch._dynamo" not in loaded


@pytest.mark.parametrize("package", ["transformers"])
def test_a_package_that_is_missing_is_named_with_its_extra(package):
    code = f"import sys; sys.modules[{package!r}] = None; import torchmoments.{package}"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    sentence = f"needs {package}. Install it with: pip install 'torchmoments[{package}]'"
    assert told.splitlines()[-1] == f"ImportError: torchmoments.{package} {sentence}"


@pytest.mark.parametrize("module", ["mixers.crossnorm", "site", "ops", "layers"])
def test_a_module_can_be_imported_first(module):
    assert "torchmoments" in loaded_by(f"import torchmoments.{module}")


def test_import_check_fails_when_an_optional_package_is_loaded():
    pytest.importorskip("rich")
    assert "rich" in loaded_by("import torchmoments as tm; tm.attach; import rich") & set(OPTIONAL)


def test_every_public_name_is_there():
    import torchmoments as tm

    assert tm.__all__ == sorted(tm.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in tm.__all__:
        assert getattr(tm, name).__doc__


def test_a_star_import_brings_the_public_names():
    assert "timm" not in loaded_by("from torchmoments import *; MoEx, attach, mixed_loss")


def test_checking_a_request_does_not_load_the_compiler_of_torch(tmp_path):
    check = f"""
from pathlib import Path
from torchmoments_lab.comparison import compare
from torchmoments_lab.config import CompareConfig
from torchmoments_lab.prepare import prepare
prepare(CompareConfig(out=Path({str(tmp_path)!r})), ["none", "moex", "mixup"])
"""
    loaded = modules_loaded_by(check)
    assert "sklearn" in loaded
    assert "torch._dynamo" not in loaded
