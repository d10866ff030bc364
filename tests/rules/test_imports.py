"""Arrows point inward as pyproject.toml says. import-linter follows them; here it is shown to find a wrong one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.sources import ROOT, imported_modules, name, python_files

SOURCE_ROOTS = ("proto", "server", "clients/python", "clients/gateway", "clients/cli")
INNER = ("bellhop_server.domain", "bellhop_server.ports", "bellhop_server.app")

# Where a forbidden import is planted, which, and the contract that must break.
PLANTED = [
    ("server/bellhop_server/app/sending.py", "bellhop_server.queue.local", "arrows of the server point inward"),
    ("server/bellhop_server/domain/device.py", "sqlalchemy", "the domain is the standard library alone"),
    (
        "server/bellhop_server/queue/local.py",
        "bellhop.v1.device_pb2",
        "only the rpc room knows the contract's messages",
    ),
    (
        "server/bellhop_server/store/seal.py",
        "bellhop_server.app.sending",
        "store, queue and providers know the ports, not the use cases",
    ),
    ("clients/python/bellhop_client/retry.py", "bellhop_server.domain", "the client knows only the contract"),
    (
        "clients/gateway/bellhop_gateway/limits.py",
        "bellhop_server.domain",
        "the gateway knows the client and the contract",
    ),
    ("server/bellhop_simulators/journal.py", "bellhop_server.domain", "the simulators stand alone"),
    (
        "server/bellhop_simulators/http2/frames.py",
        "bellhop_simulators.apns.rules",
        "a simulated provider stands on what any of them shares",
    ),
    ("clients/cli/bellhop_cli/main.py", "bellhop_testing.fake", "what is for users' tests is in nobody's way"),
    ("server/bellhop_server/settings.py", "bellhop_cli", "nothing imports the command line"),
]


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Follows the arrows of the packages in that checkout, whatever is installed."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=checkout,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(checkout / root) for root in SOURCE_ROOTS),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_arrows_point_inward() -> None:
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a copy with every forbidden import in it."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for root in SOURCE_ROOTS:
        shutil.copytree(ROOT / root, copy / root, ignore=shutil.ignore_patterns("__pycache__"))
    for path, module, _ in PLANTED:
        with (copy / path).open("a", encoding="utf-8") as file:
            file.write(f"\nimport {module}\n")
    return lint_imports(copy).stdout


@pytest.mark.parametrize(("path", "module", "contract"), PLANTED)
def test_a_forbidden_import_is_found(verdicts: str, path: str, module: str, contract: str) -> None:
    assert f"{contract} BROKEN" in verdicts
    importer = Path(path).stem
    assert any(f"{importer} -> {module}" in line for line in verdicts.splitlines()), verdicts


def test_every_contract_is_tried() -> None:
    named = {
        line.split('"')[1] for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("name = ")
    }
    assert {contract for _, _, contract in PLANTED} == named - {"bellhop-push"}


def test_the_inner_rooms_know_nothing_but_themselves_and_the_standard_library() -> None:
    """Stricter than a list of what is forbidden: a library that nobody thought of is found too."""
    allowed = {*sys.stdlib_module_names, "bellhop_server"}
    strangers = [
        f"{name(path)}: {module}"
        for path in python_files("server/bellhop_server/domain", "server/bellhop_server/app")
        for module in imported_modules(path)
        if module.partition(".")[0] not in allowed
    ]
    assert strangers == []
