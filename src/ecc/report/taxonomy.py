"""An overview of neural speech codecs: how each represents speech, quantizes and codes it.

`taxonomy.csv` has a row for each codec. A cell is empty where neither the reference nor the
authors' own repository or model card was found to state it.
"""

from pathlib import Path

import pandas as pd

HEADINGS = {
    "codec": "codec",
    "year": "year",
    "input": "input",
    "output": "output",
    "backbone": "backbone",
    "quantization": "quantization",
    "entropy_coding": "entropy coding",
    "objective": "objective",
    "kbps": "kbps, nominal",
    "khz": "kHz",
    "weights": "open weights",
    "reference": "reference",
}


def taxonomy() -> pd.DataFrame:
    """The overview [codecs, columns of `HEADINGS`], all text, references as Markdown links."""
    path = Path(__file__).parent / "taxonomy.csv"
    table = pd.read_csv(path, dtype=str, na_values=[""], keep_default_na=False)
    table["reference"] = table["reference"].map(_linked, na_action="ignore")
    return table[list(HEADINGS)].rename(columns=HEADINGS)


def _linked(reference: str) -> str:
    """ "arXiv:2107.03312" or an address as a link; a venue as it is."""
    if reference.startswith("arXiv:"):
        number = reference.removeprefix("arXiv:")
        return f"[arXiv {number}](https://arxiv.org/abs/{number})"
    if reference.startswith("https://"):
        return f"[{reference.split('/')[2].removeprefix('www.')}]({reference})"
    return reference
