"""What a comparison shows, made from its folder alone: summary.json, the report and its figures."""

from pathlib import Path
from typing import Any

from torchmoments_lab.files import write_bytes, write_json, write_text
from torchmoments_lab.report import conclusion, contents, render
from torchmoments_lab.report.page import Picture
from torchmoments_lab.report.reading import read_comparison
from torchmoments_lab.report.summary import summarize


def write(out: Path, *, needs_complete: bool = False) -> dict[str, Any]:
    """Read the runs in `out` and write summary.json, report.html, report.md and the figures there.

    The same runs give the same bytes, wherever the folder is.

    Args:
        out: folder of a comparison.
        needs_complete: refuse a comparison without a single complete run.

    Returns:
        What summary.json holds, see `summary.summarize`, and under "conclusion" the sentences.

    Raises:
        ValueError: `out` is no comparison, cannot be written, or holds a damaged file. Then nothing was written.
    """
    comparison = read_comparison(out)
    summary = summarize(comparison)
    if needs_complete and summary["test_images"] is None:
        raise ValueError(
            f"report needs a complete run; '{out}' has none. Run its comparison first: the same compare goes on there."
        )
    summary["conclusion"] = conclusion.sentences(summary)
    page = contents.page(comparison, summary)
    texts = {"report.html": render.html(page), "report.md": render.markdown(page)}
    pictures: dict[str, bytes] = {}
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                pictures |= {f"{block.name}.png": block.drawing.png, f"{block.name}.svg": block.drawing.svg}
    try:
        for name, text in texts.items():
            write_text(out / name, text)
        for name, content in pictures.items():
            write_bytes(out / name, content)
        write_json(out / "summary.json", summary)
    except OSError as error:
        raise ValueError(
            f"report needs a folder that can be written; got '{out}' ({error.strerror}). Copy it to one."
        ) from error
    return summary
