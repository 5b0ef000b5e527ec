"""The command ``gaussmix``: fit mixtures to files, and use the models it saved.

Exit codes: 0 done, 2 unusable input or arguments (one line on stderr, never a traceback),
130 interrupted, 141 the reader of our output went away.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import numpy as np

import gaussmix

from . import _fit_command, _report, criteria, datasets, persistence, tables
from .errors import GaussmixError, InvalidInputError

_ROWS_AT_ONCE = 1 << 16


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code of the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the name of the command; those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without a letter is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            arguments = _parser().parse_args(argv)
            _refuse_overwriting(arguments)
            arguments.run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
        return 0
    except SystemExit as request:  # argparse, for --help and --version
        return int(request.code or 0)
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        _discard_stdout()
        return 141
    except OSError as error:
        place = f"{error.filename}: " if error.filename else _discard_stdout()
        _complain(f"error: {place}{error.strerror or error}")
    except MemoryError as error:
        _complain(f"error: not enough memory ({error or 'no details'}). Use fewer rows.")
    except GaussmixError as error:
        _complain(f"error: {error}")
    return 2


def _discard_stdout() -> str:
    """What to call stdout in a message if it cannot be written to, else ""."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # Python flushes stdout once more at exit; give it something that takes the bytes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "standard output: "
    return ""


def _complain(message: str) -> None:
    print(f"gaussmix: {_report.printable(message)}", file=sys.stderr)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    _complain(f"warning: {message}")


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all the others."""

    def error(self, message: str) -> NoReturn:
        _complain(f"error: {message} (see {self.prog} --help)")
        self.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gaussmix", description="Gaussian mixtures: fit, score, sample, draw.")
    parser.add_argument("--version", action="version", version=f"gaussmix {gaussmix.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_fit(commands)

    predict = _add(commands, "predict", _predict, "component of each row, or its probabilities")
    _add_model_and_data(predict)
    predict.add_argument("--proba", action="store_true", help="probabilities, not labels")
    _add_table_output(predict)

    score = _add(commands, "score", _score, "log-likelihood, BIC, AIC and ICL of data")
    _add_model_and_data(score)

    sample = _add(commands, "sample", _sample, "random rows from a model")
    _add_model(sample)
    sample.add_argument(
        "-n", type=_integer(0), default=1000, metavar="N", help="number of rows (default: 1000)"
    )
    sample.add_argument(
        "--seed", type=_integer(0), metavar="S", help="for the same rows again; default: others"
    )
    sample.add_argument("--labels", action="store_true", help="also the component of each row")
    _add_table_output(sample)

    info = _add(commands, "info", _info, "what a model file holds")
    _add_model(info)

    _add(commands, "config", _config, "what was built and which backend is live")
    return parser


def _add(
    commands, name: str, run: Callable[[argparse.Namespace], None], summary: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    parser.set_defaults(run=run)
    return parser


def _add_fit(commands) -> None:
    fit = _add(commands, "fit", _fit, "fit mixtures to data and choose one by BIC")
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
        choices=("full", "tied", "diag", "spherical"),
        default="full",
        help="form of the covariance matrices (default: full)",
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
    fit.add_argument("--out", metavar="MODEL", help="model file to save (.npz)")
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
    parser.add_argument(
        "--columns", metavar="A,B", type=_names, help="columns by name, or by number from 1"
    )
    parser.add_argument("--key", help="which array of an .npz file")


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
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number of at least 0")
    return value


def _table_name(text: str) -> str:
    if os.path.splitext(text)[1].lower() not in tables.WRITABLE:
        raise argparse.ArgumentTypeError(
            f"{text} does not end in one of {', '.join(tables.WRITABLE)}"
        )
    return text


def _names(text: str) -> list[str]:
    # By the csv module, so that a name with a comma in it can be quoted.
    return next(csv.reader([text], skipinitialspace=True), [])


def _refuse_overwriting(arguments: argparse.Namespace) -> None:
    for source in ("data", "model"):
        for option in ("out", "plot"):
            read, written = getattr(arguments, source, None), getattr(arguments, option, None)
            if read and written and os.path.exists(written) and os.path.exists(read):
                if os.path.samefile(read, written):
                    raise InvalidInputError(
                        f"--{option} {written} is the file that is read. Choose another name."
                    )


def _table(arguments: argparse.Namespace, names: Sequence[str] | None = None) -> tables.Table:
    if arguments.data not in datasets.names():
        try:
            return tables.read(
                arguments.data, columns=arguments.columns, if_named=names, key=arguments.key
            )
        except FileNotFoundError as error:
            raise InvalidInputError(
                f"there is no file {arguments.data}, and no embedded data set of that name. "
                f"Give a file, or one of: {', '.join(datasets.names())}."
            ) from error
    dataset = datasets.load(arguments.data)
    X, kept = dataset.X, dataset.feature_names
    if arguments.columns is not None:
        X, kept = tables.choose(X, kept, arguments.columns, dataset.name)
    return tables.Table(X, kept, dataset.name)


def _model_and_table(arguments: argparse.Namespace) -> tuple[gaussmix.Mixture, tables.Table]:
    model = persistence.load_with_names(arguments.model)
    table = _table(arguments, model.feature_names)
    found, expected = table.X.shape[1], model.mixture.n_features
    if found != expected:
        raise InvalidInputError(
            f"{table.source} has {found} columns, the model expects {expected} "
            f"({', '.join(_report.names_or_default(model.feature_names, expected)[:8])}). "
            "Choose them with --columns."
        )
    return model.mixture, table


def _fit(arguments: argparse.Namespace) -> None:
    _fit_command.check_outputs(arguments)
    _fit_command.run(arguments, _table(arguments))


def _predict(arguments: argparse.Namespace) -> None:
    mixture, table = _model_and_table(arguments)
    of_rows = mixture.predict_proba if arguments.proba else mixture.predict
    header = [f"component_{k}" for k in range(mixture.n_components)]
    _write_rows(
        arguments.out,
        header if arguments.proba else ["component"],
        (
            of_rows(table.X[start : start + _ROWS_AT_ONCE], n_threads=arguments.threads)
            for start in range(0, len(table.X), _ROWS_AT_ONCE)
        ),
    )


def _score(arguments: argparse.Namespace) -> None:
    mixture, table = _model_and_table(arguments)
    sums = mixture.statistics(table.X, n_threads=arguments.threads)
    total, n_parameters = sums.log_likelihood, mixture.n_parameters
    rows = [
        ("rows", str(len(table.X)), ""),
        ("mean log-likelihood", f"{total / sums.weight:.6f}", "nats per row"),
        ("log-likelihood", f"{total:.4f}", "nats"),
        ("parameters", str(n_parameters), ""),
        ("BIC", f"{criteria.bic(total, n_parameters, sums.weight):.4f}", "lower is better"),
        ("AIC", f"{criteria.aic(total, n_parameters):.4f}", "lower is better"),
        (
            "ICL",
            f"{criteria.icl(total, n_parameters, sums.weight, sums.entropy):.4f}",
            "lower is better",
        ),
    ]
    width = max(len(value) for _, value, _ in rows)
    for label, value, unit in rows:
        print(f"{label:<20} {value:>{width}}  {unit}".rstrip())


def _sample(arguments: argparse.Namespace) -> None:
    mixture, names = persistence.load_with_names(arguments.model)
    X, components = mixture.sample(arguments.n, arguments.seed)
    header = list(names or _report.names_or_default(None, mixture.n_features))

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(X), _ROWS_AT_ONCE):
            yield X[start : start + _ROWS_AT_ONCE]

    if arguments.labels:
        _write_rows(arguments.out, [*header, "component"], blocks(), components)
    else:
        _write_rows(arguments.out, header, blocks())


def _info(arguments: argparse.Namespace) -> None:
    mixture, names = persistence.load_with_names(arguments.model)
    print(
        f"{_report.printable(arguments.model)}: {mixture.n_components} components, "
        f"{mixture.n_features} features, {mixture.covariance_type} covariances, "
        f"{mixture.n_parameters} parameters\n"
    )
    for line in _report.mixture_lines(mixture, names, every_feature=True):
        print(line)


def _config(arguments: argparse.Namespace) -> None:
    gaussmix.show_config()


def _write_rows(
    path: str | None,
    header: Sequence[str],
    blocks: Iterator[np.ndarray],
    labels: np.ndarray | None = None,
) -> None:
    """Nothing; writes a file of the kind that its name says, or CSV to stdout."""
    if path is not None:
        tables.write(path, header, blocks, labels)
    elif sys.stdout is None:
        raise InvalidInputError("standard output is closed. Name a file with --out.")
    else:
        tables.write_text(sys.stdout, header, blocks, labels)
