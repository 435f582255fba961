"""The Space: what it serves and its limits are in README.md, and can be set by variables."""

import sys
from pathlib import Path
from zipfile import ZipFile

HERE = Path(__file__).parent

# hf-diffmask is on no index: its wheel, of Python alone, lies beside this file, and needs only to be unpacked.
for wheel in HERE.glob("hf_diffmask-*.whl"):
    unpacked = HERE / ".package" / wheel.stem
    if not unpacked.is_dir():
        ZipFile(wheel).extractall(unpacked)
    sys.path.insert(0, str(unpacked))

from hf_diffmask.space.app import build, launch  # noqa: E402
from hf_diffmask.space.settings import Settings  # noqa: E402

settings = Settings.from_environment(readme=HERE / "README.md")
demo = build(settings)

if __name__ == "__main__":
    launch(demo, settings)
