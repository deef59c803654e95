import re
from pathlib import Path

import click
import pytest

from models.settings import Settings
from service.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text()
SETTINGS_PAGE = (ROOT / "docs" / "settings.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


def help_lines(name: str) -> list[str]:
    text = command(name).help or ""
    return [line.strip() for line in text.replace("\b", "").splitlines() if line.strip()]


def subcommands() -> list[tuple[str, str]]:
    groups = {name: command(name) for name in COMMANDS}
    return [
        (name, each)
        for name, group in groups.items()
        if isinstance(group, click.Group)
        for each in group.commands
    ]


def test_every_module_of_the_command_line_that_holds_a_command_is_listed():
    modules = {path.stem for path in (ROOT / "service" / "cli").glob("*.py")}

    with_command = {name for name in modules if "def command(" in module_text(name)}

    assert with_command == set(COMMANDS)


def module_text(name: str) -> str:
    return (ROOT / "service" / "cli" / f"{name}.py").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_line_in_the_list_is_a_sentence_that_its_help_begins_like(name):
    line, first = COMMANDS[name], help_lines(name)[0]

    assert line.endswith(".")
    assert first.split()[0] == line.split()[0], "the verb"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_has_an_example_or_is_plain_sentences(name):
    lines = help_lines(name)

    examples = [line for line in lines if line.startswith(f"dq {name}")]
    sentences = " ".join(line for line in lines if line not in examples)
    assert sentences.endswith(".")
    if any(parameter.required for parameter in command(name).params):
        assert examples, "a command that wants an argument shows one"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_says_what_it_is_for(name):
    silent = [
        parameter.opts
        for parameter in command(name).params
        if isinstance(parameter, click.Option) and not parameter.help
    ]

    assert not silent


@pytest.mark.parametrize(("group", "name"), subcommands())
def test_a_command_of_a_group_has_a_sentence_too(group, name):
    found = command(group)

    assert isinstance(found, click.Group)
    assert (found.commands[name].help or "").strip().endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_line_in_the_docs(name):
    assert re.search(rf"^\| .*`dq {name}\b", COMMANDS_PAGE, re.MULTILINE)


@pytest.mark.parametrize(("group", "name"), subcommands())
def test_every_command_of_a_group_is_in_its_line(group, name):
    (line,) = [line for line in COMMANDS_PAGE.splitlines() if line.startswith(f"| `dq {group}`")]

    assert f"`{name}`" in line


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_has_a_line_in_the_docs(field):
    assert re.search(rf"^\| `DQ_{field.upper()}` \| .+ \|$", SETTINGS_PAGE, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_no_command_and_no_setting_that_is_not_there(page):
    fields = {f"DQ_{field.upper()}" for field in Settings.model_fields}

    commands = set(re.findall(r"`dq ([a-z]+)", page.read_text()))
    settings = set(re.findall(r"\bDQ_[A-Z_]*[A-Z]\b", page.read_text()))

    assert commands <= set(COMMANDS)
    assert settings <= fields


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())

    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert not gone


def test_every_page_of_the_docs_is_found_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[a-z-]+\.md)", README))

    assert linked == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def test_the_readme_is_a_page_and_what_it_prints_fits_a_terminal():
    blocks = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

    assert len(README.splitlines()) <= 110
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 80
