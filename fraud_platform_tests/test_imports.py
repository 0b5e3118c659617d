"""The import direction of the design, read from the code itself."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fraud_platform"
LAYERS = (
    *("transactions", "features", "models", "decisions", "monitoring", "streaming", "defs", "definitions"),
    *("deployment_commands", "rule_commands", "cli"),
)
LEAVES = ("errors", "settings", "warehouse", "pseudonyms", "access", "audit", "key_commands")
MODULES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "bentos").rglob("*.py")], key=str)
SINGLE_IMPORTERS = {
    "mlflow": "fraud_platform/models/registry",
    "evidently": "fraud_platform/monitoring/drift.py",
    "great_expectations": "fraud_platform/transactions/expectations/runner.py",
    "lmdb": "fraud_platform/features/stores/lmdb",
    "redis": "fraud_platform/features/stores/redis",
    "pyspark": "fraud_platform/features/spark.py",
}
SLOW = {"mlflow", "evidently", "great_expectations", "sklearn", "xgboost", "matplotlib", "onnxmltools", "pyspark"}


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Every absolute module name that a file imports, and whether it does so when it is loaded."""
    tree = syntax(path)
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        at_load = id(node) not in guarded
        if isinstance(node, ast.Import):
            found += ((alias.name, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += ((f"{node.module}.{alias.name}", at_load) for alias in node.names)
    return tuple(found)


def layer(module: str) -> int | None:
    """The place of one of our modules in the direction; leaves are -1, others None."""
    parts = module.split(".")
    if parts[0] != "fraud_platform" or len(parts) < 2 or parts[1] == "__init__":
        return None
    return -1 if parts[1] in LEAVES else LAYERS.index(parts[1])


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", [p for p in MODULES if p.is_relative_to(PACKAGE)], ids=module_name)
def test_the_left_never_imports_the_right(path: Path) -> None:
    here = layer(module_name(path))
    if here is None:
        return
    wrong = [name for name, _ in imports(path) if (there := layer(name)) is not None and there > here]
    assert wrong == []


def test_only_defs_definitions_and_the_command_line_import_dagster() -> None:
    allowed = {"defs", "definitions"}
    importers = {module_name(p) for p in MODULES for name, _ in imports(p) if name.split(".")[0].startswith("dagster")}
    assert {importer.split(".")[1] for importer in importers} <= allowed


@pytest.mark.parametrize(("library", "module"), SINGLE_IMPORTERS.items())
def test_each_heavy_library_has_one_importing_module_or_package(library: str, module: str) -> None:
    importers = {p.relative_to(ROOT) for p in MODULES for name, _ in imports(p) if name.split(".")[0] == library}
    assert {str(p if module.endswith(".py") else p.parent) for p in importers} == {module}


def test_slow_libraries_are_imported_where_they_are_used_and_not_at_load() -> None:
    eager = [(module_name(p), n) for p in MODULES for n, at_load in imports(p) if at_load and n.split(".")[0] in SLOW]
    assert eager == []


def test_the_service_imports_only_decisions_and_what_is_left_of_it() -> None:
    limit = LAYERS.index("decisions")
    names = [n for p in MODULES if not p.is_relative_to(PACKAGE) for n, _ in imports(p)]
    assert [n for n in names if (there := layer(n)) is not None and there > limit] == []


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [p for p in MODULES if p.stem in {"utils", "helpers", "common", "misc"}] == []


def test_only_settings_reads_the_environment() -> None:
    readers = {
        module_name(p)
        for p in MODULES
        for node in ast.walk(syntax(p))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ.get", "os.getenv"}
    }
    assert readers == set()
