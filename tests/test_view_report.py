"""The report is one safe, self-contained file whose numbers are those of the solution."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from view_samples import Steady, chain, slide, solution_of

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Line, Trail, box
from trajopt.problems.reference import Reference
from trajopt.view.animation import film
from trajopt.view.facts import Facts, number
from trajopt.view.report import report_page, write_report

VOID = {"meta", "input", "br", "img", "path", "use", "rect", "option"}


class Page(HTMLParser):
    """Collects text, tags, attributes and what is left open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.words, self.scripts = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def picture(state, control, t):
    return [
        box(0.2, 0.1, (state[0], 0.05)),
        Trail((float(state[0]), 0.1)),
        Arrow((float(state[0]), 0.2), (float(state[0] + control[0]), 0.2)),
        Line(((0.0, 0.0), (float(t), 0.3))),
        Circle((float(state[0]), 0.0), 0.02),
    ]


DRAWING = Drawing(picture, (Line(((-1.0, 0.0), (3.0, 0.0)), "ground"),))


@pytest.fixture(scope="module")
def solution():
    return to.solve(slide(), Steady())


@pytest.fixture(scope="module")
def text(solution):
    reference = Reference(2.0, 4, "A book, 1999", tags=("smooth",), note="mind the <gap>")
    return report_page(Facts.gather(solution, reference), DRAWING)


def test_page_is_well_formed(text):
    """Every element is closed in order, and every id exists once and where it is referred to."""
    page = Page(text)
    assert not page.open
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r"url\(#([^)]*)\)", text)) | {
        value[1:] for name, value in page.attributes if name.endswith("href") and value.startswith("#")
    }
    assert referred <= set(ids)


def test_page_needs_no_network(text):
    """No address occurs but names of namespaces, and nothing is loaded."""
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.search(r"https?://|//[a-z]+\.[a-z]+/", without_namespaces)
    page = Page(text)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in {"src", "srcset"}]


def test_page_shows_the_numbers(text, solution):
    """Cost, true cost, optimum, every number of the certificate and its findings stand in the text."""
    shown = Page(text).text
    facts = Facts.gather(solution)
    expected = [number(solution.cost, 7), number(facts.true_cost, 7), "A book, 1999", "mind the <gap>", "Steady"]
    expected += [number(check.value, 3) for check in facts.checks]
    expected += [check.sentence for check in facts.checks] + list(facts.certificate.findings)
    expected += ["position", "speed", "push", "margin of limit", "costate of speed", "weight = 1"]
    assert [part for part in expected if " ".join(part.split()) not in shown] == []


def test_names_cannot_become_markup(tmp_path):
    """A problem, state and constraint named like tags appear as text."""
    hostile = "<script>alert(1)</script>"
    function = slide().dynamics.function.function
    problem = replace(
        slide(name=hostile),
        dynamics=to.ContinuousDynamics(function, states=[hostile, "b&b"], controls=["$x_1$<i>"]),
        constraints=[to.PathConstraint(lambda x, u: x[1], upper=3.0, name="<b>limit</b>")],
    )
    path = write_report(to.solve(problem, Steady()), tmp_path / "report.html", drawing=DRAWING)
    plain = Page(path.read_text())
    page = Page(write_report(to.solve(slide(), Steady()), path, drawing=DRAWING).read_text())
    assert plain.tags.count("script") == page.tags.count("script") == 2
    assert plain.tags.count("b") == page.tags.count("b")
    assert hostile in plain.text
    assert "$x_1$<i>" in plain.text


def test_film_shows_what_the_drawing_draws(solution):
    """Frames are the shapes at their times, to the six digits that are written."""
    content = film(solution, DRAWING, frames=7)
    assert len(content["frames"]) == len(content["times"]) == 7
    for t, frame in zip(np.linspace(0.0, 2.0, 7), content["frames"], strict=True):
        shapes = picture(*solution(t), t)
        assert [kind for kind, _, _ in frame] == [type(shape).__name__.lower() for shape in shapes]
        for shape, (_, role, numbers) in zip(shapes, frame, strict=True):
            values = [np.ravel(value) for name, value in asdict(shape).items() if name != "role"]
            np.testing.assert_allclose(numbers, np.concatenate(values).astype(float), rtol=1e-5, atol=1e-12)
            assert role == shape.role


def test_film_limits_hold_the_motion(solution):
    """Without limits of its own, a drawing is framed with all that moves inside."""
    content = film(solution, DRAWING)
    (left, right), (bottom, top) = content["limits"]
    assert left < -1.0
    assert right > 3.0 + 1.0 * 0.0
    assert bottom < 0.0
    assert top > 0.3


def test_page_carries_the_film(text, solution):
    """The JSON inside the page is the film."""
    (data, *_) = [script for script in Page(text).scripts if script.lstrip().startswith("{")]
    assert json.loads(data) == json.loads(json.dumps(film(solution, DRAWING)))


def test_film_cannot_end_its_script(solution):
    """A role that looks like the end of a script stays inside of it."""
    drawing = Drawing(lambda x, u, t: [Line(((0.0, 0.0), (1.0, 1.0)), "</script><img>")])
    page = Page(report_page(Facts.gather(solution), drawing))
    assert "img" not in page.tags
    (data, *_) = [script for script in page.scripts if script.lstrip().startswith("{")]
    assert json.loads(data)["frames"][0][0][1] == "</script><img>"


def test_discrete_films_have_a_frame_for_each_step():
    """Between steps of discrete dynamics there is no state, so no frame."""
    solution = chain(1, 4)
    dynamics = to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1)
    problem = to.Problem(dynamics, initial_state=[1.0], horizon=to.Horizon(steps=4))
    solution = solution_of(problem, replace(solution.trajectory, t=np.arange(5.0)))
    content = film(solution, Drawing(lambda x, u, t: [Circle((float(x[0]), 0.0), 1.0)]))
    assert [frame[0][2][0] for frame in content["frames"]] == pytest.approx(solution.x[:, 0].tolist(), rel=1e-5)


def test_failed_solutions_are_reported(tmp_path):
    """NaN everywhere, a status without success and no history still make a page that says so."""
    good = chain(2, 6)
    trajectory = replace(good.trajectory, x=np.full_like(good.x, np.nan))
    solution = solution_of(good.problem, trajectory, (), to.Status.NUMERICAL_FAILURE)
    page = Page(write_report(solution, tmp_path / "report.html", drawing=DRAWING).read_text())
    assert "numerical failure" in page.text
    assert "not confirmed" in page.text
    assert "canvas" not in page.tags


def test_broken_certificate_is_told(monkeypatch, tmp_path):
    """When the check itself raises, the report says why and shows the rest."""

    def broken(solution):
        raise ZeroDivisionError("no mass")

    monkeypatch.setattr("trajopt.certificate.certify", broken)
    page = Page(write_report(chain(2, 6), tmp_path / "report.html").read_text())
    assert "The certificate could not be made: ZeroDivisionError: no mass" in page.text
    assert "States and controls" in page.text


def test_reports_stay_small(tmp_path, monkeypatch):
    """Thirteen states, four controls and 5000 steps of noise fit into two megabytes."""
    monkeypatch.setattr("trajopt.certificate.certify", lambda solution: 1 / 0)
    path = write_report(chain(13, 5000, nu=4), tmp_path / "report.html")
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("optimum", "kind", "cost", "text"),
    [(2.0, "minimum", 2.00001, "+5.00e-06, equal in all 4 trusted digits"), (4.0, "maximum", -3.9, "+2.50e-02"),
     (None, "minimum", 1.0, "")],
)  # fmt: skip
def test_difference_from_the_optimum(optimum, kind, cost, text, solution):
    """The difference is relative, in the sense of a minimised cost, and judged by the digits that were printed."""
    facts = Facts(replace(solution, cost=cost), None, "", Reference(optimum, 4, "", kind=kind))
    assert facts.difference_text == text
