"""What `import chainrule` brings in, and the instruction sets that it runs on."""

import functools
import inspect
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import chainrule as cr


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_import_brings_in_numpy_and_the_standard_library_alone():
    code = """
    import sys
    import numpy.random  # which NumPy loads when it is first used
    before = set(sys.modules)
    import chainrule
    top = {name.partition(".")[0] for name in set(sys.modules) - before}
    print(sorted(top - set(sys.stdlib_module_names) - {"chainrule", "numpy"}))
    """
    ran = run_python(code)
    assert ran.stdout.strip() == "[]", ran.stdout + ran.stderr


def test_import_leaves_threads_plots_and_the_command_line_alone():
    code = """
    import sys
    import numpy
    before = set(sys.modules)
    import chainrule
    late = {"asyncio", "multiprocessing", "unittest", "http", "urllib.request", "matplotlib", "torch"}
    print(sorted(late & (set(sys.modules) - before)))
    print(sorted(m for m in sys.modules if m.startswith(("chainrule.cli", "chainrule.train", "chainrule.view"))))
    """
    ran = run_python(code)
    assert ran.stdout.split("\n")[:2] == ["[]", "[]"], ran.stdout + ran.stderr


def test_every_public_name_exists_once_and_in_order():
    assert len(set(cr.__all__)) == len(cr.__all__)
    assert list(cr.__all__) == sorted(cr.__all__)
    assert all(hasattr(cr, name) for name in cr.__all__)


# ---- Instruction sets --------------------------------------------------------------------------------------

# A bit of every family of kernels, in both dtypes; prints the results as JSON.
SAMPLE = """
import json
import numpy as np
import chainrule as cr

results = {}
for dtype in (np.float32, np.float64):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((37, 29)).astype(dtype)
    w = rng.standard_normal((29, 11)).astype(dtype)
    labels = rng.integers(0, 11, 37)
    leaf = cr.tensor(w, requires_grad=True)
    optimizer = cr.optim.SGD([leaf], lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        scores = cr.tanh(cr.matmul(x, leaf)) * 2.0 + cr.relu(cr.matmul(x, leaf))
        loss = cr.softmax_cross_entropy(scores, labels) + cr.multiclass_hinge(scores, labels, squared=True)
        (loss + cr.var(scores) + cr.sum(cr.sigmoid(leaf))).backward()
        optimizer.step()
    family = [loss, leaf, cr.exp(x), cr.log(np.abs(x)), cr.sin(x), cr.cos(x), cr.power(np.abs(x), 1.5),
              cr.softmax(x), cr.log_softmax(x, 0), cr.logsumexp(x), cr.sum(x, 0), cr.max(x, 1), cr.maximum(x, 0.1)]
    results[np.dtype(dtype).name] = [np.asarray(value, np.float64).ravel().tolist() for value in family]
print(json.dumps([cr._core.active_isa(), results]))
"""


@functools.cache
def sample(isa):
    ran = run_python(SAMPLE, CHAINRULE_MAX_ISA=isa)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("isa", cr._core.available_isas())
def test_every_instruction_set_gives_the_same_results_within_rounding(isa):
    active, results = sample(isa)
    assert active == isa
    _, base = sample("baseline")
    for dtype, tolerance in (("float32", 2e-5), ("float64", 2e-13)):
        for i, (got, expected) in enumerate(zip(results[dtype], base[dtype], strict=True)):
            np.testing.assert_allclose(
                got, expected, rtol=tolerance, atol=tolerance, err_msg=f"{dtype}, result {i}"
            )


def test_the_limit_is_a_limit_and_empty_is_none():
    best = cr._core.available_isas()[-1]
    for limit, expected in ((best, best), ("", best)):
        ran = run_python("import chainrule as cr; print(cr._core.active_isa())", CHAINRULE_MAX_ISA=limit)
        assert ran.stdout.strip() == expected, ran.stderr


@pytest.mark.parametrize("wrong", ["sse9", " avx2"])
def test_an_unknown_instruction_set_fails_at_import_with_one_clear_message(wrong):
    ran = run_python("import chainrule", CHAINRULE_MAX_ISA=wrong)
    assert ran.returncode != 0
    last = ran.stderr.strip().splitlines()[-1]
    assert f"'{wrong}' is not known: use baseline, avx2, avx512, avx512_bf16 or amx_bf16" in last, ran.stderr
    assert ran.stderr.count("is not known") == 1, ran.stderr


def test_show_config_tells_what_it_runs_on():
    lines = dict(
        line.split(maxsplit=1) for line in cr.show_config().replace("instruction set", "set").splitlines()
    )
    assert lines["chainrule"] == cr.__version__
    assert lines["set"].startswith(cr._core.active_isa())
    assert lines["threads"] == str(cr.get_num_threads())
    assert lines["NumPy"] == np.__version__


def test_show_config_tells_how_bfloat16_is_done():
    ways = {"amx_bf16": "matrix unit (AMX)", "avx512_bf16": "dot products (AVX-512)"}
    level = cr._core.active_isa()
    try:
        for isa in cr._core.available_isas():
            cr._core.set_active_isa(isa)
            way = ways.get(isa, "rounded operands, float32 products")
            assert f"\nbfloat16         {way}\n" in cr.show_config()
    finally:
        cr._core.set_active_isa(level)


# ---- Docstrings --------------------------------------------------------------------------------------------


def public_classes():
    for module in (cr, cr.nn, cr.optim):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                yield pytest.param(value, id=f"{module.__name__}.{name}")


# What NumPy and PyTorch users know by name needs no sentence of its own.
AS_FUNCTIONS = {"Tensor"}


@pytest.mark.parametrize("cls", list(public_classes()))
def test_every_public_class_and_method_has_a_docstring(cls):
    assert inspect.getdoc(cls), cls
    without = [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property))
        and not inspect.getdoc(getattr(cls, name))
    ]
    if cls.__name__ in AS_FUNCTIONS:
        without = [name for name in without if not hasattr(cr, name) and not hasattr(np.ndarray, name)]
    assert not without, f"{cls.__name__}: methods without a docstring: {without}"


@pytest.mark.parametrize(
    "module", [cr, cr.nn, cr.nn.initialise, cr.optim, cr.data, cr.models], ids=lambda m: m.__name__
)
def test_every_public_function_has_a_docstring(module):
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    functions = {n: getattr(module, n) for n in names if inspect.isfunction(getattr(module, n))}
    without = [
        n for n, f in functions.items() if f.__module__.startswith("chainrule") and not inspect.getdoc(f)
    ]
    assert not without, f"{module.__name__}: functions without a docstring: {without}"
