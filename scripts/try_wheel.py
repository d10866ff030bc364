"""Tries an installed Bellhop where there is no checkout: every module can be imported, every data file is there.

    python -I scripts/try_wheel.py

Ends with 0 and a line that says how much was tried; with a traceback for the first thing that is missing.
"""

import importlib
import pkgutil
import sys
from importlib.resources import files

from google.protobuf.descriptor_pb2 import FileDescriptorSet

PACKAGES = ("bellhop.v1", "bellhop_server", "bellhop_simulators", "bellhop_client", "bellhop_cli")

# Alembic runs these; `bellhop migrate` tries them.
RUN_BY_ALEMBIC = "bellhop_server.store.migrations."


def main() -> None:
    """Raises ImportError, FileNotFoundError, or AssertionError for a file that is there and is not whole."""
    tried = 0
    for package in PACKAGES:
        root = importlib.import_module(package)
        places = list(root.__path__)
        assert all("site-packages" in place for place in places), f"{package} comes from {places}, not from the wheel"
        assert files(package).joinpath("py.typed").is_file(), f"{package} has no py.typed"
        for module in pkgutil.walk_packages(places, f"{package}."):
            if not module.name.startswith(RUN_BY_ALEMBIC) and not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
                tried += 1
    contract = files("bellhop.v1")
    descriptors = FileDescriptorSet.FromString(contract.joinpath("descriptors.binpb").read_bytes())
    ours = [file.name for file in descriptors.file if file.package == "bellhop.v1"]
    missing = [name for name in ours if not contract.joinpath(name.rpartition("/")[2]).is_file()]
    assert ours, "descriptors.binpb describes nothing of bellhop.v1"
    assert not missing, f"no sources of {missing}"
    sys.stdout.write(f"{tried} modules and the contract's {len(ours)} files are there\n")


if __name__ == "__main__":
    main()
