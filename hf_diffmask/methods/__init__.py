"""Methods that explanations are compared with, and searches of one input's mask: one method a file."""
