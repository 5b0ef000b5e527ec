"""threads: argument, environment, affinity, container quota, fork."""

import asyncio
import contextvars
import os
import sys
import threading

import pytest

from gaussmix import backends, threads
from gaussmix.errors import BackendWarning, InvalidInputError


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No variable set, nothing remembered, before and after."""
    monkeypatch.delenv("GAUSSMIX_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads.reset()
    yield
    threads.reset()


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_the_argument_is_obeyed(count):
    assert threads.resolve(count) == count


def test_the_argument_is_capped():
    assert threads.resolve(10**9) == threads.MAX_THREADS


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "4", float("nan")])
def test_an_invalid_argument_is_a_named_error(value):
    with pytest.raises(InvalidInputError, match=r"n_threads is .*pass an integer >= 1"):
        threads.resolve(value)


def test_the_own_variable_comes_before_openmps(monkeypatch):
    monkeypatch.setenv("GAUSSMIX_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads.resolve() == 3


@pytest.mark.parametrize("text, count", [("5", 5), ("4,2", 4), (" 6 , 1", 6), ("0007", 7)])
def test_the_first_number_of_openmps_variable_counts(monkeypatch, text, count):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert threads.resolve() == count


@pytest.mark.parametrize("text", ["0", "-3", "abc", "1000000", "2.5", "1_0", "٣", ",", "9" * 5000])
@pytest.mark.parametrize("variable", ["GAUSSMIX_NUM_THREADS", "OMP_NUM_THREADS"])
def test_an_invalid_variable_is_told_once_and_passed_over(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.warns(BackendWarning, match=variable) as caught:
        assert threads.resolve() == threads.available_cpus()
    assert len(caught) == 1
    assert threads.resolve() == threads.available_cpus()


def test_an_invalid_own_variable_falls_back_to_openmps(monkeypatch):
    monkeypatch.setenv("GAUSSMIX_NUM_THREADS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with pytest.warns(BackendWarning, match="GAUSSMIX_NUM_THREADS is '0'"):
        assert threads.resolve() == 3


def test_an_empty_variable_is_no_variable(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "  ")
    assert threads.resolve() == threads.available_cpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_an_affinity_of_one_cpu_gives_one_thread(run_python):
    code = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from gaussmix import threads
        print(threads.resolve())
    """
    # Unset and not empty: LLVM's OpenMP aborts any program whose OMP_NUM_THREADS is empty.
    unset = {"GAUSSMIX_NUM_THREADS": None, "OMP_NUM_THREADS": None}
    assert run_python(code, "-W", "error", **unset) == "1"


def _groups(tmp_path, membership: str, files: dict[str, str]):
    (tmp_path / "cgroup").write_text(membership)
    for name, content in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return threads._cgroup_quota(str(tmp_path / "cgroup"), str(tmp_path / "fs"))


QUOTAS = {
    "version 2": ("0::/a\n", {"a/cpu.max": "150000 100000\n"}, 1.5),
    "version 2, no limit": ("0::/a\n", {"a/cpu.max": "max 100000\n"}, float("inf")),
    "version 2, the parent is tighter": (
        "0::/a/b\n",
        {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "50000 100000\n"},
        0.5,
    ),
    "version 2, own group at the root": ("0::/\n", {"cpu.max": "300000 100000\n"}, 3.0),
    "version 2, outside the namespace": ("0::/../x\n", {"cpu.max": "300000 100000\n"}, 3.0),
    "version 1": (
        "4:cpu,cpuacct:/a\n",
        {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        2.5,
    ),
    "version 1, joint mount": (
        "4:cpu,cpuacct:/a/b\n",
        {
            "cpu,cpuacct/a/cpu.cfs_quota_us": "250000\n",
            "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        2.5,
    ),
    "version 1, no limit": (
        "4:cpu:/a\n",
        {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        float("inf"),
    ),
    "empty file": ("0::/a\n", {"a/cpu.max": ""}, float("inf")),
    "odd file": ("0::/a\n", {"a/cpu.max": "\x00\xff many\n"}, float("inf")),
    "no period": ("0::/a\n", {"a/cpu.max": "100000\n"}, float("inf")),
    "period zero": ("0::/a\n", {"a/cpu.max": "100000 0\n"}, float("inf")),
    "not a number": ("0::/a\n", {"a/cpu.max": "nan nan\n"}, float("inf")),
    "odd membership": ("hello\n::\n", {}, float("inf")),
    "half of version 1": ("4:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "250000"}, float("inf")),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_every_ancestor_counts(tmp_path, case):
    membership, files, expected = QUOTAS[case]
    assert _groups(tmp_path, membership, files) == expected


def test_a_missing_hierarchy_sets_no_limit(tmp_path):
    missing = str(tmp_path / "missing")
    assert threads._cgroup_quota(missing, missing) == float("inf")


@pytest.mark.parametrize("quota, cpus, count", [(0.5, 64, 1), (2.9, 64, 2), (99.0, 4, 4)])
def test_a_quota_is_rounded_down_but_leaves_one_thread(monkeypatch, quota, cpus, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)), raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda membership, root: quota)
    assert threads.available_cpus() == count


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_uses_one_thread_and_says_so_once(run_python):
    code = """
        import os, warnings
        from gaussmix import threads
        print(threads.resolve(3), flush=True)
        child = os.fork()
        if child == 0:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                counts = [threads.resolve(1), threads.resolve(3), threads.resolve(4)]
            print(counts, [type(w.message).__name__ for w in caught], flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(threads.resolve(3))
    """
    lines = run_python(code, "-W", "error").splitlines()
    assert lines == ["3", "[1, 1, 1] ['BackendWarning']", "3"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux's /proc")
def test_importing_and_resolving_start_no_thread_and_change_no_variable(run_python):
    code = """
        import os
        before = dict(os.environ)
        from gaussmix import threads
        threads.resolve()
        print(len(os.listdir("/proc/self/task")), dict(os.environ) == before)
    """
    assert run_python(code, "-W", "error", OPENBLAS_NUM_THREADS="1") == "1 True"


def test_a_limit_caps_arguments_and_the_default_and_nests_downwards():
    with threads.thread_limit(3):
        assert threads.resolve(8) == 3
        assert threads.resolve(2) == 2
        with threads.thread_limit(2):
            assert threads.resolve(8) == 2
            assert threads.resolve() <= 2
            with threads.thread_limit(7):
                assert threads.resolve(8) == 2
        assert threads.resolve(8) == 3
    assert threads.resolve(8) == 8


def test_a_limit_is_lifted_by_an_exception():
    with pytest.raises(KeyError), threads.thread_limit(1):
        raise KeyError
    assert threads.resolve(8) == 8


def test_a_limit_decorates_a_function():
    call = threads.thread_limit(2)(lambda: threads.resolve(8))
    assert [call(), call(), threads.resolve(8)] == [2, 2, 8]


def test_a_limit_that_is_kept_may_be_entered_again():
    kept = threads.thread_limit(2)
    for _ in range(2):
        with kept:
            with kept, threads.thread_limit(1):
                assert threads.resolve(8) == 1
            assert threads.resolve(8) == 2
        assert threads.resolve(8) == 8


def test_limits_that_are_left_in_another_order_leave_none_behind():
    first, second = threads.thread_limit(2), threads.thread_limit(1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads.resolve(8) == 1
    second.__exit__(None, None, None)
    assert threads.resolve(8) == 8


def test_a_limit_left_in_a_context_that_never_entered_it_leaves_others_alone():
    strange = threads.thread_limit(2)
    contextvars.copy_context().run(strange.__enter__)
    with threads.thread_limit(1):
        strange.__exit__(None, None, None)
        assert threads.resolve(8) == 1
    assert threads.resolve(8) == 8


def test_a_limit_belongs_to_the_thread_or_task_that_entered_it():
    found = {}

    def work(count):
        with threads.thread_limit(count):
            gate.wait()
            found[count] = threads.resolve(8)
            gate.wait()

    gate = threading.Barrier(4)
    workers = [threading.Thread(target=work, args=(count,)) for count in (1, 2, 3)]
    for worker in workers:
        worker.start()
    gate.wait()
    assert threads.resolve(8) == 8
    gate.wait()
    for worker in workers:
        worker.join()
    assert found == {1: 1, 2: 2, 3: 3}

    async def task(count):
        with threads.thread_limit(count):
            await asyncio.sleep(0)
            return threads.resolve(8), await asyncio.to_thread(threads.resolve, 8)

    async def tasks():
        return await asyncio.gather(task(2), task(5))

    assert asyncio.run(tasks()) == [(2, 2), (5, 5)]


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "4", None])
def test_a_limit_that_is_no_number_of_threads_is_a_named_error(value):
    with pytest.raises(InvalidInputError, match=r"n is .*pass an integer >= 1"):
        threads.thread_limit(value)


def test_what_openmp_was_lowered_to_limits_the_default_but_not_the_argument(monkeypatch):
    now = [4]
    monkeypatch.setattr(threads, "_openmp", None)
    monkeypatch.setattr(threads, "_openmp_most", 0)
    monkeypatch.setenv("GAUSSMIX_NUM_THREADS", "6")
    threads.follow(lambda: now[0])
    assert threads.resolve() == 6  # OMP_NUM_THREADS=4 would be no reason to use fewer
    now[0] = 2
    assert (threads.resolve(), threads.resolve(5)) == (2, 5)
    now[0] = 8  # imported within another limit
    assert threads.resolve() == 6
    now[0] = 4
    assert threads.resolve() == 4


def test_threadpoolctl_limits_the_default(run_python):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if backends.active().name != "cython" or not backends.config()["build"]["openmp"]["enabled"]:
        pytest.skip("only the compiled kernels use OpenMP")
    assert threadpoolctl
    code = """
        import gaussmix as gm
        from threadpoolctl import threadpool_limits
        from gaussmix import threads
        before = threads.resolve()
        with threadpool_limits(1):
            inside = threads.resolve(), threads.resolve(3)
        with threadpool_limits(limits=2, user_api="openmp"):
            two = threads.resolve()
        print(before, inside, two, threads.resolve())
    """
    assert run_python(code, OMP_NUM_THREADS="3", GAUSSMIX_NUM_THREADS="") == "3 (1, 3) 2 3"


def test_calls_at_the_same_time_share_the_cpus(monkeypatch):
    monkeypatch.setattr(threads, "_cpus", 4)
    with threads.share(1) as serial, threads.share(9) as alone:
        assert (serial, alone) == (1, 9)
    found, entered, leave = [], threading.Semaphore(0), threading.Event()

    def work(count):
        with threads.share(count) as granted:
            found.append(granted)
            entered.release()
            leave.wait()

    workers = [threading.Thread(target=work, args=(count,)) for count in (3, 3, 3)]
    for worker in workers:
        worker.start()
        entered.acquire()
    leave.set()
    for worker in workers:
        worker.join()
    assert found == [3, 1, 1]
    assert not threads._running


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_NPROC is Linux's")
def test_a_system_that_refuses_threads_gets_by_with_fewer(run_python):
    code = """
        import os, resource
        import numpy as np
        import gaussmix as gm
        X = np.random.default_rng(0).standard_normal((40_000, 4))
        mixture = gm.Mixture([0.5, 0.5], X[:2], np.tile(np.eye(4), (2, 1, 1)))
        expected = mixture.logpdf(X, n_threads=1)
        gm.fit(X, 2, start=mixture, max_iter=1, n_threads=1)  # whatever loads lazily has
        if os.getuid() == 0:
            os.setuid(65534)  # the limit does not hold for root
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        same = (mixture.logpdf(X, n_threads=8) == expected).all()
        print(same, gm.fit(X, 2, start=mixture, max_iter=3, n_threads=8).n_iter)
    """
    assert run_python(code, "-W", "ignore") == "True 3"


def test_after_a_short_call_that_waited_one_thread_makes_the_next_ones(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(threads, "perf_counter", lambda: now[0])
    monkeypatch.setattr(threads, "_alone", 0)
    monkeypatch.setattr(threads, "_penalty", threads.FEWEST_ALONE)
    monkeypatch.setattr(threads, "_cpus", 2)

    def call(seconds):
        with threads.share_briefly(2, most_seconds=1e-3) as n_threads:
            now[0] += seconds
        return n_threads

    assert call(1e-4) == call(1e-2) == 2
    assert [call(1e-2) for _ in range(threads.FEWEST_ALONE)] == [1] * threads.FEWEST_ALONE
    assert call(1e-2) == 2  # waited again: twice as many
    assert [call(0.0) for _ in range(2 * threads.FEWEST_ALONE)].count(2) == 0
    assert call(1e-4) == call(1e-2) == 2  # did not, so that the next wait is the first again
    assert [call(0.0) for _ in range(threads.FEWEST_ALONE + 1)].count(2) == 1


def test_a_short_call_that_is_alone_is_not_timed():
    with threads.share_briefly(1, most_seconds=0.0) as n_threads:
        assert n_threads == 1
