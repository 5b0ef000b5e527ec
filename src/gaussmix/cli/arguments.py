"""The arguments of the command ``gaussmix``: what there is to give, and what each may hold."""

from __future__ import annotations

import argparse
import csv
import math
import os
from collections.abc import Callable
from typing import NoReturn

from .. import datasets, rules
from ..covariance import FAMILIES
from . import report, tables


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all the others."""

    def error(self, message: str) -> NoReturn:
        report.complain(f"error: {message} (see {self.prog} --help)")
        self.exit(2)


def make_parser(version: str) -> argparse.ArgumentParser:
    """The parser of the whole command; ``command`` in what it returns is the name of one."""
    parser = _Parser(prog="gaussmix", description="Gaussian mixtures: fit, score, sample, draw.")
    parser.add_argument("--version", action="version", version=f"gaussmix {version}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_fit(commands)

    predict = _add(commands, "predict", "component of each row, or its probabilities")
    _add_model_and_data(predict)
    predict.add_argument("--proba", action="store_true", help="probabilities, not labels")
    predict.add_argument(
        "--gate",
        type=_positive,
        metavar="G",
        help="nearest component, or -1 where it is G standard deviations off or more, e.g. 2.5; "
        "default: the most probable component",
    )
    _add_calibrated(predict)
    _add_table_output(predict)

    score = _add(commands, "score", "log-likelihood, BIC, AIC and ICL of data")
    _add_model_and_data(score)

    sample = _add(commands, "sample", "random rows from a model")
    _add_model(sample)
    sample.add_argument(
        "-n", type=_integer(0), default=1000, metavar="N", help="number of rows (default: 1000)"
    )
    sample.add_argument(
        "--seed", type=_integer(0), metavar="S", help="for the same rows again; default: others"
    )
    sample.add_argument("--labels", action="store_true", help="also the component of each row")
    _add_table_output(sample)

    info = _add(commands, "info", "what a model file holds, and how many rows lie outside of it")
    _add_model(info)
    info.add_argument(
        "--data", metavar="DATA", help="rows to count the outliers of: a file or a data set"
    )
    _add_columns(info)
    info.add_argument(
        "--gate",
        type=_positive,
        metavar="G",
        help="outliers are G standard deviations off every component, or more (default: 2.5)",
    )
    _add_calibrated(info)
    _add_threads(info)

    _add(commands, "config", "what was built and which backend is live")
    return parser


def _add(commands, name: str, summary: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )


def _add_fit(commands) -> None:
    fit = _add(commands, "fit", "fit mixtures to data and choose one by BIC")
    fit.epilog = "example: gaussmix fit faithful -k 1:9 --plot faithful.png"
    _add_data(fit)
    fit.add_argument(
        "-k",
        dest="components",
        metavar="K|A:B|K,K",
        type=_counts,
        help="components, or a range or list of which BIC chooses one "
        "(default: 1:9, or up to the number of rows)",
    )
    fit.add_argument(
        "--covariance",
        metavar="TYPE|TYPE,TYPE|all",
        type=_covariance_types,
        default=["full"],
        help="form of the covariance matrices: full, tied, diag, spherical; of several BIC "
        "chooses one (default: full)",
    )
    fit.add_argument(
        "--algorithm",
        metavar="NAME[,NAME]",
        type=_algorithms,
        default=["em"],
        help=f"{', '.join(rules.NAMED)}; several are run one after the other (default: em)",
    )
    fit.add_argument(
        "--starts",
        metavar="N",
        type=_integer(1),
        default=10,
        help="starts for each K, of which the highest likelihood wins (default: 10)",
    )
    fit.add_argument(
        "--seed", metavar="S", type=_integer(0), default=0, help="of the starts (default: 0)"
    )
    fit.add_argument(
        "--standardise",
        action="store_true",
        help="fit on columns of mean 0 and variance 1; report in the data's own units",
    )
    fit.add_argument("--plot", metavar="FILE", help="picture to draw (.png, .pdf, .svg, ...)")
    fit.add_argument("--out", metavar="MODEL", help="model file to save (.gmix)")
    advanced = fit.add_argument_group("advanced")
    _add_threads(advanced)
    advanced.add_argument(
        "--tol",
        metavar="T",
        type=_not_negative,
        default=1e-5,
        help="change of the mean log-likelihood, in nats, below which a start ends; the best of "
        "several goes on to a ten-thousandth (default: 1e-5)",
    )
    advanced.add_argument(
        "--max-iter",
        metavar="N",
        type=_integer(0),
        default=1000,
        help="most iterations of a start; the best of several may take as many again "
        "(default: 1000)",
    )
    advanced.add_argument(
        "--max-seconds",
        metavar="S",
        type=_positive,
        help="end after so long, with the best that has been fitted by then",
    )
    advanced.add_argument(
        "--reg-covar",
        metavar="R",
        type=_not_negative,
        default=1e-6,
        help="floor of the variances, relative to those of the data (default: 1e-6)",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help=f"file ({', '.join(tables.SUFFIXES)}) or data set ({', '.join(datasets.names())})",
    )
    _add_columns(parser)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--columns", metavar="A,B", type=_names, help="columns by name, or by number from 1"
    )
    parser.add_argument("--key", help="which array of an .npz file")


def _add_calibrated(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="a gate that rejects in all dimensions what G rejects in one",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that gaussmix fit --out saved")


def _add_model_and_data(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_data(parser)
    _add_threads(parser)


def _add_threads(parser) -> None:
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_integer(1),
        help="default: GAUSSMIX_NUM_THREADS, OMP_NUM_THREADS, or all CPUs there are",
    )


def _add_table_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=_table_name,
        help=f"file to write ({', '.join(tables.WRITABLE)}); default: CSV to stdout",
    )


def _counts(text: str) -> list[range]:
    """Numbers of components as ranges, not yet spelt out: the data say how far they may go."""
    ranges = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        try:
            low = int(first)
            high = int(last) if colon else low
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is neither a number of components nor a range such as 1:9 nor a list "
                "such as 1,2,5"
            ) from None
        if not 1 <= low <= high:
            raise argparse.ArgumentTypeError(
                f"{text!r}: components start at 1, and a range goes upwards"
            )
        ranges.append(range(low, high + 1))
    return ranges


def _algorithms(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    if not set(names) <= set(rules.NAMED):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one of {', '.join(rules.NAMED)}, nor a list of them"
        )
    return names


def _covariance_types(text: str) -> list[str]:
    """Names of covariance types, each once, in the order given."""
    names = FAMILIES if text == "all" else [part.strip() for part in text.split(",")]
    for name in names:
        if name not in FAMILIES:
            raise argparse.ArgumentTypeError(
                f"{name!r} is none of {', '.join(FAMILIES)}; or give all"
            )
    return list(dict.fromkeys(names))


def _integer(low: int) -> Callable[[str], int]:
    """A type for argparse: integers from `low` up."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {low}")
        return value

    return parse


def _not_negative(text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number of at least 0")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _number(text: str) -> float:
    """The number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _table_name(text: str) -> str:
    if os.path.splitext(text)[1].lower() not in tables.WRITABLE:
        raise argparse.ArgumentTypeError(
            f"{text} does not end in one of {', '.join(tables.WRITABLE)}"
        )
    return text


def _names(text: str) -> list[str]:
    # By the csv module, so that a name with a comma in it can be quoted.
    return next(csv.reader([text], skipinitialspace=True), [])
