//! Responses of providers rebuilt from what a run records of them: the inverse of the provider parsers.
