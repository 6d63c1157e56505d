"""Files that are either whole or not there, and what code a result was made by."""

import ast
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PACKAGE = Path(__file__).parent
# Modules that decide no result: what they do is in an identity by value, or names, writes, logs.
BESIDE = ("handdgcl.config", "handdgcl.rows", "handdgcl.files", "handdgcl.project", "handdgcl.tracking")


class InputError(Exception):
    """Input that cannot be used. The message names the file or field and the remedy."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same suffix.

    It takes the place of `path` when the block ends, and is deleted when the block raises: an
    interruption or a full disk never leaves half a file under the final name. Folders are made.

    Raises:
        InputError: the file could not be written (no space, no permission); an older one stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: not written ({error}); free space or name another folder") from error
    finally:
        with suppress(OSError):  # gone already, its folder is a file, its name is too long
            temporary.unlink()


@contextmanager
def holding(path: Path, does: str) -> Iterator[None]:
    """Keep a file or folder to this process; the lock ends with it, however that ends.

    Args:
        path: need not be there; the lock lies beside it.
        does: what the holder does, for the message.

    Raises:
        InputError: another process holds it, or its folder cannot be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(f"{path}: another process {does}; wait for it, or end it") from None
    except OSError as error:
        raise InputError(f"{path}: not written ({error}); free space or name another folder") from error
    try:
        yield
    finally:
        lock.release()


def regular(path: str | Path) -> Path:
    """The path of a file.

    Raises:
        OSError: it is missing, or a folder, pipe or device: one would be waited for, or read without end.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EISDIR, "a folder, pipe or device")
    return Path(path)


def write_file(path: str | Path, content: str | bytes) -> None:
    """A file of this content, by `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, content: dict) -> None:
    """A readable JSON file; numbers that are not finite are refused."""
    write_file(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(
    path: str | Path,
    *,
    remedy: str = "delete it and run `dvc repro` again",
    missing: str = "run `dvc repro` first",
) -> dict:
    """A JSON file.

    Raises:
        InputError: it is missing or not JSON, or a name stands twice; the message ends in a remedy.
    """
    try:
        content = json.loads(regular(path).read_text(encoding="utf-8"), object_pairs_hook=_each_once)
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
        return content
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {missing}") from None
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not JSON of this project ({error}); {remedy}") from error


def _each_once(pairs: list[tuple[str, object]]) -> dict:
    """An object whose names stand once."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice")
    return content


def digest(content: object) -> str:
    """Eight letters that differ where two JSON-like contents do."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def code_digest(*modules: str, leave_out: tuple[str, ...] = ()) -> str:
    """A digest of the code that some modules of this package run: theirs and what they import from it.

    Of the syntax trees without docstrings, so that a comment changes nothing.

    Args:
        modules: dotted names, e.g. "handdgcl.train.module".
        leave_out: modules that cannot change what is made; neither they nor what they import count.
    """
    found, queue = {}, list(modules)
    while queue:
        name = queue.pop()
        path = _source(name)
        if path is None or name in found or name in leave_out:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[name] = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE.name):
                queue += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def _source(module: str) -> Path | None:
    """The file of a module of this package, or None."""
    path = _PACKAGE.parent.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = body[1:]
    return tree
