"""Entry point of `python -m hf_diffmask.cli` and `accelerate launch -m hf_diffmask.cli`."""

import sys

from hf_diffmask_entry import main

sys.exit(main())
