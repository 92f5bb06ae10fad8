"""Compiled code on disk: found again, never trusted when damaged, never needed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from trajopt.lowering import cache, compile_functions, machine_code

PROGRAM = """
import logging, sys
import casadi as ca
from trajopt.lowering import compile_functions, machine_code
if sys.argv[1] == "no compiler":
    def refuse(text):
        raise AssertionError("compiled again")
    machine_code.compile_object = refuse
x = ca.SX.sym("x", 2)
function = ca.Function("f", [x], [ca.sin(x[0]) * x[1], ca.jacobian(ca.exp(x[0]) * x[1], x)])
code = compile_functions({"f": function}, lanes=int(sys.argv[2]))
print(code.address("f") != 0)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, and a process that has compiled nothing yet."""
    monkeypatch.setenv("TRAJOPT_CACHE_DIR", str(tmp_path / "cache"))
    forget(monkeypatch)
    return tmp_path / "cache" / "code"


def forget(monkeypatch):
    monkeypatch.setattr(machine_code, "_loaded", {})


def square():
    x = ca.SX.sym("x")
    return {"f": ca.Function("f", [x], [x * x])}


def run(mode, lanes=1):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, mode, str(lanes)], stdout=subprocess.PIPE, text=True)


def count_compilations(monkeypatch):
    """Count calls of the compiler from here on."""
    calls = []
    original = machine_code.compile_object
    monkeypatch.setattr(machine_code, "compile_object", lambda text: calls.append(text) or original(text))
    return calls


def test_a_second_process_does_not_compile(folder):
    """The key is the same in every process, so the second one works with the compiler taken away."""
    for mode in ("compile", "no compiler"):
        process = run(mode)
        assert process.communicate(timeout=60)[0].strip() == "True"
        assert process.returncode == 0
    assert len(list(folder.iterdir())) == 1


def test_the_same_expression_compiles_once_in_a_process(monkeypatch, folder):
    """Eight threads that ask for the same functions share one compilation and one result."""
    calls = count_compilations(monkeypatch)
    results, start = [], threading.Barrier(8)

    def work():
        functions = square()
        start.wait()
        results.append(compile_functions(functions))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result is results[0] for result in results)
    assert len(calls) == 1
    assert len(list(folder.iterdir())) == 1


def test_everything_that_changes_the_code_changes_the_key(folder):
    """Expression, constant, name, lanes and shared inputs each lead to a file of their own."""
    x, p = ca.SX.sym("x"), ca.SX.sym("p")
    for constant in (1.0, 1.0 + 2.0**-52):
        function = ca.Function("f", [x, p], [x * p * constant], ["x", "p"], ["y"])
        compile_functions({"f": function})
        compile_functions({"g": function})
        compile_functions({"f": function}, lanes=2)
        compile_functions({"f": function}, lanes=2, shared=["p"])
    assert len(list(folder.iterdir())) == 8


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "foreign", "longer"])
def test_a_damaged_file_is_rebuilt(damage, folder, monkeypatch, caplog):
    """Whatever is wrong with the file, the functions compile again and the file is sound afterwards."""
    compile_functions(square())
    (path,) = folder.iterdir()
    sound = path.read_bytes()
    flipped = bytearray(sound)
    flipped[-7] ^= 1
    contents = {
        "truncate": sound[: len(sound) // 2],
        "empty": b"",
        "flip": bytes(flipped),
        "foreign": b"something else entirely" * 100,
        "longer": sound + b"x",
    }
    path.write_bytes(contents[damage])
    forget(monkeypatch)
    calls = count_compilations(monkeypatch)
    with caplog.at_level(logging.DEBUG, "trajopt.lowering"):
        code = compile_functions(square())
    assert code.evaluate("f", [3.0])[0] == 9.0
    assert len(calls) == 1
    assert "damaged" in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records)
    assert path.read_bytes() == sound


def test_a_file_under_the_name_of_another_is_not_loaded(folder, monkeypatch):
    """Sound code of another expression is recognised as not this one's."""
    compile_functions(square())
    (path,) = folder.iterdir()
    x = ca.SX.sym("x")
    compile_functions({"f": ca.Function("f", [x], [x + 1])})
    (other,) = set(folder.iterdir()) - {path}
    path.write_bytes(other.read_bytes())
    forget(monkeypatch)
    assert compile_functions(square()).evaluate("f", [3.0])[0] == 9.0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX ownership and modes")
@pytest.mark.parametrize("who", ["group", "everyone"])
def test_files_that_others_may_write_are_not_loaded(who, folder, monkeypatch):
    """Code from a file or folder that someone else can change is never run."""
    compile_functions(square())
    (path,) = folder.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    mode = {"group": 0o660, "everyone": 0o606}[who]
    path.chmod(mode)
    forget(monkeypatch)
    calls = count_compilations(monkeypatch)
    compile_functions(square())
    assert len(calls) == 1
    (path,) = folder.iterdir()
    folder.chmod(mode | 0o111)
    assert cache.read(path.stem) is None
    folder.chmod(0o700)
    assert cache.read(path.stem) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX ownership and modes")
def test_files_of_other_users_are_not_loaded(folder, monkeypatch):
    """A file that belongs to another user is ignored."""
    compile_functions(square())
    (path,) = folder.iterdir()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert cache.read(path.stem) is None


@pytest.mark.parametrize("obstacle", ["a file in the way", "no permission", "disk full"])
def test_works_without_a_cache_folder(obstacle, tmp_path, monkeypatch):
    """A folder that cannot be made or written costs the compilation, nothing else."""

    def refuse(*arguments, **options):
        raise OSError(28, obstacle)

    if obstacle == "a file in the way":
        (tmp_path / "cache").write_text("not a folder")
    elif obstacle == "no permission":
        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        monkeypatch.setattr(cache, "write_atomically", refuse)
    assert compile_functions(square()).evaluate("f", [3.0])[0] == 9.0


def test_a_read_only_folder_is_read(folder, monkeypatch):
    """What is cached in a folder that cannot be written is still used."""
    compile_functions(square())
    (path,) = folder.iterdir()
    path.chmod(0o400)
    folder.chmod(0o500)
    forget(monkeypatch)
    calls = count_compilations(monkeypatch)
    compile_functions(square())
    folder.chmod(0o700)
    assert not calls


def test_two_processes_at_once(folder):
    """Both succeed, and what they leave is one sound file that a third one loads."""
    processes = [run("compile", lanes=4) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["True", "True"]
    (path,) = folder.iterdir()
    assert cache.read(path.stem) is not None


def test_pruning_keeps_what_was_used_last(folder):
    """The oldest files go until the folder is small enough, and so do half-written ones that were abandoned."""
    for k in range(6):
        cache.write(f"{k}", bytes(1000))
        os.utime(folder / f"{k}.code", (10_000.0 + k, 10_000.0 + k))
    (folder / ".5.code.half").write_bytes(b"x")
    os.utime(folder / ".5.code.half", (1.0, 1.0))
    size = (folder / "0.code").stat().st_size
    cache.prune(folder, 3 * size)
    assert sorted(path.name for path in folder.iterdir()) == ["3.code", "4.code", "5.code"]


def test_reading_counts_as_use(folder):
    """A file that is read becomes the newest, so pruning spares it."""
    for k in range(2):
        cache.write(f"{k}", bytes(1000))
        os.utime(folder / f"{k}.code", (10_000.0 + k, 10_000.0 + k))
    assert cache.read("0") == bytes(1000)
    cache.prune(folder, (folder / "0.code").stat().st_size)
    assert [path.name for path in folder.iterdir()] == ["0.code"]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/trajopt"),
        ("linux", {}, "/home/me/.cache/trajopt"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "/home/me/Library/Caches/trajopt"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/trajopt"),
        ("linux", {"TRAJOPT_CACHE_DIR": "/mine", "XDG_CACHE_HOME": "/x"}, "/mine"),
    ],
)
def test_folder_follows_the_platform(platform, variables, expected, monkeypatch):
    """Each platform's rule, and the user's own choice before it."""
    for name in ("TRAJOPT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.cache_folder() == Path(expected)


def test_cached_code_computes_the_same_bits(monkeypatch):
    """Loading object code gives the very results of the first compilation."""
    x = ca.SX.sym("x", 3)
    functions = {"f": ca.Function("f", [x], [ca.sin(x) / ca.sumsqr(x)])}
    point = np.random.default_rng(0).standard_normal((3, 4))
    first = compile_functions(functions, lanes=4).evaluate("f", point)[0]
    forget(monkeypatch)
    np.testing.assert_array_equal(compile_functions(functions, lanes=4).evaluate("f", point)[0], first)
