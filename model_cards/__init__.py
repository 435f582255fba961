"""Card templates; a package so that a wheel carries them."""
