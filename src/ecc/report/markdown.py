"""Tables and numbers in Markdown."""

import pandas as pd


def markdown(table: pd.DataFrame) -> str:
    """`table` in Markdown; empty for a table without rows, so that words can say so."""
    if table.empty:
        return ""
    cells = table.astype(object).where(table.notna(), "–").astype(str)
    cells = cells.replace({r"\|": r"\\|", r"\s+": " "}, regex=True)
    return cells.to_markdown(index=False, disable_numparse=True)


def number(value: float, form: str) -> str:
    """`value` in the format `form`, or a dash for a missing one."""
    return "–" if pd.isna(value) else form.format(value)
