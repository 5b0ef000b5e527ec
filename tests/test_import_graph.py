"""Imports point one way: each module knows only what stands below it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gaussmix

ROOT = Path(gaussmix.__file__).parent

# From the bottom to the top, as in docs/design.md. A module may import its own tier (without
# cycles) and those below. Files whose names begin with an underscore stand beside what they serve.
TIERS = [
    ["errors", "_build_info"],
    ["kernels"],
    ["threads", "_validate", "_convert", "_output", "_parameters", "backends", "stopping"],
    ["_files", "container", "records"],
    ["statistics", "rules", "criteria", "sources"],
    ["covariance"],
    ["evaluation"],
    ["expectation", "chi_square", "options"],
    ["posteriors"],
    ["_line", "_landscape", "_basins", "_peaks", "modes", "hills"],
    ["gate", "conditional", "information", "univariate", "scorer", "c_api", "numba_api"],
    ["_exchange", "c_code", "interchange", "onnx_graph"],
    ["_derived", "mixture"],
    ["maximisation", "merging", "schedule", "first_rows", "summary"],
    ["results"],
    ["em"],
    ["task", "phase", "matching"],
    ["stochastic", "annealing"],
    ["algorithms"],
    ["diagnosis", "start", "reseeding", "neighbours"],
    ["rearranging"],
    ["checkpoint", "_checkpoint_record", "keeping", "attempts", "search", "frame", "given_start"],
    ["advance", "recursion", "_online_record"],
    ["fitting", "progress", "_npy"],
    ["stream"],
    ["_drawing", "plotting", "_panels", "_curves", "_hill_plot"],
    ["_sweep", "selection", "selecting", "_selection_record"],
    ["datasets", "tables", "_delimited", "online"],
    ["persistence"],
    [
        "estimator",
        "_sklearn_parameters",
        "_sklearn_rows",
        "_sklearn_scores",
        "_sklearn_state",
        "_verbose",
    ],
    ["_report", "_arguments", "_fit_command", "cli"],
    ["__init__", "__main__"],
]
RANK = {module: rank for rank, tier in enumerate(TIERS) for module in tier}

# What may be imported beside NumPy and the standard library, and where.
OTHERS = {
    "sklearn": {"estimator", "_sklearn_rows", "_sklearn_scores", "_verbose", "interchange"},
    "onnx": {"onnx_graph"},
    "numba": {"kernels", "numba_api"},
    "matplotlib": {"_drawing", "_panels", "_hill_plot"},
    "tqdm": {"progress", "_fit_command"},
    "pyarrow": {"tables"},
    "scipy": {"_sklearn_parameters"},  # scikit-learn brings it
    "pandas": set(),
    "cpuinfo": set(),
}


def _files():
    return sorted(path for path in ROOT.rglob("*.py"))


def _part(path: Path) -> str:
    """The module or subpackage of the package that a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def _imports(path: Path):
    """``(module path within the package as parts, name)`` of each import; and foreign ones."""
    own, foreign = set(), set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            foreign |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            base += tuple(node.module.split(".")) if node.module else ()
            own |= {(*base, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            foreign.add(node.module)
    return own, foreign


def _own_parts(path: Path) -> set[str]:
    """The parts of the package that a file imports; names of the package itself left out."""
    return {names[0] for names in _imports(path)[0] if names[0] in RANK}


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_below_it(path):
    part = _part(path)
    assert part in RANK, f"give {part} a place in TIERS"
    above = {other for other in _own_parts(path) if RANK[other] > RANK[part]}
    assert not above, f"{part} imports {above}"


def test_the_design_says_where_every_module_is():
    table = (Path(__file__).parent.parent / "docs" / "design.md").read_text("utf-8")
    missing = {part for part in map(_part, _files()) if f"`{part}`" not in table}
    assert missing == {"__init__", "__main__"}


def test_there_are_no_cycles():
    graph = {}
    for path in _files():
        graph.setdefault(_part(path), set()).update(_own_parts(path) - {_part(path)})
    TopologicalSorter(graph).prepare()  # a CycleError names the modules


def test_only_backends_knows_the_kernels_behind_their_vocabulary():
    for path in _files():
        if _part(path) in ("kernels", "backends"):
            continue
        for names in _imports(path)[0]:
            assert names[0] != "kernels" or names[1] == "contract", (path.name, names)


def test_only_validate_converts_what_users_pass():
    for path in _files():
        if _part(path) in ("_validate", "_convert"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("asarray", "asanyarray"), f"{path.name}:{node.lineno}"


def test_below_the_command_the_package_is_imported_relatively():
    for path in _files():
        for name in _imports(path)[1]:
            assert name.split(".")[0] != "gaussmix" or _part(path) == "cli", (path.name, name)


@pytest.mark.parametrize("library", OTHERS)
def test_optional_libraries_are_known_in_their_own_places_only(library):
    users = {
        _part(path)
        for path in _files()
        if any(name.split(".")[0] == library for name in _imports(path)[1])
    }
    assert users <= OTHERS[library]


def test_the_oracle_knows_nothing_of_what_it_checks():
    oracle = Path(__file__).with_name("oracle.py")
    source = ast.parse(oracle.read_text("utf-8"))
    for node in ast.walk(source):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.split(".")[0] == "gaussmix" for name in names)
