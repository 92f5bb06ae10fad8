"""The table of the library: digits that agree, verdicts, and a page that is well formed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import library, library_page
from bench.cases import Instance
from trajopt import problems
from trajopt.problems.reference import Reference


@given(st.floats(1e-3, 1e6), st.integers(3, 12), st.floats(0.01, 0.99))
def test_digits_follow_the_tolerance_of_the_reference(optimum, digits, part):
    """All digits agree inside the tolerance, and one digit fewer just outside it: the same rule in both places."""
    reference = Reference(optimum, digits, "a number")
    inside, outside = (optimum + step * reference.tolerance for step in (part, 1.0 + 9.0 * part))
    assert library.agreeing_digits(inside, reference) == digits
    assert library.agreeing_digits(outside, reference) == digits - 1
    assert library.agreeing_digits(np.inf, reference) == 0


def test_library_covers_everything():
    """With ``--all`` every traced problem stands in the table; by default slow ones and large sizes are missing."""
    everything = {case.instance.name for case in library.cases(everything=True)}
    assert everything == set(problems.names()) - library.SIMULATED
    assert everything - {case.instance.name for case in library.cases()} == library.SLOW
    assert [case.instance for case in library.cases(["van-der-pol"])] == [Instance("van-der-pol", "van-der-pol")]


def test_large_cases_have_their_published_size():
    """The large cases have the numbers of variables of the published comparison, fixed initial states not counted."""
    sizes = {case.instance.name: case.instance.load() for case in library.LARGE}
    count = {name: problem.horizon.steps * (problem.nx + problem.nu) + problem.nx for name, problem in sizes.items()}
    assert count == {"dtoc1l": 15_000 - 5, "dtoc3": 3 * 5000 - 1, "dtoc6": 2 * 5001 - 1}


NAMES = ["parallel-reactions", "double-integrator-min-time"]
REFERENCES = {name: problems.reference(name) for name in NAMES}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The file in which the run of `lines` keeps its results."""
    return tmp_path_factory.mktemp("library") / "lines.jsonl"


@pytest.fixture(scope="module")
def lines(kept):
    """Two problems, one of them a maximum, with all solvers that handle them."""
    return library.run_all(library.cases(NAMES), progress=lambda _: None, keep=kept)


def test_page_has_a_line_for_each_solver(lines):
    """Solvers that do not handle a problem have no line, and every row of a table has all its cells."""
    found = [(line.title, line.solver) for line in lines]
    handled = {
        name: [s for s in library.SOLVERS if problems.load(name).features <= library.SOLVERS[s].handles]
        for name in NAMES
    }
    assert found == [(name, solver) for name in sorted(NAMES) for solver in handled[name]]
    assert len(found) < len(NAMES) * len(library.SOLVERS)
    page = library_page.markdown(lines, REFERENCES)
    table = [row for row in page.splitlines() if row.startswith("| ")]
    width = len(library_page.HEAD) + 1
    assert len(table) >= 2 + len(lines)
    assert {row.count("|") for row in table[: 2 + len(lines)]} == {width}
    assert "0.573545" in page
    assert "(max)" in page


def test_a_run_is_resumed(lines, kept):
    """Results that were kept are taken as they are, and nothing is solved again."""
    again = library.run_all(library.cases(NAMES), progress=pytest.fail, known=library.read_lines(kept), keep=kept)
    assert again == lines
    assert len(kept.read_text().splitlines()) == len(lines)


def test_page_compares_with_ipopt(lines):
    """The page says what share InteriorPoint and IPOPT solve from the same guess, and shows IPOPT's time."""
    (_, sentence) = library_page.summary(lines)
    assert "InteriorPoint solves 2 of 2 problems and IPOPT 2; InteriorPoint alone: none; IPOPT alone: none." in sentence
    failed = [dataclasses.replace(line, success=line.solver != "IPOPT") for line in lines]
    (_, sentence) = library_page.summary(failed)
    assert "IPOPT 0; InteriorPoint alone: double-integrator-min-time, parallel-reactions;" in sentence
    mine = next(line for line in failed if line.solver == "InteriorPoint")
    assert library_page.ipopt_time(mine, failed).startswith("(")
    assert library_page.ipopt_time(mine, lines)[0].isdigit()


def test_better_needs_a_certificate(lines):
    """An answer beyond the optimum counts as better if it is certified, and as wrong digits otherwise."""
    first = lines[0]
    reference = REFERENCES[first.title]
    worse = dataclasses.replace(reference, optimum=reference.optimum * 1.5)
    assert library.verdict(first, worse) == "better"
    unsure = dataclasses.replace(first, passed=False)
    assert library.verdict(unsure, worse) == f"0 of {worse.digits}"


def test_only_numbers_that_differ_are_called_off():
    """A printed number within its own last digit is no contradiction; the value in DTOC6.SIF is one."""
    names = [row[0] for row in library_page.contradicted()]
    assert "dtoc6" in names
    assert "brachistochrone" not in names
    assert set(library_page.PRINTED) <= set(problems.names())
