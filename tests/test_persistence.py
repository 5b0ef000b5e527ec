"""Model files: the same bits back, nothing half-written, and nothing believed."""

import io
import os
import pickle
import stat
import zipfile

import numpy as np
import pytest

from gaussmix import InvalidInputError, Mixture, ModelFileError, persistence

MEANS = np.array([[0.1, 1e-30, 3.0], [4.0, 5e20, 6.0]])
COVARIANCES = {
    "full": np.stack([np.eye(3), [[2, 0.3, 0], [0.3, 1, 0], [0, 0, 1 / 3]]]),
    "tied": np.array([[2, 0.3, 0], [0.3, 1, 0], [0, 0, 1 / 3]]),
    "diag": np.array([[0.1, 0.2, 0.3], [1 / 3, 1e-9, 1e9]]),
    "spherical": np.array([0.1, 1 / 3]),
}


def make(covariance_type="full"):
    return Mixture([0.3, 0.7], MEANS, COVARIANCES[covariance_type], covariance_type)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


@pytest.fixture
def saved(path):
    persistence.save(make(), path, feature_names=["a", "b", "ç d"])
    return path


def arrays_of(path):
    with np.load(path) as archive:
        return dict(archive)


def refuse(path, match):
    with pytest.raises(ModelFileError, match=match) as caught:
        persistence.load(path)
    assert os.fspath(path) in str(caught.value)


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_loading_gives_the_same_bits(path, covariance_type):
    mixture = make(covariance_type)
    persistence.save(mixture, path)
    loaded = persistence.load(path)
    assert loaded == mixture
    assert loaded.covariance_type == covariance_type
    np.testing.assert_array_equal(loaded.logpdf(MEANS), mixture.logpdf(MEANS))


def test_many_weights_keep_their_bits(path):
    weights = np.random.default_rng(0).dirichlet(np.ones(500))
    mixture = Mixture(weights, np.arange(500.0), np.ones(500), "spherical")
    persistence.save(mixture, path)
    assert persistence.load(path) == mixture


def test_feature_names_come_back(saved):
    assert persistence.load_with_names(saved).feature_names == ("a", "b", "ç d")


def test_without_feature_names_none_come_back(path):
    persistence.save(make(), path)
    assert persistence.load_with_names(path).feature_names is None


def test_equal_mixtures_give_equal_files(saved, tmp_path):
    again = tmp_path / "again.npz"
    persistence.save(persistence.load(saved), again, feature_names=["a", "b", "ç d"])
    assert again.read_bytes() == saved.read_bytes()


def test_members_are_stored_without_compression(saved):
    with zipfile.ZipFile(saved) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_failed_save_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        persistence.save(make("diag"), saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(os.name != "posix", reason="permission bits and symbolic links")
def test_saving_follows_a_link_and_obeys_the_umask(tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    old = os.umask(0o027)
    try:
        persistence.save(make(), link)
    finally:
        os.umask(old)
    assert link.is_symlink() and persistence.load(target) == make()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("model.pkl", None), "does not end in .npz"),
        (("model.npz", ["a"]), "holds 1 names, the mixture has 3"),
        (("model.npz", "abc"), "holds 1 names"),
        (("model.npz", ["a", "b", ""]), r"feature_names\[2\]"),
        (("model.npz", ["a", "b\0", "c"]), r"feature_names\[1\]"),
        (("model.npz", ["a", "b", 3]), r"feature_names\[2\]"),
    ],
)
def test_save_refuses_what_it_could_not_read_back(tmp_path, arguments, match):
    name, feature_names = arguments
    with pytest.raises(InvalidInputError, match=match):
        persistence.save(make(), tmp_path / name, feature_names=feature_names)
    assert os.listdir(tmp_path) == []


def test_save_refuses_what_is_not_a_mixture(path):
    with pytest.raises(InvalidInputError, match="is a dict, not a Mixture"):
        persistence.save({}, path)


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
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("format", "version", "covariance_type", "weights", "means", "covariances"):
            archive.writestr(f"{name}.npy", stream.getvalue())
    refuse(path, "is not an array of float64, int64 or text")


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        refuse(saved, "truncated|not a model file")


def test_every_flipped_bit_is_refused_or_harmless(saved):
    content = bytearray(saved.read_bytes())
    expected = persistence.load_with_names(saved)
    refused = 0
    # One bit of each byte, a different one from byte to byte: all eight would take a minute.
    for position in range(len(content)):
        content[position] ^= 1 << position % 8
        saved.write_bytes(content)
        try:
            assert persistence.load_with_names(saved) == expected
        except ModelFileError:
            refused += 1
        content[position] ^= 1 << position % 8
    # What may pass is the archive's own padding: dates, attributes, versions.
    assert refused > 0.8 * len(content)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"weights": np.array([0.3, np.nan])}, r"weights\[1\] is nan"),
        ({"means": np.where(MEANS > 1, np.inf, MEANS)}, r"means\[0, 2\] is inf"),
        ({"weights": np.array([-0.3, 1.3])}, r"valid mixture: weights\[0\]"),
        ({"weights": np.array([0.3, 0.8])}, "weights sum to 1.1"),
        ({"weights": np.array([0.3, 0.3, 0.4])}, "valid mixture: weights"),
        ({"covariances": COVARIANCES["full"] - 2 * np.eye(3)}, "covariance of component 0"),
        (
            {"covariances": np.stack([np.eye(3), np.triu(np.ones((3, 3)))])},
            "covariance of component 1",
        ),
        ({"covariances": np.eye(3)}, "covariances has shape"),
        ({"means": MEANS.astype("f4")}, "'means' is not an array of float64"),
        ({"means": MEANS.astype(">f8")}, "'means' is not an array of float64"),
        ({"means": np.arange(6).reshape(2, 3)}, "means is not float64"),
        ({"covariance_type": np.array("round")}, "covariance_type"),
        ({"covariance_type": np.array(["full"])}, "covariance_type is not a single text"),
        ({"format": np.array("other")}, "format tag"),
        ({"version": np.array(0)}, "not a positive integer"),
        ({"version": np.array(1.0)}, "not a positive integer"),
        ({"feature_names": np.array(["a"])}, "feature_names has shape"),
        ({"extra": np.array(1.0)}, "unknown array 'extra'"),
        ({"covariances": None}, r"lacks \['covariances'\]"),
    ],
)
def test_a_wrong_array_is_named(saved, changes, match):
    arrays = arrays_of(saved) | changes
    np.savez(saved, **{name: array for name, array in arrays.items() if array is not None})
    refuse(saved, match)


def test_a_newer_version_asks_for_an_upgrade_whatever_else_it_holds(saved):
    np.savez(saved, **arrays_of(saved) | {"version": np.array(2), "new": np.array(1.0)})
    refuse(saved, "written by a newer gaussmix: format version 2.*Upgrade")


def test_a_compressed_archive_is_refused_before_inflating(saved):
    np.savez_compressed(saved, **arrays_of(saved))
    refuse(saved, "is compressed")


def test_a_header_larger_than_the_bytes_is_refused_before_allocating(saved):
    arrays = arrays_of(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, array)
            data = stream.getvalue()
            if name == "means":
                data = data.replace(b"(2, 3), }          ", b"(2000000000, 3), } ", 1)
            archive.writestr(f"{name}.npy", data)
    refuse(saved, "its header says 48000000000 bytes")


def test_an_array_that_stands_twice_is_refused(saved):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("weights.npy", b"")
    refuse(saved, "'weights' stands in it twice")


def test_text_that_no_encoding_knows_is_refused(saved):
    arrays = arrays_of(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, array)
            data = stream.getvalue()
            if name == "feature_names":
                data = data[:-4] + b"\xff\xff\xff\xff"
            archive.writestr(f"{name}.npy", data)
    refuse(saved, "feature_names is not valid text")


def test_directories_and_other_files_are_refused(tmp_path):
    refuse(tmp_path, "is a directory")
    (tmp_path / "empty.npz").write_bytes(b"")
    refuse(tmp_path / "empty.npz", "is not a model file")
    with pytest.raises(FileNotFoundError):
        persistence.load(tmp_path / "absent.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_pipe_is_refused_without_waiting(path):
    os.mkfifo(path)
    refuse(path, "is not a regular file")


def test_a_huge_sparse_file_is_refused_unread(path):
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)
    refuse(path, "a model file at most")
