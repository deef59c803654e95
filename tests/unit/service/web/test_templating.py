import json
from datetime import UTC, datetime, timedelta

import pytest

from service.reports.table import Column, Table
from service.web.templating import ago, as_json, open_templates, spell_url

NASTY = "<script>alert('1')</script>&\"\x1b[31m\u202e"


def draw_table(value: object) -> str:
    source = '{% import "parts.html" as parts with context %}{{ parts.table(table, "Jobs") }}'
    table = Table((Column("name", "name"),), [{"name": value}])
    return (
        open_templates()
        .from_string(source)
        .render(table=table, path="/jobs", stamp="", here="", url=spell_url)
    )


def test_what_is_stored_is_shown_and_never_obeyed():
    drawn = draw_table(NASTY)

    assert "<script" not in drawn
    assert "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;" in drawn
    assert "\x1b" not in drawn
    assert "\\x1b[31m\\u202e" in drawn


def test_what_is_not_there_is_a_dash():
    assert "—" in draw_table(None)


def test_json_within_a_page_ends_no_element_and_holds_no_nan():
    written = as_json({"name": "</script><!--\u2028", "loss": float("nan"), "most": float("inf")})

    assert "<" not in written
    assert "\u2028" not in written
    assert json.loads(written) == {"name": "</script><!--\u2028", "loss": None, "most": None}


def test_a_value_that_a_template_is_not_given_is_an_error():
    with pytest.raises(Exception, match="undefined"):
        open_templates().from_string("{{ missing }}").render()


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "just now"), (-5, "just now"), (40, "40 s ago"), (7200, "2.0 h ago")]
)
def test_a_time_is_told_by_how_long_ago_it_was(seconds, told):
    assert ago(datetime.now(UTC) - timedelta(seconds=seconds)) == told


def test_an_address_holds_what_says_something_alone():
    assert spell_url("/jobs", jobs="", where="lr < 1 & a", after=None, mix=True, log=False) == (
        "/jobs?where=lr+%3C+1+%26+a&mix=1"
    )
    assert spell_url("/jobs", jobs="") == "/jobs"
