"""``python -m gaussmix``: the same as the command ``gaussmix``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
