"""Train with and without a method, paired by seed, and say with confidence intervals whether it helps.

Needs the extra `torchmoments[lab]`. `config` has the settings and is light to import; `compare` does the work.
"""
