"""Promises about versions and about the package, as commands: `nox -s oldest`, after `pip install nox uv`.

`nox --list` shows them, and docs/reliability.md says what each promises. What follows `--` goes to pytest:
`nox -s oldest -- -m "not slow"`. The environments are in .nox; each takes about 6 GB.
"""

import shutil
from pathlib import Path

import nox

EXTRAS = "[export,lab,lightning,ray,tensorboard,test,transformers]"

# Installs the lower bounds, and links packages from its cache: 6 GB again take seconds.
nox.options.default_venv_backend = "uv"
# A Python that is not on the machine is skipped.
nox.options.download_python = "never"


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """Each dependency at its lower bound in pyproject.toml."""
    # What these need in turn is as new as it installs, but for two: Lightning 2.4 needs packaging before 25, and
    # PyTorch 2.6 needs protobuf before 7 to export to ONNX.
    needed = ("packaging==24.2", "protobuf==6.33.6")
    session.install("--resolution=lowest-direct", *needed, "--editable", f".{EXTRAS}")
    run_tests(session)


@nox.session(python=["3.11", "3.12", "3.13"])
def newest(session: nox.Session) -> None:
    """Each dependency as new as it installs."""
    session.install("--upgrade", "--editable", f".{EXTRAS}")
    run_tests(session)


@nox.session(python="3.11")
def package(session: nox.Session) -> None:
    """The wheel: with PyTorch alone, for a type checker, and under the tests of the sdist."""
    built = Path(session.create_tmp()).resolve()
    shutil.rmtree(built)
    session.run("uv", "build", "--quiet", "--out-dir", str(built), external=True)
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    shutil.unpack_archive(source, built, filter="data")
    # Here `import torchmoments` finds the wheel alone: the sources are in src.
    session.chdir(built / source.name.removesuffix(".tar.gz"))

    session.install("--reinstall-package=torchmoments", str(wheel))
    session.run("python", "tests/typed_program.py")
    session.run("torchmoments", "compare", success_codes=[2])
    session.install("mypy")
    session.run("mypy", "--strict", "--config-file=", "tests/typed_program.py")

    session.install(f"{wheel}{EXTRAS}")
    run_tests(session)


@nox.session(python="3.11")
def audit(session: nox.Session) -> None:
    """No known vulnerability in the newest of each dependency, says the index of Python packages."""
    session.install("pip-audit")
    listed = Path(session.create_tmp()) / "requirements.txt"
    compile = ("uv", "pip", "compile", "--quiet", "--upgrade", "--all-extras", "--python-version=3.11")
    session.run(*compile, "pyproject.toml", f"--output-file={listed}", external=True)
    # Strict: a package that the index does not know of fails, and is not passed over.
    session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", f"--requirement={listed}")


def run_tests(session: nox.Session) -> None:
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "worksteal", "--thorough", *session.posargs)
