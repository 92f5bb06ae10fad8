"""Mistakes in the core, on which every solver stands: the monitor, warm starts and the certificate."""

from __future__ import annotations

from .mutant import Mutant

MONITOR, SENSITIVITY, OPTIMALITY = "trajopt.monitor", "trajopt.sensitivity", "trajopt.optimality"
CERTIFICATE, VIOLATIONS, REINTEGRATION = "trajopt.certificate", "trajopt.violations", "trajopt.reintegration"

MUTANTS = [
    Mutant(
        "the iteration limit counts as solved", MONITOR,
        "            return Status.INTERRUPTED\n        return Status.ITERATION_LIMIT\n\n    def run_batches",
        "            return Status.INTERRUPTED\n        return Status.SOLVED\n\n    def run_batches",
        "ILQR()", ("an_iteration_limit_is_no_success",),
    ),
    Mutant(
        "the time limit is not looked at", MONITOR,
        "return Status.TIME_LIMIT if self.seconds_left <= 0.0 else None",
        "return None",
        "ILQR()", ("a_time_limit_is_kept",),
    ),
    Mutant(
        "an interrupt counts as solved", MONITOR,
        "            return Status.INTERRUPTED\n        return Status.ITERATION_LIMIT\n\n    def run_batches",
        "            return Status.SOLVED\n        return Status.ITERATION_LIMIT\n\n    def run_batches",
        "ILQR()", ("an_interrupt_returns_the_best_so_far",),
    ),
    Mutant(
        "warm starts move twice as far as the horizon", "trajopt.plan",
        "moved = plan.shift(int(shift))",
        "moved = plan.shift(min(2 * int(shift), plan.steps))",
        "", ("test_mpc_optimality.py::test_the_next_guess_is_the_rest_of_the_plan",),
    ),
    Mutant(
        "the certificate forgets the gradient of the end", SENSITIVITY,
        "adjoint[:ends], running[:ends] = rows.by_final, rows.by_running",
        "adjoint[:ends], running[:ends] = 0.0 * rows.by_final, rows.by_running",
        "ILQR()", (
            "costates_are_derivatives_of_the_remaining_cost",
            "success_is_certified",
            "costates_are_slopes_of_the_optimal_cost",
        ),
    ),
    Mutant(
        "costates of the certificate are off by one", OPTIMALITY,
        "state.costates[path.steps.first]",
        "state.costates[np.minimum(path.steps.first + 1, len(state.costates) - 1)]",
        "ILQR()", ("costates_are_derivatives_of_the_remaining_cost", "costates_are_slopes_of_the_optimal_cost"),
    ),
    Mutant(
        "costates of the certificate have the wrong sign", OPTIMALITY,
        "state.costates[path.steps.first]",
        "-state.costates[path.steps.first]",
        "ILQR()", ("costates_are_derivatives_of_the_remaining_cost", "costates_are_slopes_of_the_optimal_cost"),
    ),
    Mutant(
        "multipliers of bounds have the wrong sign in the certificate", OPTIMALITY,
        "balance = [-outward[:, entry] for entry in found.control.numbers]",
        "balance = [outward[:, entry] for entry in found.control.numbers]",
        "MultipleShooting()", ("active_bounds_have_multipliers",),
    ),
    Mutant(
        "the certificate forgets the cost of the end", CERTIFICATE,
        "float(path.running[0] + final[0])",
        "float(path.running[0])",
        "ILQR()", ("success_is_certified",),
    ),
    Mutant(
        "the certificate takes violations for margins", VIOLATIONS,
        "beyond = np.stack([self.lower - self.values, self.values - self.upper])",
        "beyond = np.stack([self.values - self.lower, self.upper - self.values])",
        "ILQR()", ("success_is_certified",),
    ),
    Mutant(
        "the certificate is blind to violations", CERTIFICATE,
        "violation = max(0.0, worst[0].amount) if worst else 0.0",
        "violation = 0.0",
        "", ("test_certificate.py::test_state_bound_violated_between_knots_only",),
    ),
    Mutant(
        "the certificate is blind to defects", REINTEGRATION,
        """        (np.abs(ends - trajectory.x[1:]) / scale).max(axis=1),
        float(distance.max()),
""",
        """        0.0 * (np.abs(ends - trajectory.x[1:]) / scale).max(axis=1),
        float(distance.max()),
""",
        "", ("test_certificate.py::test_moved_knot_is_a_defect_in_its_intervals",),
    ),
    Mutant(
        "the certificate is blind to the gradient", "trajopt.stationarity",
        "return Stationarity(float(np.linalg.norm(counting * weights)), nu,",
        "return Stationarity(0.0 * float(np.linalg.norm(counting * weights)), nu,",
        "", ("test_certificate.py::test_feasible_control_that_is_not_optimal_is_not_stationary",),
    ),
    Mutant(
        "costates of direct methods have the wrong sign", "trajopt.transcription.multipliers",
        "future[chosen], past[chosen] = gradient[:nx].T, -gradient[right : right + nx].T",
        "future[chosen], past[chosen] = -gradient[:nx].T, gradient[right : right + nx].T",
        "MultipleShooting()", (
            "costates_are_derivatives_of_the_remaining_cost",
            "gains_and_costates_are_those_of_riccati",
            "costates_are_slopes_of_the_optimal_cost",
        ),
    ),
    Mutant(
        "multipliers of bounds have the wrong sign in direct methods", "trajopt.transcription.multipliers",
        '"control_bounds": bounds[layout.u] / shares.controls(),',
        '"control_bounds": -bounds[layout.u] / shares.controls(),',
        "MultipleShooting()", ("multipliers_of_bounds_push_inwards",),
    ),
]  # fmt: skip
