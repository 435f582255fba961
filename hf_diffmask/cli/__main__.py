"""`python -m hf_diffmask.cli`, and what `accelerate launch -m hf_diffmask.cli` runs."""

import sys

from hf_diffmask_entry import main

sys.exit(main())
