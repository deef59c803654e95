"""Jobs from submit to their end, on one worker that all tests of this module share."""

from servers import wait_until

#: It ends by itself after a test that failed to cancel it.
ENDLESS = ["--epochs", "1000000", "--hidden", "64x2", "--timeout", "60s"]
DIVERGING = ["--lr", "1e30"]
METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


def curve(job):
    return [[epoch[name] for name in METRICS] for epoch in job["epochs"]]


def test_a_sweep_is_submitted_waited_for_listed_shown_and_compared(manned):
    submitted = manned.data(
        *("submit", "--dataset", "digits", "--hidden", "16x3", "--batch-size", "100"),
        *(
            "--epochs",
            "2",
            "--force",
            "--dropout",
            "0.9,0.8,0.8",
            "--dropout",
            "none",
            "--seeds",
            "2",
        ),
    )
    sweep = f"s{submitted['sweep']}"

    waited = manned.dq("wait", sweep)
    listed = manned.data("results", sweep)
    shown = manned.show(submitted["jobs"][0])
    compared = manned.dq("results", sweep, "--compare")

    assert waited.returncode == 0
    assert submitted["is_sent"]
    assert [job["state"] for job in listed] == ["succeeded"] * 4
    assert [job["seed"] for job in listed] == [1, 1, 0, 0]  # newest first
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [1, 2]
    assert shown["valid_accuracy"] == shown["epochs"][-1]["valid_accuracy"]
    assert shown["attempts"][0]["provenance"]["torch"]
    assert "digits, hidden 16x3, lr 0.1, batch 100, 2 epochs" in compared.stdout
    assert "baseline" in compared.stdout


def test_the_same_spec_gives_the_same_figures_to_the_bit(manned):
    options = ["--dropout", "0.9,0.8", "--seed", "7", "--lr", "0.5"]

    jobs = [*manned.run_jobs(*options), *manned.run_jobs(*options)]

    first, second = (curve(manned.show(job_id)) for job_id in jobs)
    assert first == second
    assert len(first) == 3


def test_the_line_that_show_prints_repeats_the_experiment(manned):
    (job_id,) = manned.run_jobs("--dropout", "0.9,0.8", "--seed", "3", "--train-size", "500")
    first = manned.show(job_id)

    words = first["repeat"].split()[1:]
    (again,) = manned.data(*words, "--force")["jobs"]
    manned.dq("wait", str(again))

    assert curve(manned.show(again)) == curve(first)


def test_submit_may_wait_itself_and_prints_the_results(manned):
    done = manned.data(
        "submit",
        "--dataset",
        "digits",
        "--batch-size",
        "100",
        "--wait",
        "--hidden",
        "8",
        "--epochs",
        "1",
    )

    assert [job["state"] for job in done] == ["succeeded"]


def test_a_job_that_diverges_fails_with_its_reason_and_is_in_no_mean(manned):
    good = manned.run_jobs("--tag", "diverging", "--seeds", "2")
    (bad,) = manned.submit("--tag", "diverging", *DIVERGING)

    waited = manned.dq("wait", "tag:diverging")
    shown = manned.dq("show", str(bad))
    why = manned.dq("show", str(bad), "--why")
    compared = manned.data("results", "tag:diverging", "--compare")

    assert waited.returncode == 1
    assert "diverged at epoch 1" in shown.stdout
    assert f"dq retry {bad}" in shown.stderr
    assert "diverged at epoch 1" in why.stdout
    assert compared["failed"] == [bad]
    assert {row["lr"]: row["jobs"] for row in compared["rows"]} == {0.1: good, 1e30: []}
    assert "NaN" not in manned.dq("results", "tag:diverging", "--json").stdout


def test_a_running_job_is_cancelled_and_its_process_is_off_it_when_cancel_returns(manned):
    (job_id,) = manned.submit(*ENDLESS)
    wait_until(lambda: manned.show(job_id)["epochs_done"] > 0, "the job runs")

    changes = manned.data("cancel", str(job_id))

    assert changes == [{"job_id": job_id, "change": "cancelled"}]
    shown = manned.show(job_id)
    assert (shown["state"], shown["reason"]) == ("cancelled", "cancelled while running")
    assert manned.dq("wait", str(job_id)).returncode == 1
    manned.run_jobs()  # the worker is free again


def test_a_cancelled_job_is_queued_again_by_retry_and_succeeds(manned):
    with manned.paused():
        (job_id,) = manned.submit()
        manned.dq("cancel", str(job_id))

        retried = manned.data("retry", str(job_id))
    waited = manned.dq("wait", str(job_id))

    assert retried == [{"job_id": job_id, "change": "queued"}]
    assert waited.returncode == 0
    assert manned.show(job_id)["state"] == "succeeded"


def test_a_failed_job_that_is_retried_keeps_what_happened_to_it_before(manned):
    (job_id,) = manned.submit(*DIVERGING)
    manned.dq("wait", str(job_id))

    manned.dq("retry", str(job_id))
    manned.dq("wait", str(job_id))

    attempts = manned.show(job_id)["attempts"]
    assert [each["number"] for each in attempts] == [1, 2]
    assert [each["outcome"] for each in attempts] == ["failed", "failed"]


def test_a_held_job_lets_others_pass_until_it_is_released(manned):
    with manned.paused():
        held, other = manned.submit("--seeds", "2")
        manned.dq("hold", str(held))

    manned.dq("wait", str(other))
    why = manned.dq("show", str(held), "--why").stdout
    manned.dq("release", str(held))
    waited = manned.dq("wait", str(held))

    assert f"It is held. Type: dq release {held}" in why
    assert waited.returncode == 0


def test_logs_that_are_followed_end_with_the_job(manned):
    with manned.paused():
        (job_id,) = manned.submit()
        follower = manned.start("follow.log", "logs", str(job_id), "--follow")

    code = follower.wait(timeout=60)

    lines = manned.read("follow.log").splitlines()
    assert code == 0
    assert "claimed by cpu0-" in lines[0]
    assert lines[-1].endswith("succeeded")
    assert len(lines) == len(manned.data("logs", str(job_id)))


def test_the_worker_is_listed_with_its_device_and_its_job(manned):
    (job_id,) = manned.submit(*ENDLESS)
    wait_until(lambda: manned.show(job_id)["state"] == "running", "the job runs")

    (worker,) = manned.data("workers")
    status = manned.data("status")
    manned.dq("cancel", str(job_id))

    assert (worker["device"], worker["state"], worker["job_id"]) == ("cpu", "active", job_id)
    assert status["running"] == [job_id]
    assert status["workers"] == 1


def test_torch_is_in_the_process_that_trains_and_in_no_other(manned):
    manned.run_jobs()

    with_torch = manned.processes_with("libtorch")

    assert len(with_torch) == 1
    assert "spawn" in with_torch[0]
