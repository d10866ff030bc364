"""`python -m tests.faults` writes docs/fault-matrix.md; the tests beside it play what it says."""

from tests.faults.page import PAGE, page

if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"{PAGE.name} is written.")
