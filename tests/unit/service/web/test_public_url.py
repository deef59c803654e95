import pytest

from models.errors import UsageError
from service.web.public_url import read_public_url


@pytest.mark.parametrize(
    "text",
    [
        *("", "dq.example.org", "/dq", "ftp://x/", "https://", "https://[::1", "https://x:port/"),
        *("https://x/?a=1", "https://x/#a", "https://user@x/", "https://x//dq"),
    ],
)
def test_an_invalid_address_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"write the whole address, such as https://dq\.example"):
        read_public_url(text)


@pytest.mark.parametrize(
    ("text", "origin", "base"),
    [
        ("https://DQ.example.org/dq/", "https://dq.example.org", "/dq"),
        ("http://dq.example.org:8080", "http://dq.example.org:8080", ""),
        ("https://[::1]:8443/a/b", "https://[::1]:8443", "/a/b"),
    ],
)
def test_an_address_is_split_into_origin_and_base_path(text, origin, base):
    public = read_public_url(text)

    assert (public.origin, public.base) == (origin, base)
