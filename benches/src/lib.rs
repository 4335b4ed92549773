//! Nothing but `benches/`: run `cargo bench --package benchmarks`.
