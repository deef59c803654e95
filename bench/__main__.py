"""`python -m bench`: runs the benchmarks and writes RESULTS.md, or that of the GPU there is."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from bench import (
    bulk,
    gpu_sweep,
    growth,
    machine,
    overhead,
    queries,
    submits,
    sweeps,
    training,
    tuning,
    verdicts,
    web,
)
from bench.section import Section, describe_moment, describe_version, write


@dataclass(frozen=True)
class _Benchmark:
    """What measures, and of how much it does so by default."""

    measure: Callable[[int], Section]
    size: int
    of: str


def _list_benchmarks(ray_python: str | None = None) -> Mapping[str, _Benchmark]:
    gpu = {"gpu-sweep": _Benchmark(gpu_sweep.measure, 5, "rounds")} if machine.gpu() else {}
    return {
        "queries": _Benchmark(queries.measure, 1_000_000, "jobs"),
        "submits": _Benchmark(submits.measure, 10_000, "specs"),
        "bulk": _Benchmark(bulk.measure, 100_000, "jobs"),
        "overhead": _Benchmark(overhead.measure, 1_000, "tasks a round"),
        "solo": _Benchmark(training.measure, 5, "rounds"),
        "sweeps": _Benchmark(partial(sweeps.measure, ray_python=ray_python), 5, "rounds"),
        **gpu,
        "growth": _Benchmark(growth.measure, 10_000, "jobs at most"),
        "accuracy": _Benchmark(training.compare_accuracy, 6, "seeds"),
        "web": _Benchmark(web.measure, 100_000, "jobs"),
        "tuning": _Benchmark(tuning.measure, 10_000, "tunings a row"),
        "verdicts": _Benchmark(verdicts.measure, 10_000, "comparisons a row"),
    }


def main() -> None:
    """Run the named benchmarks, or all."""
    chosen = _read_arguments()
    benchmarks = _list_benchmarks(chosen.ray)
    for name in chosen.benchmarks or benchmarks:
        benchmark, start = benchmarks[name], describe_version()
        section = benchmark.measure(chosen.size or benchmark.size)
        section = replace(
            section,
            about=f"{start} {section.about}",
            notes=[*section.notes, f"Ended {describe_moment()}."],
        )
        write(machine.describe(section.gpu), section)
        print(section)
        print(f"Wrote {section.file}.")


def _read_arguments() -> argparse.Namespace:
    benchmarks = _list_benchmarks()
    sizes = ", ".join(f"{name} {each.size:,} {each.of}" for name, each in benchmarks.items())
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    choices = f"of {', '.join(benchmarks)}"
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=choices)
    parser.add_argument("--size", type=int, help=f"of the one named; by default: {sizes}")
    parser.add_argument("--ray", metavar="PYTHON", help="one that has ray[tune], for sweeps")
    chosen = parser.parse_args()
    if unknown := set(chosen.benchmarks) - set(benchmarks):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: give {', '.join(benchmarks)}")
    if chosen.size and len(chosen.benchmarks) != 1:
        parser.error("--size is of one benchmark: name it")
    return chosen


if __name__ == "__main__":
    main()
