"""Listening tests: make one out of what the study decoded, and analyse what listeners answered.

    python workflow/listen.py make mushra --codecs ecc,opus,lyra --rate 1.5,6
    python workflow/listen.py make abx --codecs ecc --rate 6
    python workflow/listen.py analyse reports/listening/NAME

No stage runs it. docs/listening.md says what it makes and how a test is run.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ecc import resolved
from ecc.audio import AudioError
from ecc.listening.key import REFERENCE, Method, ResultError
from ecc.listening.kit import Decodes, KitError, Plan, make_kit
from ecc.report.listening import section
from ecc.speech import SpeechError

app = typer.Typer(add_completion=False, help="Listening tests.")


@app.command()
def make(
    method: Annotated[Method, typer.Argument(help="mushra: rate; abx: tell apart.")],
    codecs: Annotated[str, typer.Option(help="Names of params.yaml, with commas.")],
    rate: Annotated[str, typer.Option(help="kbps, with commas: the nearest point to each.")],
    test_set: Annotated[str, typer.Option(help="Whose utterances are heard.")] = "english",
    items: Annotated[int | None, typer.Option(min=1, help="How many utterances.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the utterances and every order.")] = 0,
    against: Annotated[str, typer.Option(help="ABX: a codec, or the reference.")] = REFERENCE,
    repeats: Annotated[int, typer.Option(min=1, help="ABX: of each pair of each item.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Else data/listening/METHOD-TEST_SET.")] = None,
) -> None:
    """Make a listening test in a folder of its own."""
    out = out or Path("data/listening") / f"{method}-{test_set}"
    try:
        kbps = [_rate(part) for part in _parts(rate)]
        plan = Plan(method, _parts(codecs), kbps, test_set, items, seed, against, repeats)
        out.parent.mkdir(parents=True, exist_ok=True)
        key = make_kit(plan, Decodes(Path("data"), _labels()), out)
    except (KitError, AudioError, SpeechError, OSError) as error:
        sys.exit(f"listen make: {error}")
    for condition in key.conditions.values():
        print(f"  {condition.label}")
    print(f"{out}/page/index.html opens the test in a browser; {out}/page is what listeners get,")
    print(f"and {out}/key.json says what they heard.")


@app.command()
def analyse(
    results: Annotated[Path, typer.Argument(help="A folder with key.json and the results.")],
) -> None:
    """Say what listeners heard: who is counted, means, pairs."""
    try:
        found = section(results)
    except ResultError as error:
        sys.exit(f"listen analyse: {error}")
    print(f"{found['kept']} of {found['listeners']} listeners are counted; {found['items']} items.")
    for name in ("means", "pairs", "screening"):
        if found[name]:
            print(f"\n{found[name]}")


def _parts(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise KitError(f"--rate {text}: not a rate in kbps")
    return rate


def _labels() -> dict[str, str]:
    try:
        labels: dict[str, str] = resolved.config("aggregate")["labels"]
    except FileNotFoundError as error:
        raise KitError(f"{error.filename} is missing: `dvc repro validate` makes it") from None
    return labels


if __name__ == "__main__":
    app()
