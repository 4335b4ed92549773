//! The clock of paced playback.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A wait.
pub(crate) type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes waits. Without one of the application's, `futures-timer` waits, which needs no runtime.
#[derive(Clone, Default)]
pub(crate) struct Timer(Option<Arc<dyn Fn(Duration) -> Sleep + Send + Sync>>);

impl Timer {
    pub(crate) fn new(sleep: Arc<dyn Fn(Duration) -> Sleep + Send + Sync>) -> Self {
        Self(Some(sleep))
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        match &self.0 {
            Some(sleep) => sleep(duration),
            None => Box::pin(futures_timer::Delay::new(duration)),
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Timer").field(&self.0.is_some()).finish()
    }
}
