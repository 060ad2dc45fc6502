"""Accounts, pages, referrers, tags and devices against plain string methods and RFC 3986's own regular expression."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.details import ACCOUNT, ADDRESS, DEVICE, REFERRER
from stream.features import taxonomy_of
from stream.features.taxonomy import NO_ISSUE
from stream.signals import DEVICES, ORIGINS, PAGES, SIDES
from tests.signalled import issue_of, signals_of

FILE = """
issues = [{name = "climate"}, {name = "health"}]
accounts = [
  {side = "own", names = ["@JaneDoe"]},
  {side = "ally", issue = "health", names = ["nurses", "Ärzte"]},
  {side = "press", names = ["news.example"]},
]
pages = [
  {class = "home", paths = ["/", "/index*"]},
  {class = "donate", paths = ["/give", "/donate*", "*/donate", "*fund*"]},
  {class = "issue", issue = "climate", paths = ["/issues/climate", "/issues/climate/*"]},
  {class = "issue", paths = ["/issues/*"]},
  {class = "other", paths = ["*.PDF"]},
]
tags = [
  {parameter = "utm_medium", ad = ["cpc", "paid*"], mail = ["email"]},
  {parameter = "gclid", ad = ["*"]},
  {parameter = "utm_source", search = ["google"], social = ["fb", "face*"]},
]
devices = [
  {class = "tv", words = ["smart tv", "tv"]},
  {class = "phone", words = ["mobile", "iphone*"]},
  {class = "tablet", words = ["android"]},
]
[referrers]
internal = ["example.org"]
search = ["google.com", "bing.com"]
mail = ["mail.google.com"]
social = ["t.co"]
"""
COMPILED = taxonomy_of(FILE.encode())
ACCOUNTS = {"janedoe": ("own", -1), "nurses": ("ally", 1), "ärzte": ("ally", 1), "news.example": ("press", -1)}
PATHS = [
    *((path, "home", -1) for path in ("/", "/index*")),
    *((path, "donate", -1) for path in ("/give", "/donate*", "*/donate", "*fund*")),
    *((path, "issue", 0) for path in ("/issues/climate", "/issues/climate/*")),
    *(("/issues/*", "issue", -1), ("*.pdf", "other", -1)),
]
HOSTS = {"example.org": "internal", "google.com": "search", "bing.com": "search", "mail.google.com": "mail"}
HOSTS["t.co"] = "social"
VALUES = [
    *(
        ("utm_medium", "cpc", "ad"),
        ("utm_medium", "paid*", "ad"),
        ("utm_medium", "email", "mail"),
        ("gclid", "*", "ad"),
    ),
    *(("utm_source", "google", "search"), ("utm_source", "fb", "social"), ("utm_source", "face*", "social")),
]
# RFC 3986, appendix B; a text of bytes, one character for each.
URI = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)


def parts_of(address: str) -> tuple[str | None, str, str]:
    """Return authority (None for none), path and query."""
    match = URI.fullmatch(address)
    assert match is not None
    scheme, authority, path, query = match.groups()
    if authority is None and scheme is not None:
        path = f"{scheme}:{path}"
    return authority, path, query or ""


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def page(address: str) -> tuple[str, int]:
    if not address:
        return "other", NO_ISSUE
    path = "/" + "/".join(part for part in parts_of(address)[1].casefold().split("/") if part)
    return next(((name, issue) for glob, name, issue in PATHS if fnmatchcase(path, glob)), ("other", NO_ISSUE))


def referrer(address: str) -> str:
    if not address:
        return "direct"
    authority = parts_of(address)[0]
    host = re.split("[/?#]", address, maxsplit=1)[0] if authority is None else authority
    host = re.sub(r":[0-9]*$", "", host.rpartition("@")[2], flags=re.ASCII).removesuffix(".").casefold()
    fits = [name for name in HOSTS if host == name or host.endswith(f".{name}")]
    return HOSTS[max(fits, key=len)] if fits else "other"


def tag(address: str) -> str:
    given_values = [part.casefold().partition("=") for part in parts_of(address)[2].split("&") if "=" in part]
    for name, pattern, origin in VALUES:
        if any(key == name and fnmatchcase(value, pattern) for key, _, value in given_values):
            return origin
    return "other" if {key for key, _, _ in given_values} & {name for name, _, _ in VALUES} else "direct"


def account(name: str) -> tuple[str, int]:
    return ACCOUNTS.get(name.removeprefix("@").casefold(), ("other", NO_ISSUE))


def pages_of(texts: list[str]) -> list[tuple[str, int]]:
    signals, unknown = signals_of(COMPILED, "site.page_view", [{ADDRESS: encoded(text)} for text in texts])
    for signal, names, text in zip(signals, unknown, texts, strict=True):
        assert ("page" in names) <= (PAGES[signal["page"]] == "other" and text != "")
    return [(PAGES[signal["page"]], issue_of(signal)) for signal in signals]


def accounts_of(texts: list[str]) -> list[tuple[str, int]]:
    signals, unknown = signals_of(COMPILED, "social.follow", [{ACCOUNT: encoded(text)} for text in texts])
    for signal, names, text in zip(signals, unknown, texts, strict=True):
        assert ("side" in names) == (SIDES[signal["side"]] == "other" and text not in {"", "@"})
    return [(SIDES[signal["side"]], issue_of(signal)) for signal in signals]


def referrers_of(texts: list[str]) -> list[str]:
    signals, unknown = signals_of(COMPILED, "site.page_view", [{REFERRER: encoded(text)} for text in texts])
    found = [ORIGINS[code] for code in signals["origin"].tolist()]
    assert [names == {"referrer"} for names in unknown] == [origin == "other" for origin in found]
    return found


def tags_of(texts: list[str]) -> list[str]:
    signals, unknown = signals_of(COMPILED, "site.page_view", [{ADDRESS: encoded(text)} for text in texts])
    found = [ORIGINS[code] for code in signals["origin"].tolist()]
    assert ["tag" in names for names in unknown] == [origin == "other" for origin in found]
    return found


def devices_of(texts: list[str]) -> list[str]:
    signals, _ = signals_of(COMPILED, "site.page_view", [{DEVICE: encoded(text)} for text in texts])
    assert [1 <= bit <= 16 for bit in signals["device_bit"].tolist()] == [text != "" for text in texts]
    return [DEVICES[code] for code in signals["device"].tolist()]


NOISE = st.binary(max_size=2).map(lambda data: data.decode("utf-8", "surrogateescape"))
HEADS = [
    "",
    "https:",
    "http://",
    "//",
    "://",
    "mailto:",
    "android-app://",
    "u:p@",
    "example.org",
    "www.google.com",
    "x",
]
TAILS = [
    "/",
    "//",
    "/donate",
    "/Give",
    "/issues",
    "/climate",
    "/refunds",
    "/a.pdf",
    "/index",
    "?",
    "#",
    ":80",
    ".",
    "@",
]
ADDRESSES = st.lists(st.sampled_from(HEADS + TAILS) | NOISE, max_size=8).map("".join)
QUERIES = st.lists(
    st.sampled_from(
        ["?", "&", "&", "=", "#", "utm_medium=", "UTM_SOURCE=", "gclid=", "cpc", "paid", "Google", "fb", "x"]
    )
    | NOISE,
    max_size=10,
).map("".join)
many = settings(derandomize=True, max_examples=300, deadline=None)


@many
@given(st.lists(ADDRESSES, min_size=1, max_size=8))
def test_pages_are_what_the_first_fitting_path_says(texts: list[str]) -> None:
    assert pages_of(texts) == [page(text) for text in texts]


@many
@given(st.lists(ADDRESSES, min_size=1, max_size=8))
def test_referrers_are_what_the_longest_fitting_host_says(texts: list[str]) -> None:
    assert referrers_of(texts) == [referrer(text) for text in texts]


@many
@given(st.lists(QUERIES.map(lambda query: f"/{query}"), min_size=1, max_size=8))
def test_tags_are_what_the_first_known_parameter_says(texts: list[str]) -> None:
    assert tags_of(texts) == [tag(text) for text in texts]


@many
@given(st.lists(st.sampled_from(["@", *ACCOUNTS, "NURSES", "ÄRZTE", "x", " "]) | NOISE, max_size=3).map("".join))
def test_accounts_are_met_whole(text: str) -> None:
    assert accounts_of([text]) == [account(text)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", ("other", -1)),
        ("https://example.org", ("home", -1)),
        ("https://example.org/?utm_source=x", ("home", -1)),
        ("https://example.org//#top", ("home", -1)),
        ("HTTPS://example.org/INDEX.html", ("home", -1)),
        ("/donate-now/?a=/give", ("donate", -1)),
        ("/en/donate/", ("donate", -1)),
        ("/en/donate/x", ("other", -1)),
        ("/issues/climate", ("issue", 0)),
        ("/issues/climate//plan", ("issue", 0)),
        ("/issues/climates", ("issue", -1)),
        ("/issues/", ("other", -1)),
        ("/x.pdf", ("other", -1)),
        ("give", ("donate", -1)),
        ("?x=/give", ("home", -1)),
        ("/give%20", ("other", -1)),
    ],
)
def test_pages(address: str, expected: tuple[str, int]) -> None:
    assert pages_of([address]) == [expected] == [page(address)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", "direct"),
        ("https://www.google.com/search?q=x", "search"),
        ("https://mail.google.com/", "mail"),
        ("https://a.MAIL.google.com./", "mail"),
        ("https://notgoogle.com", "other"),
        ("https://google.com.evil.example/", "other"),
        ("https://google.com@evil.example/", "other"),
        ("https://u:p@google.com:443/x", "search"),
        ("//t.co", "social"),
        ("t.co/abc", "social"),
        ("t.co:80", "social"),
        ("https://donate.example.org/x", "internal"),
        ("https://[::1]:80/", "other"),
        ("https://com/", "other"),
        ("https:///google.com", "other"),
        ("about:blank", "other"),
        ("x://a?b=//google.com", "other"),
    ],
)
def test_referrers(address: str, expected: str) -> None:
    assert referrers_of([address]) == [expected] == [referrer(address)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", "direct"),
        ("https://example.org/", "direct"),
        ("https://example.org/?utm_medium=email", "mail"),
        ("/?utm_source=google&utm_medium=cpc", "ad"),
        ("/?utm_source=google&utm_medium=strange", "search"),
        ("/?utm_medium=strange", "other"),
        ("/?utm_medium=", "other"),
        ("/?utm_medium", "direct"),
        ("/?utm_medium=cpcs", "other"),
        ("/?utm_medium=PAID-social", "ad"),
        ("/?xutm_medium=cpc", "direct"),
        ("/?x=utm_medium=cpc", "direct"),
        ("/?gclid=123#x", "ad"),
        ("/#?gclid=123", "direct"),
        ("/?a=1&&utm_source=facebook", "social"),
        ("/utm_source=fb", "direct"),
    ],
)
def test_tags(address: str, expected: str) -> None:
    assert tags_of([address]) == [expected] == [tag(address)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ("other", -1)),
        ("@", ("other", -1)),
        ("@@janedoe", ("other", -1)),
        ("JANEDOE", ("own", -1)),
        ("janedoe2", ("other", -1)),
        ("ÄRZTE", ("ally", 1)),
        ("news.example", ("press", -1)),
    ],
)
def test_accounts(name: str, expected: tuple[str, int]) -> None:
    assert accounts_of([name]) == [expected] == [account(name)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "other"),
        ("toaster", "other"),
        ("Mobile", "phone"),
        ("immobile", "other"),
        ("Mozilla/5.0 (Linux; Android 14) Mobile Safari", "phone"),
        ("Mozilla/5.0 (Linux; Android 14; SM-X200)", "tablet"),
        ("iPhone15,3", "phone"),
        ("Android Smart-TV mobile", "tv"),
        ("a tv", "tv"),
        ("tvs\xff", "other"),
        ("tv\udcff", "tv"),
    ],
)
def test_devices(text: str, expected: str) -> None:
    assert devices_of([text]) == [expected]


@pytest.mark.parametrize("sign", ["/", "a", "@", ":", "?", "#", "&", ".", "\udcff", "é"])
def test_ten_thousand_of_one_character_are_what_they_are(sign: str) -> None:
    text = sign * 10_000
    assert pages_of([text]) == [page(text)]
    assert referrers_of([text]) == [referrer(text)]
    assert tags_of([text]) == [tag(text)]
    assert accounts_of([text]) == [account(text)]
    assert devices_of([text]) == ["other"]


def test_tags_win_over_the_referrer() -> None:
    rows = [
        {ADDRESS: b"/?utm_medium=email", REFERRER: b"https://google.com"},
        {ADDRESS: b"/?utm_medium=strange", REFERRER: b"https://google.com"},
        {ADDRESS: b"/", REFERRER: b"https://google.com"},
    ]
    signals, unknown = signals_of(COMPILED, "site.page_view", rows)
    assert [ORIGINS[code] for code in signals["origin"].tolist()] == ["mail", "other", "search"]
    assert unknown == [set(), {"tag"}, set()]


def test_devices_spread_over_sixteen_bits_and_stay_the_same() -> None:
    rows = [{DEVICE: b"device-%d" % number} for number in range(800)]
    bits = signals_of(COMPILED, "site.page_view", [*rows, *rows])[0]["device_bit"]
    assert (bits[:800] == bits[800:]).all()
    counts = [bits[:800].tolist().count(bit) for bit in range(1, 17)]
    assert 25 <= min(counts) <= max(counts) <= 80
