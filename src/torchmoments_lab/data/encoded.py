"""Pictures as the bytes of their files, for a machine that does not have the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from torchmoments_lab.data.picture import decoded


@dataclass(frozen=True, eq=False)
class EncodedImages(Sequence[Any]):
    """Pictures that are decoded each time they are asked for, as `folder.ImageFiles` does.

    Args:
        content: the bytes of all files, one after the other; many processes may share their memory.
        ends: where each file ends in them.
    """

    content: memoryview
    ends: Sequence[int]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "EncodedImages":
        files = [path.read_bytes() for path in paths]
        return cls(memoryview(b"".join(files)), np.cumsum([len(file) for file in files]).tolist())

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        start = self.ends[index - 1] if index else 0
        with Image.open(BytesIO(self.content[start : self.ends[index]])) as image:
            return decoded(image)
