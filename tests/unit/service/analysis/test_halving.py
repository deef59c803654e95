import random
from itertools import product

import pytest

from service.analysis.halving import RUNGS, Standing, count_runs, list_sizes, promote, rank, select

#: Of each candidate, a figure by seed.
FIGURES = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "e": 0.5}


def stand(candidate, mean, seeds=2, failed=0):
    return Standing(candidate, dict.fromkeys(range(seeds - failed), mean), seeds)


class Bench:
    """Measures candidates by a function of candidate and seed, and counts the runs."""

    def __init__(self, draw):
        self.draw, self.asked, self.run = draw, [], set()

    def __call__(self, candidates, seeds):
        self.asked.append((list(candidates), seeds))
        self.run |= set(product(candidates, range(seeds)))
        return [
            Standing(each, {seed: self.draw(each, seed) for seed in range(seeds)}, seeds)
            for each in reversed(candidates)
        ]


def test_the_better_half_of_each_side_goes_on_until_one_is_left():
    bench = Bench(lambda candidate, _: FIGURES[candidate])

    sides = select([["e", "c", "a"], ["d", "b"]], bench)

    assert bench.asked == [(["e", "c", "a", "d", "b"], 3), (["a", "c"], 5)]
    assert [[each.candidate for each in side] for side in sides] == [["a", "c", "e"], ["b", "d"]]
    assert [each.seeds for each in sides[0]] == [5, 5, 3]


def test_a_side_of_one_runs_in_the_first_rung_alone_and_an_empty_one_in_none():
    bench = Bench(lambda candidate, _: FIGURES[candidate])

    (one, empty) = select([["a"], []], bench)

    assert bench.asked == [(["a"], 3)]
    assert (one[0].candidate, empty) == ("a", [])


def test_after_the_last_rung_the_best_of_those_left_is_first():
    bench = Bench(lambda candidate, _: -candidate)

    (side,) = select([range(100)], bench)

    assert [seeds for _, seeds in bench.asked] == [*RUNGS]
    assert [each.candidate for each in side] == [*range(100)]


def test_a_candidate_that_failed_is_last_and_never_promoted():
    side = [stand("a", 0.9, failed=1), stand("b", 0.5), stand("c", 0.4), stand("d", 0, failed=2)]

    assert [each.candidate for each in rank(side)] == ["b", "c", "a", "d"]
    assert promote(side) == ["b", "c"]
    assert promote(side[:2]) == [], "one is left, and needs no more seeds"
    assert promote(side[-1:]) == []


def test_a_candidate_that_got_further_is_before_one_with_a_luckier_mean_of_few_seeds():
    assert [each.candidate for each in rank([stand("a", 0.9, 2), stand("b", 0.8, 4)])] == ["b", "a"]


@pytest.mark.parametrize("candidates", [0, 1, 2, 3, 4, 5, 9, 17, 30, 100])
def test_the_runs_are_those_that_were_counted_beforehand(candidates):
    bench = Bench(lambda candidate, _: candidate)

    select([range(candidates)], bench)

    assert len(bench.run) == count_runs(candidates)
    assert [len(asked) for asked, _ in bench.asked] == list_sizes(candidates)[: len(bench.asked)]


def test_thirty_candidates_take_less_than_a_third_of_the_runs_of_the_whole_grid():
    assert count_runs(30) == 180


def test_the_winner_is_within_half_a_seeds_spread_of_the_best():
    draws = random.Random(0)
    losses = []
    for _ in range(300):
        truths = [draws.gauss(0, 1) for _ in range(30)]
        (side,) = select([range(30)], Bench(lambda each, _, t=truths: draws.gauss(t[each], 1)))
        losses.append(max(truths) - truths[side[0].candidate])

    assert sum(loss < 0.5 for loss in losses) >= 0.95 * len(losses)
