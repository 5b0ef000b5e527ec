import contextlib
import json
import os
import threading
import warnings

import numpy as np
import pytest

import gaussmix as gm
from cancelling import ALGORITHMS, After, rows
from gaussmix import stopping
from gaussmix.files import container, regular
from gaussmix.fitting import checkpoint
from gaussmix.fitting.checkpoint_record import Saved, identity_of, record_of, saved_of
from gaussmix.rules import Annealed, Stochastic
from resuming import check_resumed, same

pytestmark = pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_a_resumed_fit_has_the_bits_of_one_never_interrupted(
    tmp_path,
    short_calls,
    algorithm,
):
    X = rows(800)
    check_resumed(
        tmp_path, X, n_components=3, algorithm=algorithm, start="random_from_data", max_iter=12
    )


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical"])
def test_so_have_those_of_other_families(tmp_path, covariance_type):
    arguments = {"covariance_type": covariance_type, "start": "k-means++", "tol": 0.0}
    check_resumed(tmp_path, rows(3000), 4, n_components=4, max_iter=60, **arguments)


@pytest.mark.parametrize("algorithm", ["em", Stochastic(), [Annealed(n_iter=4), "hard"]])
def test_so_has_one_of_several_starts(tmp_path, algorithm):
    arguments = {"n_components": 4, "n_starts": 5, "algorithm": algorithm, "max_iter": 12}
    whole = check_resumed(tmp_path, rows(300), 5, **arguments)
    assert len(whole.starts) >= 5


def test_so_has_one_whose_rows_are_far_from_the_origin(tmp_path):
    check_resumed(tmp_path, rows(300) + 1e8, n_components=3, n_starts=3)


def test_so_has_one_from_given_mixtures(tmp_path):
    X = rows(300)
    starts = [gm.fit(X, 3, max_iter=0, start="random_from_data", seed=s).mixture for s in (0, 1)]
    check_resumed(tmp_path, X, n_components=3, start=starts, n_starts=4)


def test_so_has_one_with_a_start_that_fails(tmp_path):
    X = np.vstack([rows(60), np.full((8, 3), 4.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = {"n_components": 4, "n_starts": 8, "reg_covar": 0.0, "max_iter": 30}
        whole = check_resumed(tmp_path, X, seed=2, **arguments)
    assert any(start.error for start in whole.starts)


def test_the_generator_of_the_user_ends_where_it_would_have(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    whole, cut, late = (np.random.default_rng(3) for _ in range(3))
    result = gm.fit(X, 3, n_starts=4, seed=whole)
    gm.fit(X, 3, n_starts=4, seed=cut, checkpoint=path, cancel=After(30))
    same(gm.fit(X, 3, n_starts=4, seed=late, resume=path), result)
    assert late.bit_generator.state == whole.bit_generator.state


def test_a_seed_may_be_left_out_but_not_be_another(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    whole = gm.fit(X, 3, checkpoint=path)  # from fresh entropy
    same(gm.fit(X, 3, resume=path), whole)
    gm.fit(X, 3, seed=1, checkpoint=path)
    with pytest.raises(gm.InvalidInputError, match="another seed than 2"):
        gm.fit(X, 3, seed=2, resume=path)


def test_a_fit_that_was_done_is_answered_from_its_file(tmp_path):
    X, path, told = rows(300), tmp_path / "fit.gmix", []
    whole = gm.fit(X, 3, seed=0, checkpoint=path)
    same(gm.fit(X, 3, resume=path, callback=told.append), whole)
    assert told == []


@pytest.mark.parametrize("algorithm", ["em", "hard", "stochastic", "annealed", ["annealed", "em"]])
@pytest.mark.parametrize("end", [1, 3])
def test_a_fit_that_a_callback_has_ended_goes_on(tmp_path, algorithm, end):
    X = np.random.default_rng(0).random((300, 3))  # no clusters: hard EM, too, has a way to go
    path = tmp_path / "fit.gmix"
    arguments = {"algorithm": algorithm, "tol": 1e-9, "start": "random_from_data"}
    whole = gm.fit(X, 3, seed=0, **arguments)
    stopped = gm.fit(
        X, 3, seed=0, checkpoint=path, callback=lambda state: state.iteration == end, **arguments
    )
    assert stopped.n_iter < whole.n_iter
    same(gm.fit(X, 3, resume=path, **arguments), whole)


def test_another_fit_is_refused(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    gm.fit(X, 3, seed=0, checkpoint=path)
    for changes, message in (
        ({"n_components": 2}, "n_components=3, this one has 2"),
        ({"tol": 0.5}, r"tol=0\.001, this one has 0\.5"),
        ({"max_iter": 7}, "max_iter=100, this one has 7"),
        ({"algorithm": "hard"}, r"algorithm=\['Soft\(\)'\]"),
        ({"start": "random"}, "other data for start"),
        ({"X": X[::-1]}, "other data for data"),
        ({"sample_weight": np.full(300, 2.0)}, "other data for data"),
    ):
        arguments = {"X": X, "n_components": 3, "seed": 0, "resume": path} | changes
        with pytest.raises(gm.InvalidInputError, match=message):
            gm.fit(**arguments)
    same(gm.fit(X.astype(np.float64, order="F"), 3, resume=path), gm.fit(X, 3, seed=0))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    with pytest.raises(FileNotFoundError):
        gm.fit(X, 3, resume=path)
    gm.fit(X, 3, seed=0).mixture.save(path)
    with pytest.raises(gm.ModelFileError, match="holds a 'mixture', not a checkpoint"):
        gm.fit(X, 3, resume=path)
    path.write_bytes(b"nonsense")
    with pytest.raises(gm.ModelFileError, match="not a model file"):
        gm.fit(X, 3, resume=path)
    with pytest.raises(gm.InvalidInputError, match="resume is 3; pass the path"):
        gm.fit(X, 3, resume=3)


def test_a_checkpoint_is_no_model_and_load_says_what_to_do_with_it(tmp_path):
    path = tmp_path / "fit.gmix"
    gm.fit(rows(300), 3, seed=0, checkpoint=path)
    with pytest.raises(gm.ModelFileError, match="holds a checkpoint of a fit"):
        gm.load(path)


KEPT = {
    "em": {"algorithm": "em", "start": "k-means++", "n_starts": 3},
    "hard": {"algorithm": "hard", "start": "random_from_data", "covariance_type": "tied"},
    "annealed": {"algorithm": Annealed(n_iter=6), "covariance_type": "diag"},
    "average": {"algorithm": Stochastic(average=True), "covariance_type": "spherical"},
}


def kept(path, name):
    """Rows, arguments and content of a checkpoint of a fit that was cancelled."""
    X, arguments = rows(60), {"n_components": 2, "seed": 0, "max_iter": 7, **KEPT[name]}
    gm.fit(X, checkpoint=path, cancel=After(14), **arguments)
    return X, arguments, container.read(path)


def with_journal(record, document):
    text = json.dumps(document).encode()
    return record._replace(arrays=record.arrays | {"journal": np.frombuffer(text, dtype=np.uint8)})


def nodes(value, path=()):
    """Paths to all parts of a JSON value, the parts of long lists but for the first left out."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = list(enumerate(value))[:4] if isinstance(value, list) else items
    for key, part in items:
        yield from nodes(part, (*path, key))


WRONG = (None, True, -1, 0, 1, 2**50, 0.5, "", "x", "ff" * 16, [], [0], [[0, 1]], {}, {"x": 1})


def changed(document, path, value):
    """The document with another value in that place; None if it would be the same."""
    copy = json.loads(json.dumps(document))
    *above, last = path
    place = copy
    for key in above:
        place = place[key]
    same = place[last] == value and type(place[last]) is type(value)
    place[last] = value
    return None if same else copy


@pytest.mark.filterwarnings("ignore::gaussmix.GaussmixWarning")
@pytest.mark.parametrize("name", KEPT)
def test_any_wrong_value_in_a_journal_is_a_named_error_or_does_no_harm(tmp_path, name):
    path, accepted, refused = tmp_path / "fit.gmix", [], 0
    X, arguments, good = kept(path, name)
    document = json.loads(good.arrays["journal"].tobytes())
    assert any(entry.get("step") == gm.rules.algorithms(arguments["algorithm"])[0].name
               for entry in document["entries"])  # fmt: skip
    for place in nodes(document):
        for value in WRONG if place and place[0] != "identity" else ():
            other = changed(document, place, value)
            if other is None:
                continue
            record = with_journal(good, other)
            try:
                saved_of(identity_of(record)[1], good.arrays["values"], document["identity"])
            except gm.GaussmixError as error:
                refused += len(str(error)) < 500
                continue
            accepted.append(record)
    assert refused > 10 * len(accepted)
    for record in accepted:  # says that a component collapsed, or that a run did not end
        container.write(path, record)
        with contextlib.suppress(gm.InvalidInputError):
            gm.fit(X, resume=path, **arguments)


@pytest.mark.parametrize("name", KEPT)
def test_a_journal_that_lacks_or_adds_a_value_is_refused(tmp_path, name):
    *_, good = kept(tmp_path / "fit.gmix", name)
    text = good.arrays["journal"].tobytes()
    for place in nodes(json.loads(text)):
        document = json.loads(text)
        part = document
        for key in place:
            part = part[key]
        if not isinstance(part, dict) or part == {} or place == ("identity",):
            continue
        whole = dict(part)
        for key in ["more", *part]:
            other = {name: value for name, value in whole.items() if name != key}
            part.clear()
            part.update({"more": 1, **whole} if key == "more" else other)
            with pytest.raises(gm.GaussmixError):
                found = identity_of(with_journal(good, document))[1]
                saved_of(found, good.arrays["values"], identity_in(good))


@pytest.mark.parametrize("name", KEPT)
def test_any_number_that_is_not_finite_is_refused(tmp_path, name):
    path = tmp_path / "fit.gmix"
    X, arguments, good = kept(path, name)
    for place in range(0, len(good.arrays["values"]), 3):
        for value in (np.nan, np.inf):
            values = good.arrays["values"].copy()
            values[place] = value
            container.write(path, good._replace(arrays=good.arrays | {"values": values}))
            with pytest.raises(gm.ModelFileError, match=r"entries\[\d+\]: "):
                gm.fit(X, resume=path, **arguments)


def test_an_identity_that_lacks_or_adds_a_value_is_refused(tmp_path):
    path = tmp_path / "fit.gmix"
    X, arguments, good = kept(path, "em")
    document = json.loads(good.arrays["journal"].tobytes())
    for key in ["more", *document["identity"]]:
        other = {name: value for name, value in document["identity"].items() if name != key}
        other |= {"more": 1} if key == "more" else {}
        container.write(path, with_journal(good, document | {"identity": other}))
        with pytest.raises(gm.ModelFileError, match="its identity holds"):
            gm.fit(X, resume=path, **arguments)


def test_steps_in_another_order_are_refused(tmp_path):
    path = tmp_path / "fit.gmix"
    X, arguments, good = kept(path, "em")
    journal = checkpoint.opened(path, identity := identity_in(good))
    for entries in (journal[0][1:], [*journal[0][1:2], *journal[0]]):
        container.write(path, record_of(Saved(identity, journal[1], entries)))
        with pytest.raises(gm.ModelFileError, match=r"entries\[0\] .* a step 'em', .* 'start'"):
            gm.fit(X, resume=path, **arguments)


def identity_in(record):
    return json.loads(record.arrays["journal"].tobytes())["identity"]


def test_a_run_longer_than_the_fit_makes_it_is_refused(tmp_path):
    path = tmp_path / "fit.gmix"
    X, arguments, good = kept(path, "annealed")
    identity = identity_in(good) | {"algorithm": [repr(Annealed(n_iter=4))]}
    container.write(
        path, record_of(Saved(identity, *checkpoint.opened(path, identity_in(good))[::-1]))
    )
    with pytest.raises(
        gm.ModelFileError, match=r"after \d iterations by .*, where the fit makes 3"
    ):
        gm.fit(X, resume=path, **arguments | {"algorithm": Annealed(n_iter=4)})


def test_arrays_that_overlap_or_leave_a_gap_are_refused(tmp_path):
    path = tmp_path / "fit.gmix"
    X, arguments, good = kept(path, "em")
    for values in (good.arrays["values"][:-1], np.append(good.arrays["values"], 0.0)):
        container.write(path, good._replace(arrays=good.arrays | {"values": values}))
        with pytest.raises(gm.ModelFileError, match="values"):
            gm.fit(X, resume=path, **arguments)


@pytest.mark.parametrize("arrays", [{}, {"more": np.zeros(1)}, {"values": np.zeros((1, 1))}])
def test_a_checkpoint_with_other_arrays_is_refused(tmp_path, arrays):
    path = tmp_path / "fit.gmix"
    X, arguments, good = kept(path, "em")
    changed = good.arrays | arrays if arrays else {"journal": good.arrays["journal"]}
    container.write(path, good._replace(arrays=changed))
    with pytest.raises(gm.ModelFileError, match="does not hold a valid checkpoint"):
        gm.fit(X, resume=path, **arguments)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_generator_of_numpy_goes_on(tmp_path, kind):
    X, path = rows(60), tmp_path / "fit.gmix"
    make = getattr(np.random, kind)
    arguments = {"n_components": 2, "n_starts": 3, "max_iter": 7}
    whole = gm.fit(X, seed=np.random.Generator(make(3)), **arguments)
    cut = np.random.Generator(make(3))
    gm.fit(X, seed=cut, checkpoint=path, cancel=After(12), **arguments)
    same(gm.fit(X, seed=np.random.Generator(make(4)), resume=path, **arguments), whole)


@pytest.mark.parametrize(
    "kind, name, wrong", [("MT19937", "pos", "271"), ("Philox", "buffer_pos", "5")]
)
def test_a_generator_that_would_read_past_its_numbers_is_refused(tmp_path, kind, name, wrong):
    """NumPy takes such a state, and reads what lies behind the array."""
    X, path = rows(60), tmp_path / "fit.gmix"
    rng = np.random.Generator(getattr(np.random, kind)(3))
    gm.fit(X, 2, seed=rng, checkpoint=path)
    good = container.read(path)
    document = json.loads(good.arrays["journal"].tobytes())
    state = document["generator"]
    (state if name in state else state["state"])[name] = wrong
    container.write(path, with_journal(good, document))
    with pytest.raises(gm.ModelFileError, match=rf"generator.*{name} is '{wrong}'"):
        gm.fit(X, 2, resume=path)


def test_a_path_that_cannot_be_written_to_is_an_error_before_the_fit(tmp_path):
    told = []
    with pytest.raises(FileNotFoundError):
        gm.fit(rows(), 3, checkpoint=tmp_path / "no" / "fit.gmix", callback=told.append)
    assert told == []


def test_a_write_that_fails_later_warns_and_leaves_the_file(tmp_path, monkeypatch):
    path, written = tmp_path / "fit.gmix", []
    write = container.write

    def failing(path, record):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(record)
        write(path, record)

    monkeypatch.setattr(container, "write", failing)
    with pytest.warns(gm.GaussmixWarning, match="could not be written .*No space left"):
        result = gm.fit(
            rows(300), 3, seed=0, checkpoint=path, checkpoint_seconds=0.0, callback=lambda _: None
        )
    assert result.converged
    same(gm.fit(rows(300), 3, resume=path), result)
    assert os.listdir(tmp_path) == ["fit.gmix"]


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"

    def interrupt(state):
        if state.iteration == 4:
            raise KeyboardInterrupt

    whole = gm.fit(X, 4, seed=0, tol=0.0)
    with pytest.raises(KeyboardInterrupt):
        gm.fit(X, 4, seed=0, tol=0.0, checkpoint=path, checkpoint_seconds=0.0, callback=interrupt)
    told = []
    resumed = gm.fit(X, 4, tol=0.0, resume=path, callback=told.append)
    same(resumed, whole)
    assert told[0].iteration == 4


def test_a_fit_can_be_cancelled_anywhere_while_it_reads_its_file(tmp_path, monkeypatch):
    X, path = rows(300), tmp_path / "fit.gmix"
    arguments = {"n_components": 3, "start": "k-means++", "n_starts": 4, "max_iter": 6, "seed": 0}
    whole = gm.fit(X, checkpoint=path, **arguments)
    content = path.read_bytes()
    monkeypatch.setattr(regular, "PIECE", 500)
    never = After(10**9)
    with stopping.within(cancel=never):
        record = container.read(path)
    n_checks = never.asked - never.count
    assert n_checks > 2 * len(content) // 500  # pieces are read, then digested
    _, document = identity_of(record)
    n_values = sum(map(len, document["entries"])) - len(document["entries"])
    one = len(X) // checkpoint._DIGESTED + 1  # checks while the rows are digested
    for count in np.linspace(one, one + n_checks + n_values // 2, 12).astype(int).tolist():
        with pytest.raises(gm.FitStoppedError):
            gm.fit(X, resume=path, checkpoint=path, cancel=After(count), **arguments)
        assert path.read_bytes() == content
    same(gm.fit(X, resume=path, **arguments), whole)


def test_a_fit_that_has_to_end_while_it_writes_leaves_that_to_its_last_file(tmp_path, monkeypatch):
    X, path, token, ends = rows(300), tmp_path / "fit.gmix", threading.Event(), []
    write = container.write

    def cancelled_within(path, record):
        if len(ends) == 3:
            token.set()
        try:
            write(path, record)
        except stopping.Stopped:
            ends.append("given up")
            raise
        ends.append("written")

    monkeypatch.setattr(container, "write", cancelled_within)
    keep = {"checkpoint": path, "checkpoint_seconds": 0.0, "callback": lambda _: None}
    with pytest.warns(gm.ConvergenceWarning, match="cancel ended the fit"):
        ended = gm.fit(X, 4, seed=0, tol=0.0, cancel=token, **keep)
    assert ends == [*["written"] * 3, "given up", "written"]
    assert os.listdir(tmp_path) == ["fit.gmix"]
    told = []
    resumed = gm.fit(X, 4, tol=0.0, resume=path, callback=told.append)
    assert told[0].iteration == ended.n_iter + 1
    same(resumed, gm.fit(X, 4, seed=0, tol=0.0))


def test_a_fit_can_be_cancelled_while_it_looks_whether_the_data_are_those_of_the_file(
    tmp_path, monkeypatch
):
    X, path, read = rows(3000), tmp_path / "fit.gmix", []
    whole = gm.fit(X, 3, seed=0, checkpoint=path)
    pieces = checkpoint.pieces

    def counted(X, size):
        for piece in pieces(X, size):
            read.append(piece)
            yield piece

    monkeypatch.setattr(checkpoint, "_DIGESTED", 100)
    monkeypatch.setattr(checkpoint, "pieces", counted)
    with pytest.raises(gm.FitStoppedError):
        gm.fit(X, 3, resume=path, cancel=After(4))
    assert len(read) == 5
    same(gm.fit(X, 3, resume=path), whole)
