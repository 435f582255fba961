"""Classes of masks by the `objective` of a config."""

from .evidence import EvidenceMasks
from .masks import Masks
from .paths import PathMasks
from .votes import VoteMasks

MASKS: dict[str, type[Masks]] = {one.name: one for one in (VoteMasks, PathMasks, EvidenceMasks)}
