"""libgradclip: found, loaded, declared, called."""
