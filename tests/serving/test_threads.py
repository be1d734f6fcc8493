"""Work is shared in full, whatever the number of threads, and mistakes are not swallowed."""

import threading

import pytest

from serving import threads
from serving.threads import Workers, default_threads


@pytest.mark.parametrize("count", [0, 1, 2, 100])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_task_is_done_once(size, count):
    done = []
    Workers(size).run(done.append, count)
    assert sorted(done) == list(range(count))


def test_tasks_may_share_work_themselves():
    workers, done = Workers(2), []
    workers.run(lambda outer: workers.run(lambda inner: done.append((outer, inner)), 10), 10)
    assert len(set(done)) == len(done) == 100


def test_work_is_done_beside_the_caller():
    workers, both = Workers(2), threading.Barrier(2)
    workers.run(lambda _: both.wait(timeout=30), 2)


@pytest.mark.parametrize("size", [1, 3])
def test_a_mistake_reaches_the_caller(size):
    with pytest.raises(ZeroDivisionError):
        Workers(size).run(lambda number: 1 // (number - 7), 20)


def test_threads_are_the_cores_divided_among_the_workers(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(threads, "_physical_cores", lambda: 8)
    monkeypatch.setattr(threads, "_QUOTA", threads.Path("/nowhere"))
    assert default_threads() == 8
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert default_threads() == 2
    monkeypatch.setenv("WEB_CONCURRENCY", "20")
    assert default_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert default_threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert default_threads() == 1


def test_a_container_gives_no_more_than_its_quota(monkeypatch, tmp_path):
    for name in ("OMP_NUM_THREADS", "WEB_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_physical_cores", lambda: 8)
    monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
    for text, expected in (("max 100000\n", 8), ("350000 100000\n", 3), ("50000 100000\n", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert default_threads() == expected
