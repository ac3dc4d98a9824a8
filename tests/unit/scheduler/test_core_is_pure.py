"""The core imports itself, numpy and the standard library, and nothing of either that knows the world outside."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import scheduler.core

WORLD = {"datetime", "io", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "threading", "time"}


def test_the_core_imports_numpy_and_the_standard_library_alone() -> None:
    files = sorted(Path(scheduler.core.__file__).parent.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert not (isinstance(node, ast.ImportFrom) and node.level > 1), f"{file.name} reaches out of the core"
            for name in names:
                top = name.partition(".")[0]
                assert top == "numpy" or top in sys.stdlib_module_names - WORLD, f"{file.name} imports {name}"
