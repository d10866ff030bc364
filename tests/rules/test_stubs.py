"""The committed stubs are what the pinned generator makes of the contract, and the declared floors can load them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi", "descriptors.binpb")


def generated(root: Path) -> dict[str, bytes]:
    """Bytes of every generated file below `root`, by relative path."""
    return {str(path.relative_to(root)): path.read_bytes() for pattern in GENERATED for path in root.rglob(pattern)}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("stubs")
    subprocess.run([sys.executable, ROOT / "scripts" / "gen.py", out], check=True)
    files = generated(out)
    assert len(files) == sum(path.is_file() for path in out.rglob("*")), "the generator makes files this test overlooks"
    return files


def test_the_same_files_are_committed(fresh: dict[str, bytes]) -> None:
    assert sorted(generated(PROTO)) == sorted(fresh), "run: make gen"


def test_with_the_same_bytes(fresh: dict[str, bytes]) -> None:
    committed = generated(PROTO)
    assert [name for name in sorted(fresh) if committed.get(name) != fresh[name]] == [], "run: make gen"


def test_every_proto_has_its_stubs() -> None:
    for source in PROTO.glob("bellhop/v1/*.proto"):
        wanted = [f"{source.stem}_pb2.py", f"{source.stem}_pb2.pyi"]
        if re.search(r"^service ", source.read_text(encoding="utf-8"), re.MULTILINE):
            wanted += [f"{source.stem}_pb2_grpc.py", f"{source.stem}_pb2_grpc.pyi"]
        made = {path.name for path in source.parent.glob(f"{source.stem}_pb2*")}
        assert made == set(wanted)


def floor(package: str) -> Version:
    """The lowest version of a dependency that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirement = next(r for r in map(Requirement, project["dependencies"]) if r.name == package)
    return max(Version(s.version) for s in requirement.specifier if s.operator == ">=")


def versions(pattern: str, files: str) -> set[Version]:
    """The versions that the stubs say they were generated for."""
    found = [re.search(pattern, path.read_text(encoding="utf-8")) for path in PROTO.rglob(files)]
    assert found
    assert all(found), f"a stub among {files} does not say its version"
    return {Version(".".join(re.findall(r"\d+", match.group(1)))) for match in found if match}


def test_the_floor_of_protobuf_can_load_the_messages() -> None:
    assert max(versions(r"Domain\.PUBLIC,\s*(\d+,\s*\d+,\s*\d+)", "*_pb2.py")) <= floor("protobuf")


def test_the_floor_of_grpcio_can_load_the_services() -> None:
    assert max(versions(r"GRPC_GENERATED_VERSION = '([\d.]+)'", "*_pb2_grpc.py")) <= floor("grpcio")
