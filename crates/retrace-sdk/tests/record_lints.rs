//! Clippy and rustc have nothing against what `#[record]` expands to, in every group of lints that makes sense.
//!
//! What is checked here is checked by `cargo clippy --all-targets`.

#![deny(
    warnings,
    future_incompatible,
    let_underscore,
    nonstandard_style,
    rust_2018_idioms,
    rust_2024_compatibility,
    unused
)]
#![deny(
    missing_docs,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unused_lifetimes,
    unused_qualifications
)]
#![deny(unused_results, variant_size_differences, elided_lifetimes_in_paths, explicit_outlives_requirements)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery, clippy::cargo)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::clone_on_ref_ptr,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::let_underscore_untyped,
    clippy::mem_forget,
    clippy::panic,
    clippy::pattern_type_mismatch,
    clippy::print_stdout,
    clippy::redundant_type_annotations,
    clippy::ref_patterns,
    clippy::semicolon_inside_block,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::str_to_string,
    clippy::undocumented_unsafe_blocks,
    clippy::unneeded_field_pattern,
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]
// Facts of the dependency tree.
#![allow(clippy::multiple_crate_versions, clippy::cargo_common_metadata)]

use std::fmt::Display;
use std::future::{Future, ready};
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};

/// Fields of every kind of argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Page {
    title: String,
    size: u32,
}

#[retrace::record(name = "sync", type = tool_call, effects = idempotent, replay, agent = "a", role = "A", tags("x"))]
fn sync(title: &str, _unused: u8, size: u32) -> Page {
    Page { title: title.to_owned(), size }
}

#[retrace::record(session = page.title.clone(), user = Some(1), metadata(size = page.size), output = |out| *out)]
fn described(page: &Page) -> u32 {
    page.size
}

#[retrace::record(input = (title, *size), skip_output)]
fn replaced(title: &str, size: &mut u32) {
    *size = size.saturating_add(u32::try_from(title.len()).unwrap_or_default());
}

#[retrace::record(skip(title))]
async fn later(title: &str, size: u32) -> Result<Page, std::fmt::Error> {
    ready(()).await;
    if size == 0 {
        return Err(std::fmt::Error);
    }
    Ok(sync(title, 0, size))
}

#[retrace::record]
async fn complex(
    title: &str,
) -> Result<Vec<(String, Option<Box<dyn Fn(&str) -> Result<u32, std::fmt::Error> + Send + Sync>>)>, std::fmt::Error> {
    ready(()).await;
    Ok(vec![(title.to_owned(), None)])
}

#[retrace::record]
fn opaque(title: &str) -> impl Display + use<> {
    title.len()
}

#[retrace::record]
fn future(title: String) -> impl Future<Output = Result<usize, std::fmt::Error>> {
    let length = title.len();
    async move { Ok(length) }
}

#[retrace::record]
fn boxed(title: &str) -> Pin<Box<dyn Future<Output = usize> + Send + '_>> {
    Box::pin(async move { title.len() })
}

#[retrace::record(stream)]
fn items(to: u8) -> impl Stream<Item = u8> {
    stream::iter(0..to)
}

#[retrace::record(stream)]
async fn items_later(to: u8) -> Result<Pin<Box<dyn Stream<Item = u8> + Send>>, std::fmt::Error> {
    ready(()).await;
    Ok(Box::pin(stream::iter(0..to)))
}

#[retrace::record]
fn generic<T: Clone, const N: usize>(values: &[T; N], (first, second): (T, Option<T>)) -> Vec<T> {
    values.iter().cloned().chain([first]).chain(second).collect()
}

#[retrace::record]
fn never(code: i32) -> ! {
    std::process::exit(code)
}

#[retrace::record]
async fn never_later(code: i32) -> ! {
    ready(()).await;
    std::process::exit(code)
}

#[retrace::record]
fn unit() {}

#[retrace::record]
async fn unit_later() {
    ready(()).await;
}

#[retrace::record]
fn one_statement(page: &Page) -> String {
    page.title.clone()
}

impl Page {
    #[retrace::record]
    fn grow(&mut self, by: u32) -> &mut Self {
        self.size = self.size.saturating_add(by);
        self
    }

    #[retrace::record]
    fn title(self) -> String {
        self.title
    }

    #[retrace::record]
    async fn read(&self) -> Option<&str> {
        ready(()).await;
        Some(&self.title)
    }
}

/// Has types that are complex where they are declared, not where they are implemented.
trait Complex {
    #[allow(clippy::type_complexity)]
    fn complex_now(&self) -> Vec<(String, Option<Box<dyn Fn(&str) -> Result<u32, std::fmt::Error> + Send + Sync>>)>;
}

impl Complex for Page {
    #[retrace::record]
    fn complex_now(&self) -> Vec<(String, Option<Box<dyn Fn(&str) -> Result<u32, std::fmt::Error> + Send + Sync>>)> {
        vec![(self.title.clone(), None)]
    }
}

#[async_trait]
trait Search {
    async fn search(&self, query: &str) -> Result<Vec<Page>, std::fmt::Error>;
}

#[async_trait]
impl Search for Page {
    #[retrace::record(metadata(size = self.size))]
    async fn search(&self, query: &str) -> Result<Vec<Self>, std::fmt::Error> {
        ready(()).await;
        if query.is_empty() {
            return Err(std::fmt::Error);
        }
        Ok(vec![self.clone()])
    }
}

/// Everything above compiles without a warning, and runs.
#[test]
fn functions_that_are_linted_run() {
    let mut page = sync("tides", 1, 2);
    assert_eq!(described(&page), 2);
    replaced("tides", &mut page.size);
    assert_eq!(page.grow(1).size, 8);
    assert_eq!(opaque("tides").to_string(), "5");
    assert_eq!(generic(&[1, 2], (3, None)), [1, 2, 3]);
    assert_eq!(one_statement(&page), "tides");
    unit();
    assert_eq!(page.complex_now().len(), 1);
    let pointers: (fn(i32) -> !, usize) = (never, size_of_val(&never_later(0)));
    assert!(pointers.1 > 0);
    let all = async {
        assert_eq!(complex("a").await?.len(), 1);
        assert_eq!(later("tides", 1).await?.size, 1);
        assert_eq!(future(String::from("tides")).await?, 5);
        assert_eq!(boxed("tides").await, 5);
        assert_eq!(page.read().await, Some("tides"));
        assert_eq!(page.search("tides").await?.len(), 1);
        drop(items_later(1).await?);
        drop(items(1));
        unit_later().await;
        Ok::<(), std::fmt::Error>(())
    };
    assert_eq!(futures_util::FutureExt::now_or_never(all), Some(Ok(())));
    assert_eq!(page.title(), "tides");
}
