"""The command as its users meet it: what it prints, writes and returns."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gaussmix
from gaussmix import Mixture, datasets, persistence
from gaussmix.cli.commands import main

QUICK = ["--starts", "2"]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def model(tmp_path):
    mixture = Mixture([0.25, 0.75], [[2.0, 50.0], [4.0, 80.0]], [[0.1, 30.0]] * 2, "diag")
    persistence.save(mixture, tmp_path / "m.gmix", feature_names=["eruptions", "waiting"])
    return mixture


@pytest.fixture
def csv(tmp_path):
    dataset = datasets.load("faithful")
    path = tmp_path / "f.csv"
    # Another order and company than the model's: columns are found by their names.
    np.savetxt(
        path,
        np.column_stack([dataset.X[:, 1], np.arange(272), dataset.X[:, 0]]),
        delimiter=",",
        fmt="%.17g",
        header="waiting,row,eruptions",
        comments="",
    )
    return path


def error_of(result):
    code, _, err = result
    lines = err.splitlines()
    assert code == 2
    assert lines[-1].startswith("gaussmix: error: ")
    assert sum(line.startswith("gaussmix: error: ") for line in lines) == 1
    assert "Traceback" not in err
    return lines[-1]


def test_fit_chooses_two_components_for_faithful_by_bic(run):
    code, out, err = run(
        "fit", "faithful", "-k", "1:3", "--plot", "f.png", "--out", "f.gmix", *QUICK
    )
    assert (code, err) == (0, "")
    assert "lower is better" in out and "* lowest BIC: K = 2" in out
    (line,) = [line.split() for line in out.splitlines() if line.startswith("*  2")]
    # mclust's VVV with two components, in its sign -2322.192; see docs on the sign.
    assert float(line[3]) == pytest.approx(2322.192, abs=0.02)
    assert "eruptions" in out and "waiting" in out
    saved = persistence.load_with_names("f.gmix")
    assert saved.feature_names == ("eruptions", "waiting")
    assert saved.mixture.bic(datasets.load("faithful").X) == pytest.approx(
        float(line[3]), abs=0.006
    )
    with open("f.png", "rb") as stream:
        content = stream.read()
    assert content.startswith(b"\x89PNG") and len(content) > 20_000


def test_the_same_command_gives_the_same_model(run):
    for name in ("a.gmix", "b.gmix"):
        assert run("fit", "faithful", "-k", 3, "--out", name, *QUICK)[0] == 0
    with open("a.gmix", "rb") as a, open("b.gmix", "rb") as b:
        assert a.read() == b.read()


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
def test_standardising_reports_in_the_units_of_the_data(run, covariance):
    options = ["-k", 2, "--covariance", covariance, "--tol", 1e-9]
    assert run("fit", "faithful", *options, "--out", "raw.gmix")[0] == 0
    code, out, _ = run("fit", "faithful", *options, "--standardise", "--out", "z.gmix")
    assert code == 0
    raw, standardised = persistence.load("raw.gmix"), persistence.load("z.gmix")
    assert standardised.covariance_type == covariance
    X = datasets.load("faithful").X
    # Scaling columns does not change the maximum for these families.
    assert standardised.score(X) == pytest.approx(raw.score(X), abs=1e-6)
    printed = next(line.split() for line in out.splitlines() if line.split()[:1] == ["2"])
    assert float(printed[1]) == pytest.approx(standardised.score(X) * len(X), abs=0.006)


def test_standardised_spherical_becomes_diag_and_says_so(run):
    code, out, _ = run(
        "fit", "faithful", "-k", 2, "--covariance", "spherical", "--standardise", "--out", "s.gmix"
    )
    assert code == 0 and "Spherical in standardised columns is diag" in out
    mixture, X = persistence.load("s.gmix"), datasets.load("faithful").X
    assert mixture.covariance_type == "diag"
    ratio = mixture.covariances / X.var(axis=0)
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1], rtol=1e-12)


def test_bic_chooses_among_covariance_types_too(run):
    options = ["-k", "1:3", "--covariance", "all", "--plot", "f.png", "--out", "f.gmix", *QUICK]
    code, out, err = run("fit", "faithful", *options)
    assert (code, err) == (0, "") and "* lowest BIC: tied, K = 3" in out
    assert persistence.load("f.gmix").covariance_type == "tied"
    assert run("fit", "faithful", "-k", 2, "--covariance", "diag,tied", *QUICK)[0] == 0


def test_columns_restrict_the_fit(run, csv):
    code, _, _ = run("fit", csv, "-k", 1, "--columns", "eruptions", "--out", "m1.gmix")
    assert code == 0
    assert persistence.load_with_names("m1.gmix").feature_names == ("eruptions",)
    code, _, _ = run("fit", "faithful", "-k", 1, "--columns", "2,1", "--out", "m2.gmix")
    assert code == 0
    assert persistence.load_with_names("m2.gmix").feature_names == ("waiting", "eruptions")


def test_few_rows_limit_the_default_range(run, tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n2\n4\n")
    code, out, _ = run("fit", "t.csv", *QUICK)
    assert code == 0
    table = out.split("\n\n")[1].splitlines()
    assert [line.lstrip("*! ").split()[0] for line in table[1:4]] == ["1", "2", "3"]
    assert "! degenerate" in table[4] and "lowest BIC" in table[5]


@pytest.mark.parametrize(
    ("asked", "fitted"), [("1,2,5", [1, 2, 5]), ("4,1:2,2", [1, 2, 4]), ("3", [3])]
)
def test_components_may_be_a_list(run, asked, fitted):
    code, out, _ = run("fit", "faithful", "-k", asked, *QUICK)
    rows = out.split("\n\n")[1].splitlines()[1:]
    counts = [line.lstrip("* ").split()[0] for line in rows if "lowest" not in line]
    assert (code, list(map(int, counts))) == (0, fitted)


def test_the_report_is_printed_though_the_picture_cannot_be_saved(run, tmp_path):
    (tmp_path / "f.png").mkdir()
    result = run("fit", "faithful", "-k", 2, "--out", "f.gmix", "--plot", "f.png", *QUICK)
    assert "f.png" in error_of(result)
    assert "log-likelihood" in result[1] and "model saved to f.gmix" in result[1]
    assert persistence.load("f.gmix").n_components == 2


def test_a_picture_of_some_columns_says_of_which(run, tmp_path, monkeypatch):
    from gaussmix import plotting

    titles = []
    fit_figure = plotting.fit_figure

    def recorded(*arguments, title, **options):
        titles.append(title)
        return fit_figure(*arguments, title=title, **options)

    monkeypatch.setattr(plotting, "fit_figure", recorded)
    X = np.random.default_rng(0).normal(size=(200, 6))
    X[100:, [1, 2, 4, 5]] += 20
    np.savetxt(tmp_path / "t.csv", X, delimiter=",", header="a,b,c$,d,e$,f", comments="")
    code, out, _ = run("fit", "t.csv", "-k", 2, "--plot", "t.png", *QUICK)
    assert code == 0
    assert "picture saved to t.png with 4 of 6 columns: b, c$, e$, f" in out
    assert titles[0].endswith("\nshown: 4 of 6 columns: b, c\\$, e\\$, f")
    code, out, _ = run("fit", "faithful", "-k", 2, "--plot", "f.png", *QUICK)
    assert code == 0 and out.endswith("picture saved to f.png\n") and "\n" not in titles[1]


def test_warnings_are_single_lines_with_names_of_columns(run, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,5\n2,5\n4,5\n7,5\n")
    code, _, err = run("fit", "t.csv", "-k", "1:2", *QUICK)
    assert code == 0
    assert all(line.startswith("gaussmix: warning: ") for line in err.splitlines())
    assert err.count("column 2 (b) is constant") == 1
    assert "Warning:" not in err and ".py" not in err


def test_predict_writes_the_labels(run, model, csv):
    code, out, err = run("predict", "m.gmix", csv)
    assert (code, err) == (0, "")
    header, *labels = out.splitlines()
    assert header == "component"
    assert list(map(int, labels)) == model.predict(datasets.load("faithful").X).tolist()


def test_predict_proba_reads_back_to_the_bit(run, model):
    assert run("predict", "m.gmix", "faithful", "--proba", "--out", "p.csv")[0] == 0
    written = np.loadtxt("p.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(written, model.predict_proba(datasets.load("faithful").X))


def test_npy_outputs_hold_numbers(run, model):
    X = datasets.load("faithful").X
    assert run("predict", "m.gmix", "faithful", "--out", "z.npy")[0] == 0
    np.testing.assert_array_equal(np.load("z.npy"), model.predict(X))
    assert run("predict", "m.gmix", "faithful", "--proba", "--out", "p.NPY")[0] == 0
    np.testing.assert_array_equal(np.load("p.NPY"), model.predict_proba(X))
    assert run("sample", "m.gmix", "-n", 5, "--seed", 3, "--labels", "--out", "s.npy")[0] == 0
    np.testing.assert_array_equal(np.load("s.npy"), np.column_stack(model.sample(5, 3)))


def test_tsv_outputs_have_tabs(run, model):
    assert run("sample", "m.gmix", "-n", 5, "--seed", 3, "--out", "s.tsv")[0] == 0
    with open("s.tsv", encoding="utf-8") as stream:
        assert stream.readline() == "eruptions\twaiting\n"
    assert run("score", "m.gmix", "s.tsv")[0] == 0


def test_predict_with_a_gate_writes_the_nearest_component_or_minus_one(run, model):
    X = datasets.load("faithful").X
    for options, arguments in (
        ([], {}),
        (["--calibrated"], {"calibrated": True}),
    ):
        code = run("predict", "m.gmix", "faithful", "--gate", 1.5, *options, "--out", "p.npy")[0]
        assert code == 0
        expected = model.nearest(X, 1.5, **arguments)
        assert (expected < 0).any() and (expected >= 0).any()
        np.testing.assert_array_equal(np.load("p.npy").ravel(), expected)


def test_score_prints_what_the_library_computes(run, model, csv):
    code, out, _ = run("score", "m.gmix", csv)
    X = datasets.load("faithful").X
    printed = {line.split("  ")[0]: line for line in out.splitlines()}
    assert code == 0
    assert f"{model.score(X):.6f}" in printed["mean log-likelihood"]
    for name in ("BIC", "AIC", "ICL"):
        expected = getattr(model, name.lower())(X)
        assert f"{expected:.4f}" in printed[name] and "lower is better" in printed[name]


def test_sample_gives_the_rows_of_the_seed(run, model):
    code, out, _ = run("sample", "m.gmix", "-n", 5, "--seed", 3, "--labels")
    header, *rows = out.splitlines()
    X, z = model.sample(5, 3)
    assert (code, header) == (0, "eruptions,waiting,component")
    read = np.array([[float(cell) for cell in row.split(",")] for row in rows])
    np.testing.assert_array_equal(read, np.column_stack([X, z]))


def test_samples_can_be_fitted_again(run, model):
    assert run("sample", "m.gmix", "-n", 200, "--seed", 3, "--out", "s.csv")[0] == 0
    assert run("fit", "s.csv", "-k", 2, *QUICK)[0] == 0


def test_info_shows_the_parameters(run, model):
    code, out, _ = run("info", "m.gmix")
    assert code == 0
    for text in ("2 components", "2 features", "diag", "9 parameters", "0.2500", "eruptions"):
        assert text in out


def test_info_with_data_counts_the_outliers(run, model, csv):
    X = datasets.load("faithful").X
    for options, gate in (([], 2.5), (["--gate", 1.5], 1.5)):
        code, out, _ = run("info", "m.gmix", "--data", csv, *options)
        outside = int((model.nearest(X, gate) < 0).sum())
        assert code == 0
        assert f"outliers: {outside} of 272 rows ({100 * outside / 272:.1f} %)" in out
        assert f"{gate:g} or more standard deviations from every component" in out
    # Of a single Gaussian in two dimensions, r^2 / 2 is exponential.
    assert "4.4 %" in run("info", "m.gmix", "--data", csv)[1]
    assert "1.2 %" in run("info", "m.gmix", "--data", csv, "--calibrated")[1]


def test_version_and_config(run):
    assert run("--version")[:2] == (0, f"gaussmix {gaussmix.__version__}\n")
    code, out, _ = run("config")
    assert code == 0 and "backend" in out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "COMMAND"),
        (["fit"], "DATA"),
        (["fit", "absent.csv"], "there is no file absent.csv"),
        (["fit", "faithfull"], "no embedded data set of that name"),
        (["fit", "."], "does not end in one of .csv"),
        (["fit", "faithful", "-k", "0"], "components start at 1"),
        (["fit", "faithful", "-k", "3:1"], "a range goes upwards"),
        (["fit", "faithful", "-k", "two"], "neither a number of components nor a range"),
        (["fit", "faithful", "-k", "1,,2"], "nor a list such as 1,2,5"),
        (["fit", "faithful", "-k", "1,0"], "components start at 1"),
        (["fit", "faithful", "--covariance", "round"], "'round' is none of"),
        (["fit", "faithful", "--columns", "height"], "no column 'height'"),
        (["fit", "faithful", "--plot", "f.doc"], "does not end in a picture format"),
        (["fit", "faithful", "--plot", "no/f.png"], "there is no directory no"),
        (["fit", "faithful", "--out", "f.pkl"], "does not end in .gmix"),
        (["predict", "absent.gmix", "faithful"], "absent.gmix: No such file"),
        (["predict", "f.csv", "faithful"], "f.csv is not a model file"),
        (["predict", "m.gmix", "f.csv", "--columns", "1"], "has 1 columns, the model expects 2"),
        (["predict", "m.gmix", "f.csv", "--out", "f.csv"], "is the file that is read"),
        (["predict", "m.gmix", "f.csv", "--out", "no/p.csv"], "no/p.csv: No such file"),
        (["predict", "m.gmix", "f.csv", "--out", "p.xlsx"], "--out: p.xlsx does not end in one"),
        (["predict", "m.gmix", "f.csv", "--gate", "2", "--proba"], "Give one of them"),
        (["predict", "m.gmix", "f.csv", "--calibrated"], "Give --gate 2.5"),
        (["predict", "m.gmix", "f.csv", "--gate", "0"], "not a number above 0"),
        (["info", "m.gmix", "--gate", "2"], "--gate is about data. Give --data DATA"),
        (["info", "m.gmix", "--threads", "2"], "--threads is about data. Give --data DATA"),
        (["info", "m.gmix", "--data", "faithfull"], "no embedded data set of that name"),
        (["sample", "m.gmix", "--out", "s.parquet"], "one of .csv, .tsv, .txt, .npy"),
        (["sample", "m.gmix", "--out", "s"], "one of .csv, .tsv, .txt, .npy"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(run, model, csv, arguments, match):
    assert match in error_of(run(*arguments))


@pytest.mark.parametrize(
    ("command", "option", "value", "allowed"),
    [
        ("fit", "--seed", "-1", "an integer of at least 0"),
        ("fit", "--seed", "1.5", "an integer of at least 0"),
        ("fit", "--starts", "0", "an integer of at least 1"),
        ("fit", "--threads", "0", "an integer of at least 1"),
        ("fit", "--max-iter", "-1", "an integer of at least 0"),
        ("fit", "--tol", "nan", "a finite number of at least 0"),
        ("fit", "--tol", "inf", "a finite number of at least 0"),
        ("fit", "--tol", "small", "a finite number of at least 0"),
        ("fit", "--reg-covar", "-1", "a finite number of at least 0"),
        ("fit", "-k", "0", "components start at 1"),
        ("predict", "--threads", "0", "an integer of at least 1"),
        ("score", "--threads", "-2", "an integer of at least 1"),
        ("sample", "--seed", "-1", "an integer of at least 0"),
        ("sample", "-n", "-1", "an integer of at least 0"),
    ],
)
def test_values_out_of_range_are_refused_before_any_output(
    run, model, command, option, value, allowed
):
    files = {"fit": ["faithful"], "sample": ["m.gmix"]}.get(command, ["m.gmix", "faithful"])
    result = run(command, *files, option, value)
    line = error_of(result)
    assert result[1] == ""
    for text in (f"argument {option}: ", repr(value), allowed):
        assert text in line


@pytest.mark.parametrize("counts", ["300", "1:273", "1,2,300", "1:999999999999"])
def test_more_components_than_rows_are_refused_before_any_fitting(run, monkeypatch, counts):
    from gaussmix.cli import fit as fit_command

    monkeypatch.setattr(fit_command, "explore", None)
    result = run("fit", "faithful", "-k", counts)
    assert "-k asks for" in error_of(result) and "at most 272" in error_of(result)
    assert result[1] == ""


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a,b\n1,2\n3\n", "t.csv, line 3: 1 cells"),
        ("a,b\n1,2\n3,x\n", "t.csv, line 3, column 2 (b): 'x' is not a number"),
        ("a,b\n1,2\nnan,3\n", "t.csv, line 3, column 1 (a): missing value"),
        ("a\x1b[31m\n\x1b[2J\n", r"column 1 (a\x1b[31m): '\x1b[2J' is not a number"),
    ],
)
def test_errors_in_data_name_line_and_column(run, tmp_path, content, match):
    (tmp_path / "t.csv").write_text(content)
    assert match in error_of(run("fit", "t.csv", "-k", 1)).replace("\\\\", "\\")


def test_nothing_is_written_when_the_fit_fails(run, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,x\n")
    error_of(run("fit", "t.csv", "--out", "m.gmix", "--plot", "m.png"))
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_range_in_which_some_fail_keeps_the_others(run, tmp_path, monkeypatch):
    from gaussmix import DegenerateFitError
    from gaussmix.fitting import fit as fitting

    fit = fitting.run

    def failing(X, options, **others):
        if options.n_components == 2:
            raise DegenerateFitError("made to fail")
        return fit(X, options, **others)

    monkeypatch.setattr(fitting, "run", failing)
    code, out, err = run("fit", "faithful", "-k", "1:3", "--plot", "f.png", *QUICK)
    assert code == 0 and "* lowest BIC: K = 3" in out and "failed" in out
    assert err == "gaussmix: warning: K = 2: failed: made to fail\n"
    assert "made to fail" in error_of(run("fit", "faithful", "-k", "2"))


def test_ctrl_c_exits_with_130(run, monkeypatch):
    from gaussmix.cli import fit as fit_command

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_command, "explore", interrupted)
    code, _, err = run("fit", "faithful")
    assert (code, err) == (130, "gaussmix: interrupted\n")


def test_running_out_of_memory_is_an_error_not_a_traceback(run, monkeypatch):
    from gaussmix.cli import fit as fit_command

    def greedy(*arguments, **options):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(fit_command, "explore", greedy)
    assert "Unable to allocate 9 TiB" in error_of(run("fit", "faithful"))


# A job in a shell's background ignores SIGINT, and so do its children, tests and commands alike.
INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("gaussmix", run_name="__main__", alter_sys=True)
"""


def command(*arguments, program=("-m", "gaussmix"), **options):
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")
class TestProcess:
    def test_a_reader_that_goes_away_is_no_traceback(self, model, tmp_path):
        process = command("sample", tmp_path / "m.gmix", "-n", 200_000)
        process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        assert process.wait(60) == 141
        assert b"Traceback" not in stderr and b"Exception ignored" not in stderr

    def test_a_signal_in_a_long_fit_leaves_no_traceback(self, tmp_path):
        X = np.random.default_rng(0).normal(size=(200_000, 8))
        np.save(tmp_path / "x.npy", X)
        endless = ("-k", 20, "--tol", 0, "--max-iter", 10**6)
        process = command("fit", tmp_path / "x.npy", *endless, program=("-c", INTERRUPTIBLE))
        # The heading says that reading is over; the rest of the time is the fit's.
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        assert stderr.endswith(b"gaussmix: interrupted\n") and b"Traceback" not in stderr

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize("reader", ["gone", "full"])
    def test_a_stdout_that_fails_does_not_lose_the_fit(self, tmp_path, reader, unbuffered):
        if reader == "gone":
            first, last = os.pipe()
            os.close(first)
        elif os.path.exists("/dev/full"):
            last = os.open("/dev/full", os.O_WRONLY)
        else:
            pytest.skip("needs /dev/full")
        arguments = ["fit", "faithful", "-k", "2", *QUICK, "--out", "f.gmix", "--plot", "f.png"]
        process = subprocess.run(
            [sys.executable, "-m", "gaussmix", *arguments],
            stdout=last,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            timeout=60,
            check=False,
        )
        os.close(last)
        assert process.returncode == (141 if reader == "gone" else 2)
        if reader == "full":
            # Unbuffered, nothing is left by which to tell that it was this file.
            place = b"" if unbuffered else b"standard output: "
            assert process.stderr.startswith(b"gaussmix: error: " + place + b"No space left")
        assert b"Traceback" not in process.stderr and b"ignored" not in process.stderr
        assert persistence.load(tmp_path / "f.gmix").n_components == 2
        assert (tmp_path / "f.png").stat().st_size > 20_000

    def test_an_output_that_cannot_hold_letters_is_no_traceback(self, tmp_path):
        (tmp_path / "t.csv").write_text("größe\n1\n2\n", encoding="utf-8")
        process = command(
            "fit",
            tmp_path / "t.csv",
            "-k",
            1,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
        )
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0 and b"Traceback" not in stderr
        assert b"gr\\xf6\\xdfe" in stdout
