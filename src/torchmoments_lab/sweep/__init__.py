"""Runs over a grid of options, judged on validation images. `config` is light to import; `sweep` does the work."""
