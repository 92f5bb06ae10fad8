"""``solve_batch`` on real local clusters of Dask and Ray: the same bits as in threads."""

from __future__ import annotations

import secrets

import numpy as np
import pytest

import trajopt as to
from trajopt.batch import solve_batch
from trajopt.solvers import ILQR


def damped() -> to.Problem:
    """Bring a point mass home against a damping that is a parameter."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u, p: np.array([x[1], u[0] - p.damping * x[1]]), nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u[0] ** 2,
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(-1, 1))],
        horizon=to.Horizon(2.0, steps=20),
        parameters={"damping": 0.1},
    )


def same_bits_as_threads() -> None:
    """Lambdas, parameters and states travel; solutions come back in order, equal to those of threads."""
    arguments = {
        "initial_states": np.random.default_rng(2).normal(size=(5, 2)),
        "parameters": {"damping": np.linspace(0.1, 1.0, 5)},
    }
    here = solve_batch(damped(), ILQR(), **arguments)
    there = solve_batch(damped(), ILQR(), backend="joblib", **arguments)
    for one, two, start in zip(here, there, arguments["initial_states"], strict=True):
        np.testing.assert_array_equal(one.x, two.x)
        np.testing.assert_array_equal(one.u, two.u)
        assert (one.cost, one.status, one.iterations) == (two.cost, two.status, two.iterations)
        np.testing.assert_array_equal(two.problem.initial_values, start)
    assert there[2].certified


def test_a_dask_cluster_gives_the_bits_of_threads():
    """Two worker processes of a local cluster, chosen with joblib's parallel_config."""
    distributed, joblib = pytest.importorskip("distributed"), pytest.importorskip("joblib")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        same_bits_as_threads()


@pytest.mark.thorough  # Ray takes ten seconds to start, and has no wheels for some Pythons
def test_a_ray_cluster_gives_the_bits_of_threads(tmp_path, monkeypatch):
    """Two workers of a local Ray, whose joblib backend is registered by Ray itself."""
    token = tmp_path / "token"  # Ray would write one into the home folder
    token.write_text(secrets.token_hex(32))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    ray, joblib = pytest.importorskip("ray"), pytest.importorskip("joblib")
    from ray.util.joblib import register_ray  # noqa: PLC0415 - after the check that Ray is there

    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config("ray", n_jobs=2):
            same_bits_as_threads()
    finally:
        ray.shutdown()
