"""The settings of an experiment in groups, which commands hold; their docstrings are the help texts.

Nothing here imports torch, so that `torchmoments --help` answers at once.
"""

from torchmoments_lab.settings.data import DATA_SETS, FOLDERS, DataSettings, Evaluate, Judging, Metric
from torchmoments_lab.settings.execution import Execution
from torchmoments_lab.settings.model import WEIGHTS, ModelSettings, check_weights
from torchmoments_lab.settings.parallel import Parallel
from torchmoments_lab.settings.preprocessing import Preprocessing
from torchmoments_lab.settings.runs import MOST_SEEDS, PlannedRuns, RunSettings
from torchmoments_lab.settings.training import TrainingSettings

# As a record has it.
Setting = str | int | float | bool | list[float] | None

# Where files are and where a run takes place: runs that differ in these alone are the same.
ELSEWHERE = ("data_dir", "weights", "device", "loader_workers")

__all__ = [
    "DATA_SETS",
    "ELSEWHERE",
    "FOLDERS",
    "MOST_SEEDS",
    "WEIGHTS",
    "DataSettings",
    "Evaluate",
    "Execution",
    "Judging",
    "Metric",
    "ModelSettings",
    "Parallel",
    "PlannedRuns",
    "Preprocessing",
    "RunSettings",
    "Setting",
    "TrainingSettings",
    "check_weights",
]
