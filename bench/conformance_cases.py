"""Every solver of the library as the conformance suite meets it, and which of its checks each is known to fail."""

from __future__ import annotations

from collections.abc import Mapping

from trajopt.solver import Solver
from trajopt.solvers import (
    CEM,
    CMAES,
    DDP,
    DIAL,
    ICEM,
    ILQR,
    LQR,
    MCTS,
    MPPI,
    Chain,
    Collocation,
    GradientShooting,
    Indirect,
    InteriorPoint,
    MultipleShooting,
    MultiStart,
    PredictiveSampling,
    RandomShooting,
    SCvx,
    SingleShooting,
)

SMALL = {"samples": 64, "iterations": 200, "tolerance": 1e-2, "patience": 4}
"""Few samples and a loose tolerance: what is checked does not depend on them."""

SOLVERS = [
    LQR(),
    ILQR(),
    DDP(),
    InteriorPoint(),
    Collocation(),
    Collocation("radau", 3),
    MultipleShooting(),
    SingleShooting(),
    SCvx(tolerance=1e-6),
    Indirect(tolerance=1e-4),
    *(kind(**SMALL) for kind in (MPPI, CEM, ICEM, DIAL, RandomShooting, PredictiveSampling)),
    CMAES(**SMALL | {"iterations": 60}),
    GradientShooting(starts=4, iterations=200, tolerance=1e-2),
    Chain(MPPI(samples=64, iterations=8), ILQR()),
    MultiStart(ILQR(), starts=2),
    MCTS(simulations=50, levels=5),
]

EXPECTED: dict[type[Solver], dict[str, str]] = {
    Indirect: {
        "what_is_easy_is_solved": "arcs on which a limit of the state acts have to be named in its structure",
        "the_answer_is_the_last_of_the_history": "records value the mesh of the collocation before it is refined, and "
        "a free duration moves the cost by more than that",
        "an_iteration_limit_is_kept": "each change of the structure starts the count of the boundary-value solver anew",
    },
    GradientShooting: {
        "what_it_claims_to_handle_it_solves": "random dynamics are taken from models with gradients alone, and "
        "the suite has none without PyTorch",
        "another_seed_is_another_search": "the start that is not perturbed wins on this plant, whatever the seed",
    },
    MultiStart: {"the_history_tells_the_solve": "by its documentation a record stands for a whole start"},
}


def expected_failures(solver: Solver) -> Mapping[str, str]:
    """Defects that are known and not yet mended."""
    return EXPECTED.get(type(solver), {})
