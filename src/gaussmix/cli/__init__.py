"""The command ``gaussmix``: its arguments, what it does, and the tables it reads and writes."""

from .commands import main

__all__ = ["main"]
