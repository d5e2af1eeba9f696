### Die Kontoseite.
