"""One training: `task` (data and network), `feed` (batches), `device`, `train` (epochs), `checkpoint`."""
