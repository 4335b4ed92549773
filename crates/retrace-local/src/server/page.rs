//! The page at `/`: runs, one run, sessions, numbers, comparisons, forks and holds. Static files; all data comes through the API.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::http::App;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const IMAGE: &str = "image/svg+xml";

/// Path, type and text of each file.
const FILES: [(&str, &str, &str); 26] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/style.css", STYLE, include_str!("page/style.css")),
    ("/page/views.css", STYLE, include_str!("page/views.css")),
    ("/page/icon.svg", IMAGE, include_str!("page/icon.svg")),
    ("/page/agents.js", SCRIPT, include_str!("page/agents.js")),
    ("/page/api.js", SCRIPT, include_str!("page/api.js")),
    ("/page/app.js", SCRIPT, include_str!("page/app.js")),
    ("/page/compare.js", SCRIPT, include_str!("page/compare.js")),
    ("/page/conversation.js", SCRIPT, include_str!("page/conversation.js")),
    ("/page/element.js", SCRIPT, include_str!("page/element.js")),
    ("/page/filter.js", SCRIPT, include_str!("page/filter.js")),
    ("/page/fork.js", SCRIPT, include_str!("page/fork.js")),
    ("/page/forks.js", SCRIPT, include_str!("page/forks.js")),
    ("/page/holds.js", SCRIPT, include_str!("page/holds.js")),
    ("/page/json.js", SCRIPT, include_str!("page/json.js")),
    ("/page/list.js", SCRIPT, include_str!("page/list.js")),
    ("/page/mark.js", SCRIPT, include_str!("page/mark.js")),
    ("/page/measure.js", SCRIPT, include_str!("page/measure.js")),
    ("/page/numbers.js", SCRIPT, include_str!("page/numbers.js")),
    ("/page/panel.js", SCRIPT, include_str!("page/panel.js")),
    ("/page/plot.js", SCRIPT, include_str!("page/plot.js")),
    ("/page/run.js", SCRIPT, include_str!("page/run.js")),
    ("/page/sessions.js", SCRIPT, include_str!("page/sessions.js")),
    ("/page/text.js", SCRIPT, include_str!("page/text.js")),
    ("/page/tree.js", SCRIPT, include_str!("page/tree.js")),
    ("/page/waterfall.js", SCRIPT, include_str!("page/waterfall.js")),
];

/// Returns the routes of the page's files. They need no API key, because they contain no data.
pub(super) fn router() -> Router<Arc<App>> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(async move || ([(header::CONTENT_TYPE, kind)], text).into_response()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that only another script names is requested after that one has arrived.
    #[test]
    fn every_script_is_requested_with_the_page() {
        let (_, _, html) = FILES[0];
        for (path, kind, _) in FILES {
            assert!(kind != SCRIPT || html.contains(&format!("\"{path}\"")), "{path} is not preloaded");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_inserts_text_only_as_text() {
        const NEVER: [&str; 9] = [
            "http://",
            "https://",
            "//cdn",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "style=",
            "onclick=",
        ];
        for (path, _, text) in FILES {
            // The namespace URL is only an identifier, which is never fetched.
            let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
            for never in NEVER {
                assert!(!text.contains(never), "{path} holds {never}");
            }
        }
    }
}
