"""The house keeps its shape: rooms, forbidden calls, file sizes, and what starting up costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

#: from top to bottom: a room imports only from rooms below it
ROOMS = (
    "cli", "report", "sweep", "search", "scaling", "training", "export", "schedulers", "strategies", "estimators",
    "supernet", "data", "hardware", "cost", "space", "nn",
)  # fmt: skip
#: modules below all rooms
GROUND = ("errors", "plain_yaml", "registry")
#: the public face re-exports from every room, so only itself and the command line may import it; tests may too
FACE = ("__init__", "api", "testing")
PRODUCT = ("nas", "search_spaces", "hardware_profiles")
HEAVY = {"torch", "pandas", "plotly"}

REPO_ROOT = Path(__file__).resolve().parents[1]


def python_files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((REPO_ROOT / folder).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def room_of(dotted: str) -> str | None:
    """The room, ground module or face that a dotted name of `nas` lies in; None for names of the root itself."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in (*ROOMS, *GROUND, *FACE) else None


def may_import(importer: str, target: str) -> bool:
    if importer in FACE or target == importer or target in GROUND:
        return importer not in GROUND or target in GROUND
    if importer in GROUND or target in FACE:
        return False
    return ROOMS.index(importer) < ROOMS.index(target)


def test_rooms_import_from_below_only() -> None:
    wrong, edges = [], 0
    for file in python_files("nas"):
        parts = file.relative_to(REPO_ROOT / "nas").with_suffix("").parts
        for line, name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            target = room_of(name) if name.split(".")[0] == "nas" else None
            if target is not None:
                edges += 1
                if not may_import(parts[0], target):
                    wrong.append(f"{file.relative_to(REPO_ROOT)}:{line} imports {name}")
    assert edges > 100
    assert wrong == []


def test_every_folder_of_nas_is_a_known_room() -> None:
    folders = {path.parent.name for path in (REPO_ROOT / "nas").glob("*/__init__.py")}
    assert folders <= set(ROOMS)
    assert {path.stem for path in (REPO_ROOT / "nas").glob("*.py")} == {*GROUND, *FACE}


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("cli", "space", True), ("search", "strategies", True), ("space", "nn", True), ("cost", "errors", True),
        ("space", "cost", False), ("strategies", "search", False), ("report", "cli", False), ("cost", "api", False),
        ("errors", "space", False), ("registry", "errors", True), ("api", "search", True),
    ],
)  # fmt: skip
def test_the_rule_itself(importer: str, target: str, allowed: bool) -> None:
    assert may_import(importer, target) == allowed


def test_no_relative_imports() -> None:
    for file in python_files(*PRODUCT):
        names = [name for _, name in imported(ast.parse(file.read_text(encoding="utf-8")))]
        assert not [name for name in names if name.startswith(".")], file


@pytest.mark.parametrize("package", ["search_spaces", "hardware_profiles"])
def test_nas_names_no_concrete_space_or_device(package: str) -> None:
    for file in python_files("nas"):
        names = [name for _, name in imported(ast.parse(file.read_text(encoding="utf-8")))]
        assert not [name for name in names if name.split(".")[0] == package], file
        assert package not in file.read_text(encoding="utf-8"), file


def forbidden(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls and imports that run what they read."""
    for line, name in imported(tree):
        if name.split(".")[0] in {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}:
            yield line, f"import of {name}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in {"eval", "exec", "compile", "__import__", "os.system", "yaml.load", "yaml.unsafe_load"}:
            yield node.lineno, f"{called}()"
        if called.endswith("torch.load") and given.get("weights_only") != "True":
            yield node.lineno, "torch.load without weights_only=True"
        if given.get("allow_pickle", "False") != "False" or given.get("shell", "False") != "False":
            yield node.lineno, f"{called} with allow_pickle or shell"
        if called.endswith(("read_pickle", "to_pickle")):
            yield node.lineno, called


def test_nothing_runs_what_it_reads() -> None:
    found = [
        f"{file.relative_to(REPO_ROOT)}:{line} {what}"
        for file in python_files(*PRODUCT)
        for line, what in forbidden(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "eval('1')", "exec('x = 1')", "torch.load('f')",
        "torch.load('f', weights_only=False)", "np.load('f', allow_pickle=True)", "pd.read_pickle('f')",
        "yaml.load(text)", "subprocess.run('ls', shell=True)",
    ],
)  # fmt: skip
def test_the_search_for_forbidden_calls_finds_them(line: str) -> None:
    assert list(forbidden(ast.parse(line)))


@pytest.mark.parametrize("line", ["torch.load('f', weights_only=True)", "module.eval()", "yaml.safe_load(text)"])
def test_harmless_calls_are_not_forbidden(line: str) -> None:
    assert list(forbidden(ast.parse(line))) == []


@pytest.mark.parametrize("folder", [*PRODUCT, "tests", "benchmarks", "experiments"])
def test_no_python_file_is_long(folder: str) -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in python_files(folder)}
    assert lengths
    assert [f"{file}: {length} lines" for file, length in lengths.items() if length > 400] == []


def loaded(statements: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statements`."""
    code = f"import sys\n{statements}\nprint('\\n' + ' '.join({{name.split('.')[0] for name in sys.modules}}))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return set(output.splitlines()[-1].split())


def test_importing_nas_is_light() -> None:
    modules = loaded("import nas")
    assert "nas" in modules
    assert not modules & HEAVY


def test_help_is_light() -> None:
    statements = "import nas.cli\nsys.argv = ['nas', '--help']\ntry: nas.cli.main()\nexcept SystemExit: pass"
    modules = loaded(statements)
    assert "typer" in modules
    assert not modules & HEAVY


def test_describing_networks_needs_no_torch() -> None:
    statements = "import nas\nspec = nas.network('efficientnet_b0')\nspec.cost()\nnas.space('mbconv').encode(spec)"
    assert "torch" not in loaded(statements)
