"""Serve the page of the study, reports/html, on this machine alone, and open it in a browser."""

import functools
import http.server
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path("reports/html")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line for each request."""

    def log_message(self, *_: object) -> None:
        pass


def main(
    port: Annotated[int, typer.Option(help="0: any that is free")] = 0,
    open_browser: Annotated[bool, typer.Option("--open/--no-open")] = True,
) -> None:
    """Print the address of reports/html, open it, and serve it until Ctrl-C."""
    if not (FOLDER / "index.html").is_file():
        raise SystemExit(f"{FOLDER}/index.html is missing; `dvc repro page` builds it")
    handler = functools.partial(Handler, directory=FOLDER)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise SystemExit(
            f"port {port}: {error.strerror}; --port 0 takes one that is free"
        ) from None
    address = f"http://127.0.0.1:{server.server_port}/"
    print(f"The page: {address} (Ctrl-C ends it)", flush=True)
    if open_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    typer.run(main)
