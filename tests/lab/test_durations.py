import pytest

from torchmoments_lab import durations
from torchmoments_lab.durations import Pace, about, exact


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "a few seconds"),
        (27, "about 25 s"),
        (58, "about 1 min"),
        (86, "about 1.5 min"),
        (299, "about 5 min"),
        (12.4 * 60, "about 12 min"),
        (52 * 60, "about 50 min"),
        (3.6 * 3600, "about 3.5 h"),
        (24.2 * 3600, "about 24 h"),
        (73 * 3600, "about 3 days"),
    ],
)
def test_an_estimate_claims_few_digits(seconds, words):
    assert about(seconds) == words


def test_no_estimate_rounds_to_a_whole_unit_of_the_next_kind():
    words = {about(seconds) for seconds in range(4, 200_000, 7)}
    assert not words & {"about 60 s", "about 90 min", "about 48 h", "about 0 s"}


def test_what_was_measured_has_two_digits():
    assert [exact(seconds) for seconds in (0.04, 9.96, 99, 130, 5400, 36_000)] == [
        "0.0 s",
        "10 s",
        "99 s",
        "2 min",
        "90 min",
        "10.0 h",
    ]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only pass when a test says so."""
    now = [100.0]
    monkeypatch.setattr(durations.time, "monotonic", lambda: now[0])
    return now


def test_the_pace_leaves_out_what_was_done_before_and_the_start_of_processes(clock):
    pace = Pace()
    assert pace.left(30, 60) is None
    clock[0] += 50
    assert pace.left(30, 60) is None
    # Two runs resume in the middle.
    for done in (30.5, 31.0):
        clock[0] += 1
        assert pace.left(done, 60) is None
    clock[0] += 10
    assert pace.left(32, 60) == pytest.approx(280)


def test_nothing_is_said_of_what_is_left_before_anything_was_done(clock):
    pace = Pace()
    for _ in range(20):
        clock[0] += 10
        assert pace.left(0, 5) is None
