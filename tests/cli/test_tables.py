"""Data files: the numbers that stand in them, or the place of what is not one."""

import os
import sys

import numpy as np
import pytest

from gaussmix import InvalidInputError
from gaussmix.cli import tables


@pytest.fixture
def write(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n-3.5,4e2\n",
        "a,b\n1,2\n-3.5,4e2",
        "\ufeffa,b\r\n1,2\r\n\r\n-3.5,4e2\r\n\r\n",
        "a,b\r1,2\r-3.5,4e2\r",
        '"a","b"\n"1",2\n-3.5,"4e2"\n',
        " a , b \n 1 , 2\n-3.5 ,+400.\n",
        "a;b\n1;2\n-3.5;400\n",
        "a,b\n1,2\n-3.5,4e2\n".encode("utf-16"),
    ],
)
def test_common_dialects_give_the_same_table(write, content):
    table = tables.read(write(content))
    np.testing.assert_array_equal(table.X, [[1, 2], [-3.5, 400]])
    assert table.names == ("a", "b")
    assert table.X.dtype == np.float64


def test_a_first_line_of_numbers_is_a_row(write):
    table = tables.read(write("1,2\n3,4\n"))
    assert table.X.tolist() == [[1, 2], [3, 4]]
    assert table.names is None


def test_tsv_splits_at_tabs(write):
    table = tables.read(write("a b\tc\n1\t2\n", "t.tsv"))
    assert table.names == ("a b", "c")
    assert table.X.tolist() == [[1, 2]]


def test_numbers_read_back_to_the_bit_over_several_blocks(write):
    X = np.random.default_rng(0).normal(size=(60_000, 5)) * 10.0 ** np.arange(-150, 151, 75)
    text = "\n".join(",".join(map(repr, row)) for row in X.tolist())
    assert len(text) > 5 << 20
    np.testing.assert_array_equal(tables.read(write(text)).X, X)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(["b"], [[2], [5]]), (["3", "a"], [[3, 1], [6, 4]]), ([2, 1], [[2, 1], [5, 4]])],
)
def test_columns_are_chosen_by_name_or_number(write, columns, expected):
    assert tables.read(write("a,b,c\n1,2,3\n4,5,6\n"), columns=columns).X.tolist() == expected


def test_columns_that_are_not_chosen_may_hold_anything(write):
    path = write('a,what,b\n1,"x, y",2\n3,,4\n5,caf\u00e9,6\n')
    assert tables.read(path, columns=["b", "a"]).X.tolist() == [[2, 1], [4, 3], [6, 5]]


def test_names_of_a_model_find_their_columns_where_there_are_names(write):
    named = tables.read(write("c,a,b\n0,1,2\n"), if_named=["a", "b"])
    assert (named.X.tolist(), named.names) == ([[1, 2]], ("a", "b"))
    assert tables.read(write("1,2\n"), if_named=["a", "b"]).X.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 cells, but line 1 has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells, but line 1 has 2"),
        ("a,b\n1,2\n3,x\n", r"line 3, column 2 \(b\): 'x' is not a number.*--columns 1"),
        ("a,b\n1,\n", r"line 2, column 2 \(b\): missing value"),
        ("a,b\n1,NaN\n", r"line 2, column 2 \(b\): missing value \('NaN'\)"),
        ("a,b\n-inf,1\n", r"line 2, column 1 \(a\): '-inf' is infinite"),
        ("h\n4e492493924924", r"line 2, column 1 \(h\): '4e492493924924' is infinite"),
        ("a\n1_000\n", "line 2, column 1 .*not a number"),
        ("a\n0x10\n", "line 2, column 1 .*not a number"),
        ("a;b\n1;2,5\n", r"line 2, column 2 \(b\): '2,5' has a decimal comma"),
        ("5.1,setosa\n4.9,setosa\n", "line 1, column 2: .*A header is a first line without"),
        ("NA,NA\n1,2\n", "line 1, column 1: missing value"),
        ("a\n1\n\n2\n", r"line 3, column 1 \(a\): missing value"),
        ('a,b\n1,2\n"3,4\n', "line 3: unexpected end of data.*quotes"),
        ('a,b\n"3"x,4\n', "line 2: .*quotes"),
        (b"a,b\n1,2\n3,\x004\n", "line 3: a NUL character"),
        ("a,b\n1,\0\n".encode("utf-16"), "line 2: a NUL character.*or as UTF-16 if"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1: a NUL character.*a byte-order mark"),
        ("a,a\n1,2\n", "columns 1 and 2 are both named 'a'"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "has a header but no rows"),
        ("x" * (1 << 18), "line 1: field larger than"),
        ("a\n" + "1" * ((1 << 24) + 10), "line 2: longer than 16777216"),
    ],
)
def test_text_errors_name_the_place(write, content, match):
    path = write(content)
    with pytest.raises(InvalidInputError, match=match) as caught:
        tables.read(path)
    assert os.fspath(path) in str(caught.value)


def test_the_line_is_right_far_into_the_file(write):
    lines = ["a,b"] + ["1.25,2.5"] * 700_000
    lines[600_001] = "1.25,oops"
    with pytest.raises(InvalidInputError, match=r"line 600002, column 2 \(b\): 'oops'"):
        tables.read(write("\n".join(lines)))


def test_too_many_cells_are_seen_though_the_chosen_columns_are_fine(write):
    with pytest.raises(InvalidInputError, match="line 3: 3 cells"):
        tables.read(write("a,b\n1,2\n1,234,5\n"), columns=["a"])


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (["z"], "no column 'z'. Choose from: a, b, or numbers 1 to 2"),
        ([0], "no column '0'"),
        ([3], "no column '3'"),
        (["9" * 5000], "no column '9999"),
        (["a", 1], "column 1 is chosen twice"),
        ([], "no column is chosen"),
    ],
)
def test_columns_that_do_not_exist_are_named(write, columns, match):
    with pytest.raises(InvalidInputError, match=match) as caught:
        tables.read(write("a,b\n1,2\n"), columns=columns)
    assert len(str(caught.value)) < 400


def test_an_ambiguous_name_is_refused_and_a_number_settles_it(write):
    path = write("a,a\n1,2\n")
    with pytest.raises(InvalidInputError, match="stands at columns 1 and 2"):
        tables.read(path, columns=["a"])
    assert tables.read(path, columns=[2]).X.tolist() == [[2]]


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i2", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_number_type_is_read(tmp_path, dtype, order):
    X = np.array([[0, 1], [1, 0], [1, 1]], dtype=dtype, order=order)
    np.save(tmp_path / "t.npy", X)
    table = tables.read(tmp_path / "t.npy")
    np.testing.assert_array_equal(table.X, X)
    assert table.X.dtype == (np.float32 if dtype == "f4" else np.float64)


def test_npy_with_one_dimension_is_one_column(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(4.0))
    assert tables.read(tmp_path / "t.npy").X.shape == (4, 1)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.array([[1.0, np.nan]]), "row 1, column 2: missing value"),
        (np.array([[1.0], [-np.inf]]), "row 2, column 1: -inf"),
        (np.array([{}], dtype=object), "would have to be unpickled"),
        (np.array(["a"]), "not numbers"),
        (np.array([1j]), "not numbers"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((0, 2)), r"shape \(0, 2\)"),
    ],
)
def test_npy_that_is_no_table_is_refused(tmp_path, array, match):
    np.save(tmp_path / "t.npy", array)
    with pytest.raises(InvalidInputError, match=match):
        tables.read(tmp_path / "t.npy")


@pytest.mark.parametrize("length", [0, 5, 60, 128, 150])
def test_truncated_npy_is_refused(tmp_path, length):
    path = tmp_path / "t.npy"
    np.save(path, np.ones((10, 3)))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InvalidInputError, match=r"truncated|not an array in NumPy's format"):
        tables.read(path)


def test_npz_with_one_array_needs_no_key(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", anything=np.ones((3, 2)))
    assert tables.read(tmp_path / "t.npz").X.shape == (3, 2)


def test_npz_with_several_arrays_asks_for_the_key(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, a=np.ones((3, 2)), b=np.zeros((4, 1)))
    with pytest.raises(InvalidInputError, match=r"several arrays\. Choose with --key: a, b"):
        tables.read(path)
    assert tables.read(path, key="b").X.shape == (4, 1)
    with pytest.raises(InvalidInputError, match="no array 'c'"):
        tables.read(path, key="c")


def test_damaged_npz_is_refused(tmp_path):
    path = tmp_path / "t.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).normal(size=(300, 2)))
    content = bytearray(path.read_bytes())
    for position in range(200, len(content) - 200, 97):
        content[position] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(InvalidInputError):
            tables.read(path)
        content[position] ^= 0xFF


def test_an_npz_bomb_is_refused_before_it_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_INFLATED_CAP", 1 << 16)
    np.savez_compressed(tmp_path / "t.npz", a=np.zeros((1 << 18, 1)))
    with pytest.raises(InvalidInputError, match="would grow from"):
        tables.read(tmp_path / "t.npz")


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    return pandas.DataFrame(
        {"a": [1.5, 2.5, 3.5], "b": np.array([1, 2, 3], dtype="i2"), "t": ["x", "y", "z"]}
    )


def test_parquet_columns_are_read_by_name(tmp_path, frame):
    frame.to_parquet(tmp_path / "t.parquet")
    table = tables.read(tmp_path / "t.parquet", columns=["b", "a"])
    assert table.X.tolist() == [[1, 1.5], [2, 2.5], [3, 3.5]]
    assert table.names == ("b", "a")


def test_parquet_errors_name_the_place(tmp_path, frame):
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"column 3 \(t\) holds .*string, not numbers"):
        tables.read(path)
    frame["a"] = [1.0, None, 3.0]
    frame.to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"row 2, column 1 \(a\): missing value"):
        tables.read(path, columns=["a"])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InvalidInputError, match=r"is not a readable \.parquet file"):
        tables.read(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInputError, match=r'pip install "gaussmix\[cli\]"'):
        tables.read(tmp_path / "t.parquet")


def test_other_kinds_of_files_are_refused(tmp_path, write):
    with pytest.raises(InvalidInputError, match="does not end in one of"):
        tables.read(write("1", "t.txt"))
    with pytest.raises(InvalidInputError, match=r"for \.npz files"):
        tables.read(write("1"), key="a")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(InvalidInputError, match="is a directory"):
        tables.read(tmp_path / "d.csv")
    with pytest.raises(FileNotFoundError):
        tables.read(tmp_path / "absent")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "p.csv")
        with pytest.raises(InvalidInputError, match="not a regular file"):
            tables.read(tmp_path / "p.csv")


def test_the_fast_and_the_exact_path_agree_on_every_cell(write):
    cells = ["1", " 2.5 ", "-3e5", ".5", "5.", "+1", "007", "1e-400"]
    cells += ["", "nan", "x", "1_0", "inf", "1e999", "0x1", "1e", "e5", "--1", "1 2", "１", "."]
    for cell in cells:
        outcomes = []
        for first in ("7,7", '"7",7'):  # a quote anywhere in a block turns the fast path off
            path = write(f"a,b\n{first}\n{cell},7\n")
            try:
                outcomes.append(tables.read(path).X.tolist())
            except InvalidInputError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1], cell
        assert isinstance(outcomes[0], list) == (cells.index(cell) < 8), cell


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npy"])
def test_written_tables_read_back_to_the_bit(tmp_path, suffix):
    X = np.random.default_rng(0).normal(size=(7, 2))
    labels = np.arange(7)
    tables.write(tmp_path / f"t{suffix}", ["a", "b", "z"], [X[:4], X[4:]], labels)
    table = tables.read(tmp_path / f"t{suffix}")
    np.testing.assert_array_equal(table.X, np.column_stack([X, labels]))
    assert table.names == (None if suffix == ".npy" else ("a", "b", "z"))


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.txt", ","), ("t.TSV", "\t")])
def test_the_suffix_chooses_the_delimiter(tmp_path, name, delimiter):
    tables.write(tmp_path / name, ["a", "b"], [np.array([[1.5, 2.0]])])
    assert (tmp_path / name).read_text() == f"a{delimiter}b\n1.5{delimiter}2.0\n"


def test_no_rows_are_written_as_an_empty_array(tmp_path):
    tables.write(tmp_path / "t.npy", ["a", "b", "z"], [], np.empty(0, int))
    assert np.load(tmp_path / "t.npy").shape == (0, 3)


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet", "t"])
def test_other_kinds_of_files_are_not_written(tmp_path, name):
    with pytest.raises(InvalidInputError, match=r"one of \.csv, \.tsv, \.txt, \.npy"):
        tables.write(tmp_path / name, ["a"], [np.ones((1, 1))])
    assert not os.listdir(tmp_path)
