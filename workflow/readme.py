"""Fill the marked blocks of README.md with the numbers of reports/."""

from pathlib import Path

from ecc import params
from ecc.files import atomic_path
from ecc.report import readme

# What the README's words are about; the report has all of them.
TEST_SETS = ("english", "librispeech-demo")
METRICS = ("pesq_wb", "visqol")


def main() -> None:
    """Rewrite README.md, unless its numbers are already those of the report."""
    study = params.load()
    path = Path("README.md")
    text = path.read_text("utf-8")
    blocks = readme.blocks(Path("reports"), TEST_SETS, METRICS, study.report)
    filled = readme.fill(text, blocks)
    if filled != text:
        with atomic_path(path) as temporary:
            temporary.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
