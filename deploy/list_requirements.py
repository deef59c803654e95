"""Print what pyproject.toml asks for with one extra, a line each: `list_requirements.py worker`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print("\n".join(project["dependencies"] + project["optional-dependencies"][sys.argv[1]]))
