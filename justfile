# Commands of this repository. `just` lists them; each is also a plain command that runs without `just`.

default:
    @just --list

# Show what the project is for.
demo:
    cargo run -p example-record-agent

# Run the tests.
test:
    cargo test --workspace

# Format and lint as CI does.
lint:
    .ci/run format clippy

# Everything that CI checks; a list of steps limits it, such as `just ci tests doc`.
ci *steps:
    .ci/run {{steps}}

# Accept a deliberate change of the public interface.
api-write:
    .ci/run api_write

# Rewrite golden files after a deliberate change.
goldens:
    RETRACE_REWRITE_GOLDENS=1 cargo test --workspace

# Run one benchmark: cost, heap, record, stream or wire.
bench name *args:
    cargo bench --package benchmarks --bench {{name}} -- {{args}}

# Fuzz one target for some seconds, or all of them.
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# Start a local receiver with a page at http://127.0.0.1:3001.
serve *args:
    cargo run -p retrace-local -- serve {{args}}

# Remove build output.
clean:
    cargo clean
