"""Statistics of runs that are paired by seed and judged on the same test images.

values       what is found: a mean, a difference
crossed      the interval for other seeds and other images
looks        what it becomes if results are looked at while seeds are added
several      what it becomes if several differences are judged, or the best of several
share        the interval of a ratio of two differences
robust       seeds that collapsed, and a mean that they do not spoil
planning     how many seeds or images a difference needs

Errors and differences are in percent. An interval or a p that is undefined is None: with fewer than three seeds, or
without any spread.
"""
