"""DNF's command line over redpak's package rooms: its grammar, its words, its exit codes (those of dnf 4.14)."""
