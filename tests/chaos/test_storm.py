from collections import Counter

import pytest

from chaos.stack import open_stack
from chaos.storm import make_specs, run_storm


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("database", "jobs", "epochs", "seconds"),
    [
        ("postgresql", 8, 150, 12),
        pytest.param("postgresql", 12, 250, 25, marks=pytest.mark.long),
        pytest.param("sqlite", 12, 250, 25, marks=pytest.mark.long),
    ],
)
def test_under_random_faults_every_job_gets_its_one_right_result(database, jobs, epochs, seconds):
    with open_stack(postgresql=database == "postgresql", workers=2) as stack:
        report = run_storm(stack, make_specs(jobs, epochs), seed=11, seconds=seconds, pause=0.8)

    print(report)
    assert report.is_right, report
    assert report.faults.total() >= 5
    assert report.packed >= 5
    assert report.states == Counter(succeeded=jobs)
