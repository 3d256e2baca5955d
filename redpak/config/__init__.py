"""Configuration: YAML in, typed values out, every one knowing its file and line."""
