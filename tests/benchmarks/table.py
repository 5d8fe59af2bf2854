"""Write the README's table of figures from bench.json: python -m tests.benchmarks.table."""

from deployments.lab.environment import PROJECT
from tests.benchmarks import history

README = PROJECT / "README.md"
BEGIN, END = "<!-- figures: make bench-table -->\n", "<!-- end of figures -->"


def filled(readme: str, table: str) -> str:
    """The README with this table between its two marks."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"expected {BEGIN.strip()} and {END} in {README.name}, found neither")
    return f"{head}{begin}{table}\n{end}{tail}"


def write() -> None:
    """The README's table anew, from all runs that bench.json keeps."""
    runs = history.read(history.FILE.read_text("utf-8"))
    text = README.read_text("utf-8")
    README.write_text(filled(text, history.markdown(runs)), encoding="utf-8")


if __name__ == "__main__":
    write()
