//! The page at `/`: a list of runs, and one run as a tree. Static files; all data comes through the API.

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
const FILES: [(&str, &str, &str); 10] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/style.css", STYLE, include_str!("page/style.css")),
    ("/page/icon.svg", IMAGE, include_str!("page/icon.svg")),
    ("/page/app.js", SCRIPT, include_str!("page/app.js")),
    ("/page/api.js", SCRIPT, include_str!("page/api.js")),
    ("/page/list.js", SCRIPT, include_str!("page/list.js")),
    ("/page/panel.js", SCRIPT, include_str!("page/panel.js")),
    ("/page/run.js", SCRIPT, include_str!("page/run.js")),
    ("/page/text.js", SCRIPT, include_str!("page/text.js")),
    ("/page/tree.js", SCRIPT, include_str!("page/tree.js")),
];

/// The page's files, for everyone: they hold no data.
pub(super) fn router() -> Router<Arc<App>> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(async move || ([(header::CONTENT_TYPE, kind)], text).into_response()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            // The name of the namespace looks like an address, but nobody goes there.
            let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
            for never in NEVER {
                assert!(!text.contains(never), "{path} holds {never}");
            }
        }
    }
}
