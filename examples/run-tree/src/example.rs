//! Examples as processes, for their tests.

use std::io;
use std::process::{Command, Output};

/// How often an example runs at most.
const ATTEMPTS: usize = 5;

/// Runs an example as its reader does, in an empty environment, and returns what it printed.
///
/// The SDK gives a shutdown five seconds. On a machine that is too busy for them an example ends with a timeout or with lost
/// spans: then it runs again, five times at most.
///
/// # Errors
/// The program cannot be started.
pub fn run_example(program: &str) -> io::Result<Output> {
    let mut command = Command::new(program);
    let mut output = command.env_clear().output()?;
    for _ in 1..ATTEMPTS {
        if !is_late(&output) {
            break;
        }
        output = command.output()?;
    }
    Ok(output)
}

/// Returns true if the time of a shutdown was too short.
fn is_late(output: &Output) -> bool {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    error.contains("Timeout(") || out.lines().any(|line| line.ends_with(" lost") && !line.ends_with(" 0 lost"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn a_timeout_and_lost_spans_are_late() {
        let late = |stdout: &str, stderr: &str| {
            is_late(&Output { status: ExitStatus::from_raw(0), stdout: stdout.into(), stderr: stderr.into() })
        };
        assert!(late("", "Error: Timeout(5s)\n"));
        assert!(late("6 spans accepted, 0 delivered, 6 lost\n", ""));
        assert!(!late("6 spans accepted, 6 delivered, 0 lost\n", ""));
        assert!(!late("", "Error: \"one run was to come, not 2\"\n"));
    }
}
