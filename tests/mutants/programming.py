"""Mistakes in dynamic programming: the Riccati recursion, LQR, iLQR and DDP, their rollouts and integrators."""

from __future__ import annotations

from .mutant import Mutant

RICCATI, LQR = "trajopt.solvers.kernels.riccati", "trajopt.solvers.kernels.lqr"
SHOOTING, DDP, RUN = "trajopt.solvers.kernels.shooting", "trajopt.solvers.kernels.ddp", "trajopt.solvers.ilqr_run"
INTEGRATORS = "trajopt.transcription.integrators"

MUTANTS = [
    Mutant(
        "the terminal gradient is left out", LQR,
        "work.v[i] = gains.costate[steps, i] = expansion.end_gradient[i]",
        "work.v[i] = gains.costate[steps, i] = 0.0",
        "LQR()", (
            "linear_quadratic_answers_are_exact",
            "small_problems_are_solved",
            "gains_and_costates_are_those_of_riccati",
            "one_step_solves_a_linear_quadratic_problem",
        ),
    ),
    Mutant(
        "costates are off by one", LQR,
        "gains.costate[s, i] = work.v[i]",
        "gains.costate[s + 1, i] = work.v[i]",
        "LQR()", (
            "costates_are_derivatives_of_the_remaining_cost",
            "gains_and_costates_are_those_of_riccati",
            "costates_are_slopes_of_the_optimal_cost",
        ),
    ),
    Mutant(
        "the Hessian of the value forgets the cross term Q_xu K", RICCATI,
        "combine_rows(V, i * nx, 1.0, V, i * nx, 1.0, Q, nx * nz + i, nz, K, first, nx, nu, i + 1)",
        "combine_rows(V, i * nx, 1.0, V, i * nx, 0.0, Q, nx * nz + i, nz, K, first, nx, nu, i + 1)",
        "LQR()", (
            "linear_quadratic_answers_are_exact",
            "gains_and_costates_are_those_of_riccati",
            "one_step_solves_a_linear_quadratic_problem",
        ),
    ),
    Mutant(
        "the slope of the value forgets the cross term Q_xu k", RICCATI,
        "combine_rows(v, 0, 1.0, v, 0, 1.0, k, s * nu, 1, Q, nx * nz, nz, nu, nx)",
        "combine_rows(v, 0, 1.0, v, 0, 0.0, k, s * nu, 1, Q, nx * nz, nz, nu, nx)",
        "LQR()", (
            "linear_quadratic_answers_are_exact",
            "gains_and_costates_are_those_of_riccati",
            "one_step_solves_a_linear_quadratic_problem",
        ),
    ),
    Mutant(
        "the step goes uphill", RICCATI,
        "box.trial[i] = -box.q[i]",
        "box.trial[i] = box.q[i]",
        "ILQR()", ("what_is_easy_is_solved", "linear_quadratic_answers_are_exact", "least_energy_is_the_closed_form"),
    ),
    Mutant(
        "gaps of the dynamics are not pulled back", RICCATI,
        "v[i] += T[i, 0]",
        "v[i] += 0.0 * T[i, 0]",
        "LQR()", ("one_step_solves_a_linear_quadratic_problem",),
    ),
    Mutant(
        "gains move controls at their bounds", RICCATI,
        "K[s, i, j] = 0.0",
        "K[s, i, j] = 1.0",
        "ILQR()", (
            "box_constrained_answers_are_exact",
            "costates_are_derivatives_of_the_remaining_cost",
            "constrained_answers_are_exact",
        ),
    ),
    Mutant(
        "the free initial state moves the wrong way", "trajopt.solvers.lqr",
        "self.reference.x[0, free] += move[:, 0]",
        "self.reference.x[0, free] -= move[:, 0]",
        "LQR()", ("what_is_easy_is_solved",),
    ),
    Mutant(
        "controls are clipped after the dynamics have seen them", SHOOTING,
        """            out.u[s, i] = min(max(control, data.lower[i]), data.upper[i])
        call6(functions.step, out.x, s * nx, out.u, s * nu, data.times, 2 * s, data.parameters, 0,
              out.x, (s + 1) * nx, work.cost, 0)  # fmt: skip
""",
        """            out.u[s, i] = control
        call6(functions.step, out.x, s * nx, out.u, s * nu, data.times, 2 * s, data.parameters, 0,
              out.x, (s + 1) * nx, work.cost, 0)  # fmt: skip
        for i in range(nu):
            out.u[s, i] = min(max(out.u[s, i], data.lower[i]), data.upper[i])
""",
        "ILQR()", ("box_constrained_answers_are_exact",),
    ),
    Mutant(
        "controls are not clipped", SHOOTING,
        "out.u[s, i] = min(max(control, data.lower[i]), data.upper[i])",
        "out.u[s, i] = control",
        "ILQR()", ("box_constrained_answers_are_exact",),
    ),
    Mutant(
        "stage costs are summed in single precision", SHOOTING,
        "out.x, (s + 1) * nx, work.cost, 0)  # fmt: skip\n        cost += work.cost[0]",
        "out.x, (s + 1) * nx, work.cost, 0)  # fmt: skip\n        cost = float(np.float32(cost + work.cost[0]))",
        "ILQR()", ("reported_cost_is_that_of_the_trajectory",),
    ),
    Mutant(
        "the cost of the previous iterate is reported", DDP,
        "state.cost[0], state.merit[0], state.length[0] = cost, merit, length",
        "state.cost[0], state.merit[0], state.length[0] = state.merit[0], merit, length",
        "ILQR()", (
            "reported_cost_is_that_of_the_trajectory",
            "success_is_certified",
            "nothing_costs_less_than_the_optimum",
        ),
    ),
    Mutant(
        "the line search takes any step", DDP,
        "if (gain > 0.0 or free) and gain >= 1e-4 * predicted:",
        "if True:",
        "ILQR()", ("steps_that_overshoot_are_held_back",),
    ),
    Mutant(
        "derivatives are those of an earlier iterate", RUN,
        "self.expanded = verdict == ddp.REJECTED",
        "self.expanded = True",
        "ILQR()", ("one_step_solves_a_linear_quadratic_problem", "constrained_answers_are_exact"),
    ),
    Mutant(
        "DDP leaves out the curvature of the dynamics", DDP,
        "weights = work.none if state.gap[0] > 0.0 else work.costate if newton else work.v",
        "weights = work.none",
        "", ("test_testing_oracles.py::test_iterates_of_second_order_are_those_of_the_fast_solver",),
    ),
    Mutant(
        "a lost decrement counts as converged", DDP,
        "if not math.isfinite(state.decrement[0]):\n        return NOT_FINITE",
        "if not math.isfinite(state.decrement[0]):\n        return CONVERGED",
        "ILQR()", ("an_unbounded_cost_is_never_solved",),
    ),
    Mutant(
        "rows push away from their upper limits", SHOOTING,
        "return value + multiplier / weight - upper",
        "return upper - value - multiplier / weight",
        "ILQR()", ("what_is_easy_is_solved", "least_energy_is_the_closed_form", "constrained_answers_are_exact"),
    ),
    Mutant(
        "multipliers of the end rows have the wrong sign", SHOOTING,
        "        penalty.end[i] = weight * shifted_residual(",
        "        penalty.end[i] = -weight * shifted_residual(",
        "ILQR(newton=False)", ("multipliers_of_a_target_are_slopes_of_the_cost",),
    ),
    Mutant(
        "rows at the end are not judged", SHOOTING,
        "violation, error = measure(rollout.end, penalty.end, weight, judge, data.end_lower, data.end_upper)",
        "violation, error = 0.0, 0.0",
        "ILQR()", (
            "an_unreachable_target_is_never_solved",
            "the_wording_of_a_target_does_not_matter",
            "planted_infeasibility_is_never_solved",
        ),
    ),
    Mutant(
        "an endless search for multipliers counts as solved", RUN,
        "return Status.INFEASIBLE if converged else Status.STALLED",
        "return Status.SOLVED",
        "ILQR()", (
            "an_unreachable_target_is_never_solved",
            "contradictory_rows_are_never_solved",
            "planted_infeasibility_is_never_solved",
        ),
    ),
    Mutant(
        "parameters are frozen at the first solve", SHOOTING,
        "return Data(times, end_time, problem.layout.pack(problem.parameters), lower, upper, *limits)",
        "packed = problem.model.__dict__.setdefault('_packed', problem.layout.pack(problem.parameters))\n"
        "    return Data(times, end_time, packed, lower, upper, *limits)",
        "ILQR()", ("parameters_are_not_frozen", "linear_quadratic_answers_are_exact"),
    ),
    Mutant(
        "the third stage of RK4 starts from the first", INTEGRATORS,
        "(0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)",
        "(0.5, 0.0), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)",
        "ILQR()", ("integrators_have_their_order",),
    ),
    Mutant(
        "derivatives of a step forget its earlier stages", INTEGRATORS,
        "self.totals.append(partial @ into)",
        "self.totals.append(partial)",
        "ILQR()", ("success_is_certified",),
    ),
    Mutant(
        "the cost of a step is that at its begin", INTEGRATORS,
        "outputs = [next_state, total[nx],",
        "outputs = [next_state, sum(map(ca.SX, quadrature)) * stages.rates[0][nx],",
        "ILQR()", ("success_is_certified",),
    ),
]  # fmt: skip
