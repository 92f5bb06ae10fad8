"""Mistakes in sampling: proposals, rollouts, weights, updates, memory and random numbers."""

from __future__ import annotations

from .mutant import Mutant

WEIGHTS, UPDATE = "trajopt.solvers.kernels.weights", "trajopt.solvers.sampling.update"
KERNELS, RANDOM = "trajopt.solvers.kernels.sampling", "trajopt.solvers.kernels.random"
SEARCH, ENGINE, MEMORY = (f"trajopt.solvers.sampling.{name}" for name in ("search", "engine", "memory"))
SMALL = "samples=32, iterations=40, tolerance=1e-2, patience=4"
MPPI, CEM, WARM = f"MPPI({SMALL})", f"CEM({SMALL})", f"MPPI({SMALL}, temperature=1.0)"

MUTANTS = [
    Mutant(
        "the temperature is inverted", WEIGHTS,
        "rate[0] = 1.0",
        "rate[0] = -1.0",
        WARM, ("the_search_goes_downhill",),
    ),
    Mutant(
        "the adapted temperature is inverted", WEIGHTS,
        "rate[0] = 2.0**middle",
        "rate[0] = -(2.0**middle)",
        MPPI, ("the_search_goes_downhill",),
    ),
    Mutant(
        "the least merit is not subtracted before exponentials are taken", WEIGHTS,
        "population.relative[block, lane] = (population.merits[block, lane] - least) / unit",
        "population.relative[block, lane] = population.merits[block, lane] / unit",
        WARM, ("a_constant_in_the_cost_moves_no_sample",),
    ),
    Mutant(
        "weights do not add up to one", WEIGHTS,
        "population.weights[block, lane] /= total",
        "population.weights[block, lane] /= 0.5 * total",
        "", ("test_sampling_closed_forms.py::test_limits_of_the_temperature",),
    ),
    Mutant(
        "elites are taken from the wrong end", UPDATE,
        'return near[np.argsort(merits[near], kind="stable")][:count]',
        'return np.argsort(np.where(np.isfinite(merits), -merits, np.inf), kind="stable")[:count]',
        CEM, ("the_search_goes_downhill",),
    ),
    Mutant(
        "the variance of the elites is the unbiased one", UPDATE,
        "chosen.std(axis=0)",
        "chosen.std(axis=0, ddof=1)",
        "", ("test_sampling_closed_forms.py::test_a_generation_of_cem_is_its_twin",),
    ),
    Mutant(
        "momentum keeps what it should give up", UPDATE,
        "proposal.mean[:] = stays * proposal.mean + (1.0 - stays) * mean.reshape(shape)",
        "proposal.mean[:] = (1.0 - stays) * proposal.mean + stays * mean.reshape(shape)",
        "", ("test_sampling_closed_forms.py::test_a_generation_of_cem_is_its_twin",),
    ),
    Mutant(
        "what is not finite costs nothing", KERNELS,
        "population.merits[block, lane] = work.merit[lane] if finite else math.inf",
        "inside = block * lanes + lane < population.samples\n"
        "        population.merits[block, lane] = work.merit[lane] if finite else 0.0 if inside else math.inf",
        "", ("test_mppi_kernels.py::test_rollouts_that_are_not_finite_have_infinite_merit_and_no_weight",),
    ),
    Mutant(
        "the last plan is kept instead of the best", SEARCH,
        "        if merit < self.best_merit:\n            self.best, self.candidate",
        "        if True:\n            self.best, self.candidate",
        MPPI, ("the_best_so_far_is_kept",),
    ),
    Mutant(
        "every iteration draws the same numbers", SEARCH,
        "self.engine.sample(self.proposal, self.population, self.iteration)",
        "self.engine.sample(self.proposal, self.population, 0)",
        MPPI, ("no_number_is_drawn_twice",),
    ),
    Mutant(
        "samples of a block share their numbers", RANDOM,
        "np.uint64(sample + lane)",
        "np.uint64(sample)",
        MPPI, ("no_number_is_drawn_twice",),
    ),
    Mutant(
        "the seed is not read", RANDOM,
        "low, high = key & _LOW, key >> _HALF",
        "low, high = key & np.uint64(0), key >> _HALF",
        MPPI, ("another_seed_is_another_search",),
    ),
    Mutant(
        "threads draw from streams of their own", ENGINE,
        "self.executor.submit(sampling.sample_blocks, *arguments, first, last, iteration, work)",
        "self.executor.submit(sampling.sample_blocks, *arguments, first, last, iteration + 1, work)",
        "MPPI(samples=64, iterations=40, tolerance=1e-2, patience=4)", ("threads_change_no_bit",),
    ),
    Mutant(
        "random dynamics take a seed of the moment", ENGINE,
        "generator = np.random.default_rng([self.seed, stream])",
        "generator = np.random.default_rng()",
        MPPI, ("random_dynamics_are_reproducible",),
    ),
    Mutant(
        "samples leave their bounds", KERNELS,
        "parameters[s * nu + i, lane] = min(max(parameter, lower), upper)",
        "parameters[s * nu + i, lane] = parameter",
        MPPI, ("samples_are_clipped_before_they_are_simulated",),
    ),
    Mutant(
        "rows that are violated do not matter to success", SEARCH,
        "violated = self.violation > solver.constraint_tolerance",
        "violated = False",
        CEM, ("an_unreachable_target_is_never_solved",),
    ),
    Mutant(
        "a memory moves twice as far as the horizon", MEMORY,
        "part, place = steps - whole, np.arange(length) + whole",
        "part, place = steps - whole, np.arange(length) + 2 * whole",
        "", ("test_sampling_solvers.py::test_memory_moves_forwards",),
    ),
    Mutant(
        "a memory is stale: it does not move with the horizon", MEMORY,
        "mean=fitted[0],",
        "mean=self.mean,",
        "", ("test_sampling_solvers.py::test_memory_moves_forwards",),
    ),
]  # fmt: skip
