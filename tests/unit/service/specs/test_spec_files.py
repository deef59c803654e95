import csv
import io
import json
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.specs.files import parse_rows
from service.specs.grid import build_spec, deduplicate, expand, repeat, sample
from service.specs.parsing import FieldValue

#: The same two specs in each format.
SPECS = [
    ExperimentSpec(hidden=(512, 256), keep=(0.9, 0.8), lr=0.05, seed=3),
    ExperimentSpec(hidden=(64,), train_size=2000),
]
JSONL = """
{"hidden": [512, 256], "keep": [0.9, 0.8], "lr": 0.05, "seed": 3}

{"hidden": 64, "train_size": 2000}
"""
CSV = """hidden,keep,lr,seed,train_size
"512,256","0.9,0.8",0.05,3,
64,,,,2000
"""
YAML = """
- hidden: [512, 256]
  keep: [0.9, 0.8]
  lr: 0.05
  seed: 3
- {hidden: 64, train_size: 2000}
"""
FILES = {"specs.jsonl": JSONL, "specs.csv": CSV, "specs.yaml": YAML, "specs.yml": YAML}
#: Every field that a row may have.
KNOWN = [*ExperimentSpec.model_fields, "dropout", "drop"]
#: The rows of a large file, and the CPU seconds that they may take on a busy host.
MANY, PATIENCE = 3000, 30.0


def read(text, name="specs.yaml"):
    return [build_spec(values) for values in parse_rows(text, name)]


def write_csv(specs):
    out = io.StringIO()
    writer = csv.DictWriter(out, [*ExperimentSpec.model_fields])
    writer.writeheader()
    for spec in specs:
        cells = spec.model_dump()
        lists = {name: ",".join(map(str, cells[name])) for name in ("hidden", "keep")}
        writer.writerow({**cells, **lists})
    return out.getvalue()


@st.composite
def some_specs(draw):
    layers = draw(st.integers(1, 4))
    share = st.floats(0, 1, exclude_min=True)
    return ExperimentSpec(
        dataset=draw(st.sampled_from(["mnist", "fashion-mnist"])),
        train_size=draw(st.none() | st.integers(1000, 50_000)),
        hidden=draw(st.lists(st.integers(1, 10_000), min_size=layers, max_size=layers)),
        keep=draw(st.lists(share, min_size=layers, max_size=layers)),
        lr=draw(st.floats(0, 1e300, exclude_min=True)),
        batch_size=draw(st.integers(1, 1000)),
        epochs=draw(st.integers(1, 10_000)),
        input_keep=draw(share),
        mask=draw(st.sampled_from(["batch", "sample"])),
        momentum=draw(st.floats(0, 1, exclude_max=True)),
        max_norm=draw(st.none() | st.floats(0, 100, exclude_min=True)),
        evaluation=draw(st.sampled_from(["valid", "test"])),
        seed=draw(st.integers(0, 2**63 - 1)),
    )


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_same_specs(name):
    assert read(FILES[name], name) == SPECS


@pytest.mark.parametrize("text", [JSONL, CSV, YAML])
def test_the_first_character_of_standard_input_tells_its_format(text):
    assert read(text, "-") == SPECS


def test_the_ending_of_the_name_tells_the_format_in_capitals_too():
    assert read(CSV, "SPECS.CSV") == read(YAML, "folder.csv/Specs.YAML") == SPECS


@given(st.lists(some_specs(), min_size=1, max_size=5))
def test_specs_written_to_a_file_are_read_back_unchanged(specs):
    dumps = [spec.model_dump(mode="json") for spec in specs]

    read_back = [
        read("\n".join(map(json.dumps, dumps)), "specs.jsonl"),
        read(json.dumps(dumps, indent=2), "specs.json"),
        read(write_csv(specs), "specs.csv"),
        read(yaml.safe_dump(dumps), "specs.yaml"),
    ]

    assert read_back == [specs] * 4


@pytest.mark.parametrize("format", ["csv", "json"])
def test_the_output_of_a_dry_run_is_a_file_of_the_same_specs(dq, tmp_path, format):
    file = tmp_path / "specs"
    typed = "--hidden 8 --hidden 16x2 --dropout none --lr 0.1 --lr 0.3 --seeds 3 --max-norm 2"

    printed = dq("submit", "--dry-run", "--format", format, *typed.split()).stdout
    file.write_text(printed)
    again = dq("submit", "--dry-run", "--format", format, "--from", str(file))

    assert again.stdout == printed
    assert "4 configurations x 3 seeds = 12 jobs" in again.stderr


def test_a_quoted_cell_of_a_csv_holds_a_value_for_each_layer():
    (spec,) = read('keep,hidden\n"0.9,0.8","512,256"\n', "specs.csv")

    assert (spec.keep, spec.hidden) == ((0.9, 0.8), (512, 256))


def test_an_empty_cell_of_a_csv_is_the_default_and_an_empty_line_is_no_row():
    specs = read("\r\nlr,epochs,keep\r\n,3,\r\n\r\n0.2,,\r\n", "specs.csv")

    assert specs == [ExperimentSpec(epochs=3), ExperimentSpec(lr=0.2)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("specs.csv", "lr,seed\n0.2,1\n"),
        ("specs.jsonl", '{"lr": 0.2, "seed": 1}'),
        ("specs.yaml", "- {lr: 0.2, seed: 1}"),
    ],
)
def test_the_byte_order_mark_of_a_spreadsheet_is_ignored(dq, tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8-sig")

    done = dq("submit", "--dry-run", "--json", "--from", str(file))

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == [ExperimentSpec(lr=0.2, seed=1).model_dump(mode="json")]


def test_rows_of_a_yaml_may_share_values_by_an_anchor():
    text = """
    - &base {hidden: 8x2, keep: [0.9, 0.8], lr: 0.2}
    - {<<: *base, lr: 0.3}
    - {<<: *base, keep: none, epochs: 2}
    """

    specs = read(text)

    assert specs == [
        ExperimentSpec(hidden=(8, 8), keep=(0.9, 0.8), lr=0.2),
        ExperimentSpec(hidden=(8, 8), keep=(0.9, 0.8), lr=0.3),
        ExperimentSpec(hidden=(8, 8), lr=0.2, epochs=2),
    ]


def test_a_yaml_of_one_mapping_is_one_spec():
    assert read("lr: 0.2\nepochs: 3\n") == [ExperimentSpec(lr=0.2, epochs=3)]


def test_a_number_that_yaml_reads_as_text_is_still_a_number():
    assert read("- {lr: 1e-3}") == [ExperimentSpec(lr=0.001)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("specs.jsonl", '{"lr": 0.1}\n{"rate": 0.1}'),
        ("specs.csv", "lr,rate\n0.1,\n,0.2\n"),
        ("specs.yaml", "[{lr: 0.1}, {rate: 0.1}]"),
    ],
)
def test_an_unknown_field_is_refused_with_its_row_and_the_known_fields(name, text):
    with pytest.raises(UsageError) as refusal:
        read(text, name)

    assert f"{name} row 2: unknown field 'rate'" in str(refusal.value)
    assert all(field in str(refusal.value) for field in KNOWN)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "specs.jsonl",
            '{}\n{"lr": -1}',
            "row 2: lr -1: a learning rate is a finite number above 0",
        ),
        ("specs.jsonl", '{"lr": NaN}', "row 1: lr nan: a learning rate is a finite number above 0"),
        ("specs.jsonl", '{"lr": null}', "row 1: lr None: a learning rate"),
        ("specs.jsonl", '{"epochs": 1.5}', "row 1: epochs 1.5: epochs are a whole number"),
        ("specs.csv", "lr,seed\n0.1,0\n0.1,x\n", "row 2: seed x"),
        ("specs.csv", 'keep\n"0.9,0.8"\n', "row 1: keep 0.9,0.8: 2 rates for 3 hidden layers"),
        ("specs.csv", "drop,hidden\n1,8\n", "row 1: drop 1"),
        ("specs.yaml", "- {dataset: cifar}", "row 1: dataset cifar: unknown data set 'cifar'"),
        (
            "specs.yaml",
            "- {hidden: []}",
            "row 1: hidden none: write a number for each hidden layer",
        ),
        ("specs.yaml", "- {keep: {a: 1}}", "row 1: keep {'a': 1}: write a number"),
        ("specs.yaml", "- {lr: 2026-01-01}", "row 1: lr 2026-01-01: a learning rate"),
    ],
)
def test_a_bad_value_is_refused_with_its_row_and_its_field(name, text, message):
    with pytest.raises(UsageError) as refusal:
        read(text, name)

    assert f"{name} {message}" in str(refusal.value)


@pytest.mark.parametrize("row", ["0.1", "0.1,2,3"], ids=["too few", "too many"])
def test_a_row_with_more_or_fewer_cells_than_the_header_is_refused_with_its_number(row):
    with pytest.raises(UsageError, match="row 2 has more or fewer cells than the header"):
        read(f"lr,epochs\n0.1,2\n{row}\n", "specs.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("specs.jsonl", '{"keep": 0.9, "drop": 0.5, "hidden": 8}'),
        ("specs.csv", "dropout,keep,hidden\n0.9,0.5,8\n"),
        ("specs.csv", "lr,lr\n0.1,0.2\n"),
        ("specs.yaml", "- {batch-size: 10, batch_size: 20}"),
    ],
)
def test_a_row_that_gives_a_field_twice_is_refused(name, text):
    with pytest.raises(UsageError, match=f"{name}.*row 1"):
        read(text, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[
            (name, text)
            for name in ("specs.jsonl", "specs.csv", "specs.yaml", "-")
            for text in ("", "\n\n")
        ],
        ("specs.csv", "lr,epochs\n"),
        ("specs.yaml", "[]"),
        ("specs.yaml", "# nothing"),
    ],
)
def test_a_file_without_a_spec_is_refused_with_what_it_should_hold(name, text):
    with pytest.raises(UsageError, match="JSON objects, CSV, or a YAML list"):
        read(text, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("specs.jsonl", '{"lr": 0.1'),
        ("specs.jsonl", "[0.1]"),
        ("specs.jsonl", "[" * 100_000),
        ("specs.jsonl", f'{{"seed": {"9" * 5000}}}'),
        ("specs.csv", 'lr,keep\n0.1,"0.9\n'),
        ("specs.yaml", "- lr: [0.1\n"),
        ("specs.yaml", "- lr: 0.1\n---\n- lr: 0.2\n"),
        ("specs.yaml", "- 0.1\n"),
        ("specs.yaml", "just words"),
        ("specs.yaml", "- lr: *unknown"),
        ("specs.yaml", "- lr: !!bool perhaps"),
        ("specs.yaml", "- lr: !!timestamp today"),
        ("specs.yaml", '- lr: !!int ""'),
        ("specs.yaml", "[" * 2000),
        ("specs.yaml", "- {hidden: " + "9" * 5000 + "x2}"),
        ("specs.yaml", "- {hidden: 8x" + "9" * 5000 + "}"),
    ],
    ids=lambda value: value[:24],
)
def test_a_file_that_is_no_list_of_specs_is_refused_with_its_name(name, text):
    with pytest.raises(UsageError, match=f"^{name}"):
        read(text, name)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['true']", "!!python/tuple [0.9]", "!!python/name:x"]
)
def test_a_yaml_cannot_create_python_objects(tag):
    with pytest.raises(UsageError, match=r"specs\.yaml cannot be read.*python/"):
        read(f"- keep: {tag}")


@pytest.mark.parametrize("field", ["hidden", "lr", "rate"])
def test_a_yaml_that_expands_to_a_million_values_is_refused_in_a_short_message(field):
    levels = [f"&a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    bomb = f"- {field}: [&a0 [1,1,1,1,1,1,1,1,1,1], {', '.join(levels)}]"

    with pytest.raises(UsageError) as refusal:
        read(bomb)

    assert len(str(refusal.value)) < 2000


@pytest.mark.parametrize("name", ["specs.jsonl", "specs.csv", "specs.yaml"])
def test_a_file_of_thousands_of_specs_is_read_within_seconds(name):
    specs = [SPECS[0].model_copy(update={"seed": seed}) for seed in range(MANY)]
    rows = [{"hidden": "512,256", "keep": "0.9,0.8", "lr": 0.05, "seed": n} for n in range(MANY)]
    text = {
        "specs.jsonl": "\n".join(map(json.dumps, rows)),
        "specs.csv": write_csv(specs),
    }.get(name, "\n".join(f"- {json.dumps(row)}" for row in rows))

    started = time.process_time()
    found = deduplicate(read(text, name))
    taken = time.process_time() - started

    assert found.specs == tuple(specs)
    assert taken < PATIENCE


def test_a_file_that_is_not_utf_8_is_a_usage_error(dq, tmp_path):
    file = tmp_path / "specs.csv"
    file.write_bytes("lr\n0.1\n".encode("utf-16"))

    done = dq("submit", "--dry-run", "--from", str(file))

    assert done.exit_code == 2
    assert f"{file} is no text in UTF-8" in done.stderr


@pytest.mark.parametrize("source", ["--like 1", "--fill s1", "--lr 0.1", "--dropout none"])
def test_a_file_excludes_other_sources_of_specs(dq, tmp_path, source):
    file = tmp_path / "specs.csv"
    file.write_text(CSV)

    done = dq("submit", "--dry-run", "--from", str(file), *source.split())

    assert done.exit_code == 2
    assert "--from" in done.stderr


def test_an_empty_selector_to_fill_is_refused_instead_of_meaning_the_default_spec(dq):
    done = dq("submit", "--dry-run", "--fill", "", "--seeds", "3")

    assert done.exit_code == 2
    assert done.stdout == ""


def test_given_seeds_repeat_each_configuration_of_a_file(dq, tmp_path):
    file = tmp_path / "specs.csv"
    file.write_text("hidden,seed\n8,7\n8,9\n16,7\n")

    done = dq("submit", "--dry-run", "--from", str(file), "--seeds", "3", "--json")

    found = [(spec["hidden"], spec["seed"]) for spec in json.loads(done.stdout)]
    assert found == [([width], seed) for seed in (0, 1, 2) for width in (8, 16)]
    assert "2 configurations x 3 seeds = 6 jobs" in done.stderr


def test_deduplicated_specs_keep_their_seeds_and_order():
    grid = deduplicate([SPECS[1], SPECS[0], SPECS[1], SPECS[0].model_copy(update={"seed": 4})])

    assert grid.specs == (SPECS[1], SPECS[0], SPECS[0].model_copy(update={"seed": 4}))
    assert (grid.configurations, grid.seeds) == (2, 3)
    assert str(grid) == "2 configurations, 3 jobs"


def test_repeated_specs_have_only_the_given_seeds():
    grid = repeat([*SPECS, SPECS[0].model_copy(update={"seed": 99})], [1, 0, 1])

    assert [(spec.hidden, spec.seed) for spec in grid.specs] == [
        (spec.hidden, seed) for seed in (1, 0) for spec in SPECS
    ]
    assert grid.configurations == 2


def grid_of(configurations, seeds):
    return expand(
        [[FieldValue("epochs", n, f"--epochs {n}") for n in range(1, configurations + 1)]], seeds
    )


def test_a_sample_has_the_same_configurations_each_time_with_all_their_seeds():
    grid = grid_of(50, [3, 1])

    drawn = sample(grid, 7)

    assert drawn == sample(grid, 7)
    assert (drawn.configurations, drawn.seeds, len(drawn.specs)) == (7, 2, 14)
    assert drawn.specs == tuple(spec for spec in grid.specs if spec in drawn.specs)
    assert str(drawn) == "7 configurations x 2 seeds = 14 jobs"


def test_a_sample_is_drawn_from_the_whole_grid():
    drawn = {spec.epochs for spec in sample(grid_of(1000, [0]), 100).specs}

    assert len(drawn) == 100
    assert min(drawn) < 100
    assert max(drawn) > 900


@pytest.mark.parametrize("size", [3, 4, 1000])
def test_a_sample_is_at_most_the_whole_grid(size):
    grid = grid_of(3, [0, 1])

    assert sample(grid, size) == grid


def test_the_number_of_seeds_does_not_change_which_configurations_are_drawn():
    few, many = (sample(grid_of(50, range(seeds)), 5) for seeds in (1, 10))

    assert {spec.epochs for spec in few.specs} == {spec.epochs for spec in many.specs}
