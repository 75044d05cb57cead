"""Pin the requirements by hash, without naming where they are downloaded from.

Needs `uv`, which is not among the requirements: it is fetched into a throw-away environment.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)  # noqa: S603 - our own
        bin_ = str(venv / "bin")
        subprocess.run([f"{bin_}/python", "-m", "pip", "install", "--quiet", "uv"], check=True)  # noqa: S603 - our own
        for name, extra in (("run", []), ("dev", ["--extra", "dev", "--extra", "tracing"])):
            subprocess.run(  # noqa: S603 - our own
                [
                    *(f"{bin_}/uv", "pip", "compile", "pyproject.toml", *extra),
                    *("--universal", "--python-version", "3.11", "--generate-hashes"),
                    *("--no-emit-index-url", "--no-emit-find-links", "--no-header", "--quiet"),
                    *("--output-file", f"dev/requirements/{name}.txt"),
                ],
                cwd=ROOT,
                check=True,
            )


if __name__ == "__main__":
    main()
