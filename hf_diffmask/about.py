"""Version, name of the pipeline's task, and the files that come with the package."""

from pathlib import Path

VERSION = "0.1.0"
TASK = "diffmask-attribution"

PACKAGE = Path(__file__).parent
BUNDLED = PACKAGE / "bundled"
BUNDLED_EXPLAINER = str(BUNDLED / "explainer")
BUNDLED_CLASSIFIER = str(BUNDLED / "classifier")
METRICS = str(PACKAGE / "metrics")
