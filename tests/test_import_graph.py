"""Imports point one way: each module knows only what stands below it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gaussmix

ROOT = Path(gaussmix.__file__).parent

# From the bottom to the top, as in docs/design.md: modules and folders of the package. Each may
# import its own tier and those below; no modules import each other in a circle.
TIERS = [
    ["errors", "_build_info", "kernels"],
    ["inputs", "datasets", "numba_api", "underflow"],
    ["criteria", "files", "rules", "stopping", "threads"],
    ["backends", "statistics"],
    ["c_api", "covariance", "hills", "passes"],
    ["embedding"],
    ["model"],
    ["algorithms", "persistence"],
    ["plotting", "starts"],
    ["fitting"],
    ["selection", "streams"],
    ["cli", "estimator"],
    ["__init__", "__main__"],
]
RANK = {module: rank for rank, tier in enumerate(TIERS) for module in tier}

# What may be imported beside NumPy and the standard library, and where.
OTHERS = {
    "sklearn": {"estimator", "embedding"},
    "onnx": {"embedding"},
    "numba": {"kernels", "numba_api"},
    "matplotlib": {"plotting"},
    "tqdm": {"fitting", "cli"},
    "pyarrow": {"cli"},
    "scipy": {"estimator"},  # scikit-learn brings it
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
    modules = {path.stem for path in _files() if _part(path) != "kernels"}
    missing = {name for name in modules if f"`{name}`" not in table}
    assert missing == {"__init__", "__main__"}


def test_there_are_no_cycles():
    modules = {path.relative_to(ROOT).with_suffix("").parts: path for path in _files()}

    def module_of(names):  # an import names a module, or something that is in one
        known = (names[:2], (names[0], "__init__"), names[:1])
        return next((module for module in known if module in modules), None)

    graph = {
        module: {module_of(names) for names in _imports(path)[0]} - {None}
        for module, path in modules.items()
    }
    TopologicalSorter(graph).prepare()  # a CycleError names the modules


def test_every_folder_says_what_is_in_it():
    for path in ROOT.glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_only_backends_knows_the_kernels_behind_their_vocabulary():
    for path in _files():
        if _part(path) in ("kernels", "backends"):
            continue
        for names in _imports(path)[0]:
            assert names[0] != "kernels" or names[1] == "contract", (path.name, names)


def test_only_inputs_converts_what_users_pass():
    for path in _files():
        if _part(path) == "inputs":
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
