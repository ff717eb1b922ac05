"""The installation's files: opened with care, backed up, restored, made smaller."""
