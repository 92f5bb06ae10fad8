"""The registry of problems, and what holds for every problem in it."""

import math
import subprocess
import sys

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, UnknownName
from trajopt.problem import Feature
from trajopt.problems.drawing import ROLES, Arrow, Circle, Line, Polygon, Trail
from trajopt.problems.reference import TAGS

NAMES = problems.names(extras=False)

FIXED_BY_DATA = {"alpha-pinene", "gas-oil-cracking", "marine-population", "methanol"}
"""Problems whose samples fix the number of steps."""

TAGS_BY_FEATURE = {
    Feature.DISCRETE_TIME: "discrete",
    Feature.FREE_DURATION: "free-time",
    Feature.FREE_START: "free-time",
    Feature.FREE_INITIAL_STATE: "free-initial-state",
    Feature.FREE_PARAMETERS: "free-parameters",
    Feature.BOUNDARY_CONSTRAINTS: "boundary-constraint",
    Feature.INTEGRAL_CONSTRAINTS: "integral-constraint",
    Feature.PATH_CONSTRAINTS: "path-constraint",
}
"""Features that a problem shows in its description, and the tag that announces each."""


def coordinates(primitive):
    """All points of a primitive of a drawing."""
    match primitive:
        case Line(points=points) | Polygon(points=points):
            return list(points)
        case Circle(center=center, radius=radius):
            assert radius > 0.0
            return [center]
        case Trail(point=point):
            return [point]
        case Arrow(start=start, end=end):
            return [start, end]
    pytest.fail(f"{primitive!r} is no primitive of a drawing")


def test_names_are_sorted_unique_and_plenty():
    """The library holds what the design asks for, each under one name."""
    assert sorted(set(NAMES)) == NAMES
    assert len(NAMES) >= 75
    assert all(name == name.lower() and " " not in name and "_" not in name for name in NAMES)


def test_unknown_name_suggests_the_nearest():
    """A misspelt name is answered with what was probably meant, by every function that takes a name."""
    for function in (problems.load, problems.reference):
        with pytest.raises(UnknownName, match=r"'cartpole-swingupp'.*'cartpole-swingup'"):
            function("cartpole-swingupp")
    with pytest.raises(UnknownName, match=r"names\(\)"):
        problems.load("zzzzzzzz")


def test_unknown_setting_is_named():
    """A setting that the problem lacks is refused with those that it has."""
    with pytest.raises(InvalidProblem, match=r"'wal'.*wall, steps"):
        problems.load("bryson-denham", wal=0.1)


def test_import_is_lazy():
    """Importing the library imports neither CasADi nor any problem, and a name imports its own family alone."""
    code = (
        "import sys; import trajopt.problems as problems; loaded = set(sys.modules);"
        "assert 'casadi' not in loaded, 'casadi';"
        "support = ('drawing', 'reference', 'decision_reference');"
        "assert not any(name.startswith('trajopt.problems.') and name.rsplit('.')[-1] not in support"
        " for name in loaded), 'problem files';"
        "problems.reference('pendulum'); assert 'trajopt.problems.pendulum' in sys.modules;"
        "assert 'trajopt.problems.glider' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", NAMES)
def test_problem_loads_and_traces(name):
    """The factory makes a problem of that name whose traced dynamics agree with its NumPy function."""
    problem = problems.load(name)
    assert problem.name == name
    assert (problem.nx, problem.nu) == (len(problem.dynamics.states), len(problem.dynamics.controls))
    assert problem.model.dynamics.numel() == problem.nx


@pytest.mark.parametrize("name", [name for name in NAMES if problems.load(name).guess is not None])
def test_guess_fits(name):
    """A guess has the shapes of the problem, increasing times, finite entries, and starts at the initial state."""
    problem = problems.load(name)
    t, x, u = problem.guess
    assert x.shape == (len(t), problem.nx)
    assert u.shape == (len(t), problem.nu)
    assert (np.diff(t) > 0.0).all()
    assert all(np.isfinite(part).all() for part in (t, x, u))
    fixed = ~np.isnan(problem.initial_values)
    np.testing.assert_array_equal(x[0][fixed], problem.initial_values[fixed])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIXED_BY_DATA])
def test_steps_can_be_chosen(name):
    """The number of steps is a setting, so that meshes can be refined; measured data alone may fix it."""
    steps = problems.load(name).horizon.steps
    assert problems.load(name, steps=2 * steps).horizon.steps == 2 * steps


@pytest.mark.parametrize("name", NAMES)
def test_tags_agree_with_the_description(name):
    """Tags come from the documented set, and those that name a feature are there exactly when the feature is."""
    tags, features = set(problems.reference(name).tags), problems.load(name).features
    assert tags <= set(TAGS)
    assert tags & set(TAGS_BY_FEATURE.values()) == {TAGS_BY_FEATURE[f] for f in features if f in TAGS_BY_FEATURE}
    assert not {"smooth", "bang-bang"} <= tags
    if "state-constraint" in tags:
        assert Feature.STATE_BOUNDS in features


@pytest.mark.parametrize("name", NAMES)
def test_reference_is_complete(name):
    """An optimum comes with its digits and a source, in the sense in which the library minimises."""
    reference = problems.reference(name)
    assert reference.source
    assert (reference.optimum is None) == (reference.digits == 0)
    if reference.optimum is None:
        assert reference.cost is None
        assert reference.tolerance == math.inf
        return
    assert 3 <= reference.digits <= 12
    assert reference.cost == (-reference.optimum if reference.kind == "maximum" else reference.optimum)
    # One unit of the last digit, relative to a number between 1 and 10 times a power of ten.
    assert (
        0.05 * 10.0**-reference.digits <= reference.tolerance / abs(reference.optimum) <= 5.0 * 10.0**-reference.digits
    )


@pytest.mark.parametrize("name", [name for name in NAMES if problems.reference(name).picture])
def test_picture_is_drawable(name):
    """Every instant yields primitives of finite coordinates in known roles, some inside the limits of the picture."""
    problem, picture = problems.load(name), problems.reference(name).picture
    t, x, u = problem.guess or (
        np.array([0.0]),
        np.array([np.nan_to_num(problem.initial_values)]),
        np.zeros((1, problem.nu)),
    )
    frames = [picture.shape(state, control, float(time)) for time, state, control in zip(t, x, u, strict=True)]
    assert all(frames)
    for primitive in [*picture.scenery, *(primitive for frame in frames for primitive in frame)]:
        assert primitive.role in ROLES
        assert np.isfinite(coordinates(primitive)).all()
    if picture.limits is not None:
        (left, right), (low, high) = picture.limits
        first = np.array([point for primitive in frames[0] for point in coordinates(primitive)])
        assert ((first >= [left, low]) & (first <= [right, high])).all(axis=1).any()


def test_settings_reach_the_problem():
    """A constant given to load changes the problem: the bead of the brachistochrone falls with the given gravity."""
    problem = problems.load("brachistochrone", gravity=1.0)
    np.testing.assert_allclose(problem.dynamics.function({"x": np.zeros(3), "u": np.zeros(1)}), [0.0, 0.0, 1.0])
    assert isinstance(problem.horizon.duration, to.Free)
