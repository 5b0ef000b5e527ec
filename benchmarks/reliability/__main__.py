"""Run a campaign: ``python -m benchmarks.reliability NAME [options]``; without NAME, list them."""

import sys
from importlib import import_module
from pathlib import Path

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] not in NAMES:
        for name in NAMES:
            purpose = (import_module(f".{name}", __package__).__doc__ or "").splitlines()[0]
            print(f"{name:<17}{purpose}")
        sys.exit(2)
    import_module(f".{arguments[0]}", __package__).main(arguments[1:])


if __name__ == "__main__":  # asv imports every module it finds
    main(sys.argv[1:])
