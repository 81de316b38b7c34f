"""The policy under test: one small protocol, one file per adapter."""
