"""Taxonomy files: what is read, and what is refused with its words quoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.details import ACCOUNT, ADDRESS, COMMENT, DEVICE, REFERRER
from stream.errors import ConfigurationError
from stream.features import CompiledTaxonomy, taxonomy, taxonomy_of
from stream.features.taxonomy import read_taxonomy
from stream.features.word_kernels import NEGATION, STANCE
from stream.signals import DEVICES, ORIGINS, PAGES, SIDES
from tests.signalled import issue_of, signals_of

CONFIGS = Path(__file__).parents[3] / "configs"
ISSUE = '[[issues]]\nname = "economy"\n'


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_taxonomy(text.encode())
    return str(caught.value)


def test_taxonomy_is_read() -> None:
    read = read_taxonomy(
        f"""{ISSUE}words.en = ["Jobs!", ["minimum-wage", 2], "econom*"]\nwords.de = ["jobs"]
        [stance]\nfor.en = ["good"]\nagainst.en = [["bad", 0.5]]\n[negations]\nen = ["don't", "good"]\n""".encode()
    )
    assert read.issues == ("economy",)
    assert read.words == {
        b" jobs ": {0: 10},
        b" minimum wage ": {0: 20},
        b" econom": {0: 10},
        b" good ": {STANCE: 10, NEGATION: 10},
        b" bad ": {STANCE: -5},
        b" don t ": {NEGATION: 10},
    }
    assert read.lengths == {b" jobs ": 1, b" minimum wage ": 2, b" econom": 1, b" good ": 1, b" bad ": 1, b" don t ": 2}


def test_arrays_lie_as_the_kernel_reads_them() -> None:
    text = f'{ISSUE}words.en = ["a", "b c"]\n[negations]\nen = ["a"]'
    made = taxonomy_of(text.encode())
    assert made.patterns.tolist() == [(0, 2, 1), (2, 3, 2)]
    assert made.weights.tolist() == [(0, 10), (NEGATION, 10), (0, 10)]
    assert taxonomy_of(text.encode()) is made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("topics = []", "a taxonomy has the unknown key 'topics', expected issues, stance,"),
        ("issues = 3", "issues is 3, expected a list"),
        ("issues = [3]", "issues[1] is 3, expected a table"),
        ("issues = [{words = {}}]", "issues[1] lacks the key 'name'"),
        ("[[issues]]\nname = 'Big Economy'", "name is 'Big Economy', expected 1 to 64"),
        (ISSUE + ISSUE, "'economy' is repeated"),
        (ISSUE + "color = 1", "unknown key 'color'"),
        (ISSUE + "words = []", "line 3, issues[1].words is [], expected a table"),
        (
            ISSUE + "words.english = []",
            "issues[1].words has the language 'english', expected two or three small letters",
        ),
        (ISSUE + "words.en = 'jobs'", "line 3, issues[1].words.en is 'jobs', expected a list"),
        (ISSUE + "words.en = [3]", "words.en: 3, expected a text of 1 to 64 characters"),
        (ISSUE + "words.en = ['']", "words.en: '', expected a text of 1 to 64"),
        (ISSUE + f"words.en = ['{'a' * 65}']", "expected a text of 1 to 64"),
        (ISSUE + "words.en = ['--']", "words.en: '--', expected 1 to 8 words"),
        (ISSUE + "words.en = ['a b c d e f g h i']", "expected 1 to 8 words"),
        (ISSUE + "words.en = ['ed*cat']", "'ed*cat', expected 1 to 8 words, with a * at the end at most"),
        (ISSUE + "words.en = ['*']", "'*', expected 1 to 8 words"),
        (ISSUE + "words.en = ['e*']", "'e*', expected at least 2 letters of the last word before the *"),
        (ISSUE + "words.en = ['jobs *']", "'jobs *', expected at least 2 letters"),
        (ISSUE + "words.en = ['Jobs', 'jobs!']", "words.en: 'jobs!' is repeated"),
        (ISSUE + "words.en = ['jobs']\nwords.de = [['jobs', 2]]", "'jobs' weighs 2.0, and 1.0 where it stands before"),
        (ISSUE + "words.en = [['jobs', 0]]", "['jobs', 0], expected a word, or a word and a weight in tenths"),
        (ISSUE + "words.en = [['jobs', nan]]", "['jobs', nan], expected"),
        (ISSUE + "words.en = [['jobs', true]]", "['jobs', True], expected"),
        (ISSUE + "words.en = [['jobs', 101]]", "['jobs', 101], expected"),
        (ISSUE + "words.en = [['jobs']]", "['jobs'], expected"),
        (ISSUE + "words.en = [[['jobs'], 1]]", "['jobs'], expected a text"),
        (
            "".join(f"[[issues]]\nname = 'i{n}'\n" for n in range(13)),
            "line 1, issues has 13 names, expected at most 12",
        ),
        ("stance = 1", "stance is 1, expected a table"),
        ("stance.maybe = {}", "stance has the unknown key 'maybe', expected for, against"),
        ("stance.for.en = ['a']\nstance.against.de = ['A']", "stance.against.de: 'A' weighs -1.0, and 1.0"),
        ("negations = ['not']", "negations is ['not'], expected a table"),
        ("accounts = [{side = 'foe', names = []}]", "side is 'foe', expected own, ally, opponent, press"),
        (
            "accounts = [{side = 'own', names = [], issue = 'x'}]",
            "issue is 'x', expected none, since no issue is named",
        ),
        ("accounts = [{side = 'own', names = ['a b']}]", "names: 'a b', expected an account's name without blanks"),
        ("accounts = [{side = 'own', names = ['@']}]", "names: '@', expected"),
        ("accounts = [{side = 'own', names = ['a', '@A']}]", "'@A' is repeated"),
        ("pages = [{class = 'shop', paths = []}]", "class is 'shop', expected home, issue"),
        (ISSUE + "[[pages]]\nclass = 'issue'\npaths = []\nissue = 'x'", "issue is 'x', expected economy"),
        ("pages = [{class = 'home', paths = ['give']}]", "paths: 'give', expected a path such as '/donate'"),
        ("pages = [{class = 'home', paths = ['/a/']}]", "'/a/', expected"),
        ("pages = [{class = 'home', paths = ['/a/*/b']}]", "'/a/*/b', expected"),
        ("pages = [{class = 'home', paths = ['/a//b']}]", "'/a//b', expected"),
        ("pages = [{class = 'home', paths = ['*']}]", "'*', expected"),
        ("pages = [{class = 'home', paths = ['/?a']}]", "'/?a', expected"),
        ("pages = [{class = 'home', paths = ['/a']}, {class = 'news', paths = ['/A']}]", "'/A' is repeated"),
        ("referrers.direct = []", "referrers has the unknown key 'direct', expected internal, search"),
        ("referrers.mail = ['Mail.example']", "referrers.mail: 'Mail.example', expected a host in small letters"),
        ("referrers.mail = ['https://x']", "'https://x', expected a host"),
        ("referrers.mail = ['x']\nreferrers.ad = ['x']", "referrers.ad: 'x' is repeated"),
        ("tags = [{ad = ['x']}]", "tags[1] lacks the key 'parameter'"),
        ("tags = [{parameter = 'a', internal = []}]", "unknown key 'internal'"),
        ("tags = [{parameter = 'A'}]", "parameter: 'A', expected a parameter"),
        ("tags = [{parameter = 'a'}, {parameter = 'a'}]", "tags[2].parameter: 'a' is repeated"),
        ("tags = [{parameter = 'a', ad = ['x'], mail = ['X']}]", "tags[1].mail: 'X' is repeated"),
        ("tags = [{parameter = 'a', ad = ['x&y']}]", "tags[1].ad: 'x&y', expected a value without blanks"),
        ("devices = [{class = 'fridge', words = []}]", "class is 'fridge', expected phone, tablet"),
        ("devices = [{class = 'tv', words = ['tv', 'TV']}]", "words: 'TV' is repeated"),
        (ISSUE + "words.en = [['jobs', 0.25]]", "line 3, issues[1].words.en: ['jobs', 0.25], expected"),
        (
            "x = 1\n\n[[pages]]\nclass = 'home'\npaths = ['/']\n".replace("x = 1", "")
            + "[[pages]]\nclass = 'x'\npaths = []",
            "line 7, pages[2].class is 'x', expected home",
        ),
        ("channels.radio = ['am']", "channels has the unknown key 'radio', expected mail, text, push"),
        ("[channels]\nmail = ['am', 'AM']", "line 2, channels.mail: 'AM' is repeated"),
        ("[methods]\npost = [7]", "line 2, methods.post: 7, expected a text of 1 to 64"),
        (
            "[profile]\nsources = ['UTC', ['b', ' x']]",
            "line 2, profile.sources: ' x', expected a text of printable",
        ),
        ("[profile]\nregions = ['a', ['b', 'A']]", "profile.regions: 'A' is repeated"),
        ("[profile]\nage_bands = 'old'", "profile.age_bands is 'old', expected a list"),
        ("profile.sources = ['x']\nprofile.streets = []", "profile has the unknown key 'streets'"),
        ("profile.sources = [" + "'x'," * 255 + "]", "profile.sources has 255 entries, expected at most 254"),
        ("a." * 100 + "a = 1", "a taxonomy has a key of more than 64 parts"),
        ("x = ", "a taxonomy is not readable as TOML"),
        ("#" * (1024 * 1024 + 1), "a taxonomy of 1048577 bytes is too large"),
    ],
)
def test_unfit_taxonomy_is_refused_with_the_words_quoted(text: str, words: str) -> None:
    refused = refusal(text)
    assert words in refused
    assert len(refused) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("negations.en = ['a', 'b', 'c']", "3 words, with those of stance and negations, expected at most 2"),
        ("accounts = [{side = 'own', names = ['a', 'b', 'c']}]", "accounts has 3 names, expected at most 2"),
        ("pages = [{class = 'home', paths = ['/a', '/b', '/c']}]", "pages has 3 paths, expected at most 2"),
        ("referrers.ad = ['a', 'b', 'c']", "referrers has 3 hosts, expected at most 2"),
        ("tags = [{parameter = 'a', ad = ['b', 'c']}]", "tags has 3 values, expected at most 2"),
        ("devices = [{class = 'tv', words = ['a', 'b', 'c']}]", "devices has 3 words, expected at most 2"),
    ],
)
def test_lists_are_bounded(monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.setattr(taxonomy, "MAX_WORDS", 2)
    monkeypatch.setattr(taxonomy, "MAX_OTHERS", 2)
    assert words in refusal(text)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.binary(max_size=80)
    | st.sampled_from(["words", "stance", "tags", "pages"]).flatmap(
        lambda key: st.text("[]{}='\"a1,.\n ", max_size=30).map(lambda text: f"{key}{text}".encode())
    )
)
def test_bytes_are_read_or_refused(data: bytes) -> None:
    refused = ""
    try:
        taxonomy_of(data)
    except ConfigurationError as error:
        refused = str(error)
    assert len(refused) < 400


@pytest.fixture(scope="module")
def shipped() -> CompiledTaxonomy:
    return taxonomy_of((CONFIGS / "taxonomy.toml").read_bytes())


@pytest.mark.parametrize(
    ("text", "issue", "sign"),
    [
        ("I don't support this tax cut", "taxes", -1),
        ("We need affordable housing, thank you!", "housing", 1),
        ("Estoy de acuerdo: el cambio climático es real", "climate", 1),
        ("No apoyo esa política para la escuela", "education", -1),
        ("Ich bin dagegen, die Mieten steigen", "housing", -1),
        ("Der Mindestlohn ist nicht falsch", "economy", 1),
        ("Hospitals and nurses", "health", 0),
        ("Renten sichern!", "seniors", 0),
    ],
)
def test_shipped_words_know_what_a_comment_is_about(
    shipped: CompiledTaxonomy, text: str, issue: str, sign: int
) -> None:
    (signal,), _ = signals_of(shipped, "social.comment", [{COMMENT: text.encode()}])
    assert shipped.taxonomy.issues[int(signal["issues"].argmax())] == issue
    favour, against = int(signal["favour"]), int(signal["against"])
    assert (favour > against) - (favour < against) == sign


def test_shipped_addresses_and_devices_are_known(shipped: CompiledTaxonomy) -> None:
    def view(**texts: bytes) -> Any:
        places = {"url": ADDRESS, "referrer": REFERRER, "device": DEVICE}
        return signals_of(shipped, "site.page_view", [{places[name]: text for name, text in texts.items()}])[0][0]

    page = view(url=b"https://example.org/issues/health/?x")
    assert (PAGES[page["page"]], shipped.taxonomy.issues[issue_of(page)]) == ("issue", "health")
    account = signals_of(shipped, "social.like", [{ACCOUNT: b"@OurCampaign"}])[0][0]
    assert SIDES[account["side"]] == "own"
    for referrer, origin in {b"https://www.google.com/": "search", b"https://mail.google.com": "mail"}.items():
        assert ORIGINS[view(referrer=referrer)["origin"]] == origin
    assert ORIGINS[view(url=b"/?utm_source=google&utm_medium=cpc")["origin"]] == "ad"
    for agent, device in {
        b"Linux; Android 13; SM-T510": "tablet",
        b"iPhone; CPU iPhone OS": "phone",
        b"X11": "desktop",
        b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        b"Version/17.5 Mobile/15E148 Safari/604.1": "phone",
    }.items():
        assert DEVICES[view(device=agent)["device"]] == device
