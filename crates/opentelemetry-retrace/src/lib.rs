//! Sends GenAI spans to Retrace.
