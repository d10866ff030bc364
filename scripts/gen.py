"""Generates the Python stubs of the contract and the descriptors that the server's reflection serves.

    python scripts/gen.py [OUT]

OUT is the folder to write into, by default `proto/`, where the results are committed beside their sources. The output
depends on the sources and on the pinned generators alone; a test compares it with what is committed.
"""

import os
import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).resolve().parent.parent / "proto"

DESCRIPTORS = "bellhop/v1/descriptors.binpb"
"""Path below OUT of the FileDescriptorSet: comments and imports included, so that it can be read on its own."""


def generate(out: Path) -> None:
    """Writes every generated file below `out`, which is made when it is not there.

    Raises:
        subprocess.CalledProcessError: protoc refused a source; it has printed why.
    """
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("bellhop/v*/*.proto"))
    (out / DESCRIPTORS).parent.mkdir(parents=True, exist_ok=True)
    # protoc looks for its plugins on the path, which an environment that is not activated is not part of.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}"),
            *(f"--python_out={out}", f"--mypy_out=quiet:{out}"),
            *(f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"),
            *(f"--descriptor_set_out={out / DESCRIPTORS}", "--include_imports", "--include_source_info"),
            *sources,
        ],
        check=True,
        env={**os.environ, "PATH": path},
    )
    for stub in out.glob("bellhop/v*/*_pb2_grpc.py*"):
        if "Stub" not in stub.read_text(encoding="utf-8"):  # protoc writes one for files without a service too.
            stub.unlink()


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PROTO)
