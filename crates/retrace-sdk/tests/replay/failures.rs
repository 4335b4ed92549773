//! The ten ways in which the official SDK's replay fails, by their numbers: this one has none of them.
