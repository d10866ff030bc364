"""The page of faults says what is played."""

from tests.faults.page import PAGE, page


def test_the_page_is_made_of_the_table() -> None:
    assert PAGE.read_text("utf-8") == page(), "make faults writes it anew"
