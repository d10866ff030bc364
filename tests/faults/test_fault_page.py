"""The page of faults says what is played."""

from tests.faults.matrix import FAULTS
from tests.faults.page import PAGE, SECTIONS, page


def test_the_page_is_made_of_the_table() -> None:
    assert PAGE.read_text("utf-8") == page(), "make faults writes it anew"


def test_the_page_has_all_rows() -> None:
    assert [fault for _, faults in SECTIONS for fault in faults] == [*FAULTS]
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
