"""The command ``gaussmix``: fit mixtures to files, and use the models it saved.

Exit codes: 0 done, 2 unusable input or arguments (one line on stderr, never a traceback),
130 interrupted, 141 the reader of our output went away.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

import gaussmix

from .. import criteria, datasets, persistence
from ..errors import GaussmixError, InvalidInputError
from ..inputs import validate
from ..model.chi_square import radius, rejected_share
from . import fit, report, tables
from .arguments import make_parser

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
            arguments = make_parser(gaussmix.__version__).parse_args(argv)
            _refuse_overwriting(arguments)
            COMMANDS[arguments.command](arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
        return 0
    except SystemExit as request:  # argparse, for --help and --version
        return int(request.code or 0)
    except KeyboardInterrupt:
        report.complain("interrupted")
        return 130
    except BrokenPipeError:
        _discard_stdout()
        return 141
    except OSError as error:
        place = f"{error.filename}: " if error.filename else _discard_stdout()
        report.complain(f"error: {place}{error.strerror or error}")
    except MemoryError as error:
        report.complain(f"error: not enough memory ({error or 'no details'}). Use fewer rows.")
    except GaussmixError as error:
        report.complain(f"error: {error}")
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


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    report.complain(f"warning: {message}")


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
    return model.mixture, _table_for(model, arguments)


def _table_for(model: persistence.SavedModel, arguments: argparse.Namespace) -> tables.Table:
    """The rows that the arguments name, with the columns of the model."""
    table = _table(arguments, model.feature_names)
    found, expected = table.X.shape[1], model.mixture.n_features
    if found != expected:
        raise InvalidInputError(
            f"{table.source} has {found} columns, the model expects {expected} "
            f"({', '.join(report.names_or_default(model.feature_names, expected)[:8])}). "
            "Choose them with --columns."
        )
    return table


def _fit(arguments: argparse.Namespace) -> None:
    fit.check_outputs(arguments)
    fit.run(arguments, _table(arguments))


def _predict(arguments: argparse.Namespace) -> None:
    if arguments.proba and arguments.gate is not None:
        raise InvalidInputError("--gate is for labels, not for --proba. Give one of them.")
    if arguments.calibrated and arguments.gate is None:
        raise InvalidInputError("--calibrated needs a gate to calibrate. Give --gate 2.5.")
    mixture, table = _model_and_table(arguments)
    of_rows = mixture.predict_proba if arguments.proba else mixture.predict
    if arguments.gate is not None:
        of_rows = partial(mixture.nearest, gate=arguments.gate, calibrated=arguments.calibrated)
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
    header = list(names or report.names_or_default(None, mixture.n_features))

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(X), _ROWS_AT_ONCE):
            yield X[start : start + _ROWS_AT_ONCE]

    if arguments.labels:
        _write_rows(arguments.out, [*header, "component"], blocks(), components)
    else:
        _write_rows(arguments.out, header, blocks())


def _info(arguments: argparse.Namespace) -> None:
    _check_info(arguments)
    model = persistence.load_with_names(arguments.model)
    mixture, names = model
    # Read before anything is printed: data that do not fit are an error and nothing else.
    table = None if arguments.data is None else _table_for(model, arguments)
    print(
        f"{report.printable(arguments.model)}: "
        f"{validate.counted(mixture.n_components, 'component')}, "
        f"{validate.counted(mixture.n_features, 'feature')}, "
        f"{mixture.covariance_type} covariances, "
        f"{validate.counted(mixture.n_parameters, 'parameter')}\n"
    )
    for line in report.mixture_lines(mixture, names, every_feature=True):
        print(line)
    if table is not None:
        print(f"\n{_outliers(mixture, table, arguments)}")


def _check_info(arguments: argparse.Namespace) -> None:
    if arguments.data is None:
        for option in ("columns", "key", "gate", "calibrated", "threads"):
            if getattr(arguments, option):
                raise InvalidInputError(f"--{option} is about data. Give --data DATA as well.")


def _outliers(mixture: gaussmix.Mixture, table: tables.Table, arguments: argparse.Namespace) -> str:
    """How many rows lie outside the gate of every component, in one line."""
    gate = 2.5 if arguments.gate is None else arguments.gate
    if arguments.calibrated:
        gate = radius(gate, mixture.n_features)
    labels = mixture.nearest(table.X, gate, n_threads=arguments.threads)
    n_rows, n_outside = len(labels), int((labels < 0).sum())
    own = 100 * rejected_share(gate, mixture.n_features)
    return (
        f"outliers: {n_outside} of {n_rows} rows ({100 * n_outside / max(n_rows, 1):.1f} %) lie "
        f"{gate:.4g} or more standard deviations from every component\n"
        f"(of a single Gaussian's own points in {mixture.n_features} "
        f"dimension{'s' if mixture.n_features > 1 else ''}: "
        f"{own:{'.1f' if own >= 0.1 else '.2g'}} %)"
    )


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


COMMANDS = {
    "fit": _fit,
    "predict": _predict,
    "score": _score,
    "sample": _sample,
    "info": _info,
    "config": _config,
}
