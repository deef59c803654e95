"""Simulated jobs, which tests of tuning share."""

import random

from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from service.queries.rows import ComparedJob
from service.search.plan import make_plan
from service.search.space import Space
from service.specs.parsing import parse_range

BASE = ExperimentSpec(dataset="digits", hidden=(64, 64), batch_size=50, epochs=5)


def make_space(keep="0.4..1", input_keep="1", lr="0.1"):
    return Space(BASE, *map(parse_range, (keep, input_keep, lr)))


def plan_tuning(sampler="grid", budget=60, confirm=5, **ranges):
    return make_plan(make_space(**ranges), sampler, budget, confirm)


class Queue:
    """Runs specs at once: the best keep probability is 0.8, the best learning rate 0.1.

    Configurations in `failing` fail, and each spec runs once.
    """

    def __init__(self, failing=()):
        self.failing, self.jobs, self.titles = set(failing), {}, []

    def __call__(self, title, specs):
        self.titles.append(title)
        for spec in specs:
            self.jobs.setdefault(spec, self._run(spec))
        return [self.jobs[spec] for spec in specs]

    def _run(self, spec):
        job_id = len(self.jobs) + 1
        if spec.configuration in self.failing:
            return ComparedJob(job_id, JobState.FAILED, spec, None, {})
        loss = (spec.keep[0] - 0.8) ** 2 + (spec.input_keep - 1) ** 2 + (spec.lr - 0.1) ** 2
        noise = random.Random(f"{spec.seed} {spec.configuration}").gauss(0, 0.005)
        metrics = {"valid_accuracy": 0.9 - loss + noise}
        return ComparedJob(job_id, JobState.SUCCEEDED, spec, TRAINER_VERSION, metrics)
