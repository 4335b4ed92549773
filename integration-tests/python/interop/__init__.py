"""The official Python SDK as a client of retrace-local. Standard library only; the SDK lives in an environment of its own."""
