//! The end of a process whose guard is not dropped, such as by `std::process::exit`.

use std::panic::catch_unwind;
use std::sync::Once;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::installed::Installed;
use crate::recorded::open;

/// Time that the helper thread may take longer than the flush.
const GRACE: Duration = Duration::from_secs(1);

/// Ends and delivers what is under way when the process exits, if a guard is alive then.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    #[cfg(unix)]
    WATCHED.call_once(|| {
        shutdown_hooks::add_shutdown_hook(at_exit);
    });
    #[cfg(not(unix))]
    let _ = &WATCHED;
}

#[cfg_attr(not(unix), expect(dead_code, reason = "there is no hook"))]
extern "C" fn at_exit() {
    // A panic must not leave a function that C calls.
    let _ = catch_unwind(|| {
        let installed = Installed::locked();
        if !installed.has_pipeline() {
            return;
        }
        let within = installed.flush_timeout();
        let (done, wait) = mpsc::channel::<()>();
        // Thread-local storage of this thread may be gone; locks that it holds stay held, so it waits for so long only.
        let helper = thread::Builder::new().name("retrace-exit".to_owned()).spawn(move || {
            open::end_all();
            installed.shut_down();
            drop(done);
        });
        if helper.is_ok() {
            let _ = wait.recv_timeout(within + GRACE);
        }
    });
}
