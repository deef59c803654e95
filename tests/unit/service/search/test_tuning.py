import sys

import pytest

from models.errors import DqError
from service.search.tuning import tune
from unit.service.search.simulation import BASE, Queue, plan_tuning

SAMPLERS = ["grid", "tpe", "qmc"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_best_with_dropout_meets_the_best_without_on_new_seeds_and_the_test_images(sampler):
    queue, plan = Queue(), plan_tuning(sampler, lr="0.05..0.5")

    tuning = tune(plan, queue)

    with_dropout, without = (each.candidate for each in tuning.contenders)
    baseline, row = tuning.confirmation.rows
    assert abs(with_dropout.keep[0] - 0.8) < 0.15
    assert not without.has_dropout
    assert baseline.spec.keep == (1, 1)
    assert (row.spec.keep, row.spec.lr) == (with_dropout.keep, with_dropout.lr)
    assert row.spec.evaluation == "test"
    assert list(row.values) == list(plan.confirmation_seeds)
    assert row.verdict == "better"
    assert tuning.confirmation.test == "fixed seeds"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_tuning_again_runs_nothing_and_says_the_same(sampler):
    queue, plan = Queue(), plan_tuning(sampler, lr="0.05..0.5")
    first = tune(plan, queue)
    runs = len(queue.jobs)

    second = tune(plan, queue)

    assert second == first
    assert len(queue.jobs) == runs


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_selection_takes_no_more_than_its_budget(sampler):
    queue, plan = Queue(), plan_tuning(sampler, budget=100)

    tuning = tune(plan, queue)

    assert len(queue.jobs) <= plan.runs + 2 * plan.confirm
    assert 90 < plan.runs <= 100
    assert len(tuning.tried) == len(tuning.with_dropout) + 1


def test_tpe_draws_nearer_to_the_best_than_qmc():
    def distance(sampler):
        tuning = tune(plan_tuning(sampler, budget=150, lr="0.01..1"), Queue())
        rates = [each.candidate.keep[0] for each in tuning.with_dropout]
        return sum(abs(rate - 0.8) for rate in rates) / len(rates)

    assert distance("tpe") < distance("qmc")


def test_each_rung_is_titled_and_its_standings_are_told():
    queue, rungs = Queue(), []

    tune(plan_tuning(budget=60), queue, rungs.append)

    assert queue.titles[:2] == [
        "Rung 1 of 3: 9 candidates, seeds 0..2",
        "Rung 2 of 3: 4 candidates, seeds 0..4",
    ]
    assert queue.titles[-1].startswith("Confirmation: 2 contenders, seeds ")
    assert [len(rung) for rung in rungs] == [9, 4, 2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_candidate_that_fails_counts_as_worst(sampler):
    (best, *_) = tune(plan_tuning(sampler, lr="0.05..0.5"), Queue()).contenders

    queue = Queue(failing=[best.candidate.configuration])
    tuning = tune(plan_tuning(sampler, lr="0.05..0.5"), queue)

    assert tuning.with_dropout[-1].candidate == best.candidate
    assert tuning.with_dropout[-1].failed == 3
    assert tuning.contenders[0].candidate != best.candidate


def test_a_candidate_whose_jobs_were_deleted_meanwhile_counts_as_one_that_failed():
    queue, plan = Queue(), plan_tuning()
    lost = plan.grid[0].configuration

    def run(title, specs):
        return [job for job in queue(title, specs) if job.spec.configuration != lost]

    assert tune(plan, run).with_dropout[-1].failed == 3


def test_where_all_without_dropout_fail_there_is_nothing_to_compare_with():
    queue = Queue(failing=[BASE.configuration])

    with pytest.raises(DqError, match="All 1 candidate without dropout failed"):
        tune(plan_tuning(), queue)


def test_a_sampler_without_optuna_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(DqError, match=r"--sampler needs optuna. Type: pip install 'dq\[tune\]'"):
        tune(plan_tuning("tpe"), Queue())
