"""The official Python SDK as a client of retrace-local.

Only the standard library is needed here; the SDK lives in an environment of its own.
"""
