from collections import Counter

import pytest

from chaos.stack import open_stack
from chaos.storm import make_specs, run_storm


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_under_random_faults_every_job_gets_its_one_right_result(database):
    with open_stack(postgresql=database == "postgresql", workers=2) as stack:
        report = run_storm(stack, make_specs(12, 250), seed=11, seconds=25, pause=0.8)

    print(report)
    assert report.is_right, report
    assert report.faults.total() >= 5
    assert report.packed >= 5
    assert report.states == Counter(succeeded=12)
