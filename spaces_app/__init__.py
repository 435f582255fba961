"""The Space, as it is published: `hf-diffmask push-space` adds the wheel of the package."""
