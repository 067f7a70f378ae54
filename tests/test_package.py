"""What the wheel and the sdist hold. `nox -s package` installs them."""

import subprocess
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

build = pytest.importorskip("hatchling.build")

ROOT = Path(__file__).parent.parent


def below(folder: Path) -> set[str]:
    """The files below a folder, without what Python leaves there."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The files of the wheel: {name: contents}."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        path = folder / build.build_wheel(str(folder))
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The path of the sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / build.build_sdist(str(folder))


def names_in(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def files_of_git(*which: str) -> set[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    listed = subprocess.run(["git", "ls-files", *which], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    assert {name for name in wheel if ".dist-info/" not in name} == below(ROOT / "src")
    assert {"torchmoments/py.typed", "torchmoments_lab/py.typed"} <= set(wheel)


def test_the_wheel_holds_the_licence_and_the_command(wheel):
    texts = {name.partition(".dist-info/")[2]: text.decode() for name, text in wheel.items() if ".dist-info/" in name}
    assert texts["licenses/LICENSE"] == (ROOT / "LICENSE").read_text()
    assert "torchmoments = torchmoments_lab.cli:main" in texts["entry_points.txt"]


def test_the_library_alone_requires_torch_alone(wheel):
    (metadata,) = (text.decode() for name, text in wheel.items() if name.endswith("/METADATA"))
    needed = HeaderParser().parsestr(metadata).get_all("Requires-Dist")
    assert [name for name in needed if "extra ==" not in name] == ["torch>=2.6"]


@pytest.mark.slow
def test_the_sdist_holds_what_is_kept_in_the_repository(sdist):
    kept, others = files_of_git("--cached"), files_of_git("--others", "--exclude-standard")
    # What begins with a dot is for those who work in the repository.
    assert {name for name in kept - names_in(sdist) if not name.startswith(".")} == set()
    assert names_in(sdist) - kept - others == {"PKG-INFO"}


def test_the_sdist_is_small(sdist):
    assert sdist.stat().st_size < 6e6
