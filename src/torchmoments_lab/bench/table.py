"""A result as a line of text."""

from torchmoments_lab.bench.rows import Row


def line(row: Row) -> str:
    """What was measured, and the most important numbers."""
    if "share_of_copy" in row:
        case = " ".join(str(row[key]) for key in ("norm", "layout", "dtype", "shape", "direction"))
        what = f"{row['contestant']:10} {case:52}"
        memory = "" if row["peak_extra_bytes"] is None else f"  memory {_megabytes(row['peak_extra_bytes'])}"
        return f"{what} {_quartiles(row, 'ms', 'ms')}  {float(row['share_of_copy'] or 0):.2f} of copy{memory}"
    ratio = f"{_quartiles(row, 'ratio', 'x plain')}"
    memory = f"memory {_megabytes(row['peak_extra_bytes'])}, {float(row['peak_ratio'] or 0):.2f} x plain"
    return f"{row['contestant']:24} {_quartiles(row, 'ms', 'ms')}  {ratio}  {memory}"


def _quartiles(row: Row, name: str, unit: str) -> str:
    middle, low, high = (float(row[key] or 0) for key in (name, f"{name}_q1", f"{name}_q3"))
    return f"{middle:9.4g} {unit} [{low:.4g}, {high:.4g}]"


def _megabytes(number: object) -> str:
    return f"{float(str(number)) / 1e6:.1f} MB"
