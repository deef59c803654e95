"""What test_everywhere.py leaves out of jobs that run, on one worker for all tests."""

import os

from servers import wait_until

#: It ends by itself after a test that failed to cancel it.
ENDLESS = ["--epochs", "1000000", "--hidden", "64x2", "--timeout", "60s"]
#: A name that would be outside dq's folders if it were a path.
OUTSIDE = "../../../../tmp/dq-was-here"
DIVERGING = ["--lr", "1e30"]
METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


def curve(job):
    return [[epoch[name] for name in METRICS] for epoch in job["epochs"]]


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


def test_a_failed_job_that_is_retried_keeps_what_happened_to_it_before(manned):
    (job_id,) = manned.submit(*DIVERGING)
    manned.dq("wait", str(job_id))
    why = manned.dq("show", str(job_id), "--why")

    manned.dq("retry", str(job_id))
    manned.dq("wait", str(job_id))

    attempts = manned.show(job_id)["attempts"]
    assert [each["number"] for each in attempts] == [1, 2]
    assert [each["outcome"] for each in attempts] == ["failed", "failed"]
    assert "diverged at epoch 1" in why.stdout
    assert "NaN" not in manned.dq("results", str(job_id), "--json").stdout


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


def test_a_name_that_climbs_out_of_a_folder_is_only_a_name(manned):
    (job_id,) = manned.run_jobs("--name", OUTSIDE, "--tag", OUTSIDE)

    for kind in ("tensorboard", "csv"):
        done = manned.dq("export", str(job_id), "--to", kind, "--out", str(manned.folder / kind))
        assert done.returncode == 0, done.stderr

    assert not os.path.lexists("/tmp/dq-was-here")
    climbed = [path for path in manned.folder.rglob("*") if "dq-was-here" in path.name]
    assert climbed == []


def test_torch_is_in_the_process_that_trains_and_in_no_other(manned):
    manned.run_jobs()

    with_torch = manned.processes_with("libtorch")

    assert len(with_torch) == 1
    assert "spawn" in with_torch[0]
