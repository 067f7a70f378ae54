"""Which folders are classes, and which are the training and the test part. A folder that could be either is refused."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torchmoments_lab.data.listing import listed

# Capitals do not matter, nor numbers and words such as "set" around them: Train, test2017, training_set.
_PARTS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst"),
    "val": ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"),
}
_AROUND = {"set", "data", "dataset", "image", "images", "img", "imgs", "split", "seg", "folder"}


@dataclass(frozen=True)
class Layout:
    """{class: its folder} of each part, with an empty `test` if it has to be held out; and a sentence on the choice."""

    train: dict[str, Path]
    test: dict[str, Path] = field(default_factory=dict)
    remark: str | None = None


def find_layout(path: Path, left_out: Counter[str]) -> Layout:
    """How the folder is laid out; files beside the folders of the classes are counted as left out.

    Raises:
        ValueError: there are no classes, or a folder may be a class or a part.
    """
    top, pictures = listed(path, left_out)
    parts = {part: [folder for folder in top if _part_of(folder.name) == part] for part in _PARTS}
    if not any(parts.values()):
        return Layout(_classes(path, top, pictures))
    test_part = "test" if parts["test"] else "val"
    if len(parts["train"]) != 1 or len(parts[test_part]) != 1:
        raise _not_understood(path, parts)
    train, test = parts["train"][0], parts[test_part][0]
    of_train, of_test = (_classes(part, *listed(part, left_out)) for part in (train, test))
    unknown = sorted(set(of_test) - set(of_train))
    if unknown:
        raise ValueError(f"test images need classes that training has too; '{train}' has no {unknown[0]!r}.")
    others = [folder.name for folder in top if folder not in (train, test)]
    unused = f"; {_quoted(others)} {'is' if len(others) == 1 else 'are'} not used" if others else ""
    remark = f"Training images are those in '{train.name}', test images those in '{test.name}'{unused}."
    return Layout(of_train, of_test, remark)


def find_domains(path: Path, left_out: Counter[str]) -> dict[str, dict[str, Path]]:
    """{domain: {class: its folder}} of a folder of domains.

    Raises:
        ValueError: there are fewer than two, or one lacks a class that another has.
    """
    folders, _ = listed(path, left_out)
    found = {folder.name: _classes(folder, *listed(folder, left_out)) for folder in folders}
    if len(found) < 2:
        raise ValueError(
            f"data needs two domains or more, a folder for each with the same classes in it; got {len(found)} in "
            f"'{path}'. Write folder:{path} if its folders are the classes."
        )
    every = sorted({name for classes in found.values() for name in classes})
    for domain, classes in found.items():
        lacking = [name for name in every if name not in classes]
        if lacking:
            raise ValueError(
                f"domains need the same classes; '{path / domain}' has no {lacking[0]!r}. Write folder:{path} if its "
                "folders are the classes."
            )
    return found


def _part_of(name: str) -> str | None:
    """ "train", "test" or "val" if a folder's name says so."""
    words = [word for word in re.split(r"[\W\d_]+", name.casefold()) if word and word not in _AROUND]
    if len(words) != 1:
        return None
    found = (part for part, names in _PARTS.items() if {words[0], words[0].removesuffix("set")} & set(names))
    return next(found, None)


def _classes(path: Path, folders: list[Path], pictures: list[Path]) -> dict[str, Path]:
    """{class: its folder} of the folders in `path`, which are refused if they look like domains or parts of a split."""
    if not folders:
        has = "holds images but no folders" if pictures else "has none"
        raise ValueError(
            f"data needs a folder for each class, with images; got '{path}', which {has}. Put the images of each class "
            "into a folder of its own."
        )
    inside = {folder: listed(folder, Counter()) for folder in folders}
    if len(folders) == 1:
        repair = f" Write folder:{folders[0]}." if len(inside[folders[0]][0]) > 1 else ""
        raise ValueError(f"data needs two classes or more; got one folder, {folders[0].name!r}, in '{path}'.{repair}")
    nested = {folder: below for folder, (below, directly) in inside.items() if below and not directly}
    counts = Counter(folder.name for below in nested.values() for folder in below)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if len(repeated) > 1 and 2 * len(repeated) >= len(counts):
        first = next(iter(nested))
        repair = (
            f"Write '{repeated[0]}/{first.name}' in place of '{first.name}/{repeated[0]}'"
            if any(map(_part_of, repeated))
            else f"Write domains:{path} if they are domains, or folder:{first} for one of them; if {first.name!r} is "
            "a class, put its images into it without folders"
        )
        raise ValueError(
            f"data needs to tell classes from domains and parts; in '{path}' {_quoted(f.name for f in nested)} hold "
            f"the same folders, {_quoted(repeated)}. {repair}."
        )
    return {folder.name: folder for folder in folders}


def _not_understood(path: Path, parts: dict[str, list[Path]]) -> ValueError:
    found = [folder.name for folders in parts.values() for folder in folders]
    a_class = f"if {found[0]!r} is a class, rename it 'class_{found[0]}'"
    if len(found) == 1 and parts["train"]:
        repair = f"Put 'test' beside it, or write folder:{parts['train'][0]} to hold a fifth out; {a_class}"
    elif len(found) == 1:
        repair = f"Put 'train' beside it; {a_class}"
    else:
        repair = "Keep one of each, and move the others out of the folder"
    return ValueError(
        f"data needs one folder for training and one for the test, or classes alone; got {_quoted(found)} in '{path}'. "
        f"{repair}."
    )


def _quoted(names: Iterable[str]) -> str:
    """'a', 'b' and 2 more."""
    names = [repr(name) for name in names]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
