"""`make chaos`: 300 jobs, minutes of faults, real PostgreSQL and Redis; the seed repeats it."""

import argparse
import sys

from chaos.stack import open_stack
from chaos.storm import make_specs, run_storm


def main() -> int:
    """Rage once; exit with 1 unless every job has one right result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    chosen = parser.parse_args()
    with open_stack(postgresql=chosen.database == "postgresql", workers=2) as stack:
        specs = make_specs(chosen.jobs, chosen.epochs)
        report = run_storm(stack, specs, chosen.seed, chosen.seconds, chosen.pause)
    print(report)
    return 0 if report.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
