"""Change params.yaml to a preset of workflow/presets; `git checkout params.yaml` goes back."""

from pathlib import Path

import typer
from ruamel.yaml import YAML

from ecc import params
from ecc.files import atomic_path


def main(preset: str) -> None:
    """Apply workflow/presets/PRESET.yaml, a JSON merge patch (RFC 7396), to params.yaml."""
    path = Path("workflow/presets") / f"{preset}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml")))
        raise SystemExit(f"no preset {preset!r}; known are: {known}")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096  # lines stay as they are
    content = yaml.load(Path("params.yaml"))
    params.apply_patch(content, yaml.load(path) or {})
    with atomic_path("params.yaml") as temporary:
        yaml.dump(content, temporary)
        try:
            params.load(temporary)
        except params.ParamsError as error:
            raise SystemExit(str(error).replace(str(temporary), f"preset {preset}")) from None


if __name__ == "__main__":
    typer.run(main)
