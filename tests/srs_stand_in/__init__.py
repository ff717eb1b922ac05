"""What stands in for SRS 6 where none can be had: RTMP in, hooks and HTTP API as they were recorded, HLS on disk as its
sources and documents describe it. docs/decisions/0028-srs-box.md says what of this is measured, and what is read.

It is a program, started as `srs -c FILE` by script/srs, and takes from FILE what it understands. Nothing but Python's
standard library: whichever python3 is there runs it. tests/test_srs_stand_in.py holds it against the recordings.
"""
