"""Webhooks, outwards: what is due, the guarded POST, and what came of it (contract, section 3)."""
