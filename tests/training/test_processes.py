"""Without a process group there is nothing to end. With one: tests/training/two_processes.py."""

import torch
from accelerate import PartialState

from hf_diffmask.training.processes import end_processes, held_backend


def test_one_process_ends_nothing():
    device = torch.device("cpu")
    with held_backend(device):
        pass
    end_processes(None, device)
    end_processes(PartialState(cpu=True), device)
