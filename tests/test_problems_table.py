"""The table of the library: digits that agree, verdicts, and a page that is well formed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import library
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
    """With ``--all`` every problem stands in the table; by default only the slow ones and large sizes are missing."""
    everything = {case.name for case in library.cases(everything=True)}
    assert everything == set(problems.names())
    assert everything - {case.name for case in library.cases()} == library.SLOW
    assert [case.title for case in library.cases(["van-der-pol"])] == ["van-der-pol"]


def test_large_cases_have_their_published_size():
    """The large cases have the numbers of variables of the published comparison, fixed initial states not counted."""
    sizes = {case.name: case.load() for case in library.LARGE}
    count = {name: problem.horizon.steps * (problem.nx + problem.nu) + problem.nx for name, problem in sizes.items()}
    assert count == {"dtoc1l": 15_000 - 5, "dtoc3": 3 * 5000 - 1, "dtoc6": 2 * 5001 - 1}


@pytest.fixture(scope="module")
def lines():
    """Two problems, one of them a maximum, with all solvers that handle them."""
    return library.run_all(library.cases(["parallel-reactions", "double-integrator-min-time"]), progress=lambda _: None)


def test_page_has_a_line_for_each_solver(lines):
    """Solvers that do not handle a problem have no line, and every row of a table has all its cells."""
    assert [line.solver for line in lines] == ["Collocation", "Collocation", "ILQR", "DDP"]
    page = library.markdown(lines)
    table = [row for row in page.splitlines() if row.startswith("| ")]
    width = len(library.HEAD) + 1
    assert len(table) >= 2 + len(lines)
    assert {row.count("|") for row in table[: 2 + len(lines)]} == {width}
    assert "0.573545" in page
    assert "(max)" in page


def test_better_needs_a_certificate(lines):
    """An answer beyond the optimum counts as better if it is certified, and as wrong digits otherwise."""
    first = lines[0]
    worse = dataclasses.replace(first.case.reference, optimum=first.case.reference.optimum * 1.5)
    beaten = dataclasses.replace(first, case=dataclasses.replace(first.case, reference=worse))
    assert library.verdict(beaten) == "better"
    unsure = dataclasses.replace(beaten, certificate=dataclasses.replace(beaten.certificate, findings=("no",)))
    assert library.verdict(unsure) == f"0 of {worse.digits}"


def test_only_numbers_that_differ_are_called_off():
    """A printed number within its own last digit is no contradiction; the value in DTOC6.SIF is one."""
    names = [row[0] for row in library.contradicted()]
    assert "dtoc6" in names
    assert "brachistochrone" not in names
    assert set(library.PRINTED) <= set(problems.names())
