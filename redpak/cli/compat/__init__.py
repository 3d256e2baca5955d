"""The programs that red-pak users have in their fingers: redwrap, redconf, redwrap-dnf."""
