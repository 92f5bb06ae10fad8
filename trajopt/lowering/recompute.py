"""The way out when a lane leaves a polynomial's range: the block again, lane by lane, with the C library."""

from __future__ import annotations

from trajopt.lowering.program import Program


def recomputation_text(program: Program, lanes: int, shared: frozenset[str], number: str) -> str:
    """Return the LLVM function ``name.lanes``, which calls ``name.scalar`` once for each lane.

    Outputs may overlap inputs of the same layout, because lane j only touches elements of lane j. ``number`` is LLVM's
    type of the numbers.
    """
    inputs = range(len(program.input_sizes))
    outputs = range(len(program.outputs))
    pointers = [f"ptr %i{k}" for k in inputs] + [f"ptr %o{k}" for k in outputs]
    own = [k for k in inputs if program.input_names[k] not in shared]
    lines = [f'define internal void @"{program.name}.lanes"({", ".join(pointers)}) noinline cold #0 {{', "entry:"]
    lines += [f"%bi{k} = alloca {number}, i64 {max(1, program.input_sizes[k])}" for k in own]
    lines += [f"%bo{k} = alloca {number}, i64 {max(1, program.outputs[k].size)}" for k in outputs]
    lines += ["br label %lane", "lane:", "%j = phi i64 [ 0, %entry ], [ %j.next, %next ]"]
    before = "lane"
    for k in own:
        columns = f"%i{k}", f"%bi{k}"
        lines += _copy_loop(f"gather{k}", before, columns, program.input_sizes[k], lanes, number, gather=True)
        before = f"gather{k}.end"
    arguments = [f"ptr %bi{k}" if k in own else f"ptr %i{k}" for k in inputs] + [f"ptr %bo{k}" for k in outputs]
    lines.append(f'call void @"{program.name}.scalar"({", ".join(arguments)})')
    for k in outputs:
        columns = f"%bo{k}", f"%o{k}"
        lines += _copy_loop(f"scatter{k}", before, columns, program.outputs[k].size, lanes, number, gather=False)
        before = f"scatter{k}.end"
    lines += [
        "br label %next", "next:", "%j.next = add i64 %j, 1", f"%more = icmp ult i64 %j.next, {lanes}",
        "br i1 %more, label %lane, label %done", "done:", "ret void", "}",
    ]  # fmt: skip
    return "\n".join(lines)


def _copy_loop(
    label: str, before: str, pointers: tuple[str, str], size: int, lanes: int, number: str, *, gather: bool
) -> list[str]:
    """Lines of a loop that copies lane %j of a block to a column (gather), or a column to lane %j."""
    n = f"%{label}"
    source, target = (f"{n}.block", f"{n}.k") if gather else (f"{n}.k", f"{n}.block")
    return [
        f"br label {n}.test", f"{label}.test:",
        f"{n}.k = phi i64 [ 0, %{before} ], [ {n}.next, {n}.step ]",
        f"{n}.go = icmp ult i64 {n}.k, {size}",
        f"br i1 {n}.go, label {n}.step, label {n}.end", f"{label}.step:",
        f"{n}.row = mul i64 {n}.k, {lanes}",
        f"{n}.block = add i64 {n}.row, %j",
        f"{n}.from = getelementptr {number}, ptr {pointers[0]}, i64 {source}",
        f"{n}.to = getelementptr {number}, ptr {pointers[1]}, i64 {target}",
        f"{n}.x = load {number}, ptr {n}.from",
        f"store {number} {n}.x, ptr {n}.to",
        f"{n}.next = add i64 {n}.k, 1",
        f"br label {n}.test", f"{label}.end:",
    ]  # fmt: skip
