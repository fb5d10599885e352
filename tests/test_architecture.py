"""Holds the directions in which the packages may import each other, and who may do I/O with what.

The tables say what is allowed; what they do not name is refused. Imports inside functions and under
`TYPE_CHECKING` count like all others.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Packages and modules that only compute: whoever may import a layer below may import these.
PURE = ("admission", "scanner.presentation", "sync.enrolment", "sync.protocol", "sync.link")
BOX = ("admission", "scanner", "offline_cache", "sync", "config", "gate_agent")
PRODUCT = (*BOX, "central")
OURS = (*PRODUCT, "simulator", "demo", "bench", "examples", "tests")
EVERY_LIBRARY = ("*",)


@dataclass(frozen=True, slots=True)
class Layer:
    """What the modules under one dotted name may import: `ours` without `never`, and foreign `libraries`."""

    name: str
    ours: tuple[str, ...]
    libraries: tuple[str, ...]
    never: tuple[str, ...] = ()


# The longest name that fits a module decides. On the box only offline_cache knows SQL and only sync knows
# MQTT; in gate_agent only app.py (and the entry point) names concrete adapters.
LAYERS = (
    Layer("admission", ours=("admission",), libraries=("cbor2", "cryptography", "msgspec")),
    Layer(
        "scanner",
        ours=("admission", "scanner"),
        libraries=("cv2", "numpy", "pyzbar", "zxingcpp"),
    ),
    Layer(
        "offline_cache",
        ours=("admission", "offline_cache"),
        libraries=("aiosqlite", "cbor2", "cryptography", "msgspec"),
    ),
    Layer(
        "sync",
        ours=("admission", "sync"),
        libraries=("aiohttp", "cbor2", "cryptography", "msgspec", "paho"),
    ),
    Layer("config", ours=("admission", "config"), libraries=("msgspec",)),
    Layer(
        "gate_agent",
        ours=(*PURE, "config", "gate_agent"),
        libraries=("aiohttp", "cryptography", "msgspec"),
        never=("gate_agent.app", "gate_agent.turnstiles"),
    ),
    Layer(
        "gate_agent.turnstiles",
        ours=(*PURE, "config", "gate_agent"),
        libraries=("msgspec",),
        never=("gate_agent.app",),
    ),
    Layer(
        "gate_agent.brokers",
        ours=(*PURE, "config", "gate_agent", "sync.mqtt", "sync.tls"),
        libraries=(),
        never=("gate_agent.app", "gate_agent.turnstiles"),
    ),
    Layer(
        "gate_agent.enrolling",
        ours=(*PURE, "config", "gate_agent", "sync.tls"),
        libraries=("aiohttp", "cryptography", "msgspec"),
        never=("gate_agent.app", "gate_agent.turnstiles"),
    ),
    Layer(
        "gate_agent.doctor",
        ours=BOX,
        libraries=("aiohttp", "cryptography", "msgspec"),
        never=("gate_agent.app",),
    ),
    Layer(
        "gate_agent.metrics",
        ours=(*PURE, "gate_agent", "offline_cache.database"),
        libraries=("prometheus_client",),
    ),
    Layer(
        "gate_agent.gates",
        ours=(*PURE, "config", "gate_agent", "scanner"),
        libraries=("msgspec",),
        never=("gate_agent.app",),
    ),
    Layer(
        "gate_agent.upkeep",
        ours=(*PURE, "gate_agent", "offline_cache"),
        libraries=(),
        never=("gate_agent.app", "gate_agent.turnstiles"),
    ),
    Layer("gate_agent.app", ours=BOX, libraries=("aiohttp", "cryptography", "msgspec")),
    Layer("gate_agent.__main__", ours=BOX, libraries=("msgspec",)),
    Layer(
        "central",
        ours=(
            "admission",
            "central",
            "config.loader",
            "config.policy_file",
            "sync.enrolment",
            "sync.link",
            "sync.mqtt",
            "sync.protocol",
        ),
        libraries=("aiohttp", "alembic", "cbor2", "cryptography", "msgspec", "segno", "sqlalchemy"),
    ),
    Layer("simulator", ours=(*PRODUCT, "simulator"), libraries=EVERY_LIBRARY),
    Layer("simulator.witness", ours=("simulator.witness",), libraries=()),
    Layer("demo", ours=(*PRODUCT, "simulator", "demo"), libraries=EVERY_LIBRARY),
    Layer("bench", ours=(*PRODUCT, "simulator", "demo", "bench"), libraries=EVERY_LIBRARY),
    Layer("examples", ours=("examples",), libraries=()),
    Layer("tests", ours=OURS, libraries=EVERY_LIBRARY),
)

SQL_MODULES = ("sqlite3",)

# Whatever reads the clock, the disk, the network, the environment or chance.
IMPURE_MODULES = (
    "asyncio", "builtins", "concurrent", "ctypes", "fcntl", "fileinput", "ftplib", "getpass", "glob", "http",
    "importlib", "io", "locale", "logging", "mmap", "multiprocessing", "os", "pathlib", "platform", "queue",
    "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
)  # fmt: skip
IMPURE_CALLS = ("open", "print", "input", "exec", "eval", "__import__", "breakpoint")
IMPURE_METHODS = ("now", "utcnow", "today")


def fits(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the prefixes or lies below one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def layer_of(module: str) -> Layer:
    """The most particular layer that a module belongs to; ValueError if none does."""
    return max((layer for layer in LAYERS if fits(module, (layer.name,))), key=lambda layer: len(layer.name))


def imported_names(module: str, tree: ast.Module, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a module imports; `from a import b` counts as `a.b`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                base = origin or ""
                if level:
                    parts = module.split(".")
                    up = parts[: len(parts) - level + is_package]
                    base = ".".join([*up, *([origin] if origin else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case _:
                pass


def impure_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every call that reads a clock or does I/O without an import that shows it."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield node.lineno, f"{name}()"
            case ast.Call(func=ast.Attribute(attr=name)) if name in IMPURE_METHODS:
                yield node.lineno, f".{name}()"
            case _:
                pass


def may_import(module: str, name: str) -> bool:
    """Whether the tables let a module import a dotted name."""
    layer = layer_of(module)
    top = name.partition(".")[0]
    if top in OURS:
        return fits(name, layer.ours) and not fits(name, layer.never)
    if fits(module, PURE) and fits(name, IMPURE_MODULES):
        return False
    if top in sys.stdlib_module_names:
        return not (fits(module, BOX) and layer.name != "offline_cache" and top in SQL_MODULES)
    return layer.libraries == EVERY_LIBRARY or top in layer.libraries


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """One line for everything in a module's source that the tables refuse, in the order of its lines."""
    tree = ast.parse(source)
    found = [
        (line, f"imports {name}")
        for line, name in imported_names(module, tree, is_package=is_package)
        if not may_import(module, name)
    ]
    if fits(module, PURE):
        found += [(line, f"calls {name}") for line, name in impure_calls(tree)]
    return [f"{module}:{line} {what}" for line, what in sorted(found)]


def violations_in(path: Path) -> list[str]:
    """The violations in one file of the tree."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    return violations(module, path.read_text(encoding="utf-8"), is_package=is_package)


SCRATCH = "var"
"""Where commands leave what they made, copies of packages among it."""


def packages_in_tree() -> set[str]:
    """Top-level folders that hold Python, without hidden ones."""
    return {
        folder.name
        for folder in ROOT.iterdir()
        if folder.is_dir() and not folder.name.startswith((".", SCRATCH)) and any(folder.rglob("*.py"))
    }


@pytest.mark.parametrize("package", OURS)
def test_package_keeps_the_import_directions(package: str) -> None:
    """Every module of a package imports only what the tables allow it."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert [line for path in files for line in violations_in(path)] == []


def test_no_package_stands_outside_the_tables() -> None:
    """A folder with Python in it that the tables do not know is refused."""
    assert packages_in_tree() <= set(OURS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("admission.decision", "import scanner"),
        ("admission.decision", "def f():\n    from sync.protocol import Topic"),
        ("admission.decision", "import asyncio"),
        ("admission.decision", "from time import monotonic"),
        ("admission.decision", "import os.path"),
        ("admission.decision", "import numpy"),
        ("admission.decision", "from datetime import datetime\nx = datetime.now()"),
        ("admission.decision", "x = open('f')"),
        ("scanner.presentation", "import time"),
        ("sync.link", "import random"),
        ("scanner.sources", "from offline_cache.store import Store"),
        ("scanner.sources", "from gate_agent.ports import Clock"),
        ("offline_cache.store", "from sync import protocol"),
        ("offline_cache.store", "import paho.mqtt.client"),
        ("sync.uplink", "import aiosqlite"),
        ("sync.uplink", "import sqlite3"),
        ("config.loader", "from gate_agent import lane"),
        ("gate_agent.lane", "from offline_cache.store import Store"),
        ("gate_agent.lane", "from scanner.camera import Camera"),
        ("gate_agent.lane", "import sqlite3"),
        ("gate_agent.lane", "from gate_agent.turnstiles.simulated import SimulatedTurnstile"),
        ("gate_agent.lane", "from gate_agent import app"),
        ("gate_agent.web.staff", "from .. import app"),
        ("gate_agent.app", "from simulator.scenes import render_showing"),
        ("gate_agent.app", "import central"),
        ("central.ingest", "from sync import uplink"),
        ("central.ingest", "import sync"),
        ("central.ingest", "from offline_cache.journal import Journal"),
        ("central.ingest", "import cv2"),
        ("central.ingest", "from demo.run import main"),
        ("simulator.witness", "from admission.events import Event"),
        ("simulator.witness", "import numpy"),
        ("simulator.world", "import demo.run"),
        ("demo.run", "from tests.world import World"),
    ],
)
def test_violation_is_found(module: str, source: str) -> None:
    """A module that imports or calls what its layer must not is reported, once."""
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("admission.decision", "from admission.codes import parse\nimport hashlib\nimport cbor2"),
        ("scanner.sources", "import asyncio\nfrom scanner import camera\nfrom admission.scan import Scan"),
        ("offline_cache.database", "import sqlite3\nimport aiosqlite"),
        ("sync.mqtt", "import paho.mqtt.client as mqtt\nfrom . import link\nfrom .protocol import Topic"),
        ("gate_agent.lane", "from gate_agent.ports import Clock\nfrom admission.decision import decide"),
        ("gate_agent.turnstiles.simulated", "from gate_agent.ports import Turnstile"),
        ("gate_agent.app", "from scanner.camera import Camera\nfrom gate_agent.turnstiles import simulated"),
        ("central.ingest", "from sync import mqtt, protocol\nimport sqlalchemy.orm\nimport sqlite3"),
        ("simulator.witness", "import asyncio\nimport json"),
        ("tests.e2e.test_cut", "from simulator.proxy import Proxy\nfrom central.app import main"),
    ],
)
def test_allowed_import_passes(module: str, source: str) -> None:
    """What the design allows is not reported."""
    assert violations(module, source) == []
