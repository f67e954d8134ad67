"""The benchmark of gradclip against its peers and against memory's bandwidth."""
