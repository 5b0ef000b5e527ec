"""Model files: the same bits back, nothing half-written, and nothing believed."""

import io
import os
import pickle
import stat
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

import gaussmix as gm
import model_files
from gaussmix import InvalidInputError, Mixture, ModelFileError, persistence
from gaussmix.files import container
from model_files import changed, frame, parts, tiled

MEANS = np.array([[0.1, 1e-30, 3.0], [4.0, 5e20, 6.0]])
COVARIANCES = {
    "full": np.stack([np.eye(3), [[2, 0.3, 0], [0.3, 1, 0], [0, 0, 1 / 3]]]),
    "tied": np.array([[2, 0.3, 0], [0.3, 1, 0], [0, 0, 1 / 3]]),
    "diag": np.array([[0.1, 0.2, 0.3], [1 / 3, 1e-9, 1e9]]),
    "spherical": np.array([0.1, 1 / 3]),
}


def make(covariance_type="full"):
    return Mixture([0.3, 0.7], MEANS, COVARIANCES[covariance_type], covariance_type)


def gathered(covariance_type="full"):
    return make(covariance_type).statistics(MEANS + 0.5, [1.0, 2.5])


def same_statistics(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in gm.SufficientStatistics.__slots__
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gmix"


@pytest.fixture
def saved(path):
    make().save(path, feature_names=["a", "b", "ç d"])
    return path


def refuse(path, match):
    with pytest.raises(ModelFileError, match=match) as caught:
        gm.load(path)
    assert os.fspath(path) in str(caught.value)


# -- what comes back


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_loading_a_mixture_gives_the_same_bits(path, covariance_type):
    mixture = make(covariance_type)
    mixture.save(path)
    loaded = gm.load(path)
    assert loaded == mixture
    assert loaded.covariance_type == covariance_type
    np.testing.assert_array_equal(loaded.log_joint(MEANS), mixture.log_joint(MEANS))


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_a_fitted_mixture_scores_to_the_bit_as_before(path, covariance_type):
    X = gm.datasets.load("faithful").X
    mixture = gm.fit(X, 3, covariance_type=covariance_type, seed=0).mixture
    mixture.save(path)
    np.testing.assert_array_equal(gm.load(path).log_joint(X), mixture.log_joint(X))


def test_many_weights_keep_their_bits(path):
    weights = np.random.default_rng(0).dirichlet(np.ones(500))
    mixture = Mixture(weights, np.arange(500.0), np.ones(500), "spherical")
    mixture.save(path)
    assert gm.load(path) == mixture


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_loading_statistics_gives_the_same_bits(path, covariance_type):
    statistics = gathered(covariance_type)
    statistics.save(path)
    loaded = gm.load(path)
    assert same_statistics(loaded, statistics)
    assert same_statistics(loaded + loaded, statistics + statistics)


def test_statistics_of_hard_labels_keep_their_label_sum(path):
    X = gm.datasets.load("faithful").X
    statistics = gm.fit(X, 2, algorithm="hard", seed=0).statistics
    assert statistics.label_sum > 1 << 53  # more than a float holds
    statistics.save(path)
    assert same_statistics(gm.load(path), statistics)


def test_save_is_also_a_function(path):
    gm.save(make(), path, feature_names=["a", "b", "c"])
    assert gm.load(path) == make()
    gm.save(gathered(), path)
    assert same_statistics(gm.load(path), gathered())


def test_feature_names_come_back(saved):
    assert persistence.load_with_names(saved).feature_names == ("a", "b", "ç d")


def test_as_many_feature_names_as_a_header_could_not_hold(path):
    names = [f"a name of some length, number {i}" for i in range(5000)]
    mixture = Mixture([1.0], np.zeros((1, 5000)), np.ones(1), "spherical")
    mixture.save(path, feature_names=names)
    assert persistence.load_with_names(path).feature_names == tuple(names)


def test_without_feature_names_none_come_back(path):
    make().save(path)
    assert persistence.load_with_names(path).feature_names is None


def test_equal_mixtures_give_equal_files(saved, tmp_path):
    again = tmp_path / "again.gmix"
    gm.load(saved).save(again, feature_names=["a", "b", "ç d"])
    assert again.read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_a_reader_made_from_the_specification_reads_the_file(path, covariance_type):
    mixture = make(covariance_type)
    mixture.save(path)
    kind, fields, arrays = model_files.read(path.read_bytes())
    assert (kind, fields) == ("mixture", {"covariance_type": covariance_type})
    assert arrays == {
        "weights": mixture.weights.tolist(),
        "means": mixture.means.tolist(),
        "covariances": mixture.covariances.tolist(),
    }


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_a_file_made_from_the_specification_is_read(path, covariance_type):
    mixture = make(covariance_type)
    arrays = {name: getattr(mixture, name) for name in ("weights", "means", "covariances")}
    path.write_bytes(frame(*tiled("mixture", {"covariance_type": covariance_type}, arrays)))
    assert gm.load(path) == mixture


# -- writing


def test_a_fault_anywhere_in_saving_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()
    for name in ("fsync", "replace", "open", "fchmod"):
        for error in (OSError(28, "No space left on device"), OSError(5, "Input/output error")):
            with monkeypatch.context() as patch:

                def fail(*arguments, error=error, **keywords):
                    raise error

                patch.setattr(os, name, fail)
                with pytest.raises(OSError, match=f"{error.strerror}.*{saved.name}"):
                    make("diag").save(saved)
            assert saved.read_bytes() == before
            assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is full")
def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before, open_file = saved.read_bytes(), os.open

    def full(path, flags, *mode):
        descriptor = open_file(path, flags, *mode)
        if flags & os.O_EXCL:
            os.dup2(open_file("/dev/full", os.O_WRONLY), descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match=f"No space left.*{saved.name}"):
        make("diag").save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_process_killed_in_saving_leaves_the_old_file(saved):
    code = """
        import os, signal, sys
        import gaussmix as gm
        os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        gm.Mixture([1.0], [0.0], [1.0], "spherical").save(sys.argv[1])
    """
    before = saved.read_bytes()
    code = "\n".join(line.strip() for line in code.splitlines())
    assert subprocess.run([sys.executable, "-c", code, saved]).returncode == -9
    assert saved.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="permission bits and symbolic links")
def test_saving_follows_a_link_and_obeys_the_umask(tmp_path):
    target, link = tmp_path / "target.gmix", tmp_path / "link.gmix"
    link.symlink_to(target)
    old = os.umask(0o027)
    try:
        make().save(link)
    finally:
        os.umask(old)
    assert link.is_symlink() and gm.load(target) == make()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_saving_keeps_the_permissions_of_the_file_it_replaces(saved):
    saved.chmod(0o600)
    make("diag").save(saved)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_the_longest_name_of_a_file_will_do(tmp_path):
    path = tmp_path / ("m" * 250 + ".gmix")
    make().save(path)
    assert gm.load(path) == make()


@pytest.mark.parametrize("path", ["", b""])
def test_saving_to_an_empty_path_says_that_it_is_empty(path):
    with pytest.raises(InvalidInputError, match="path is empty"):
        make().save(path)


@pytest.mark.parametrize("path", ["", b""])
def test_loading_from_an_empty_path_says_that_it_is_empty(path):
    with pytest.raises(InvalidInputError, match="path is empty"):
        gm.load(path)


@pytest.mark.parametrize(
    ("name", "why"), [("there/", "ends with '/'"), ("a\0b", "holds a null character")]
)
def test_a_path_that_names_no_file_is_refused_by_all(tmp_path, name, why):
    path = f"{tmp_path}/{name}"
    for call in (
        lambda: make().save(path),
        lambda: gm.load(path),
        lambda: gm.fit(np.arange(9.0), 1, checkpoint=path),
        lambda: gm.fit(np.arange(9.0), 1, resume=path),
    ):
        with pytest.raises(InvalidInputError, match=why):
            call()
    assert not list(tmp_path.iterdir())


def test_saving_replaces_nothing_but_a_regular_file(tmp_path):
    with pytest.raises(InvalidInputError, match="is not a regular file"):
        make().save(tmp_path)
    if os.path.exists(os.devnull) and os.name == "posix":
        with pytest.raises(InvalidInputError, match="is not a regular file"):
            make().save(os.devnull)


@pytest.mark.parametrize(
    ("feature_names", "match"),
    [
        (["a"], "holds 1 names, the mixture has 3"),
        ("abc", "holds 1 names"),
        (["a", "b", ""], r"feature_names\[2\]"),
        (["a", "b\0", "c"], r"feature_names\[1\]"),
        (["a", "b", 3], r"feature_names\[2\]"),
        (3, "feature_names is 3"),
        (["a", "\ud800", "c"], "lone surrogate"),
    ],
)
def test_save_refuses_what_it_could_not_read_back(tmp_path, feature_names, match):
    with pytest.raises(InvalidInputError, match=match):
        make().save(tmp_path / "m.gmix", feature_names=feature_names)
    assert os.listdir(tmp_path) == []


def test_save_refuses_what_has_no_form_in_a_file(path):
    with pytest.raises(InvalidInputError, match="which has no form in a model file"):
        gm.save({}, path)


# -- reading


class Exploding:
    def __reduce__(self):
        return os.abort, ()


def test_a_pickle_is_refused_and_never_opened(path):
    path.write_bytes(pickle.dumps(Exploding()))
    refuse(path, "is not a model file")
    array = np.empty(1, dtype=object)
    array[0] = Exploding()
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    path.write_bytes(stream.getvalue())
    refuse(path, "is not a model file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.npy", stream.getvalue())
    refuse(path, "is not a model file")


def test_every_truncation_and_every_flipped_bit_of_three_files_is_refused(tmp_path):
    # The reader of bytes, which the reader of files calls after it has read them all.
    small = Mixture([1.0], [0.0], [1.0], "spherical")
    models = [small, make("tied"), small.statistics([1.0, 2.0])]
    for number, model in enumerate(models):
        gm.save(model, tmp_path / f"{number}.gmix")
        content = (tmp_path / f"{number}.gmix").read_bytes()
        for length in range(len(content)):
            with pytest.raises(ModelFileError):
                container.unpack(content[:length])
        flipped = bytearray(content)
        for position in range(len(content)):
            for bit in range(8):
                flipped[position] ^= 1 << bit
                try:
                    container.unpack(bytes(flipped))
                except ModelFileError:
                    flipped[position] ^= 1 << bit
                else:
                    pytest.fail(f"bit {bit} of byte {position}")


def test_some_truncations_and_flips_are_refused_by_load_itself(saved):
    content = saved.read_bytes()
    for position in range(0, len(content), 29):
        saved.write_bytes(content[:position])
        refuse(saved, "is truncated|is not a model file")
        flipped = bytearray(content)
        flipped[position] ^= 16
        saved.write_bytes(flipped)
        refuse(saved, "checksum|is truncated|after its end|is not a model file")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"weights": np.array([0.3, np.nan])}, r"weights\[1\] is nan"),
        ({"means": np.where(MEANS > 1, np.inf, MEANS)}, r"means\[0, 2\] is inf"),
        ({"weights": np.array([-0.3, 1.3])}, r"valid mixture: weights\[0\]"),
        ({"weights": np.array([0.3, 0.8])}, "weights sum to 1.1"),
        ({"weights": np.array([0.3, 0.7 + 1e-9])}, "weights .* summing to 1"),
        ({"weights": np.array([0.3, 0.3, 0.4])}, "valid mixture: weights"),
        ({"weights": np.empty(0)}, "valid mixture: weights"),
        ({"means": np.empty((0, 3)), "weights": np.empty(0)}, "means has shape"),
        ({"means": np.empty((2, 0))}, "means has shape|feature_names"),
        ({"means": MEANS.ravel()}, "means has shape"),
        ({"covariances": COVARIANCES["full"] - 2 * np.eye(3)}, "covariance of component 0"),
        (
            {"covariances": np.stack([np.eye(3), np.triu(np.ones((3, 3)))])},
            "covariance of component 1 is not symmetric",
        ),
        ({"covariances": np.eye(3)}, "covariances has shape"),
        ({"covariances": np.full((2, 3, 3), np.inf)}, r"covariances\[0, 0, 0\] is inf"),
        ({"means": MEANS.astype("<f4")}, "means is float32, not float64"),
        ({"means": np.arange(6).reshape(2, 3)}, "means is int64, not float64"),
        ({"extra": np.array([1], np.uint8)}, "the array 'extra' is unknown"),
        ({"covariances": None}, "the array 'covariances' is missing"),
        ({"feature_names": np.frombuffer(b'{"names":["a"]}', np.uint8)}, "holds 1 names"),
        ({"feature_names": np.frombuffer(b'{"names":["a","b",3]}', np.uint8)}, "not a string"),
        ({"feature_names": np.frombuffer(b'{"name":["a","b","c"]}', np.uint8)}, "'names'"),
        ({"feature_names": np.frombuffer(b'{"names":"abc"}', np.uint8)}, "'names'"),
        ({"feature_names": np.frombuffer(b'["a","b","c"]', np.uint8)}, "not a JSON object"),
        ({"feature_names": np.array([[1, 2]], np.uint8)}, "text has one dimension"),
        ({"feature_names": np.array([1.0])}, "feature_names is float64, not uint8"),
    ],
)
def test_a_wrong_mixture_is_named(saved, arrays, match):
    saved.write_bytes(changed(saved.read_bytes(), **arrays))
    refuse(saved, match)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ({"fields": {"covariance_type": "round"}}, "covariance_type"),
        ({"fields": {"covariance_type": ["full"]}}, r"covariance_type is \['full'\], not str"),
        ({"fields": {}}, "the field covariance_type is missing"),
        ({"fields": {"covariance_type": "full", "x": 1}}, "the field 'x' is unknown"),
        ({"kind": "forest"}, "holds a 'forest', which this gaussmix does not know"),
        ({"kind": "statistics"}, "does not hold valid statistics"),
        ({"kind": "__init__"}, "does not know"),
        ({"kind": "\x1b[31m" + "x" * 5000}, r"holds a '\\x1b\[31mx{40,50}\.\.\.'?, which"),
    ],
)
def test_wrong_fields_are_named(saved, header, match):
    found, payload = parts(saved.read_bytes())
    saved.write_bytes(frame(found | header, payload))
    refuse(saved, match)


@pytest.mark.parametrize(
    ("covariance_type", "covariances", "match"),
    [
        ("diag", np.array([[1.0, 1, 1], [1, -1, 1]]), r"covariances\[1, 1\] is -1"),
        ("diag", np.array([[1.0, 1, 1], [1, 0, 1]]), r"covariances\[1, 1\] is 0"),
        ("spherical", np.array([1.0, -0.0]), r"covariances\[1\] is -0"),
        ("spherical", np.array([[1.0], [1.0]]), "covariances has shape"),
        ("tied", -np.eye(3), "the covariance is not positive definite"),
        ("tied", np.ones((3, 3)), "the covariance is not positive definite"),
    ],
)
def test_wrong_covariances_of_other_types_are_named(path, covariance_type, covariances, match):
    make(covariance_type).save(path)
    path.write_bytes(changed(path.read_bytes(), covariances=covariances))
    refuse(path, match)


def test_one_feature_may_not_hide_its_dimension(path):
    Mixture([1.0], [0.0], [1.0], "full").save(path)
    path.write_bytes(changed(path.read_bytes(), covariances=np.array([1.0])))
    refuse(path, r"covariances of shape \(1,\) is not in the form")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"mass": np.array([1.0, np.nan])}, r"mass\[1\] is nan"),
        ({"mass": np.array([1.0, -1.0])}, r"mass\[1\] is -1, below 0"),
        ({"mass": np.ones(3)}, "mass has shape"),
        ({"first": np.ones((2, 2))}, "first has shape"),
        ({"shift": np.ones(6)}, "shift has shape"),
        ({"second": np.ones((2, 3))}, "second has shape"),
        ({"second": np.tile(np.triu(np.ones((3, 3))), (2, 1, 1))}, r"second\[0, 0, 1\] is not sy"),
        ({"sums": np.array([0.0, 0.0, 0.0, -1.0])}, r"weight\[0\] is -1"),
        ({"sums": np.array([0.0, np.inf, 0.0, 1.0])}, r"sums\[1\] is inf"),
        ({"sums": np.zeros(3)}, "sums has shape"),
        ({"counts": np.zeros(3, "<u8")}, "counts has shape"),
        ({"counts": np.zeros(2, "<i8")}, "counts is int64, not uint64"),
        ({"counts": None}, "the array 'counts' is missing"),
        ({"weights": np.ones(2)}, "the array 'weights' is unknown"),
    ],
)
def test_wrong_statistics_are_named(path, arrays, match):
    gathered().save(path)
    path.write_bytes(changed(path.read_bytes(), **arrays))
    refuse(path, match)


def test_a_command_that_needs_a_mixture_names_what_there_is(path):
    gathered().save(path)
    with pytest.raises(ModelFileError, match="holds statistics, not a mixture"):
        persistence.load_with_names(path)


def test_directories_and_other_files_are_refused(tmp_path):
    refuse(tmp_path, "is a directory")
    (tmp_path / "empty.gmix").write_bytes(b"")
    refuse(tmp_path / "empty.gmix", "is not a model file: it is empty")
    with pytest.raises(FileNotFoundError):
        gm.load(tmp_path / "absent.gmix")


@pytest.mark.skipif(os.name != "posix", reason="devices and named pipes")
def test_pipes_and_devices_are_refused_without_waiting(path):
    os.mkfifo(path)
    refuse(path, "is not a regular file")
    for device in ("/dev/zero", "/dev/null"):
        if os.path.exists(device):
            refuse(device, "is not a regular file")
    if os.path.exists("/proc/self/environ"):  # a regular file, it says, of no bytes
        refuse("/proc/self/environ", "is not a model file")


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_link_is_followed_to_a_regular_file_only(saved, tmp_path):
    link = tmp_path / "link.gmix"
    link.symlink_to(saved)
    assert gm.load(link) == make()
    link.unlink()
    link.symlink_to("/dev/zero")
    refuse(link, "is not a regular file")


def test_a_huge_sparse_file_is_refused_unread(path):
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)
    refuse(path, "is not a model file")
    header = b"\x89GMIX\r\n\x1a" + (1).to_bytes(4, "little") + (8).to_bytes(4, "little")
    with open(path, "r+b") as stream:
        stream.write(header + (1 << 40).to_bytes(8, "little"))
    refuse(path, "has 1099511627776 bytes, at most 1073741824 are read")


def test_max_bytes_sets_the_limit(saved):
    size = saved.stat().st_size
    assert gm.load(saved, max_bytes=size) == make()
    with pytest.raises(ModelFileError, match=f"has {size} bytes, at most {size - 1}"):
        gm.load(saved, max_bytes=size - 1)
    with pytest.raises(InvalidInputError, match="max_bytes is -1"):
        gm.load(saved, max_bytes=-1)


def test_a_file_that_changes_while_it_is_read_is_refused(saved, monkeypatch):
    fstat = os.fstat

    def then_grown(descriptor):
        status = fstat(descriptor)
        with open(saved, "ab") as stream:
            stream.write(b"more")
        return status

    monkeypatch.setattr(os, "fstat", then_grown)
    refuse(saved, "changed while it was read")


def test_many_threads_load_at_once(tmp_path):
    mixtures = [make(name) for name in COVARIANCES]
    for number, mixture in enumerate(mixtures):
        mixture.save(tmp_path / f"{number}.gmix")
    wrong = []

    def work(number):
        for i in range(20):
            at = (number + i) % len(mixtures)
            if gm.load(tmp_path / f"{at}.gmix") != mixtures[at]:
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_folder_that_is_not_there_is_an_error_with_the_name_that_was_given(tmp_path):
    path = tmp_path / "absent" / "model.gmix"
    with pytest.raises(FileNotFoundError) as caught:
        gm.Mixture([1.0], [0.0], [1.0], "spherical").save(path)
    assert caught.value.filename == str(path)
