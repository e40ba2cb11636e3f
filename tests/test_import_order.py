"""The order of the library: imports go up the list below, never down, so it can be read from top to bottom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = (
    {
        "sample", "structures", "settings", "person", "variant", "model_config", "config", "text_recipes", "recipes",
        "boxes", "slots", "precision", "files", "memory", "wording",
    },
    {"ops"},
    {"targets"},
    {"model"},
    {"data"},
    {"training", "evaluation", "trace"},
    {
        "text_outlines", "plane_clustering", "text", "objects", "visualize", "anchor_coverage", "check_data",
        "detector", "explain", "evaluate", "evaluate_objects", "export", "report", "benchmarks",
    },
    {"demo", "cli", "classroom", "__main__"},
)
"""Top-level modules and packages; each may import its own layer and those above it, but nothing in a circle."""


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """maskrcnn/ops/__init__.py -> maskrcnn.ops"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in python_files("maskrcnn")}


def imports(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Line, module and imported name (None for the module itself) of every import of this library in a file.

    `from maskrcnn import boxes` is an import of the module maskrcnn.boxes, not of a name.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "maskrcnn":
                    yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write where the name comes from"
            if node.module.split(".")[0] == "maskrcnn":
                for alias in node.names:
                    module = f"{node.module}.{alias.name}"
                    yield (node.lineno, module, None) if module in MODULES else (node.lineno, node.module, alias.name)


def layer(module: str) -> int:
    """Which layer a module belongs to, counted from 0."""
    top = module.split(".")[1]
    for number, names in enumerate(LAYERS):
        if top in names:
            return number
    pytest.fail(f"{module} has no place in the order of the library: add {top} to LAYERS")


def is_private(name: str) -> bool:
    """One underscore in front; maskrcnn._C is the compiled extension."""
    return name.startswith("_") and not name.endswith("__") and name != "_C"


def private_uses(path: Path) -> Iterator[str]:
    """Every use of a name of another module that starts with one underscore."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aliases = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "maskrcnn":
            for alias in node.names:
                if f"{node.module}.{alias.name}" in MODULES:
                    aliases.add(alias.asname or alias.name)
                elif is_private(alias.name):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            aliases |= {alias.asname for alias in node.names if alias.asname and alias.name in MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner in aliases or owner in MODULES:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {owner}.{node.attr}"


def test_the_rules_below_see_imports_of_every_form(tmp_path, monkeypatch):
    """Otherwise a rule that finds nothing would prove nothing."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    monkeypatch.setattr(f"{__name__}.MODULES", {"maskrcnn.boxes": None, "maskrcnn.ops": None, "maskrcnn.slots": None})
    file = tmp_path / "maskrcnn" / "model" / "stage.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import torch, maskrcnn.boxes\n"
        "from maskrcnn import ops as custom_ops, __version__\n"
        "def function():\n"
        "    from maskrcnn.slots import keep_top, _secret\n"
        "    return custom_ops._hidden, custom_ops.__doc__, torch._C, maskrcnn.boxes._weights\n"
        "from maskrcnn.slots import _other\n"
    )
    assert sorted(imports(file)) == [
        (1, "maskrcnn.boxes", None),
        (2, "maskrcnn", "__version__"),
        (2, "maskrcnn.ops", None),
        (4, "maskrcnn.slots", "_secret"),
        (4, "maskrcnn.slots", "keep_top"),
        (6, "maskrcnn.slots", "_other"),
    ]
    assert sorted(private_uses(file)) == [
        "maskrcnn/model/stage.py:4: maskrcnn.slots._secret",
        "maskrcnn/model/stage.py:5: custom_ops._hidden",
        "maskrcnn/model/stage.py:5: maskrcnn.boxes._weights",
        "maskrcnn/model/stage.py:6: maskrcnn.slots._other",
    ]


def test_imports_go_up_the_list():
    wrong = []
    for importer, path in MODULES.items():
        if importer == "maskrcnn" or importer.startswith("maskrcnn.reference"):
            continue  # the door to everything, and the one that has a rule of its own
        for line, imported, _ in imports(path):
            if imported.split(".")[1:2] in ([], ["reference"]):
                continue  # the version, and what the next test forbids
            if layer(imported) > layer(importer):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {importer} imports {imported}, which is further down")
    assert wrong == []


def test_the_library_does_not_import_the_reference():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for name, path in MODULES.items()
        if not name.startswith("maskrcnn.reference")
        for line, imported, _ in imports(path)
        if imported.startswith("maskrcnn.reference")
    ]
    assert wrong == []


def test_the_reference_imports_only_boxes_structures_and_itself():
    allowed = ("maskrcnn.boxes", "maskrcnn.structures", "maskrcnn.reference")
    files = python_files("maskrcnn/reference")
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {imported}"
        for path in files
        for line, imported, _ in imports(path)
        if not imported.startswith(allowed)
    ]
    assert files and wrong == []


def lines_of_code(path: Path) -> int:
    """Lines that are neither blank nor comments nor documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return sum(line.strip() != "" for line in ast.unparse(tree).splitlines())


def test_each_module_of_the_reference_is_short_enough_to_read():
    long = {path.name: lines_of_code(path) for path in python_files("maskrcnn/reference")}
    assert {name: lines for name, lines in long.items() if lines > 60} == {}


def test_nothing_imports_in_a_circle():
    """Also not inside one layer. A package's __init__ may import its own modules, so it is left out."""
    graph = {
        name: {imported for _, imported, _ in imports(path) if imported in MODULES} - {name}
        for name, path in MODULES.items()
        if path.name != "__init__.py"
    }
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in finished:
            return
        for imported in sorted(graph.get(name, ())):
            visit(imported, [*path, name])
        finished.add(name)

    for name in graph:
        visit(name, [])


def test_nothing_uses_another_modules_private_names():
    files = [path for folder in ("maskrcnn", "tests", "notebooks") for path in python_files(folder)]
    assert [use for path in files for use in private_uses(path)] == []
