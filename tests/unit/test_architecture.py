import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for top in ("models", "service", "worker", "migrations")
    for path in (ROOT / top).rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_each_module_has_its_first_line_in_the_architecture(module):
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()

    docstring = ast.get_docstring(ast.parse((ROOT / module).read_text()))

    assert docstring is not None
    assert f"| `{module}` | {docstring.splitlines()[0]} |" in lines


def test_the_architecture_names_no_module_that_is_gone():
    rows = (ROOT / "ARCHITECTURE.md").read_text().splitlines()

    named = {row.split("`")[1] for row in rows if row.startswith("| `") and ".py` |" in row}

    assert named == {str(module) for module in MODULES}
