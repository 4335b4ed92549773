//! Empty implementation of the metrics, for builds without the feature.

use crate::config::BaseUrl;
use crate::delivery::Answer;
use crate::delivery::Written;
use crate::recording::queue::QueueStats;
use crate::stats::Stats;

/// Metrics of one pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Metrics;

impl Metrics {
    pub(crate) fn new(_: &BaseUrl) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "there are metrics that are somebody's")]
    pub(crate) fn batches(&self) -> Batches {
        Batches
    }

    pub(crate) async fn timed(&self, request: impl Future<Output = Answer>) -> Answer {
        request.await
    }

    #[expect(clippy::unused_self, reason = "there are metrics that are somebody's")]
    pub(crate) fn observe(&self, _: impl Fn() -> Option<Stats>, _: Option<impl Fn() -> Option<QueueStats>>) {}
}

/// Batches of frames that wait for acks.
#[derive(Debug)]
pub(crate) struct Batches;

#[expect(clippy::unused_self, reason = "there are batches that are timed")]
impl Batches {
    pub(crate) fn written(&mut self, _: impl FnOnce() -> Written) {}

    pub(crate) fn confirmed(&mut self, _: impl FnOnce() -> Written) {}

    pub(crate) fn broken_off(&mut self) {}
}
