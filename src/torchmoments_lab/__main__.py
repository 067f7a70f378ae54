"""`python -m torchmoments_lab` is the command `torchmoments`."""

import sys

from torchmoments_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
