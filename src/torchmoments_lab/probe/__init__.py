"""What the moments at a place of a network know of the class. `config` is light to import; `probe` does the work."""
