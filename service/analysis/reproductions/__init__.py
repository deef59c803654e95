"""The published tables that ship with dq, a YAML file each."""
