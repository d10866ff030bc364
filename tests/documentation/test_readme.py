"""What README tells to paste works as it stands: its grpcurl session, and the Python that follows it."""

from pathlib import Path

from tests.documentation.pages import blocks, replaced
from tests.documentation.session import free_addresses, pasted


def test_the_session_goes_as_told(tmp_path: Path) -> None:
    (address,) = free_addresses(1)
    (shell,), (python,) = (blocks("README.md", language) for language in ("sh", "python"))
    (tmp_path / "again.py").write_text(replaced(python, ("127.0.0.1:50051", address)))
    shell = replaced(shell, ("127.0.0.1:50051", address))
    said = pasted(f"{shell}\npython {tmp_path}/again.py\nkill %1 %2\nwait\n", tmp_path, BELLHOP_LISTEN=address)
    # Once when it was sent, once when it was watched.
    assert (said.count('"accepted":'), said.count('"summary":')) == (2, 2), said
    assert said.count('"providerStatus": 200') == 2, said
    assert "unauthenticated" in said.lower(), said
    assert "anns-phone OUTCOME_ACCEPTED" in said, said
