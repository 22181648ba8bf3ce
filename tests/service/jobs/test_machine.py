"""What may happen to a job: outcomes never change, and to ask for what already holds changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import ConflictError
from watchword.service.jobs.machine import ACTIVE, ASKED, JobAction, next_state
from watchword.service.types.jobs import JobState

states, actions = st.sampled_from(JobState), st.sampled_from(JobAction)
GOALS = {
    JobAction.CANCEL: {JobState.CANCELLING, JobState.CANCELLED},
    JobAction.PAUSE: {JobState.PAUSING, JobState.PAUSED},
    JobAction.RESUME: {JobState.VALIDATING_FILES, JobState.QUEUED, JobState.RUNNING},
}


def after(state: JobState, *happened: JobAction) -> JobState:
    for action in happened:
        state = next_state(state, action)
    return state


def test_the_way_of_a_job_that_succeeds() -> None:
    way = JobAction.VALIDATED, JobAction.STARTED, JobAction.SUCCEEDED
    assert after(JobState.VALIDATING_FILES, *way) is JobState.SUCCEEDED


def test_a_paused_job_goes_on_where_it_waits_for_a_worker() -> None:
    assert after(JobState.RUNNING, JobAction.PAUSE, JobAction.STOPPED) is JobState.PAUSED
    assert after(JobState.PAUSED, JobAction.RESUME) is JobState.QUEUED


@given(st.sampled_from([state for state in JobState if state.terminal]), actions)
def test_an_outcome_never_changes(state: JobState, action: JobAction) -> None:
    try:
        assert next_state(state, action) is state
    except ConflictError as error:
        assert str(state) in error.problem


@given(states, st.sampled_from(ASKED))
def test_to_ask_twice_is_to_ask_once(state: JobState, action: JobAction) -> None:
    try:
        once = next_state(state, action)
    except ConflictError:
        return
    assert once in GOALS[action]
    assert next_state(once, action) is once


@given(st.lists(actions, max_size=12))
def test_whoever_was_told_that_a_job_is_being_cancelled_sees_it_cancelled(happened: list[JobAction]) -> None:
    state = JobState.CANCELLING
    for action in happened:
        try:
            state = next_state(state, action)
        except ConflictError:
            continue
        assert state in (JobState.CANCELLING, JobState.CANCELLED)


@given(st.sampled_from(ACTIVE))
def test_a_job_whose_worker_is_lost_needs_no_worker_to_go_on(state: JobState) -> None:
    assert next_state(state, JobAction.RELEASED) not in ACTIVE


@pytest.mark.parametrize(
    ("state", "action", "problem"),
    [
        (
            JobState.SUCCEEDED,
            JobAction.CANCEL,
            "the job is succeeded already, which is its outcome; it cannot be cancelled",
        ),
        (
            JobState.QUEUED,
            JobAction.PAUSE,
            "the job is queued; it can be paused only while it is one of: running, pausing, paused",
        ),
        # What is called so inside is running to a tenant.
        (
            JobState.CANCELLING,
            JobAction.PAUSE,
            "the job is running, and is being cancelled; it cannot be paused any more",
        ),
    ],
)
def test_a_refusal_names_the_state_and_what_would_do(state: JobState, action: JobAction, problem: str) -> None:
    with pytest.raises(ConflictError) as caught:
        next_state(state, action)
    assert caught.value.problem == problem
