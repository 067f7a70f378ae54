"""Pictures of the moments of real images, and of their exchange.

`config` is light to import; `inspect` does the work.
"""
