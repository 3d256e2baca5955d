"""The only ctypes: one function a system call."""
