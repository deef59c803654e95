import json
from datetime import UTC, datetime, timedelta

import pytest

from service.reports.table import Column, Table
from service.web.templating import ago, as_json, make_url, open_templates

NASTY = "<script>alert('1')</script>&\"\x1b[31m\u202e"


def render_table(value: object) -> str:
    source = '{% import "parts.html" as parts with context %}{{ parts.table(table, "Jobs") }}'
    table = Table((Column("name", "name"),), [{"name": value}])
    return open_templates().from_string(source).render(table=table, path="/jobs", url=make_url)


def test_stored_text_is_escaped():
    text = render_table(NASTY)

    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;" in text
    assert "\x1b" not in text
    assert "\\x1b[31m\\u202e" in text


def test_a_missing_value_is_a_dash():
    assert "—" in render_table(None)


def test_json_within_a_page_closes_no_element_and_contains_no_nan():
    text = as_json({"name": "</script><!--\u2028", "loss": float("nan"), "most": float("inf")})

    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"name": "</script><!--\u2028", "loss": None, "most": None}


def test_an_undefined_value_is_an_error():
    with pytest.raises(Exception, match="undefined"):
        open_templates().from_string("{{ missing }}").render()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "just now"), (-5, "just now"), (40, "40 s ago"), (7200, "2.0 h ago")]
)
def test_a_time_is_written_as_how_long_ago_it_is(seconds, text):
    assert ago(datetime.now(UTC) - timedelta(seconds=seconds)) == text


def test_a_url_leaves_out_empty_values():
    assert make_url("/jobs", jobs="", where="lr < 1 & a", after=None, mix=True, log=False) == (
        "/jobs?where=lr+%3C+1+%26+a&mix=1"
    )
    assert make_url("/jobs", jobs="") == "/jobs"
