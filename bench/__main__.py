"""`python -m bench`: runs the benches and writes RESULTS.md, or that of the GPU there is."""

import argparse
from collections.abc import Callable, Mapping

from bench import (
    bulk,
    gpu_sweep,
    machine,
    overhead,
    queries,
    submits,
    sweeps,
    training,
    verdicts,
    web,
)
from bench.section import Section, write

_BENCHES: Mapping[str, Callable[[argparse.Namespace], Section]] = {
    "queries": lambda chosen: queries.measure(chosen.jobs),
    "submits": lambda chosen: submits.measure(chosen.specs),
    "bulk": lambda chosen: bulk.measure(chosen.bulk_jobs),
    "overhead": lambda chosen: overhead.measure(chosen.tasks),
    "solo": lambda chosen: training.measure(chosen.rounds),
    "sweeps": lambda chosen: sweeps.measure(chosen.rounds, chosen.ray),
    **({"gpu-sweep": lambda chosen: gpu_sweep.measure(chosen.rounds)} if machine.gpu() else {}),
    "growth": lambda _: sweeps.measure_growth(),
    "accuracy": lambda _: training.compare_accuracy(range(6)),
    "web": lambda chosen: web.measure(chosen.web_jobs),
    "verdicts": lambda chosen: verdicts.measure(chosen.comparisons),
}


def main() -> None:
    """Run the named benches, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(_BENCHES)}")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="that queries asks of")
    parser.add_argument("--specs", type=int, default=10_000, help="that submits sends")
    parser.add_argument("--bulk-jobs", type=int, default=100_000, help="that bulk changes at once")
    parser.add_argument("--tasks", type=int, default=1_000, help="that overhead sends a round")
    parser.add_argument("--rounds", type=int, default=5, help="of solo and sweeps")
    parser.add_argument("--ray", metavar="PYTHON", help="one that has ray[tune], for sweeps")
    parser.add_argument("--web-jobs", type=int, default=100_000, help="that web shows")
    parser.add_argument("--comparisons", type=int, default=10_000, help="a row of verdicts")
    chosen = parser.parse_args()
    if unknown := set(chosen.benches) - set(_BENCHES):
        parser.error(f"no bench {', '.join(sorted(unknown))}: give {', '.join(_BENCHES)}")
    for name in chosen.benches or _BENCHES:
        section = _BENCHES[name](chosen)
        write(machine.describe(section.gpu), section)
        print(section)
        print(f"Wrote {section.file}.")


if __name__ == "__main__":
    main()
