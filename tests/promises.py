"""Read docs/promises.md and hold it against the tree. `python -m tests.promises` prints how many promises are open."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "promises.md"
STATES = ("open", "kept")


@dataclass(frozen=True)
class Promise:
    """One row of the table: `test` is `path::function` from the repository's root."""

    id: str
    sentence: str
    test: str
    command: str
    state: str


def read(page: Path = PAGE) -> list[Promise]:
    """Every row of the table, in its order. Raises ValueError for a row that is not five cells."""
    promises = []
    for line in page.read_text().splitlines():
        if not line.startswith("| ") or line.startswith("| id "):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if len(cells) != 5 or cells[4] not in STATES:
            raise ValueError(f"not a promise: {line}")
        promises.append(Promise(*cells))
    return promises


def fault(promise: Promise) -> str | None:
    """Why this promise is not kept by the tree, or None. Looks at the source; the run tells whether it passes."""
    path, _, name = promise.test.partition("::")
    file = ROOT / path
    if not file.exists():
        return f"{path} does not exist"
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return _emptiness(node)
    return f"{path} has no {name}"


def _emptiness(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
    if "xfail" in marks or "mark.skip(" in marks:
        return f"{node.name} is marked as failing or skipped"
    acts = [
        part
        for part in node.body
        if not isinstance(part, ast.Pass) and not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
    ]
    return None if acts else f"{node.name} has no body"


def main() -> None:
    promises = read()
    still_open = [promise for promise in promises if promise.state == "open"]
    print(f"promises: {len(promises)}, open: {len(still_open)}")
    for promise in still_open:
        print(f"  {promise.id:6} {promise.sentence}")


if __name__ == "__main__":
    main()
