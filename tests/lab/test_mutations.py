"""Some of the cases of `mutations`."""

import pickle

import pytest

from tests.lab import mutations


@pytest.mark.slow
@pytest.mark.parametrize("kind", mutations.KINDS)
def test_a_spoiled_file_is_read_or_refused_in_one_sentence(kind):
    assert list(mutations.faults_of_files(kind, range(50))) == []


@pytest.mark.slow
def test_spoiled_words_are_taken_or_refused_in_one_sentence():
    assert list(mutations.faults_of_words(range(300))) == []


@pytest.mark.slow
def test_no_program_in_a_file_runs():
    faults = dict(mutations.faults_of_programs())
    assert len(faults) == 450
    assert {name: wrong for name, wrong in faults.items() if wrong} == {}


def test_a_program_runs_where_a_file_is_unpickled(tmp_path):
    # The test of the test.
    for number, program in enumerate(mutations.programs(tmp_path / "ran")):
        pickle.loads(pickle.dumps(program))
        assert (tmp_path / "ran").exists() or list(tmp_path.glob("ran*")), number
        for path in tmp_path.glob("ran*"):
            path.unlink()


def test_a_fault_is_seen():
    assert "took more than" in mutations.verdict(lambda: (_ for _ in ()).throw(TimeoutError("it took more than")))
    assert "ZeroDivisionError" in mutations.verdict(lambda: 1 / 0)
    assert mutations.verdict(lambda: int("x"), ("no such name",)).startswith("said: ")
