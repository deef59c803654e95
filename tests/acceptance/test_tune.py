"""`dq tune` on a real worker: what it prints, and how it ends."""

import pytest

from servers import wait_until

SMALL = ["--dataset", "digits", "--hidden", "32x2", "--batch-size", "50", "--epochs", "4"]
TUNE = ["tune", *SMALL, "--lr", "0.2..0.5", "--budget", "30", "--confirm", "4"]


def test_a_tuning_prints_what_was_tried_and_one_verdict_and_typed_again_the_same(manned):
    first = manned.dq(*TUNE)
    second = manned.dq(*TUNE)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout == second.stdout
    assert first.stdout.count("contender\n") == 2
    assert "Test accuracy on 300 images, higher is better" in first.stdout
    assert first.stdout.count("baseline") == 1
    assert "for seeds fixed beforehand" in first.stdout
    assert second.stderr.count("done before.") == first.stderr.count(" to run. ")


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_the_samplers_of_optuna_say_nothing_of_their_own(manned, sampler):
    words = [*TUNE, "--budget", "50", "--sampler", sampler]
    first = manned.dq(*words)
    second = manned.dq(*words)

    assert (first.returncode, first.stdout) == (0, second.stdout), first.stderr
    assert "ptuna" not in first.stderr
    assert "Warning" not in first.stderr
    assert second.stderr.count("done before.") == second.stderr.count(" candidates, ") + 1


def test_candidates_that_diverge_are_named_and_the_others_go_on(manned):
    done = manned.dq("tune", *SMALL, "--lr", "0.2..1e9", "--budget", "30", "--confirm", "4")

    assert done.returncode == 0
    assert "Failed, which counts as worst: keep 0.4,0.4, lr 1000000000; " in done.stderr
    assert done.stdout.count("3 seeds failed") == 3
    assert done.stdout.count("baseline") == 1


def test_a_tuning_in_which_all_fail_says_where_to_look(manned):
    done = manned.dq("tune", *SMALL, "--lr", "1e8..1e9", "--budget", "30")

    assert done.returncode == 1
    assert "candidates with dropout failed. Type: dq results state:failed" in done.stderr


def test_a_tuning_whose_jobs_are_cancelled_ends_and_goes_on_when_it_is_typed_again(manned):
    words = ["tune", *SMALL, "--lr", "0.3", "--budget", "9", "--confirm", "4"]
    with manned.paused():
        tuning = manned.start("tune.log", *words)
        wait_until(lambda: "to run" in manned.read("tune.log"), "its jobs are queued")
        manned.dq("cancel", "tag:tune")
        tuning.wait()

    assert tuning.returncode == 1
    assert "9 jobs cancelled: " in manned.read("tune.log")
    assert f"To go on type: dq {' '.join(words)}" in manned.read("tune.log")
    assert manned.dq(*words).returncode == 0
