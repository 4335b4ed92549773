//! Every kind of function below `#[record]`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::manual_async_fn)] // Each form is a kind of its own.

mod recorded;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use serde::Serialize;
use serde_json::{Value, json};

use crate::recorded::start;

struct Index {
    pages: Vec<String>,
}

#[retrace::record(name = "free")]
fn free(topic: &str) -> usize {
    topic.len()
}

impl Index {
    #[retrace::record(name = "associated")]
    fn new(pages: &[&str]) -> Self {
        Self { pages: pages.iter().map(ToString::to_string).collect() }
    }

    #[retrace::record(name = "method", metadata(pages = self.pages.len()))]
    fn find(&self, topic: &str) -> Option<&str> {
        self.pages.iter().map(String::as_str).find(|page| page.contains(topic))
    }

    #[retrace::record(name = "method by &mut")]
    fn first(&mut self, text: &str) -> &mut String {
        let first = &mut self.pages[0];
        first.push_str(text);
        first
    }

    #[retrace::record(name = "method by value", skip(self))]
    fn into_pages(mut self) -> Vec<String> {
        self.pages.sort();
        self.pages
    }

    #[retrace::record(name = "method by Rc")]
    fn count(self: Rc<Self>) -> usize {
        self.pages.len()
    }

    #[retrace::record(name = "async method")]
    async fn find_later(&self, topic: &str) -> Option<&str> {
        ready(()).await;
        self.find(topic)
    }

    #[retrace::record(name = "async method by &mut")]
    async fn first_later<'a>(&'a mut self, text: &str) -> &'a mut String {
        ready(()).await;
        self.first(text)
    }
}

#[test]
fn functions_and_methods() {
    let pipeline = start();
    assert_eq!(free("tides"), 5);
    let mut index = Index::new(&["tides", "moon"]);
    assert_eq!(index.find("moo"), Some("moon"));
    assert_eq!(index.first("!"), "tides!");
    assert_eq!(index.find_later("none").now_or_never().unwrap(), None);
    assert_eq!(index.first_later("?").now_or_never().unwrap(), "tides!?");
    assert_eq!(index.into_pages(), ["moon", "tides!?"]);
    assert_eq!(Rc::new(Index { pages: Vec::new() }).count(), 0);
    for (name, input, output) in [
        ("free", json!({"topic": "tides"}), json!(5)),
        ("associated", json!({"pages": ["tides", "moon"]}), json!(format!("[{}]", std::any::type_name::<Index>()))),
        ("method", json!({"topic": "moo"}), json!("moon")),
        ("method by &mut", json!({"text": "!"}), json!("tides!")),
        ("method by value", Value::Null, json!(["moon", "tides!?"])),
        ("method by Rc", Value::Null, json!(0)),
        ("async method", json!({"topic": "none"}), Value::Null),
        ("async method by &mut", json!({"text": "?"}), json!("tides!?")),
    ] {
        let run = pipeline.runs(name).into_iter().find(|run| run.root().name == name).unwrap();
        assert_eq!((run.status(), run.input(), run.output()), ("completed", input, output), "{name}");
    }
    let nested = pipeline.run("async method");
    assert_eq!(nested.span("method").parent_id.as_ref(), Some(&nested.root().id));
    assert_eq!(pipeline.run("method").metadata()["pages"], json!(2));
}

trait Tool {
    const NAME: &str;

    fn call(&self, query: &str) -> String;

    #[retrace::record(name = Self::NAME)]
    fn call_twice(&self, query: &str) -> String {
        self.call(query) + &self.call(query)
    }

    #[retrace::record(name = "default async body")]
    async fn call_later(&self, query: &str) -> String
    where
        Self: Sync,
    {
        ready(()).await;
        self.call(query)
    }

    fn call_opaquely(&self) -> impl Future<Output = u8> + Send;
}

struct Echo;

impl Tool for Echo {
    const NAME: &str = "default body";

    #[retrace::record(name = "trait method")]
    fn call(&self, query: &str) -> String {
        query.to_owned()
    }

    #[retrace::record(name = "trait method of a future")]
    async fn call_opaquely(&self) -> u8 {
        ready(3).await
    }
}

#[test]
fn trait_methods() {
    let pipeline = start();
    assert_eq!(Echo.call_twice("a"), "aa");
    assert_eq!(Echo.call_later("b").now_or_never().unwrap(), "b");
    assert_eq!(Echo.call_opaquely().now_or_never().unwrap(), 3);
    let run = pipeline.run("default body");
    assert_eq!((run.input(), run.output()), (json!({"query": "a"}), json!("aa")));
    assert_eq!(run.spans().iter().filter(|span| span.name == "trait method").count(), 2);
    assert_eq!(pipeline.run("default async body").output(), json!("b"));
    assert_eq!(pipeline.run("trait method of a future").output(), json!(3));
}

#[async_trait]
trait Search: Send + Sync {
    async fn search(&self, query: &str, limit: usize) -> Result<Vec<String>, std::fmt::Error>;

    #[retrace::record(name = "async_trait default body")]
    async fn search_one(&self, query: &str) -> Option<String> {
        self.search(query, 1).await.ok()?.pop()
    }
}

struct Pages(Vec<String>);

#[async_trait]
impl Search for Pages {
    #[retrace::record(name = "async_trait", metadata(pages = self.0.len()))]
    async fn search(&self, query: &str, limit: usize) -> Result<Vec<String>, std::fmt::Error> {
        if limit == 0 {
            return Err(std::fmt::Error);
        }
        ready(()).await;
        Ok(self.0.iter().filter(|page| page.contains(query)).take(limit).cloned().collect())
    }
}

#[async_trait(?Send)]
trait Local {
    async fn here(self: Rc<Self>, other: Rc<u8>) -> u8;
}

#[async_trait(?Send)]
impl Local for u8 {
    #[retrace::record(name = "async_trait of a local future")]
    async fn here(self: Rc<Self>, other: Rc<u8>) -> u8 {
        ready(()).await;
        *self + *other
    }
}

#[test]
fn async_traits() {
    let pipeline = start();
    let pages: Box<dyn Search> = Box::new(Pages(vec!["tides".to_owned(), "moon".to_owned()]));
    assert_eq!(pages.search_one("moo").now_or_never().unwrap().unwrap(), "moon");
    let run = pipeline.run("async_trait default body");
    assert_eq!((run.input(), run.output()), (json!({"query": "moo"}), json!("moon")));
    assert_eq!(recorded::json(run.span("async_trait").input.as_ref()), json!({"query": "moo", "limit": 1}));
    assert!(pages.search("moo", 0).now_or_never().unwrap().is_err());
    let run = pipeline.run("async_trait");
    assert_eq!((run.status(), &run.metadata()["pages"]), ("failed", &json!(2)));
    drop(pages.search("moo", 0));
    assert_eq!(pipeline.runs("async_trait").len(), 1, "a call begins when it is polled");
    assert_eq!(Rc::new(1).here(Rc::new(2)).now_or_never().unwrap(), 3);
    assert_eq!(pipeline.run("async_trait of a local future").output(), json!(3));
}

#[retrace::record(name = "generic")]
fn generic<T: Serialize, U, const N: usize>(first: T, second: U, numbers: [u8; N]) -> Option<(T, usize)>
where
    U: Debug,
{
    (N > 0).then(|| (first, format!("{second:?}{numbers:?}").len()))
}

#[retrace::record(name = "generic without bounds")]
fn pass<T>(value: T) -> T {
    value
}

#[retrace::record(name = "generic async fn")]
async fn generic_later<T: Clone + Debug, E: Display>(value: &T, error: Result<(), E>) -> Result<T, E> {
    ready(()).await;
    error.map(|()| value.clone())
}

#[retrace::record(name = "lifetimes")]
fn longer<'a, 'b: 'a>(first: &'a str, second: &'b str) -> &'a str {
    if first.len() > second.len() { first } else { second }
}

#[retrace::record(name = "impl arguments", output = |out| *out)]
fn apply(text: impl AsRef<str> + Debug, function: impl Fn(&str) -> usize) -> usize {
    function(text.as_ref())
}

#[retrace::record(name = "impl return")]
fn even(to: u32) -> impl Iterator<Item = u32> + Clone {
    (0..to).filter(|number| number % 2 == 0)
}

#[retrace::record(name = "impl in a result")]
fn parsed(text: &str) -> Result<impl Display + use<>, std::num::ParseIntError> {
    let number: u32 = text.parse()?;
    Ok(number + 1)
}

#[retrace::record(name = "dyn return")]
fn shown(text: &str) -> Box<dyn Display + '_> {
    if text.is_empty() {
        return Box::new(0);
    }
    Box::new(text)
}

#[test]
fn generics() {
    let pipeline = start();
    assert_eq!(generic("a", 'b', [1, 2]), Some(("a", 9)));
    assert_eq!(pass(3), 3);
    assert_eq!(generic_later(&3, Ok::<(), u8>(())).now_or_never().unwrap(), Ok(3));
    assert_eq!(generic_later(&3, Err("broken")).now_or_never().unwrap(), Err("broken"));
    assert_eq!(longer("a", "bc"), "bc");
    assert_eq!(apply("tides", str::len), 5);
    assert_eq!(even(5).sum::<u32>(), 6);
    assert_eq!(parsed("1").unwrap().to_string(), "2");
    assert!(parsed("x").is_err());
    assert_eq!(shown("").to_string() + &shown("x").to_string(), "0x");
    let run = pipeline.run("generic");
    assert_eq!(run.input()["first"], json!("a"));
    assert_eq!(run.input()["second"], json!("'b'"), "U is known to be Debug only");
    assert_eq!(run.input()["numbers"], json!("[1, 2]"));
    assert_eq!(pipeline.run("generic without bounds").output(), json!("[i32]"));
    let statuses: Vec<String> = pipeline.runs("generic async fn").iter().map(|run| run.status().to_owned()).collect();
    assert!(statuses.contains(&"failed".to_owned()) && statuses.contains(&"completed".to_owned()), "{statuses:?}");
    assert_eq!(pipeline.run("lifetimes").output(), json!("bc"));
    let run = pipeline.run("impl arguments");
    assert_eq!(run.input()["text"], json!("\"tides\""));
    assert!(run.input()["function"].as_str().unwrap().starts_with('['), "{:?}", run.input());
    assert_eq!(pipeline.run("impl return").status(), "completed");
    assert_eq!(pipeline.runs("impl in a result").iter().filter(|run| run.status() == "failed").count(), 1);
    assert_eq!(pipeline.runs("dyn return").len(), 2);
}

struct Point {
    x: u8,
    y: (u8, u8),
}

#[retrace::record(name = "patterns")]
#[allow(clippy::toplevel_ref_arg, clippy::needless_pass_by_value)]
fn patterns(
    Point { x, y: (mut left, _) }: Point,
    [first, .., last]: [u8; 3],
    (a, &b): (u8, &u8),
    _: u8,
    ref text: String,
    whole @ (Ok(part) | Err(part)): Result<u8, u8>,
) -> u8 {
    left += 1;
    let _ = (text, whole);
    x + left + first + last + a + b + part
}

#[retrace::record(name = "cfg")]
fn conditional(kept: u8, #[cfg(not(test))] gone: Gone, #[cfg(test)] also_kept: u8) -> u8 {
    kept + also_kept
}

#[retrace::record(name = "mutable")]
fn mutable(mut pages: Vec<u8>, total: &mut u8) -> Vec<u8> {
    pages.push(3);
    *total += 1;
    pages
}

#[test]
fn argument_patterns() {
    let pipeline = start();
    let point = Point { x: 1, y: (2, 3) };
    assert_eq!(patterns(point, [1, 2, 3], (4, &5), 6, "text".to_owned(), Ok(7)), 24);
    let input = pipeline.run("patterns").input();
    assert_eq!(
        input,
        json!({"x": 1, "left": 2, "first": 1, "last": 3, "a": 4, "b": 5, "text": "text", "whole": {"Ok": 7}, "part": 7})
    );
    assert_eq!(conditional(1, 2), 3);
    assert_eq!(pipeline.run("cfg").input(), json!({"kept": 1, "also_kept": 2}));
    let mut total = 1;
    assert_eq!(mutable(vec![1], &mut total), [1, 3]);
    assert_eq!(pipeline.run("mutable").input(), json!({"pages": [1], "total": 1}));
}

#[retrace::record(name = "impl Future")]
fn future(topic: &str) -> impl Future<Output = Result<usize, std::fmt::Error>> {
    let length = topic.len();
    async move {
        ready(()).await;
        Ok(inner(length))
    }
}

#[retrace::record]
fn inner(value: usize) -> usize {
    value
}

#[retrace::record(name = "impl Future of a block")]
fn future_of_a_block(topic: &str) -> impl Future<Output = Result<usize, Box<dyn std::error::Error>>> {
    async move {
        if topic.is_empty() {
            Err(std::fmt::Error)?;
        }
        Ok(inner(topic.len()))
    }
}

#[retrace::record(name = "Box::pin")]
fn boxed<'a>(topic: &'a str) -> Pin<Box<dyn Future<Output = usize> + Send + 'a>> {
    Box::pin(async move { inner(topic.len()) })
}

#[retrace::record(name = "Box::pin after a statement")]
fn boxed_later(topic: &str) -> Pin<Box<dyn Future<Output = usize> + Send + Sync>> {
    let length = topic.len();
    Box::pin(async move { inner(length) })
}

#[retrace::record(name = "BoxFuture")]
fn box_future<'a>(topic: &'a str) -> BoxFuture<'a, usize> {
    let future = async move { inner(topic.len()) };
    future.boxed()
}

#[retrace::record(name = "LocalBoxFuture")]
fn local_box_future(topic: Rc<str>) -> LocalBoxFuture<'static, usize> {
    let future = async move { inner(topic.len()) };
    if inner(1) == 2 {
        return Box::pin(ready(1));
    }
    future.boxed_local()
}

type Named = Pin<Box<dyn Future<Output = usize> + Send>>;

#[retrace::record(name = "named future of a block")]
fn named(topic: String) -> Named {
    Box::pin(async move { inner(topic.len()) })
}

#[retrace::record(name = "ready")]
fn at_once() -> impl Future<Output = usize> + Send + 'static {
    ready(inner(2))
}

#[test]
fn returned_futures() {
    let pipeline = start();
    assert_eq!(future("tides").now_or_never().unwrap(), Ok(5));
    assert_eq!(future_of_a_block("tides").now_or_never().unwrap().unwrap(), 5);
    assert!(future_of_a_block("").now_or_never().unwrap().is_err());
    assert_eq!(boxed("tides").now_or_never().unwrap(), 5);
    assert_eq!(boxed_later("tides").now_or_never().unwrap(), 5);
    assert_eq!(box_future("tides").now_or_never().unwrap(), 5);
    assert_eq!(local_box_future("tides".into()).now_or_never().unwrap(), 5);
    assert_eq!(named("tides".to_owned()).now_or_never().unwrap(), 5);
    assert_eq!(at_once().now_or_never().unwrap(), 2);
    let failed: Vec<_> =
        pipeline.runs("impl Future of a block").into_iter().filter(|run| run.status() == "failed").collect();
    assert_eq!(failed.len(), 1);
    for (name, input, output) in [
        ("impl Future", json!({"topic": "tides"}), json!(5)),
        ("Box::pin", json!({"topic": "tides"}), json!(5)),
        ("Box::pin after a statement", json!({"topic": "tides"}), json!(5)),
        ("BoxFuture", json!({"topic": "tides"}), json!(5)),
        ("LocalBoxFuture", json!({"topic": "tides"}), json!(5)),
        ("named future of a block", json!({"topic": "tides"}), json!(5)),
        ("ready", Value::Null, json!(2)),
    ] {
        let run = pipeline.run(name);
        assert_eq!((run.status(), run.input(), run.output()), ("completed", input, output), "{name}");
        let below = run.spans().iter().filter(|span| span.name == "inner" && span.parent_id.is_some());
        assert!(below.count() > 0, "{name}: the span is current in the body and in the future");
    }
}

#[retrace::record(name = "extern")]
extern "C" fn foreign(value: u8) -> u8 {
    value + 1
}

#[retrace::record(name = "never")]
fn never(reason: &str) -> ! {
    panic!("{reason}")
}

#[retrace::record(name = "async never")]
async fn never_later(reason: &str) -> ! {
    ready(()).await;
    panic!("{reason}")
}

#[retrace::record(name = "unit")]
fn unit(#[allow(unused)] value: u8) {
    #![allow(clippy::no_effect)]
    ();
}

#[retrace::record(name = "must use")]
#[must_use = "it is kept"]
#[inline]
fn kept() -> Cow<'static, str> {
    Cow::Borrowed("kept")
}

macro_rules! recorded_function {
    ($visibility:vis $name:ident($argument:ident: $type:ty) -> $returned:ty $body:block) => {
        #[retrace::record]
        $visibility fn $name($argument: $type) -> $returned $body
    };
}

recorded_function!(pub(crate) of_a_macro(value: &str) -> usize { value.len() });

#[retrace::record(name = "hygiene")]
fn hygienic(call: u8, value: u8, details: u8) -> u8 {
    let unreachable = call + value;
    unreachable + details
}

#[test]
fn qualifiers() {
    let pipeline = start();
    let pointer: extern "C" fn(u8) -> u8 = foreign;
    assert_eq!(pointer(1), 2);
    let pointer: fn(&str) -> ! = never;
    assert!(std::panic::catch_unwind(|| pointer("no way")).is_err());
    assert!(std::panic::catch_unwind(|| never_later("no way").now_or_never()).is_err());
    unit(1);
    assert_eq!(kept(), "kept");
    assert_eq!(of_a_macro("tides"), 5);
    assert_eq!(hygienic(1, 2, 3), 6);
    assert_eq!(pipeline.run("extern").output(), json!(2));
    for name in ["never", "async never"] {
        assert_eq!((pipeline.run(name).status(), pipeline.run(name).input()), ("failed", json!({"reason": "no way"})));
    }
    let run = pipeline.run("unit");
    assert_eq!((run.status(), run.output()), ("completed", Value::Null));
    assert_eq!(pipeline.run("must use").output(), json!("kept"));
    assert_eq!(pipeline.run("of_a_macro").input(), json!({"value": "tides"}));
    assert_eq!(pipeline.run("hygiene").input(), json!({"call": 1, "value": 2, "details": 3}));
}

#[retrace::record(name = "recursion")]
fn factorial(number: u32) -> u32 {
    if number < 2 { 1 } else { number * factorial(number - 1) }
}

#[retrace::record(name = "async recursion")]
async fn factorial_later(number: u32) -> u32 {
    if number < 2 { 1 } else { number * Box::pin(factorial_later(number - 1)).await }
}

#[test]
fn recursion() {
    let pipeline = start();
    assert_eq!(factorial(3), 6);
    assert_eq!(factorial_later(3).now_or_never().unwrap(), 6);
    for name in ["recursion", "async recursion"] {
        let run = pipeline.run(name);
        assert_eq!((run.spans().len(), run.output()), (3, json!(6)), "{name}");
    }
}

/// A future that is held across an await point stays `Send` where the body is.
#[test]
fn futures_are_send_where_their_bodies_are() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    // The functions need not be called.
    let _ = || {
        let index = Index { pages: Vec::new() };
        drop(is_send(index.find_later("a")));
        drop(is_send(generic_later::<u8, u8>(&1, Ok(()))));
        drop(is_send(future("a")));
        drop(is_send(boxed_later("a")));
        drop(is_send(at_once()));
        drop(is_send(Echo.call_opaquely()));
        drop(is_send(HashMap::from([("a", boxed("a"))])));
    };
}
