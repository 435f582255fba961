"""Keeps freed memory for the next forward pass."""

import torch

# glibc sets its thresholds by the largest block that was ever freed, if it has at most 32 MB.
LARGEST = 31 * 2**20


def keep_freed_memory() -> None:
    """
    Makes glibc keep up to 62 MB of freed memory for this process; elsewhere nothing happens.

    An explainer holds states, queries, keys and values until the base model's last block has run. By default glibc
    then gives this memory back to the system, and every forward pass fetches it again, page by page. No memory is used
    here: a block is reserved and freed, which raises glibc's thresholds (`M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`).
    Those that a user set stay.
    """
    torch.empty(LARGEST, dtype=torch.uint8)
