"""The page: one file that asks no network, escapes what it is given, and can be read by a machine for the blind."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report_synthetic import LIFT, record, rollouts, view

from robomd_ros.core.errors import UnknownIdError
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation, Variation
from robomd_ros.report.build import build_report
from robomd_ros.report.html import render
from robomd_ros.report.images import png_data_uri
from robomd_ros.report.summary import summarize

META = StudyMeta("lift", "Panda", "bc", "a study")
VOID = {"meta", "link", "img", "input", "br"}
EVIL = '<script>alert(1)</script><img src="http://evil.example/x" onerror=alert(1)>"\'&{{ 7*7 }}'


class Page(HTMLParser):
    """Collects tags and text, and checks that every tag that opens closes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html():
    records = rollouts()
    return render(
        summarize(META, records, LIFT, view(records), [("data hash", "ab12")], ["robomd report x"])
    )


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_is_well_formed_and_holds_every_section(page):
    assert page.open == []
    for said in ("The answer in three sentences", "Which variations break it", "Confirmed failing conditions", "Where the failures lie",
                 "Rollouts worth looking at", "Try these conditions", "Collect this data", "How far to trust", "Entropy", "NFM", "FSI",
                 "success table", "untrained search policy", "data hash", "Surprising failures", "Safety stop"):  # fmt: skip
        assert said in page.text
    assert "nan" not in re.findall(r"\w+", page.text.lower())


def test_nothing_is_fetched(html, page):
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert "url(" not in html
    assert "@import" not in html
    assert page.all("script") == []
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_size_and_images(html, page):
    assert len(html.encode()) < 3_000_000
    images = page.all("img")
    assert images
    for image in images:
        assert image["alt"]
        Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))).verify()


def test_screen_readers_get_names(page):
    assert page.all("html")[0]["lang"] == "en"
    for picture in page.all("svg"):
        assert picture.get("aria-label") or picture.get("aria-hidden") == "true"
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link["href"].removeprefix("#") in ids
    assert all("scope" in th for th in page.all("th"))


def test_both_color_schemes_and_print_are_styled(html):
    assert "color-scheme: light dark" in html
    assert "@media print" in html


def test_text_from_outside_is_escaped():
    scene = Perturbation((Variation("object", EVIL.replace("=", "-"), (), EVIL),))
    rng = np.random.default_rng(0)
    label = Label(Outcome.FAILURE, EVIL, 0.0, EVIL)
    records = [
        record(
            i,
            scene,
            Outcome.FAILURE,
            rng,
            labels=(label,),
            policy_id=EVIL,
            robot=EVIL,
            facts={EVIL: EVIL},
        )
        for i in range(4)
    ]
    seen = view(records)
    seen = replace(
        seen,
        next_tries=tuple(replace(t, title=EVIL, reason=EVIL, id=EVIL) for t in seen.next_tries),
    )
    page = Page(
        render(
            summarize(
                StudyMeta("lift", EVIL, EVIL, EVIL), records, LIFT, seen, [(EVIL, EVIL)], [EVIL]
            )
        )
    )
    assert page.open == []
    assert page.all("script") == []
    assert not any("onerror" in a for _, a in page.tags)
    assert all(a["src"].startswith("data:image/png;base64,") for a in page.all("img"))
    assert "<script>alert(1)</script>" in page.text  # shown as it is, not run
    assert "{{ 7*7 }}" in page.text


def test_a_study_without_models_gets_the_raw_part():
    page = Page(render(summarize(META, rollouts()[:60], LIFT)))
    assert page.open == []
    assert "No model is trained" in page.text
    assert "How far to trust" not in page.text
    assert "Failed / run" in page.text


def test_an_empty_study_gets_a_page_that_says_so():
    page = Page(render(summarize(META, [], LIFT)))
    assert page.open == []
    assert "Nothing can be said yet" in page.text


def test_the_same_data_give_the_same_page():
    def build():
        records = rollouts(each=3, continuous=20)
        return render(summarize(META, records, LIFT, view(records)))

    assert build() == build()


def test_build_report_writes_one_file(tmp_path):
    study = Study.create(tmp_path / "my study", META)
    with study.store() as store:
        for r in rollouts(each=2, continuous=10):
            store.add(r)
    path = build_report(study.folder)
    assert path == study.report / "index.html"
    assert [p.name for p in study.report.iterdir()] == ["index.html"]
    page = Page(path.read_text(encoding="utf-8"))
    assert "a study" in page.text
    assert str(tmp_path) not in path.read_text(encoding="utf-8")  # a report is passed on
    other = build_report(study.folder, tmp_path / "out" / "r.html")
    assert other.read_bytes() == path.read_bytes()


def test_no_study_is_a_clear_error(tmp_path):
    with pytest.raises(UnknownIdError, match="no study"):
        build_report(tmp_path)


def test_images_are_shrunk_and_stay_right_side_up():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:240] = (255, 0, 0)
    shown = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(png_data_uri(image).partition(",")[2])))
    )
    assert shown.shape == (108, 144, 3)
    assert tuple(shown[5, 5]) == (255, 0, 0)
    assert tuple(shown[-5, 5]) == (0, 0, 0)
